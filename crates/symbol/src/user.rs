//! Names for addresses of processes.
//!
//! What a process has mapped is kept from when it is first asked for, so that its addresses have
//! names after it has ended. A process that is asked for again is looked at again from time to
//! time: it may have run another program since, or loaded a library. What it had before is kept too.

mod functions;
mod maps;
mod perf_map;
mod process;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::files::{inside_root, open_regular, read_open};
use crate::stat::ProcessStat;
use crate::thread::living_thread;
use functions::Functions;
pub use functions::{UserFile, UserFunction};
use maps::{Backing, FileId, Mapping, Version};
use perf_map::PerfMap;
use process::{Process, is_full, make_room};

/// How long what was read of a process counts.
const FRESH: Duration = Duration::from_secs(1);
/// How long the first look at a process counts, where something is missing from it.
const EARLY: Duration = Duration::from_millis(10);
/// How often a process is looked at without being asked for an address.
const EARLY_LOOKS: u32 = 4;
/// Most bytes of what the kernel says of a process's mappings, or a compiler of its code.
const LONGEST_TEXT: u64 = 64 << 20;
/// Files at most whose functions are kept, and about how many bytes of these. A file with more is kept alone.
const FILES: usize = 4096;
const BYTES: usize = 256 << 20;
/// Files at most that are held open because nothing has their name any more.
const HELD: usize = 256;

/// A name of an address of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSymbol {
    /// Name of the function.
    pub name: Arc<str>,
    /// Bytes from its begin to the address.
    pub offset: u64,
    /// The file that it belongs to, as the process sees it.
    pub module: Arc<str>,
}

/// Where an address of a process lies in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildId {
    /// The file's build id in hexadecimal digits.
    pub id: Arc<str>,
    /// Offset in bytes into the file.
    pub offset: u64,
}

/// Reads what is known of the bytes of a program or library; nothing where they are none.
pub type ReadFile = fn(&[u8]) -> UserFile;

/// Gives names to addresses of processes.
#[derive(Debug)]
pub struct UserSymbolizer {
    read: ReadFile,
    processes: RefCell<HashMap<u32, Process>>,
    files: RefCell<HashMap<FileKey, Arc<Functions>>>,
    /// Bytes, about, of all functions that are kept.
    kept: Cell<usize>,
    /// Files that have no name any more, kept from when a process was seen with them.
    held: RefCell<HashMap<FileKey, File>>,
    vdso: RefCell<Option<Arc<Functions>>>,
}

/// What tells files apart: device, inode, and what changes with the content. A file that is built
/// again may have the inode of the old one.
type FileKey = (String, u64, Option<Version>);

impl UserSymbolizer {
    /// Prepares names; nothing is read yet.
    #[must_use]
    pub fn new(read: ReadFile) -> UserSymbolizer {
        UserSymbolizer {
            read,
            processes: RefCell::default(),
            files: RefCell::default(),
            kept: Cell::default(),
            held: RefCell::default(),
            vdso: RefCell::default(),
        }
    }

    /// Remembers what a process has mapped, if that is not known yet; of a process that was just
    /// begun, some more times, as its libraries come.
    pub fn see(&self, pid: u32) {
        let known = self.processes.borrow();
        let again = known.get(&pid).is_none_or(|process| {
            let early = process.looks < EARLY_LOOKS;
            // Later for what it has loaded since, or has become.
            let wait = if early { EARLY * process.looks } else { FRESH };
            process.looked.elapsed() >= wait
        });
        drop(known);
        if again {
            self.look(pid);
        }
    }

    /// Names an address of a process; none where nothing is known of it.
    #[must_use]
    pub fn symbolize(&self, pid: u32, address: u64) -> Option<UserSymbol> {
        let mapping = self.mapping(pid, address)?;
        let inside = address - mapping.start;
        match &mapping.file {
            Backing::File(file) => {
                let functions = self.functions(pid, &mapping, file);
                let (name, offset) = functions.find(inside.checked_add(mapping.offset)?)?;
                Some(UserSymbol {
                    name: name.clone(),
                    offset,
                    module: file.path.as_str().into(),
                })
            }
            Backing::Vdso => {
                let functions = self.vdso();
                let (name, offset) = functions.find(inside)?;
                Some(UserSymbol {
                    name: name.clone(),
                    offset,
                    module: "[vdso]".into(),
                })
            }
            Backing::Anonymous => {
                let map = self.perf_map(pid, address)?;
                let (name, offset) = map.find(address)?;
                Some(UserSymbol {
                    name: name.clone(),
                    offset,
                    module: format!("/tmp/perf-{pid}.map").into(),
                })
            }
        }
    }

