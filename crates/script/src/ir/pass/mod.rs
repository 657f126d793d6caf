//! Passes: each makes a function smaller or faster and changes nothing of what it computes.
//!
//! No pass takes away a mask or a comparison because a value is known to be small: what is known
//! here, the kernel's verifier may not know, and it wants to see the bound.

mod branch;
mod copy;
mod cse;
mod dce;
mod fold;
mod overwrite;

use super::{Function, Op, Value, verify};

/// Rounds after which optimisation stops even if there is more to do.
const ROUNDS: usize = 16;

/// A pass gives whether it changed anything.
type Pass = fn(&mut Function) -> bool;

/// The passes, in the order in which they help each other.
const PASSES: [(&str, Pass); 6] = [
    ("fold", fold::run),
    ("copy", copy::run),
    ("cse", cse::run),
    ("branch", branch::run),
    ("overwrite", overwrite::run),
    ("dce", dce::run),
];

/// Runs all passes until none finds more to do, at most a fixed number of rounds.
///
/// Builds with debug assertions verify the function after each pass, if it was right before.
pub fn optimize(function: &mut Function) {
    for callback in &mut function.callbacks {
        optimize(callback);
    }
    let check = cfg!(debug_assertions) && verify(function).is_ok();
    for _ in 0..ROUNDS {
        let mut changed = false;
        for (name, pass) in PASSES {
            changed |= pass(function);
            if check {
                if let Err(errors) = verify(function) {
                    debug_assert!(
                        false,
                        "pass {name} broke the function: {}\n{function}",
                        errors[0]
                    );
                }
            }
        }
        if !changed {
            break;
        }
    }
    renumber(function);
}

/// Runs one pass by name, once; `None` if there is none of that name.
pub fn run_pass(name: &str, function: &mut Function) -> Option<bool> {
    let (_, pass) = PASSES.iter().find(|(known, _)| *known == name)?;
    Some(pass(function))
}

/// Values that take the place of others.
struct Replacements(Vec<Option<Value>>);

impl Replacements {
    fn new(function: &Function) -> Self {
        Replacements(vec![None; function.values.len()])
    }

    fn set(&mut self, old: Value, new: Value) {
        if self.0.len() <= old.index() {
            self.0.resize(old.index() + 1, None);
        }
        self.0[old.index()] = Some(new);
    }

    /// Follows replacements of replacements; each step goes to what existed before, or the walk
    /// ends after as many steps as there are values.
    fn get(&self, value: Value) -> Value {
        let mut value = value;
        for _ in 0..self.0.len() {
            match self.0.get(value.index()) {
                Some(Some(new)) => value = *new,
                _ => break,
            }
        }
        value
    }

    fn apply(&self, function: &mut Function) {
        if self.0.iter().all(Option::is_none) {
            return;
        }
        for block in &mut function.blocks {
            for inst in &mut block.insts {
                inst.op.uses_mut(|v| *v = self.get(*v));
            }
            block.end.uses_mut(|v| *v = self.get(*v));
        }
    }
}

/// Gives the constant that each value is.
fn constants(function: &Function) -> Vec<Option<i64>> {
    let mut constants = vec![None; function.values.len()];
    for inst in function.blocks.iter().flat_map(|b| &b.insts) {
        if let (Some(result), Op::Const(c)) = (inst.result, &inst.op) {
            constants[result.index()] = Some(*c);
        }
    }
    constants
}

/// Counts the uses of each value.
fn uses(function: &Function) -> Vec<u32> {
    let mut uses = vec![0; function.values.len()];
    for block in &function.blocks {
        for inst in &block.insts {
            inst.op.uses(|v| uses[v.index()] += 1);
        }
        block.end.uses(|v| uses[v.index()] += 1);
    }
    uses
}

/// Numbers values in the order of their definitions; those without one are gone.
fn renumber(function: &mut Function) {
    let mut new = vec![None; function.values.len()];
    let mut types = Vec::new();
    let mut define = |v: &mut Value| {
        new[v.index()] = Some(Value(types.len() as u32));
        types.push(function.values[v.index()]);
        *v = Value(types.len() as u32 - 1);
    };
    for block in &mut function.blocks {
        block.params.iter_mut().for_each(&mut define);
        block
            .insts
            .iter_mut()
            .filter_map(|i| i.result.as_mut())
            .for_each(&mut define);
    }
    let rename = |v: &mut Value| {
        if let Some(Some(n)) = new.get(v.index()) {
            *v = *n;
        }
    };
    for block in &mut function.blocks {
        for inst in &mut block.insts {
            inst.op.uses_mut(rename);
        }
        block.end.uses_mut(rename);
    }
    function.values = types;
}

#[cfg(test)]
mod tests;
