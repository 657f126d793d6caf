//! The kernel image, the initial file system, and what of them is loaded.

use super::Findings;
use crate::facts::Facts;

/// How the initial file system is made anew.
const MAKE: &str = "`kscope kdump initrd && kscope kdump load`";

pub(super) fn files(findings: &mut Findings, facts: &Facts) {
    let image = &facts.image;
    let path = image.image.display();
    match &image.header {
        None => findings.fault(
            "kernel image",
            format!("{path} is not there"),
            "install the kernel's package, or write its place as `kernel` in /etc/kscope/kdump.conf",
        ),
        Some(header) => match &header.release {
            Some(release) if *release != facts.kernel.release => findings.fault(
                "kernel image",
                format!("{path} is {release}, and {} runs", facts.kernel.release),
                "write the place of the running kernel's image as `kernel`, whose modules the \
                 initial file system has",
            ),
            _ if header.relocatable == Some(false) => findings.fault(
                "kernel image",
                format!("{path} cannot run at another address (CONFIG_RELOCATABLE)"),
                "use a kernel with CONFIG_RELOCATABLE=y",
            ),
            _ => findings.ok("kernel image", format!("{path}")),
        },
    }
    initrd(findings, facts);
    drivers(findings, facts);
}

fn initrd(findings: &mut Findings, facts: &Facts) {
    let image = &facts.image;
    let path = image.initrd.display();
    if image.initrd_size.is_none() {
        findings.fault("initial file system", format!("{path} is not there"), MAKE);
    } else if image.manifest.is_none() {
        findings.warn(
            "initial file system",
            format!("{path} has no manifest: what it was made of is not known"),
            MAKE,
        );
    } else if let [first, rest @ ..] = image.stale.as_slice() {
        let more = match rest.len() {
            0 => String::new(),
            count => format!(", and {count} more"),
        };
        findings.fault(
            "initial file system",
            format!("{path} is stale: {first}{more}"),
            MAKE,
        );
    } else {
        findings.ok(
            "initial file system",
            format!("{path} is made of what is there now"),
        );
    }
}

fn drivers(findings: &mut Findings, facts: &Facts) {
    let image = &facts.image;
    if let Some(why) = &image.no_modules {
        findings.fault(
            "drivers",
            format!("the kernel's modules are not known: {why}"),
            format!("depmod {}", facts.kernel.release),
        );
        return;
    }
    if !image.unknown.is_empty() {
        let names = image.unknown.join(", ");
        findings.warn(
            "drivers",
            format!(
                "{names} is loaded for the target, and depmod does not list it: the initial file \
                 system lacks it"
            ),
            format!("depmod {}, then {MAKE}", facts.kernel.release),
        );
    }
    match image.missing.as_slice() {
        [] if image.manifest.is_some() => {
            findings.ok(
                "drivers",
                "the initial file system has all that the target needs",
            );
        }
        [] => {}
        missing if image.manifest.is_some() => findings.fault(
            "drivers",
            format!(
                "the initial file system lacks {}, which the target needs",
                missing.join(", ")
            ),
            MAKE,
        ),
        _ => {}
    }
}

pub(super) fn loaded(findings: &mut Findings, facts: &Facts) {
    match (facts.kernel.loaded, &facts.image.loaded) {
        (None, _) => {}
        (Some(false), _) => {
            findings.fault(
                "loaded",
                "no capture kernel is loaded",
                "`kscope kdump load`",
            );
        }
        (Some(true), None) => findings.warn(
            "loaded",
            "a capture kernel is loaded, and not by kscope: what it does is not known here",
            "`kscope kdump load` puts this one in its place; switch the other service off \
             (kdump.service, kdump-tools.service)",
        ),
        (Some(true), Some(_)) => match facts.image.loaded_stale.as_slice() {
            [] => findings.ok("loaded", "the capture kernel is loaded"),
            stale => findings.fault(
                "loaded",
                format!("what is loaded is not what is there: {}", stale.join(", ")),
                "`kscope kdump load`",
            ),
        },
    }
}
