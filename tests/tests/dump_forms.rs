//! The forms that makedumpfile makes of a dump, and what is left of them when they are cut, give what the whole dump gives.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kscope_dump::{Dump, Kernel};
use kscope_memory::{Memory as _, PhysAddr, PhysMemory as _};
use kscope_tests::dumps::{GuestDump, compared, rows};
use kscope_tests::program::{Folder, kscope, run};
use kscope_tests::skip;
use serde_json::Value;

/// Bytes of a page (x86_64).
const PAGE: usize = 4096;

/// What is asked of each form.
const QUESTIONS: [&[&str]; 4] = [
    &["log"],
    &["ps", "--json"],
    &["bt", "--all", "--json"],
    &["summary", "--json"],
];

/// Forms by their names, and what makes makedumpfile make them.
const FORMS: [(&str, &str); 4] = [("zlib", "-c"), ("lzo", "-l"), ("zstd", "-z"), ("elf", "-E")];

/// Asks a dump in one or several files; gives what it prints, and complaints.
fn ask(files: &[PathBuf], words: &[&str]) -> (Option<i32>, String, String) {
    let files: Vec<&str> = files
        .iter()
        .map(|file| file.to_str().expect("a name"))
        .collect();
    let mut all = vec!["crash", files[0]];
    for more in &files[1..] {
        all.extend(["--part", more]);
    }
    all.extend(words);
    run(&kscope(), &all)
}

/// Gives the answers of a dump to all questions.
fn answers(files: &[PathBuf]) -> Vec<String> {
    let answer = |words: &&[&str]| {
        let (code, out, err) = ask(files, words);
        assert_eq!(code, Some(0), "{files:?} {words:?}: {err}");
        assert_eq!(err, "", "{files:?} {words:?}");
        match words[0] {
            "summary" => without_form(&out),
            _ => out,
        }
    };
    QUESTIONS.iter().map(answer).collect()
}

/// Gives a summary without the line that says what the file is.
fn without_form(summary: &str) -> String {
    let mut row = rows(summary).remove(0);
    let facts = row.as_object_mut().expect("an object");
    let form = facts.remove("dump").expect("a form");
    assert!(form.is_string() && facts.len() > 8, "{summary}");
    row.to_string()
}

/// Counts the facts of a summary that are those of the whole; others are missing, and named as such.
fn facts_of(what: &str, own: &Value, whole: &Value) -> usize {
    let names = ["kernel", "time", "taint", "panic", "CPUs", "load"];
    let missing = own["missing"].to_string();
    let mut found = 0;
    for name in names {
        match own[name] == whole[name] {
            true => found += 1,
            false if own[name].is_null() => {
                assert!(missing.contains(&format!("{name}: ")), "{what}: {own}");
            }
            // The release alone, where the rest is lost.
            false => {
                let own = own[name].as_str().expect("text");
                assert!(own.contains("not known"), "{what}: {name}: {own}");
            }
        }
    }
    found
}

/// Runs makedumpfile; its complaint, where it fails or makes another form.
fn makedumpfile(words: &[&str], files: &[&Path]) -> Result<(), String> {
    let output = Command::new("makedumpfile")
        .args(words)
        .args(files)
        .stdin(Stdio::null())
        .output()
        .expect("makedumpfile");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = said + &String::from_utf8_lossy(&output.stderr);
    match output.status.success() && !said.contains("USEZSTD") {
        true => Ok(()),
        false => Err(said),
    }
}

/// Gives the level of what makedumpfile is to leave out: all that it can, or pages of zeros alone. Since Linux 6.10 slabs
/// have no flag; versions that do not know so take pages of tasks for free ones.
fn level(dump: &GuestDump) -> &'static str {
    let kernel = Kernel::open(Dump::open(&[dump.file()]).expect("a dump")).expect("a kernel");
    match kernel.vmcoreinfo().number("PG_slab") {
        Some(_) => "31",
        None => "1",
    }
}

/// Writes a flattened dump as it was before it was flattened.
fn rearrange(from: &Path, to: &Path) {
    let status = Command::new("makedumpfile")
        .arg("-R")
        .arg(to)
        .stdin(File::open(from).expect("readable"))
        .stdout(Stdio::null())
        .status()
        .expect("makedumpfile");
    assert!(status.success(), "{status}");
}

