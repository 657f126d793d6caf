use super::*;

/// Writes words after the header of the given length, in either byte order; independent of
/// [`Ext::to_bytes`].
fn section(big: bool, header: &[u32], body: &[u32]) -> Vec<u8> {
    let put = |word: &u32| match big {
        true => word.to_be_bytes(),
        false => word.to_le_bytes(),
    };
    let mut bytes = match big {
        true => vec![0xeb, 0x9f, 1, 0],
        false => vec![0x9f, 0xeb, 1, 0],
    };
    let len = 8 + 4 * header.len() as u32;
    bytes.extend(put(&len));
    bytes.extend(header.iter().flat_map(put));
    bytes.extend(body.iter().flat_map(put));
    bytes
}

const HEADER: [u32; 6] = [0, 20, 20, 28, 48, 44];
const BODY: [u32; 23] = [
    8,
    100,
    1,
    0,
    5, // one function
    16,
    100,
    1,
    16,
    7,
    9,
    (33 << 10) | 4, // one line
    16,
    100,
    2,
    24,
    3,
    50,
    0,
    32,
    4,
    60,
    8, // two relocations
];

fn expected() -> Ext {
    Ext {
        funcs: vec![Section {
            name: 100,
            records: vec![FuncRecord {
                offset: 0,
                type_id: TypeId(5),
            }],
        }],
        lines: vec![Section {
            name: 100,
            records: vec![LineRecord {
                offset: 16,
                file: 7,
                text: 9,
                line: 33,
                column: 4,
            }],
        }],
        core: vec![Section {
            name: 100,
            records: vec![
                CoreRecord {
                    offset: 24,
                    type_id: TypeId(3),
                    access: 50,
                    kind: 0,
                },
                CoreRecord {
                    offset: 32,
                    type_id: TypeId(4),
                    access: 60,
                    kind: 8,
                },
            ],
        }],
    }
}

#[test]
fn both_byte_orders_are_read_and_written() {
    for (big, endian) in [(false, Endian::Little), (true, Endian::Big)] {
        let bytes = section(big, &HEADER, &BODY);
        assert_eq!(Ext::parse(&bytes), Ok(expected()));
        assert_eq!(expected().to_bytes(endian), bytes);
    }
}

#[test]
fn an_older_header_has_no_relocations() {
    let ext = Ext::parse(&section(false, &HEADER[..4], &BODY[..12])).unwrap();
    assert_eq!((ext.funcs, ext.core), (expected().funcs, Vec::new()));
}

#[test]
fn a_newer_header_and_longer_records_are_cut() {
    let body = [12, 1, 2, 8, 6, 99, 16, 7, 98];
    let ext = Ext::parse(&section(false, &[0, 36, 36, 0, 36, 0, 77, 78], &body)).unwrap();
    let at = |offset, id| FuncRecord {
        offset,
        type_id: TypeId(id),
    };
    assert_eq!(ext.funcs[0].records, [at(8, 6), at(16, 7)]);
    assert_eq!((ext.lines.len(), ext.core.len()), (0, 0));
}

#[test]
fn what_is_wrong_is_refused_with_its_place() {
    let check = |header: &[u32], body: &[u32], offset: usize| match Ext::parse(&section(
        false, header, body,
    )) {
        Err(Error::Malformed { offset: found, .. }) => assert_eq!(found, offset, "{header:?}"),
        other => panic!("{header:?} {body:?}: {other:?}"),
    };
    // Records shorter than those known, or of no whole number of words.
    check(&[0, 16, 16, 0], &[4, 1, 1, 0], 24);
    check(&[0, 20, 20, 0], &[9, 1, 1, 0, 0], 24);
    // No record in a section, more records than bytes, a section cut short.
    check(&[0, 12, 12, 0], &[8, 1, 0], 32);
    check(&[0, 20, 20, 0], &[8, 1, 2, 0, 0], 32);
    check(&[0, 20, 20, 0], &[8, 1, u32::MAX, 0, 0], 32);
    check(&[0, 8, 8, 0], &[8, 1], 32);
    // Parts outside of the section.
    check(&[0, 24, 0, 0], &[8, 1, 1, 0, 0], 8);
    check(&[u32::MAX, 24, 0, 0], &[8, 1, 1, 0, 0], 8);
    check(&[0, 0, 8, u32::MAX], &[8, 1, 1, 0, 0], 16);
    // A header cut short, or longer than the section.
    check(&[0, 0], &[], 4);
    assert_eq!(Ext::parse(&[]), Err(Error::NotBtf));
    assert_eq!(Ext::parse(&[1, 2, 3, 4]), Err(Error::NotBtf));
    assert_eq!(Ext::parse(&[0x9f, 0xeb, 2, 0]), Err(Error::Version(2)));
    let long = [0x9f, 0xeb, 1, 0, 255, 0, 0, 0];
    assert!(matches!(
        Ext::parse(&long),
        Err(Error::Malformed { offset: 4, .. })
    ));
}

#[test]
fn every_cut_is_refused_or_read() {
    let bytes = section(false, &HEADER, &BODY);
    for len in 0..bytes.len() {
        assert!(Ext::parse(&bytes[..len]).is_err(), "{len} bytes");
    }
    for at in 0..bytes.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            let _ = Ext::parse(&bytes);
        }
    }
}
