//! Which output sites a program can get to once its options are known.

use std::collections::BTreeSet;

use kscope_spec::LateId;

use super::{Expr, ExprKind, Program, Stmt, StmtKind, Type};
use crate::plan::SiteId;

impl Program {
    /// Gives the output sites that can be reached where options have these values; an option that
    /// there is no value of may have any.
    #[must_use]
    pub fn reachable_sites(&self, option: &dyn Fn(usize) -> Option<i64>) -> BTreeSet<SiteId> {
        let late = |id: LateId| {
            let at = self.options.iter().position(|option| option.late == id);
            at.and_then(option)
        };
        let mut walk = Walk {
            late: &late,
            found: BTreeSet::new(),
        };
        for probe in &self.probes {
            walk.statements(&probe.body);
        }
        walk.found
    }
}

struct Walk<'a> {
    late: &'a dyn Fn(LateId) -> Option<i64>,
    found: BTreeSet<SiteId>,
}

impl Walk<'_> {
    fn statements(&mut self, all: &[Stmt]) {
        for one in all {
            if let StmtKind::Emit { site, .. } = &one.kind {
                self.found.insert(*site);
            }
            one.expressions(&mut |e| self.expression(e));
            match &one.kind {
                StmtKind::If {
                    condition,
                    then,
                    otherwise,
                } => match self.value(condition) {
                    Some(0) => self.statements(otherwise),
                    Some(_) => self.statements(then),
                    None => one.bodies().iter().for_each(|body| self.statements(body)),
                },
                _ => one.bodies().iter().for_each(|body| self.statements(body)),
            }
        }
    }

    /// Looks for statements inside of an expression.
    fn expression(&mut self, e: &Expr) {
        if let ExprKind::Block(all, _) = &e.kind {
            self.statements(all);
        }
        e.operands(&mut |e| self.expression(e));
    }

    /// Gives the value of what is made of options and constants alone.
    fn value(&self, e: &Expr) -> Option<i64> {
        match &e.kind {
            ExprKind::Int(value) => Some(*value),
            ExprKind::Late(id) => (self.late)(*id),
            ExprKind::Not(e) => self.value(e).map(|value| i64::from(value == 0)),
            ExprKind::Cast(inner) if e.ty == Type::Bool => {
                self.value(inner).map(|value| i64::from(value != 0))
            }
            ExprKind::Logical { and, left, right } => {
                let known = [self.value(left), self.value(right)];
                let decides = |value: &Option<i64>| value.is_some_and(|v| (v == 0) == *and);
                match known {
                    _ if known.iter().any(decides) => Some(i64::from(!and)),
                    [Some(_), Some(_)] => Some(i64::from(*and)),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::catalogue::TextCatalogue;
    use crate::syntax::{Positional, parse};
    use crate::types::{Inputs, check};

    /// Checks which of the numbers that a script prints can be reached, where `x` is set and `y` may be.
    #[track_caller]
    fn reached(body: &str, expected: usize) {
        let text = format!("begin {{ {body} }}");
        let (script, found) = parse(&text, &Positional::default());
        assert!(found.is_empty(), "{found:?}");
        let catalogue = TextCatalogue::default();
        let (program, _) = check(&script, &Inputs::new(&catalogue));
        let option = |index: usize| (program.options[index].name == "x").then_some(1);
        assert_eq!(program.reachable_sites(&option).len(), expected, "{body}");
    }

    #[test]
    fn options_decide_what_is_printed() {
        let x = "getopt(\"x\", false)";
        let y = "getopt(\"y\", false)";
        reached("print(1); print(2);", 2);
        reached(
            &format!("if ({x}) {{ print(1); }} else {{ print(2); print(3); }}"),
            1,
        );
        reached(
            &format!("if (!{x}) {{ print(1); }} else {{ print(2); print(3); }}"),
            2,
        );
        reached(&format!("if ({y}) {{ print(1); }} else {{ print(2); }}"), 2);
        reached(
            &format!("if ({x} || {y}) {{ print(1); }} else {{ print(2); }}"),
            1,
        );
        reached(
            &format!("if ({x} && {y}) {{ print(1); }} else {{ print(2); }}"),
            2,
        );
        reached(
            &format!("if ({y}) {{ if (!{x}) {{ print(1); }} }} else {{ print(2); }}"),
            1,
        );
        reached(&format!("if (pid > 1) {{ if ({x}) {{ print(1); }} }}"), 1);
        reached(
            &format!("for ($i : 0..3) {{ if (!{x}) {{ print(1); }} }}"),
            0,
        );
    }
}
