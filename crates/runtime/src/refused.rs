//! Programs of objects that need what this kernel does not have: they alone are left out.

use kscope_bpf::Object;
use kscope_btf::Btf;
use kscope_script::plan::{Attach, Plan, ProbePlan};
use kscope_script::portable::unlike;
use kscope_spec::Spec;

use crate::attach;
use crate::error::Error;
use crate::prepare;

/// Takes out the programs that take their arguments for others than this kernel's types tell.
///
/// # Errors
///
/// The first of them, where nothing is left to do.
pub(crate) fn by_arguments(
    spec: &mut Spec,
    plan: &mut Plan,
    btf: Option<&Btf>,
) -> Result<Vec<Error>, Error> {
    let mut refused = Vec::new();
    if let (Some(target), Ok(local)) = (btf, Btf::parse(spec.types.clone())) {
        let mut kept = Vec::with_capacity(plan.probes.len());
        for probe in &plan.probes {
            let found = unlike(spec, &local, probe, target);
            kept.push(found.is_none());
            refused.extend(found.map(|unlike| Error::Program {
                probe: probe.name.clone().into(),
                place: None,
                error: kscope_bpf::Error::Invalid {
                    why: unlike.to_string(),
                },
            }));
        }
        let had = has_events(plan);
        let mut kept = kept.into_iter();
        prepare::drop_unused(spec, plan, |_| kept.next().unwrap_or(true));
        refused = unless_nothing_is_left(plan, had, refused)?;
    }
    Ok(refused)
}

/// Takes out the probes of programs that the kernel refused for what it does not have.
///
/// # Errors
///
/// The first of them, where nothing is left to do.
pub(crate) fn by_kernel(plan: &mut Plan, object: &Object) -> Result<Vec<Error>, Error> {
    let had = has_events(plan);
    let mut refused = Vec::new();
    plan.probes
        .retain(|probe| match attach::program(probe, object) {
            Err(error) if is_of_the_kernel(&error) => {
                refused.push(error);
                false
            }
            _ => true,
        });
    unless_nothing_is_left(plan, had, refused)
}

/// Says whether a program was refused because this kernel does not have what it asks for.
fn is_of_the_kernel(error: &Error) -> bool {
    use kscope_bpf::Error as Kernel;
    matches!(
        error,
        Error::Program {
            error: Kernel::Unsupported { .. } | Kernel::Unresolved { .. } | Kernel::NotFound { .. },
            ..
        }
    )
}

fn has_events(plan: &Plan) -> bool {
    let is_event = |point: &Attach| {
        !attach::runs_by_itself(point) && !matches!(point, Attach::Interval { .. })
    };
    let has = |probe: &ProbePlan| probe.attach.iter().any(is_event);
    plan.probes.iter().any(has)
}

fn unless_nothing_is_left(
    plan: &Plan,
    had_events: bool,
    mut refused: Vec<Error>,
) -> Result<Vec<Error>, Error> {
    let is_empty = plan.probes.is_empty() || (had_events && !has_events(plan));
    match is_empty && !refused.is_empty() {
        true => Err(refused.swap_remove(0)),
        false => Ok(refused),
    }
}
