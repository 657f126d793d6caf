//! Objects with bytes changed: no panic, nothing kept that is much larger than the file.

use kscope_btf::Linkage;
use kscope_spec::elf::{Binding, Elf};
use kscope_spec::{ByteOrder, CoreReloc, Insn, LineInfo, Reloc, Spec, read};

use crate::object::{ADDRESS, CALL, NOTHING, Object, Says};

/// Numbers that look random and are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap_or(0) % bound.max(1)
    }
}

/// Gives an object with something of everything.
fn everything(order: ByteOrder) -> Vec<u8> {
    let mut o = Object::new(order);
    let int = o.int();
    let (inner, size) = o.description(&[Says::Uint("type", 2), Says::Uint("max_entries", 3)]);
    let map = o.map_of("inner", inner, size);
    o.map("outer", &[Says::Uint("type", 12), Says::Values(inner, 2)]);
    o.relocate_data(".maps", u64::from(size) + 16, map);
    let proto = o.types.add_func_proto(int, &[]);
    o.global("socket", "tail", &NOTHING);
    o.map("jumps", &[Says::Uint("type", 3), Says::Values(proto, 1)]);
    let bss = o.global_variable(".bss", "zero", &[0; 64]);
    o.global_variable(".rodata", "constant", &[3; 8]);
    o.data("maps", &[0; 36]);
    let kind = kscope_spec::elf::SymbolKind::Object;
    o.symbol("old", kind, Binding::Global, Some("maps"), (0, 36));
    o.variable(".kconfig", "CONFIG_HZ", int, (0, 4), Linkage::Extern);
    let option = o.undefined("CONFIG_HZ", Binding::Weak);
    o.variable(".ksyms", "jiffies", int, (0, 4), Linkage::Extern);
    let variable = o.undefined("jiffies", Binding::Global);
    let f = o.global(".text", "f", &[ADDRESS[0], ADDRESS[1], CALL, NOTHING[1]]);
    o.relocate(".text", 0, bss);
    o.relocate(".text", 2, f);
    o.typed(".text", 0, "f");
    let code = [
        CALL, ADDRESS[0], ADDRESS[1], ADDRESS[0], ADDRESS[1], ADDRESS[0], ADDRESS[1], NOTHING[1],
    ];
    o.global("kprobe/do_exit", "p", &code);
    for (slot, symbol) in [(0, f), (1, map), (3, option), (5, variable)] {
        o.relocate("kprobe/do_exit", slot, symbol);
    }
    o.line("kprobe/do_exit", 0, (1, 1), "f();");
    o.core("kprobe/do_exit", 56, 0, "0:1");
    let function = o.ptr(proto);
    let members = [kscope_btf::NewMember::new("init", function, 0)];
    let ops = o.types.add_struct("my_ops", 8, &members);
    o.data(".struct_ops", &[0; 8]);
    o.variable(".struct_ops", "table", ops, (0, 8), Linkage::Static);
    let init = o.global("struct_ops/init", "init", &NOTHING);
    o.relocate_data(".struct_ops", 0, init);
    o.bytes()
}

/// Gives about how many bytes a `Spec` takes.
fn weight(spec: &Spec) -> usize {
    let maps = spec.maps.iter().map(|map| {
        let inner = map.inner.as_ref().map_or(0, |_| 256);
        let ops = map.struct_ops.as_ref().map_or(0, |ops| ops.data.len());
        let initial = map.initial.as_ref().map_or(0, Vec::len);
        256 + map.name.len() + map.slots.len() * 12 + inner + ops + initial
    });
    let programs = spec.programs.iter().map(|program| {
        256 + program.insns.capacity() * size_of::<Insn>()
            + program.relocs.len() * size_of::<Reloc>()
            + program.lines.len() * size_of::<LineInfo>()
            + program.core.len() * (size_of::<CoreReloc>() + 64 * 4)
            + program.funcs.len() * 64
    });
    maps.sum::<usize>() + programs.sum::<usize>() + spec.variables.len() * 80 + spec.types.len()
}

