//! Limits and positions; the code itself is in the golden files.

use kscope_spec::{HelperId, MapId, check};

use super::{Code, Emit, EmitError, Scratch, emit};
use crate::diagnostic::Span;
use crate::ir::{BinOp, Builder, Cond, text};

const SCRATCH: Emit = Emit {
    scratch_start: 0,
    scratch: Some(Scratch {
        map: MapId(3),
        entry: 1,
    }),
    late: None,
};

fn code(builder: Builder, request: &Emit) -> Result<Code, EmitError> {
    emit(&builder.finish(), request)
}

#[test]
fn slots_need_room() {
    let make = |count: u32, size: u32| {
        let mut builder = Builder::new("test");
        for _ in 0..count {
            let slot = builder.slot(size, 8);
            let at = builder.slot_addr(slot);
            builder.zero(at, 0, size);
        }
        builder.ret(0);
        builder
    };
    let need = |need| Err(EmitError::NoScratch { need });
    let none = Emit::default();
    let size = |done: Result<Code, EmitError>| done.map(|code| code.scratch_size);
    assert_eq!(size(code(make(1, 600), &none)), need(600));
    assert_eq!(size(code(make(8, 64), &none)), Ok(0));
    assert_eq!(size(code(make(9, 64), &none)), need(576));
    assert_eq!(size(code(make(1, 600), &SCRATCH)), Ok(600));
    assert_eq!(size(code(make(5, 64), &SCRATCH)), Ok(0));
    // What is small stays in the frame as long as it takes no more than its share.
    assert_eq!(size(code(make(9, 64), &SCRATCH)), Ok(4 * 64));
    assert_eq!(size(code(make(1, 32768), &SCRATCH)), Ok(32768));
    let scratch = Err(EmitError::Scratch { need: 32776 });
    assert_eq!(size(code(make(1, 32769), &SCRATCH)), scratch);
}

/// More spilled values than the frame has room for beside the slots.
#[test]
fn spills_push_slots_out() {
    let make = |values: i32| {
        let mut builder = Builder::new("test");
        let ctx = builder.ctx();
        let slots: Vec<_> = (0..5)
            .map(|_| {
                let slot = builder.slot(64, 8);
                let at = builder.slot_addr(slot);
                builder.zero(at, 0, 64);
                at
            })
            .collect();
        let loaded: Vec<_> = (0..values)
            .map(|i| builder.load(8, false, ctx, 8 * i))
            .collect();
        builder.call(HelperId(7), vec![]);
        let mut sum = builder.constant(0);
        for value in loaded {
            sum = builder.binary(BinOp::Add, sum, value);
        }
        for slot in slots {
            builder.call(HelperId(16), vec![slot, sum]);
        }
        builder.ret(0);
        builder
    };
    // Far too many are refused before anything is spilled; the sum is one more.
    let frame = |need| Some(EmitError::Frame { need, room: 512 });
    assert_eq!(code(make(5000), &SCRATCH).err(), frame((5001 - 10) * 8));
    let few = code(make(12), &SCRATCH).unwrap();
    assert_eq!(few.scratch_size, 0);
    let more = code(make(40), &SCRATCH).unwrap();
    assert!(more.scratch_size > 0);
    let most = code(make(100), &SCRATCH);
    assert!(matches!(most, Err(EmitError::Frame { .. })), "{most:?}");
}

#[test]
fn jumps_have_a_limit() {
    let make = |calls: u32| {
        let mut builder = Builder::new("test");
        let first = builder.call(HelperId(7), vec![]);
        let (then, end) = (builder.block(), builder.block());
        builder.branch(Cond::Eq, first, first, then, end);
        builder.seal(then);
        builder.switch_to(then);
        for _ in 0..calls {
            builder.call(HelperId(6), vec![]);
        }
        builder.jump(end);
        builder.seal(end);
        builder.switch_to(end);
        builder.ret(0);
        builder
    };
    assert!(code(make(32767), &Emit::default()).is_ok());
    let insns = 32772;
    assert_eq!(
        code(make(32768), &Emit::default()),
        Err(EmitError::TooLong { insns })
    );
}

