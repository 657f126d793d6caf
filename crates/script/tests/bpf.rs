//! Golden files of code generation: `bpf/*.txt` hold functions, each followed by its code.
//!
//! `# emit` before a function emits it as it is, `# optimize` after the passes, `# emit in frame`
//! without a scratch map, which is map 9. `BLESS=1` rewrites the files.
#![allow(
    clippy::disallowed_methods,
    reason = "a test reads its golden files and BLESS"
)]

mod golden;

use std::fmt::Write;

use kscope_script::bpf::{Emit, Scratch, emit};
use kscope_script::ir;
use kscope_spec::{MapId, RelocKind, check, disasm};

#[test]
fn files() {
    golden::check("bpf", |directive, mut function| {
        match directive {
            "emit" | "emit in frame" => {}
            "optimize" => ir::optimize(&mut function),
            _ => panic!("what is {directive:?}?"),
        }
        let scratch = (directive != "emit in frame").then_some(Scratch {
            map: MapId(9),
            entry: 0,
        });
        let code = match emit(
            &function,
            &Emit {
                scratch,
                late: None,
                scratch_start: 0,
            },
        ) {
            Ok(code) => code,
            Err(error) => return format!("{error}\n"),
        };
        // Relocations are checked elsewhere; without them no map is known to the check.
        let bare = code.relocs.is_empty();
        assert!(!bare || check::insns(&code.insns).is_empty(), "{function}");
        let mut text = disasm::insns(&code.insns);
        for reloc in &code.relocs {
            let what = match &reloc.kind {
                RelocKind::Map(map) => format!("map {}", map.0),
                RelocKind::MapValue { map, offset } => format!("map {} value + {offset}", map.0),
                RelocKind::Late(late) => format!("late {}", late.0),
                RelocKind::Func(at) => format!("function at {at}"),
                RelocKind::Extern(symbol) => format!("external {}", symbol.0),
            };
            let _ = writeln!(text, "; slot {}: {what}", reloc.insn);
        }
        if code.scratch_size > 0 {
            let _ = writeln!(text, "; scratch {}", code.scratch_size);
        }
        text
    });
}
