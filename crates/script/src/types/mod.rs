//! The tree to a checked program: names, types, layouts.
//!
//! One walk makes the checked program from the tree, with what is known of variables and maps so
//! far. As long as a walk learns something it is done again; what the last one found is kept.

mod aggregate;
mod args;
mod argv;
mod assign;
mod builtin;
mod call;
mod cast;
mod config;
mod constant;
mod convert;
mod ctype;
mod data;
mod definition;
pub mod dump;
mod effect;
pub mod event;
mod expr;
mod field;
mod function;
pub mod import;
mod infer;
pub mod kernel;
mod known;
mod layout;
mod loops;
mod lvalue;
mod macros;
mod map;
mod memory;
mod name;
mod names;
mod object;
mod operator;
mod options;
mod output;
mod path;
mod portable;
mod prelude;
mod probe;
mod process;
mod prototype;
mod provider;
mod scope;
mod series;
mod statement;
mod strings;
mod substitute;
mod task;
mod user;
mod user_probe;
mod whole_args;

pub use constant::{names as constant_names, value as constant_value};
pub use data::{CGROUP_LATE, REALTIME_OFFSET, TAI_OFFSET};

use kscope_btf::Btf;
use kscope_rows::MapValueType;
use kscope_spec::{LateKind, LateValue};

use crate::catalogue::Catalogue;
use crate::diagnostic::{Diagnostic, Span, has_errors};
use crate::hir::{Expr, ExprKind, Layout, Map, Program, TaskLayout, Type};
use crate::plan::{Attach, Config, OptionDecl, Site};
use crate::syntax::tree::Script;
use ctype::Definitions;
use infer::{Env, MapContents};
use probe::Unit;
use scope::Scope;

/// Walks over the script at most before its types are said not to settle.
const PASSES: usize = 64;
/// Deepest nesting of expressions and blocks.
const DEPTH: u32 = 320;

/// What a script is compiled for.
pub struct Inputs<'a> {
    /// The kernel's types.
    pub btf: Option<&'a Btf>,
    /// The kernel's probes.
    pub catalogue: &'a dyn Catalogue,
    /// Values of `$1`, `$2`, …
    pub positional: Vec<String>,
    /// Configuration from the environment: keys (with or without `BPFTRACE_`) and values.
    pub environment: Vec<(String, String)>,
    /// Names that `getopt` may not declare.
    pub reserved_options: Vec<String>,
    /// Whether offsets into kernel structures are left to the target's types (CO-RE), so that the
    /// programs run on other kernels as well.
    pub portable: bool,
    /// Whether functions that change the system may be called.
    pub changes_allowed: bool,
    /// Whether reads of memory that fail are told, which takes code for each of them.
    pub reads_checked: bool,
    /// Whether it is known that no command is run with the script, which `cpid` would be of.
    pub without_command: bool,
    /// Names of imports, as written, whose text stands in the source.
    pub imported: Vec<String>,
    /// Where in the source the text of imported files begins, which is behind the script.
    pub imported_from: Option<u32>,
    /// Which of the probes that only run when asked for are wanted.
    pub mode: Mode,
    /// Whether the script is run over memory that is only read ([`crate::interpret`]), and not by
    /// the kernel.
    pub interpreted: bool,
}

/// Which probes of a script run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// All but tests and benchmarks.
    #[default]
    Trace,
    /// Tests, and what begins and ends the script.
    Test,
    /// Benchmarks, and what begins and ends the script.
    Bench,
}

impl Mode {
    /// Says whether what is attached so is run.
    fn runs(&self, attach: &Attach) -> bool {
        let (test, bench) = match attach {
            Attach::Begin | Attach::End => return true,
            Attach::Test { .. } => (true, false),
            Attach::Bench { .. } => (false, true),
            _ => (false, false),
        };
        match self {
            Mode::Trace => !test && !bench,
            Mode::Test => test,
            Mode::Bench => bench,
        }
    }
}

