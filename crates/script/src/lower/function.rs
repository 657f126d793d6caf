//! One probe: its variables, its blocks, and how places in memory are reached.

use std::rc::Rc;

use kscope_spec::{LateKind, MapId, helper};

use super::Tables;
use super::capture::Captures;
use super::loops::{self, Cell, Scope};
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{Context, Probe, Program, Stmt, Type, VarId};
use crate::ir::{Block, Builder, Cond, Function, Pointer, SlotId, Value, Variable};
use crate::plan::{Attach, CODE_OFFSET, Counter};

pub(super) type Result<T> = std::result::Result<T, Diagnostic>;

/// Lowers one probe.
pub(super) fn lower_probe(
    program: &Program,
    tables: &mut Tables,
    probe: &Probe,
    name: &str,
) -> Result<Function> {
    let is_function = |statement: &Stmt| loops::is_function(program.loops, statement);
    let captures = Captures::of(probe, &is_function);
    let mut lower = Lower {
        program,
        tables,
        context: probe.context,
        paced: is_paced(probe),
        b: Builder::new(name),
        name,
        vars: vec![VarPlace::Absent; probe.vars.len()],
        var_types: probe.vars.iter().map(|var| var.ty.clone()).collect(),
        captures: Rc::new(captures),
        scope: Scope::program(),
        cells: Vec::new(),
        sizes: Vec::new(),
        ids: None,
        loops: Vec::new(),
        scratch: Scratch::default(),
        searched: 0,
        exit: Block(0),
        at: probe.span,
    };
    lower.b.at(probe.span);
    lower.exit = lower.b.block();
    lower.declare_vars();
    if probe.context == Context::Iterator {
        lower.require_object();
    }
    lower.statements(&probe.body)?;
    lower.b.at(probe.span);
    let exit = lower.exit;
    lower.b.jump(exit);
    lower.b.seal(exit);
    lower.b.switch_to(exit);
    match probe.result {
        Some(var) => {
            let result = lower.read_var(var, probe.span)?;
            lower.b.ret_value(result);
        }
        None => lower.b.ret(0),
    }
    Ok(lower.b.finish())
}

/// Says whether the probe fires once, or at a human's pace.
fn is_paced(probe: &Probe) -> bool {
    let slow = |attach: &Attach| {
        matches!(
            attach,
            Attach::Begin | Attach::End | Attach::Signal | Attach::Interval { .. }
        )
    };
    probe.plan.attach.iter().all(slow)
}

/// The state of lowering one probe.
pub(super) struct Lower<'a> {
    pub(super) program: &'a Program,
    pub(super) tables: &'a mut Tables,
    pub(super) context: Context,
    /// Whether the probe fires once, or at a human's pace.
    pub(super) paced: bool,
    pub(super) b: Builder,
    /// Name of the program.
    pub(super) name: &'a str,
    /// Where the current function has its variables, and those around it theirs.
    pub(super) vars: Vec<VarPlace>,
    pub(super) var_types: Vec<Type>,
    /// What loops whose bodies are functions share.
    pub(super) captures: Rc<Captures>,
    /// The current function.
    pub(super) scope: Scope,
    /// Variables that functions inside of the current one find, and those it finds itself.
    pub(super) cells: Vec<Cell>,
    /// Sizes of the slots that the functions around give their callbacks, the program's first.
    pub(super) sizes: Vec<u32>,
    /// Process and thread id, and the block that has them at its end.
    pub(super) ids: Option<(Block, Value, Value)>,
    pub(super) loops: Vec<Loop>,
    /// Memory that the current function's statements used.
    pub(super) scratch: Scratch,
    /// Bytes of the strings that were searched, and of what was looked for in them, where that is known only when it runs.
    pub(super) searched: u32,
    /// Where the probe ends.
    pub(super) exit: Block,
    /// The expression whose value is computed.
    pub(super) at: Span,
}

/// Size in bytes from which on memory that a statement used is taken again by those behind it.
const REUSED: u32 = 128;

/// Bytes of smaller memory from which on that is taken again too: most probes need less, and have it in the frame.
const SMALL: u32 = 192;

/// The slots of the current function that statements use while they run.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Taken by the statement being lowered and those around it, with their sizes.
    pub(super) taken: Vec<(u32, SlotId)>,
    /// Used by statements before, with their sizes.
    free: Vec<(u32, SlotId)>,
    /// Bytes of all slots that are smaller than [`REUSED`].
    small: u32,
}

