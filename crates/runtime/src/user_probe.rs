//! Attaching programs to places of programs and libraries.

use std::path::Path;

use kscope_bpf::{Error, Features, Link, Program, Uprobe, UprobePlace};
use kscope_btf::Btf;
use kscope_script::catalogue::Absent;
use kscope_script::plan::{Attach, Plan, ProbePlan};
use kscope_spec::{AttachKind, AttachType, Spec};
use kscope_symbol::living_thread;
use kscope_sys::{Errno, SharedKernel};

use crate::early::Waiting;
use crate::kprobe_multi::MultiLinks;
use crate::user::UserFiles;

/// Where places of programs and libraries are looked up, and whose executions count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UserPlace<'a> {
    pub(crate) files: &'a UserFiles,
    /// The one process; none for all.
    pub(crate) pid: Option<u32>,
    /// Uprobes that are there already.
    pub(crate) waiting: &'a Waiting,
}

impl UserPlace<'_> {
    /// Gives the threads of the one process; none where there is none.
    pub(crate) fn threads(&self) -> Result<Vec<u32>, Error> {
        let Some(pid) = self.pid else {
            return Ok(Vec::new());
        };
        let gone = |_| Error::NotFound {
            what: "process",
            name: pid.to_string(),
            near: Vec::new(),
        };
        let entries = std::fs::read_dir(format!("/proc/{pid}/task")).map_err(gone)?;
        let names = entries.flatten().map(|entry| entry.file_name());
        Ok(names
            .filter_map(|name| name.to_str()?.parse().ok())
            .collect())
    }
}

/// How a program of many places is loaded.
pub(crate) const MANY: AttachKind = AttachKind::Expected(AttachType::TraceUprobeMulti);

/// Has programs loaded for all of their places at once, where the kernel can. For one process that is done
/// only where the kernel takes it for all its threads: those before Linux 6.12 take it for one. A process whose first
/// thread has ended has no memory for the kernel, which would put nothing into it.
///
/// Links of many uprobes are good for single ones as well: the kernel makes and takes away what a perf
/// event is one by one, and waits for all CPUs each time.
pub(crate) fn choose(
    spec: &mut Spec,
    plan: &Plan,
    pid: Option<u32>,
    kernel: &SharedKernel,
    btf: Option<&Btf>,
) {
    let many = |probe: &&ProbePlan| !probe.attach.is_empty() && probe.attach.iter().all(is_user);
    let mut probes = plan.probes.iter().filter(many).peekable();
    if probes.peek().is_none() {
        return;
    }
    let features = Features::new(kernel.clone(), btf);
    if pid.is_some_and(|pid| living_thread(pid) != pid) {
        return;
    }
    let support = match pid {
        None => features.uprobe_multi(),
        Some(_) => features.uprobe_session(),
    };
    if !support.is_available() {
        return;
    }
    for probe in probes {
        if let Some(program) = spec.programs.get_mut(probe.program.0 as usize) {
            program.attach = MANY;
        }
    }
}

/// Says whether it is a place of a program or library.
pub(crate) fn is_user(point: &Attach) -> bool {
    matches!(
        point,
        Attach::Uprobe { .. } | Attach::Uretprobe { .. } | Attach::Usdt { .. }
    )
}

/// Places of one file, entries or returns.
struct OfFile {
    path: String,
    returns: bool,
    places: Vec<UprobePlace>,
}

/// Attaches a program to the places of each file at once.
pub(crate) fn attach_many(
    program: &Program,
    points: &[Attach],
    place: &UserPlace<'_>,
    stop: &dyn Fn() -> bool,
) -> MultiLinks {
    let mut many = MultiLinks::default();
    let mut files: Vec<OfFile> = Vec::new();
    for point in points {
        if stop() {
            return many;
        }
        let (path, at) = match find(point, place) {
            Ok(found) => found,
            Err(error) => {
                many.failed.push(error);
                continue;
            }
        };
        let returns = matches!(point, Attach::Uretprobe { .. });
        let mut known = files.iter_mut();
        match known.find(|file| file.path == path && file.returns == returns) {
            Some(file) => file.places.push(at),
            None => files.push(OfFile {
                path,
                returns,
                places: vec![at],
            }),
        }
    }
    for file in &files {
        let path = Path::new(&file.path);
        many.attach(&file.places, stop, &|places| {
            let link = program.attach_uprobe_multi(path, places, file.returns, place.pid);
            link.map_err(|error| failed(&file.path, error))
        });
    }
    many
}

/// Attaches a program to one place.
pub(crate) fn attach(
    program: &Program,
    point: &Attach,
    place: &UserPlace<'_>,
) -> Result<Link, Error> {
    if let Some(waiting) = place.waiting.take(point) {
        return program.attach_open_uprobe(waiting);
    }
    let (path, at) = find(point, place)?;
    let uprobe = Uprobe {
        path: Path::new(&path),
        place: at,
        on_return: matches!(point, Attach::Uretprobe { .. }),
        pid: place.pid.map(living_thread),
    };
    let link = program.attach_uprobe(&uprobe);
    link.map_err(|error| failed(&path, error))
}

fn find(point: &Attach, place: &UserPlace<'_>) -> Result<(String, UprobePlace), Error> {
    place.files.place(point).map_err(|absent| {
        let (name, near) = match absent {
            Absent::Missing { why, near } => (why, near),
            Absent::Unavailable(why) => (why, Vec::new()),
        };
        Error::NotFound {
            what: "place:",
            name,
            near,
        }
    })
}

/// Says what the kernel means where there is no instruction to put a probe on.
fn failed(path: &str, error: Error) -> Error {
    match error {
        Error::Os { errno, .. } if errno == Errno::INVAL => Error::Invalid {
            why: format!("{path}: no instruction that can be probed is at that place"),
        },
        error => error,
    }
}
