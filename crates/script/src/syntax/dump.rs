//! The tree as S-expressions: one line per statement, expressions inline. For tests and for
//! showing how a script was understood.

use std::fmt::Write as _;

use super::tree::{
    AggregateKeyword, BinaryOp, Block, Definition, DefinitionBody, Expr, ExprKind, IfExpr, Macro,
    MacroParam, MapDecl, Name, Probe, Script, Statement, StatementKind, TypeBase, TypeName,
    TypeSuffix, UnaryOp,
};

/// Writes a whole script.
#[must_use]
pub fn script(script: &Script) -> String {
    let mut dump = Dump::default();
    for entry in &script.config {
        dump.line(&format!(
            "(config {} {})",
            entry.key.text,
            expr(&entry.value)
        ));
    }
    for definition in &script.definitions {
        dump.definition(definition);
    }
    for map in &script.map_decls {
        dump.map_decl(map);
    }
    for found in &script.macros {
        dump.macro_item(found);
    }
    for probe in &script.probes {
        dump.probe(probe);
    }
    dump.out
}

/// Writes one expression, on one line.
#[must_use]
pub fn expr(expr: &Expr) -> String {
    match &expr.kind {
        ExprKind::Int(value) => value.to_string(),
        ExprKind::Str(bytes) => format!("\"{}\"", bytes.escape_ascii()),
        ExprKind::Bool(value) => value.to_string(),
        ExprKind::Var(name) => format!("${name}"),
        ExprKind::Map { name, key: None } => format!("@{name}"),
        ExprKind::Map {
            name,
            key: Some(key),
        } => format!("(@{name} {})", self::expr(key)),
        ExprKind::Positional(number) => format!("${number}"),
        ExprKind::PositionalCount => "$#".to_owned(),
        ExprKind::Name(name) => name.clone(),
        ExprKind::Call { name, args } => list(&format!("call {}", name.text), args),
        ExprKind::Type(ty) => format!("(type {})", type_name(ty)),
        ExprKind::SizeOf(of) => form("sizeof", &[of]),
        ExprKind::FieldExists { of, path } => {
            let path: Vec<&str> = path.iter().map(|name| name.text.as_str()).collect();
            format!("(field_exists {} {})", self::expr(of), path.join("."))
        }
        ExprKind::OffsetOf { of, path } => {
            let path: Vec<&str> = path.iter().map(|name| name.text.as_str()).collect();
            format!("(offsetof {} {})", self::expr(of), path.join("."))
        }
        ExprKind::Unary { op, operand } => form(unary(*op), &[operand]),
        ExprKind::Step {
            increment,
            postfix,
            operand,
        } => {
            let op = if *increment { "++" } else { "--" };
            let place = if *postfix { "post" } else { "pre" };
            form(&format!("{place}{op}"), &[operand])
        }
        ExprKind::Binary { op, left, right } => form(binary(*op), &[left, right]),
        ExprKind::Ternary {
            condition,
            then: Some(then),
            otherwise,
        } => form("?", &[condition, then, otherwise]),
        ExprKind::Ternary {
            condition,
            then: None,
            otherwise,
        } => form("?:", &[condition, otherwise]),
        ExprKind::Field { base, name, arrow } => {
            let op = if *arrow { "->" } else { "." };
            format!("({op} {} {})", self::expr(base), name.text)
        }
        ExprKind::Index { base, index } => form("index", &[base, index]),
        ExprKind::Cast { ty, operand } => {
            format!("(cast {} {})", type_name(ty), self::expr(operand))
        }
        ExprKind::Tuple(items) => list("tuple", items),
        ExprKind::Record(fields) => {
            let mut out = "(record".to_owned();
            for (name, value) in fields {
                let _ = write!(out, " {}={}", name.text, self::expr(value));
            }
            out + ")"
        }
        ExprKind::Block(inner) => block_inline(inner),
        ExprKind::If(found) => if_inline(found),
        ExprKind::Comptime(inner) => form("comptime", &[inner]),
        ExprKind::Error => "<error>".to_owned(),
    }
}

