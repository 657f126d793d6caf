//! VMCOREINFO: what the kernel tells dump readers of itself, as lines of text.

use std::collections::HashMap;

use kscope_memory::{PhysAddr, PhysMemory, VirtAddr};

use crate::Dump;
use crate::bytes::u32_at;

/// Most bytes of the text; the kernel gives it one page.
const MOST: usize = 1 << 20;

/// Where VMCOREINFO was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VmcoreinfoFrom {
    /// In an ELF note.
    Note,
    /// Where the header of the dump says.
    Header,
    /// By looking through physical memory.
    Scan,
}

/// The lines of VMCOREINFO.
#[derive(Clone, Debug, Default)]
pub struct Vmcoreinfo {
    lines: HashMap<String, String>,
    text: String,
}

impl Vmcoreinfo {
    /// Reads the text; lines without `=` are left out.
    #[must_use]
    pub fn parse(text: &[u8]) -> Vmcoreinfo {
        let text = &text[..text.len().min(MOST)];
        let text = text.split(|&b| b == 0).next().unwrap_or_default();
        let text = String::from_utf8_lossy(text).into_owned();
        let lines = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        Vmcoreinfo { lines, text }
    }

    /// Gives the whole text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Gives the value of a line.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.lines.get(key).map(String::as_str)
    }

    /// Gives the kernel's release, as `uname -r` says it.
    #[must_use]
    pub fn release(&self) -> Option<&str> {
        self.get("OSRELEASE")
    }

    /// Gives the address of a symbol, as it was in memory.
    #[must_use]
    pub fn symbol(&self, name: &str) -> Option<VirtAddr> {
        let value = self.get(&format!("SYMBOL({name})"))?;
        u64::from_str_radix(value, 16).ok().map(VirtAddr)
    }

    /// Gives a number, written in decimal with a sign or in hexadecimal after `0x`.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i64> {
        number(self.get(&format!("NUMBER({name})"))?)
    }

    /// Gives the offset of a member (`structure.member`) in bytes.
    #[must_use]
    pub fn offset(&self, member: &str) -> Option<u64> {
        let value = self.get(&format!("OFFSET({member})"))?;
        u64::try_from(number(value)?).ok()
    }

    /// Gives the size of a structure in bytes.
    #[must_use]
    pub fn size(&self, name: &str) -> Option<u64> {
        let value = self.get(&format!("SIZE({name})"))?;
        u64::try_from(number(value)?).ok()
    }

    /// Gives the number of elements of an array.
    #[must_use]
    pub fn length(&self, name: &str) -> Option<u64> {
        let value = self.get(&format!("LENGTH({name})"))?;
        u64::try_from(number(value)?).ok()
    }
}

fn number(text: &str) -> Option<i64> {
    let text = text.trim();
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok().map(|v| v as i64),
        None => text.parse().ok(),
    }
}

/// Finds VMCOREINFO: in the notes, where the header says, or by looking through all memory for
/// the note that the kernel keeps for the next dump.
pub(crate) fn find(dump: &Dump) -> Option<(Vmcoreinfo, VmcoreinfoFrom)> {
    let usable = |info: &Vmcoreinfo| info.release().is_some();
    let parsed = |text: &[u8]| Some(Vmcoreinfo::parse(text)).filter(usable);
    let notes = dump.notes();
    if let Some(info) = notes.find(b"VMCOREINFO", 0).and_then(parsed) {
        return Some((info, VmcoreinfoFrom::Note));
    }
    if let Some(info) = dump.vmcoreinfo().as_deref().and_then(parsed) {
        return Some((info, VmcoreinfoFrom::Header));
    }
    scan(dump).map(|info| (info, VmcoreinfoFrom::Scan))
}

/// Looks for the note's header, name and first line in physical memory.
fn scan(dump: &Dump) -> Option<Vmcoreinfo> {
    const NAME: &[u8] = b"VMCOREINFO\0\0OSRELEASE=";
    const PAGE: usize = 4096;
    let mut pages = vec![0; PAGE * 2];
    for (start, len) in dump.ranges() {
        let mut before = false;
        let count = len / PAGE as u64;
        for index in 0..count {
            let Some(addr) = start.checked_add(index * PAGE as u64) else {
                break;
            };
            // The page before stays in front, for a note that begins in it.
            pages.copy_within(PAGE.., 0);
            if dump.read_phys(addr, &mut pages[PAGE..]).is_err() {
                before = false;
                continue;
            }
            // Notes are aligned to 4 bytes, and so are names in them.
            let from = if before {
                (PAGE - NAME.len()) & !3
            } else {
                PAGE
            };
            before = true;
            for at in (from..2 * PAGE - NAME.len()).step_by(4) {
                if pages[at] == b'V' && pages[at..].starts_with(NAME) {
                    let note = addr.0.wrapping_sub(PAGE as u64).wrapping_add(at as u64);
                    if let Some(info) = note_at(dump, PhysAddr(note)) {
                        return Some(info);
                    }
                }
            }
        }
    }
    None
}

/// Reads the note whose name is at an address.
fn note_at(dump: &Dump, name: PhysAddr) -> Option<Vmcoreinfo> {
    let mut head = [0; 12];
    dump.read_phys(PhysAddr(name.0.checked_sub(12)?), &mut head)
        .ok()?;
    let len = u32_at(&head, 4) as usize;
    if u32_at(&head, 0) != 11 || u32_at(&head, 8) != 0 || !(1..=65536).contains(&len) {
        return None;
    }
    let mut text = vec![0; len];
    dump.read_phys(name.checked_add(12)?, &mut text).ok()?;
    let info = Vmcoreinfo::parse(&text);
    // A copy in a page cache or a log has no symbols behind it.
    info.symbol("_stext")?;
    Some(info)
}
