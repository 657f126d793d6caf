//! A writer of small dumps, from the descriptions of the formats and not from the reader.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod kernel;
pub(crate) mod locks;
pub(crate) mod log;
pub(crate) mod lzo1x;
pub(crate) mod pages;
pub(crate) mod tasks;
pub(crate) mod works;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) const PAGE: usize = 4096;

/// Physical memory of a machine that is to be dumped.
#[derive(Clone, Default)]
pub(crate) struct Machine {
    /// Frames with their bytes.
    pub(crate) pages: BTreeMap<u64, Vec<u8>>,
    /// Frames that are memory and are left out.
    pub(crate) excluded: BTreeSet<u64>,
    /// Number of frames, memory or not.
    pub(crate) frames: u64,
    pub(crate) vmcoreinfo: Vec<u8>,
    pub(crate) notes: Vec<u8>,
}

/// How pages are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pack {
    Raw,
    Zlib,
    Lzo,
    Snappy,
    Zstd,
}

pub(crate) const PACKS: [Pack; 5] = [Pack::Raw, Pack::Zlib, Pack::Lzo, Pack::Snappy, Pack::Zstd];

impl Machine {
    /// Makes memory of many kinds of pages: text-like, noise, zeros; with holes and pages left out.
    pub(crate) fn mixed(frames: u64) -> Machine {
        let mut machine = Machine {
            frames,
            vmcoreinfo: b"OSRELEASE=6.99.0-recipe\nPAGESIZE=4096\n".to_vec(),
            ..Machine::default()
        };
        machine.notes = note(b"VMCOREINFO", 0, &machine.vmcoreinfo);
        for frame in 0..frames {
            match frame % 7 {
                3 => continue,
                5 => {
                    machine.excluded.insert(frame);
                }
                kind => {
                    machine.pages.insert(frame, page(frame, kind));
                }
            }
        }
        machine
    }
}

/// Makes a page whose bytes say which frame it is.
pub(crate) fn page(frame: u64, kind: u64) -> Vec<u8> {
    let mut state = frame.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..PAGE)
        .map(|i| match kind {
            0 => 0,
            1 => b"the quick brown fox "[(i + frame as usize) % 20],
            _ => {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                if kind == 2 {
                    state as u8
                } else {
                    (state as u8) & 3
                }
            }
        })
        .collect()
}

/// Writes an ELF note.
pub(crate) fn note(name: &[u8], kind: u32, content: &[u8]) -> Vec<u8> {
    let mut note = Vec::new();
    let name_len = name.len() as u32 + 1;
    for number in [name_len, content.len() as u32, kind] {
        note.extend_from_slice(&number.to_le_bytes());
    }
    note.extend_from_slice(name);
    note.push(0);
    pad(&mut note, 4);
    note.extend_from_slice(content);
    pad(&mut note, 4);
    note
}

/// Packs a page; one that does not become smaller stays as it is. Gives flags and bytes.
pub(crate) fn pack(page: &[u8], how: Pack) -> (u32, Vec<u8>) {
    let (flags, packed) = match how {
        Pack::Raw => (0, page.to_vec()),
        Pack::Zlib => (1, miniz_oxide::deflate::compress_to_vec_zlib(page, 1)),
        Pack::Lzo => (2, lzo1x::compress(page)),
        Pack::Snappy => (
            4,
            snap::raw::Encoder::new()
                .compress_vec(page)
                .expect("packed"),
        ),
        Pack::Zstd => {
            let level = ruzstd::encoding::CompressionLevel::Fastest;
            (0x20, ruzstd::encoding::compress_to_vec(page, level))
        }
    };
    if packed.len() < page.len() {
        (flags, packed)
    } else {
        (0, page.to_vec())
    }
}

/// How a compressed dump is written.
#[derive(Clone, Copy)]
pub(crate) struct Kdump {
    pub(crate) version: i32,
    pub(crate) pack: Pack,
    /// The frames of this file of a split set.
    pub(crate) split: Option<(u64, u64)>,
    /// Frames from this one on were never written.
    pub(crate) unwritten: Option<u64>,
}

impl Kdump {
    pub(crate) fn new(pack: Pack) -> Kdump {
        Kdump {
            version: 6,
            pack,
            split: None,
            unwritten: None,
        }
    }

