//! What is packed is unpacked by decoders of other hands.

use std::io::Write as _;
use std::process::{Command, Stdio};

use kscope_testkit::skipped;

use super::{Compression, Packer};
use crate::format::decompress::{Packing, Unpacker};

const ALL: [Compression; 4] = [
    Compression::None,
    Compression::Zlib,
    Compression::Lzo,
    Compression::Zstd,
];

/// Packs pages one after the other with the same packer, unpacks them and gives the bytes of all.
fn check(compression: Compression, pages: &[Vec<u8>]) -> usize {
    let mut packer = Packer::new(compression);
    let unpacker = Unpacker::default();
    let mut all = 0;
    for (index, page) in pages.iter().enumerate() {
        let mut out = vec![7; 5];
        let flags = packer.pack(page, &mut out);
        let packed = &out[5..];
        assert!(packed.len() <= page.len());
        let packing = Packing::from_flags(flags).expect("a known packing");
        let mut unpacked = vec![0; page.len()];
        let done = unpacker.unpack(packing, packed, &mut unpacked);
        assert!(
            done.is_some() && unpacked == *page,
            "{compression}: page {index} of {} bytes, {} packed",
            page.len(),
            packed.len()
        );
        all += packed.len();
    }
    all
}

fn noise(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Makes a page of pieces: noise, runs, words, numbers that grow, copies of what was before.
fn mixed(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut page = Vec::new();
    let letters = 2 + noise(&mut state) % 254;
    while page.len() < len {
        let size = 1 + (noise(&mut state) % [3, 20, 200, 2000][(seed % 4) as usize]) as usize;
        match noise(&mut state) % 6 {
            0 => page.extend((0..size).map(|_| noise(&mut state) as u8)),
            1 => page.extend(std::iter::repeat_n(noise(&mut state) as u8, size)),
            2 => page.extend((0..size).map(|_| (noise(&mut state) % letters) as u8)),
            3 => {
                let base = 0xffff_8880_0000_0000 + noise(&mut state) % (1 << 30);
                let words = (0..size / 8).map(|word| base + word as u64 * 0x40);
                page.extend(words.flat_map(u64::to_le_bytes));
            }
            // Of two very unequal bytes, and of lengths that make long codes.
            4 => page.extend((0..size).map(|_| noise(&mut state).trailing_zeros() as u8)),
            _ if page.is_empty() => {}
            _ => {
                let from = noise(&mut state) as usize % page.len();
                for index in 0..size {
                    page.push(page[from + index]);
                }
            }
        }
    }
    page.truncate(len);
    page
}

#[test]
fn every_page_comes_back() {
    for compression in ALL {
        for len in [256, 257, 1000, 4096, 65536] {
            let count = if len > 4096 { 24 } else { 400 };
            let pages: Vec<Vec<u8>> = (0..count).map(|seed| mixed(seed, len)).collect();
            check(compression, &pages);
        }
    }
}

#[test]
fn pages_at_the_limits_come_back() {
    let mut pages = vec![vec![0; 4096], vec![0xff; 4096], vec![0xa5; 65536]];
    // One other byte at each end and in the middle; bytes in turns; all bytes as often.
    for at in [0, 1, 2048, 4094, 4095] {
        let mut page = vec![0; 4096];
        page[at] = 1;
        pages.push(page);
    }
    pages.push((0..4096).map(|at| (at % 2) as u8).collect());
    pages.push((0..4096).map(|at| at as u8).collect());
    pages.push((0..4096).map(|at| (at / 16) as u8).collect());
    // How often bytes occur grows as Fibonacci's numbers do, which makes the longest codes.
    let mut page = Vec::new();
    let (mut a, mut b) = (1, 1);
    for byte in 0..17u8 {
        page.extend(std::iter::repeat_n(byte.wrapping_mul(13), a));
        (a, b) = (b, a + b);
    }
    page.resize(4096, 1);
    let mut state = 1;
    for at in 0..4096 {
        let other = noise(&mut state) as usize % 4096;
        page.swap(at, other);
    }
    pages.push(page);
    for compression in ALL {
        let all = check(compression, &pages);
        let raw: usize = pages.iter().map(Vec::len).sum();
        assert!(compression == Compression::None || all < raw / 4, "{all}");
    }
}

#[test]
fn packing_is_worth_its_work() {
    let pages: Vec<Vec<u8>> = (0..200).map(|seed| mixed(seed * 4 + 1, 4096)).collect();
    let raw = check(Compression::None, &pages);
    let sizes = [Compression::Lzo, Compression::Zstd, Compression::Zlib]
        .map(|compression| check(compression, &pages));
    assert!(sizes[0] < raw * 8 / 10, "{sizes:?} of {raw}");
    assert!(sizes[1] < sizes[0], "{sizes:?}");
    assert!(sizes[1] < sizes[2] * 11 / 10, "{sizes:?}");
}

#[test]
fn the_program_zstd_unpacks_it_too() {
    let mut packer = Packer::new(Compression::Zstd);
    let (mut packed, mut expected) = (Vec::new(), Vec::new());
    for len in [256, 1000, 4096, 65536] {
        for seed in 0..200 {
            let page = mixed(seed, len);
            let before = packed.len();
            match packer.pack(&page, &mut packed) {
                0 => packed.truncate(before),
                _ => expected.extend(page),
            }
        }
    }
    let mut command = Command::new("zstd");
    command.args(["-d", "-c", "-q"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        return skipped("zstd", "there is no program zstd");
    };
    let mut input = child.stdin.take().expect("piped");
    let writer = std::thread::spawn(move || input.write_all(&packed));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("no panic").expect("zstd reads");
    assert!(output.status.success());
    assert!(output.stdout == expected && expected.len() > 1 << 20);
}
