//! `cargo xtask kdump`: a guest that crashes, its capture kernel with kscope's own initial file system, and what that saved.
//!
//! tests/vm/kdump.sh sets kdump up in the guest as a person would and crashes it, once for each step, a start after each. The
//! capture writes to the guest's disk, or over ssh to this machine. What it saved is read here.

mod judge;
mod machine;

use std::path::Path;
use std::time::{Duration, Instant};

use super::boot::{self, Ended, Machine};
use super::kernel::{self, Kernel};
use super::{Kscope, missing};
use crate::arguments::Arguments;
use crate::cargo::{self, Profile};
use crate::outcome::{Outcome, Sum, Verdict};
use judge::{judge, said};
use machine::Prepared;

/// What the guest's kernel is told to reserve.
const RESERVED: &str = "crashkernel=256M";
/// Memory of the guest, MiB.
const MEMORY: u64 = 1024;
/// Time limit of one boot with its capture.
const LIMIT: Duration = Duration::from_secs(360);
/// Where the capture writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Disk,
    Ssh,
}

/// One crash and what is particular about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The test of kscope's own.
    Test,
    /// Another crash, whose dump is one more than is kept.
    Again,
    /// There is room for the log, and none for the dump.
    Full,
    /// The capture kernel panics while it writes.
    Panic,
    /// The machine that takes the dump does not go on.
    Hang,
}

const STEPS: [(&str, Step); 5] = [
    ("test", Step::Test),
    ("again", Step::Again),
    ("full", Step::Full),
    ("panic", Step::Panic),
    ("hang", Step::Hang),
];

/// The disk that holds /var, and the target where the way is none other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disk {
    Virtio,
    Nvme,
    Ahci,
    Ide,
}

const DISKS: [(&str, Disk); 4] = [
    ("virtio", Disk::Virtio),
    ("nvme", Disk::Nvme),
    ("ahci", Disk::Ahci),
    ("ide", Disk::Ide),
];

/// What is crashed, and how.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) way: Way,
    pub(crate) steps: Vec<Step>,
    pub(crate) disk: Disk,
    /// Whether /var is xfs and not ext4.
    pub(crate) xfs: bool,
    /// Keep the files of what went well, too.
    pub(crate) keep: bool,
}

