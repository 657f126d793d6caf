//! A function with its callbacks: one piece of code, one stack.

use kscope_spec::RelocKind;

use super::{Code, Emit, EmitError, FRAME_SIZE, assemble, select, spill};
use crate::ir::Function;

/// The kernel counts the frames of functions that call each other in steps of this.
const FRAME_STEP: u32 = 32;

/// Emits a function whose slots take at most the first `budget` bytes of its frame, and those of
/// its callbacks the second of theirs.
pub(super) fn emit(
    function: &Function,
    request: &Emit,
    (own, of_callbacks): (u32, u32),
) -> Result<Code, EmitError> {
    let mut callbacks = Vec::with_capacity(function.callbacks.len());
    let mut deepest = 0;
    let mut start = request.scratch_start;
    for callback in &function.callbacks {
        let request = Emit {
            scratch_start: start,
            ..*request
        };
        let code = emit(callback, &request, (of_callbacks, of_callbacks))?;
        deepest = deepest.max(code.frame_size.max(1).next_multiple_of(FRAME_STEP));
        start = start.max(code.scratch_size);
        callbacks.push(code);
    }
    let request = Emit {
        scratch_start: start,
        ..*request
    };
    let mut code = select::select(function, &request, own)?;
    let allocation = spill::allocate(&mut code)?;
    let room = FRAME_SIZE.saturating_sub(deepest);
    let mut code = assemble::assemble(&code, &allocation, room, request.late)?;
    code.frame_size = code.frame_size.max(1).next_multiple_of(FRAME_STEP) + deepest;
    code.scratch_size = code
        .scratch_size
        .max(if callbacks.is_empty() { 0 } else { start });
    append(&mut code, function, callbacks);
    Ok(code)
}

/// Puts the callbacks behind the function's own code: those that it refers to. One whose loop is
/// never reached has no address, and the kernel would not find it to be a function.
fn append(code: &mut Code, function: &Function, callbacks: Vec<Code>) {
    let mut starts: Vec<Option<u32>> = vec![None; callbacks.len()];
    for reloc in &code.relocs {
        if let RelocKind::Func(index) = reloc.kind {
            if let Some(start) = starts.get_mut(index as usize) {
                *start = Some(0);
            }
        }
    }
    let mut end = code.insns.len() as u32;
    for (start, callback) in starts.iter_mut().zip(&callbacks) {
        if let Some(start) = start {
            *start = end;
            end += callback.insns.len() as u32;
        }
    }
    // Until here they are named by their numbers.
    for reloc in &mut code.relocs {
        if let RelocKind::Func(index) = &mut reloc.kind {
            let start = starts.get(*index as usize).copied().flatten();
            *index = start.unwrap_or(end);
        }
    }
    let named = function.callbacks.iter().zip(starts);
    for (callback, (ir, start)) in callbacks.into_iter().zip(named) {
        let Some(start) = start else {
            continue;
        };
        code.callbacks.push((start, ir.name.clone()));
        let inner = callback.callbacks.into_iter();
        code.callbacks
            .extend(inner.map(|(at, name)| (start + at, name)));
        code.relocs
            .extend(callback.relocs.into_iter().map(|mut reloc| {
                reloc.insn += start;
                if let RelocKind::Func(at) = &mut reloc.kind {
                    *at += start;
                }
                reloc
            }));
        let layouts = callback.layouts.into_iter();
        code.layouts
            .extend(layouts.map(|(at, id)| (start + at, id)));
        let lines = callback.lines.into_iter();
        code.lines
            .extend(lines.map(|(at, span)| (start + at, span)));
        code.insns.extend(callback.insns);
    }
}
