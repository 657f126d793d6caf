//! Saving a dump: kscope beside makedumpfile, of the same core file with nothing left out.

use std::path::Path;
use std::process::Command;

use super::measure::{Cost, cost};
use super::table::{Aim, Unit, Versus, median};
use super::{Settings, peer};
use crate::chroot;

/// The dump of which the core file is made: a guest that ran Linux 5.10, with nothing left out.
const DUMP: &str = "5.10.223-qemu-live.zlib.vmcore";

/// Names in the folder that both see.
const CORE: &str = "core";
const OURS: &str = "kscope.out";
const THEIRS: &str = "makedumpfile.out";

/// Measures kscope, and makedumpfile where peers are wanted.
pub(super) fn measure(kscope: &Path, peers: bool, settings: &Settings) -> Result<(), String> {
    let fixtures = std::env::var_os("KSCOPE_FIXTURES").map(std::path::PathBuf::from);
    let source = fixtures.map(|folder| folder.join("vmcore").join(DUMP));
    let source = source.filter(|file| file.exists());
    let source = source.ok_or_else(|| format!("KSCOPE_FIXTURES names no folder with {DUMP}"))?;
    let folder = super::scratch()?.join("save");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let save = |words: &[&str], source: &Path, output: &str| {
        let mut command = Command::new(kscope);
        command.args(["kdump", "save", "--quiet", "--no-log", "--force"]);
        command
            .args(words)
            .arg("-o")
            .arg(folder.join(output))
            .arg(source);
        command
    };
    cost(&save(&["-d", "0", "--format", "elf"], &source, CORE))?;
    let peer = match peers {
        true => peer::sid_with("makedumpfile", "usr/bin/makedumpfile").and_then(|root| {
            let seen = folder.to_str().ok_or("a folder's name")?;
            chroot::mount(&["--bind", seen], &root.join("mnt"))?;
            Ok(root)
        }),
        false => Err("makedumpfile is measured with --peers".to_string()),
    };
    let theirs = |words: &[&str]| {
        let mut command = Command::new("chroot");
        command.arg(peer.as_ref().ok()?);
        command.args([
            "/usr/bin/makedumpfile",
            "-f",
            "--message-level",
            "0",
            "-d",
            "31",
        ]);
        command.args(words);
        command.args([format!("/mnt/{CORE}"), format!("/mnt/{THEIRS}")]);
        Some(command)
    };
    let core = folder.join(CORE);
    let ours = |words: &[&str]| save(words, &core, OURS);
    let mut table = Versus::new(["kscope", "makedumpfile", "-"]);
    let mut one_thread = None;
    for (name, words, their_words, aim) in [
        ("-d 31, zstd", ["-c", "zstd", "-t", "1"], &["-z"][..], 1.0),
        ("-d 31, as they are", ["-c", "none", "-t", "1"], &[], 0.5),
        ("-d 31, lzo", ["-c", "lzo", "-t", "1"], &["-l"], 1.0),
    ] {
        let runs = turns(&[Some(ours(&words)), theirs(their_words)], settings.runs)?;
        let of = |which: usize, of: fn(&Cost) -> f64| median(runs[which].iter().map(of).collect());
        let cpu = [of(0, |run| run.cpu), of(1, |run| run.cpu), None];
        table.add(
            &format!("{name}: CPU time"),
            Unit::Milliseconds,
            cpu,
            Aim::AtMost(aim),
        );
        let memory = [of(0, |run| run.memory), of(1, |run| run.memory), None];
        let within = Aim::Within(30.0);
        table.add(
            &format!("{name}: peak memory"),
            Unit::Megabytes,
            memory,
            within,
        );
        one_thread = one_thread.or(of(0, |run| run.wall));
        // Less work for a larger file is no gain.
        let size = |name: &str| Some(std::fs::metadata(folder.join(name)).ok()?.len() as f64 / 1e6);
        let of_peer = peer.as_ref().ok().and_then(|_| size(THEIRS));
        table.add(
            &format!("{name}: size of the file"),
            Unit::Megabytes,
            [size(OURS), of_peer, None],
            Aim::None,
        );
    }
    let runs = turns(&[Some(ours(&["-t", "2"]))], settings.runs)?;
    let of = |of: fn(&Cost) -> f64| median(runs[0].iter().map(of).collect());
    let within = Aim::Within(30.0);
    let memory = [of(|run| run.memory), None, None];
    table.add("two threads: peak memory", Unit::Megabytes, memory, within);
    let wall = [of(|run| run.wall), one_thread, None];
    let name = "two threads, zstd: time, beside one thread's";
    table.add(name, Unit::Milliseconds, wall, Aim::AtMost(1.0 / 1.6));
    table.finish();
    if let Err(why) = &peer {
        println!("note: {why}");
    }
    // They are large.
    for name in [CORE, OURS, THEIRS] {
        let _ = std::fs::remove_file(folder.join(name));
    }
    Ok(())
}

/// Runs commands in turns; the first time, which warms caches, does not count.
fn turns(commands: &[Option<Command>], runs: usize) -> Result<[Vec<Cost>; 2], String> {
    let mut costs: [Vec<Cost>; 2] = Default::default();
    for run in 0..=runs {
        for (command, costs) in commands.iter().zip(&mut costs) {
            if let Some(command) = command {
                let found = cost(command)?;
                if run > 0 {
                    costs.push(found);
                }
            }
        }
    }
    Ok(costs)
}
