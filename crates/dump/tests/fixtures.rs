//! Two real dumps against what other programs said of them: stacks against drgn with debuginfo,
//! the log against what the machine's own console showed, modules against crash.

use std::collections::BTreeMap;
use std::path::Path;

use kscope_btf::Kind;
use kscope_dump::{
    Dump, Error, FrameFrom, Kernel, LogLine, OrcVersion, Registers, StackEnd, VmcoreinfoFrom,
};
use kscope_memory::{Memory, PhysAddr, PhysMemory};
use kscope_testkit::dumps::{KDUMP, QEMU, folder};

fn open(folder: &Path, name: &str) -> Kernel {
    let dump = Dump::open(&[folder.join(name)]).expect("a dump");
    Kernel::open(dump).expect("a kernel")
}

/// Gives the functions of every task's stack, innermost first; all must end as stacks do.
fn stacks(kernel: &Kernel) -> BTreeMap<(i32, String), Vec<String>> {
    let unwinder = kernel.unwinder().expect("unwind tables");
    let tasks = kernel.tasks().expect("tasks");
    assert!(tasks.fault.is_none(), "{:?}", tasks.fault);
    let on_cpu = kernel.on_cpu().expect("CPUs").items;
    let mut found = BTreeMap::new();
    for task in tasks.items {
        let running = on_cpu.iter().find(|c| c.task == Some(task.addr));
        let stack = unwinder.stack(Some(&task), running).expect("of a task");
        assert!(
            stack.end.is_whole(),
            "{} {}: {stack:?}",
            task.pid,
            task.comm
        );
        let names = stack.frames.iter().map(|frame| {
            let found = kernel.symbolize(frame.code()).expect("a symbol");
            found.symbol.name.to_owned()
        });
        found.insert((task.pid, task.comm), names.collect());
    }
    found
}

/// Gives the name of a function without what compilers, and labels inside of it, add.
fn plain(name: &str) -> &str {
    let name = name.strip_suffix("_after_hwframe").unwrap_or(name);
    name.split('.').next().unwrap_or(name)
}

#[test]
fn stacks_are_those_of_drgn_with_debuginfo() {
    let Some(folder) = folder() else {
        return;
    };
    let ours = stacks(&open(&folder, KDUMP));
    let text = std::fs::read_to_string(folder.join("6.1.192-reference/drgn-0.3.0.json"));
    let reference: serde_json::Value =
        serde_json::from_str(&text.expect("a reference")).expect("JSON");
    let tasks = reference["tasks"].as_array().expect("tasks");
    assert_eq!(tasks.len(), 97);
    let mut compared = 0;
    for task in tasks {
        let frames = task["frames"].as_array().expect("frames");
        let inline = task["inline"].as_array().expect("inline");
        let expected: Vec<&str> = frames
            .iter()
            .zip(inline)
            .filter(|(_, inline)| **inline == false)
            .map(|(frame, _)| frame.as_str().expect("a name"))
            // Frames of user mode have no names.
            .filter(|name| !name.starts_with("0x"))
            .map(plain)
            .collect();
        let pid = task["pid"].as_i64().expect("a number") as i32;
        let comm = task["comm"].as_str().expect("a name").to_owned();
        let own = &ours[&(pid, comm.clone())];
        let own: Vec<&str> = own.iter().map(|name| plain(name)).collect();
        assert_eq!(own, expected, "{pid} {comm}");
        compared += own.len();
    }
    assert!(compared > 500, "only {compared} frames");
    // drgn does not list the idle tasks.
    assert_eq!(ours.len(), 99);
}

#[test]
fn the_panic_is_found_behind_a_function_without_entries() {
    let Some(folder) = folder() else {
        return;
    };
    let kernel = open(&folder, KDUMP);
    let unwinder = kernel.unwinder().expect("unwind tables");
    assert_eq!(unwinder.version(), OrcVersion::V1);
    let on_cpu = kernel.on_cpu().expect("CPUs").items;
    assert_eq!(on_cpu.len(), 2);
    let stack = unwinder.running(&on_cpu[0].registers.expect("registers"));
    let from: Vec<FrameFrom> = stack.frames.iter().take(3).map(|f| f.from).collect();
    assert_eq!(
        from,
        [FrameFrom::Registers, FrameFrom::CallSite, FrameFrom::Orc]
    );
    // As crash shows the registers of user mode.
    let StackEnd::User(Registers {
        rip,
        rsp,
        rsi,
        orig_rax,
        ..
    }) = stack.end
    else {
        panic!("{:?}", stack.end);
    };
    assert_eq!(
        (rip, rsp, rsi, orig_rax),
        (0x47b7a0, 0x7ffe_a88b_49e8, 0x2091_08c0, 1)
    );
    // The other CPU was in user mode.
    let other = on_cpu[1].registers.expect("registers");
    assert!(other.is_user());
    assert_eq!(other.rip, 0x53_0cc4);
}

/// Writes a line as the reference has it: one time for all its lines.
fn dmesg(line: &LogLine) -> String {
    let time = line.nanoseconds / 1000;
    let (seconds, micros) = (time / 1_000_000, time % 1_000_000);
    format!("[{seconds:5}.{micros:06}] {}\n", line.text)
}

