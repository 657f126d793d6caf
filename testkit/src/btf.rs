//! A writer of BTF that shares nothing with the reader it tests: it takes numbers as the format
//! document names them, and lets a test write what no compiler would.

mod walk;

pub use walk::{ask_everything, read_any};

/// Byte order of a written blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

/// A blob in the making. Every method that adds a type gives its number.
///
/// Strings are appended as they come, never shared: offsets are predictable and readers meet
/// equal names at different offsets.
#[derive(Clone, Debug)]
pub struct BtfWriter {
    order: Order,
    types: Vec<u8>,
    strings: Vec<u8>,
    next_type: u32,
    first_string: u32,
    /// Sizes of kinds for the layout section of Linux 7.2; no section where it is empty.
    layout: Vec<(u8, u8)>,
}

/// A member: name, number of its type, offset in bits, width in bits or 0.
pub type MemberRow<'a> = (&'a str, u32, u32, u8);

impl BtfWriter {
    /// Begins a blob that stands on its own.
    #[must_use]
    pub fn new(order: Order) -> BtfWriter {
        BtfWriter {
            order,
            types: Vec::new(),
            strings: vec![0],
            next_type: 1,
            first_string: 0,
            layout: Vec::new(),
        }
    }

    /// Begins a blob that continues another's types and strings.
    #[must_use]
    pub fn split(base: &BtfWriter) -> BtfWriter {
        BtfWriter {
            order: base.order,
            types: Vec::new(),
            strings: vec![],
            next_type: base.next_type,
            first_string: base.first_string + base.strings.len() as u32,
            layout: Vec::new(),
        }
    }

