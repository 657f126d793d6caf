//! A kernel of a few pages: page tables, symbols, a log, as the kernel lays them out.

use std::collections::BTreeMap;

use super::{Machine, PAGE, note, page};

/// Where images are mapped, less their slide.
pub(crate) const MAP: u64 = 0xffff_ffff_8000_0000;
pub(crate) const STEXT: u64 = MAP + 0x100_0000;
const RODATA: u64 = STEXT + 0x20_0000;
/// Physical memory of the image begins at 1 MB.
pub(crate) const PHYS_BASE: u64 = 0u64.wrapping_sub(0xf0_0000);

/// How a kernel is built.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) levels: u32,
    pub(crate) encoding: Encoding,
    /// Whether addresses come behind the tokens, as since 6.4.
    pub(crate) addresses_last: bool,
    /// Whether VMCOREINFO says where the symbols are, as since 6.0.
    pub(crate) told: bool,
    /// Whether lengths over 127 take two bytes, as since 6.1.
    pub(crate) wide: bool,
    /// Whether there is a name of so many tokens.
    pub(crate) long_name: bool,
    /// Bit that entries of page tables have beside the address.
    pub(crate) encrypted: u64,
}

/// A kernel as of 6.1.
pub(crate) const SHAPE: Shape = Shape {
    levels: 4,
    encoding: Encoding::AbsolutePerCpu,
    addresses_last: false,
    told: true,
    wide: true,
    long_name: false,
    encrypted: 0,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Absolute,
    BaseRelative,
    AbsolutePerCpu,
    PlaceRelative,
}

/// A kernel being built.
pub(crate) struct Tiny {
    pub(crate) machine: Machine,
    shape: Shape,
    root: u64,
    next: u64,
    pub(crate) symbols: BTreeMap<String, (u64, char)>,
    pub(crate) lines: Vec<String>,
    /// Functions beside those that have a purpose.
    pub(crate) functions: u64,
}

impl Tiny {
    pub(crate) fn new(shape: Shape) -> Tiny {
        let mut tiny = Tiny {
            machine: Machine {
                frames: 0x4000,
                ..Machine::default()
            },
            shape,
            root: 0,
            // Frames for tables and data are behind the image.
            next: 0x2000,
            symbols: BTreeMap::new(),
            lines: Vec::new(),
            functions: 3000,
        };
        // The first table is part of the image.
        let root = RODATA - PAGE as u64;
        tiny.root = image_phys(root) / PAGE as u64;
        tiny.machine.pages.insert(tiny.root, vec![0; PAGE]);
        for (line, value) in [
            ("OSRELEASE".to_owned(), "6.99.0-recipe".to_owned()),
            ("SYMBOL(_stext)".to_owned(), format!("{STEXT:x}")),
            ("SYMBOL(swapper_pg_dir)".to_owned(), format!("{root:x}")),
            (
                "NUMBER(phys_base)".to_owned(),
                (PHYS_BASE as i64).to_string(),
            ),
            (
                "NUMBER(pgtable_l5_enabled)".to_owned(),
                u32::from(shape.levels == 5).to_string(),
            ),
            ("NUMBER(sme_mask)".to_owned(), shape.encrypted.to_string()),
        ] {
            tiny.lines.push(format!("{line}={value}"));
        }
        tiny
    }

    pub(crate) fn line(&mut self, text: String) {
        self.lines.push(text);
    }

    pub(crate) fn symbol(&mut self, name: &str, kind: char, addr: u64) {
        self.symbols.insert(name.to_owned(), (addr, kind));
    }

