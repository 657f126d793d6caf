//! Code of small functions made with the builder.

use kscope_spec::{MapId, disasm};

use super::{Emit, EmitError, Scratch, emit};
use crate::ir::{BinOp, Builder, Cond, Pointer};

fn code(build: impl FnOnce(&mut Builder)) -> String {
    let mut builder = Builder::new("test");
    build(&mut builder);
    let code = emit(&builder.finish(), &Emit::default()).unwrap();
    disasm::insns(&code.insns)
}

#[test]
fn counts_in_a_map() {
    let text = code(|b| {
        let slot = b.slot(8, 8);
        let key = b.slot_addr(slot);
        let pid = b.call(14, vec![]);
        let bits = b.constant(32);
        let pid = b.binary(BinOp::LShr, pid, bits);
        b.store(8, key, 0, pid);
        let map = b.map(MapId(0));
        let found = b.call_pointer(1, vec![map, key], Pointer::MapValueOrNull(MapId(0)));
        let (absent, present, end) = (b.block(), b.block(), b.block());
        b.branch_null(found, absent, present);
        b.seal(absent);
        b.seal(present);
        b.switch_to(present);
        let value = b.non_null(found);
        let one = b.constant(1);
        b.atomic_add(8, value, 0, one);
        b.jump(end);
        b.switch_to(absent);
        let fresh = b.slot(8, 8);
        let fresh = b.slot_addr(fresh);
        let one = b.constant(1);
        b.store(8, fresh, 0, one);
        let flags = b.constant(1);
        b.call(2, vec![map, key, fresh, flags]);
        b.jump(end);
        b.seal(end);
        b.switch_to(end);
        b.ret(0);
    });
    println!("{text}");
}

#[test]
fn slots_need_room() {
    let mut builder = Builder::new("test");
    let slot = builder.slot(600, 8);
    let at = builder.slot_addr(slot);
    builder.zero(at, 0, 600);
    builder.ret(0);
    let function = builder.finish();
    assert_eq!(
        emit(&function, &Emit::default()),
        Err(EmitError::NoScratch { need: 600 })
    );
    let scratch = Some(Scratch {
        map: MapId(3),
        entry: 1,
    });
    let code = emit(&function, &Emit { scratch }).unwrap();
    assert_eq!(code.scratch_size, 600);
    println!("{}", disasm::insns(&code.insns));
}

#[test]
fn loops_and_division() {
    let text = code(|b| {
        let (i, sum) = (b.variable(), b.variable());
        let zero = b.constant(0);
        b.write(i, zero);
        b.write(sum, zero);
        let (head, body, end) = (b.block(), b.block(), b.block());
        b.jump(head);
        b.switch_to(head);
        let (now, ten) = (b.read(i), b.constant(10));
        b.branch(Cond::Slt, now, ten, body, end);
        b.seal(body);
        b.seal(end);
        b.switch_to(body);
        let x = b.call(7, vec![]);
        let old = b.read(sum);
        let quotient = b.binary(BinOp::SDiv, x, old);
        let new = b.binary(BinOp::Add, old, quotient);
        b.write(sum, new);
        let one = b.constant(1);
        let next = b.binary(BinOp::Add, now, one);
        b.write(i, next);
        b.jump(head);
        b.seal(head);
        b.switch_to(end);
        let ctx = b.ctx();
        let sum = b.read(sum);
        let less = b.compare(Cond::Slt, sum, now);
        let field = b.load(8, false, ctx, 12);
        b.call(6, vec![less, field]);
        b.ret(0);
    });
    println!("{text}");
}
