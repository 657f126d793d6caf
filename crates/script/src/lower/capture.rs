//! Which variables callbacks share with the functions around them.
//!
//! The body of a loop that a helper runs is a function of its own. A variable that only one
//! function uses is that function's; one that several use belongs to the innermost function
//! around all of its uses, which gives the others its address.

use std::collections::{HashMap, HashSet};

use crate::hir::{Expr, ExprKind, Probe, Stmt, StmtKind, VarId};

/// A function of the probe: the program itself, or the body of a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct BodyId(pub(super) u32);

impl BodyId {
    /// The program itself.
    pub(super) const PROGRAM: BodyId = BodyId(0);
}

/// Where a variable is used.
#[derive(Clone, Copy, Debug)]
struct Use {
    /// The innermost function around all uses.
    owner: BodyId,
    /// Whether several functions use it.
    shared: bool,
}

/// The functions of a probe and the variables that they share.
#[derive(Debug, Default)]
pub(super) struct Captures {
    /// The body of each loop that is a function, by the address of its statements.
    bodies: HashMap<*const Stmt, BodyId>,
    /// The function around each; the program has none.
    around: Vec<Option<BodyId>>,
    uses: HashMap<VarId, Use>,
    /// Variables whose address is taken.
    addressed: HashSet<VarId>,
}

impl Captures {
    /// Looks at a probe, whose loops are functions where `is_function` says so.
    pub(super) fn of(probe: &Probe, is_function: &dyn Fn(&Stmt) -> bool) -> Captures {
        let mut captures = Captures {
            around: vec![None],
            ..Captures::default()
        };
        let mut walk = Walk {
            captures: &mut captures,
            is_function,
        };
        walk.statements(&probe.body, BodyId::PROGRAM);
        captures
    }

    /// Gives the function that the loop's body is, where it is one.
    pub(super) fn body(&self, statement: &Stmt) -> Option<BodyId> {
        self.bodies.get(&std::ptr::from_ref(statement)).copied()
    }

    /// Says whether the variable is the function's own, and whether others use it as well.
    pub(super) fn owned(&self, var: VarId, body: BodyId) -> Option<bool> {
        match self.uses.get(&var) {
            Some(used) => (used.owner == body).then_some(used.shared),
            // One that is declared and never used.
            None => (body == BodyId::PROGRAM).then_some(false),
        }
    }

    /// Says whether the variable must lie in memory.
    pub(super) fn has_address(&self, var: VarId) -> bool {
        self.addressed.contains(&var)
    }

    /// Gives how many functions stand directly in the function.
    pub(super) fn children(&self, body: BodyId) -> u32 {
        self.around.iter().filter(|a| **a == Some(body)).count() as u32
    }

    /// Gives how many functions stand before this one in the function around it.
    pub(super) fn place_among_children(&self, body: BodyId) -> u32 {
        let index = body.0 as usize;
        let around = self.around.get(index).copied().flatten();
        let before = self.around.iter().take(index);
        before.filter(|a| around.is_some() && **a == around).count() as u32
    }

    fn meet(&self, a: BodyId, b: BodyId) -> BodyId {
        let way = |from: BodyId| {
            let step = |at: &BodyId| self.around.get(at.0 as usize).copied().flatten();
            std::iter::successors(Some(from), step)
        };
        let meeting = way(a).find(|x| way(b).any(|y| y == *x));
        meeting.unwrap_or(BodyId::PROGRAM)
    }
}

struct Walk<'a> {
    captures: &'a mut Captures,
    is_function: &'a dyn Fn(&Stmt) -> bool,
}

impl Walk<'_> {
    fn used(&mut self, var: VarId, body: BodyId) {
        let owner = match self.captures.uses.get(&var) {
            Some(used) => self.captures.meet(used.owner, body),
            None => body,
        };
        let entry = self.captures.uses.entry(var);
        let used = entry.or_insert(Use {
            owner: body,
            shared: false,
        });
        used.shared |= used.owner != body || owner != used.owner;
        used.owner = owner;
    }

    fn statements(&mut self, statements: &[Stmt], body: BodyId) {
        for statement in statements {
            if let StmtKind::SetVar(var, _) = statement.kind {
                self.used(var, body);
            }
            statement.expressions(&mut |e| self.expression(e, body));
            let mut inside = body;
            if (self.is_function)(statement) {
                inside = BodyId(self.captures.around.len() as u32);
                self.captures.around.push(Some(body));
                let at = std::ptr::from_ref(statement);
                self.captures.bodies.insert(at, inside);
            }
            if let StmtKind::ForMap { var, .. } | StmtKind::ForRange { var, .. } = statement.kind {
                self.used(var, inside);
            }
            for statements in statement.bodies() {
                self.statements(statements, inside);
            }
        }
    }

    fn expression(&mut self, expr: &Expr, body: BodyId) {
        match &expr.kind {
            ExprKind::Var(var) | ExprKind::StepVar { var, .. } => self.used(*var, body),
            ExprKind::VarAddress(var) => {
                self.captures.addressed.insert(*var);
                self.used(*var, body);
            }
            ExprKind::Block(statements, _) => self.statements(statements, body),
            _ => {}
        }
        expr.operands(&mut |e| self.expression(e, body));
    }
}
