//! From a spec to objects of a kernel.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use kscope_btf::{Btf, Kind};
use kscope_spec::{AttachKind, LateId, MapId, ProgramId, ProgramSpec, Spec};
use kscope_sys::{Errno, ProgramLoad, SharedKernel};

use crate::denial::{Denial, Needs, cause, no_secrets, used_up};
use crate::error::Error;
use crate::late::{LateSources, SymbolResolver};
use crate::log::VerifierLog;
use crate::map::Map;
use crate::patch::{self, Target};
use crate::program::{Program, ProgramError};
use crate::program_btf::{ProgramBtf, Records};

/// Size of the buffer for a verifier's log. It costs no memory that the kernel does not write, and
/// a smaller one to begin with would cost the verifier another walk.
const LOG_BYTES: usize = 1 << 24;

/// One attempt to load a program, with or without a verifier's log.
type Attempt<'a> = dyn Fn(Log<'_>) -> Result<OwnedFd, Errno> + 'a;

/// What the verifier is to tell.
enum Log<'a> {
    Nothing,
    /// `BPF_LOG_LEVEL1`: each instruction on its way to the verdict.
    Walk(&'a mut [u8]),
    /// `BPF_LOG_STATS`: the verdict alone.
    Verdict(&'a mut [u8]),
}

/// Makes kernel objects of a [`Spec`].
pub struct Loader<'a> {
    kernel: SharedKernel,
    btf: Option<&'a Btf>,
    symbols: Option<SymbolResolver<'a>>,
    numbers: HashMap<String, u64>,
    all_or_nothing: bool,
    stop: Option<&'a dyn Fn() -> bool>,
}

impl fmt::Debug for Loader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader")
            .field("numbers", &self.numbers)
            .finish_non_exhaustive()
    }
}

