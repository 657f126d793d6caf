//! A small kernel to check scripts for: types, probes.

use std::fmt::Write as _;

use kscope_btf::write::{Builder, NewMember};
use kscope_btf::{Btf, Encoding, Linkage, TypeId};
use kscope_script::catalogue::{Catalogue, TextCatalogue};
use kscope_script::diagnostic::{Diagnostic, has_errors};
use kscope_script::hir::Program;
use kscope_script::plan::EVENT_HEADER;
use kscope_script::syntax::{Positional, parse};
use kscope_script::types::{Inputs, check, dump};

/// What a script is checked for.
pub(crate) struct Setup {
    pub(crate) btf: Option<Btf>,
    pub(crate) catalogue: TextCatalogue,
    pub(crate) positional: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) without_command: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            btf: Some(btf()),
            catalogue: TextCatalogue::parse(CATALOGUE).expect("the catalogue is well formed"),
            positional: vec!["1234".to_owned(), "bash".to_owned()],
            environment: Vec::new(),
            without_command: false,
        }
    }
}

/// Checks a script; findings of the parser come first.
pub(crate) fn checked(source: &str, setup: &Setup) -> (Program, Vec<Diagnostic>) {
    let positional = Positional::new(setup.positional.clone());
    let (script, mut found) = parse(source, &positional);
    let catalogue: &dyn Catalogue = &setup.catalogue;
    let inputs = Inputs {
        portable: false,
        changes_allowed: false,
        btf: setup.btf.as_ref(),
        catalogue,
        positional: setup.positional.clone(),
        environment: setup.environment.clone(),
        reserved_options: vec!["json".to_owned()],
        without_command: setup.without_command,
        ..Inputs::new(catalogue)
    };
    let (program, mut more) = check(&script, &inputs);
    found.append(&mut more);
    if !has_errors(&found) {
        assert_whole(source, &program);
    }
    (program, found)
}

/// Checks what lowering relies on: a program without errors has a type for every value, and the
/// fields of events lie one behind the other.
fn assert_whole(source: &str, program: &Program) {
    let text = dump::program(program);
    for (at, _) in text.match_indices(":void") {
        let rest = &text[at + ":void".len()..];
        assert!(
            rest.starts_with(" *"),
            "{source} has a value without a type:\n{text}"
        );
    }
    for site in &program.sites {
        let mut end = EVENT_HEADER;
        for field in &site.fields {
            assert!(
                field.offset >= end && field.offset % field.ty.align() == 0,
                "{source}"
            );
            end = field.offset + field.ty.size();
        }
        assert!(site.size >= end && site.size % 8 == 0, "{source}: {site:?}");
    }
    for (i, probe) in program.probes.iter().enumerate() {
        assert_eq!(probe.plan.program.0 as usize, i, "{source}");
        assert!(!probe.plan.attach.is_empty(), "{source}");
    }
}

