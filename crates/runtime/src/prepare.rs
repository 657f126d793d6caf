//! What is done to a Spec and its Plan before they are loaded.

use kscope_script::plan::{PLAN_VERSION, Plan, ProbePlan, SiteKind};
use kscope_spec::{ProgramId, Spec};

use crate::error::Error;

/// Refuses a plan that asks for what is not done here: it comes of another version.
///
/// Files and commands need somebody who renders their names.
pub(crate) fn check(plan: &Plan, renders: bool) -> Result<(), Error> {
    if plan.version > PLAN_VERSION {
        return Err(Error::NewerPlan {
            version: plan.version,
        });
    }
    let unknown = plan.sites.iter().find_map(|site| match &site.kind {
        SiteKind::Cat { .. } if !renders => Some("cat()"),
        SiteKind::System { .. } if !renders => Some("system()"),
        _ => None,
    });
    unknown.map_or(Ok(()), |what| Err(Error::UnknownRequest { what }))
}

/// Takes out the probes that are not to be kept: those that the options leave nothing to do.
pub(crate) fn drop_unused(
    spec: &mut Spec,
    plan: &mut Plan,
    is_kept: impl FnMut(&ProbePlan) -> bool,
) {
    let keep: Vec<bool> = plan.probes.iter().map(is_kept).collect();
    let used = |id: usize| {
        let runs = |(probe, keep): (&ProbePlan, &bool)| *keep && probe.program.0 as usize == id;
        plan.probes.iter().zip(&keep).any(runs)
    };
    let used: Vec<bool> = (0..spec.programs.len()).map(used).collect();
    let mut index = 0;
    spec.programs.retain(|_| {
        index += 1;
        used[index - 1]
    });
    let mut index = 0;
    plan.probes.retain(|_| {
        index += 1;
        keep[index - 1]
    });
    for probe in &mut plan.probes {
        let before = used
            .iter()
            .take(probe.program.0 as usize)
            .filter(|used| **used)
            .count();
        probe.program = ProgramId(before as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kscope_script::diagnostic::Span;
    use kscope_script::plan::{Config, ServiceMaps, Site};

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        let check = |version, kind: SiteKind, expected: Option<&str>| {
            let plan = Plan {
                version,
                sites: vec![Site {
                    kind,
                    fields: Vec::new(),
                    size: 8,
                    span: Span::new(0, 0),
                }],
                maps: Vec::new(),
                probes: Vec::new(),
                options: Vec::new(),
                config: Config::default(),
                service: ServiceMaps::default(),
            };
            let found = check(&plan, false).err().map(|error| error.to_string());
            assert_eq!(found.as_deref(), expected);
        };
        let format = || "x".into();
        check(PLAN_VERSION, SiteKind::Exit, None);
        let newer = "the program was built by a newer kscope (plan version 9999)";
        check(9999, SiteKind::Exit, Some(newer));
        let unknown = |what| format!("the script calls {what}, which this kscope does not have");
        let cat = SiteKind::Cat { format: format() };
        check(PLAN_VERSION, cat, Some(&unknown("cat()")));
        let system = SiteKind::System { format: format() };
        check(PLAN_VERSION, system, Some(&unknown("system()")));
    }
}