fn name_of<T: PartialEq>(names: &[(&'static str, T)], thing: &T) -> &'static str {
    let found = names.iter().find(|(_, other)| other == thing);
    found.map_or("", |(name, _)| name)
}

fn named<T: Copy>(names: &[(&'static str, T)], word: &str, what: &str) -> Result<T, String> {
    let found = names.iter().find(|(name, _)| *name == word);
    let all: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
    found
        .map(|(_, thing)| *thing)
        .ok_or_else(|| format!("{what} {word}: there are {}", all.join(", ")))
}

impl Plan {
    /// Takes all steps of a way, on a disk of virtio with ext4.
    pub(crate) fn of(way: Way) -> Plan {
        let steps = match way {
            Way::Disk => vec![Step::Test, Step::Again, Step::Full, Step::Panic],
            Way::Ssh => vec![Step::Test, Step::Hang],
        };
        Plan {
            way,
            steps,
            disk: Disk::Virtio,
            xfs: false,
            keep: false,
        }
    }

    fn name(&self) -> String {
        let mut name = match self.way {
            Way::Disk => "disk".to_string(),
            Way::Ssh => "ssh".to_string(),
        };
        if self.disk != Disk::Virtio {
            name = format!("{name}-{}", name_of(&DISKS, &self.disk));
        }
        match self.xfs {
            true => name + "-xfs",
            false => name,
        }
    }

    fn steps(&self) -> String {
        let names: Vec<&str> = self
            .steps
            .iter()
            .map(|step| name_of(&STEPS, step))
            .collect();
        names.join(" ")
    }
}

/// Runs the command.
pub(crate) fn run(mut arguments: Arguments) -> Result<bool, String> {
    let mut plan = Plan::of(match arguments.flag("--ssh") {
        true => Way::Ssh,
        false => Way::Disk,
    });
    plan.keep = arguments.flag("--keep");
    plan.xfs = arguments.flag("--xfs");
    if let Some(steps) = arguments.values("--steps")?.pop() {
        let steps = steps.split(',').map(|word| named(&STEPS, word, "step"));
        plan.steps = steps.collect::<Result<_, _>>()?;
    }
    if let Some(disk) = arguments.values("--disk")?.pop() {
        plan.disk = named(&DISKS, &disk, "disk")?;
    }
    let debug = arguments.flag("--debug");
    let kscope = match arguments.values("--kscope")?.pop() {
        Some(file) => Kscope::File(file.into()),
        None if debug => Kscope::Build(Profile::Debug),
        None => Kscope::Build(Profile::Release),
    };
    let (mut kernels, rest) = arguments.finish()?;
    kernels.extend(rest);
    if kernels.is_empty() {
        return Err("kdump needs a kernel: 6.1, 6.12, …".to_string());
    }
    kernels
        .iter()
        .try_for_each(|name| kernel::check_name(name))?;
    let kscope = match kscope {
        Kscope::File(file) => file,
        Kscope::Build(profile) => cargo::kscope(profile)?,
        Kscope::Absent => return Err("kscope does not build".to_string()),
    };
    let mut sum = Sum::default();
    for name in &kernels {
        let outcomes = cycle(name, &plan, &kscope);
        outcomes.iter().for_each(|outcome| outcome.print(false));
        sum += Sum::of(&outcomes);
    }
    println!("{sum}");
    Ok(sum.failed == 0)
}

/// Crashes a guest and gives the outcome of each thing that must then be so.
pub(crate) fn cycle(name: &str, plan: &Plan, kscope: &Path) -> Vec<Outcome> {
    let title = format!("kdump {name} {}", plan.name());
    let ready = boot::emulator().and_then(|()| kernel::find(name, false));
    let mut outcomes = match ready {
        Ok(kernel) => crash(&kernel, plan, kscope)
            .unwrap_or_else(|why| vec![Outcome::new("cycle", Verdict::Failed(why))]),
        Err(why) => vec![Outcome::new("cycle", missing(why))],
    };
    for outcome in &mut outcomes {
        outcome.name = format!("{title}: {}", outcome.name);
    }
    outcomes
}

fn crash(kernel: &Kernel, plan: &Plan, kscope: &Path) -> Result<Vec<Outcome>, String> {
    let scratch = cargo::scratch_dir()?;
    let base = format!(
        "kdump-{}-{}-{}",
        std::process::id(),
        kernel.name.replace('/', "_"),
        plan.name()
    );
    let folder = scratch.join(base);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let prepared = machine::prepare(kernel, plan, kscope, &folder)?;
    let mut outcomes = Vec::new();
    for (at, step) in plan.steps.iter().enumerate() {
        let started = Instant::now();
        let word = name_of(&STEPS, step);
        prepared.before(*step)?;
        let ended = start(
            kernel,
            &prepared,
            &folder.join(format!("{word}.log")),
            *step,
        )?;
        let said = said(&ended);
        let mut found = judge::guest(*step, &said, &ended, at == 0);
        if at > 0 && plan.steps[at - 1] == Step::Test {
            found.push(judge::verified(&said));
        }
        // What has a file system of its own kind is read by the guest alone.
        if *step == Step::Test && !plan.xfs {
            let saved = folder.join("saved");
            found.push(judge(
                "what was saved can be fetched",
                prepared.fetch(&saved),
            ));
            found.extend(judge::saved(kscope, &saved, &said, plan.way));
        }
        if *step == Step::Hang {
            let saved = folder.join("saved-hang");
            found.push(judge(
                "what was saved can be fetched",
                prepared.fetch(&saved),
            ));
            found.extend(judge::hung(&saved));
        }
        if let Some(first) = found.first_mut() {
            first.time = started.elapsed();
        }
        for outcome in &mut found {
            outcome.name = format!("{word}: {}", outcome.name);
        }
        outcomes.extend(found);
    }
    if plan.way == Way::Disk || plan.steps.last() == Some(&Step::Test) {
        let started = Instant::now();
        let ended = start(kernel, &prepared, &folder.join("end.log"), Step::Test)?;
        let said = said(&ended);
        let mut found = Vec::new();
        if plan.steps.last() == Some(&Step::Test) {
            found.push(judge::verified(&said));
        }
        if plan.xfs {
            found.push(judge::read_there(&said));
        } else if plan.steps.len() > 1 {
            let saved = folder.join("saved-end");
            found.push(judge(
                "what was saved can be fetched",
                prepared.fetch(&saved),
            ));
            found.extend(judge::kept(kscope, &saved, &plan.steps));
        }
        if let Some(first) = found.first_mut() {
            first.time = started.elapsed();
        }
        outcomes.extend(found);
    }
    let failed = outcomes
        .iter()
        .any(|outcome| matches!(outcome.verdict, Verdict::Failed(_)));
    drop(prepared);
    if plan.keep || failed {
        println!("    {} is kept", folder.display());
    } else {
        let _ = std::fs::remove_dir_all(&folder);
    }
    Ok(outcomes)
}

fn start(kernel: &Kernel, prepared: &Prepared, logs: &Path, step: Step) -> Result<Ended, String> {
    boot::boot(&Machine {
        image: &kernel.image,
        initramfs: &prepared.initramfs,
        memory: MEMORY,
        limit: LIMIT,
        logs,
        dump: None,
        // By then the dump is being written.
        interrupt_at: (step == Step::Panic).then_some("the log of the crashed kernel is saved"),
        append: RESERVED,
        devices: &prepared.devices,
    })
}