/// Prints findings, one line each with its notes and hint behind it.
pub(crate) fn findings(source: &str, found: &[Diagnostic]) -> String {
    let text = |span: kscope_script::diagnostic::Span| {
        let text = source.get(span.range()).unwrap_or_default();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let mut out = String::new();
    for one in found {
        let _ = writeln!(
            out,
            "{} [{}] at `{}`: {}",
            one.severity,
            one.id,
            text(one.span),
            one.message
        );
        for (span, note) in &one.notes {
            let _ = writeln!(out, "  note at `{}`: {note}", text(*span));
        }
        if let Some(hint) = &one.hint {
            let _ = writeln!(out, "  hint: {hint}");
        }
    }
    out
}

const CATALOGUE: &str = "\
kscope catalogue 1
tracepoint sched:sched_process_exec
 0 2 u unsigned short common_type
 4 4 s int common_pid
 8 4 u __data_loc char[] filename
 12 4 s pid_t pid
 16 4 s pid_t old_pid
tracepoint sched:sched_switch
 8 16 u char[16] prev_comm
 24 4 s pid_t prev_pid
 28 4 s int prev_prio
 32 8 s long prev_state
 40 16 u char[16] next_comm
 56 4 s pid_t next_pid
 60 4 s int next_prio
tracepoint sched:sched_wakeup
 8 16 u char[16] comm
 24 4 s pid_t pid
tracepoint raw_syscalls:sys_enter
 8 8 s long id
 16 48 u unsigned long[6] args
tracepoint test:odd
 8 1 u bool flag
 12 4 u enum color color
 16 8 u struct file * file
 24 8 u struct unknown * other
 32 4 u __rel_loc char[] text
 36 4 u __data_loc unsigned int[] numbers
 41 4 u unsigned int misaligned
tracepoint syscalls:sys_enter_open
tracepoint syscalls:sys_enter_openat
tracepoint syscalls:sys_enter_openat2
tracepoint syscalls:sys_exit_openat
tracepoint syscalls:sys_exit_openat2
rawtracepoint sched_switch
rawtracepoint sys_enter
function do_sys_openat2
function vfs_read
function vfs_write
function vfs_open
";

/// Types as kernels have them, with a bit-field, an anonymous union and a `__user` pointer.
pub(crate) fn btf() -> Btf {
    btf_with(&[
        ("BPF_FUNC_unspec", 0),
        ("BPF_FUNC_map_lookup_elem", 1),
        ("BPF_FUNC_get_func_ip", 173),
    ])
}

/// As [`btf`], for a kernel with these helpers.
pub(crate) fn btf_with(helpers: &[(&str, i32)]) -> Btf {
    let mut b = Builder::new();
    b.add_enum("bpf_func_id", 4, helpers);
    let int = b.add_int("int", 4, Encoding::Signed);
    let uint = b.add_int("unsigned int", 4, Encoding::Unsigned);
    let long = b.add_int("long int", 8, Encoding::Signed);
    let ulong = b.add_int("long unsigned int", 8, Encoding::Unsigned);
    let character = b.add_int("char", 1, Encoding::Signed);
    let uchar = b.add_int("unsigned char", 1, Encoding::Unsigned);
    let boolean = b.add_int("_Bool", 1, Encoding::Bool);
    b.add_typedef("pid_t", int);
    let u64_type = b.add_typedef("u64", ulong);
    let name16 = b.add_array(character, uint, 16);
    let color = b.add_enum("color", 4, &[("RED", 0), ("GREEN", 1), ("BLUE", 7)]);
    b.add_enum("", 4, &[("NAMELESS", 300)]);

    let constant = b.add_const(uchar);
    let bytes = b.add_ptr(constant);
    let qstr_union = b.add_struct(
        "",
        8,
        &[
            NewMember::new("hash", uint, 0),
            NewMember::new("len", uint, 32),
        ],
    );
    let qstr_inner = b.add_union(
        "",
        8,
        &[
            NewMember::new("", qstr_union, 0),
            NewMember::new("hash_len", u64_type, 0),
        ],
    );
    let qstr = b.add_struct(
        "qstr",
        16,
        &[
            NewMember::new("", qstr_inner, 0),
            NewMember::new("name", bytes, 64),
        ],
    );
    let dentry = b.next_id();
    let dentry_pointer = TypeId(dentry.0 + 1);
    b.add_struct(
        "dentry",
        32,
        &[
            NewMember::new("d_flags", uint, 0),
            NewMember::new("d_parent", dentry_pointer, 64),
            NewMember::new("d_name", qstr, 128),
        ],
    );
    b.add_ptr(dentry);
    let path = b.add_struct("path", 8, &[NewMember::new("dentry", dentry_pointer, 0)]);
    let user = b.add_type_tag("user", character);
    let user_text = b.add_ptr(user);
    let numbers = b.add_array(uint, uint, 4);
    b.add_struct(
        "file",
        56,
        &[
            NewMember::new("f_path", path, 0),
            NewMember::new("f_flags", uint, 64),
            NewMember::new("f_user", user_text, 128),
            NewMember::new("f_numbers", numbers, 192),
            NewMember::new("f_color", color, 320),
        ],
    );
    let kuid = b.add_struct("", 4, &[NewMember::new("val", uint, 0)]);
    let kuid = b.add_typedef("kuid_t", kuid);
    let cred = b.add_struct(
        "cred",
        16,
        &[
            NewMember::new("usage", long, 0),
            NewMember::new("uid", kuid, 64),
            NewMember::new("gid", kuid, 96),
        ],
    );
    let constant_cred = b.add_const(cred);
    let cred_pointer = b.add_ptr(constant_cred);
    let task = b.next_id();
    let task_pointer = TypeId(task.0 + 1);
    b.add_struct(
        "task_struct",
        72,
        &[
            NewMember::new("__state", uint, 0),
            NewMember::new("pid", int, 32),
            NewMember::new("tgid", int, 64),
            NewMember {
                name: "in_iowait",
                type_id: uint,
                bit_offset: 97,
                bitfield: Some(1),
            },
            NewMember::new("real_parent", task_pointer, 128),
            NewMember::new("comm", name16, 192),
            NewMember::new("utime", u64_type, 320),
            NewMember::new("on_cpu", boolean, 384),
            NewMember::new("prio", long, 448),
            NewMember::new("cred", cred_pointer, 512),
        ],
    );
    b.add_ptr(task);
    let entry = b.add_struct("trace_entry", 8, &[NewMember::new("pid", int, 32)]);
    b.add_struct(
        "trace_event_raw_sched_switch",
        64,
        &[
            NewMember::new("ent", entry, 0),
            NewMember::new("prev_comm", name16, 64),
            NewMember::new("prev_pid", int, 192),
            NewMember::new("prev_prio", int, 224),
            NewMember::new("prev_state", long, 256),
            NewMember::new("next_comm", name16, 320),
            NewMember::new("next_pid", int, 448),
            NewMember::new("next_prio", int, 480),
        ],
    );
    b.add_struct(
        "trace_event_raw_sched_process_exec",
        20,
        &[
            NewMember::new("ent", entry, 0),
            NewMember::new("__data_loc_filename", uint, 64),
            NewMember::new("pid", int, 96),
            NewMember::new("old_pid", int, 128),
        ],
    );
    b.add_struct(
        "trace_event_raw_sched_wakeup_template",
        28,
        &[
            NewMember::new("ent", entry, 0),
            NewMember::new("comm", name16, 64),
            NewMember::new("pid", int, 192),
        ],
    );
    functions(&mut b, (int, long, ulong, boolean), task_pointer);
    Btf::parse(b.finish()).expect("the types are well formed")
}

/// Adds functions that can be traced: `vfs_read`, the stub of a raw tracepoint, an iterator.
fn functions(b: &mut Builder, numbers: (TypeId, TypeId, TypeId, TypeId), task: TypeId) {
    let (int, long, ulong, boolean) = numbers;
    let file = b.add_fwd("inode", false);
    let inode = b.add_ptr(file);
    let read = b.add_func_proto(
        long,
        &[
            ("inode", inode),
            ("buf", ulong),
            ("flags", int),
            ("task", task),
        ],
    );
    b.add_func("vfs_read", read, Linkage::Static);
    let write = b.add_func_proto(TypeId::VOID, &[("inode", inode)]);
    b.add_func("vfs_write", write, Linkage::Static);
    let data = b.add_ptr(TypeId::VOID);
    let stub = b.add_func_proto(
        int,
        &[
            ("__data", data),
            ("preempt", boolean),
            ("prev", task),
            ("next", task),
        ],
    );
    b.add_func("__traceiter_sched_switch", stub, Linkage::Static);
    let iterator = b.add_func_proto(int, &[("meta", data), ("task", task)]);
    b.add_func("bpf_iter_task", iterator, Linkage::Static);
    b.add_struct(
        "bpf_iter__task",
        16,
        &[
            NewMember::new("meta", data, 0),
            NewMember::new("task", task, 64),
        ],
    );
}
