//! Objects read into a `Spec`: one feature each, in both byte orders.

mod data;
mod externs;
mod many;
mod maps;
mod mutation;
mod object;
mod programs;
mod refused;
mod text;

use kscope_btf::Btf;
use kscope_spec::{ByteOrder, Spec, read, write};
use object::Object;

/// Builds an object in both byte orders, reads it, and looks for lines of its text (see `text`),
/// in this order.
fn check<T>(build: impl Fn(&mut Object) -> T, expected: &[&str]) {
    for order in [ByteOrder::Little, ByteOrder::Big] {
        let mut object = Object::new(order);
        build(&mut object);
        let bytes = object.bytes();
        let spec = read::object_named("sample", &bytes).expect("an object");
        assert_eq!(spec.byte_order, order);
        assert_eq!(read::object_named("sample", &bytes).as_ref(), Ok(&spec));
        written(&spec);
        let lines = text::lines(&spec);
        let mut rest = lines.iter();
        for line in expected {
            assert!(
                rest.any(|found| found == line),
                "no line in this place: {line}\n{}",
                lines.join("\n")
            );
        }
    }
}

/// Writes what was read and reads it again, which gives the same; only strings may be added.
fn written(spec: &Spec) {
    let refused = spec.programs.iter().any(|p| p.refused.is_some())
        || spec.maps.iter().any(|map| map.refused.is_some())
        // iproute2's form is not written.
        || spec.maps.iter().any(|map| map.section == "maps");
    let types = |spec: &Spec| -> Vec<String> {
        let types = Btf::parse(spec.types.clone()).ok();
        let each = |types: Btf| types.ids().map(|id| types.print_c(id)).collect();
        types.map(each).unwrap_or_default()
    };
    match write::object(spec, &[]) {
        Ok(bytes) => {
            let mut again = read::object_named("sample", &bytes).expect("what is written");
            assert_eq!(types(&again), types(spec), "written");
            again.types.clone_from(&spec.types);
            assert_eq!(&again, spec, "written");
        }
        Err(error) => assert!(refused, "{error}"),
    }
}
