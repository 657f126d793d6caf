//! The disassembler beside bpftool, on programs that clang made and the kernel loaded.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use kscope_bpf::btf::{Btf, Kind, TypeId};
use kscope_bpf::inspect::{LoadedProgram, Naming};
use kscope_bpf::spec::{asm, disasm, read};
use kscope_bpf::{Loader, Object};
use kscope_tests::assembly::kernel_types;
use kscope_tests::program::kscope;
use kscope_tests::selftests::{Selftests, clang};
use kscope_tests::{kernel_or_skip, skip};
use serde_json::Value;

/// Objects of the kernel's tests with programs of many kinds: subprograms, callbacks, atomics, maps
/// in maps, global data, packets, tail calls.
const OBJECTS: [&str; 20] = [
    "atomics",
    "bind4_prog",
    "bpf_flow",
    "cg_storage_multi_shared",
    "connect4_dropper",
    "loop1",
    "loop4",
    "sockmap_parse_prog",
    "sockopt_inherit",
    "sockopt_multi",
    "strobemeta_subprogs",
    "tailcall_bpf2bpf1",
    "tailcall_bpf2bpf4",
    "test_btf_newkv",
    "test_cls_redirect_subprogs",
    "test_global_data",
    "test_global_func1",
    "test_l4lb_noinline",
    "test_tcp_estats",
    "test_xdp_noinline",
];

/// How many programs both must have shown.
const ENOUGH: usize = 20;

/// Finds the kernel's tests; they are unpacked once, not by two tests of one process at a time.
fn selftests() -> Result<Selftests, String> {
    static UNPACKING: Mutex<()> = Mutex::new(());
    let _one = UNPACKING.lock().map_err(|error| error.to_string())?;
    Selftests::find()
}

fn load(selftests: &Selftests, name: &str) -> Result<Object, String> {
    let bytes = selftests.object(name)?;
    let spec = read::object_named(name, &bytes).map_err(|error| error.to_string())?;
    let kernel = kscope_bpf::sys::real_kernel();
    let loader = Loader::new(kernel).btf(kernel_types());
    loader.load(&spec).map_err(|error| error.to_string())
}

/// Gives bpftool's text of each instruction.
fn bpftool(id: u32) -> Result<Vec<String>, String> {
    let id = id.to_string();
    let words = ["-j", "prog", "dump", "xlated", "id", &id];
    let output = Command::new("bpftool").args(words).output();
    let output = output.map_err(|error| format!("bpftool: {error}"))?;
    let parsed: Value = serde_json::from_slice(&output.stdout).map_err(|e| e.to_string())?;
    let list = parsed.as_array().ok_or("no list")?;
    let text = |insn: &Value| insn["disasm"].as_str().map(str::to_owned);
    let texts: Option<Vec<String>> = list.iter().map(text).collect();
    texts.ok_or_else(|| "an instruction without text".to_owned())
}

/// Puts bpftool's text of an instruction as the disassembler here has it, and gives the name that
/// it shows of a function that is called.
fn normal(text: &str) -> (String, Option<String>) {
    let (code, text) = text.split_once(") ").unwrap_or(("", text));
    let mut called = None;
    let mut text = text.replace("goto pc", "goto ");
    for (theirs, ours) in [
        ("atomic64_fetch_", "atomic_fetch_"),
        ("atomic64_xchg", "xchg"),
        ("atomic_xchg", "xchg"),
        ("atomic64_cmpxchg", "cmpxchg"),
        ("atomic_cmpxchg", "cmpxchg"),
        ("subprog[+", "subprog["),
    ] {
        text = text.replace(theirs, ours);
    }
    text = spaced(&text);
    let called_text = text.strip_prefix("call ").map(str::to_owned);
    if let Some((name, number)) = called_text
        .as_deref()
        .and_then(|rest| rest.rsplit_once('#'))
    {
        text = if name.starts_with("pc") {
            called = Some(number.to_owned());
            format!("call {name}")
        } else {
            called = Some(name.to_owned());
            format!("call {number}")
        };
    }
    let shown = text.clone();
    let map = shown.split_once("map[id:");
    let map = map.and_then(|(before, after)| Some((before, after.split_once(']')?)));
    if let Some((before, (id, rest))) = map {
        text = match rest.strip_prefix("[0]+") {
            Some("0") => format!("{before}map_fd_value[{id}]"),
            Some(offset) => format!("{before}map_fd_value[{id}] + {offset}"),
            None => format!("{before}map_fd[{id}]"),
        };
    }
    // Conditions have their numbers in hexadecimal.
    if text.starts_with("if ") {
        let words: Vec<String> = text
            .split(' ')
            .map(|word| match word.strip_prefix("0x") {
                Some(digits) => {
                    let number = u32::from_str_radix(digits, 16).unwrap_or_default();
                    (number as i32).to_string()
                }
                None => word.to_owned(),
            })
            .collect();
        text = words.join(" ");
    }
    if code == "(18" {
        text.push_str(" ll");
    }
    (text, called)
}

