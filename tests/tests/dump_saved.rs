//! What `kdump save` writes is opened by crash, drgn and makedumpfile, in each packing, level and form, and has the pages of
//! its source. The programs and debuginfo are those that `cargo xtask` keeps: the folder that `KSCOPE_VM_CACHE` names.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kscope_dump::Dump;
use kscope_memory::{PhysAddr, PhysMemory as _};
use kscope_testkit::dumps::{KDUMP, QEMU, folder};
use kscope_tests::dumps::compared;
use kscope_tests::program::{Folder, kscope, run};
use kscope_tests::skip;

/// Prints the number and a sum of each page that drgn reads of a dump; of a frame, nothing where it has none.
const READ: &str = "
import sys, zlib, drgn
prog = drgn.Program()
prog.set_core_dump(sys.argv[1])
for frame in range(int(sys.argv[2])):
    try:
        print(frame, zlib.adler32(prog.read(frame * 4096, 4096, physical=True)))
    except (drgn.FaultError, ValueError):
        pass
";
/// Frames of the guest whose memory the source is.
const FRAMES: u64 = 131_072;

/// How each is written: a name and the words for it.
const WAYS: [(&str, &[&str]); 9] = [
    ("zstd-31", &["-c", "zstd", "-d", "31"]),
    ("zlib-31", &["-c", "zlib", "-d", "31"]),
    ("none-31", &["-c", "none", "-d", "31"]),
    ("lzo-31", &["-c", "lzo", "-d", "31", "-t", "2"]),
    ("lzo-16", &["-c", "lzo", "-d", "16"]),
    ("zstd-1", &["-c", "zstd", "-d", "1"]),
    ("none-0", &["-c", "none", "-d", "0"]),
    ("elf-31", &["--format", "elf", "-d", "31"]),
    ("flat-31", &["-c", "zstd", "-d", "31", "-F"]),
];

fn cache() -> Option<PathBuf> {
    std::env::var_os("KSCOPE_VM_CACHE").map(PathBuf::from)
}

/// Gives a program of the newest Debian, with that one's own libraries.
fn of_sid(name: &str) -> Option<Command> {
    let root = cache()?.join("sid");
    let program = root.join("usr/bin").join(name);
    if !program.exists() {
        return None;
    }
    let mut command = Command::new(root.join("lib64/ld-linux-x86-64.so.2"));
    let libraries = ["lib", "usr/lib"].map(|lib| root.join(lib).join("x86_64-linux-gnu"));
    let paths = std::env::join_paths(libraries).expect("names of folders");
    command.arg("--library-path").arg(paths).arg(program);
    Some(command)
}