/// Writes a type, read from left to right: `uint8[16]*` is a pointer to an array.
#[must_use]
pub fn type_name(ty: &TypeName) -> String {
    let mut out = match &ty.base {
        TypeBase::Named(name) => name.clone(),
        TypeBase::Aggregate(keyword, name) => format!("{} {name}", aggregate(*keyword)),
        TypeBase::TypeOf(of) => format!("typeof({})", expr(of)),
    };
    for suffix in &ty.suffixes {
        match suffix {
            TypeSuffix::Pointer => out.push('*'),
            TypeSuffix::Array(None) => out.push_str("[]"),
            TypeSuffix::Array(Some(size)) => {
                let _ = write!(out, "[{size}]");
            }
        }
    }
    out
}

fn form(head: &str, parts: &[&Expr]) -> String {
    let mut out = format!("({head}");
    for part in parts {
        out.push(' ');
        out.push_str(&expr(part));
    }
    out + ")"
}

fn list(head: &str, parts: &[Expr]) -> String {
    form(head, &parts.iter().collect::<Vec<_>>())
}

fn block_inline(block: &Block) -> String {
    let mut inner = Dump::default();
    inner.block(block);
    let lines: Vec<&str> = inner.out.lines().map(str::trim_start).collect();
    format!("{{{}}}", lines.join(" "))
}

fn if_inline(found: &IfExpr) -> String {
    let head = if found.comptime { "if-comptime" } else { "if" };
    let mut out = format!(
        "({head} {} {}",
        expr(&found.condition),
        block_inline(&found.then)
    );
    if let Some(otherwise) = &found.otherwise {
        out.push(' ');
        out.push_str(&block_inline(otherwise));
    }
    out + ")"
}

const fn unary(op: UnaryOp) -> &'static str {
    match op {
        UnaryOp::Neg => "neg",
        UnaryOp::Not => "!",
        UnaryOp::BitNot => "~",
        UnaryOp::Deref => "deref",
        UnaryOp::AddressOf => "addr",
    }
}

const fn binary(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "+",
        BinaryOp::Sub => "-",
        BinaryOp::Mul => "*",
        BinaryOp::Div => "/",
        BinaryOp::Mod => "%",
        BinaryOp::BitAnd => "&",
        BinaryOp::BitOr => "|",
        BinaryOp::BitXor => "^",
        BinaryOp::Shl => "<<",
        BinaryOp::Shr => ">>",
        BinaryOp::LogicalAnd => "&&",
        BinaryOp::LogicalOr => "||",
        BinaryOp::Eq => "==",
        BinaryOp::Ne => "!=",
        BinaryOp::Lt => "<",
        BinaryOp::Le => "<=",
        BinaryOp::Gt => ">",
        BinaryOp::Ge => ">=",
    }
}

const fn aggregate(keyword: AggregateKeyword) -> &'static str {
    match keyword {
        AggregateKeyword::Struct => "struct",
        AggregateKeyword::Union => "union",
        AggregateKeyword::Enum => "enum",
    }
}

/// Lines with indentation.
#[derive(Default)]
struct Dump {
    out: String,
    depth: usize,
}

impl Dump {
    fn line(&mut self, text: &str) {
        for _ in 0..self.depth {
            self.out.push_str("  ");
        }
        self.out.push_str(text);
        self.out.push('\n');
    }

    /// Writes a head, a part one level deeper, and the final parenthesis behind its last line.
    fn nested(&mut self, head: &str, part: impl FnOnce(&mut Self)) {
        self.line(head);
        self.depth += 1;
        part(self);
        self.depth -= 1;
        self.out.truncate(self.out.trim_end_matches('\n').len());
        self.out.push_str(")\n");
    }

    fn definition(&mut self, definition: &Definition) {
        let mut head = format!(
            "({} {}",
            aggregate(definition.keyword),
            definition.name.text
        );
        if definition.packed {
            head.push_str(" packed");
        }
        if let Some(align) = definition.align {
            let _ = write!(head, " aligned={align}");
        }
        self.nested(&head, |dump| match &definition.body {
            DefinitionBody::Members(members) => {
                for member in members {
                    let name = or_blank(&member.name);
                    let bits = member.bits.map(|bits| format!(" :{bits}"));
                    let bits = bits.unwrap_or_default();
                    dump.line(&format!("({name} {}{bits})", type_name(&member.ty)));
                }
            }
            DefinitionBody::Enumerators(all) => {
                for (name, value) in all {
                    match value {
                        Some(value) => dump.line(&format!("({} {})", name.text, expr(value))),
                        None => dump.line(&name.text),
                    }
                }
            }
        });
    }