/// Gives a number of a file.
fn word(file: &File, at: u64) -> u64 {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, at).expect("in the file");
    u64::from_le_bytes(bytes)
}

/// Ranges of memory that /proc/iomem calls so.
fn memory(iomem: &str) -> Vec<(u64, u64)> {
    let range = |line: &str| {
        let (range, name) = line.split_once(" : ")?;
        let (start, end) = range.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        let (start, end) = (number(start)?, number(end)?);
        // Pages that it shares with others are left out.
        let page = PAGE as u64;
        (name == "System RAM").then_some((start.next_multiple_of(page), (end + 1) / page * page))
    };
    iomem.lines().filter_map(range).collect()
}

/// Writes the memory as a kernel that was started for it shows that of the dead one in /proc/vmcore; notes are those of
/// the file of one piece.
fn write_elf(dump: &GuestDump, rearranged: &Path, to: &Path) {
    let kernel = Kernel::open(Dump::open(&[dump.file()]).expect("a dump")).expect("a kernel");
    let source = kernel.dump().expect("a dump");
    let old = File::open(rearranged).expect("readable");
    // Behind the header's block: where the notes are.
    let (from, size) = (word(&old, 4096 + 48), word(&old, 4096 + 56));
    let mut notes = vec![0; size as usize];
    old.read_exact_at(&mut notes, from).expect("in the file");
    let image = |name| kernel.global(name).expect("a symbol").0;
    let base = kernel.vmcoreinfo().number("phys_base").expect("a number") as u64;
    let direct = kernel.global("page_offset_base").expect("a symbol");
    let direct = kernel.read_u64(direct).expect("memory");
    let (text, end) = (image("_stext"), image("_end").next_multiple_of(PAGE as u64));
    let at = text.wrapping_sub(0xffff_ffff_8000_0000).wrapping_add(base);
    let mut loads = vec![(text, at, end - text)];
    let ram = memory(&dump.said("/proc/iomem"));
    loads.extend(
        ram.iter()
            .map(|&(start, end)| (direct + start, start, end - start)),
    );
    let mut offset = (64 + 56 * (1 + loads.len()) as u64 + size).next_multiple_of(PAGE as u64);
    let header = |kind: u32, offset: u64, virt: u64, phys: u64, size: u64| {
        let flags = 7u32;
        let mut bytes = [kind.to_le_bytes(), flags.to_le_bytes()].concat();
        for word in [offset, virt, phys, size, size, 0] {
            bytes.extend(word.to_le_bytes());
        }
        bytes
    };
    // A core of x86_64: its headers follow.
    let mut head = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x04\0\x3e\0\x01\0\0\0".to_vec();
    for word in [0u64, 64, 0] {
        head.extend(word.to_le_bytes());
    }
    head.extend([
        0,
        0,
        0,
        0,
        64,
        0,
        56,
        0,
        1 + loads.len() as u8,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    ]);
    head.extend(header(4, 64 + 56 * (1 + loads.len()) as u64, 0, 0, size));
    let file = File::create(to).expect("a file");
    let mut page = [0; PAGE];
    for &(virt, phys, size) in &loads {
        head.extend(header(1, offset, virt, phys, size));
        for at in (0..size).step_by(PAGE) {
            // What is not in the dump is a hole as well.
            let read = source.read_phys(PhysAddr(phys + at), &mut page);
            if read.is_ok() && page != [0; PAGE] {
                file.write_all_at(&page, offset + at).expect("written");
            }
        }
        offset += size;
    }
    head.extend(notes);
    file.write_all_at(&head, 0).expect("written");
    file.set_len(offset).expect("as long");
}

/// Cuts a file to a share of its length, and demands that what is left gives nothing that the whole did not.
fn check_cut(form: &Path, share: u64, length: u64, whole: &[String]) -> usize {
    let file = OpenOptions::new().write(true).open(form).expect("ours");
    file.set_len(length / 100 * share).expect("cut");
    let what = format!("{} at {share} %", form.display());
    let mut found = 0;
    for (words, whole) in QUESTIONS.iter().zip(whole) {
        let (code, out, err) = ask(&[form.to_owned()], words);
        assert!(
            matches!(code, Some(0 | 1)) && err.contains("lost"),
            "{what} {words:?}: {code:?} {err}"
        );
        if words[0] == "summary" {
            found += facts_of(&what, &rows(&out)[0], &rows(whole)[0]);
            continue;
        }
        if words[0] == "bt" {
            found += frames_of(&what, &rows(&out), &rows(whole));
            continue;
        }
        let all: BTreeSet<&str> = whole.lines().collect();
        let (same, other): (Vec<&str>, Vec<&str>) =
            out.lines().partition(|line| all.contains(line));
        // Of a task some members may be lost: they are zero or empty.
        assert!(
            words[0] == "ps" || other.is_empty(),
            "{what} {words:?}: {other:?}"
        );
        found += same.len();
    }
    found
}

