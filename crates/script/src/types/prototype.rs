//! Arguments and results that the kernel's types tell: of functions, and of raw tracepoints.

use kscope_btf::{FuncProto, Kind};
use kscope_spec::helper;

use super::args::Record;
use super::lvalue::Place;
use super::task::has_helper;
use super::{Checker, did_you_mean, make, poison};
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{Builtin, Context, Expr, ExprKind, Signature, Space, Type};
use crate::near::nearest;
use crate::syntax::tree::Name;

/// Functions whose parameters are those of a raw tracepoint after the first.
const STUBS: [&str; 2] = ["__probestub_", "__traceiter_"];
/// Bytes of the context that an argument takes at least.
const SLOT: u32 = 8;

/// The arguments that a program finds in its context.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Prototype {
    parameters: Vec<Parameter>,
    /// What the function gives, at its exit; none for `void`.
    result: Option<Type>,
}

#[derive(Clone, Debug, PartialEq)]
struct Parameter {
    name: String,
    ty: Type,
    /// Where it stands in the context, in bytes.
    offset: u32,
}

/// Which arguments of a prototype a program reads.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Read {
    /// How many there are up to the last of them.
    parameters: usize,
    /// Whether it reads the result as well.
    result: bool,
}

impl Prototype {
    /// Where the result stands: behind the arguments.
    fn end(&self) -> u32 {
        self.parameters
            .last()
            .map_or(0, |last| last.offset + slots(&last.ty))
    }
}

impl Parameter {
    fn load(&self, span: Span) -> Expr {
        let place = Place::Context {
            offset: self.offset,
        };
        place.load(&self.ty, None, span)
    }
}

/// Gives the bytes of the context that an argument takes.
fn slots(ty: &Type) -> u32 {
    ty.size().next_multiple_of(SLOT).max(SLOT)
}