/// Puts a space after the sign of an offset: `(r10 -8)` to `(r10 - 8)`.
fn spaced(text: &str) -> String {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut out = String::new();
    for (at, c) in text.char_indices() {
        out.push(c);
        let sign = c == '+' || c == '-';
        if sign && at >= 2 && bytes[at - 1] == b' ' && digit(at - 2) && digit(at + 1) {
            out.push(' ');
        }
    }
    out
}

/// Puts a line of the disassembler without what bpftool of this version does not show: the number
/// of a subprogram, and that a move takes the address of this CPU's copy.
fn ours(line: &str) -> (String, Option<String>) {
    let (text, note) = match line.split_once("  ; ") {
        Some((text, note)) => (text, Some(note.to_owned())),
        None => (line, None),
    };
    let mut text = text.to_owned();
    if text.starts_with("call pc") {
        let end = text.find('[').unwrap_or(text.len());
        text.truncate(end);
    }
    (text.replace("this_cpu(r0)", "r0"), note)
}

/// Gives the kernel's functions by address.
fn functions() -> HashMap<u64, String> {
    let text = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let address = u64::from_str_radix(words.next()?, 16).ok()?;
        let kind = words.next()?;
        (kind != "a").then(|| Some((address, words.next()?.to_owned())))?
    };
    // Of several at one address the first counts.
    let mut functions = HashMap::new();
    for (address, name) in text.lines().filter_map(line) {
        functions.entry(address).or_insert(name);
    }
    functions
}

