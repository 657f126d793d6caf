//! Reading a dump of 52 MB: kscope with nothing but the dump, crash and drgn with the debuginfo of its kernel.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::measure::{Cost, cost};
use super::table::{Aim, Unit, Versus, median};
use super::{Settings, debuginfo, peer};
use crate::chroot;

/// The dump: Linux 6.1, 97 tasks beside the idle ones.
const DUMP: &str = "6.1.192-kdump-lzo-d31.vmcore";

/// Tasks in it.
const TASKS: usize = 97;

/// Interleaved runs at most: crash takes seconds for each.
const RUNS: usize = 5;

/// Folders of the chroot in which it sees the dump, the debuginfo and what it is asked.
const SEEN: [&str; 3] = ["mnt", "media", "srv"];

/// What is asked of each program.
struct Question {
    name: &'static str,
    /// As kscope's own words behind the dump.
    kscope: &'static [&'static str],
    /// Lines of kscope's shell, where it takes more than one command.
    lines: &'static str,
    crash: &'static str,
    drgn: &'static str,
    /// What every answer has in it, and how often.
    proof: (&'static str, usize),
    time: Aim,
    memory: Aim,
}

const QUESTIONS: [Question; 3] = [
    Question {
        name: "the log",
        kscope: &["log"],
        lines: "",
        crash: "log",
        drgn: "from drgn.helpers.linux.printk import print_dmesg\nprint_dmesg(prog)\n",
        proof: ("Kernel panic - not syncing", 1),
        time: Aim::Within(10.0),
        memory: Aim::AtMost(0.2),
    },
    Question {
        name: "what happened, the stack of the panic",
        kscope: &[],
        lines: "",
        crash: "sys\nbt",
        drgn: "print(prog.crashed_thread().stack_trace())\n",
        proof: ("write_sysrq_trigger", 1),
        time: Aim::AtMost(1.0 / 15.0),
        memory: Aim::AtMost(0.2),
    },
    Question {
        name: "the same, and the stacks of all tasks",
        kscope: &["shell"],
        lines: "summary\nbt --all\n",
        crash: "sys\nforeach bt",
        drgn: "from drgn.helpers.linux.pid import for_each_task\n\
               for task in for_each_task(prog):\n\
               \x20   print(task.pid, task.comm)\n\
               \x20   try:\n\
               \x20       print(prog.stack_trace(task))\n\
               \x20   except ValueError:\n\
               \x20       print('runs')\n",
        proof: ("schedule", TASKS - 2),
        time: Aim::Within(300.0),
        memory: Aim::Within(100.0),
    },
];

/// The programs, each with how it is called; absent ones with why.
struct Programs {
    kscope: PathBuf,
    dump: PathBuf,
    /// The folder that crash has for `/`.
    crash: Option<PathBuf>,
    drgn: Option<(PathBuf, PathBuf)>,
    folder: PathBuf,
}

/// Measures kscope, and the others where they are wanted.
pub(super) fn measure(kscope: &Path, peers: bool, settings: &Settings) -> Result<(), String> {
    let fixtures = std::env::var_os("KSCOPE_FIXTURES").map(PathBuf::from);
    let fixtures = fixtures.map(|folder| folder.join("vmcore"));
    let fixtures = fixtures.filter(|folder| folder.join(DUMP).exists());
    let fixtures =
        fixtures.ok_or_else(|| format!("KSCOPE_FIXTURES names no folder with {DUMP}"))?;
    let mut programs = Programs {
        kscope: kscope.to_path_buf(),
        dump: fixtures.join(DUMP),
        crash: None,
        drgn: None,
        folder: super::scratch()?.join("dump"),
    };
    std::fs::create_dir_all(&programs.folder).map_err(|error| error.to_string())?;
    let mut notes = Vec::new();
    if peers {
        match programs.with_crash(&fixtures) {
            Ok(root) => programs.crash = Some(root),
            Err(why) => notes.push(format!("crash: {why}")),
        }
        match debuginfo::vmlinux().and_then(|image| Ok((debuginfo::drgn()?, image))) {
            Ok(drgn) => programs.drgn = Some(drgn),
            Err(why) => notes.push(format!("drgn: {why}")),
        }
    } else {
        notes.push("crash and drgn are measured with --peers".to_string());
    }
    let mut table = Versus::new(["kscope", "crash 9", "drgn 0.3"]);
    for question in &QUESTIONS {
        programs.ask(question, settings.runs.min(RUNS), &mut table, &mut notes)?;
    }
    table.finish();
    notes.iter().for_each(|note| println!("note: {note}"));
    Ok(())
}

