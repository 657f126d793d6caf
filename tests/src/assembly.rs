//! Small objects written in assembler, for tests that meet a kernel.

use std::sync::OnceLock;

use kscope_bpf::btf::{Btf, Kind};
use kscope_bpf::spec::{
    AttachKind, FuncInfo, LateKind, LateValue, LineInfo, MapKind, MapSpec, ProgramId, ProgramSpec,
    ProgramType, SourceFile, Spec, asm,
};
use kscope_bpf::sys::{FileBytes, SharedKernel, real_kernel};
use kscope_bpf::{Error, Loader, Object, Program};

/// Gives the program of an object that has one.
///
/// # Panics
///
/// Panics where it is not loaded.
pub fn program(object: &Object) -> &Program {
    object.program(ProgramId(0)).expect("loaded")
}

/// Gives what the first entry of the array `hits` begins with.
///
/// # Panics
///
/// Panics where there is no such map.
pub fn hits(object: &Object) -> u64 {
    let map = object.map_named("hits").expect("there");
    let value = map.lookup(&[0; 4]).expect("readable").expect("there");
    u64::from_ne_bytes(*value.first_chunk().expect("8 bytes"))
}

/// Gives the kernel, or why this process may not load programs into it.
///
/// # Errors
///
/// The reason to skip.
pub fn privileged() -> Result<SharedKernel, String> {
    const SYS_ADMIN: u64 = 1 << 21;
    let kernel = real_kernel();
    match kernel.capabilities() {
        Ok(have) if have & SYS_ADMIN != 0 => Ok(kernel),
        _ => Err("needs root".to_owned()),
    }
}

/// Gives the kernel to a test, or skips it.
#[macro_export]
macro_rules! kernel_or_skip {
    () => {
        match $crate::assembly::privileged() {
            Ok(kernel) => kernel,
            Err(reason) => $crate::skip!("root", "{reason}"),
        }
    };
}

/// Tells whether the CPU exchanges 16 bytes at once. Without it kernels from about 7.0 have no memory
/// to give where no lock may be taken, as for storage and arenas; the CPU of guests lacks it.
pub fn has_wide_exchange() -> bool {
    let known = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    !cfg!(target_arch = "x86_64") || known.split_whitespace().any(|flag| flag == "cx16")
}

/// Gives the kernel's types, read once; `None` for a kernel without.
pub fn kernel_types() -> Option<&'static Btf> {
    static TYPES: OnceLock<Option<Btf>> = OnceLock::new();
    let types = TYPES.get_or_init(|| {
        let bytes = FileBytes::open("/sys/kernel/btf/vmlinux").ok()?;
        Btf::parse(bytes).ok()
    });
    types.as_ref()
}

/// Gives a program for an iterator over tasks that writes a member of 4 bytes of each.
///
/// # Panics
///
/// If tasks have no such member.
pub fn writes_of_tasks(types: &Btf, member: &str) -> String {
    let task = types.find("task_struct", Kind::Struct);
    let at = task.and_then(|task| types.member(task, member));
    let at = at.expect("every kernel").byte_offset();
    // seq_write(meta->seq, &member, 4).
    format!(
        "r6 = *(u64 *)(r1 + 0)\nr7 = *(u64 *)(r1 + 8)\nif r7 == 0 goto out\n\
         r3 = *(u32 *)(r7 + {at})\n*(u32 *)(r10 - 4) = r3\nr1 = *(u64 *)(r6 + 0)\n\
         r2 = r10\nr2 += -4\nr3 = 4\ncall seq_write\nout: r0 = 0\nexit"
    )
}

/// An object in the making.
#[derive(Clone, Debug)]
pub struct Assembly {
    /// What has been described so far.
    pub spec: Spec,
}

impl Default for Assembly {
    fn default() -> Assembly {
        Assembly::new()
    }
}

