//! Objects read into a `Spec`: one feature each, in both byte orders.

mod data;
mod externs;
mod maps;
mod mutation;
mod object;
mod programs;
mod refused;
mod text;

use kscope_spec::{ByteOrder, read};
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