    /// Finds the file that an address of a process lies in, by its build id.
    #[must_use]
    pub fn build_id(&self, pid: u32, address: u64) -> Option<BuildId> {
        let mapping = self.mapping(pid, address)?;
        let Backing::File(file) = &mapping.file else {
            return None;
        };
        let functions = self.functions(pid, &mapping, file);
        Some(BuildId {
            id: functions.build_id.clone()?,
            offset: (address - mapping.start).checked_add(mapping.offset)?,
        })
    }

    fn mapping(&self, pid: u32, address: u64) -> Option<Mapping> {
        let known = self.processes.borrow().get(&pid).map(|process| {
            let found = process.find(address);
            // What is not known may have come since.
            let fresh = if found.is_some() { FRESH } else { EARLY };
            (process.looked.elapsed() >= fresh, found)
        });
        match known {
            // What lies elsewhere by now was here when the address was taken.
            Some((false, Some(found))) => Some(found),
            Some((false, None)) => None,
            Some((true, _)) | None => {
                self.look(pid);
                self.processes.borrow().get(&pid)?.find(address)
            }
        }
    }

    /// Reads what a process has mapped now. Of one that has ended nothing changes.
    fn look(&self, pid: u32) {
        let now = Instant::now();
        let mut processes = self.processes.borrow_mut();
        let began = || {
            let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
            ProcessStat::parse(&stat)?.began()
        };
        let begin = began();
        let task = living_thread(pid);
        let text = read_text(Path::new(&format!("/proc/{task}/maps")));
        let mappings = text.map(|text| maps::parse(&text));
        let mappings = mappings.filter(|mappings| !mappings.is_empty());
        let mappings = mappings.map(|mut mappings| {
            note_versions(task, &mut mappings);
            mappings
        });
        let owner = owner(pid);
        // Of one that ended meanwhile, and whose number another has by now, nothing is known.
        let mappings = mappings.filter(|_| begin == began());
        if !processes.contains_key(&pid) {
            match &mappings {
                Some(_) => make_room(&mut processes),
                // Those of which something is known stay.
                None if is_full(&processes) => return,
                None => {}
            }
        }
        let process = processes.entry(pid);
        let process = process
            .and_modify(|process| {
                process.looked = now;
                process.looks += 1;
                process.owner = owner.or(process.owner);
            })
            .or_insert_with(|| Process::new(now, owner));
        // It has ended, or cannot be looked at: that is so for a while.
        if let Some(mappings) = mappings {
            self.hold_deleted(task, &mappings);
            process.add(mappings, begin);
        }
    }

    /// Opens files that only the process still has.
    fn hold_deleted(&self, pid: u32, mappings: &[Mapping]) {
        for mapping in mappings {
            let Backing::File(file) = &mapping.file else {
                continue;
            };
            let key = file.key();
            if !file.deleted || self.files.borrow().contains_key(&key) {
                continue;
            }
            let mut held = self.held.borrow_mut();
            if held.len() < HELD && !held.contains_key(&key) {
                if let Ok(open) = open_regular(map_file(pid, mapping)) {
                    held.insert(key, open);
                }
            }
        }
    }

    fn functions(&self, pid: u32, mapping: &Mapping, file: &FileId) -> Arc<Functions> {
        let key = file.key();
        if let Some(known) = self.files.borrow().get(&key) {
            return known.clone();
        }
        let bytes = self.bytes(living_thread(pid), mapping, file);
        let found = bytes.map(|bytes| (self.read)(&bytes)).unwrap_or_default();
        let found = Arc::new(Functions::new(found));
        let mut files = self.files.borrow_mut();
        let bytes = found.bytes();
        if files.len() >= FILES || self.kept.get() + bytes > BYTES {
            files.clear();
            self.kept.set(0);
        }
        self.kept.set(self.kept.get() + bytes);
        files.insert(key, found.clone());
        found
    }

    /// Reads a file: as the process has it, by what it is called there, by what it is called here.
    fn bytes(&self, pid: u32, mapping: &Mapping, file: &FileId) -> Option<Vec<u8>> {
        if let Some(open) = self.held.borrow_mut().remove(&file.key()) {
            return read_open(open).ok();
        }
        for path in names(pid, mapping, file) {
            if let Ok(open) = open_regular(path) {
                if open.metadata().is_ok_and(|metadata| is_it(&metadata, file)) {
                    return read_open(open).ok();
                }
            }
        }
        None
    }

    /// The code that the kernel gives each process is the same in all of 64 bits.
    fn vdso(&self) -> Arc<Functions> {
        let mut vdso = self.vdso.borrow_mut();
        let found = vdso.get_or_insert_with(|| {
            let bytes = own_vdso().unwrap_or_default();
            Arc::new(Functions::new((self.read)(&bytes)))
        });
        found.clone()
    }

