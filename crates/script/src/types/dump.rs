//! A checked program as text, for golden files and for people who debug the compiler.

use std::fmt::{self, Write};

use crate::hir::{Expr, ExprKind, MapRef, Probe, Program, Space, Stmt, StmtKind, VarId};
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
            StmtKind::Update { map, key, value } => {
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

    fn list(&self, name: &str, e: &Expr, parts: &[&Expr]) -> String {
        let parts: Vec<String> = parts.iter().map(|p| self.e(p)).collect();
        format!("({name}:{} {})", e.ty, parts.join(" "))
    }

    /// Prints an expression.
    fn e(&self, e: &Expr) -> String {
        let ty = &e.ty;
        match &e.kind {
            ExprKind::Int(n) => format!("{n}:{ty}"),
            ExprKind::Str(s) => format!("{:?}:{ty}", String::from_utf8_lossy(s)),
            ExprKind::Builtin(b) => format!("{b:?}:{ty}"),
            ExprKind::Arg(n) => format!("arg{n}"),
            ExprKind::Retval => "retval".to_owned(),
            ExprKind::Late(late) => format!("late{}:{ty}", late.0),
            ExprKind::OptionStr(n) => format!("option{n}:{ty}"),
            ExprKind::Var(id) => self.var(*id),
            ExprKind::MapGet { map, key } => self.map(*map, key.as_deref()),
            ExprKind::HasKey { map, key } => format!("(has_key {})", self.map(*map, Some(key))),
            ExprKind::Delete { map, key } => {
                format!("(delete {})", self.map(*map, key.as_deref()))
            }
            ExprKind::CtxLoad { offset, int, bits } => {
                format!("(ctx:{ty} {int}@{offset}{})", bit_text(bits.as_ref()))
            }
            ExprKind::CtxBytes { offset } => format!("(ctx:{ty} @{offset})"),
            ExprKind::CtxDataLoc { offset, relative } => {
                format!("(data_loc:{ty} @{offset}+{relative})")
            }
            ExprKind::CtxAddress => format!("(ctx_address:{ty})"),
            ExprKind::Load {
                address,
                int,
                space,
                bits,
            } => format!(
                "(load:{ty} {int}{} {} {})",
                bit_text(bits.as_ref()),
                space_text(*space),
                self.e(address)
            ),
            ExprKind::ReadBytes { address, space } => {
                format!("(bytes:{ty} {} {})", space_text(*space), self.e(address))
            }
            ExprKind::ReadStr {
                address,
                space,
                len,
            } => {
                let len = len
                    .as_ref()
                    .map_or(String::new(), |l| format!(" {}", self.e(l)));
                format!("(str:{ty} {} {}{len})", space_text(*space), self.e(address))
            }
            ExprKind::StrOfBytes(inner) => self.list("chars", e, &[inner]),
            ExprKind::Binary { op, left, right } => {
                self.list(&format!("{op:?}").to_lowercase(), e, &[left, right])
            }
            ExprKind::Neg(inner) => self.list("neg", e, &[inner]),
            ExprKind::BitNot(inner) => self.list("bitnot", e, &[inner]),
            ExprKind::Not(inner) => self.list("not", e, &[inner]),
            ExprKind::Compare {
                op,
                signed,
                left,
                right,
            } => {
                let sign = if *signed { "s" } else { "u" };
                let name = format!("{op:?}").to_lowercase();
                format!("({sign}{name} {} {})", self.e(left), self.e(right))
            }
            ExprKind::CompareBytes {
                negated,
                len,
                left,
                right,
            } => {
                let name = if *negated { "differ" } else { "same" };
                format!("({name} {len} {} {})", self.e(left), self.e(right))
            }
            ExprKind::StrContains { haystack, needle } => {
                self.list("contains", e, &[haystack, needle])
            }
            ExprKind::StrPrefix { string, prefix } => self.list("prefix", e, &[string, prefix]),
            ExprKind::Logical { and, left, right } => {
                self.list(if *and { "and" } else { "or" }, e, &[left, right])
            }
            ExprKind::Ternary {
                condition,
                then,
                otherwise,
            } => self.list("choose", e, &[condition, then, otherwise]),
            ExprKind::Cast(inner) => self.list("cast", e, &[inner]),
            ExprKind::Resize(inner) => self.list("resize", e, &[inner]),
            ExprKind::Fields(parts) => self.list("fields", e, &parts.iter().collect::<Vec<_>>()),
            ExprKind::Field { base, offset, bits } => {
                let bits = bit_text(bits.as_ref());
                format!("(field:{ty} {}@{offset}{bits})", self.e(base))
            }
            ExprKind::Index { base, index } => self.list("index", e, &[base, index]),
            ExprKind::StepVar {
                var,
                delta,
                postfix,
            } => step(&self.var(*var), *delta, *postfix, &ty.to_string()),
            ExprKind::StepMap {
                map,
                key,
                delta,
                postfix,
            } => step(
                &self.map(*map, key.as_deref()),
                *delta,
                *postfix,
                &ty.to_string(),
            ),
            ExprKind::KernelStack => match ty {
                crate::hir::Type::KernelStack { mode, limit } => {
                    format!("kstack({mode:?},{limit})")
                }
                _ => "kstack".to_owned(),
            },
            ExprKind::ByteSwap(inner) => self.list("bswap", e, &[inner]),
            ExprKind::Block(statements, value) => {
                let mut text = String::new();
                let _ = self.statements(statements, 0, &mut text);
                let text: Vec<&str> = text.lines().map(str::trim).collect();
                format!("{{ {}; {} }}", text.join("; "), self.e(value))
            }
            #[allow(unreachable_patterns, reason = "the contract may grow")]
            other => format!("{other:?}"),
        }
    }
}

fn step(place: &str, delta: i64, postfix: bool, ty: &str) -> String {
    if postfix {
        format!("({place} then {delta:+}:{ty})")
    } else {
        format!("({delta:+} to {place}:{ty})")
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