impl<'a> Loader<'a> {
    /// Makes a loader for a kernel (see [`kscope_sys::real_kernel`]).
    pub fn new(kernel: SharedKernel) -> Loader<'a> {
        Loader {
            kernel,
            btf: None,
            symbols: None,
            numbers: HashMap::new(),
            all_or_nothing: false,
            stop: None,
        }
    }

    /// Gives the kernel's types, which typed programs need to find what they attach to.
    #[must_use]
    pub fn btf(mut self, btf: Option<&'a Btf>) -> Loader<'a> {
        self.btf = btf;
        self
    }

    /// Gives the addresses of kernel symbols, for late values of that kind.
    #[must_use]
    pub fn symbols(mut self, resolve: SymbolResolver<'a>) -> Loader<'a> {
        self.symbols = Some(resolve);
        self
    }

    /// Gives a late value of kind [`kscope_spec::LateKind::Number`].
    #[must_use]
    pub fn late(mut self, name: impl Into<String>, value: u64) -> Loader<'a> {
        self.numbers.insert(name.into(), value);
        self
    }

    /// Makes [`Loader::load`] fail with the first program that does.
    #[must_use]
    pub fn all_or_nothing(mut self) -> Loader<'a> {
        self.all_or_nothing = true;
        self
    }

    /// Makes [`Loader::load`] fail with [`Error::Interrupted`] once this says so: it is asked before
    /// each program, and after each that was refused.
    #[must_use]
    pub fn stop(mut self, stop: &'a dyn Fn() -> bool) -> Loader<'a> {
        self.stop = Some(stop);
        self
    }

    fn go_on(&self) -> Result<(), Error> {
        match self.stop {
            Some(stop) if stop() => Err(Error::Interrupted),
            _ => Ok(()),
        }
    }

    /// Creates the maps and loads the programs, each on its own: one that fails is reported in its
    /// place in the object and takes no other with it.
    ///
    /// # Errors
    ///
    /// Where a map cannot be made, or a program if [`Loader::all_or_nothing`] was asked;
    /// [`Error::Interrupted`] where [`Loader::stop`] says so.
    pub fn load(&self, spec: &Spec) -> Result<Object, Error> {
        let maps: Vec<Map> = spec
            .maps
            .iter()
            .map(|map| Map::create(&self.kernel, map))
            .collect::<Result<_, _>>()?;
        let types = ProgramBtf::build(spec);
        // Without BTF the programs still load, if they have no callbacks; only the log is poorer.
        let types_fd = types.load(&*self.kernel).ok();
        let filling = Filling {
            loader: self,
            spec,
            maps: &maps,
            late: spec.late.iter().map(|_| OnceCell::new()).collect(),
        };
        let mut programs = Vec::new();
        for (index, program) in spec.programs.iter().enumerate() {
            self.go_on()?;
            let info = types_fd.as_ref().zip(types.records(index));
            let info = info.map(|(fd, records)| (fd.as_fd(), records));
            let loaded = self.load_program(program, &filling, info);
            match loaded {
                Err(error) if self.all_or_nothing || error == Error::Interrupted => {
                    return Err(error);
                }
                _ => {}
            }
            programs.push(loaded.map_err(|error| {
                let place = match &error {
                    Error::Rejected { log, .. } => log.place(program),
                    _ => None,
                };
                Box::new(ProgramError {
                    id: ProgramId(u32::try_from(index).unwrap_or(u32::MAX)),
                    name: program.name.clone(),
                    error,
                    place,
                })
            }));
        }
        Ok(Object { maps, programs })
    }

    fn load_program(
        &self,
        program: &ProgramSpec,
        filling: &Filling<'_>,
        info: Option<(BorrowedFd<'_>, &Records)>,
    ) -> Result<Program, Error> {
        let insns = patch::instructions(program, filling)?;
        let attach_btf_id = self.attach_btf_id(&program.attach)?;
        let load = |log: Log<'_>| {
            let (log_level, log) = match log {
                Log::Nothing => (0, None),
                Log::Walk(buffer) => (1, Some(buffer)),
                Log::Verdict(buffer) => (4, Some(buffer)),
            };
            self.kernel.program_load(ProgramLoad {
                kind: program.kind as u32,
                name: &program.name,
                insns: &insns,
                license: &filling.spec.license,
                flags: program.flags,
                attach_type: program.attach.attach_type(),
                attach_btf_id,
                btf: info.map(|(fd, _)| fd),
                func_info: info.map_or(&[], |(_, records)| &records.functions),
                line_info: info.map_or(&[], |(_, records)| &records.lines),
                log_level,
                log,
                ..ProgramLoad::default()
            })
        };
        let fd = match load(Log::Nothing) {
            // Kernels before 5.11 charge programs to the limit on locked memory.
            Err(Errno::PERM) if self.kernel.raise_memlock().is_ok() => load(Log::Nothing),
            other => other,
        };
        let fd = match fd {
            Ok(fd) => fd,
            Err(errno) => {
                // What a signal stopped has no log worth another attempt.
                self.go_on()?;
                return Err(self.refusal(program, errno, &load));
            }
        };
        Ok(Program {
            kernel: self.kernel.clone(),
            fd: Arc::new(fd),
            name: program.name.as_str().into(),
            kind: program.kind,
            attach: Arc::new(program.attach.clone()),
            section: program.section.as_str().into(),
        })
    }

    /// Finds out why a program was refused, by loading it again with the verifier's log.
    fn refusal(&self, program: &ProgramSpec, errno: Errno, load: &Attempt<'_>) -> Error {
        let needs = Needs::of(program.kind);
        // The verifier says EACCES, and seldom EPERM, of programs as well.
        let denial = (errno == Errno::PERM).then(|| cause(&*self.kernel, needs));
        if let Some(cause @ (Denial::Capability { .. } | Denial::Confined)) = denial {
            return Error::Permission {
                call: "BPF_PROG_LOAD",
                cause,
            };
        }
        let log = VerifierLog::parse(&told(load));
        match denial.or_else(|| self.locked_memory(&log)) {
            Some(cause @ Denial::Lockdown { .. }) => Error::Permission {
                call: "reading kernel memory",
                cause,
            },
            _ if !log.telling_line.is_empty() => Error::Rejected {
                program: program.name.clone(),
                errno,
                log: Box::new(log),
            },
            Some(cause) => Error::Permission {
                call: "BPF_PROG_LOAD",
                cause: used_up(&*self.kernel).unwrap_or(cause),
            },
            None => Error::os("BPF_PROG_LOAD", errno, format!("program {}", program.name)),
        }
    }

    /// Gives lockdown as the cause where a program lacks the helpers that lockdown takes away.
    fn locked_memory(&self, log: &VerifierLog) -> Option<Denial> {
        // "unknown func bpf_probe_read_kernel#113", since Linux 6.9 "program of this type cannot use helper …".
        if !log.telling_line.contains(" bpf_probe_read") {
            return None;
        }
        no_secrets(&*self.kernel)
    }

    /// Finds the BTF type of the attach point; 0 where there is none.
    fn attach_btf_id(&self, attach: &AttachKind) -> Result<u32, Error> {
        let (what, kind, name, shown) = match attach {
            AttachKind::RawTracepointBtf(name) => {
                let typedef = format!("btf_trace_{name}");
                ("BTF-typed tracepoint", Kind::Typedef, typedef, name)
            }
            AttachKind::FunctionEntry(name)
            | AttachKind::FunctionExit(name)
            | AttachKind::FunctionSession(name)
            | AttachKind::ModifyReturn(name) => ("kernel function", Kind::Func, name.clone(), name),
            AttachKind::Lsm(name) | AttachKind::LsmCgroup(name) => {
                let function = format!("bpf_lsm_{name}");
                ("LSM hook", Kind::Func, function, name)
            }
            AttachKind::StructOps { type_name, .. } => {
                ("kernel type", Kind::Struct, type_name.clone(), type_name)
            }
            AttachKind::Iterator(name) => {
                let function = format!("bpf_iter_{name}");
                ("BPF iterator", Kind::Func, function, name)
            }
            AttachKind::None | AttachKind::Expected(_) | AttachKind::Extension(_) => return Ok(0),
        };
        let btf = self.btf.ok_or_else(|| {
            Error::unsupported(
                format!("BTF, which {what} {shown} needs"),
                "the build option CONFIG_DEBUG_INFO_BTF",
            )
        })?;
        let id = btf.find(&name, kind);
        Ok(id.ok_or_else(|| Error::not_found(what, shown))?.0)
    }
}

