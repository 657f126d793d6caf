//! Files whose parts overlap or are very many: they are read, or refused, in a second or two. The product
//! of what there are many of would be a minute, and is what a test's own limit is for.

use kscope_btf::write::Builder;
use kscope_btf::{Encoding, Linkage, NewMember, TypeId};
use kscope_spec::elf::write::Writer;
use kscope_spec::elf::{Binding, Place, SectionIndex, Symbol, SymbolKind};
use kscope_spec::read::ReadError;
use kscope_spec::{ByteOrder, read};

#[track_caller]
fn check(writer: Writer, expected: Result<usize, &'static str>) {
    let bytes = writer.finish();
    let found = read::object(&bytes).map(|spec| spec.maps.len());
    let expected = expected.map_err(|what| ReadError::Overlapping { what });
    assert_eq!(found, expected);
}

fn variable(name: &str, section: SectionIndex, value: u64, size: u64) -> Symbol<'_> {
    Symbol {
        name,
        kind: SymbolKind::Object,
        binding: Binding::Global,
        hidden: false,
        place: Place::Section(section),
        value,
        size,
    }
}

#[test]
fn many_sections_with_many_symbols() {
    let mut writer = Writer::new(ByteOrder::Little);
    let sections: Vec<SectionIndex> = (0..20_000)
        .map(|number| writer.data(&format!(".data.{number}"), vec![1; 8]))
        .collect();
    for number in 0..60_000 {
        writer.symbol(variable(&format!("v{number}"), sections[0], 0, 8));
    }
    check(writer, Ok(sections.len()));
}

#[test]
fn many_descriptions_of_the_same_bytes() {
    let mut types = Builder::new();
    let int = types.add_int("int", 4, Encoding::Signed);
    let one = types.add_array(int, int, 1);
    let one = types.add_ptr(one);
    let description = types.add_struct("", 8, &[NewMember::new("type", one, 0)]);
    let map = types.add_var("map", description, Linkage::Global);
    let size = 1 << 18;
    let variables = vec![(map, 0, size); 10_000];
    types.add_datasec(".maps", size, &variables);
    let mut writer = Writer::new(ByteOrder::Little);
    writer.data(".maps", vec![0; size as usize]);
    writer.note(".BTF", types.finish());
    check(writer, Err("maps"));
}

#[test]
fn many_descriptions_by_bytes_that_overlap() {
    let mut writer = Writer::new(ByteOrder::Little);
    let section = writer.data("maps", vec![0; 1 << 18]);
    for number in 0..10_000 {
        let name = format!("m{number}");
        writer.symbol(variable(&name, section, number, (1 << 18) - number));
    }
    check(writer, Err("maps"));
}

#[test]
fn many_sections_of_the_same_variables() {
    let mut types = Builder::new();
    let variables = vec![(TypeId::VOID, 0, 4); 20_000];
    types.add_datasec(".data", 8, &variables);
    types.add_datasec(".struct_ops", 8, &variables);
    let blob = types.finish();
    for (name, what) in [(".data", "variables"), (".struct_ops", "maps")] {
        let mut writer = Writer::new(ByteOrder::Little);
        for _ in 0..5_000 {
            writer.data(name, vec![1; 8]);
        }
        writer.note(".BTF", blob.clone());
        check(writer, Err(what));
    }
}