/// Counts the frames of stacks, each of which must be how that of the same task begins.
fn frames_of(what: &str, own: &[Value], whole: &[Value]) -> usize {
    let stack = |row: &Value| row["stack"].as_array().expect("a stack").clone();
    // What ran on a CPU is not known where that CPU's memory is lost.
    let slept = whole.iter().filter(|row| row["cpu"].is_null());
    let slept: BTreeMap<String, Vec<Value>> = slept
        .map(|row| (row["pid"].to_string(), stack(row)))
        .collect();
    let mut found = 0;
    for row in own {
        if let Some(all) = slept.get(&row["pid"].to_string()) {
            let mut own = stack(row);
            // Names and unwind tables of a module may be lost: where its code is has no name.
            let named =
                |place: &Value| place.as_str().is_some_and(|place| !place.starts_with("0x"));
            own.truncate(own.iter().take_while(|place| named(place)).count());
            assert!(all.starts_with(&own), "{what}: {row} of {all:?}");
            found += own.len();
        }
    }
    found
}

#[test]
fn every_form_gives_the_same() {
    let Some(dump) = GuestDump::given() else {
        return;
    };
    if Command::new("makedumpfile").arg("-v").output().is_err() {
        skip!("makedumpfile", "makedumpfile is not installed");
    }
    let folder = Folder::new("forms");
    let file = |name: &str| folder.path().join(name);
    let expected = answers(&[dump.file().into()]);
    let check = |name: &str, files: &[PathBuf]| {
        for ((own, expected), words) in answers(files).iter().zip(&expected).zip(QUESTIONS) {
            assert!(own == expected, "{name} {words:?}");
        }
    };
    let (plain, elf) = (file("plain"), file("elf-of-all"));
    rearrange(Path::new(&dump.file()), &plain);
    check("rearranged", std::slice::from_ref(&plain));
    write_elf(&dump, &plain, &elf);
    check("ELF", std::slice::from_ref(&elf));
    let mut made = vec!["rearranged".to_owned(), "ELF".to_owned()];
    let mut not_made = Vec::new();
    let level = level(&dump);
    for (name, option) in FORMS {
        let form = file(name);
        match makedumpfile(&[option, "-d", level], &[&elf, &form]) {
            Ok(()) => {
                check(name, &[form]);
                made.push(format!("{name} -d {level}"));
            }
            Err(said) => not_made.push((name, said)),
        }
    }
    let halves = [file("first"), file("second")];
    let split = ["--split", "-l", "-d", level];
    match makedumpfile(&split, &[&elf, &halves[0], &halves[1]]) {
        Ok(()) => {
            check("split", &halves);
            made.push(format!("split -d {level}"));
        }
        Err(said) => not_made.push(("split", said)),
    }
    let mut cuts = 0;
    for form in ["plain", "elf-of-all", "lzo"].map(&file) {
        if let Ok(length) = form.metadata().map(|file| file.len()) {
            let shares = [75, 50, 25].into_iter();
            cuts += shares
                .map(|share| check_cut(&form, share, length, &expected))
                .sum::<usize>();
        }
    }
    assert!(cuts > 1000, "{cuts} lines, tasks and frames");
    compared("forms", "the whole dump", &made.join(", "));
    let result = format!("{cuts} lines, tasks and frames that are left are the same");
    compared("cut", "the whole dump", &result);
    for (name, said) in not_made {
        // Debian 12's lacks zstd, and knows no kernels newer than itself.
        let reasons = ["USEZSTD", "not supported"];
        let is_reason = |line: &&str| reasons.iter().any(|reason| line.contains(reason));
        let why = said.split(['\n', '\r']).find(is_reason);
        let why = why.unwrap_or_else(|| panic!("{name}: {said}"));
        compared(name, "nothing", &format!("makedumpfile: {}", why.trim()));
    }
}