/// What the programs' relocations are filled with.
struct Filling<'a> {
    loader: &'a Loader<'a>,
    spec: &'a Spec,
    maps: &'a [Map],
    /// Late values, each found out when the first program asks for it.
    late: Vec<OnceCell<Result<u64, Error>>>,
}

impl Target for Filling<'_> {
    fn map(&self, map: MapId) -> Result<i32, Error> {
        let map = self.maps.get(map.0 as usize);
        let map = map.ok_or_else(|| Error::invalid("a relocation names a map past the last"))?;
        Ok(map.as_fd().as_raw_fd())
    }

    fn late(&self, late: LateId) -> Result<u64, Error> {
        let index = late.0 as usize;
        let late = self.spec.late.get(index).zip(self.late.get(index));
        let (late, known) =
            late.ok_or_else(|| Error::invalid("a relocation names no late value"))?;
        let sources = LateSources {
            kernel: &*self.loader.kernel,
            numbers: &self.loader.numbers,
            symbols: self.loader.symbols,
        };
        known.get_or_init(|| sources.value(late)).clone()
    }
}

/// The maps and programs that came of a spec.
#[derive(Debug)]
pub struct Object {
    maps: Vec<Map>,
    programs: Vec<Result<Program, Box<ProgramError>>>,
}

impl Object {
    /// Gives the maps, in the spec's order.
    pub fn maps(&self) -> &[Map] {
        &self.maps
    }

    /// Gives a map of the spec.
    pub fn map(&self, id: MapId) -> Option<&Map> {
        self.maps.get(id.0 as usize)
    }

    /// Finds a map by name.
    pub fn map_named(&self, name: &str) -> Option<&Map> {
        self.maps.iter().find(|map| map.name() == name)
    }

    /// Gives a program of the spec, or why it was not loaded.
    ///
    /// # Errors
    ///
    /// The program's own error; [`Error::Invalid`] for an id past the last.
    pub fn program(&self, id: ProgramId) -> Result<&Program, Error> {
        match self.programs.get(id.0 as usize) {
            Some(Ok(program)) => Ok(program),
            Some(Err(failed)) => Err(failed.error.clone()),
            None => Err(Error::invalid(format!("there is no program {}", id.0))),
        }
    }

    /// Finds a loaded program by name.
    pub fn program_named(&self, name: &str) -> Option<&Program> {
        self.programs().find(|program| program.name() == name)
    }

    /// Gives the programs that were loaded.
    pub fn programs(&self) -> impl Iterator<Item = &Program> {
        self.programs
            .iter()
            .filter_map(|program| program.as_ref().ok())
    }

    /// Gives the programs that were not, with the reasons.
    pub fn failures(&self) -> impl Iterator<Item = &ProgramError> {
        self.programs
            .iter()
            .filter_map(|program| program.as_ref().err().map(|error| &**error))
    }
}

/// Loads a refused program again and gives what the verifier says of it. Of a log that is too long
/// the kernel leaves the end, before Linux 6.4 the beginning: then the verdict is asked for apart.
fn told(load: &Attempt<'_>) -> String {
    let text = |buffer: Vec<u8>| {
        let end = buffer.iter().position(|&byte| byte == 0);
        let bytes = buffer.get(..end.unwrap_or(buffer.len()));
        String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
    };
    let mut buffer = vec![0; LOG_BYTES];
    let outcome = load(Log::Walk(&mut buffer));
    let mut walk = text(buffer);
    let is_cut = matches!(outcome, Err(Errno::NOSPC));
    if is_cut && VerifierLog::parse(&walk).verified_insns.is_none() {
        let mut buffer = vec![0; LOG_BYTES];
        let _ = load(Log::Verdict(&mut buffer));
        let whole_lines = walk.rfind('\n').map_or(0, |end| end + 1);
        walk.truncate(whole_lines);
        if !walk.is_empty() {
            walk.push_str("[…]\n");
        }
        walk.push_str(&text(buffer));
    }
    walk
}

#[cfg(test)]
mod tests;
