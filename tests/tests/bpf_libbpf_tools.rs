//! The objects of libbpf's own tools, as Debian's package `libbpf-tools` has them: each was compiled once,
//! by others, and loads, attaches and tells the right events on every kernel.
//@ modules: loop

#[path = "bpf_libbpf_tools/events.rs"]
mod events;

use std::collections::BTreeMap;

use kscope_bpf::sys::SharedKernel;
use kscope_bpf::{AttachOutcome, Loader};
use kscope_tests::assembly::kernel_types;
use kscope_tests::libbpf::{Attempt, Libbpf};
use kscope_tests::libbpf_tools::{self, ToolObject};
use kscope_tests::program::Folder;
use kscope_tests::{kernel_or_skip, skip};

/// Where the tools, in the order of their names, are parted.
const MIDDLE: &str = "klockstat";

fn loader<'a>(kernel: &SharedKernel) -> Loader<'a> {
    Loader::new(kernel.clone()).btf(kernel_types())
}

/// Loads an object and attaches its programs; gives why not, by program.
fn attach(kernel: &SharedKernel, tool: &ToolObject) -> BTreeMap<String, Option<String>> {
    let spec = tool.spec();
    let object = match loader(kernel).load(&spec) {
        Ok(object) => object,
        Err(error) => panic!("{}: {error}", tool.name),
    };
    let failed = object
        .failures()
        .map(|failed| (failed.name.clone(), Some(failed.error.to_string())));
    let attached = object.attach().into_iter().map(|one| {
        let failure = match &one.outcome {
            AttachOutcome::Attached(_) => None,
            other => Some(other.to_string()),
        };
        (one.program, failure)
    });
    failed.chain(attached).collect()
}

/// A line of the table of what is not attached.
#[derive(Debug)]
struct Known {
    tool: &'static str,
    /// `*` for any program of the tool.
    program: &'static str,
    /// Part of what is said.
    reason: &'static str,
}

/// Gives what the table says of one kernel: each line has a tool, its program, kernels separated by
/// commas or `*`, and a reason.
fn known(kernel: &str) -> Vec<Known> {
    let lines = include_str!("bpf_libbpf_tools/failures.txt").lines();
    let lines = lines.filter(|line| !line.starts_with('#') && !line.is_empty());
    let known = lines.filter_map(|line| {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_else(|| panic!("{line}"));
        let (tool, program, kernels, reason) = (word(), word(), word(), word());
        let here = kernels == "*" || kernels.split(',').any(|one| one == kernel);
        here.then_some(Known {
            tool,
            program,
            reason,
        })
    });
    known.collect()
}

/// Gives the numbers of the running kernel's release.
fn release() -> (u32, u32) {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("proc");
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let mut number = || numbers.next().and_then(Result::ok).expect("a number");
    (number(), number())
}

#[test]
#[ignore = "each program of fifty tools is loaded and attached twice"]
fn every_program_that_libbpf_attaches_is_attached() {
    attached(|tool| tool.name < MIDDLE);
}

#[test]
#[ignore = "each program of fifty tools is loaded and attached twice"]
fn every_program_that_libbpf_attaches_is_attached_of_the_other_half() {
    attached(|tool| tool.name >= MIDDLE);
}

/// Compares with libbpf over a part of the tools.
fn attached(part: impl Fn(&ToolObject) -> bool) {
    let kernel = kernel_or_skip!();
    let tools = match libbpf_tools::all() {
        Ok(tools) => tools,
        Err(reason) => skip!("libbpf-tools", "{reason}"),
    };
    let peer = match Libbpf::find() {
        Ok(peer) => peer,
        Err(reason) => skip!("libbpf", "{reason}"),
    };
    let folder = Folder::new("libbpf-tools");
    let (mut both, mut ours_alone, mut neither) = (0, Vec::new(), Vec::new());
    let mut theirs_alone = Vec::new();
    assert!(tools.len() >= 40, "{} objects", tools.len());
    let tools: Vec<ToolObject> = tools.into_iter().filter(part).collect();
    for tool in &tools {
        let file = folder.path().join(format!("{}.bpf.o", tool.name));
        std::fs::write(&file, tool.bytes).expect("writable");
        let mut ours = attach(&kernel, tool);
        let theirs = peer.attach_each(&file, tool.sizes).expect("it ends well");
        for Attempt { program, failure } in theirs {
            let own = ours.remove(&program).flatten();
            let name = format!("{} {program}", tool.name);
            match (own, failure) {
                (None, None) => both += 1,
                (None, Some(said)) => ours_alone.push(format!("{name}: libbpf says {said}")),
                (Some(why), None) => theirs_alone.push(format!("{name}: {why}")),
                (Some(why), Some(_)) => neither.push((tool.name, program, why)),
            }
        }
        assert!(ours.is_empty(), "{}: libbpf has no {ours:?}", tool.name);
    }
    eprintln!(
        "{} objects: {both} programs attached with both, {} with kscope alone, {} with libbpf {} \
         alone, {} with neither",
        tools.len(),
        ours_alone.len(),
        theirs_alone.len(),
        peer.version,
        neither.len()
    );
    eprintln!("{ours_alone:#?}");
    assert_eq!(
        theirs_alone, [""; 0],
        "libbpf attaches what kscope does not"
    );
    if std::env::var_os("KSCOPE_GUEST").is_some() {
        let name = match release() {
            (7.., _) => "7.x".to_owned(),
            (major, minor) => format!("{major}.{minor}"),
        };
        let mut known = known(&name);
        known.retain(|known| tools.iter().any(|tool| tool.name == known.tool));
        explained(&neither, &known);
    }
}

/// Demands that every failure is in the table, and that nothing else is.
fn explained(failures: &[(&str, String, String)], known: &[Known]) {
    let mut unused: Vec<&Known> = known.iter().collect();
    let mut unknown = Vec::new();
    for (tool, program, why) in failures {
        let says = |known: &Known| {
            known.tool == *tool
                && (known.program == "*" || known.program == program)
                && why.contains(known.reason)
        };
        match known.iter().any(says) {
            true => unused.retain(|known| !says(known)),
            false => unknown.push(format!("{tool} {program}: {why}")),
        }
    }
    assert!(
        unknown.is_empty() && unused.is_empty(),
        "not in the table: {unknown:#?}\nthe table has: {unused:#?}"
    );
}
