//! A checked program as text, for golden files and for people who debug the compiler.

use std::fmt::{self, Write};

use crate::hir::{
    Arithmetic, Expr, ExprKind, MapRef, Probe, Program, Space, Stmt, StmtKind, VarId,
};
use kscope_rows::Bits;

/// Prints a checked program: maps, options, late values, sites, then probes with their bodies.
#[must_use]
pub fn program(program: &Program) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = Dump {
        program,
        probe: None,
    }
    .program(&mut out);
    out
}

struct Dump<'a> {
    program: &'a Program,
    probe: Option<&'a Probe>,
}

impl Dump<'_> {
    fn program(&self, out: &mut String) -> fmt::Result {
        let default = crate::plan::Config::default();
        if self.program.config != default {
            writeln!(out, "config {:?}", self.program.config)?;
        }
        for map in &self.program.maps {
            write!(out, "map @{}", map.name)?;
            if let Some(key) = &map.key {
                write!(out, "[{key}]")?;
            }
            let value = format!("{:?}", map.value);
            match value.as_str() {
                plain if plain.starts_with("Plain") => write!(out, " = {}", map.value_type)?,
                other => write!(out, " = {other} as {}", map.value_type)?,
            }
            if map.kind != crate::hir::MapKind::Hash {
                write!(out, " {:?}", map.kind)?;
            }
            if map.max_entries != self.program.config.max_map_keys {
                write!(out, " entries {}", map.max_entries)?;
            }
            writeln!(out)?;
        }
        for option in &self.program.options {
            writeln!(
                out,
                "option --{} {:?} late {} offset {} {:?}",
                option.name, option.kind, option.late.0, option.offset, option.help
            )?;
        }
        for (i, late) in self.program.late.iter().enumerate() {
            writeln!(out, "late {i} {} {:?}", late.name, late.kind)?;
        }
        for (i, site) in self.program.sites.iter().enumerate() {
            write!(out, "site {i} {:?} size {}", site.kind, site.size)?;
            for field in &site.fields {
                let size = field.ty.size();
                write!(out, " {}@{}+{size}", field.name, field.offset)?;
            }
            writeln!(out)?;
        }
        for probe in &self.program.probes {
            let dump = Dump {
                program: self.program,
                probe: Some(probe),
            };
            writeln!(out, "probe {} {:?}", probe.plan.name, probe.context)?;
            for attach in &probe.plan.attach {
                writeln!(out, "  attach {attach:?}")?;
            }
            for (i, var) in probe.vars.iter().enumerate() {
                writeln!(out, "  var {i} ${}: {}", var.name, var.ty)?;
            }
            dump.statements(&probe.body, 1, out)?;
        }
        Ok(())
    }

    fn statements(&self, statements: &[Stmt], level: usize, out: &mut String) -> fmt::Result {
        for s in statements {
            self.statement(s, level, out)?;
        }
        Ok(())
    }

    fn statement(&self, s: &Stmt, level: usize, out: &mut String) -> fmt::Result {
        let pad = "  ".repeat(level);
        out.push_str(&pad);
        match &s.kind {
            StmtKind::Expr(e) => writeln!(out, "{}", self.e(e)),
            StmtKind::SetVar(var, value) => {
                writeln!(out, "{} = {}", self.var(*var), self.e(value))
            }
            StmtKind::SetMap { map, key, value } => {
                let place = self.map(*map, key.as_ref());
                writeln!(out, "{place} = {}", self.e(value))
            }
            StmtKind::ChangeMap {
                op,
                map,
                key,
                value,
            } => {
                let place = self.map(*map, key.as_ref());
                let sign = match op {
                    Arithmetic::And => "&",
                    Arithmetic::Or => "|",
                    Arithmetic::Xor => "^",
                    _ => "+",
                };
                writeln!(out, "{place} {sign}= {}", self.e(value))
            }
            StmtKind::Update {
                map, key, value, ..
            } => {
                let place = self.map(*map, key.as_ref());
                let value = value.as_ref().map_or(String::new(), |v| self.e(v));
                writeln!(out, "update {place} {value}")
            }
            StmtKind::Emit { site, args } => {
                let args: Vec<String> = args.iter().map(|a| self.e(a)).collect();
                writeln!(out, "emit {} [{}]", site.0, args.join(", "))
            }
            StmtKind::If {
                condition,
                then,
                otherwise,
            } => {
                writeln!(out, "if {}", self.e(condition))?;
                self.statements(then, level + 1, out)?;
                if !otherwise.is_empty() {
                    writeln!(out, "{pad}else")?;
                    self.statements(otherwise, level + 1, out)?;
                }
                Ok(())
            }
            StmtKind::ForRange {
                var,
                start,
                end,
                body,
            } => {
                let var = self.var(*var);
                writeln!(out, "for {var} in {}..{}", self.e(start), self.e(end))?;
                self.statements(body, level + 1, out)
            }
            StmtKind::ForMap { var, map, body } => {
                writeln!(out, "for {} in {}", self.var(*var), self.map(*map, None))?;
                self.statements(body, level + 1, out)
            }
            StmtKind::Repeat { count, body } => {
                writeln!(out, "repeat {count}")?;
                self.statements(body, level + 1, out)
            }
            StmtKind::While { condition, body } => {
                writeln!(out, "while {}", self.e(condition))?;
                self.statements(body, level + 1, out)
            }
            StmtKind::Break => writeln!(out, "break"),
            StmtKind::Continue => writeln!(out, "continue"),
            StmtKind::Return => writeln!(out, "return"),
            // A kind that is added later is still told apart.
            #[allow(unreachable_patterns, reason = "the contract may grow")]
            other => writeln!(out, "{other:?}"),
        }
    }

    fn var(&self, id: VarId) -> String {
        let var = self.probe.and_then(|p| p.vars.get(id.0 as usize));
        format!("${}#{}", var.map_or("?", |v| v.name.as_str()), id.0)
    }

    fn map(&self, map: MapRef, key: Option<&Expr>) -> String {
        let name = self.program.maps.get(map.0 as usize);
        let name = name.map_or("?", |m| m.name.as_str());
        match key {
            Some(key) => format!("@{name}[{}]", self.e(key)),
            None => format!("@{name}"),
        }
    }

    /// Prints an expression: what it is, then its operands. What it is is put together in a
    /// function of its own, so that little of the stack is taken per level.
    fn e(&self, e: &Expr) -> String {
        let operands = operands(e);
        let mut text = self.head(e);
        if operands.is_empty() {
            return text;
        }
        text.insert(0, '(');
        for operand in operands {
            text.push(' ');
            text.push_str(&self.e(operand));
        }
        text.push(')');
        text
    }

    /// Says what an expression is.
    fn head(&self, e: &Expr) -> String {
        let ty = &e.ty;
        let name = |map: &MapRef| self.map(*map, None);
        match &e.kind {
            ExprKind::Int(n) => format!("{n}:{ty}"),
            ExprKind::Str(s) => format!("{:?}:{ty}", String::from_utf8_lossy(s)),
            ExprKind::Builtin(b) => format!("{b:?}:{ty}"),
            ExprKind::Arg(n) => format!("arg{n}"),
            ExprKind::Retval => "retval".to_owned(),
            ExprKind::Late(late) => format!("late{}:{ty}", late.0),
            ExprKind::OptionStr(n) => format!("option{n}:{ty}"),
            ExprKind::Var(id) => self.var(*id),
            ExprKind::VarAddress(id) => format!("&{}", self.var(*id)),
            ExprKind::MapAddress(map) => format!("&{}", name(map)),
            ExprKind::MapLen(map) => format!("len {}", name(map)),
            ExprKind::MapGet { map, .. } => name(map),
            ExprKind::HasKey { map, .. } => format!("has_key {}", name(map)),
            ExprKind::Delete { map, .. } => format!("delete {}", name(map)),
            ExprKind::CtxLoad { offset, int, bits } => {
                format!("ctx:{ty}={int}@{offset}{}", bit_text(bits.as_ref()))
            }
            ExprKind::CtxLoadAt { layout, int } => format!("ctx:{ty}={int}@layout{}", layout.0),
            ExprKind::LoadBits { bits, space, .. } => {
                format!("loadbits:{ty} layout{} {}", bits.size.0, space_text(*space))
            }
            ExprKind::Layout(layout) => format!("layout{}:{ty}", layout.0),
            ExprKind::CtxBytes { offset } => format!("ctx:{ty}@{offset}"),
            ExprKind::CtxDataLoc { offset, relative } => {
                format!("data_loc:{ty}@{offset}+{relative}")
            }
            ExprKind::Load {
                int, space, bits, ..
            } => {
                let bits = bit_text(bits.as_ref());
                format!("load:{ty}={int}{bits} {}", space_text(*space))
            }
            ExprKind::ReadBytes { space, .. } => format!("bytes:{ty} {}", space_text(*space)),
            ExprKind::NameOf { .. } => format!("name of:{ty}"),
            ExprKind::ReadStr { space, .. } => format!("str:{ty} {}", space_text(*space)),
            ExprKind::StrOfBytes(_) => format!("chars:{ty}"),
            ExprKind::Binary { op, .. } => format!("{op:?}:{ty}").to_lowercase(),
            ExprKind::Compare { op, signed, .. } => {
                let sign = if *signed { "s" } else { "u" };
                format!("{sign}{op:?}").to_lowercase()
            }
            ExprKind::CompareBytes { negated, len, .. } => {
                let name = if *negated { "differ" } else { "same" };
                format!("{name} {len}")
            }
            ExprKind::Logical { and, .. } => if *and { "and" } else { "or" }.to_owned(),
            ExprKind::Field { offset, bits, .. } => {
                format!("field:{ty}@{offset}{}", bit_text(bits.as_ref()))
            }
            ExprKind::StepVar {
                var,
                delta,
                postfix,
            } => step(&self.var(*var), *delta, *postfix, &ty.to_string()),
            ExprKind::StepMap {
                map,
                delta,
                postfix,
                ..
            } => step(&name(map), *delta, *postfix, &ty.to_string()),
            ExprKind::Block(statements, _) => {
                let mut text = String::new();
                // Writing to a string does not fail.
                let _ = self.statements(statements, 0, &mut text);
                let text: Vec<&str> = text.lines().map(str::trim).collect();
                format!("block {{ {} }}", text.join("; "))
            }
            kind => format!("{}:{ty}", plain_name(kind)),
        }
    }
}