    fn perf_map(&self, pid: u32, address: u64) -> Option<Arc<PerfMap>> {
        let mut processes = self.processes.borrow_mut();
        let process = processes.get_mut(&pid)?;
        let known = process.perf_map.as_ref();
        if known.is_some_and(|map| map.find(address).is_some()) {
            return process.perf_map.clone();
        }
        if process.perf_map_read.is_some_and(|at| at.elapsed() < FRESH) {
            return None;
        }
        process.perf_map_read = Some(Instant::now());
        let inner = inner_pid(pid).unwrap_or(pid);
        let paths = [
            inside_root(
                Path::new(&format!("/proc/{pid}/root")),
                Path::new(&format!("/tmp/perf-{inner}.map")),
            )
            .unwrap_or_default(),
            PathBuf::from(format!("/tmp/perf-{pid}.map")),
        ];
        let owner = process.owner;
        let text = paths.iter().find_map(|path| read_text_of(path, owner))?;
        process.perf_map = Some(Arc::new(PerfMap::parse(&text)));
        process.perf_map.clone()
    }
}

fn map_file(pid: u32, mapping: &Mapping) -> String {
    format!(
        "/proc/{pid}/map_files/{:x}-{:x}",
        mapping.start, mapping.end
    )
}

/// Gives the names of a file: as the process has it, as it is called there, as it is called here.
fn names(pid: u32, mapping: &Mapping, file: &FileId) -> impl Iterator<Item = PathBuf> {
    let path = PathBuf::from(&file.path);
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    let mapped = PathBuf::from(map_file(pid, mapping));
    let named = path.clone();
    // Links are followed only where the first does not do.
    let there = std::iter::once_with(move || inside_root(&root, &named).ok());
    std::iter::once(mapped).chain(there.flatten()).chain([path])
}

/// Says whether a file is the one that was mapped, as it was then. Devices of some filesystems
/// (btrfs, overlayfs) are told in two ways, so that the inode has to do.
fn is_it(metadata: &Metadata, file: &FileId) -> bool {
    let same = file
        .version
        .is_none_or(|then| then == Version::of(metadata));
    metadata.is_file() && metadata.ino() == file.inode && same
}

/// Notes which version of each file a process has mapped.
fn note_versions(pid: u32, mappings: &mut [Mapping]) {
    for mapping in mappings {
        let Backing::File(file) = &mapping.file else {
            continue;
        };
        let mut all = names(pid, mapping, file);
        let version = all.find_map(|path| {
            let metadata = std::fs::metadata(path).ok()?;
            is_it(&metadata, file).then(|| Version::of(&metadata))
        });
        drop(all);
        let file = Arc::new(FileId {
            version,
            ..FileId::clone(file)
        });
        mapping.file = Backing::File(file);
    }
}

/// Gives the user that a process runs as.
fn owner(pid: u32) -> Option<u32> {
    let metadata = std::fs::metadata(format!("/proc/{pid}"));
    metadata.ok().map(|metadata| metadata.uid())
}

/// Reads a text that a process, or root, wrote. Anybody may write into `/tmp` what another's code is
/// called.
fn read_text_of(path: &Path, owner: Option<u32>) -> Option<String> {
    let file = open_regular(path).ok()?;
    let by = file.metadata().ok()?.uid();
    if by != 0 && Some(by) != owner {
        return None;
    }
    read_text_from(file)
}

fn read_text(path: &Path) -> Option<String> {
    read_text_from(open_regular(path).ok()?)
}