impl Scratch {
    /// Frees what was taken since there were `kept`.
    pub(super) fn free(&mut self, kept: usize) {
        self.free
            .extend(self.taken.drain(kept.min(self.taken.len())..));
    }
}

/// Where `break` and `continue` go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loop {
    pub(super) next: Block,
    pub(super) end: Block,
}

/// Where a variable lives.
#[derive(Clone, Copy, Debug)]
pub(super) enum VarPlace {
    /// A 64-bit value.
    Scalar(Variable),
    /// Memory.
    Slot(SlotId),
    /// A 64-bit value in memory, where several functions find it.
    Cell(Place),
    /// Memory of a function around this one.
    Outer(Place),
    /// Not in this function.
    Absent,
}

/// A place in memory: a pointer, an offset in bytes, and what the pointer is aligned to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) base: Value,
    pub(super) offset: i32,
    pub(super) align: u32,
}

impl Place {
    /// Gives the place this many bytes further.
    ///
    /// One too far for an instruction stays so: the verifier of the IR or code generation refuses it.
    pub(super) fn at(self, offset: u32) -> Place {
        let offset = i32::try_from(offset).unwrap_or(i32::MAX);
        Place {
            offset: self.offset.saturating_add(offset),
            ..self
        }
    }

    /// Gives the widest access, in bytes, that is aligned at the place and at most `len`.
    pub(super) fn width(self, len: u32) -> u8 {
        let mut width = 8;
        while width > len
            || width > self.align
            || self.offset.unsigned_abs().checked_rem(width) != Some(0)
        {
            width /= 2;
        }
        width.max(1) as u8
    }
}

