//! Kernels whose types have changed: what an analysis then lacks it names, and the others go on.

use std::collections::BTreeMap;
use std::fs;

use clap::Parser as _;
use kscope_btf::Btf;
use kscope_dump::{Dump, Kernel};
use kscope_testkit::dumps::{KDUMP, folder};

use super::{Line, MORE, Session, divert, without_words};

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
    let scratch = format!("kscope-changed-{}-{member:?}", std::process::id());
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
        let changed = said(Some(member)).expect("a dump");
        let differs = |name: &&String| whole[*name] != changed[*name];
        let other: Vec<&String> = whole.keys().filter(differs).collect();
        for name in &other {
            let Said { printed, told } = &changed[*name];
            assert!(
                printed.contains(member) || told.contains(member),
                "{name} without {member}:\n{printed}\n{told}"
            );
        }
        let (other, all) = (other.len(), whole.len());
        assert!(other > 0 && 2 * other < all, "{member}: {other} of {all}");
    }
}

#[test]
fn a_member_that_is_missing_is_named_and_the_others_go_on() {
    check(&["s_inodes", "mnt_devname"]);
}

#[test]
fn a_member_of_what_few_look_at_is_named() {
    check(&["skc_state", "timekeeper"]);
}
