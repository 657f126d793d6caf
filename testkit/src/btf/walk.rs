//! Every question of the BTF reader, asked of every type.

use kscope_btf::{Btf, Kind, Type, TypeId};

/// Asks a reader everything there is to ask, for mutation tests and fuzzing: it must end and not
/// panic, whatever the blob.
pub fn ask_everything(btf: &Btf) {
    let _ = btf.validate();
    for id in btf
        .ids()
        .chain([TypeId(btf.type_count()), TypeId(u32::MAX)])
    {
        let _ = btf.name(id).map(|name| btf.find_all(name).count());
        let _ = (
            btf.size_of(id),
            btf.resolve(id),
            btf.int_shape(id),
            btf.pointee(id),
        );
        let _ = (
            btf.member(id, "high"),
            btf.member(id, "no such member"),
            btf.fields(id).len(),
        );
        let _ = btf.prototype(id).map(|p| p.params().count());
        let _ = (btf.print_c(id), btf.declaration(id, "x"));
        match btf.get(id) {
            Some(Type::Enum(e)) => drop((e.enumerators().count(), e.name_of(5))),
            Some(Type::DataSec(d)) => drop(d.vars().count()),
            Some(Type::Struct(s) | Type::Union(s)) => drop(s.member(s.len() + 1)),
            _ => {}
        }
    }
    let _ = (
        btf.enumerator("GREEN"),
        btf.near_names("taks", Kind::Struct, 3),
    );
    let _ = (
        btf.find_c_type("struct task *"),
        btf.string(u32::MAX),
        btf.string(1),
    );
}

/// Reads any bytes as BTF, and as BTF that continues itself, and asks everything of what is
/// accepted: the body of a fuzz target. Gives whether the bytes were accepted.
pub fn read_any(bytes: &[u8]) -> bool {
    let Ok(btf) = Btf::parse(bytes.to_vec()) else {
        return false;
    };
    ask_everything(&btf);
    if let Ok(split) = Btf::parse_split(bytes.to_vec(), &btf) {
        ask_everything(&split);
    }
    true
}
