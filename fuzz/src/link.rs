//! Objects linked.

use std::sync::OnceLock;

use kscope_spec::elf::write::Writer;
use kscope_spec::elf::{Binding, Place, Symbol, SymbolKind};
use kscope_spec::{ByteOrder, Insn, Reg, link, read};

/// Links an object alone, with itself, and with a small one. What comes of it can be read, takes no
/// more than a multiple of the file, and is linked alike again.
pub fn link(bytes: &[u8]) -> bool {
    let inputs: [&[(&str, &[u8])]; 3] = [
        &[("one", bytes)],
        &[("one", bytes), ("two", bytes)],
        &[("small", small()), ("one", bytes)],
    ];
    let mut far = false;
    for input in inputs {
        let linked = match link::objects(input) {
            Ok(linked) => linked,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                continue;
            }
        };
        assert!(
            linked.len() < (1 << 16) + 32 * bytes.len(),
            "{}",
            linked.len()
        );
        let spec = match read::object_named("linked", &linked) {
            Ok(spec) => spec,
            // Parts of the object may overlap.
            Err(error) if read::object(bytes).is_ok() => panic!("{error}"),
            Err(_) => continue,
        };
        let again = link::objects(&[("linked", &linked)]).expect("what was linked");
        assert_eq!(read::object_named("linked", &again), Ok(spec));
        far = true;
    }
    far
}

/// Gives an object with a program.
fn small() -> &'static [u8] {
    static SMALL: OnceLock<Vec<u8>> = OnceLock::new();
    SMALL.get_or_init(|| {
        let mut writer = Writer::new(ByteOrder::Little);
        let code = [Insn::mov64_imm(Reg::R0, 0), Insn::exit()];
        let section = writer.code("xdp", &code);
        writer.symbol(Symbol {
            name: "small",
            kind: SymbolKind::Function,
            binding: Binding::Weak,
            hidden: false,
            place: Place::Section(section),
            value: 0,
            size: 16,
        });
        writer.finish()
    })
}
