//! Variables of a probe: blocks, declarations, first assignments.

use std::collections::HashMap;
use std::sync::Arc;

use super::infer::{Shape, VarInfo, VarKey, join};
use super::statement::zero;
use super::{Checker, make, poison};
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{Context, Expr, ExprKind, Stmt, StmtKind, Type, Var, VarId};
use crate::near::nearest;

/// The probe being checked.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) instance: u32,
    pub(super) context: Context,
    /// Name of the probe type.
    pub(super) provider: &'static str,
    /// The attach point's whole name.
    pub(super) probe_name: String,
    /// The first attach point.
    pub(super) attach: Option<crate::plan::Attach>,
    /// The record that `args` reads.
    pub(super) record: Option<Arc<super::args::Record>>,
    /// Which of its typed arguments are read.
    pub(super) read: super::prototype::Read,
    pub(super) blocks: Vec<HashMap<String, VarId>>,
    pub(super) vars: Vec<Var>,
    pub(super) keys: Vec<VarKey>,
    pub(super) loops: u32,
    /// How many loops over maps are around.
    pub(super) map_loops: u32,
    /// Variables that were declared without a value, and never got one so far.
    pub(super) unassigned: Vec<(VarId, Span)>,
    /// How many copies of a statement the `unroll`s around it make.
    pub(super) unrolled: u32,
    /// Set where something could not be looked up, so that no program can be made.
    pub(super) incomplete: bool,
    /// Set where the probe has nothing to attach to.
    pub(super) dead: bool,
    /// The variable that takes what the probe returns, where somebody looks at that.
    pub(super) result: Option<VarId>,
    /// Names of macros being expanded, and where they were called.
    pub(super) macros: Vec<(String, Span)>,
    /// Variables that an assignment made, not a declaration.
    pub(super) assigned: Vec<(VarId, Span)>,
    /// Those of them whose blocks have ended, by name.
    pub(super) ended: HashMap<String, Span>,
    /// Those that are used outside of such a block, and stand in the outermost.
    pub(super) widened: Vec<(VarId, Span)>,
}

impl Default for Scope {
    fn default() -> Self {
        Scope {
            instance: 0,
            context: Context::Test,
            provider: "begin",
            probe_name: String::new(),
            attach: None,
            record: None,
            read: super::prototype::Read::default(),
            blocks: Vec::new(),
            vars: Vec::new(),
            keys: Vec::new(),
            loops: 0,
            map_loops: 0,
            unassigned: Vec::new(),
            unrolled: 1,
            incomplete: false,
            dead: false,
            result: None,
            macros: Vec::new(),
            assigned: Vec::new(),
            ended: HashMap::new(),
            widened: Vec::new(),
        }
    }
}

