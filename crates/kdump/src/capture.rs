//! What runs after a crash: the first program of the capture kernel.
//!
//! Two processes of this program share the work. The first one ([`supervise`]) is what the kernel
//! starts: it keeps all that is said, watches memory and time, and ends the machine whatever
//! happens. The second one ([`work`]) does what can fail: modules, the target, the dump.

mod interface;
pub(crate) mod keep;
mod place;
pub(crate) mod settings;
mod supervise;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kscope_sys::{Errno, Kernel, RealKernel};

use crate::Error;
use crate::config::Target;
use crate::root::Root;
use place::Place;
use settings::{MODULES, SETTINGS, Settings};
pub use supervise::supervise;

/// The memory of the kernel that crashed.
const VMCORE: &str = "/proc/vmcore";
/// Where its log is until the target is there.
const LOG: &str = "/tmp/dmesg.txt";
/// Tells the first process the folder of this crash.
const FOLDER: &str = "/run/capture.folder";
/// Lines of the log that the console shows.
const SHOWN: usize = 40;
/// How often a device is looked for.
const PAUSE: Duration = Duration::from_millis(100);

/// The arguments that start the second process.
const WORK: [&str; 2] = ["kdump", "capture"];

fn say(line: impl std::fmt::Display) {
    print(format_args!("kscope: {line}"));
}

/// Prints a line. A console that takes none ends nothing: the first program must not.
fn print(line: impl std::fmt::Display) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Does the work of a capture: loads the modules, saves the log, then the dump, and removes old ones.
/// What goes wrong on the way and does not end it is said on standard output.
///
/// # Errors
/// What kept the dump from being saved.
pub fn work() -> Result<(), Error> {
    let root = Root::default();
    let settings = Settings::parse(&root.text(SETTINGS).map_err(|why| {
        Error::missing(
            format!("{SETTINGS}: {why}"),
            "this command is for the initial file system that `kscope kdump initrd` makes",
        )
    })?)?;
    // Before a driver can hang or crash this kernel as well.
    let has_log = match save_log() {
        Ok(()) => true,
        Err(why) => {
            say(format_args!(
                "the log of the crashed kernel is not saved: {why}"
            ));
            false
        }
    };
    load_modules(&root);
    let place = Place::open(&root, &settings)?;
    let folder = keep::folder_name(now(), &settings.host, &place.names()?);
    place.make_folder(&folder)?;
    let written = fs::write(FOLDER, &folder);
    written.map_err(Error::file("write", Path::new(FOLDER)))?;
    say(format_args!("saving to {}", place.describe(&folder)));
    if has_log {
        let log = fs::read(LOG).map_err(Error::file("read", Path::new(LOG)))?;
        place.put(&folder, "dmesg.txt", &log)?;
        say("the log of the crashed kernel is saved");
        // It would stay in memory.
        let _ = fs::remove_file(LOG);
    }
    // Without it a full disk has no room for what the capture says.
    if let Err(why) = place.reserve(&folder) {
        say(format_args!("no room is set aside for capture.log: {why}"));
    }
    let started = Instant::now();
    place.save(&folder, &settings)?;
    let seconds = started.elapsed().as_secs_f64();
    say(format_args!("the dump is saved, in {seconds:.1} s"));
    remove_old(&place, &folder, &settings);
    Ok(())
}

/// Removes what is more than is to be kept; what cannot be removed is told, since the dump is saved.
fn remove_old(place: &Place, new: &str, settings: &Settings) {
    let names = match place.names() {
        Ok(names) => names,
        Err(why) => {
            say(format_args!("old dumps are not looked for: {why}"));
            return;
        }
    };
    for old in keep::too_many(&names, &settings.host, settings.keep, new) {
        match place.remove(&old) {
            Ok(()) => say(format_args!(
                "{old} is removed: `keep` is {}",
                settings.keep
            )),
            Err(why) => say(format_args!("{old} cannot be removed: {why}")),
        }
    }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

/// Loads the modules in their order; one that does not load is told, since others may do.
fn load_modules(root: &Root) {
    let kernel: &dyn Kernel = &RealKernel;
    let list = root.text(MODULES).unwrap_or_default();
    for line in list.lines() {
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        let [need, name, file] = words.as_slice() else {
            say(format_args!("`{line}` names no module"));
            continue;
        };
        let loaded = match fs::File::open(root.path(file)) {
            Ok(file) => {
                use std::os::fd::AsFd as _;
                kernel.load_module(file.as_fd(), c"")
            }
            Err(why) => {
                say(format_args!("{file}: {why}"));
                continue;
            }
        };
        match loaded {
            Ok(()) | Err(Errno::EXIST) => {}
            // What the processor does not have has another module beside it.
            Err(errno) if *need == "optional" => {
                say(format_args!("module {name} is left out: {errno}"));
            }
            Err(errno) => say(format_args!("module {name} does not load: {errno}")),
        }
        // Unpacked and loaded, it needs no room as a file.
        let _ = fs::remove_file(root.path(file));
    }
}

/// Saves the log of the kernel that crashed to memory, before anything else can fail.
fn save_log() -> Result<(), Error> {
    run(
        own_program().args(["kdump", "save", "--log-only", "-o", LOG, VMCORE]),
        "kdump save",
    )?;
    let bytes = fs::read(LOG).map_err(Error::file("read", Path::new(LOG)))?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(SHOWN);
    say("the last lines of the crashed kernel's log:");
    lines[from..]
        .iter()
        .for_each(|line| print(format_args!("| {line}")));
    Ok(())
}

fn own_program() -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.stdin(Stdio::null());
    command
}

/// Runs a program to its end.
fn run(command: &mut Command, name: &str) -> Result<(), Error> {
    use std::os::unix::process::ExitStatusExt as _;
    let status = command
        .status()
        .map_err(Error::file("run", Path::new(name)))?;
    match (status.success(), status.signal()) {
        (true, _) => Ok(()),
        (false, Some(9)) => Err(Error::missing(
            format!("{name} was killed: too little memory is reserved"),
            "`kscope kdump estimate` says how much to reserve",
        )),
        (false, _) => Err(Error::malformed(format!("{name} has failed: {status}"))),
    }
}

/// Waits for something to be there.
fn wait<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let until = Instant::now() + limit;
    loop {
        let found = look();
        if found.is_some() || Instant::now() >= until {
            return found;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Tells what the capture waited for in vain.
fn target_of(target: &Target) -> String {
    match target {
        Target::Uuid(uuid) => format!("no disk has a file system with the UUID {uuid}"),
        other => format!("{other} cannot be reached"),
    }
}