    /// Appends a string and gives its offset; the empty one is at 0.
    pub fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let offset = self.first_string + self.strings.len() as u32;
        self.strings.extend(text.bytes());
        self.strings.push(0);
        offset
    }

    /// Appends bare words to the types, for elements or for nonsense.
    pub fn words(&mut self, words: &[u32]) {
        for w in words {
            match self.order {
                Order::Little => self.types.extend(w.to_le_bytes()),
                Order::Big => self.types.extend(w.to_be_bytes()),
            }
        }
    }

    /// Adds a type's header with any numbers at all: name's offset, kind, flag, count, last word.
    pub fn header(&mut self, name: u32, kind: u32, flag: bool, count: u32, last: u32) -> u32 {
        let info = (flag as u32) * 0x8000_0000 + kind * 0x0100_0000 + count;
        self.words(&[name, info, last]);
        self.next_type += 1;
        self.next_type - 1
    }

    fn named(&mut self, name: &str, kind: u32, flag: bool, count: usize, last: u32) -> u32 {
        let name = self.string(name);
        self.header(name, kind, flag, count as u32, last)
    }

    /// Kind 1. `encoding`: 1 signed, 2 char, 4 bool.
    pub fn int(&mut self, name: &str, size: u32, encoding: u32) -> u32 {
        self.int_bits(name, size, encoding, 0, size * 8)
    }

    /// Kind 1 with the bits of old bitfields.
    pub fn int_bits(&mut self, name: &str, size: u32, encoding: u32, at: u32, bits: u32) -> u32 {
        let id = self.named(name, 1, false, 0, size);
        self.words(&[encoding * 0x0100_0000 + at * 0x1_0000 + bits]);
        id
    }

    /// Kind 2.
    pub fn ptr(&mut self, to: u32) -> u32 {
        self.header(0, 2, false, 0, to)
    }

    /// Kind 3.
    pub fn array(&mut self, element: u32, index: u32, len: u32) -> u32 {
        let id = self.header(0, 3, false, 0, 0);
        self.words(&[element, index, len]);
        id
    }

    /// Kind 4; with the flag set where a member has a width.
    pub fn structure(&mut self, name: &str, size: u32, members: &[MemberRow<'_>]) -> u32 {
        self.composite(4, name, size, members)
    }

    /// Kind 5; with the flag set where a member has a width.
    pub fn union(&mut self, name: &str, size: u32, members: &[MemberRow<'_>]) -> u32 {
        self.composite(5, name, size, members)
    }

    fn composite(&mut self, kind: u32, name: &str, size: u32, members: &[MemberRow<'_>]) -> u32 {
        let names: Vec<u32> = members.iter().map(|m| self.string(m.0)).collect();
        let flag = members.iter().any(|m| m.3 != 0);
        let id = self.named(name, kind, flag, members.len(), size);
        for (name, m) in names.into_iter().zip(members) {
            self.words(&[name, m.1, m.2 + (m.3 as u32) * 0x0100_0000]);
        }
        id
    }

    /// Kind 6.
    pub fn enumeration(
        &mut self,
        name: &str,
        size: u32,
        signed: bool,
        rows: &[(&str, u32)],
    ) -> u32 {
        let names: Vec<u32> = rows.iter().map(|r| self.string(r.0)).collect();
        let id = self.named(name, 6, signed, rows.len(), size);
        for (name, row) in names.into_iter().zip(rows) {
            self.words(&[name, row.1]);
        }
        id
    }

    /// Kind 7.
    pub fn forward(&mut self, name: &str, union: bool) -> u32 {
        self.named(name, 7, union, 0, 0)
    }

    /// Kind 8.
    pub fn typedef(&mut self, name: &str, to: u32) -> u32 {
        self.named(name, 8, false, 0, to)
    }

    /// Kind 9.
    pub fn volatile(&mut self, to: u32) -> u32 {
        self.header(0, 9, false, 0, to)
    }

    /// Kind 10.
    pub fn constant(&mut self, to: u32) -> u32 {
        self.header(0, 10, false, 0, to)
    }

    /// Kind 11.
    pub fn restrict(&mut self, to: u32) -> u32 {
        self.header(0, 11, false, 0, to)
    }

    /// Kind 12. `linkage`: 0 static, 1 global, 2 extern.
    pub fn function(&mut self, name: &str, proto: u32, linkage: u32) -> u32 {
        self.named(name, 12, false, linkage as usize, proto)
    }

    /// Kind 13; a last `("", 0)` stands for `...`.
    pub fn prototype(&mut self, result: u32, params: &[(&str, u32)]) -> u32 {
        let names: Vec<u32> = params.iter().map(|p| self.string(p.0)).collect();
        let id = self.header(0, 13, false, params.len() as u32, result);
        for (name, param) in names.into_iter().zip(params) {
            self.words(&[name, param.1]);
        }
        id
    }

    /// Kind 14. `linkage`: 0 static, 1 global, 2 extern.
    pub fn variable(&mut self, name: &str, ty: u32, linkage: u32) -> u32 {
        let id = self.named(name, 14, false, 0, ty);
        self.words(&[linkage]);
        id
    }

    /// Kind 15: each variable's number, offset and size.
    pub fn section(&mut self, name: &str, size: u32, vars: &[[u32; 3]]) -> u32 {
        let id = self.named(name, 15, false, vars.len(), size);
        for var in vars {
            self.words(var);
        }
        id
    }

    /// Kind 16.
    pub fn float(&mut self, name: &str, size: u32) -> u32 {
        self.named(name, 16, false, 0, size)
    }

    /// Kind 17; component -1 is the whole.
    pub fn decl_tag(&mut self, text: &str, on: u32, component: i32) -> u32 {
        let id = self.named(text, 17, false, 0, on);
        self.words(&[component as u32]);
        id
    }

    /// Kind 18.
    pub fn type_tag(&mut self, text: &str, on: u32) -> u32 {
        self.named(text, 18, false, 0, on)
    }

    /// Kind 19.
    pub fn enumeration64(&mut self, name: &str, signed: bool, rows: &[(&str, u64)]) -> u32 {
        let names: Vec<u32> = rows.iter().map(|r| self.string(r.0)).collect();
        let id = self.named(name, 19, signed, rows.len(), 8);
        for (name, row) in names.into_iter().zip(rows) {
            self.words(&[name, row.1 as u32, (row.1 >> 32) as u32]);
        }
        id
    }

    /// Asks for a layout section: for each kind from 0, bytes once and bytes per element.
    pub fn layout(&mut self, sizes: &[(u8, u8)]) {
        self.layout = sizes.to_vec();
    }

    /// Gives the blob.
    #[must_use]
    pub fn blob(&self) -> Vec<u8> {
        let mut whole = BtfWriter::new(self.order);
        let layout: Vec<u8> = self
            .layout
            .iter()
            .flat_map(|&(once, each)| [once, each, 0, 0])
            .collect();
        let header = if layout.is_empty() { 24 } else { 32 };
        let types = self.types.len() as u32;
        let strings = self.strings.len() as u32;
        whole.words(&[header, 0, types, types, strings]);
        if header == 32 {
            whole.words(&[types + strings, layout.len() as u32]);
        }
        let magic = match self.order {
            Order::Little => [0x9f, 0xeb, 1, 0],
            Order::Big => [0xeb, 0x9f, 1, 0],
        };
        [
            &magic[..],
            &whole.types,
            &self.types,
            &self.strings,
            &layout,
        ]
        .concat()
    }
}