impl Checker<'_> {
    /// Finds a variable in the blocks around.
    pub(super) fn find_var(&self, name: &str) -> Option<VarId> {
        let mut blocks = self.scope.blocks.iter().rev();
        blocks.find_map(|block| block.get(name).copied())
    }

    /// Adds a variable to the innermost block.
    pub(super) fn declare_var(&mut self, name: &str, span: Span) -> VarId {
        let id = VarId(self.scope.vars.len() as u32);
        let key = (self.scope.instance, span.start, name.to_owned());
        let info = self.env.vars.entry(key.clone()).or_insert_with(|| VarInfo {
            shape: None,
            declared: false,
            wants_number: false,
            first: span,
        });
        let ty = info.shape.as_ref().map_or(Type::Void, |s| s.ty.clone());
        self.scope.vars.push(Var {
            name: name.split('#').next().unwrap_or_default().to_owned(),
            ty,
        });
        self.scope.keys.push(key);
        if let Some(block) = self.scope.blocks.last_mut() {
            block.insert(name.to_owned(), id);
        }
        id
    }

    /// Gives what is known of a variable.
    pub(super) fn var_info(&mut self, id: VarId) -> Option<&mut VarInfo> {
        let key = self.scope.keys.get(id.0 as usize)?;
        self.env.vars.get_mut(key)
    }

    pub(super) fn var_shape(&self, id: VarId) -> Option<&Shape> {
        let key = self.scope.keys.get(id.0 as usize)?;
        self.env.vars.get(key)?.shape.as_ref()
    }

    /// Says that a variable gets a value of a type.
    pub(super) fn grow_var(&mut self, id: VarId, shape: &Shape, span: Span) {
        if shape.ty == Type::Void {
            return;
        }
        let Some(info) = self.var_info(id) else {
            return;
        };
        let Some(known) = &info.shape else {
            info.shape = Some(shape.clone());
            info.first = span;
            self.env.changed = true;
            return;
        };
        let first = info.first;
        let joined = join(known, shape);
        if info.declared {
            let fits = match (&known.ty, &shape.ty) {
                (Type::Int(_), Type::Int(_)) => true,
                (Type::Str { capacity: to }, Type::Str { capacity: from }) => from <= to,
                _ => joined.is_some(),
            };
            if !fits {
                let (known, new) = (known.ty.clone(), shape.ty.clone());
                self.var_mismatch(id, &known, &new, first, span);
            }
            return;
        }
        match joined {
            Some(joined) if joined != *known => {
                info.shape = Some(joined);
                self.env.changed = true;
            }
            Some(_) => {}
            None => {
                let (known, new) = (known.ty.clone(), shape.ty.clone());
                self.var_mismatch(id, &known, &new, first, span);
            }
        }
    }

    fn var_mismatch(&mut self, id: VarId, known: &Type, new: &Type, first: Span, span: Span) {
        let name = self.var_name(id);
        self.diagnostics.push(
            Diagnostic::error(
                "type-mismatch",
                span,
                format!(
                    "Type mismatch for ${name}: trying to assign value of type '{new}' when \
                     variable already has a type '{known}'"
                ),
            )
            .note(first, format!("${name} got its type here")),
        );
    }

    pub(super) fn var_name(&self, id: VarId) -> String {
        let var = self.scope.vars.get(id.0 as usize);
        var.map_or(String::new(), |v| v.name.clone())
    }

    /// Reads a variable.
    pub(super) fn read_var(&mut self, name: &str, span: Span) -> Expr {
        let Some(id) = self.find_var(name) else {
            if let Some(&assigned) = self.scope.ended.get(name) {
                // The next pass knows it.
                let name = (self.scope.instance, name.to_owned());
                self.env.widened.insert(name, assigned);
                self.env.changed = true;
                return poison(span);
            }
            let shown = name.split('#').next().unwrap_or_default();
            let known: Vec<String> = (self.scope.blocks.iter())
                .flat_map(|block| block.keys().cloned())
                .collect();
            let mut error = Diagnostic::error(
                "undefined-variable",
                span,
                format!("Undefined or undeclared variable: ${shown}"),
            );
            let near: Vec<String> = nearest(name, known, 3)
                .into_iter()
                .map(|n| format!("${n}"))
                .collect();
            error.hint = super::did_you_mean(&near);
            return self.report(error);
        };
        let Some(shape) = self.var_shape(id) else {
            // What a probe that is not there, or cannot be looked up, would give has no type, and is never run.
            if !self.scope.dead && !self.scope.incomplete {
                let shown = name.split('#').next().unwrap_or_default();
                self.unresolved.push(Diagnostic::error(
                    "unresolved-type",
                    span,
                    format!("Could not resolve the type of variable ${shown}"),
                ));
            }
            return poison(span);
        };
        make(ExprKind::Var(id), shape.ty.clone(), span)
    }

    /// Runs with a block of its own.
    pub(super) fn in_block<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> T {
        self.scope.blocks.push(HashMap::new());
        let result = run(self);
        for (name, id) in self.scope.blocks.pop().unwrap_or_default() {
            let assigned = self.scope.assigned.iter().find(|(var, _)| *var == id);
            if let Some(&(_, span)) = assigned {
                self.scope.ended.entry(name).or_insert(span);
            }
        }
        result
    }

    /// Adds the variables to the outermost block that were found to be used outside of the block that assigns them, as
    /// bpftrace allowed before 0.22.
    pub(super) fn widen_vars(&mut self) {
        let instance = self.scope.instance;
        let of_probe = |((i, name), span): (&(u32, String), &Span)| {
            (*i == instance).then(|| (*span, name.clone()))
        };
        let mut widened: Vec<(Span, String)> =
            self.env.widened.iter().filter_map(of_probe).collect();
        widened.sort();
        for (span, name) in widened {
            let shown = name.split('#').next().unwrap_or_default();
            let message = format!(
                "Variable ${shown} is used outside of the block that assigns it, which bpftrace refuses since 0.22; \
                 `let ${shown};` before the block declares it for both"
            );
            self.warn("block-scope", span, message);
            let id = self.declare_var(&name, span);
            self.scope.widened.push((id, span));
        }
    }

    /// Gives the statements by which those variables begin as zero.
    pub(super) fn widened_zeros(&mut self) -> Vec<Stmt> {
        let widened = std::mem::take(&mut self.scope.widened);
        let zeros = widened.into_iter().filter_map(|(id, span)| {
            let ty = self.var_shape(id)?.ty.clone();
            let kind = StmtKind::SetVar(id, zero(&ty, span)?);
            Some(Stmt { kind, span })
        });
        zeros.collect()
    }
}
