//! The syntax tree, close to what was written; every node carries its span.

use crate::diagnostic::Span;

/// A whole script.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    /// Entries of all `config = { … }` blocks.
    pub config: Vec<ConfigEntry>,
    /// `struct`, `union` and `enum` definitions of the C part.
    pub definitions: Vec<Definition>,
    /// `let @m = hash(N);` declarations.
    pub map_decls: Vec<MapDecl>,
    /// `macro name(…) { … }` definitions.
    pub macros: Vec<Macro>,
    /// Files of `import "…";`, as written.
    pub imports: Vec<Name>,
    /// Probes in order.
    pub probes: Vec<Probe>,
    /// Where it walks over memory: loops over lists, paths, stacks of threads that do not run it.
    pub walks: Vec<Span>,
}

/// A name and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The text.
    pub text: String,
    /// Where.
    pub span: Span,
}

/// `key = value` of a config block.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigEntry {
    /// The key as written.
    pub key: Name,
    /// The value: an integer, a string, a bool or a name.
    pub value: Expr,
}

/// A C type definition in the script.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// `struct`, `union` or `enum`.
    pub keyword: AggregateKeyword,
    /// The tag; empty for an enumeration without one.
    pub name: Name,
    /// What stands between the braces.
    pub body: DefinitionBody,
    /// Whether an attribute says `packed`.
    pub packed: bool,
    /// What an attribute `aligned(n)` says, in bytes.
    pub align: Option<u64>,
    /// All of it.
    pub span: Span,
}

/// The keyword of a C type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are C's")]
pub enum AggregateKeyword {
    Struct,
    Union,
    Enum,
}

/// The body of a C type definition.
#[derive(Clone, Debug, PartialEq)]
pub enum DefinitionBody {
    /// Members in order.
    Members(Vec<MemberDecl>),
    /// Enumerators with their values, where written.
    Enumerators(Vec<(Name, Option<Expr>)>),
}

/// One member of a C structure.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberDecl {
    /// The type, array dimensions included. A structure defined inside another is a definition of
    /// its own before the outer one; without a tag it is named `outer::N`.
    pub ty: TypeName,
    /// The name; empty for an anonymous structure, whose members belong to the outer one, and
    /// for padding bits.
    pub name: Name,
    /// Width of a bit-field.
    pub bits: Option<u32>,
}

/// `let @m = hash(N);`
#[derive(Clone, Debug, PartialEq)]
pub struct MapDecl {
    /// Map name without `@`.
    pub name: Name,
    /// Kind as written, for example `lruhash`.
    pub kind: Name,
    /// Number of entries.
    pub entries: Option<Expr>,
    /// All of it.
    pub span: Span,
}

/// `macro name(a, $v, @m) { … }`
#[derive(Clone, Debug, PartialEq)]
pub struct Macro {
    /// The name.
    pub name: Name,
    /// Parameters.
    pub params: Vec<MacroParam>,
    /// The body.
    pub body: Block,
    /// Whether it was written as `fn`, whose body may name any map.
    pub function: bool,
    /// All of it.
    pub span: Span,
}

/// A parameter of a macro.
#[derive(Clone, Debug, PartialEq)]
pub enum MacroParam {
    /// `a`: an expression, evaluated at each use.
    Expr(Name),
    /// `$v`: a variable by reference; the name has no `$`.
    Var(Name),
    /// `@m`: a map by reference; the name has no `@`.
    Map(Name),
}

/// A probe: attach points, predicate, body.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// `name =` before the attach points.
    pub label: Option<Name>,
    /// One or more attach points as written.
    pub attach_points: Vec<AttachPoint>,
    /// `/…/`.
    pub predicate: Option<Expr>,
    /// The body.
    pub body: Block,
    /// All of it.
    pub span: Span,
}

/// An attach point as written, split at the colons outside quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachPoint {
    /// The text with positional parameters put in.
    pub text: String,
    /// Its parts with quotes removed; the first is the probe type.
    pub parts: Vec<String>,
    /// Where.
    pub span: Span,
}