    /// Maps a page, or a larger one, at the level where 0 are pages of 4 KB.
    pub(crate) fn map(&mut self, virt: u64, phys: u64, level: u32) {
        let mut table = self.root;
        for l in (0..self.shape.levels).rev() {
            let index = (virt >> (12 + 9 * l)) as usize & 511;
            let at = index * 8;
            let page = self.machine.pages.get_mut(&table).expect("a table");
            let entry = u64::from_le_bytes(page[at..at + 8].try_into().expect("8 bytes"));
            if l == level {
                // Present, written, and for larger pages the bit that says so.
                let large = if level > 0 { 0x80 } else { 0 };
                let entry = phys | 0x63 | large | self.shape.encrypted;
                page[at..at + 8].copy_from_slice(&entry.to_le_bytes());
                return;
            }
            table = if entry == 0 {
                let new = self.next;
                self.next += 1;
                let entry = (new * PAGE as u64) | 0x63 | self.shape.encrypted;
                page[at..at + 8].copy_from_slice(&entry.to_le_bytes());
                self.machine.pages.insert(new, vec![0; PAGE]);
                new
            } else {
                (entry & !self.shape.encrypted & 0x000f_ffff_ffff_f000) / PAGE as u64
            };
        }
    }

    /// Writes bytes at a virtual address, mapping what is not mapped yet.
    pub(crate) fn write(&mut self, virt: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let at = virt + done as u64;
            let frame = self.frame(at);
            let inside = at as usize % PAGE;
            let len = (bytes.len() - done).min(PAGE - inside);
            let page = self.machine.pages.get_mut(&frame).expect("a page");
            page[inside..inside + len].copy_from_slice(&bytes[done..done + len]);
            done += len;
        }
    }

    fn frame(&mut self, virt: u64) -> u64 {
        let base = virt & !(PAGE as u64 - 1);
        if let Some(found) = self.walk(base) {
            self.machine
                .pages
                .entry(found)
                .or_insert_with(|| vec![0; PAGE]);
            return found;
        }
        let frame = if virt >= MAP {
            image_phys(base) / PAGE as u64
        } else {
            self.next += 1;
            self.next - 1
        };
        self.map(base, frame * PAGE as u64, 0);
        self.machine
            .pages
            .entry(frame)
            .or_insert_with(|| vec![0; PAGE]);
        frame
    }

    fn walk(&self, virt: u64) -> Option<u64> {
        let mut table = self.root;
        for l in (0..self.shape.levels).rev() {
            let at = ((virt >> (12 + 9 * l)) as usize & 511) * 8;
            let page = self.machine.pages.get(&table)?;
            let entry = u64::from_le_bytes(page[at..at + 8].try_into().expect("8 bytes"));
            if entry == 0 {
                return None;
            }
            table = (entry & !self.shape.encrypted & 0x000f_ffff_ffff_f000) / PAGE as u64;
            if l > 0 && entry & 0x80 != 0 {
                return Some(table + (virt >> 12) % (1 << (9 * l)));
            }
        }
        Some(table)
    }

    /// Writes the tables of symbols, and gives the machine.
    pub(crate) fn finish(mut self) -> Machine {
        self.symbol("_stext", 'T', STEXT);
        self.write_symbols();
        let text = self.lines.join("\n") + "\n";
        self.machine.vmcoreinfo = text.into_bytes();
        self.machine.notes = note(b"VMCOREINFO", 0, &self.machine.vmcoreinfo);
        self.machine
    }

    fn write_symbols(&mut self) {
        let shape = self.shape;
        let mut symbols: Vec<(u64, char, String)> = self
            .symbols
            .iter()
            .map(|(name, &(addr, kind))| (addr, kind, name.clone()))
            .collect();
        // Enough symbols for the tables to look like a kernel's.
        for i in 0..self.functions {
            symbols.push((
                STEXT + 0x1000 + i * 16,
                't',
                format!("function_{i}_of_the_kernel"),
            ));
        }
        if shape.long_name {
            let name = "long_".repeat(40);
            symbols.push((STEXT + 0x800, 't', name));
        }
        symbols.sort();
        self.symbols = symbols
            .iter()
            .map(|(addr, kind, name)| (name.clone(), (*addr, *kind)))
            .collect();

        let tokens: Vec<String> = (0..=255u8)
            .map(|i| match i {
                1 => "_of_the_kernel".to_owned(),
                2 => "function_".to_owned(),
                0x21..=0x7e => char::from(i).to_string(),
                _ => format!("q{i:x}"),
            })
            .collect();
        let mut names = Vec::new();
        let mut markers = Vec::new();
        for (i, (_, kind, name)) in symbols.iter().enumerate() {
            if i % 256 == 0 {
                markers.extend_from_slice(&(names.len() as u32).to_le_bytes());
            }
            let packed = format!("{kind}{name}")
                .replace("function_", "\u{2}")
                .replace("_of_the_kernel", "\u{1}");
            let len = packed.len();
            if len > 127 && shape.wide {
                names.extend_from_slice(&[len as u8 & 0x7f | 0x80, (len >> 7) as u8]);
            } else {
                names.push(u8::try_from(len).expect("a length"));
            }
            names.extend_from_slice(packed.as_bytes());
        }
        let mut table = Vec::new();
        let mut index = Vec::new();
        for token in &tokens {
            index.extend_from_slice(&(table.len() as u16).to_le_bytes());
            table.extend_from_slice(token.as_bytes());
            table.push(0);
        }

        let count = symbols.len();
        let size = if shape.encoding == Encoding::Absolute {
            8
        } else {
            4
        };
        let relative = matches!(
            shape.encoding,
            Encoding::BaseRelative | Encoding::AbsolutePerCpu
        );
        // Places, each aligned to 8 bytes.
        let mut at = RODATA + 0x1238;
        let mut place = |len: usize| {
            let start = at;
            at = (at + len as u64).next_multiple_of(8);
            start
        };
        let base_len = if relative { 8 } else { 0 };
        let before = (!shape.addresses_last).then(|| (place(count * size), place(base_len)));
        let num_syms = place(8);
        let names_at = place(names.len());
        let markers_at = place(markers.len());
        // Since 6.2 the order of names is here.
        if shape.addresses_last {
            place(count * 3);
        }
        let table_at = place(table.len());
        let index_at = place(index.len());
        let (addresses, base_at) = before.unwrap_or_else(|| (place(count * size), place(base_len)));

        let base = STEXT - 0x10_0000;
        let mut encoded = Vec::new();
        for (i, (addr, ..)) in symbols.iter().enumerate() {
            match shape.encoding {
                Encoding::Absolute => encoded.extend_from_slice(&addr.to_le_bytes()),
                Encoding::BaseRelative => {
                    encoded.extend_from_slice(&(addr.wrapping_sub(base) as u32).to_le_bytes());
                }
                Encoding::AbsolutePerCpu => {
                    // Per-CPU offsets as they are, others below -1.
                    let number = if *addr < MAP {
                        *addr as i64
                    } else {
                        base as i64 - 1 - *addr as i64
                    };
                    encoded.extend_from_slice(&(number as i32).to_le_bytes());
                }
                Encoding::PlaceRelative => {
                    let number = *addr as i64 - (addresses + i as u64 * 4) as i64;
                    encoded.extend_from_slice(&(number as i32).to_le_bytes());
                }
            }
        }
        self.write(num_syms, &(count as u64).to_le_bytes());
        self.write(names_at, &names);
        self.write(markers_at, &markers);
        self.write(table_at, &table);
        self.write(index_at, &index);
        self.write(addresses, &encoded);
        if relative {
            self.write(base_at, &base.to_le_bytes());
        }
        if shape.told {
            let mut told = vec![
                ("names", names_at),
                ("num_syms", num_syms),
                ("token_table", table_at),
                ("token_index", index_at),
            ];
            told.push(match shape.encoding {
                Encoding::Absolute => ("addresses", addresses),
                _ => ("offsets", addresses),
            });
            if relative {
                told.push(("relative_base", base_at));
            }
            for (name, addr) in told {
                self.line(format!("SYMBOL(kallsyms_{name})={addr:x}"));
            }
        }
    }

    /// Fills a frame that is memory with what `page` makes.
    pub(crate) fn fill(&mut self, frame: u64) {
        self.machine.pages.insert(frame, page(frame, 2));
    }
}

/// Gives where an address of the image is in physical memory.
pub(crate) fn image_phys(virt: u64) -> u64 {
    (virt - MAP).wrapping_add(PHYS_BASE)
}