fn read_text_from(file: File) -> Option<String> {
    let mut bytes = Vec::new();
    file.take(LONGEST_TEXT).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn own_vdso() -> Option<Vec<u8>> {
    let text = read_text(Path::new("/proc/self/maps"))?;
    let mappings = maps::parse(&text);
    let vdso = mappings
        .iter()
        .find(|mapping| mapping.file == Backing::Vdso)?;
    let len = usize::try_from(vdso.end.checked_sub(vdso.start)?).ok()?;
    let mut bytes = vec![0; len.min(1 << 20)];
    let memory = File::open("/proc/self/mem").ok()?;
    memory.read_exact_at(&mut bytes, vdso.start).ok()?;
    Some(bytes)
}

/// Gives the number that a process has in its own pid namespace.
fn inner_pid(pid: u32) -> Option<u32> {
    let status = read_text(Path::new(&format!("/proc/{pid}/status")))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_whitespace().next_back()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_are_not_waited_for() {
        let name = format!("kscope-symbol-{}.map", std::process::id());
        let path = std::env::temp_dir().join(name);
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.is_ok_and(|status| status.success()), "mkfifo");
        assert_eq!(read_text(&path), None);
        std::fs::remove_file(&path).expect("ours");
        std::fs::write(&path, "text").expect("writable");
        assert_eq!(read_text(&path).as_deref(), Some("text"));
        std::fs::remove_file(&path).expect("ours");
    }

    #[test]
    fn maps_of_code_are_the_owners() {
        let name = format!("kscope-symbol-owner-{}.map", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, "text").expect("writable");
        // Root may give it to somebody else, and is trusted with its own.
        let _ = std::os::unix::fs::chown(&path, Some(1), None);
        let by = std::fs::metadata(&path).expect("is there").uid();
        assert_eq!(read_text_of(&path, Some(by)).as_deref(), Some("text"));
        assert_eq!(read_text_of(&path, Some(by + 1)), None);
        assert_eq!(read_text_of(&path, None), None);
        std::fs::remove_file(&path).expect("ours");
    }

    fn named_by_size(bytes: &[u8]) -> UserFile {
        let mut file = one_function(bytes);
        file.functions[0].name = format!("size{}", bytes.len());
        file
    }

    #[test]
    fn a_program_that_is_built_again_has_its_own_names() {
        let folder = std::env::temp_dir().join(format!("kscope-again-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let program = folder.join("again");
        let original = std::fs::read("/bin/sleep").expect("sleep");
        std::fs::copy("/bin/sleep", &program).expect("copied");
        let symbolizer = UserSymbolizer::new(named_by_size);
        let inode = || std::fs::metadata(&program).expect("is there").ino();
        let first = inode();
        for more in [0, 1, 2] {
            let mut bytes = original.clone();
            bytes.resize(original.len() + more, 0);
            // The same inode with another content.
            std::fs::write(&program, &bytes).expect("written");
            assert_eq!(inode(), first);
            let mut child = std::process::Command::new(&program);
            let mut child = child.arg("100").spawn().expect("runs");
            let address = code_of(child.id(), "again");
            let found = symbolizer.symbolize(child.id(), address);
            child.kill().expect("ours");
            child.wait().expect("reaped");
            let expected = format!("size{}", bytes.len());
            assert_eq!(found.map(|found| found.name.to_string()), Some(expected));
        }
        std::fs::remove_dir_all(&folder).expect("ours");
    }

    /// Waits for a process to map the code of a program, and gives an address in it.
    fn code_of(pid: u32, name: &str) -> u64 {
        let address = || {
            let text = read_text(Path::new(&format!("/proc/{pid}/maps")))?;
            let mappings = maps::parse(&text);
            let of_program =
                |m: &&Mapping| matches!(&m.file, Backing::File(f) if f.path.ends_with(name));
            mappings.iter().find(of_program).map(|m| m.start + 1)
        };
        for _ in 0..400 {
            if let Some(address) = address() {
                return address;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{name} maps its code");
    }

    fn one_function(bytes: &[u8]) -> UserFile {
        UserFile {
            functions: vec![UserFunction {
                name: "whole".to_owned(),
                offset: 0,
                size: bytes.len() as u64,
            }],
            build_id: Some("abcd".to_owned()),
        }
    }

    #[test]
    fn an_address_of_this_process_lies_in_its_program() {
        let symbolizer = UserSymbolizer::new(one_function);
        let here = an_address_of_this_process_lies_in_its_program as fn() as usize as u64;
        let pid = std::process::id();
        let found = symbolizer.symbolize(pid, here).expect("it is mapped");
        let program = std::env::current_exe().expect("this program");
        assert_eq!(&*found.name, "whole");
        assert_eq!(Path::new(&*found.module), program);
        let id = symbolizer.build_id(pid, here).expect("it is a file");
        assert_eq!((&*id.id, id.offset), ("abcd", found.offset));
        assert!(symbolizer.symbolize(pid, 1).is_none());
    }

    #[test]
    fn names_stay_when_the_process_ends() {
        let symbolizer = UserSymbolizer::new(one_function);
        let mut child = std::process::Command::new("sleep")
            .arg("100")
            .spawn()
            .expect("sleep");
        let pid = child.id();
        let address = code_of(pid, "sleep");
        symbolizer.see(pid);
        child.kill().expect("ours");
        child.wait().expect("reaped");
        let found = symbolizer.symbolize(pid, address).expect("it was seen");
        assert!(found.module.ends_with("sleep"), "{found:?}");
        assert!(symbolizer.symbolize(u32::MAX, address).is_none());
    }
}
