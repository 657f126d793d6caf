//! Programs: sections, functions that they call, source lines, CO-RE.

use kscope_btf::{Btf, Kind, Linkage, Type};
use kscope_spec::elf::Binding;
use kscope_spec::insn::{Pseudo, Reg};
use kscope_spec::{ByteOrder, Insn, read};

use crate::check;
use crate::object::{ADDRESS, CALL, HELPER, NOTHING, Object};

#[test]
fn sections() {
    check(
        |o| o.global("tracepoint/sched/sched_switch", "p", &NOTHING),
        &[
            "program p tracepoint/sched/sched_switch Tracepoint 2 slots",
            "  func 0 p",
        ],
    );
    check(
        |o| o.global("?fentry.s/f", "p", &NOTHING),
        &["program p fentry.s/f Tracing FunctionEntry(\"f\") flags 0x10 optional 2 slots"],
    );
    check(
        |o| {
            o.global("xdp", "one", &NOTHING);
            o.func("xdp", "two", Binding::Weak, &NOTHING);
        },
        &[
            "program one xdp Xdp Expected(Xdp) 2 slots",
            "program two xdp Xdp Expected(Xdp) 2 slots",
        ],
    );
}

#[test]
fn functions_of_text_are_no_programs() {
    check(
        |o| {
            o.global(".text", "helper", &NOTHING);
            o.global("xdp", "p", &NOTHING);
        },
        &["license GPL", "program p xdp Xdp Expected(Xdp) 2 slots"],
    );
    let mut o = Object::new(ByteOrder::Little);
    o.global(".text", "helper", &NOTHING);
    assert_eq!(read::object(&o.bytes()).expect("an object").programs, []);
}

#[test]
fn calls() {
    // Of a global function, by its symbol; twice, one copy.
    check(
        |o| {
            let f = o.global(".text", "f", &NOTHING);
            o.global("tc", "p", &[CALL, CALL, NOTHING[0], NOTHING[1]]);
            o.relocate("tc", 0, f);
            o.relocate("tc", 1, f);
        },
        &[
            "program p tc SchedCls 6 slots",
            "  func 0 p",
            "  func 4 f",
            "  call 0 -> 4",
            "  call 1 -> 4",
        ],
    );
    // Of a static function, by its section and place.
    check(
        |o| {
            o.func(".text", "f", Binding::Local, &NOTHING);
            o.func(".text", "g", Binding::Local, &NOTHING);
            let text = o.section_symbol(".text");
            o.global("tc", "p", &[Insn::call_local(1), NOTHING[0], NOTHING[1]]);
            o.relocate("tc", 0, text);
        },
        &[
            "program p tc SchedCls 5 slots",
            "  func 3 g",
            "  call 0 -> 3",
        ],
    );
    // Inside of a section, without a relocation; depth first.
    check(
        |o| {
            let f = o.global(".text", "f", &[Insn::call_local(2), NOTHING[0], NOTHING[1]]);
            o.global(".text", "g", &NOTHING);
            let h = o.global(".text", "h", &NOTHING);
            o.global("tc", "p", &[CALL, CALL, NOTHING[1]]);
            o.relocate("tc", 0, f);
            o.relocate("tc", 1, h);
        },
        &[
            "program p tc SchedCls 10 slots",
            "  func 3 f",
            "  func 6 g",
            "  func 8 h",
            "  call 0 -> 3",
            "  call 1 -> 8",
            "  call 3 -> 6",
        ],
    );
    // Of itself, and of each other.
    check(
        |o| {
            let f = o.global(".text", "f", &[CALL, NOTHING[1]]);
            let g = o.global(".text", "g", &[CALL, NOTHING[1]]);
            o.relocate(".text", 0, g);
            o.relocate(".text", 2, f);
            o.global("tc", "p", &[CALL, NOTHING[1]]);
            o.relocate("tc", 0, f);
        },
        &[
            "program p tc SchedCls 6 slots",
            "  call 0 -> 2",
            "  call 2 -> 4",
            "  call 4 -> 2",
        ],
    );
    // Of a function in a section of its own.
    check(
        |o| {
            let f = o.func("other", "f", Binding::Global, &NOTHING);
            o.func("static", "g", Binding::Local, &NOTHING);
            let section = o.section_symbol("static");
            o.global("xdp", "p", &[CALL, CALL, HELPER, NOTHING[1]]);
            o.relocate("xdp", 0, f);
            o.relocate("xdp", 1, section);
        },
        &[
            "program p xdp Xdp Expected(Xdp) 8 slots",
            "  func 4 f",
            "  func 6 g",
            "  call 0 -> 4",
            "  call 1 -> 6",
        ],
    );
    // Of another program.
    check(
        |o| {
            let f = o.global("tc", "f", &NOTHING);
            o.global("tc", "p", &[CALL, NOTHING[1]]);
            o.relocate("tc", 2, f);
        },
        &[
            "program f tc SchedCls 2 slots",
            "program p tc SchedCls 4 slots",
            "  func 2 f",
            "  call 0 -> 2",
        ],
    );
}

