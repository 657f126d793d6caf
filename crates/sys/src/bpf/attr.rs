//! `union bpf_attr` in the making.

use std::ffi::{CString, c_char};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// An encoded `union bpf_attr`, with what its addresses point to kept alive. It is made in a box, as
/// otherwise each step of the making would move the whole of it.
#[derive(Debug)]
pub(crate) struct Attr {
    pub(crate) command: u32,
    /// As words, so that it is aligned as the kernel's union.
    pub(crate) words: [u64; Attr::WORDS],
    pub(crate) size: usize,
    #[allow(dead_code, reason = "only keeps alive what the words point to")]
    pub(super) held: Held,
}

#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) string: Option<CString>,
    pub(super) number: Option<Box<[u8; 8]>>,
    pub(super) info: Option<Box<[u8; 16]>>,
    pub(super) pointers: Vec<*const c_char>,
    pub(super) numbers: Box<[i32]>,
    pub(super) btf_info: Option<Box<[u64; 5]>>,
    pub(super) map_info: Option<Box<[u64; 13]>>,
}

impl Attr {
    const WORDS: usize = 20;

    pub(super) fn new(command: u32, size: usize) -> Box<Attr> {
        debug_assert!(size <= Attr::WORDS * 8);
        Box::new(Attr {
            command,
            words: [0; Attr::WORDS],
            size,
            held: Held::default(),
        })
    }

    // Not written out at each of its hundreds of uses.
    #[inline(never)]
    fn put(&mut self, at: usize, bytes: &[u8]) {
        for (index, &byte) in bytes.iter().enumerate() {
            let (word, lane) = ((at + index) / 8, (at + index) % 8);
            let mut lanes = self.words[word].to_ne_bytes();
            lanes[lane] = byte;
            self.words[word] = u64::from_ne_bytes(lanes);
        }
    }

    pub(super) fn u32(mut self: Box<Self>, at: usize, value: u32) -> Box<Attr> {
        self.put(at, &value.to_ne_bytes());
        self
    }

    pub(super) fn u64(mut self: Box<Self>, at: usize, value: u64) -> Box<Attr> {
        self.put(at, &value.to_ne_bytes());
        self
    }

    pub(super) fn fd(self: Box<Self>, at: usize, fd: impl AsFd) -> Box<Attr> {
        let raw = fd.as_fd().as_raw_fd() as u32;
        self.u32(at, raw)
    }

    /// A descriptor that may be left out, as 0.
    pub(super) fn optional_fd(self: Box<Self>, at: usize, fd: Option<BorrowedFd<'_>>) -> Box<Attr> {
        match fd {
            Some(fd) => self.fd(at, fd),
            None => self,
        }
    }

    /// The address of bytes that the kernel reads; nothing where there are none.
    pub(super) fn source(self: Box<Self>, at: usize, bytes: &[u8]) -> Box<Attr> {
        let address = if bytes.is_empty() {
            0
        } else {
            bytes.as_ptr() as u64
        };
        self.u64(at, address)
    }

    /// The address of bytes that the kernel writes; nothing where there are none.
    pub(super) fn sink(self: Box<Self>, at: usize, bytes: &mut [u8]) -> Box<Attr> {
        let address = if bytes.is_empty() {
            0
        } else {
            bytes.as_mut_ptr() as u64
        };
        self.u64(at, address)
    }

    pub(super) fn name(mut self: Box<Self>, at: usize, name: &str) -> Box<Attr> {
        self.put(at, &object_name(name));
        self
    }

    pub(crate) fn get_u32(&self, at: usize) -> u32 {
        let lanes = self.words[at / 8].to_ne_bytes();
        let from = at % 8;
        let mut out = [0; 4];
        out.copy_from_slice(&lanes[from..from + 4]);
        u32::from_ne_bytes(out)
    }
}

/// Gives a name as the kernel takes it: at most 15 bytes of `[A-Za-z0-9_.]`, then zeros.
pub(super) fn object_name(name: &str) -> [u8; 16] {
    let mut out = [0; 16];
    for (slot, byte) in out.iter_mut().take(15).zip(name.bytes()) {
        let fits = byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
        *slot = if fits { byte } else { b'_' };
    }
    out
}
