//! What is known of processes: what they have mapped now and had before.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::maps::{self, Backing, Mapping};
use super::perf_map::PerfMap;

/// How many sets of mappings of a process are kept.
const GENERATIONS: usize = 4;
/// Processes at most whose mappings are kept.
const PROCESSES: usize = 16 << 10;
/// Bytes at most, about, of their mappings and of what compilers say of their code.
const BYTES: usize = 128 << 20;

/// A process as it was.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) looked: Instant,
    pub(super) looks: u32,
    /// The latest first.
    generations: Vec<Generation>,
    /// Who it ran as.
    pub(super) owner: Option<u32>,
    pub(super) perf_map: Option<Arc<PerfMap>>,
    pub(super) perf_map_read: Option<Instant>,
}

/// What a process had mapped at a time.
#[derive(Debug)]
struct Generation {
    mappings: Arc<[Mapping]>,
    /// When the process began, in the kernel's ticks: another that has its number now began later. None where it cannot be
    /// told.
    began: Option<u64>,
}

impl Process {
    /// Takes a process of which nothing is known yet.
    pub(super) fn new(looked: Instant, owner: Option<u32>) -> Process {
        Process {
            looked,
            looks: 1,
            generations: Vec::new(),
            owner,
            perf_map: None,
            perf_map_read: None,
        }
    }

    /// Takes what it has mapped now.
    pub(super) fn add(&mut self, mappings: Vec<Mapping>, began: Option<u64>) {
        let last = self.generations.first();
        if last.is_some_and(|last| last.began != began) {
            // The code that a compiler wrote was the other one's.
            (self.perf_map, self.perf_map_read) = (None, None);
        }
        if last.is_none_or(|last| *last.mappings != *mappings || last.began != began) {
            let mappings = mappings.into();
            self.generations.insert(0, Generation { mappings, began });
            self.generations.truncate(GENERATIONS);
        }
    }

    /// Finds what lies at an address: now, or before that. None where another process of the same number had something else
    /// there: nobody knows whose the address is.
    pub(super) fn find(&self, address: u64) -> Option<Mapping> {
        let at = |generation: &Generation| maps::find(&generation.mappings, address).cloned();
        let mut all = self.generations.iter();
        let (found, began) = all.find_map(|one| Some((at(one)?, one.began)))?;
        let mut others = all.filter(|one| one.began != began).filter_map(at);
        others
            .all(|other| is_same_place(&found, &other))
            .then_some(found)
    }

    /// Gives about how many bytes it takes.
    fn bytes(&self) -> usize {
        /// A mapping with its file's name.
        const MAPPING: usize = size_of::<Mapping>() + 160;
        let mappings = self.generations.iter().map(|one| one.mappings.len());
        let perf_map = self.perf_map.as_ref().map_or(0, |map| map.bytes);
        mappings.sum::<usize>() * MAPPING + perf_map + size_of::<Process>()
    }
}

/// Says whether an address in both mappings is the same place of the same file.
fn is_same_place(one: &Mapping, other: &Mapping) -> bool {
    let place = |mapping: &Mapping| mapping.offset.wrapping_sub(mapping.start);
    match (&one.file, &other.file) {
        (Backing::File(one_file), Backing::File(other_file)) => {
            one_file.key() == other_file.key() && place(one) == place(other)
        }
        (Backing::Vdso, Backing::Vdso) => one.start == other.start,
        _ => false,
    }
}

/// Says whether there are as many processes as there may be.
pub(super) fn is_full(processes: &HashMap<u32, Process>) -> bool {
    processes.len() >= PROCESSES
}

/// Makes room for another process: those that have not been looked at for the longest time go.
pub(super) fn make_room(processes: &mut HashMap<u32, Process>) {
    make_room_of(processes, PROCESSES, BYTES);
}

fn make_room_of(processes: &mut HashMap<u32, Process>, most: usize, most_bytes: usize) {
    let bytes: usize = processes.values().map(Process::bytes).sum();
    if processes.len() < most && bytes < most_bytes {
        return;
    }
    let mut looked: Vec<Instant> = processes.values().map(|process| process.looked).collect();
    looked.sort_unstable();
    // Half of them, so that this is seldom done.
    let Some(middle) = looked.get(looked.len() / 2).copied() else {
        return;
    };
    processes.retain(|_, process| process.looked > middle);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn process(owner: u32) -> Process {
        Process::new(Instant::now(), Some(owner))
    }

    #[test]
    fn an_address_of_two_processes_of_one_number_is_nobodys() {
        let of = |name: &str, inode: u64| {
            maps::parse(&format!(
                "400000-500000 r-xp 00001000 fd:01 {inode} /bin/{name}\n\
                 {inode}00000000-{inode}00001000 r-xp 00000000 fd:01 9 /lib/libc\n"
            ))
        };
        let name = |process: &Process, address| match process.find(address)?.file {
            Backing::File(file) => Some(file.path.clone()),
            _ => None,
        };
        let mut one = process(0);
        one.add(of("old", 1), Some(100));
        assert_eq!(name(&one, 0x40_0010).as_deref(), Some("/bin/old"));
        // It runs another program: what is there now counts.
        one.add(of("next", 2), Some(100));
        assert_eq!(name(&one, 0x40_0010).as_deref(), Some("/bin/next"));
        assert_eq!(name(&one, 0x1_0000_0010).as_deref(), Some("/lib/libc"));
        // Another process has its number.
        one.add(of("new", 3), Some(200));
        assert_eq!(name(&one, 0x40_0010), None);
        assert_eq!(name(&one, 0x3_0000_0010).as_deref(), Some("/lib/libc"));
        assert_eq!(name(&one, 0x1_0000_0010).as_deref(), Some("/lib/libc"));
        // Where it is the same program, it is the same place.
        let mut two = process(0);
        two.add(of("same", 1), Some(100));
        two.add(of("same", 1), Some(200));
        assert_eq!(two.generations.len(), 2);
        assert_eq!(name(&two, 0x40_0010).as_deref(), Some("/bin/same"));
    }

    #[test]
    fn those_that_were_looked_at_last_are_kept() {
        let begin = Instant::now();
        let fill = |mappings: usize| {
            let text = "1000-2000 r-xp 00000000 00:00 0\n".repeat(mappings);
            let all = (0..8).map(|pid| {
                let looked = begin + Duration::from_secs(pid);
                let mut process = Process::new(looked, None);
                process.add(maps::parse(&text), None);
                (pid as u32, process)
            });
            all.collect::<HashMap<u32, Process>>()
        };
        let check = |mappings, most, bytes, expected: &[u32]| {
            let mut processes = fill(mappings);
            make_room_of(&mut processes, most, bytes);
            let mut left: Vec<u32> = processes.into_keys().collect();
            left.sort_unstable();
            assert_eq!(left, expected);
        };
        check(1, 100, 1 << 20, &[0, 1, 2, 3, 4, 5, 6, 7]);
        check(1, 8, 1 << 20, &[5, 6, 7]);
        check(10_000, 100, 1 << 20, &[5, 6, 7]);
    }
}
