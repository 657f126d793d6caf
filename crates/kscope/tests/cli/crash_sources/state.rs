//! Memory, caches, locks, works, disks.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Sources, number, same, table, text, words};

pub(super) fn memory(sources: &Sources) -> String {
    let found = sources.rows("memory");
    let figures = &found[0];
    assert_eq!(figures["missing"], Value::Array(Vec::new()));
    let reference = sources.lines("crash-9.0.2-kmem_i.txt");
    let names = [
        ("TOTAL MEM", "MemTotal"),
        ("FREE", "MemFree"),
        ("BUFFERS", "Buffers"),
        ("CACHED", "Cached"),
        ("SLAB", "Slab"),
        ("TOTAL HUGE", "HugePages_Total"),
        ("TOTAL SWAP", "SwapTotal"),
        ("COMMIT LIMIT", "CommitLimit"),
    ];
    for (line, figure) in names {
        let shown = reference
            .iter()
            .find_map(|l| l.trim().strip_prefix(line))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        assert_eq!(shown, Some(number(figures, figure) / 4096), "{line}");
    }
    let zones = table(&found, "zones");
    let free: u64 = zones.iter().map(|zone| number(zone, "free_kb")).sum();
    assert_eq!(free, number(figures, "MemFree") / 1024);
    format!("{} figures", names.len())
}

pub(super) fn processes(sources: &Sources) -> String {
    let found = table(&sources.rows("memory -n 1000"), "processes");
    let members = ["pid", "mapped_kb", "resident_kb"];
    let found = found
        .iter()
        .map(|row| members.map(|member| number(row, member)));
    // PID PPID CPU TASK ST %MEM VSZ RSS COMM; threads of the kernel have nothing.
    let reference = sources.lines("crash-9.0.2-ps.txt");
    let expected = reference.iter().skip(1).map(|line| {
        let words = words(line.trim_start_matches('>'));
        [0, 6, 7].map(|at: usize| words[at].parse::<u64>().expect("a number"))
    });
    let expected = expected.filter(|[_, mapped, _]| *mapped > 0);
    let count = same(&found.collect(), &expected.collect(), 2);
    format!("{count} processes with two figures")
}

pub(super) fn caches(sources: &Sources) -> String {
    // CACHE OBJSIZE ALLOCATED TOTAL SLABS SSIZE NAME
    let reference = sources.words("crash-9.0.2-kmem_s.txt", 1);
    let mut expected: BTreeMap<String, [u64; 5]> = reference
        .iter()
        .map(|words| {
            let numbers = [1, 2, 3, 4, 5].map(|at: usize| {
                let number = words[at].trim_end_matches('k').parse();
                number.expect("a number")
            });
            (words[6].clone(), numbers)
        })
        .collect();
    // Two slabs that a CPU keeps have no objects in use by their own count, and no ext4 is mounted;
    // crash takes them for full.
    let kept = expected.get_mut("ext4_groupinfo_4k").expect("a cache");
    assert_eq!(kept[1], 44);
    kept[1] = 0;
    let found = sources.rows("slabs --all");
    let members = ["object_size", "active", "objects", "slabs", "slab_kb"];
    let found = found.iter().map(|row| {
        let figures = members.map(|member| number(row, member));
        (text(row, "name"), figures)
    });
    let count = same(&found.collect(), &expected.into_iter().collect(), 100);
    format!("{count} caches with five figures")
}

pub(super) fn works(sources: &Sources) -> String {
    // TIMER_BASES[0][BASE_STD]: …, then EXPIRES TTE TIMER_LIST FUNCTION, in ticks of 4 ms.
    let mut cpu = 0;
    let mut expected = Vec::new();
    for line in sources.lines("crash-9.0.2-timer.txt") {
        if let Some(rest) = line.strip_prefix("TIMER_BASES[") {
            cpu = rest[..1].parse().expect("a CPU");
        }
        if line.contains("<delayed_work_timer_fn>") {
            let ticks = line.split_whitespace().nth(1).map(str::parse::<u64>);
            expected.push((4 * ticks.expect("a word").expect("a number"), cpu));
        }
    }
    expected.sort_unstable();
    let found = table(&sources.rows("workqueues --delayed"), "delayed");
    let mut found: Vec<(u64, u64)> = found
        .iter()
        .map(|row| (number(row, "due_ms"), number(row, "cpu")))
        .collect();
    found.sort_unstable();
    assert_eq!(found, expected);
    assert!(found.len() > 3, "{found:?}");
    format!("{} works to come", found.len())
}

/// Kinds of disks by their major numbers.
pub(super) fn disks(sources: &Sources) -> String {
    // Behind a title: BLKDEV NAME GENDISK OPERATIONS, where "(none)" has no disk.
    let said = sources.words("crash-9.0.2-dev.txt", 0);
    let of_disks = said
        .iter()
        .skip_while(|words| words.first().is_none_or(|word| word != "BLKDEV"));
    let said = of_disks.skip(1).take_while(|words| !words.is_empty());
    let said = said.filter(|words| words.len() == 4 && words[2] != "(none)");
    let said = said.map(|words| words[0].clone());
    let found = table(&sources.rows("block --all"), "disks");
    let found = found.iter().map(|row| text(row, "major"));
    let count = same(&found.collect(), &said.collect(), 3);
    format!("{count} kinds of disks")
}