#[test]
fn the_log_is_the_one_of_dmesg() {
    let Some(folder) = folder() else {
        return;
    };
    let log = open(&folder, KDUMP).log().expect("a log");
    assert!(log.fault.is_none(), "{:?}", log.fault);
    let own: String = log.items.iter().map(dmesg).collect();
    let reference = folder.join("6.1.192-kdump.dmesg.txt");
    let reference = std::fs::read_to_string(reference).expect("a reference");
    for (line, (own, expected)) in own.lines().zip(reference.lines()).enumerate() {
        assert_eq!(own, expected, "line {line}");
    }
    assert_eq!(own.lines().count(), reference.lines().count());
    assert_eq!(log.items[0].level, 5);

    let log = open(&folder, QEMU).log().expect("a log");
    assert!(log.fault.is_none(), "{:?}", log.fault);
    assert!(log.items[0].text.starts_with("Linux version 5.10.0-32"));
    assert!(log.items.len() > 300);
}

#[test]
fn modules_are_those_of_crash() {
    let Some(folder) = folder() else {
        return;
    };
    let kernel = open(&folder, KDUMP);
    let text = folder.join("6.1.192-reference/crash-9.0.2-mod.txt");
    let text = std::fs::read_to_string(text).expect("a reference");
    // ADDRESS NAME BASE SIZE ...
    let mut expected: Vec<(u64, &str, u64, u64)> = text
        .lines()
        .skip(1)
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let hex = |i: usize| u64::from_str_radix(words[i], 16).expect("an address");
            let size = words[3].parse().expect("a size");
            (hex(0), words[1], hex(2), size)
        })
        .collect();
    let modules = kernel.modules();
    assert!(modules.fault.is_none(), "{:?}", modules.fault);
    let mut own: Vec<(u64, &str, u64, u64)> = modules
        .items
        .iter()
        .map(|m| (m.addr.0, &*m.name, m.ranges[0].start.0, m.size))
        .collect();
    expected.sort_unstable();
    own.sort_unstable();
    assert_eq!(own, expected);
    // A function of a module, by its name and back.
    let symbols = kernel.module_symbols();
    let start = symbols.find("virtqueue_add_sgs").next().expect("a symbol");
    let found = kernel.symbolize(start.address).expect("a symbol");
    assert_eq!(found.symbol.name, "virtqueue_add_sgs");
    assert_eq!(found.symbol.module, Some("virtio_ring"));
    assert_eq!(found.offset, 0);
    // A type that only that module has.
    let ring = modules.items.iter().find(|m| m.name == "virtio_ring");
    let types = kernel.module_btf(ring.expect("a module")).expect("types");
    let queue = types.find("vring_virtqueue", Kind::Struct).expect("a type");
    assert!(types.own_ids().any(|id| id == queue));
    assert_eq!(types.member(queue, "vq").map(|m| m.byte_offset()), Some(0));
}

#[test]
fn a_kernel_that_says_less_of_itself_is_read_all_the_same() {
    let Some(folder) = folder() else {
        return;
    };
    // Linux 5.10 does not say where its symbols are.
    let kernel = open(&folder, QEMU);
    assert_eq!(kernel.vmcoreinfo_from(), Some(VmcoreinfoFrom::Note));
    let banner = kernel.banner().expect("a banner");
    assert!(banner.contains("Debian 5.10.223-1"), "{banner}");
    assert!(kernel.symbols().expect("symbols").len() > 90_000);
    let stacks = stacks(&kernel);
    assert_eq!(stacks.len(), 55);
    let init = &stacks[&(1, "init".to_owned())];
    assert_eq!(
        init.last().map(String::as_str),
        Some("entry_SYSCALL_64_after_hwframe")
    );
}

#[test]
fn facts_of_the_dump_itself() {
    let Some(folder) = folder() else {
        return;
    };
    let kernel = open(&folder, KDUMP);
    let dump = kernel.dump().expect("a dump");
    assert_eq!((dump.version(), dump.dump_level()), (Some(6), Some(31)));
    assert!(!dump.is_flattened() && !dump.is_incomplete());
    assert_eq!(dump.coverage().lost, 0);
    assert_eq!(dump.header_release(), Some("6.1.0-56-cloud-amd64"));
    assert_eq!(kernel.vmcoreinfo().number("pgtable_l5_enabled"), Some(1));
    // Physical and virtual memory are the same bytes.
    let banner = kernel.global("linux_banner").expect("a symbol");
    assert_eq!(
        kernel.read_text(banner, 13).expect("text"),
        b"Linux version"
    );
    let base = kernel.vmcoreinfo().number("phys_base").expect("a number") as u64;
    let image = banner.0 - 0xffff_ffff_8000_0000;
    let mut text = [0; 13];
    dump.read_phys(PhysAddr(image.wrapping_add(base)), &mut text)
        .expect("memory");
    assert_eq!(&text, b"Linux version");

    assert!(open(&folder, QEMU).dump().expect("a dump").is_flattened());
}

#[test]
fn global_variables_have_the_types_that_are_written_here() {
    let Some(folder) = folder() else {
        return;
    };
    // Without types of modules before 5.11, there is no list of them.
    for (name, lacking) in [(KDUMP, &[][..]), (QEMU, &["btf_modules"][..])] {
        let kernel = open(&folder, name);
        let lacks = kernel.check_variables().expect("types");
        let names: Vec<&str> = lacks.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, lacking, "{lacks:?}");
    }
    let kernel = open(&folder, KDUMP);
    let release = kernel.variable("init_uts_ns").and_then(|uts| {
        let release = uts.member("name.release").and_then(|r| r.text(65));
        release.map_err(Error::from)
    });
    assert_eq!(release.expect("a release"), kernel.release().as_bytes());
}
