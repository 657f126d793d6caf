//! Files built by hand: one function, one segment, one note of each kind.

use super::*;

fn put(bytes: &mut Vec<u8>, at: usize, value: &[u8]) {
    if bytes.len() < at + value.len() {
        bytes.resize(at + value.len(), 0);
    }
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// A note of type 3 by `stapsdt`: addresses and texts.
fn note(address: u64, base: u64, semaphore: u64, texts: &str) -> Vec<u8> {
    let mut body = [address, base, semaphore].map(u64::to_le_bytes).concat();
    body.extend(texts.as_bytes());
    let mut note = [8u32, body.len() as u32, 3].map(u32::to_le_bytes).concat();
    note.extend(b"stapsdt\0");
    note.extend(body);
    note.resize(note.len().next_multiple_of(4), 0);
    note
}

/// A 64-bit little-endian program: text mapped from 0x100 at 0x40_1100, data from 0x200 at
/// 0x60_2200.
fn program() -> Vec<u8> {
    let mut file = Vec::new();
    put(&mut file, 0, b"\x7fELF\x02\x01\x01");
    put(&mut file, 16, &3u16.to_le_bytes());
    put(&mut file, 18, &62u16.to_le_bytes());
    let segments = [(0x100u64, 0x40_1100u64, 0x80u64), (0x200, 0x60_2200, 0x40)];
    put(&mut file, 32, &0x40u64.to_le_bytes());
    put(&mut file, 54, &56u16.to_le_bytes());
    put(&mut file, 56, &2u16.to_le_bytes());
    for (index, (offset, address, size)) in segments.into_iter().enumerate() {
        let at = 0x40 + index * 56;
        put(&mut file, at, &1u32.to_le_bytes());
        put(&mut file, at + 4, &[5u8, 6][index..=index]);
        put(&mut file, at + 8, &offset.to_le_bytes());
        put(&mut file, at + 16, &address.to_le_bytes());
        put(&mut file, at + 32, &size.to_le_bytes());
    }
    let names = b"\0.note.stapsdt\0.stapsdt.base\0.symtab\0";
    let strings = b"\0work\0gone\0";
    let mut symbols = vec![0; 24];
    for (name, kind, section, address) in [
        (1u32, 2u8, 1u16, 0x40_1120u64),
        (6, 2, 0, 0),
        (6, 1, 1, 0x60_2200),
    ] {
        let at = symbols.len();
        put(&mut symbols, at + 23, &[0]);
        put(&mut symbols, at, &name.to_le_bytes());
        put(&mut symbols, at + 4, &[kind]);
        put(&mut symbols, at + 6, &section.to_le_bytes());
        put(&mut symbols, at + 8, &address.to_le_bytes());
        put(&mut symbols, at + 16, &7u64.to_le_bytes());
    }
    let notes = [
        note(0x40_1110, 0x5000, 0, "app\0start\0\0"),
        note(0x40_1130, 0x5000, 0x60_2208, "app\0work\0-4@%edi 8@$1\0"),
        note(0x40_1140, 0x4ff0, 0, "app\0moved\0\0"),
        note(0x40_1150, 0x5000, 0x60_2208, "app\0work\x008@%rax\0"),
        note(0x99_0000, 0x5000, 0, "app\0nowhere\0\0"),
    ]
    .concat();
    put(&mut file, 0x300, names);
    put(&mut file, 0x340, strings);
    put(&mut file, 0x360, &symbols);
    put(&mut file, 0x400, &notes);
    // Name, type, address, offset, size, link.
    let sections: [(u32, u32, u64, u64, usize, u32); 6] = [
        (0, 0, 0, 0, 0, 0),
        (1, 7, 0, 0x400, notes.len(), 0),
        (15, 1, 0x5000, 0x300, 1, 0),
        (29, 2, 0, 0x360, symbols.len(), 4),
        (0, 3, 0, 0x340, strings.len(), 0),
        (0, 3, 0, 0x300, names.len(), 0),
    ];
    put(&mut file, 40, &0x800u64.to_le_bytes());
    put(&mut file, 58, &64u16.to_le_bytes());
    put(&mut file, 60, &6u16.to_le_bytes());
    put(&mut file, 62, &5u16.to_le_bytes());
    for (index, (name, kind, address, offset, size, link)) in sections.into_iter().enumerate() {
        let at = 0x800 + index * 64;
        put(&mut file, at + 63, &[0]);
        put(&mut file, at, &name.to_le_bytes());
        put(&mut file, at + 4, &kind.to_le_bytes());
        put(&mut file, at + 16, &address.to_le_bytes());
        put(&mut file, at + 24, &offset.to_le_bytes());
        put(&mut file, at + 32, &(size as u64).to_le_bytes());
        put(&mut file, at + 40, &link.to_le_bytes());
    }
    file
}

#[test]
fn functions_and_addresses_become_offsets() {
    let bytes = program();
    let file = Executable::parse(&bytes).expect("well formed");
    assert_eq!(file.machine, 62);
    assert_eq!(file.function("work"), Some(0x120));
    assert_eq!(file.function("gone"), None);
    assert_eq!(file.functions().count(), 1);
    assert_eq!(file.offset_of(0x40_117f), Some(0x17f));
    assert_eq!(file.offset_of(0x40_1180), None);
    assert_eq!(file.offset_of(u64::MAX), None);
    assert!(file.is_code(0x40_1110) && file.is_code(0x40_117f));
    assert!(!file.is_code(0x40_1180) && !file.is_code(0x60_2210));
}

#[test]
fn probes_are_found_with_their_semaphores() {
    let bytes = program();
    let file = Executable::parse(&bytes).expect("well formed");
    let check = |name: &str, expected: &[(u64, u64, &str)]| {
        let found = file.usdt("app", name);
        let found: Vec<_> = found
            .iter()
            .map(|place| (place.offset, place.semaphore, place.arguments.as_str()))
            .collect();
        assert_eq!(found, expected, "{name}");
    };
    check("start", &[(0x110, 0, "")]);
    check(
        "work",
        &[(0x130, 0x208, "-4@%edi 8@$1"), (0x150, 0x208, "8@%rax")],
    );
    // Written when the base was 16 bytes before.
    check("moved", &[(0x150, 0, "")]);
    check("nowhere", &[]);
    check("absent", &[]);
    assert!(file.usdt("other", "work").is_empty());
}

#[test]
fn mutations_neither_panic_nor_loop() {
    let whole = program();
    let walk = |bytes: &[u8]| {
        if let Ok(file) = Executable::parse(bytes) {
            let _ = file.functions().count();
            let _ = file.usdt("app", "work");
        }
    };
    for end in 0..whole.len() {
        walk(&whole[..end]);
    }
    for at in 0..whole.len() {
        for value in [0x00, 0x01, 0x7f, 0xff] {
            let mut bent = whole.clone();
            bent[at] = value;
            walk(&bent);
        }
    }
    let text = Executable::parse(b"#!/bin/sh\n and more of it").expect_err("no ELF");
    assert_eq!(text.to_string(), "no ELF file: it begins otherwise");
}

#[test]
fn near_names_of_functions_and_probes_are_found() {
    let bytes = program();
    let file = Executable::parse(&bytes).expect("well-formed");
    assert_eq!(file.near_functions("wrok"), ["work"]);
    assert!(file.near_functions("printf").is_empty());
    let names = file.usdt_names();
    assert!(names.contains(&"app:work".to_owned()), "{names:?}");
    let near = nearest("app:wokr", names.iter().map(String::as_str), 3);
    assert_eq!(near, ["app:work"]);
}
