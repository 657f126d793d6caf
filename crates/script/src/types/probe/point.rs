//! What each attach point of a probe becomes: one thing to attach to, or all that a pattern matches.

use std::sync::Arc;

use crate::catalogue::{EventName, Lookup, syscalls};
use crate::hir::Context;
use crate::plan::{Attach, Rate};
use crate::syntax::tree;
use crate::types::Checker;
use crate::types::args::Record;
use crate::types::prototype::Prototype;
use crate::types::provider::Target;

/// One thing that an attach point became.
pub(super) struct Point {
    pub(super) provider: &'static str,
    pub(super) context: Context,
    pub(super) attach: Attach,
    /// The whole name, as the builtin `probe` gives it.
    pub(super) name: String,
    /// As written.
    pub(super) written: String,
    pub(super) record: Option<Arc<Record>>,
    /// The pattern that it matches.
    pub(super) pattern: Option<Attach>,
}

/// Gives the context of what is attached to nothing that has a name in the kernel.
pub(super) fn plain_context(attach: &Attach) -> Context {
    match attach {
        Attach::Begin
        | Attach::End
        | Attach::Signal
        | Attach::Test { .. }
        | Attach::Bench { .. } => Context::Test,
        _ => Context::PerfEvent,
    }
}

impl Checker<'_> {
    pub(super) fn expand(
        &mut self,
        point: &tree::AttachPoint,
        uses_args: bool,
        out: &mut Vec<Point>,
    ) {
        let Some((provider, target)) = self.target(point) else {
            return;
        };
        let (first, pattern) = (out.len(), target.pattern());
        let mut push = |context, attach, name: String, written: &str, record| {
            out.push(Point {
                provider,
                context,
                attach,
                name,
                written: written.to_owned(),
                record,
                pattern: None,
            });
        };
        match target {
            Target::Plain(attach) => {
                let context = plain_context(&attach);
                let written = full_name(provider, point);
                let name = match (&attach, point.parts.len()) {
                    (
                        Attach::Interval { nanoseconds }
                        | Attach::Profile {
                            rate: Rate::Nanoseconds(nanoseconds),
                        },
                        2,
                    ) => format!("{provider}:us:{}", nanoseconds / 1000),
                    _ => written.clone(),
                };
                push(context, attach, name, &written, None);
            }
            Target::Tracepoint { category, event } => {
                let written = format!("tracepoint:{category}:{event}");
                for found in self.tracepoints(&category, &event, point) {
                    let record = self.record(&found, point, uses_args);
                    let name = format!("tracepoint:{found}");
                    let attach = Attach::Tracepoint {
                        category: found.category,
                        event: found.event,
                    };
                    push(Context::Tracepoint, attach, name, &written, Some(record));
                }
            }
            Target::RawTracepoint { module, event } => {
                let written = format!("rawtracepoint:{event}");
                if !self.module_exists(module.as_deref(), point) {
                    return;
                }
                let found = self.inputs.catalogue.raw_tracepoints(&event);
                for event in self.found(found, &event, "raw tracepoint", point) {
                    let name = format!("rawtracepoint:vmlinux:{event}");
                    let prototype = self.tracepoint_prototype(&event);
                    let record = uses_args.then(|| typed_record(&name, prototype));
                    let attach = Attach::RawTracepoint { event };
                    push(Context::RawTracepoint, attach, name, &written, record);
                }
            }
            Target::Address(address) => {
                let name = format!("kprobe:{address}");
                let attach = Attach::KprobeAddress { address };
                push(Context::KprobeEntry, attach, name.clone(), &name, None);
            }
            Target::Function {
                module,
                function,
                on_exit,
            } => {
                let written = full_name(provider, point);
                for function in self.typed_functions(module.as_deref(), &function, point) {
                    let name = match function.contains(':') {
                        true => format!("{provider}:{function}"),
                        false => format!("{provider}:vmlinux:{function}"),
                    };
                    let prototype = self.function_prototype(&function);
                    let record = typed_record(&name, prototype);
                    let attach = match on_exit {
                        true => Attach::FunctionExit { function },
                        false => Attach::FunctionEntry { function },
                    };
                    push(Context::Function, attach, name, &written, Some(record));
                }
            }
            Target::Iterator { name } => {
                let written = full_name(provider, point);
                if self.iterator_exists(&name, point) {
                    let attach = Attach::Iterator { name };
                    push(Context::Iterator, attach, written.clone(), &written, None);
                }
            }
            Target::Kprobe {
                module,
                function,
                offset,
                on_return,
            } => {
                let written = full_name(provider, point);
                let found = match &module {
                    Some(module) => self.inputs.catalogue.functions_of(module, &function),
                    None => self.inputs.catalogue.functions(&function),
                };
                if !self.module_exists(module.as_deref(), point) {
                    return;
                }
                let vmlinux = if module.is_some() { "vmlinux:" } else { "" };
                for function in self.found(found, &function, "kernel function", point) {
                    let prefix = match function.contains(':') {
                        true => format!("{provider}:"),
                        false => format!("{provider}:{vmlinux}"),
                    };
                    let plus = if offset == 0 {
                        String::new()
                    } else {
                        format!("+{offset}")
                    };
                    let name = format!("{prefix}{function}{plus}");
                    let (context, attach) = if on_return {
                        (Context::KprobeReturn, Attach::Kretprobe { function })
                    } else {
                        (Context::KprobeEntry, Attach::Kprobe { function, offset })
                    };
                    push(context, attach, name, &written, None);
                }
            }
            Target::User { target, on_return } => {
                let context = match on_return {
                    true => Context::UprobeReturn,
                    false => Context::UprobeEntry,
                };
                let written = full_name(provider, point);
                for found in self.uprobes(&target, on_return, point) {
                    push(context, found.attach, found.name, &written, None);
                }
            }
            Target::Usdt {
                path,
                provider: of,
                name,
            } => {
                let written = full_name(provider, point);
                for found in self.usdt_probes(&path, &of, &name, point) {
                    let record = Record {
                        name: found.name.clone(),
                        format: None,
                        user: true,
                        prototype: None,
                        usdt: Some(found.more.arguments),
                    };
                    let record = Some(Arc::new(record));
                    push(Context::Usdt, found.attach, found.name, &written, record);
                }
            }
        }
        for point in out.iter_mut().skip(first) {
            point.pattern.clone_from(&pattern);
        }
    }

    /// Looks up what a tracepoint's record looks like, where the body asks for it.
    fn record(
        &mut self,
        event: &EventName,
        point: &tree::AttachPoint,
        needed: bool,
    ) -> Arc<Record> {
        let user = event.category == "syscalls";
        let mut format = None;
        if needed {
            if user {
                format = syscalls::format(&event.event);
            }
            if format.is_none() {
                match self.inputs.catalogue.format(&event.category, &event.event) {
                    Lookup::Found(found) => format = Some(found),
                    Lookup::Unavailable(reason) => {
                        self.warn(
                            "unchecked-args",
                            point.span,
                            format!("the fields of {event} were not checked: {reason}"),
                        );
                    }
                    Lookup::NotFound => {}
                }
            }
        }
        Arc::new(Record {
            name: format!("tracepoint:{event}"),
            format,
            user,
            prototype: None,
            usdt: None,
        })
    }
}

fn typed_record(name: &str, prototype: Option<Prototype>) -> Arc<Record> {
    Arc::new(Record {
        name: name.to_owned(),
        format: None,
        user: false,
        usdt: None,
        prototype,
    })
}

/// Gives an attach point's name with its probe type written out.
fn full_name(provider: &str, point: &tree::AttachPoint) -> String {
    let mut name = provider.to_owned();
    for part in point.parts.iter().skip(1) {
        name.push(':');
        name.push_str(part);
    }
    name
}