    pub(crate) fn write(self, machine: &Machine) -> Vec<u8> {
        let bitmap_len = (machine.frames as usize).div_ceil(8).next_multiple_of(PAGE);
        let mut head = vec![0; PAGE];
        put(&mut head, 0, b"KDUMP   ");
        put(&mut head, 8, &self.version.to_le_bytes());
        put(&mut head, 12, b"Linux");
        put(&mut head, 12 + 2 * 65, b"6.99.0-recipe");
        put(&mut head, 12 + 4 * 65, b"x86_64");
        let status = if self.unwritten.is_some() { 8u32 } else { 0 };
        put(&mut head, 424, &status.to_le_bytes());
        put(&mut head, 428, &(PAGE as u32).to_le_bytes());
        put(&mut head, 432, &2i32.to_le_bytes());
        put(
            &mut head,
            436,
            &((2 * bitmap_len / PAGE) as u32).to_le_bytes(),
        );
        put(&mut head, 440, &(machine.frames as u32).to_le_bytes());
        put(&mut head, 460, &1i32.to_le_bytes());

        let mut sub = vec![0; 2 * PAGE];
        let numbers: [(i32, usize, u64); 9] = [
            (0, 0, 0),
            (2, 16, self.split.map_or(0, |s| s.0)),
            (2, 24, self.split.map_or(0, |s| s.1)),
            (3, 32, PAGE as u64 + 1024),
            (3, 40, machine.vmcoreinfo.len() as u64),
            (4, 48, PAGE as u64 + 4096),
            (4, 56, machine.notes.len() as u64),
            (6, 80, self.split.map_or(0, |s| s.0)),
            (6, 88, self.split.map_or(0, |s| s.1)),
        ];
        for (since, at, number) in numbers {
            if self.version >= since {
                put(&mut sub, at, &number.to_le_bytes());
            }
        }
        if self.version >= 1 {
            put(&mut sub, 8, &31i32.to_le_bytes());
        }
        if self.version >= 2 {
            put(&mut sub, 12, &i32::from(self.split.is_some()).to_le_bytes());
        }
        if self.version >= 6 {
            put(&mut sub, 96, &machine.frames.to_le_bytes());
        }
        put(&mut sub, 1024, &machine.vmcoreinfo);
        put(&mut sub, 4096, &machine.notes);

        let mut ram = vec![0u8; bitmap_len];
        let mut dumped = vec![0u8; bitmap_len];
        for &frame in machine.pages.keys() {
            dumped[frame as usize / 8] |= 1 << (frame % 8);
        }
        for &frame in machine.pages.keys().chain(&machine.excluded) {
            ram[frame as usize / 8] |= 1 << (frame % 8);
        }

        let own: Vec<(u64, &Vec<u8>)> = machine
            .pages
            .iter()
            .map(|(&frame, page)| (frame, page))
            .filter(|(frame, _)| {
                self.split
                    .is_none_or(|(start, end)| (start..end).contains(frame))
            })
            .collect();
        let mut file = [head, sub, ram, dumped].concat();
        let mut data = file.len() + own.len() * 24;
        let mut packed_pages = Vec::new();
        let mut zero_page = None;
        for &(frame, page) in &own {
            let unwritten = self.unwritten.is_some_and(|from| frame >= from);
            let zero = page.iter().all(|&b| b == 0);
            let (offset, size, flags) = match zero_page {
                _ if unwritten => (0, 0, 0),
                // All pages of zeros share the bytes of the first.
                Some(place) if zero => place,
                _ => {
                    let (flags, packed) = pack(page, self.pack);
                    let place = (data as u64, packed.len() as u32, flags);
                    data += packed.len();
                    packed_pages.extend_from_slice(&packed);
                    if zero {
                        zero_page = Some(place);
                    }
                    place
                }
            };
            file.extend_from_slice(&offset.to_le_bytes());
            file.extend_from_slice(&size.to_le_bytes());
            file.extend_from_slice(&flags.to_le_bytes());
            file.extend_from_slice(&0u64.to_le_bytes());
        }
        file.extend_from_slice(&packed_pages);
        file
    }
}

