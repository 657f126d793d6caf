//! `for ($x : list(head, struct t, member))`: kscope's own walks over what the kernel links.
//!
//! A list is said in the language itself: a loop over a range that reads one link a round. It ends
//! at the head, at what cannot be read, where it comes back to what it had, and after [`ROUNDS`].
//! The other walks are the interpreter's: a loop asks for what they found, one a round.

use super::tree::{
    BinaryOp, Block, Expr, ExprKind, IfExpr, Name, Statement, StatementKind, TypeBase, TypeName,
    TypeSuffix, UnaryOp,
};
use crate::diagnostic::Span;

/// Most elements of a list: the kernel has no more processes.
const ROUNDS: u64 = 1 << 22;

/// What a `for` walks over beside lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkKind {
    /// `struct hlist_head`, `struct llist_head`.
    Hlist,
    /// `struct rb_root`, `struct rb_root_cached`.
    Rbtree,
    /// `struct xarray`, `struct radix_tree_root`.
    Xarray,
    /// `struct maple_tree`.
    Maple,
}

impl WalkKind {
    /// All kinds, in the order of the numbers that stand for them.
    pub const ALL: [WalkKind; 4] = [
        WalkKind::Hlist,
        WalkKind::Rbtree,
        WalkKind::Xarray,
        WalkKind::Maple,
    ];
}

/// The words that walks are asked for with, and what stands in their parentheses.
pub(super) const WALKS: [(&str, Option<WalkKind>, &str); 6] = [
    ("list", None, IN_LIST),
    ("hlist", Some(WalkKind::Hlist), IN_HLIST),
    ("llist", Some(WalkKind::Hlist), IN_HLIST),
    ("rbtree", Some(WalkKind::Rbtree), IN_TREE),
    ("xarray", Some(WalkKind::Xarray), IN_ARRAY),
    ("maple", Some(WalkKind::Maple), IN_ARRAY),
];
const IN_LIST: &str = "the address of the head, the type of the elements, and its member: \
                       list(kaddr(\"modules\"), struct module, list)";
const IN_HLIST: &str = "the address of the head, the type of the elements, and the member that \
                        links them: hlist(&$bucket->chain, struct sock, __sk_common.skc_node)";
const IN_TREE: &str = "the address of the root, the type of the elements, and the member that is \
                       their node: rbtree(&$ns->mounts, struct mount, mnt_node)";
const IN_ARRAY: &str = "the address of the root, and the type of what the entries point to: \
                        xarray(kaddr(\"irq_desc_tree\"), struct irq_desc)";

/// Says whether a word asks for a walk.
pub(super) fn is_walk(word: &str) -> bool {
    WALKS.iter().any(|(walk, ..)| *walk == word)
}

/// Says which walks there are.
pub(super) fn names_walks() -> String {
    let words = WALKS.map(|(word, ..)| word).join(", ");
    format!("what the kernel links is gone through with one of {words}")
}

/// The functions that these loops call, which no script can name.
pub(crate) const BEGIN: &str = "walk begin";
pub(crate) const NEXT: &str = "walk next";
pub(crate) const END: &str = "walk end";

/// Makes the loop of its variable, the words in the parentheses, and its body, of a walk that the
/// interpreter makes.
pub(super) fn interpreted(
    var: Name,
    kind: WalkKind,
    args: Vec<Expr>,
    body: Block,
    span: Span,
) -> StatementKind {
    let make = Maker { span };
    let name = |what: &str| format!("walk {what} {}", span.start);
    let (number, link, round) = (name("number"), name("link"), name("round"));
    let variable = |name: &str| make.variable(name);
    let int = |n: u64| make.int(n);
    let mut args = args.into_iter();
    let root = args.next().unwrap_or_else(|| int(0));
    let ty = args.next().unwrap_or_else(|| int(0));
    let element = match args.next() {
        Some(member) => make.call("container_of", vec![variable(&link), ty, member]),
        None => make.cast(pointer_to(ty), variable(&link)),
    };
    let next = make.call(NEXT, vec![variable(&number)]);
    let at_end = make.binary(BinaryOp::Eq, variable(&link), int(0));
    let inner = vec![
        make.let_number(&link, next),
        make.when(at_end, vec![make.statement(StatementKind::Break)]),
        make.element(var, element),
        make.statement(StatementKind::Block(body)),
    ];
    let root = make.cast(make.type_name(&[]), root);
    let begin = make.call(BEGIN, vec![int(kind as u64), root]);
    // What a `break` left is given back.
    let end = make.call(END, vec![variable(&number)]);
    let outer = vec![
        make.let_number(&number, begin),
        make.rounds(&round, inner),
        make.statement(StatementKind::Expr(end)),
    ];
    StatementKind::Block(make.block(outer))
}

/// Gives the type of pointers to what stands where a type should.
fn pointer_to(ty: Expr) -> TypeName {
    let span = ty.span;
    let mut name = match ty.kind {
        ExprKind::Type(name) => name,
        ExprKind::Name(word) => TypeName {
            base: TypeBase::Named(word),
            suffixes: Vec::new(),
            span,
        },
        _ => TypeName {
            base: TypeBase::TypeOf(Box::new(ty)),
            suffixes: Vec::new(),
            span,
        },
    };
    name.suffixes.push(TypeSuffix::Pointer);
    name
}