#[test]
fn disassembly_is_bpftools_and_assembles_back() {
    let kernel = kernel_or_skip!();
    let selftests = match selftests() {
        Ok(selftests) => selftests,
        Err(reason) => skip!("clang", "{reason}"),
    };
    if Command::new("bpftool").arg("version").output().is_err() {
        skip!("bpftool", "bpftool is missing");
    }
    let functions = functions();
    let call_base = functions
        .iter()
        .find(|(_, name)| *name == "__bpf_call_base")
        .map(|(address, _)| *address);
    assert!(call_base.is_some(), "kallsyms has no __bpf_call_base");
    let naming = Naming {
        call_base,
        function: &|address| functions.get(&address).cloned(),
        map: &|_| None,
        kernel_types: None,
    };
    let mut shown = 0;
    let mut slots = 0;
    let mut problems = Vec::new();
    for name in OBJECTS {
        let object = match load(&selftests, name) {
            Ok(object) => object,
            Err(why) => {
                println!("{name} is left out: {why}");
                continue;
            }
        };
        for program in object.programs() {
            let id = program.info().expect("it is loaded").id;
            let loaded = LoadedProgram::by_id(&kernel, id).expect("it is there");
            assert_eq!(loaded.name(), program.name());
            let plain = disasm::Options {
                numbers: false,
                source: false,
                ..disasm::Options::default()
            };
            let text = loaded.disassemble(plain, &naming);
            let mine: Vec<&str> = text.lines().filter(|line| !line.ends_with(':')).collect();
            let theirs = bpftool(id).expect("bpftool shows it");
            let about = format!("{name}: {}", program.name());
            assert_eq!(mine.len(), theirs.len(), "{about}");
            for (mine, theirs) in mine.iter().zip(&theirs) {
                let (expected, called) = normal(theirs);
                let (found, note) = ours(mine);
                if found != expected {
                    problems.push(format!("{about}: {found} | {expected} | {theirs}"));
                }
                if let (Some(called), Some(note)) = (called, note) {
                    // bpftool knows subprograms by the symbols of their machine code.
                    if called != note && !called.ends_with(&note) {
                        problems.push(format!("{about}: {mine} is {called} for bpftool"));
                    }
                }
            }
            // With all names and source lines in it, the text gives the same instructions.
            let whole = loaded.disassemble(disasm::Options::default(), &naming);
            let again = asm::insns(&whole).unwrap_or_else(|error| panic!("{about}: {error}"));
            assert_eq!(again, loaded.insns(), "{about}");
            shown += 1;
            slots += again.len();
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    println!("{shown} programs of {slots} instructions are the same");
    assert!(shown >= ENOUGH, "only {shown} programs were loaded");
}

#[test]
fn objects_disassemble_and_assemble_back() {
    let selftests = match selftests() {
        Ok(selftests) => selftests,
        Err(reason) => skip!("clang", "{reason}"),
    };
    let mut programs = 0;
    for name in OBJECTS {
        let Ok(bytes) = selftests.object(name) else {
            continue;
        };
        let spec = read::object_named(name, &bytes).expect("an object");
        for program in &spec.programs {
            let about = format!("{name}: {}", program.name);
            let text = disasm::program(&spec, program, disasm::Options::default());
            let again = asm::assemble(&text, &spec);
            let again = again.unwrap_or_else(|error| panic!("{about}: {error}\n{text}"));
            assert_eq!(again.insns, program.insns, "{about}");
            programs += 1;
        }
    }
    println!("{programs} programs came back");
    assert!(programs >= ENOUGH, "only {programs} programs");
}

/// Gives the structures and unions that keep their name when all are written: the first of each.
fn first_of_their_name(btf: &Btf) -> Vec<(TypeId, &'static str, String)> {
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for id in btf.ids() {
        let word = match btf.kind(id) {
            Some(Kind::Struct) => "struct",
            Some(Kind::Union) => "union",
            Some(Kind::Enum | Kind::Enum64) => "enum",
            _ => continue,
        };
        let name = btf.name(id).unwrap_or_default();
        if !name.is_empty() && seen.insert(name) && word != "enum" {
            found.push((id, word, name.to_owned()));
        }
    }
    found
}

/// Gives named members that are no bitfields, with their offset in bytes.
fn members(btf: &Btf, id: TypeId) -> Vec<(String, u32)> {
    let Some(composite) = btf.composite(id) else {
        return Vec::new();
    };
    let plain = composite
        .members()
        .filter(|m| m.bitfield.is_none() && !m.name.is_empty());
    plain
        .map(|m| (m.name.to_owned(), m.bit_offset / 8))
        .collect()
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("kscope-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

#[track_caller]
fn compiles(command: &mut Command) {
    let output = command.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<&str> = said.lines().filter(|l| l.contains("error")).collect();
    let some = errors.get(..20).unwrap_or(&errors);
    assert!(output.status.success(), "{}", some.join("\n"));
}

#[test]
fn all_types_of_the_kernel_compile_as_c_with_their_sizes_and_offsets() {
    let Some(btf) = kernel_types() else {
        skip!("btf", "the kernel has no types");
    };
    let Some(clang) = clang() else {
        skip!("clang", "clang is missing");
    };
    let folder = folder("types-c");
    let compile = |name: &str, text: &str, target: &[&str]| {
        let file = folder.join(name);
        std::fs::write(&file, text).expect("written");
        let mut command = Command::new(&clang);
        command
            .args(target)
            .args(["-fsyntax-only", "-Wno-everything"]);
        compiles(command.arg(&file));
    };
    let mut text = btf.write_c();
    compile("bpf.c", &text, &["-target", "bpf"]);
    let (mut types, mut offsets) = (0, 0);
    for (id, word, name) in first_of_their_name(btf) {
        let size = btf.size_of(id).expect("a size");
        text.push_str(&format!(
            "_Static_assert(sizeof({word} {name}) == {size}, \"{name}\");\n"
        ));
        types += 1;
        for (member, offset) in members(btf, id) {
            text.push_str(&format!(
                "_Static_assert(__builtin_offsetof({word} {name}, {member}) == {offset}, \"\");\n"
            ));
            offsets += 1;
        }
    }
    // `va_list`, which some hold, is the machine's own.
    compile("here.c", &text, &[]);
    let _ = std::fs::remove_dir_all(&folder);
    println!("{types} structures and unions, {offsets} members");
    assert!(types > 1000 && offsets > 10_000);
}

#[test]
fn types_of_the_kernel_compile_as_rust_with_their_sizes_and_offsets() {
    const SAMPLE: [&str; 10] = [
        "task_struct",
        "sk_buff",
        "file",
        "inode",
        "sock",
        "tcp_sock",
        "net_device",
        "bpf_prog",
        "page",
        "pt_regs",
    ];
    let Some(btf) = kernel_types() else {
        skip!("btf", "the kernel has no types");
    };
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    if Command::new(&rustc).arg("--version").output().is_err() {
        skip!("rustc", "rustc is missing");
    }
    let found = |name: &&str| btf.find(name, Kind::Struct);
    let ids: Vec<TypeId> = SAMPLE.iter().filter_map(found).collect();
    assert!(ids.len() >= 8);
    let mut text = "#![cfg_attr(all(), allow(warnings))]\n".to_owned();
    text.push_str(&btf.write_rust_of(ids.iter().copied(), false));
    let mut offsets = 0;
    for &id in &ids {
        let name = btf.name(id).expect("a name");
        for (member, offset) in members(btf, id) {
            // Words of Rust are written otherwise.
            if ["type", "in", "ref", "use", "match", "priv", "final"].contains(&member.as_str()) {
                continue;
            }
            text.push_str(&format!(
                "const _: () = assert!(core::mem::offset_of!({name}, {member}) == {offset});\n"
            ));
            offsets += 1;
        }
    }
    let folder = folder("types-rust");
    let file = folder.join("sample.rs");
    std::fs::write(&file, text).expect("written");
    compiles(
        Command::new(rustc)
            .args([
                "--edition",
                "2024",
                "--crate-type",
                "lib",
                "--emit",
                "metadata",
            ])
            .arg("--out-dir")
            .arg(&folder)
            .arg(&file),
    );
    let _ = std::fs::remove_dir_all(folder);
    println!("{offsets} members");
    assert!(offsets > 500);
}

/// Runs `kscope bpf check`, and gives its rows and exit code.
fn check(words: &[&str]) -> (Vec<Value>, Option<i32>) {
    let program = kscope();
    let mut command = Command::new(program);
    let output = command
        .args(["bpf", "check", "--json"])
        .args(words)
        .output();
    let output = output.expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let row = |line: &str| serde_json::from_str(line).expect("JSON");
    (text.lines().map(row).collect(), output.status.code())
}

#[test]
fn types_that_are_loaded_have_ids() {
    let _ = kernel_or_skip!();
    let told = |words: &[&str]| {
        let mut command = Command::new(kscope());
        let output = command.args(["btf"]).args(words).output();
        let output = output.expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr))
    };
    let (list, _) = told(&["list", "--json"]);
    let mut rows = list
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let Some(kernel) = rows.find(|row: &Value| row["name"] == "vmlinux") else {
        skip!("btf", "the kernel has no BTF");
    };
    let id = kernel["id"].to_string();
    let (of_id, err) = told(&["dump", &id, "list_head"]);
    assert!(of_id.contains("struct list_head {"), "{of_id}{err}");
    assert_eq!(of_id, told(&["dump", "vmlinux", "list_head"]).0);
    let (_, err) = told(&["dump", "4294967294"]);
    assert!(err.contains("no types (BTF) with id 4294967294"), "{err}");
}

#[test]
fn check_says_what_the_loader_and_the_kernel_say() {
    let _ = kernel_or_skip!();
    let selftests = match selftests() {
        Ok(selftests) => selftests,
        Err(reason) => skip!("clang", "{reason}"),
    };
    let folder = folder("check");
    let file = folder.join("object.bpf.o");
    let path = file.to_str().expect("text");
    let (mut good, mut bad) = (0, 0);
    for name in [
        "loop1",
        "test_global_func1",
        "tailcall_bpf2bpf4",
        "test_btf_newkv",
    ] {
        std::fs::write(&file, selftests.object(name).expect("compiled")).expect("written");
        let (rows, code) = check(&[path]);
        let object = load(&selftests, name).expect("an object");
        let is_well = |row: &Value| row["loads"] == "yes" && row["attaches"] != "no";
        let all = rows.iter().all(is_well);
        assert_eq!(code, Some(if all { 0 } else { 1 }), "{name}");
        for row in &rows {
            let about = row["program"].as_str().expect("a name");
            match object.program_named(about) {
                Some(program) => {
                    let info = program.info().expect("it is there");
                    assert_eq!(row["loads"], "yes", "{about}");
                    assert_eq!(row["insns"], info.verified_insns, "{about}");
                    assert!(row["duration_us"].is_u64(), "{row}");
                    good += 1;
                }
                None => {
                    assert_eq!(row["loads"], "no", "{about}");
                    let mut failures = object.failures();
                    let failure = failures.find(|failure| failure.name == about);
                    let failure = failure.expect("it failed");
                    assert_eq!(row["reason"], failure.error.to_string(), "{about}");
                    assert_eq!(row["hint"].as_str(), failure.error.way_out(), "{about}");
                    assert_eq!(row["place"].as_str(), failure.position().as_deref());
                    bad += 1;
                }
            }
        }
    }
    // Types of another kernel, which here are those of an object.
    std::fs::write(
        &file,
        selftests
            .object("test_core_reloc_arrays")
            .expect("compiled"),
    )
    .expect("written");
    for (types, expected) in [
        ("btf__core_reloc_arrays", "yes"),
        ("btf__core_reloc_arrays___err_too_small", "no"),
    ] {
        let bytes = selftests.object(types).expect("compiled");
        let elf = kscope_bpf::spec::elf::Elf::parse(&bytes).expect("ELF");
        let (_, section) = elf.named(".BTF").expect("types");
        let btf = folder.join("types.btf");
        // As such, or in a section, as a kernel with its debugging information has them.
        for content in [section.data, &bytes] {
            std::fs::write(&btf, content).expect("written");
            let btf = btf.to_str().expect("text");
            let (rows, code) = check(&["--btf", btf, path]);
            assert_eq!(rows[0]["fits"], expected, "{types}: {rows:?}");
            assert_eq!(code, Some(if expected == "yes" { 0 } else { 1 }));
            // Errors name the file, not the running kernel.
            let reason = rows[0]["reason"].as_str().unwrap_or_default();
            assert_eq!(
                expected == "no",
                reason.contains("(types.btf type "),
                "{reason}"
            );
            let minimal = folder.join("minimal.btf");
            let minimal = minimal.to_str().expect("text");
            let words = ["btf", "minimize", "--btf", btf, "-o", minimal, path];
            let output = Command::new(kscope()).args(words).output();
            assert!(output.expect("it runs").status.success(), "{types}");
        }
    }
    let _ = std::fs::remove_dir_all(folder);
    println!("{good} load, {bad} do not");
    assert!(good >= 3 && bad >= 1);
}