/// Statements, and the value of a block used as an expression.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    /// Statements in order.
    pub statements: Vec<Statement>,
    /// The last expression where no `;` follows it. Absent in blocks whose value nobody takes
    /// (bodies of probes and loops, branches of an `if` that is a statement): there it is the
    /// last statement. An `if` or a block is a value only when all its branches have one.
    pub value: Option<Box<Expr>>,
    /// Braces included.
    pub span: Span,
}

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// What it is.
    pub kind: StatementKind,
    /// Where.
    pub span: Span,
}

/// Kinds of statements.
#[derive(Clone, Debug, PartialEq)]
pub enum StatementKind {
    /// An expression for its effect.
    Expr(Expr),
    /// `_ = e;`
    Discard(Expr),
    /// `target = e`, or with `op` `target op= e`.
    Assign {
        /// A variable, a map, a map element (or what the checker will refuse).
        target: Expr,
        /// The operator of a compound assignment.
        op: Option<BinaryOp>,
        /// The right side.
        value: Expr,
    },
    /// `let $x : type = e;`
    Let {
        /// Name without `$`.
        var: Name,
        /// Declared type.
        ty: Option<TypeName>,
        /// Initial value.
        value: Option<Expr>,
    },
    /// `if (c) {} else {}`.
    If(IfExpr),
    /// `for ($kv : @map) {}`.
    ForMap {
        /// Loop variable without `$`.
        var: Name,
        /// Map name without `@`.
        map: Name,
        /// The body.
        body: Block,
    },
    /// `for ($i : a..b) {}`.
    ForRange {
        /// Loop variable without `$`.
        var: Name,
        /// First value.
        start: Expr,
        /// End, exclusive.
        end: Expr,
        /// The body.
        body: Block,
    },
    /// `while (c) {}`.
    While {
        /// The condition.
        condition: Expr,
        /// The body.
        body: Block,
    },
    /// `unroll (n) {}`.
    Unroll {
        /// How often.
        count: Expr,
        /// The body.
        body: Block,
    },
    /// `break;`
    Break,
    /// `continue;`
    Continue,
    /// `return;` or `return e;`
    Return(Option<Expr>),
    /// A block of its own.
    Block(Block),
    /// What could not be parsed; a finding has been reported.
    Error,
}

/// `if`, as statement or expression.
#[derive(Clone, Debug, PartialEq)]
pub struct IfExpr {
    /// The condition.
    pub condition: Expr,
    /// Set for `if comptime`.
    pub comptime: bool,
    /// The first branch.
    pub then: Block,
    /// The second; `else if` is a block with one `if`.
    pub otherwise: Option<Block>,
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where.
    pub span: Span,
}

/// Gives the thread of `kstack(task, …)`, and what follows it; `kstack(perf)` and `kstack(3)` are of the thread that runs.
pub(crate) fn task_of_stack(args: &[Expr]) -> Option<(&Expr, &[Expr])> {
    let of_other = |kind: &ExprKind| !matches!(kind, ExprKind::Name(_) | ExprKind::Int(_));
    args.split_first()
        .filter(|(first, _)| of_other(&first.kind))
}