/// Names kinds of which nothing but the name and the operands is to be told.
fn plain_name(kind: &ExprKind) -> &'static str {
    match kind {
        ExprKind::CtxAddress => "ctx_address",
        ExprKind::Bytes(_) => "bytes_of",
        ExprKind::Neg(_) => "neg",
        ExprKind::BitNot(_) => "bitnot",
        ExprKind::Not(_) => "not",
        ExprKind::StrContains { .. } => "contains",
        ExprKind::StrPrefix { .. } => "prefix",
        ExprKind::Ternary { .. } => "choose",
        ExprKind::Cast(_) => "cast",
        ExprKind::Resize(_) => "resize",
        ExprKind::Fields(_) => "fields",
        ExprKind::Index { .. } => "index",
        ExprKind::KernelStack => "stack",
        ExprKind::UserStackId => "user_stack",
        ExprKind::ByteSwap(_) => "bswap",
        ExprKind::Helper { .. } => "helper",
        ExprKind::CommOf { .. } => "comm_of",
        ExprKind::ContextObject { .. } => "object",
        ExprKind::PathOf(_) => "path",
        ExprKind::ReadBuffer { .. } => "read_buffer",
        ExprKind::ReadStrings { .. } => "read_strings",
        ExprKind::ReadArguments { .. } => "read_arguments",
        ExprKind::BufferOf { .. } => "buffer_of",
        ExprKind::StrLen(_) => "strlen",
        ExprKind::StrFind { .. } => "strstr",
        ExprKind::Concat(..) => "concat",
        ExprKind::MemoryDifference { .. } => "memcmp",
        ExprKind::Register { .. } => "register",
        _ => "other",
    }
}

/// Gives the operands of an expression, in the order they are evaluated.
fn operands(e: &Expr) -> Vec<&Expr> {
    let mut all = Vec::new();
    e.operands(&mut |operand| all.push(operand));
    all
}

fn step(place: &str, delta: i64, postfix: bool, ty: &str) -> String {
    if postfix {
        format!("{place} then {delta:+}:{ty}")
    } else {
        format!("{delta:+} to {place}:{ty}")
    }
}

fn space_text(space: Space) -> &'static str {
    match space {
        Space::Kernel => "kernel",
        Space::User => "user",
    }
}

fn bit_text(bits: Option<&Bits>) -> String {
    bits.map_or(String::new(), |b| format!(":{}+{}", b.shift, b.width))
}