/// Makes the loop of its variable, the words in the parentheses of `list`, and its body.
pub(super) fn walk(var: Name, args: [Expr; 3], body: Block, span: Span) -> StatementKind {
    let [start, ty, member] = args;
    let make = Maker { span };
    // Blanks keep these from being names that a script can have.
    let name = |what: &str| format!("list {what} {}", span.start);
    let (head, link, seen, round) = (name("head"), name("link"), name("seen"), name("round"));
    let number = || make.type_name(&[]);
    let read = |from: Expr| {
        let pointer = make.call("kptr", vec![from]);
        let typed = make.cast(make.type_name(&[TypeSuffix::Pointer]), pointer);
        make.unary(UnaryOp::Deref, typed)
    };
    let variable = |name: &str| make.variable(name);
    let int = |n: u64| make.int(n);
    let same = |left: Expr, right: Expr| make.binary(BinaryOp::Eq, left, right);
    let set = |name: &str, value: Expr| {
        make.statement(StatementKind::Assign {
            target: variable(name),
            op: None,
            value,
        })
    };
    let leave = || make.statement(StatementKind::Break);
    let at_end = make.binary(
        BinaryOp::LogicalOr,
        same(variable(&link), variable(&head)),
        same(variable(&link), int(0)),
    );
    let told = make.expr(ExprKind::Str(
        b"a list comes back to %p and never to its head".to_vec(),
    ));
    let tell = make.call("warnf", vec![told, variable(&link)]);
    let before = make.binary(BinaryOp::Sub, variable(&round), int(1));
    // Brent's way to find a cycle: what was met in a round that is a power of two is met again.
    let is_power = same(
        make.binary(BinaryOp::BitAnd, variable(&round), before),
        int(0),
    );
    let element = make.call("container_of", vec![variable(&link), ty, member]);
    let inner = vec![
        make.when(at_end, vec![leave()]),
        make.when(
            same(variable(&link), variable(&seen)),
            vec![make.statement(StatementKind::Expr(tell)), leave()],
        ),
        make.when(is_power, vec![set(&seen, variable(&link))]),
        make.element(var, element),
        set(&link, read(variable(&link))),
        make.statement(StatementKind::Block(body)),
    ];
    let outer = vec![
        make.let_number(&head, make.cast(number(), start)),
        make.let_number(&link, read(variable(&head))),
        make.let_number(&seen, int(0)),
        make.rounds(&round, inner),
    ];
    StatementKind::Block(make.block(outer))
}

/// Makes parts of a tree, all of one place.
struct Maker {
    span: Span,
}

impl Maker {
    fn name(&self, text: &str) -> Name {
        Name {
            text: text.to_owned(),
            span: self.span,
        }
    }

    fn expr(&self, kind: ExprKind) -> Expr {
        Expr {
            kind,
            span: self.span,
        }
    }

    fn variable(&self, name: &str) -> Expr {
        self.expr(ExprKind::Var(name.to_owned()))
    }

    fn int(&self, number: u64) -> Expr {
        self.expr(ExprKind::Int(number))
    }

    fn type_name(&self, suffixes: &[TypeSuffix]) -> TypeName {
        TypeName {
            base: TypeBase::Named("uint64".to_owned()),
            suffixes: suffixes.to_vec(),
            span: self.span,
        }
    }

    fn cast(&self, ty: TypeName, operand: Expr) -> Expr {
        let operand = Box::new(operand);
        self.expr(ExprKind::Cast { ty, operand })
    }

    fn unary(&self, op: UnaryOp, operand: Expr) -> Expr {
        let operand = Box::new(operand);
        self.expr(ExprKind::Unary { op, operand })
    }

    fn binary(&self, op: BinaryOp, left: Expr, right: Expr) -> Expr {
        let (left, right) = (Box::new(left), Box::new(right));
        self.expr(ExprKind::Binary { op, left, right })
    }

    fn call(&self, name: &str, args: Vec<Expr>) -> Expr {
        let name = self.name(name);
        self.expr(ExprKind::Call { name, args })
    }

    fn statement(&self, kind: StatementKind) -> Statement {
        Statement {
            kind,
            span: self.span,
        }
    }

    fn let_number(&self, name: &str, value: Expr) -> Statement {
        self.statement(StatementKind::Let {
            var: self.name(name),
            ty: Some(self.type_name(&[])),
            value: Some(value),
        })
    }

    /// Gives the script's variable its value for one round.
    fn element(&self, var: Name, value: Expr) -> Statement {
        self.statement(StatementKind::Let {
            var,
            ty: None,
            value: Some(value),
        })
    }

    /// Makes the loop that ends after [`ROUNDS`] at the latest.
    fn rounds(&self, counter: &str, inner: Vec<Statement>) -> Statement {
        self.statement(StatementKind::ForRange {
            var: self.name(counter),
            start: self.int(0),
            end: self.int(ROUNDS),
            body: self.block(inner),
        })
    }

    fn when(&self, condition: Expr, then: Vec<Statement>) -> Statement {
        self.statement(StatementKind::If(IfExpr {
            condition,
            comptime: false,
            then: self.block(then),
            otherwise: None,
        }))
    }

    fn block(&self, statements: Vec<Statement>) -> Block {
        Block {
            statements,
            value: None,
            span: self.span,
        }
    }
}
