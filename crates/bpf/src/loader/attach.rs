//! What a program is loaded to attach to.

#[cfg(feature = "extend")]
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;

use kscope_spec::{AttachKind, AttachType, ProgramSpec, section};

use super::kernel_types::KernelTypes;
use super::struct_ops;
use crate::error::Error;
use crate::program::Program;

/// What `BPF_PROG_LOAD` is told of the attach point.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AttachPoint<'a> {
    /// `enum bpf_attach_type`, or the number of a member.
    pub(crate) attach_type: u32,
    /// BTF type; 0 for none.
    pub(crate) btf_id: u32,
    /// What the type is of, where it is not of vmlinux.
    pub(crate) to: Option<BorrowedFd<'a>>,
}

/// Finds a program's attach point; `target` is the program whose function it replaces or traces.
pub(crate) fn attach_point<'a>(
    types: &'a KernelTypes<'_>,
    program: &ProgramSpec,
    target: Option<&'a Program>,
) -> Result<AttachPoint<'a>, Error> {
    let attach = &program.attach;
    let point = AttachPoint {
        attach_type: attach.attach_type(),
        ..AttachPoint::default()
    };
    if let Some(error) = too_new(types, program) {
        return Err(error);
    }
    #[cfg(feature = "extend")]
    if let Some(extended) = extended(program, target) {
        return extended.and_then(|(target, name)| of_program(target, name, point));
    }
    match attach {
        #[cfg(not(feature = "extend"))]
        AttachKind::Extension(_) => {
            let _: Option<&Program> = target;
            return Err(Error::left_out("functions in others' place", "extend"));
        }
        AttachKind::StructOps { type_name, member } => {
            return struct_ops::member(types, type_name, member);
        }
        _ => {}
    }
    let Some(wanted) = attach.target() else {
        return of_many(types, program, point);
    };
    let (what, kind, prefix, shown) = (wanted.what, wanted.kind, wanted.prefix, wanted.name);
    if shown.is_empty() {
        return Err(not_named(program, what));
    }
    if types.base().is_none() {
        return Err(Error::unsupported(
            format!("BTF, which {what} {shown} needs"),
            "the build option CONFIG_DEBUG_INFO_BTF",
        ));
    }
    match types.find(&prefixed(prefix, shown), kind) {
        Some(found) => Ok(AttachPoint {
            btf_id: found.id,
            to: found.module.and_then(|module| types.fd_of_module(module)),
            ..point
        }),
        #[cfg(feature = "explain")]
        None => Err(Error::not_found_near(
            what,
            shown,
            types.near(prefix, shown, kind),
        )),
        #[cfg(not(feature = "explain"))]
        None => Err(Error::not_found(what, shown)),
    }
}

/// Says of programs for many functions which module's functions they are; of all others nothing.
fn of_many<'a>(
    types: &'a KernelTypes<'_>,
    program: &ProgramSpec,
    point: AttachPoint<'a>,
) -> Result<AttachPoint<'a>, Error> {
    let module = match traces_many(&program.attach) {
        true => section::module(&program.section),
        false => None,
    };
    let Some(name) = module else {
        return Ok(point);
    };
    let module = types.module_named(name);
    let to = module.and_then(|module| types.fd_of_module(module));
    match to {
        Some(_) => Ok(AttachPoint { to, ..point }),
        None => Err(Error::not_found("module with types called", name)),
    }
}

/// Names the attach type of a program that the kernel's types do not have: of these the kernel says no
/// more than `EINVAL`, or complains of something else.
fn too_new(types: &KernelTypes<'_>, program: &ProgramSpec) -> Option<Error> {
    const MULTI: &str = "Linux 7.2";
    let (constant, section, since) = match program.attach {
        AttachKind::FunctionSession(_) => ("BPF_TRACE_FSESSION", "fsession", "Linux 7.0"),
        AttachKind::Expected(AttachType::TraceFentryMulti) => {
            ("BPF_TRACE_FENTRY_MULTI", "fentry.multi", MULTI)
        }
        AttachKind::Expected(AttachType::TraceFexitMulti) => {
            ("BPF_TRACE_FEXIT_MULTI", "fexit.multi", MULTI)
        }
        AttachKind::Expected(AttachType::TraceFsessionMulti) => {
            ("BPF_TRACE_FSESSION_MULTI", "fsession.multi", MULTI)
        }
        _ => return None,
    };
    types.lacks("bpf_attach_type", constant).then(|| {
        let program = &program.name;
        Error::unsupported(
            format!("{section} programs, one of which is {program}"),
            since,
        )
    })
}

/// Says that a program's section ends before the name of what it attaches to.
fn not_named(program: &ProgramSpec, what: &str) -> Error {
    let section = program.section.trim_end_matches('/');
    Error::invalid(format!(
        "program {} does not say which {what} it is for: its section ends before the name, as in \
         SEC(\"{section}/NAME\")",
        program.name
    ))
}

/// `module:name` becomes `module:prefix` and the name.
fn prefixed(prefix: &str, name: &str) -> String {
    match name.split_once(':') {
        Some((module, name)) => format!("{module}:{prefix}{name}"),
        None => format!("{prefix}{name}"),
    }
}

/// Gives the program and the function of it that a program takes the place of or traces; none for one
/// that concerns the kernel.
#[cfg(feature = "extend")]
fn extended<'a, 'n>(
    program: &'n ProgramSpec,
    target: Option<&'a Program>,
) -> Option<Result<(&'a Program, &'n str), Error>> {
    match (&program.attach, target) {
        (
            AttachKind::FunctionEntry(name)
            | AttachKind::FunctionExit(name)
            | AttachKind::FunctionSession(name)
            | AttachKind::ModifyReturn(name)
            | AttachKind::Extension(name),
            Some(target),
        ) => Some(Ok((target, name))),
        (AttachKind::Extension(name), None) => {
            let name = match name.is_empty() {
                true => "a function".to_owned(),
                false => format!("the function {name}"),
            };
            Some(Err(Error::invalid(format!(
                "program {} takes the place of {name} of another program, which the \
                 loader is to be told (Loader::extends)",
                program.name
            ))))
        }
        _ => None,
    }
}

/// Finds a function of another program.
#[cfg(feature = "extend")]
fn of_program<'a>(
    target: &'a Program,
    name: &str,
    point: AttachPoint<'a>,
) -> Result<AttachPoint<'a>, Error> {
    Ok(AttachPoint {
        btf_id: target.function_type(name)?,
        to: Some(target.as_fd()),
        ..point
    })
}

/// Tells whether programs that are attached so trace many functions.
pub(crate) fn traces_many(attach: &AttachKind) -> bool {
    matches!(
        attach,
        AttachKind::Expected(
            AttachType::TraceFentryMulti
                | AttachType::TraceFexitMulti
                | AttachType::TraceFsessionMulti
        )
    )
}