impl Checker<'_> {
    /// Gives the arguments and the result of a kernel function; none where its type is not known.
    pub(super) fn function_prototype(&self, function: &str) -> Option<Prototype> {
        let btf = self.inputs.btf?;
        let name = function.rsplit(':').next()?;
        let proto = btf.prototype(btf.find(name, Kind::Func)?)?;
        Some(self.prototype(&proto, 0))
    }

    /// Gives the arguments of a raw tracepoint; none where its type is not known.
    pub(super) fn tracepoint_prototype(&self, event: &str) -> Option<Prototype> {
        let btf = self.inputs.btf?;
        let stub = |prefix: &&str| btf.find(&format!("{prefix}{event}"), Kind::Func);
        let named = STUBS.iter().find_map(stub);
        let typedef = || btf.find(&format!("btf_trace_{event}"), Kind::Typedef);
        let proto = btf.prototype(named.or_else(typedef)?)?;
        // The first is the tracepoint's own.
        Some(self.prototype(&proto, 1))
    }

    fn prototype(&self, proto: &FuncProto<'_>, skip: usize) -> Prototype {
        let mut offset = 0;
        let mut parameters = Vec::new();
        for (index, param) in proto.params().skip(skip).enumerate() {
            let ty = self.btf_type(param.type_id, Space::Kernel);
            let name = match param.name {
                "" => format!("arg{index}"),
                name => name.to_owned(),
            };
            let place = offset;
            offset += slots(&ty);
            parameters.push(Parameter {
                name,
                ty,
                offset: place,
            });
        }
        let result = Some(self.btf_type(proto.result, Space::Kernel));
        Prototype {
            parameters,
            result: result.filter(|ty| *ty != Type::Void),
        }
    }

    /// Checks `args.name` where the arguments have types.
    pub(super) fn typed_argument(&mut self, record: &Record, name: &Name, span: Span) -> Expr {
        let prototype = match self.known_prototype(record, span) {
            Ok(prototype) => prototype,
            Err(refused) => return refused,
        };
        let found = prototype
            .parameters
            .iter()
            .position(|p| p.name == name.text);
        let found = found.and_then(|place| Some((place, prototype.parameters.get(place)?)));
        let Some((place, parameter)) = found else {
            let names = || prototype.parameters.iter().map(|p| p.name.as_str());
            let message = format!(
                "Can not find a parameter '{}' of {}",
                name.text, record.name
            );
            let mut error = Diagnostic::error("unknown-field", name.span, message);
            let near = nearest(&name.text, names(), 3);
            error.hint = did_you_mean(&near).or_else(|| {
                let all = names().collect::<Vec<_>>().join(", ");
                (!all.is_empty()).then(|| format!("its arguments are {all}"))
            });
            return self.report(error);
        };
        self.scope.read.parameters = self.scope.read.parameters.max(place + 1);
        parameter.load(span)
    }

    /// Gives every argument in order with its name, and at a function's exit its result.
    pub(super) fn all_arguments(
        &mut self,
        record: &Record,
        span: Span,
    ) -> Result<Vec<(String, Expr)>, Expr> {
        let prototype = self.known_prototype(record, span)?;
        self.scope.read.parameters = prototype.parameters.len();
        let parameters = prototype.parameters.iter();
        let sized = parameters.filter(|p| p.ty.size() > 0);
        let mut all: Vec<_> = sized.map(|p| (p.name.clone(), p.load(span))).collect();
        if self.scope.provider == "fexit" && prototype.result.is_some() {
            all.push(("$retval".to_owned(), self.typed_result(span)));
        }
        Ok(all)
    }

    /// Gives the types of the arguments; reports what stands in the way of reading them.
    fn known_prototype<'r>(
        &mut self,
        record: &'r Record,
        span: Span,
    ) -> Result<&'r Prototype, Expr> {
        let Some(prototype) = &record.prototype else {
            let message = format!(
                "the types of the arguments of {} are not known",
                record.name
            );
            let mut error = Diagnostic::error("unknown-type", span, message);
            error.hint = Some(match self.inputs.btf {
                None => "there is no BTF to look them up in".to_owned(),
                Some(_) => "use arg0, arg1, … of a rawtracepoint or kprobe".to_owned(),
            });
            return Err(self.report(error));
        };
        Ok(prototype)
    }

    /// Checks `retval` at the exit of a function whose result has a type.
    pub(super) fn typed_result(&mut self, span: Span) -> Expr {
        let Some(record) = self.scope.record.clone() else {
            return poison(span);
        };
        let Some(prototype) = &record.prototype else {
            let message = format!("the type of the result of {} is not known", record.name);
            return self.error("unknown-type", span, message);
        };
        match &prototype.result {
            Some(ty) => {
                self.scope.read.result = true;
                Place::Context {
                    offset: prototype.end(),
                }
                .load(ty, None, span)
            }
            None => {
                let message = format!("{} gives no result: its type is void", record.name);
                self.error("invalid-builtin", span, message)
            }
        }
    }

    /// Gives what the program takes its arguments for, where that is to be compared with what the
    /// target has.
    pub(super) fn signature(&self) -> Option<Signature> {
        let prototype = self.scope.record.as_ref()?.prototype.as_ref()?;
        let Read { parameters, result } = self.scope.read;
        let count = match result {
            true => prototype.parameters.len(),
            false => parameters,
        };
        let read = prototype.parameters.iter().take(count);
        let signature = Signature {
            parameters: read.map(|p| (p.name.clone(), p.ty.clone())).collect(),
            result: prototype.result.clone().filter(|_| result),
        };
        (self.inputs.portable && signature != Signature::default()).then_some(signature)
    }

    /// Checks `func`.
    pub(super) fn traced_function(&mut self, span: Span) -> Expr {
        let context = self.scope.context;
        if [Context::UprobeEntry, Context::UprobeReturn].contains(&context) {
            return self.user_function(span);
        }
        let functions = [
            Context::KprobeEntry,
            Context::KprobeReturn,
            Context::Function,
        ];
        if !functions.contains(&context) {
            return self.misplaced("func", span);
        }
        let in_types = |btf: &kscope_btf::Btf| has_helper(btf, "BPF_FUNC_get_func_ip");
        let portable = self.inputs.portable;
        let known = portable || self.inputs.btf.is_some_and(in_types);
        // The helper tells of entries alone.
        let inside = self.scope.probe_name.contains('+');
        let builtin = match context {
            Context::KprobeEntry if portable && !inside => return self.asked_function(span),
            _ if known && !inside => Builtin::TracedFunction,
            Context::KprobeEntry => Builtin::FunctionAddress,
            _ if self.scope.dead => return poison(span),
            _ => {
                let provider = self.scope.provider;
                let mut error = Diagnostic::error(
                    "unsupported",
                    span,
                    format!("func in {provider} probes needs the helper bpf_get_func_ip"),
                );
                let hint = "Linux 5.15 has it; `probe` says where the probe is";
                error.hint = Some(hint.to_owned());
                return self.report(error);
            }
        };
        make(ExprKind::Builtin(builtin), Type::KernelSymbol, span)
    }

    /// Gives the probed function: by the helper where the target has it, else by the place where the
    /// probe stands.
    fn asked_function(&mut self, span: Span) -> Expr {
        let builtin = |builtin| make(ExprKind::Builtin(builtin), Type::KernelSymbol, span);
        let kind = ExprKind::Ternary {
            condition: Box::new(self.has_helper(helper::GET_FUNC_IP, span)),
            then: Box::new(builtin(Builtin::TracedFunction)),
            otherwise: Box::new(builtin(Builtin::FunctionAddress)),
        };
        make(kind, Type::KernelSymbol, span)
    }

    /// Gives `ctx` of an iterator: what one step of it is about.
    pub(super) fn iterator_context(&self) -> Option<Type> {
        let name = self.scope.probe_name.split(':').nth(1)?;
        let btf = self.inputs.btf?;
        let id = btf.find(&format!("bpf_iter__{name}"), Kind::Struct)?;
        Some(self.btf_type(id, Space::Kernel))
    }

    /// Says whether the probe finds typed arguments in its context.
    pub(super) fn has_typed_arguments(&self) -> bool {
        matches!(
            self.scope.context,
            Context::Function | Context::RawTracepoint
        )
    }
}