#[test]
fn callbacks() {
    check(
        |o| {
            let f = o.global(".text", "f", &NOTHING);
            let code = Insn::ld_pseudo(Reg::R2, Pseudo::Func, 0, 0);
            o.global("tc", "p", &[code[0], code[1], NOTHING[0], NOTHING[1]]);
            o.relocate("tc", 0, f);
        },
        &[
            "program p tc SchedCls 6 slots",
            "  func 4 f",
            "  reloc 0 func 4",
        ],
    );
    check(
        |o| {
            o.func(".text", "f", Binding::Local, &NOTHING);
            o.func(".text", "g", Binding::Local, &NOTHING);
            let text = o.section_symbol(".text");
            // The place of a static one is in the instruction, in bytes.
            let code = Insn::ld_pseudo(Reg::R2, Pseudo::Func, 16, 0);
            o.global("tc", "p", &[code[0], code[1], NOTHING[0], NOTHING[1]]);
            o.relocate("tc", 0, text);
        },
        &["  func 4 g", "  reloc 0 func 4"],
    );
}

#[test]
fn what_moves_with_functions() {
    check(
        |o| {
            let x = o.global_variable(".bss", "x", &[0; 4]);
            let f = o.global(".text", "f", &[ADDRESS[0], ADDRESS[1], HELPER, NOTHING[1]]);
            o.relocate(".text", 0, x);
            o.line(".text", 0, (3, 5), "\tx = 1;");
            o.line(".text", 2, (4, 5), "\treturn f();");
            o.core(".text", 16, 0, "0:1:2");
            o.typed(".text", 0, "f");
            o.global("tc", "p", &[CALL, NOTHING[1]]);
            o.line("tc", 0, (9, 2), "\tf();");
            o.core("tc", 8, 8, "0");
            o.typed("tc", 0, "p");
            o.relocate("tc", 0, f);
        },
        &[
            "program p tc SchedCls 6 slots",
            "  func 0 p typed",
            "  func 2 f typed",
            "  reloc 2 value sample.bss+0",
            "  core 1 TypeExists 0",
            "  core 4 FieldByteOffset 0:1:2",
            "  line 0 sample.c:9:2 f();",
            "  line 2 sample.c:3:5 x = 1;",
            "  line 4 sample.c:4:5 return f();",
        ],
    );
}

#[test]
fn lines_stand_at_instructions_once() {
    let mut o = Object::new(ByteOrder::Little);
    o.global("tc", "p", &[ADDRESS[0], ADDRESS[1], NOTHING[0], NOTHING[1]]);
    for (slot, line) in [(0, 1), (0, 2), (1, 3), (2, 4), (9, 5)] {
        o.line("tc", slot, (line, 1), "text");
    }
    let spec = read::object(&o.bytes()).expect("an object");
    let lines: Vec<(u32, u32)> = spec.programs[0]
        .lines
        .iter()
        .map(|l| (l.insn, l.line))
        .collect();
    assert_eq!(lines, [(0, 1), (2, 4)]);
}

#[test]
fn sizes_that_are_missing_end_at_the_next_function() {
    check(
        |o| {
            let a = o.global("tc", "a", &NOTHING);
            let b = o.global("tc", "b", &[HELPER, NOTHING[0], NOTHING[1]]);
            o.resize(a, 0);
            o.resize(b, 0);
        },
        &[
            "program a tc SchedCls 2 slots",
            "program b tc SchedCls 3 slots",
        ],
    );
}

#[test]
fn two_names_for_one_function() {
    check(
        |o| {
            let f = o.global(".text", "f", &NOTHING);
            o.global("tc", "p", &[CALL, NOTHING[1]]);
            o.relocate("tc", 0, f);
            let kind = kscope_spec::elf::SymbolKind::Function;
            o.symbol("q", kind, Binding::Global, Some("tc"), (0, 16));
        },
        &[
            "program p tc SchedCls 4 slots",
            "  call 0 -> 2",
            "program q tc SchedCls 4 slots",
            "  call 0 -> 2",
        ],
    );
}

#[test]
fn exception_callbacks_come_along() {
    check(
        |o| {
            o.global(".text", "caught", &NOTHING);
            o.global("tc", "p", &NOTHING);
            let func = o.typed("tc", 0, "p");
            o.types
                .add_decl_tag("exception_callback:caught", func, None);
        },
        &["program p tc SchedCls 4 slots", "  func 2 caught"],
    );
}

#[test]
fn hidden_functions_are_static_in_the_types() {
    for (hidden, linkage) in [(true, Linkage::Static), (false, Linkage::Global)] {
        let mut o = Object::new(ByteOrder::Big);
        let f = o.global("tc", "f", &NOTHING);
        o.typed("tc", 0, "f");
        if hidden {
            o.hide(f);
        }
        let spec = read::object(&o.bytes()).expect("an object");
        let types = Btf::parse(spec.types).expect("types");
        let func = types.find("f", Kind::Func).and_then(|id| types.get(id));
        let Some(Type::Func { linkage: found, .. }) = func else {
            panic!("{func:?}");
        };
        assert_eq!(found, linkage);
    }
}
