//! From source text to functions that run over memory.

use kscope_spec::{LateValue, MapSpec};

use super::check;
use crate::compile::{Options, checked, verified};
use crate::diagnostic::{Diagnostic, has_errors};
use crate::hir::Program;
use crate::ir::{self, Function};
use crate::lower;
use crate::plan::Plan;
use crate::types::Inputs;

/// A script compiled to run over memory.
#[derive(Clone, Debug)]
pub struct Code {
    /// The programs, in the order of [`Plan::probes`].
    pub functions: Vec<Function>,
    /// The maps that they use, by their ids.
    pub maps: Vec<MapSpec>,
    /// What is filled in before they run, by its id.
    pub late: Vec<LateValue>,
    /// How what they send and leave is read.
    pub plan: Plan,
    /// What it was compiled of: what its options leave of it can be asked of it.
    pub program: Program,
}

/// Compiles a script for the interpreter. Findings are in the order of the source, warnings
/// included; there is no code where one of them is an error.
#[must_use]
pub fn compile(
    source: &str,
    inputs: &Inputs<'_>,
    options: Options,
) -> (Option<Code>, Vec<Diagnostic>) {
    let (script, program, mut diagnostics) = checked(source, inputs);
    let mut code = None;
    let refused = check::attach_points(&script);
    if !refused.is_empty() {
        // What else there is to say of them is of no use here.
        return (None, refused);
    }
    if !has_errors(&diagnostics) {
        match lower::lower(&program) {
            Ok(lowered) => {
                let mut functions = Vec::with_capacity(lowered.programs.len());
                for mut program in lowered.programs {
                    if options.optimize {
                        ir::optimize(&mut program.function);
                    }
                    diagnostics.extend(verified(&program.function, program.span).err());
                    functions.push(program.function);
                }
                diagnostics.extend(check::refusals(&functions));
                code = Some((functions, lowered.maps, lowered.late, lowered.plan));
            }
            Err(findings) => diagnostics.extend(findings),
        }
    }
    diagnostics.sort_by_key(|finding| finding.span);
    let code = code.filter(|_| !has_errors(&diagnostics));
    let code = code.map(|(functions, maps, late, plan)| Code {
        functions,
        maps,
        late,
        plan,
        program,
    });
    (code, diagnostics)
}