impl<'a> Inputs<'a> {
    /// Makes inputs without types, parameters and environment.
    #[must_use]
    pub fn new(catalogue: &'a dyn Catalogue) -> Inputs<'a> {
        Inputs {
            btf: None,
            catalogue,
            positional: Vec::new(),
            environment: Vec::new(),
            reserved_options: Vec::new(),
            portable: false,
            changes_allowed: false,
            reads_checked: false,
            without_command: false,
            imported: Vec::new(),
            imported_from: None,
            mode: Mode::Trace,
            interpreted: false,
        }
    }
}

/// Checks a script. The program is whole only where no finding is an error.
#[must_use]
pub fn check(script: &Script, inputs: &Inputs<'_>) -> (Program, Vec<Diagnostic>) {
    let mut checker = Checker::new(script, inputs);
    checker.configure();
    checker.check_imports();
    checker.define();
    let units = checker.expand_probes();
    let fixed = std::mem::take(&mut checker.diagnostics);
    let mut program = Program::default();
    let mut settled = false;
    for _ in 0..PASSES {
        checker.begin_pass();
        program = checker.walk(&units);
        if checker.env.changed {
            continue;
        }
        if checker.env.default_numbers() {
            continue;
        }
        settled = true;
        break;
    }
    let mut diagnostics = fixed;
    diagnostics.append(&mut checker.diagnostics);
    if !settled && !has_errors(&diagnostics) {
        let span = script.probes.first().map_or(Span::default(), |p| p.span);
        diagnostics.push(Diagnostic::error(
            "type-loop",
            span,
            "the types of variables and maps depend on each other without end",
        ));
    }
    if !has_errors(&diagnostics) {
        diagnostics.append(&mut checker.unresolved);
    }
    (program, tidy(diagnostics))
}

/// Sorts findings by place and drops repeated ones: a body is checked once per attach point.
fn tidy(diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut kept: Vec<Diagnostic> = Vec::with_capacity(diagnostics.len());
    for d in diagnostics {
        let known = |k: &Diagnostic| k.id == d.id && k.span == d.span && k.message == d.message;
        if !kept.iter().any(known) {
            kept.push(d);
        }
    }
    kept.sort_by_key(|d| d.span);
    kept
}

/// The state of a check.
struct Checker<'a> {
    inputs: &'a Inputs<'a>,
    script: &'a Script,
    config: Config,
    /// Whether the configuration says how many entries maps have.
    map_keys_given: bool,
    definitions: Definitions,
    env: Env,
    /// What programs may read of the running thread, once something is asked of it.
    task: Option<Option<TaskLayout>>,
    // What follows is made anew by each walk.
    /// How many `@++` and the like have a value that is used.
    used_steps: u32,
    diagnostics: Vec<Diagnostic>,
    /// Findings that count only where there is no other.
    unresolved: Vec<Diagnostic>,
    sites: Vec<Site>,
    late: Vec<LateValue>,
    layouts: Vec<Layout>,
    options: Vec<OptionDecl>,
    options_size: u32,
    scope: Scope,
    /// Statements that have to run before the one being checked.
    pending: Vec<crate::hir::Stmt>,
    depth: u32,
    expansions: u32,
    /// How many `str_concat` the walk has met.
    concats: usize,
}