#[test]
fn changed_objects() {
    let seeds = [ByteOrder::Little, ByteOrder::Big].map(everything);
    for seed in &seeds {
        let spec = read::object(seed).expect("an object");
        assert!(
            spec.programs
                .iter()
                .all(|program| program.refused.is_none()),
            "{spec:#?}"
        );
    }
    let mut numbers = Numbers(7);
    let (mut good, mut bad) = (0, 0);
    for round in 0..5_000 {
        let mut bytes = seeds[round % 2].clone();
        for _ in 0..=numbers.below(4) {
            let at = numbers.below(bytes.len());
            match numbers.below(8) {
                0 => bytes[at] = 0xff,
                1 => bytes[at] = 0,
                2 => bytes[at] = bytes[numbers.below(bytes.len())],
                3 => bytes[at] ^= 1 << numbers.below(8),
                4 if round % 16 == 0 => bytes.truncate(at.max(1)),
                // Sizes and offsets are where it is: the table of sections is at the end.
                5 => {
                    let tail = bytes.len() - numbers.below(bytes.len().min(1600)) - 1;
                    bytes[tail] = numbers.below(256) as u8;
                }
                _ => bytes[at] = numbers.below(256) as u8,
            }
        }
        match read::object_named("changed", &bytes) {
            Ok(spec) => {
                good += 1;
                assert!(weight(&spec) < (1 << 20) + 64 * bytes.len(), "{round}");
            }
            Err(error) => {
                bad += 1;
                assert!(!error.to_string().is_empty());
            }
        }
    }
    assert!(good > 1000 && bad > 250, "{good} read, {bad} refused");
}

#[test]
fn huge_sizes_are_not_believed() {
    // Zeros that the file does not hold take none here either.
    let mut bytes = everything(ByteOrder::Little);
    let index = {
        let elf = Elf::parse(&bytes).expect("an object");
        elf.named(".bss").expect("zeros").0
    };
    let table = u64::from_le_bytes(*bytes[40..].first_chunk().expect("eight bytes"));
    let size = table as usize + index.0 as usize * 64 + 32;
    bytes[size..size + 8].copy_from_slice(&(5u64 << 60).to_le_bytes());
    let spec = read::object(&bytes).expect("an object");
    let map = spec.map_named(".bss").expect("its map");
    let why = spec.maps[map.0 as usize].refused.as_deref();
    let expected = "section '.bss' has 5764607523034234880 bytes, more than a map can hold";
    assert_eq!(why, Some(expected));
}

#[test]
fn programs_that_share_functions_do_not_grow_without_end() {
    let mut o = Object::new(ByteOrder::Little);
    // Two thousand programs of two instructions, all in one place, each with its copy of a function.
    let body = [NOTHING[0]; 4000];
    let f = o.global(".text", "f", &body);
    o.global("xdp", "p", &[CALL, NOTHING[1]]);
    o.relocate("xdp", 0, f);
    for number in 0..2000 {
        let kind = kscope_spec::elf::SymbolKind::Function;
        let name = format!("p{number}");
        o.symbol(&name, kind, Binding::Global, Some("xdp"), (0, 16));
    }
    let bytes = o.bytes();
    let spec = read::object(&bytes).expect("an object");
    assert_eq!(spec.programs.len(), 2001);
    let limit = (1 << 20) + 64 * bytes.len();
    assert!(weight(&spec) < limit + 2001 * 512, "{}", weight(&spec));
    let first = spec.programs.first().expect("a program");
    assert_eq!((first.insns.len(), &first.refused), (4002, &None));
    let last = spec
        .programs
        .last()
        .and_then(|program| program.refused.as_deref());
    let expected = "the object's programs with copies of all that they call take too much: have fewer programs in one object";
    assert_eq!(last, Some(expected));
}