impl Lower<'_> {
    pub(super) fn declare(&mut self, ty: &Type) -> VarPlace {
        if ty.is_scalar() {
            return VarPlace::Scalar(self.b.variable());
        }
        let slot = self.slot(ty.size());
        // A variable that is read before it is written is zero, and the verifiers of old
        // kernels refuse memory that was never written.
        let place = self.slot_place(slot);
        self.b.zero(place.base, 0, self.b.slot_size(slot));
        VarPlace::Slot(slot)
    }

    pub(super) fn var(&self, var: VarId) -> VarPlace {
        self.vars[var.0 as usize]
    }

    /// Makes a slot of at least `size` bytes, aligned for the widest access.
    pub(super) fn slot(&mut self, size: u32) -> SlotId {
        let size = size.max(1).next_multiple_of(8);
        let reused = size >= REUSED || self.scratch.small >= SMALL;
        let mut free = self.scratch.free.iter();
        let free = free.position(|(room, _)| reused && *room == size);
        let slot = match free {
            Some(at) => self.scratch.free.swap_remove(at).1,
            None => {
                if size < REUSED {
                    self.scratch.small += size;
                }
                self.b.slot(size, 8)
            }
        };
        self.scratch.taken.push((size, slot));
        slot
    }

    /// Makes a slot that a helper hands on to a callback. It lies in the frame, and is nothing else before or behind.
    pub(super) fn slot_of_callback(&mut self, size: u32) -> SlotId {
        self.b.slot(size.next_multiple_of(8), 8)
    }

    /// Gives a slot as a place.
    pub(super) fn slot_place(&mut self, slot: SlotId) -> Place {
        Place {
            base: self.b.slot_addr(slot),
            offset: 0,
            align: 8,
        }
    }

    /// Gives the value of an array map's only entry as a place.
    pub(super) fn value_place(&mut self, map: MapId, offset: u32) -> Place {
        let base = self.b.map_value_addr(map, offset);
        Place {
            base,
            offset: 0,
            align: if offset % 8 == 0 { 8 } else { 1 },
        }
    }

    /// Gives the place as an address for a helper.
    pub(super) fn address(&mut self, place: Place) -> Value {
        match u32::try_from(place.offset) {
            Ok(offset) => self.b.ptr_add(place.base, offset),
            Err(_) => place.base,
        }
    }

    /// Makes a block, and goes on in it after `work` has put jumps to it.
    pub(super) fn join(&mut self, block: Block) {
        self.b.jump(block);
        self.b.seal(block);
        self.b.switch_to(block);
    }

    /// Makes a block that is reached by one branch and goes on there.
    pub(super) fn enter(&mut self, block: Block) {
        self.b.seal(block);
        self.b.switch_to(block);
    }

    /// Looks an entry up and branches; gives the blocks for absent and present, and the maybe-null pointer.
    /// Neither block is sealed.
    pub(super) fn lookup(&mut self, map: MapId, key: Place) -> (Block, Block, Value) {
        let map_value = self.b.map(map);
        let key = self.address(key);
        let pointer = Pointer::MapValueOrNull(map);
        let found = self
            .b
            .call_pointer(helper::MAP_LOOKUP_ELEM, vec![map_value, key], pointer);
        let absent = self.b.block();
        let present = self.b.block();
        self.b.branch_null(found, absent, present);
        (absent, present, found)
    }

    /// Puts a constant `u32` key into a slot.
    pub(super) fn index_key(&mut self, index: u32) -> Place {
        let slot = self.slot(8);
        let place = self.slot_place(slot);
        let index = self.b.constant(i64::from(index));
        self.b.store(8, place.base, 0, index);
        place
    }

    /// Counts a loss.
    pub(super) fn count(&mut self, counter: Counter) {
        self.count_with(counter, None);
    }

    /// Counts a loss, and keeps what the helper said of it.
    pub(super) fn count_with(&mut self, counter: Counter, code: Option<Value>) {
        let map = self.tables.counters();
        let key = self.index_key(counter.index());
        let (absent, present, found) = self.lookup(map, key);
        self.enter(present);
        let value = self.b.non_null(found);
        let one = self.b.constant(1);
        self.add_in_place(
            Place {
                base: value,
                offset: 0,
                align: 8,
            },
            one,
        );
        if let Some(code) = code {
            self.b.store(8, value, CODE_OFFSET as i32, code);
        }
        self.join(absent);
    }

    /// Adds to a `u64` that only this CPU writes.
    pub(super) fn add_in_place(&mut self, place: Place, value: Value) {
        let old = self.b.load(8, false, place.base, place.offset);
        let new = self.b.binary(crate::ir::BinOp::Add, old, value);
        self.b.store(8, place.base, place.offset, new);
    }

    /// Runs `work` in a block of its own for each round, with the round as a number that the verifier knows.
    pub(super) fn rounds(
        &mut self,
        rounds: u32,
        work: impl FnOnce(&mut Self, Value, Loop) -> Result<()>,
    ) -> Result<()> {
        let limit = self.b.constant(i64::from(rounds));
        self.rounds_to(limit, work)
    }

    /// As [`Lower::rounds`], as often as a number says that is constant when the program is loaded.
    pub(super) fn rounds_to(
        &mut self,
        limit: Value,
        work: impl FnOnce(&mut Self, Value, Loop) -> Result<()>,
    ) -> Result<()> {
        let head = self.b.block();
        let body = self.b.block();
        let next = self.b.block();
        let end = self.b.block();
        let round = self.b.variable();
        let start = self.b.constant(0);
        self.b.write(round, start);
        self.b.jump(head);
        self.b.switch_to(head);
        let now = self.b.read(round);
        self.b.branch(Cond::Ult, now, limit, body, end);
        self.enter(body);
        let now = self.b.read(round);
        work(self, now, Loop { next, end })?;
        self.b.jump(next);
        self.enter(next);
        let now = self.b.read(round);
        let one = self.b.constant(1);
        let after = self.b.binary(crate::ir::BinOp::Add, now, one);
        self.b.write(round, after);
        self.b.jump(head);
        self.b.seal(head);
        self.enter(end);
        Ok(())
    }

    /// Makes the kernel's verifier keep a state here, so that a long loop behind is walked once, and not again for each way
    /// that leads to it: it does so after two jumps and eight instructions, and forgets the states of long loops.
    pub(super) fn keep_state(&mut self) -> Result<()> {
        self.rounds(4, |_, _, _| Ok(()))
    }

    /// Gives a late value.
    pub(super) fn late(&mut self, name: &str, kind: &LateKind) -> Value {
        let id = self.tables.late(name, kind);
        self.b.late(id)
    }
}

/// Makes the finding for what has no eBPF form yet.
pub(super) fn unsupported(span: Span, what: &str) -> Diagnostic {
    Diagnostic::error(
        "unsupported",
        span,
        format!("{what} cannot be compiled to eBPF"),
    )
}