impl<'a> Checker<'a> {
    fn new(script: &'a Script, inputs: &'a Inputs<'a>) -> Checker<'a> {
        Checker {
            inputs,
            script,
            config: Config::default(),
            map_keys_given: false,
            definitions: Definitions::default(),
            env: Env::default(),
            task: None,
            used_steps: 0,
            diagnostics: Vec::new(),
            unresolved: Vec::new(),
            sites: Vec::new(),
            late: Vec::new(),
            layouts: Vec::new(),
            options: Vec::new(),
            options_size: 0,
            scope: Scope::default(),
            pending: Vec::new(),
            depth: 0,
            expansions: 0,
            concats: 0,
        }
    }

    fn begin_pass(&mut self) {
        self.env.changed = false;
        self.used_steps = 0;
        self.diagnostics.clear();
        self.unresolved.clear();
        self.sites.clear();
        self.late.clear();
        self.layouts.clear();
        self.options.clear();
        self.options_size = 0;
        self.pending.clear();
        self.expansions = 0;
        self.concats = 0;
    }

    fn walk(&mut self, units: &[Unit]) -> Program {
        self.declare_maps();
        let mut probes = Vec::with_capacity(units.len());
        for (index, unit) in units.iter().enumerate() {
            let program = probes.len() as u32;
            if let Some(probe) = self.probe(index, program, unit) {
                probes.push(probe);
            }
        }
        let btf = self.target_types();
        Program {
            config: self.config.clone(),
            reads_checked: self.inputs.reads_checked,
            options: self.options.clone(),
            maps: self.maps(),
            sites: self.sites.clone(),
            late: self.late.clone(),
            probes,
            task: self.task.flatten(),
            fetches: self.used_steps > 0 && self.fetches(),
            loops: self.inputs.interpreted || btf.is_some_and(task::loops),
            interpreted: self.inputs.interpreted,
            layouts: self.layouts.clone(),
        }
    }

    /// Gives the types of the kernel that the code is for, unless it is for many.
    fn target_types(&self) -> Option<&Btf> {
        self.inputs.btf.filter(|_| !self.inputs.portable)
    }

    /// Says whether code may have atomic changes other than additions without a result. An old
    /// kernel refuses the instruction wherever it stands, run or not.
    fn fetches(&self) -> bool {
        self.target_types().is_some_and(task::fetches)
    }

    /// Says whether programs may read what other CPUs have in a map (Linux 5.19).
    fn merges(&self) -> bool {
        self.inputs.interpreted || self.target_types().is_some_and(task::merges)
    }

    fn maps(&self) -> Vec<Map> {
        let maps = self.env.maps.iter().map(|info| {
            let mut key = info.key.as_ref().map(|k| k.ty.clone());
            let (value, value_type) = match &info.contents {
                // Declared and never used, or used where nothing can be attached alone.
                MapContents::Unknown => {
                    key = key.or((info.keyed != Some(false)).then_some(Type::U64));
                    (MapValueType::Plain(Type::I64.data_type()), Type::I64)
                }
                MapContents::Plain(shape) => {
                    (MapValueType::Plain(shape.ty.data_type()), shape.ty.clone())
                }
                MapContents::Aggregate(value) => (
                    value.clone(),
                    aggregate::reads_as(value).unwrap_or(Type::Void),
                ),
            };
            Map {
                name: info.name.clone(),
                key,
                value,
                value_type,
                kind: info.kind,
                sized: self.map_keys_given || info.entries.is_some(),
                max_entries: info.entries.unwrap_or(self.config.max_map_keys),
            }
        });
        maps.collect()
    }

    /// Reports an error and gives the expression that no further error is reported about.
    fn error(&mut self, id: &'static str, span: Span, message: impl Into<String>) -> Expr {
        self.report(Diagnostic::error(id, span, message))
    }

    fn report(&mut self, diagnostic: Diagnostic) -> Expr {
        let span = diagnostic.span;
        self.diagnostics.push(diagnostic);
        poison(span)
    }

    fn warn(&mut self, id: &'static str, span: Span, message: impl Into<String>) {
        self.diagnostics
            .push(Diagnostic::warning(id, span, message));
    }

    /// Gives the late value of this name, adding it where it is new.
    fn late_value(&mut self, name: &str, kind: LateKind) -> kscope_spec::LateId {
        let found = self.late.iter().position(|l| l.name == name);
        let index = found.unwrap_or_else(|| {
            self.late.push(LateValue {
                name: name.to_owned(),
                kind,
            });
            self.late.len() - 1
        });
        kscope_spec::LateId(index as u32)
    }
}

/// Makes an expression.
fn make(kind: ExprKind, ty: Type, span: Span) -> Expr {
    Expr { kind, ty, span }
}

/// Makes the expression that stands for what has been reported or is not known yet.
fn poison(span: Span) -> Expr {
    make(ExprKind::Int(0), Type::Void, span)
}

/// Makes a literal of the smallest signed type.
fn literal(value: i64, span: Span) -> Expr {
    make(
        ExprKind::Int(value),
        Type::Int(infer::smallest(value)),
        span,
    )
}

/// Names what is meant, for hints.
fn did_you_mean(names: &[String]) -> Option<String> {
    let quoted: Vec<String> = names.iter().map(|n| format!("`{n}`")).collect();
    match quoted.as_slice() {
        [] => None,
        [one] => Some(format!("did you mean {one}?")),
        [first @ .., last] => Some(format!("did you mean {} or {last}?", first.join(", "))),
    }
}
