//! Names of maps; the reasons' texts.

use super::data::data_name;

#[test]
fn names_of_data_maps() {
    for (object, section, name) in [
        ("my_object_name", ".rodata", "my_objec.rodata"),
        ("my_object_name", ".bss", "my_objec.bss"),
        ("my_object_name", ".kconfig", "my_obje.kconfig"),
        ("my_object_name", ".data.custom", ".data.custom"),
        ("my_object_name", ".rodata.abracadabra", ".rodata.abracad"),
        ("a-b c", ".data", "a_b_c.data"),
        ("", ".bss", ".bss"),
    ] {
        assert_eq!(data_name(object, section), name, "{object} {section}");
    }
}