/// Runs a command; gives what it prints.
fn said<S: AsRef<OsStr>>(command: &mut Command, words: &[S]) -> String {
    let output = command.args(words).stdin(Stdio::null()).output();
    let output = output.expect("a program");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {complaint}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Saves a dump, and gives the file.
fn save(source: &Path, folder: &Folder, name: &str, words: &[&str]) -> PathBuf {
    let file = folder.path().join(name);
    let mut all = vec!["kdump", "save", "--quiet", "--no-log", "-o"];
    all.push(file.to_str().expect("a name"));
    all.extend(words);
    all.push(source.to_str().expect("a name"));
    let (code, _, err) = run(&kscope(), &all);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{name}");
    file
}

/// Gives the sum of each page that drgn reads.
fn pages(drgn: &Path, dump: &Path) -> BTreeMap<u64, u64> {
    let dump = dump.to_str().expect("a name");
    let text = said(
        &mut Command::new(drgn),
        &["-c", READ, dump, &FRAMES.to_string()],
    );
    let pair = |line: &str| {
        let (frame, sum) = line.split_once(' ')?;
        Some((frame.parse().ok()?, sum.parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

/// Gives the same of each page of the source, which drgn does not open: QEMU does not say the machine.
fn pages_of_source(source: &Path) -> BTreeMap<u64, u64> {
    let dump = Dump::open(&[source]).expect("a dump");
    let mut page = [0; 4096];
    let mut sums = BTreeMap::new();
    for frame in 0..FRAMES {
        if dump.read_phys(PhysAddr(frame * 4096), &mut page).is_ok() {
            // Adler-32.
            let (mut low, mut high) = (1, 0);
            for byte in page {
                low = (low + u64::from(byte)) % 65521;
                high = (high + low) % 65521;
            }
            sums.insert(frame, high << 16 | low);
        }
    }
    sums
}

#[test]
fn drgn_and_makedumpfile_read_what_was_saved() {
    let Some(dumps) = folder() else {
        return;
    };
    let drgn = cache().map(|cache| cache.join("drgn/bin/python3"));
    let Some(drgn) = drgn.filter(|drgn| drgn.exists()) else {
        skip!("drgn", "KSCOPE_VM_CACHE names no folder with drgn");
    };
    if of_sid("makedumpfile").is_none() {
        skip!("makedumpfile", "KSCOPE_VM_CACHE names no folder with it");
    }
    let makedumpfile = || of_sid("makedumpfile").expect("looked for");
    let folder = Folder::new("saved");
    let source = dumps.join(QEMU);
    let all = pages_of_source(&source);
    assert!(all.len() > 100_000, "{} pages", all.len());
    let mut counts = BTreeMap::new();
    let mut logs = BTreeMap::new();
    for (name, words) in WAYS {
        let mut file = save(&source, &folder, name, words);
        // ELF has zeros for what was left out: drgn knows no other.
        const ZEROS: u64 = 4096 << 16 | 1;
        let found = pages(&drgn, &file);
        let is_elf = name.starts_with("elf");
        let there = found.iter().filter(|(frame, sum)| {
            let same = all.get(frame) == Some(*sum);
            let left_out = is_elf && **sum == ZEROS;
            assert!(same || left_out, "{name}: frame {frame:#x}");
            same
        });
        counts.insert(name, there.count());
        if name.starts_with("flat") {
            let plain = folder.path().join("plain");
            let mut rearrange = makedumpfile();
            let piped = File::open(&file).expect("readable");
            let status = rearrange.arg("-R").arg(&plain).stdin(piped).status();
            assert!(status.expect("makedumpfile").success());
            file = plain;
        }
        let log = folder.path().join(format!("{name}.log"));
        let words = ["--dump-dmesg".as_ref(), file.as_os_str(), log.as_os_str()];
        said(&mut makedumpfile(), &words);
        logs.insert(name, std::fs::read_to_string(log).expect("text"));
        let _ = std::fs::remove_file(file);
    }
    let of = |name| counts[name];
    assert_eq!(of("none-0"), all.len());
    assert_eq!(of("zstd-1"), all.len());
    assert!(of("lzo-16") < all.len() && of("zstd-31") < of("lzo-16"));
    for name in ["zlib-31", "none-31", "lzo-31", "flat-31"] {
        assert_eq!(of(name), of("zstd-31"), "{name}");
    }
    assert!(of("elf-31") >= of("zstd-31"), "{counts:?}");
    assert!(logs["none-0"].lines().count() > 100);
    for (name, log) in &logs {
        assert!(*log == logs["none-0"], "{name}: another log");
    }
    let result = format!("pages are the source's: {counts:?}");
    compared("saved", "drgn, makedumpfile", &result);
}

#[test]
fn crash_reads_what_was_saved() {
    const DEBUGINFO: &str = "debuginfo/vmlinux-6.1.0-56-cloud-amd64";
    let Some(dumps) = folder() else {
        return;
    };
    let vmlinux = cache().map(|cache| cache.join(DEBUGINFO));
    let Some(vmlinux) = vmlinux.filter(|file| file.exists()) else {
        skip!("debuginfo", "KSCOPE_VM_CACHE names no folder with it");
    };
    let installed = Command::new("crash").arg("--version").output();
    if installed.is_err() {
        skip!("crash", "crash is not installed");
    }
    let folder = Folder::new("saved-crash");
    let lines = folder.path().join("lines");
    std::fs::write(&lines, "log\nbt\nrd -p 1000000 512\nquit\n").expect("written");
    let ask = |dump: &Path| {
        let files = ["-s", "-i"].map(OsStr::new);
        let more = [lines.as_os_str(), vmlinux.as_os_str(), dump.as_os_str()];
        said(Command::new("crash").args(files), &more)
    };
    let source = dumps.join(KDUMP);
    let expected = ask(&source);
    assert!(expected.lines().count() > 600, "{expected}");
    for (name, words) in WAYS {
        let file = save(&source, &folder, name, words);
        assert!(ask(&file) == expected, "{name}");
        let _ = std::fs::remove_file(file);
    }
    compared("saved", "crash", "log, stack and memory are the source's");
}