    fn map_decl(&mut self, map: &MapDecl) {
        let entries = map
            .entries
            .as_ref()
            .map(|entries| format!(" {}", expr(entries)));
        let entries = entries.unwrap_or_default();
        self.line(&format!(
            "(map @{} {}{entries})",
            map.name.text, map.kind.text
        ));
    }

    fn macro_item(&mut self, found: &Macro) {
        let mut head = format!("(macro {} (", found.name.text);
        for (index, param) in found.params.iter().enumerate() {
            let (sign, name) = match param {
                MacroParam::Expr(name) => ("", name),
                MacroParam::Var(name) => ("$", name),
                MacroParam::Map(name) => ("@", name),
            };
            let space = if index == 0 { "" } else { " " };
            let _ = write!(head, "{space}{sign}{}", name.text);
        }
        head.push(')');
        self.nested(&head, |dump| dump.block(&found.body));
    }

    fn probe(&mut self, probe: &Probe) {
        let mut head = "(probe".to_owned();
        if let Some(label) = &probe.label {
            let _ = write!(head, " {}=", label.text);
        }
        for point in &probe.attach_points {
            let _ = write!(head, " [{}]", point.parts.join("|"));
        }
        self.nested(&head, |dump| {
            if let Some(predicate) = &probe.predicate {
                dump.line(&format!("(when {})", expr(predicate)));
            }
            dump.block(&probe.body);
        });
    }

    fn block(&mut self, block: &Block) {
        for statement in &block.statements {
            self.statement(statement);
        }
        if let Some(value) = &block.value {
            self.line(&format!("=> {}", expr(value)));
        }
    }

    fn statement(&mut self, statement: &Statement) {
        match &statement.kind {
            StatementKind::Expr(found) => self.line(&expr(found)),
            StatementKind::Discard(found) => self.line(&format!("(discard {})", expr(found))),
            StatementKind::Assign { target, op, value } => {
                let op = op.map(binary).unwrap_or_default();
                self.line(&format!("({op}= {} {})", expr(target), expr(value)));
            }
            StatementKind::Let { var, ty, value } => {
                let mut line = format!("(let ${}", var.text);
                if let Some(ty) = ty {
                    let _ = write!(line, " : {}", type_name(ty));
                }
                if let Some(value) = value {
                    let _ = write!(line, " = {}", expr(value));
                }
                self.line(&(line + ")"));
            }
            StatementKind::If(found) => self.if_statement(found),
            StatementKind::ForMap { var, map, body } => {
                self.nested(&format!("(for ${} @{}", var.text, map.text), |dump| {
                    dump.block(body);
                });
            }
            StatementKind::ForRange {
                var,
                start,
                end,
                body,
            } => {
                let head = format!("(for ${} {} .. {}", var.text, expr(start), expr(end));
                self.nested(&head, |dump| dump.block(body));
            }
            StatementKind::While { condition, body } => {
                self.nested(&format!("(while {}", expr(condition)), |dump| {
                    dump.block(body);
                });
            }
            StatementKind::Unroll { count, body } => {
                self.nested(&format!("(unroll {}", expr(count)), |dump| dump.block(body));
            }
            StatementKind::Break => self.line("(break)"),
            StatementKind::Continue => self.line("(continue)"),
            StatementKind::Return(None) => self.line("(return)"),
            StatementKind::Return(Some(value)) => self.line(&format!("(return {})", expr(value))),
            StatementKind::Block(inner) => self.nested("(block", |dump| dump.block(inner)),
            StatementKind::Error => self.line("<error>"),
        }
    }

    fn if_statement(&mut self, found: &IfExpr) {
        let head = if found.comptime { "if-comptime" } else { "if" };
        self.nested(&format!("({head} {}", expr(&found.condition)), |dump| {
            dump.nested("(then", |dump| dump.block(&found.then));
            if let Some(otherwise) = &found.otherwise {
                dump.nested("(else", |dump| dump.block(otherwise));
            }
        });
    }
}

fn or_blank(name: &Name) -> &str {
    if name.text.is_empty() {
        "_"
    } else {
        &name.text
    }
}