/// Kinds of expressions.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// An integer literal, its suffix applied (durations in nanoseconds).
    Int(u64),
    /// A string literal, escapes resolved.
    Str(Vec<u8>),
    /// `true` or `false`.
    Bool(bool),
    /// `$x`, without `$`.
    Var(String),
    /// `@m`, without `@` (empty for the anonymous map), with its key where one is given;
    /// `@m[a, b]` has a tuple as its key.
    Map {
        /// Name.
        name: String,
        /// Key.
        key: Option<Box<Expr>>,
    },
    /// `$1`, with its number.
    Positional(u32),
    /// `$#`.
    PositionalCount,
    /// A bare name: a builtin, an enumerator, a macro without parameters.
    Name(String),
    /// `name(args)`.
    Call {
        /// What is called.
        name: Name,
        /// Arguments; a type name stands as [`ExprKind::Type`].
        args: Vec<Expr>,
    },
    /// A type where an expression may stand (`sizeof(struct foo)`, `typeof(T)` arguments).
    Type(TypeName),
    /// `sizeof(e)` or `sizeof(type)`.
    SizeOf(Box<Expr>),
    /// `field_exists(type or expression, a.b)`.
    FieldExists {
        /// The type asked about.
        of: Box<Expr>,
        /// The member, or a path to one inside of it.
        path: Vec<Name>,
    },
    /// `offsetof(type or expression, a.b)`.
    OffsetOf {
        /// The type or an expression of it.
        of: Box<Expr>,
        /// Members from the outside in.
        path: Vec<Name>,
    },
    /// A prefix operator.
    Unary {
        /// Which.
        op: UnaryOp,
        /// Its operand.
        operand: Box<Expr>,
    },
    /// `++` and `--`.
    Step {
        /// `+1` or `-1`.
        increment: bool,
        /// Whether the value is that before the step (`x++`).
        postfix: bool,
        /// A variable or map.
        operand: Box<Expr>,
    },
    /// A binary operator.
    Binary {
        /// Which.
        op: BinaryOp,
        /// Left.
        left: Box<Expr>,
        /// Right.
        right: Box<Expr>,
    },
    /// `c ? a : b`, and `c ?: b` without `then`.
    Ternary {
        /// The condition.
        condition: Box<Expr>,
        /// The first value.
        then: Option<Box<Expr>>,
        /// The second.
        otherwise: Box<Expr>,
    },
    /// `e.name` or `e->name`.
    Field {
        /// The whole.
        base: Box<Expr>,
        /// The member; a decimal number for tuples.
        name: Name,
        /// Whether `->` was written.
        arrow: bool,
    },
    /// `e[i]` on anything but a map.
    Index {
        /// The whole.
        base: Box<Expr>,
        /// The index.
        index: Box<Expr>,
    },
    /// `(type)e`.
    Cast {
        /// To what.
        ty: TypeName,
        /// The operand.
        operand: Box<Expr>,
    },
    /// `(a, b)`, `(a,)`, `()`.
    Tuple(Vec<Expr>),
    /// `(name = e, …)`.
    Record(Vec<(Name, Expr)>),
    /// `{ …; e }` as a value.
    Block(Box<Block>),
    /// `if` as a value.
    If(Box<IfExpr>),
    /// `comptime e`.
    Comptime(Box<Expr>),
    /// What could not be parsed; a finding has been reported.
    Error,
}

/// Prefix operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryOp {
    /// `-`
    Neg,
    /// `!`
    Not,
    /// `~`
    BitNot,
    /// `*`
    Deref,
    /// `&`
    AddressOf,
}

/// Binary operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    BitAnd,
    BitOr,
    BitXor,
    Shl,
    Shr,
    LogicalAnd,
    LogicalOr,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// A type as written.
#[derive(Clone, Debug, PartialEq)]
pub struct TypeName {
    /// The innermost name.
    pub base: TypeBase,
    /// Stars and brackets from the inside out.
    pub suffixes: Vec<TypeSuffix>,
    /// Where.
    pub span: Span,
}

/// The innermost part of a type name.
#[derive(Clone, Debug, PartialEq)]
pub enum TypeBase {
    /// `uint64`, `unsigned long`, `pid_t`, `string`, …: one or more words.
    Named(String),
    /// `struct foo`, `union foo`, `enum foo`.
    Aggregate(AggregateKeyword, String),
    /// `typeof(e)`.
    TypeOf(Box<Expr>),
}

/// One level around a type.
#[derive(Clone, Debug, PartialEq)]
pub enum TypeSuffix {
    /// `*`
    Pointer,
    /// `[n]`, or `[]` without a size.
    Array(Option<u64>),
}
