//! Many kernel functions by one program and one link, where the kernel has that.

use kscope_bpf::{Features, Link, Program};
use kscope_btf::Btf;
use kscope_script::plan::{Attach, Plan};
use kscope_spec::{AttachKind, AttachType, Spec};
use kscope_sys::SharedKernel;

/// What is attached by one program to many functions.
#[derive(Debug, Default)]
pub(crate) struct MultiLinks {
    pub(crate) links: Vec<Link>,
    /// How many functions.
    pub(crate) functions: u64,
    /// Functions that cannot be probed, with the reason.
    pub(crate) failed: Vec<kscope_bpf::Error>,
}

/// Has the programs of several functions loaded for all of them at once.
pub(crate) fn choose(spec: &mut Spec, plan: &Plan, kernel: &SharedKernel, btf: Option<&Btf>) {
    // The kernel looks a name up in itself first, then in its modules: where one is named, it is the one that counts.
    let of_module = |point: &Attach| match point {
        Attach::Kprobe { function, .. } | Attach::Kretprobe { function } => function.contains(':'),
        _ => false,
    };
    let several = |points: &[Attach]| {
        points.len() > 1 && kind(points).is_some() && !points.iter().any(of_module)
    };
    let mut fit = plan.probes.iter().filter(|p| several(&p.attach)).peekable();
    if fit.peek().is_none() {
        return;
    }
    let features = Features::new(kernel.clone(), btf);
    if !features.kprobe_multi().is_available() {
        return;
    }
    for probe in fit {
        if let Some(program) = spec.programs.get_mut(probe.program.0 as usize) {
            program.attach = AttachKind::Expected(AttachType::TraceKprobeMulti);
        }
    }
}

/// Says whether a program was loaded for many functions.
pub(crate) fn is_chosen(program: &Program) -> bool {
    *program.attach_kind() == AttachKind::Expected(AttachType::TraceKprobeMulti)
}

/// Says whether all points are returns, or all entries, of functions; none where there are others.
fn kind(points: &[Attach]) -> Option<bool> {
    let entry = |point: &Attach| matches!(point, Attach::Kprobe { offset: 0, .. });
    let back = |point: &Attach| matches!(point, Attach::Kretprobe { .. });
    match points {
        points if points.iter().all(entry) => Some(false),
        points if points.iter().all(back) => Some(true),
        _ => None,
    }
}

/// Attaches to as many of the functions as can be probed.
pub(crate) fn attach(program: &Program, points: &[Attach], stop: &dyn Fn() -> bool) -> MultiLinks {
    let names = points.iter().filter_map(|point| match point {
        Attach::Kprobe { function, .. } | Attach::Kretprobe { function } => Some(&**function),
        _ => None,
    });
    let names: Vec<&str> = names.collect();
    let on_return = kind(points) == Some(true);
    let mut many = MultiLinks::default();
    many.attach(&names, stop, &|names| {
        program.attach_kprobe_multi(names, on_return, &[])
    });
    many
}

impl MultiLinks {
    /// Attaches to places at once, or to each half of them where one is refused, until `stop` says
    /// so.
    pub(crate) fn attach<T>(
        &mut self,
        places: &[T],
        stop: &dyn Fn() -> bool,
        attach: &dyn Fn(&[T]) -> Result<Link, kscope_bpf::Error>,
    ) {
        if stop() {
            return;
        }
        match attach(places) {
            Ok(link) => {
                self.links.push(link);
                self.functions += places.len() as u64;
            }
            Err(error @ kscope_bpf::Error::Permission { .. }) => self.failed.push(error),
            Err(_) if places.len() > 1 => {
                let (left, right) = places.split_at(places.len() / 2);
                self.attach(left, stop, attach);
                self.attach(right, stop, attach);
            }
            Err(error) => self.failed.push(error),
        }
    }
}
