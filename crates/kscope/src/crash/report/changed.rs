//! Kernels whose types have changed: what an analysis then lacks it names, and the others go on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use clap::Parser as _;
use kscope_btf::Btf;
use kscope_dump::{Dump, Kernel};
use kscope_testkit::dumps::{KDUMP, folder};

use super::{Line, MORE, Session, divert, without_words};
use crate::tool::Tool;

/// What an analysis printed, and what it told or why it failed.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    printed: String,
    told: String,
}

/// Gives what each analysis says of a dump whose types have another name for this member.
fn said(member: Option<&str>) -> Option<BTreeMap<String, Said>> {
    let file = folder()?.join(KDUMP);
    let open = || Kernel::open(Dump::open(&[&file]).expect("a dump")).expect("a kernel");
    let kernel = open();
    if let Some(member) = member {
        kernel.supply_btf(renamed(open().btf().expect("types"), member));
    }
    let session = Session { kernel, file };
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let scratch = format!("kscope-changed-{}-{number}", std::process::id());
    let scratch = std::env::temp_dir().join(scratch);
    let free = without_words().into_iter().map(|name| (name.clone(), name));
    let more = MORE.iter();
    let more = more.map(|(name, words)| ((*name).to_owned(), (*words).to_owned()));
    let mut all = BTreeMap::new();
    for (name, words) in free.chain(more) {
        let line = Line::try_parse_from(words.split(' ')).expect("words");
        let Some(analysis) = line.command.analysis() else {
            continue;
        };
        let out = fs::File::create(&scratch).expect("a file");
        let (done, mut told) = divert(out, true, || session.look(analysis, false));
        if let Err(failure) = done {
            told.push_str(&failure.said());
        }
        let printed = fs::read_to_string(&scratch).expect("text");
        all.insert(name, Said { printed, told });
    }
    fs::remove_file(&scratch).expect("removed");
    Some(all)
}

/// Gives types in which all members of a name have another one.
fn renamed(btf: &Btf, member: &str) -> Btf {
    let mut bytes = btf.bytes().to_vec();
    let wanted = format!("\0{member}\0").into_bytes();
    let mut places = bytes.windows(wanted.len());
    let at = places.position(|place| place == wanted).expect("a name");
    bytes[at + member.len()] = b'~';
    Btf::parse(bytes).expect("types")
}

/// Demands that what says something else without a member names it, that some do, and that most
/// say what they said.
fn check(members: &[&str]) {
    let Some(whole) = said(None) else {
        return;
    };
    for member in members {
        let other = named(&whole, member).unwrap_or_else(|silent| panic!("{silent}"));
        let all = whole.len();
        assert!(other > 0 && 2 * other < all, "{member}: {other} of {all}");
    }
}

/// Members that have another name in other kernels, with the one that is looked for last.
const LAST_NAMES: [(&str, &str); 1] = [("hctx_table", "queue_hw_ctx")];

/// Counts the analyses that say something else without a member, each of which names it, or the other name that it has
/// in other kernels; fails with what does not.
fn named(whole: &BTreeMap<String, Said>, member: &str) -> Result<usize, String> {
    let changed = said(Some(member)).expect("a dump");
    let differs = |name: &&String| whole[*name] != changed[*name];
    let other: Vec<&String> = whole.keys().filter(differs).collect();
    for name in &other {
        let Said { printed, told } = &changed[*name];
        // Of a member with two names it is the last that was looked for.
        let last = LAST_NAMES.iter().find(|(first, _)| *first == member);
        let is_named = |name: &str| printed.contains(name) || told.contains(name);
        if !is_named(member) && !last.is_some_and(|(_, last)| is_named(last)) {
            return Err(format!("{name} without {member}:\n{printed}\n{told}"));
        }
    }
    Ok(other.len())
}

/// Words of the code of analyses and of the tools that read dumps, which may be members.
fn words() -> BTreeSet<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut left = vec![crates.join("dump/src"), crates.join("kscope/src/crash")];
    let mut texts: Vec<String> = Vec::new();
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => left.push(path),
                false => texts.push(fs::read_to_string(path).expect("text")),
            }
        }
    }
    // In what is in quotes, or behind a point.
    let literals = texts
        .iter()
        .flat_map(|text| text.split('"').skip(1).step_by(2));
    let tools = Tool::all().filter(|tool| tool.reads_dumps());
    let behind_points = tools.flat_map(|tool| tool.text.split('.').skip(1));
    let word = |text: &str| -> String {
        let is_part = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
        text.chars().take_while(is_part).collect()
    };
    let parts = literals
        .flat_map(|text| text.split('.'))
        .filter(|part| word(part) == **part);
    let all = parts.map(str::to_owned).chain(behind_points.map(word));
    all.filter(|word| word.len() > 1).collect()
}

/// Demands of every member that analyses use, from one on and then each so many-th, that what says something else
/// without it names it.
fn check_every(first: usize, step: usize) {
    let Some(whole) = said(None) else {
        return;
    };
    let file = folder().expect("a dump").join(KDUMP);
    let kernel = Kernel::open(Dump::open(&[&file]).expect("a dump")).expect("a kernel");
    let btf = kernel.btf().expect("types");
    let mut members: BTreeSet<&str> = BTreeSet::new();
    for id in btf.ids() {
        if let Some(composite) = btf.composite(id) {
            members.extend(composite.members().map(|member| member.name));
        }
    }
    let words = words();
    let used: Vec<&String> = words
        .iter()
        .filter(|word| members.contains(&***word))
        .collect();
    assert!(used.len() > 200, "{used:?}");
    let mut silent = Vec::new();
    let mut count = 0;
    for member in used.iter().skip(first).step_by(step) {
        match named(&whole, member) {
            Ok(other) => count += usize::from(other > 0),
            Err(why) => silent.push(why.chars().take(400).collect::<String>()),
        }
    }
    println!("{count} of {} members are missed by something", used.len());
    assert!(silent.is_empty(), "{}", silent.join("\n\n"));
    assert!(count > 0);
}

#[test]
fn a_member_that_is_missing_is_named_and_the_others_go_on() {
    check(&["s_inodes", "mnt_devname"]);
}

#[test]
fn a_member_of_what_few_look_at_is_named() {
    check(&["skc_state", "timekeeper", "refcnt"]);
}

#[test]
fn members_that_are_used_are_named_where_they_are_missing() {
    check_every(7, 120);
}

#[test]
#[ignore = "takes many minutes"]
fn every_member_that_is_used_is_named_where_it_is_missing() {
    check_every(0, 1);
}