impl Programs {
    /// Lets crash see the dump, the debuginfo and what it is asked; gives the folder that it has for `/`.
    fn with_crash(&self, fixtures: &Path) -> Result<PathBuf, String> {
        let root = peer::sid_with("crash", "usr/bin/crash")?;
        let image = debuginfo::vmlinux()?;
        let of_image = image.parent().unwrap_or(&image);
        for (folder, seen) in [fixtures, of_image, &self.folder].into_iter().zip(SEEN) {
            let folder = folder.to_str().ok_or("a folder's name")?;
            chroot::mount(&["--bind", folder], &root.join(seen))?;
        }
        Ok(root)
    }

    /// Asks all in turns, and adds their lines to the table.
    fn ask(
        &self,
        question: &Question,
        runs: usize,
        table: &mut Versus,
        notes: &mut Vec<String>,
    ) -> Result<(), String> {
        let commands = self.commands(question)?;
        let mut costs: [Vec<Cost>; 3] = Default::default();
        for (command, name) in commands.iter().zip(["kscope", "crash", "drgn"]) {
            if let Some(command) = command {
                // The first run, which warms caches, is not counted: its answer is looked at.
                if let Err(why) = check(command, question) {
                    notes.push(format!("{name}, {}: {why}", question.name));
                }
            }
        }
        for _ in 0..runs {
            for (command, costs) in commands.iter().zip(&mut costs) {
                if let Some(command) = command {
                    costs.push(cost(command)?);
                }
            }
        }
        let mut add = |what: &str, unit, aim, of: fn(&Cost) -> f64| {
            let values = costs.each_ref();
            let values = values.map(|costs| median(costs.iter().map(of).collect()));
            table.add(&format!("{}: {what}", question.name), unit, values, aim);
        };
        add("time", Unit::Milliseconds, question.time, |cost| cost.wall);
        add("CPU time", Unit::Milliseconds, Aim::None, |cost| cost.cpu);
        let memory = question.memory;
        add("peak memory", Unit::Megabytes, memory, |cost| cost.memory);
        Ok(())
    }

    /// Gives the commands of kscope, crash and drgn.
    fn commands(&self, question: &Question) -> Result<[Option<Command>; 3], String> {
        let write = |name: &str, text: String| {
            let file = self.folder.join(name);
            std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
            Ok::<_, String>(file)
        };
        let mut kscope = Command::new(&self.kscope);
        kscope.arg("crash").arg(&self.dump).args(question.kscope);
        if !question.lines.is_empty() {
            let lines = write("lines", question.lines.to_string())?;
            let whole = kscope;
            kscope = Command::new("sh");
            kscope.args(["-c", "file=$1; shift; exec \"$@\" < \"$file\"", "sh"]);
            kscope
                .arg(lines)
                .arg(whole.get_program())
                .args(whole.get_args());
        }
        let crash = match &self.crash {
            None => None,
            Some(root) => {
                let lines = format!("set scroll off\n{}\nquit\n", question.crash);
                write("crash.lines", lines)?;
                let image = debuginfo::vmlinux()?;
                let image = image.file_name().unwrap_or_default().to_string_lossy();
                let mut crash = Command::new("chroot");
                crash
                    .arg(root)
                    .args(["/usr/bin/crash", "-s", "-i", "/srv/crash.lines"]);
                crash
                    .arg(format!("/media/{image}"))
                    .arg(format!("/mnt/{DUMP}"));
                Some(crash)
            }
        };
        let drgn = match &self.drgn {
            None => None,
            Some((program, image)) => {
                let script = write("drgn.py", question.drgn.to_string())?;
                let mut drgn = Command::new(program);
                drgn.args(["-q", "--log-level", "none", "-c"])
                    .arg(&self.dump);
                drgn.arg("-s").arg(image).arg(script);
                Some(drgn)
            }
        };
        Ok([Some(kscope), crash, drgn])
    }
}

/// Says what is wrong with an answer: one that is not whole takes less time.
fn check(command: &Command, question: &Question) -> Result<(), String> {
    let mut again = Command::new(command.get_program());
    let output = again.args(command.get_args()).output();
    let output = output.map_err(|error| error.to_string())?;
    let out = String::from_utf8_lossy(&output.stdout);
    let (proof, least) = question.proof;
    let found = out.lines().filter(|line| line.contains(proof)).count();
    if output.status.success() && found >= least {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or_default();
    Err(format!(
        "{}, {found} of {least} lines with {proof}: {last}",
        output.status
    ))
}