/// Writes an ELF core file with a segment for each run of frames; excluded ones follow a run as
/// memory without bytes. With `many`, the number of segments is where files of more than 65534
/// have it.
pub(crate) fn elf(machine: &Machine, many: bool) -> Vec<u8> {
    // Frame, frames with bytes, frames with or without.
    let mut runs: Vec<(u64, u64, u64)> = Vec::new();
    for frame in 0..machine.frames {
        let there = machine.pages.contains_key(&frame);
        let excluded = machine.excluded.contains(&frame);
        match runs.last_mut() {
            Some((start, bytes, all)) if there && *start + *all == frame && bytes == all => {
                *bytes += 1;
                *all += 1;
            }
            Some((start, _, all)) if excluded && *start + *all == frame => *all += 1,
            _ if there => runs.push((frame, 1, 1)),
            _ if excluded => runs.push((frame, 0, 1)),
            _ => {}
        }
    }
    let count = runs.len() + 1;
    let headers = 64 + count * 56 + if many { 64 } else { 0 };
    let mut file = vec![0; headers];
    put(&mut file, 0, b"\x7fELF\x02\x01\x01");
    let section = if many { (64 + count * 56) as u64 } else { 0 };
    let head: [(usize, &[u8]); 7] = [
        (16, &4u16.to_le_bytes()),
        (18, &62u16.to_le_bytes()),
        (32, &64u64.to_le_bytes()),
        (40, &section.to_le_bytes()),
        (54, &56u16.to_le_bytes()),
        (
            56,
            &(if many { 0xffff } else { count as u16 }).to_le_bytes(),
        ),
        (58, &64u16.to_le_bytes()),
    ];
    for (at, bytes) in head {
        put(&mut file, at, bytes);
    }
    if many {
        put(
            &mut file,
            section as usize + 44,
            &(count as u32).to_le_bytes(),
        );
    }
    let notes_at = file.len() as u64;
    file.extend_from_slice(&machine.notes);
    let segment = |file: &mut Vec<u8>, index: usize, kind: u32, numbers: [u64; 5]| {
        let at = 64 + index * 56;
        put(file, at, &kind.to_le_bytes());
        for (i, number) in numbers.into_iter().enumerate() {
            put(file, at + 8 + i * 8, &number.to_le_bytes());
        }
    };
    let len = machine.notes.len() as u64;
    segment(&mut file, 0, 4, [notes_at, 0, 0, len, len]);
    for (index, (start, bytes, all)) in runs.into_iter().enumerate() {
        let offset = file.len() as u64;
        let page = PAGE as u64;
        let phys = start * page;
        let virt = 0xffff_8880_0000_0000 + phys;
        segment(
            &mut file,
            index + 1,
            1,
            [offset, virt, phys, bytes * page, all * page],
        );
        for frame in start..start + bytes {
            file.extend_from_slice(&machine.pages[&frame]);
        }
    }
    file
}

/// Writes a file as it goes through a pipe: in pieces, not in order, the header twice.
pub(crate) fn flatten(file: &[u8]) -> Vec<u8> {
    let mut flat = vec![0; 4096];
    put(&mut flat, 0, b"makedumpfile");
    put(&mut flat, 16, &1i64.to_be_bytes());
    put(&mut flat, 24, &1i64.to_be_bytes());
    let mut pieces: Vec<(usize, Vec<u8>)> = file
        .chunks(5000)
        .enumerate()
        .map(|(i, piece)| (i * 5000, piece.to_vec()))
        .collect();
    let swapped = pieces.len() / 2;
    if swapped > 0 {
        pieces.swap(0, swapped);
    }
    // What was first written of the header was not yet right.
    let wrong = file[..64.min(file.len())].iter().map(|b| !b).collect();
    pieces.insert(0, (0, wrong));
    for (offset, piece) in pieces {
        flat.extend_from_slice(&(offset as i64).to_be_bytes());
        flat.extend_from_slice(&(piece.len() as i64).to_be_bytes());
        flat.extend_from_slice(&piece);
    }
    flat.extend_from_slice(&(-1i64).to_be_bytes());
    flat.extend_from_slice(&(-1i64).to_be_bytes());
    flat
}

/// Writes a file in pieces without the zeros that fill it.
pub(crate) fn flatten_sparse(file: &[u8]) -> Vec<u8> {
    const GRAIN: usize = 64;
    let mut flat = flatten(&[])[..4096].to_vec();
    let mut at = 0;
    while at < file.len() {
        let full = |at: usize| {
            let end = (at + GRAIN).min(file.len());
            at < file.len() && file[at..end].iter().any(|&b| b != 0)
        };
        let start = at;
        while full(at) {
            at += GRAIN;
        }
        let end = at.min(file.len());
        if end > start {
            flat.extend_from_slice(&(start as i64).to_be_bytes());
            flat.extend_from_slice(&((end - start) as i64).to_be_bytes());
            flat.extend_from_slice(&file[start..end]);
        }
        at = at.max(start) + GRAIN;
    }
    flat.extend_from_slice(&[0xff; 16]);
    flat
}

pub(crate) fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

fn pad(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}