impl Assembly {
    /// Begins an empty object.
    pub fn new() -> Assembly {
        let spec = Spec {
            license: "GPL".to_owned(),
            ..Spec::default()
        };
        Assembly { spec }
    }

    /// Adds a map.
    #[must_use]
    pub fn map(mut self, name: &str, kind: MapKind, sizes: (u32, u32), entries: u32) -> Assembly {
        self.spec.maps.push(MapSpec {
            name: name.to_owned(),
            kind,
            key_size: sizes.0,
            value_size: sizes.1,
            max_entries: entries,
            flags: 0,
            initial: None,
            frozen: false,
            ..MapSpec::default()
        });
        self
    }

    /// Adds a late value.
    #[must_use]
    pub fn late(mut self, name: &str, kind: LateKind) -> Assembly {
        self.spec.late.push(LateValue {
            name: name.to_owned(),
            kind,
        });
        self
    }

    /// Adds a program, whose text is its source as well. Labels that begin with `fn_` are
    /// functions.
    ///
    /// # Panics
    ///
    /// If the text cannot be assembled.
    #[must_use]
    pub fn program(
        mut self,
        name: &str,
        kind: ProgramType,
        attach: AttachKind,
        text: &str,
    ) -> Assembly {
        let done = match asm::assemble(text, &self.spec) {
            Ok(done) => done,
            Err(error) => panic!("program {name}: {error}"),
        };
        let file = self.spec.files.len() as u32;
        self.spec.files.push(SourceFile {
            name: format!("{name}.s"),
            text: kscope_bpf::spec::SourceText::Whole(text.to_owned()),
        });
        let mut funcs = vec![FuncInfo {
            insn: 0,
            name: name.to_owned(),
            ..FuncInfo::default()
        }];
        let labels = done
            .labels
            .iter()
            .filter(|(label, _)| label.starts_with("fn_"));
        funcs.extend(labels.map(|(label, &insn)| FuncInfo {
            insn,
            name: label.clone(),
            ..FuncInfo::default()
        }));
        funcs.sort_by_key(|function| function.insn);
        self.spec.programs.push(ProgramSpec {
            name: name.to_owned(),
            kind,
            attach,
            insns: done.insns,
            relocs: done.relocs,
            lines: lines(text, file),
            funcs,
            flags: 0,
            ..ProgramSpec::default()
        });
        self
    }

    /// Adds a raw tracepoint program, the type that can be run by itself on every kernel.
    #[must_use]
    pub fn raw(self, name: &str, text: &str) -> Assembly {
        self.program(name, ProgramType::RawTracepoint, AttachKind::None, text)
    }

    /// Loads the object with the kernel's types.
    ///
    /// # Errors
    ///
    /// What the loader says.
    pub fn load(&self, kernel: &SharedKernel) -> Result<Object, Error> {
        Loader::new(kernel.clone())
            .btf(kernel_types())
            .load(&self.spec)
    }

    /// Loads the object, every program of it.
    ///
    /// # Panics
    ///
    /// If anything cannot be loaded.
    pub fn load_all(&self, kernel: &SharedKernel) -> Object {
        let object = self.load(kernel).unwrap_or_else(|error| panic!("{error}"));
        if let Some(failed) = object.failures().next() {
            if let Error::Rejected { log, .. } = &failed.error {
                eprintln!("{log}");
            }
            panic!("{failed}");
        }
        object
    }
}

/// One instruction a line: counts slots, since `ll` takes two.
fn lines(text: &str, file: u32) -> Vec<LineInfo> {
    let mut insn = 0;
    let mut lines = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        let mut code = content.trim();
        while let Some((label, rest)) = code.split_once(':') {
            if label.contains(' ') {
                break;
            }
            code = rest.trim();
        }
        if code.is_empty() || code.starts_with(';') {
            continue;
        }
        lines.push(LineInfo {
            insn,
            file,
            line,
            column: 1,
        });
        insn += if code.ends_with(" ll") { 2 } else { 1 };
    }
    lines
}