#[test]
fn positions() {
    let mut builder = Builder::new("test");
    builder.at(Span::new(0, 4));
    let first = builder.call(HelperId(7), vec![]);
    builder.at(Span::new(5, 9));
    let late = builder.late(kscope_spec::LateId(2));
    let sum = builder.binary(BinOp::Add, first, late);
    builder.at(Span::new(10, 12));
    builder.ret_value(sum);
    let code = code(builder, &Emit::default()).unwrap();
    let lines = [
        (0, Span::new(0, 4)),
        (1, Span::new(5, 9)),
        (4, Span::new(10, 12)),
    ];
    assert_eq!(code.lines, lines);
    assert_eq!(code.relocs.len(), 1);
    assert_eq!(code.relocs[0].insn, 1);
}

#[test]
fn malformed_functions_are_refused() {
    let check = |body: &str| {
        let function = text::read(&format!("fn f {{\n{body}\n}}")).unwrap();
        let done = emit(&function, &SCRATCH);
        assert!(matches!(done, Err(EmitError::Malformed(_))), "{done:?}");
    };
    check("");
    check("b0:\nv0: i64 = const 1\nv1: i64 = load8u v0 + 0\nreturn v1");
    check("b0:\nv0: i64 = call 7()\nv1: i64 = call 1(v0, v0, v0, v0, v0, v0)\nreturn v1");
    check("b0:\nv0: i64 = const 1\njump b1(v0)\nb1:\nreturn v0");
}

/// A number that is checked while it lives in a spill slot keeps its bound.
#[test]
fn checked_spills_are_stored_again() {
    let mut builder = Builder::new("test");
    let ctx = builder.ctx();
    let slot = builder.slot(64, 8);
    let at = builder.slot_addr(slot);
    builder.zero(at, 0, 64);
    let numbers: Vec<_> = (0..8).map(|i| builder.load(8, false, ctx, 8 * i)).collect();
    let random = builder.call(HelperId(7), vec![]);
    builder.store(8, at, 0, random);
    let limit = builder.constant(56);
    let bad = builder.block();
    for number in &numbers {
        let good = builder.block();
        builder.branch(Cond::Ugt, *number, limit, bad, good);
        builder.seal(good);
        builder.switch_to(good);
    }
    let random = builder.call(HelperId(7), vec![]);
    builder.store(8, at, 0, random);
    for number in &numbers {
        let at = builder.ptr_add_var(at, *number, 56);
        builder.store(1, at, 0, limit);
    }
    builder.ret(0);
    builder.seal(bad);
    builder.switch_to(bad);
    builder.ret(1);
    let code = code(builder, &Emit::default()).unwrap();
    assert_eq!(check::insns(&code.insns), []);
    // Each reload for a check is followed by the check and, on the good way, by the store back.
    let reloads: Vec<usize> = (0..code.insns.len() - 2)
        .filter(|i| code.insns[*i].code == 0x79 && code.insns[*i].src == 10)
        .filter(|i| code.insns[*i + 1].code == 0x25)
        .collect();
    assert!(!reloads.is_empty());
    for i in reloads {
        let (load, store) = (code.insns[i], code.insns[i + 2]);
        assert_eq!(
            (store.code, store.src, store.off),
            (0x7b, load.dst, load.off)
        );
    }
}

/// The end of a program that every jump to it has taken along is not there a second time.
#[test]
fn an_end_that_nothing_reaches_is_left_out() {
    let body = "\
        slot s0: 8 align 8\n\
        b0:\nv0: i64 = const 0\nv1: s0 = slot s0\nstore8 v1 + 0, v0\nv2: map0 = map 0\n\
        v3: value0? = call 1(v2, v1)\nifnull v3 then b1 else b2\n\
        b1:\nv4: i64 = call 6(v1, v0)\njump b5\n\
        b2:\nv5: i64 = call 7()\nif ugt v5, v0 then b4 else b3\n\
        b3:\nv6: i64 = call 6(v1, v0)\njump b5\n\
        b4:\nv7: i64 = call 7()\nreturn v7\n\
        b5:\nreturn v0";
    let function = text::read(&format!("fn f {{\n{body}\n}}")).unwrap();
    let code = emit(&function, &Emit::default()).unwrap();
    let problems = check::insns(&code.insns);
    let unreachable = |problem: &check::Problem| problem.kind == check::ProblemKind::Unreachable;
    assert!(!problems.iter().any(unreachable), "{problems:?}");
}
