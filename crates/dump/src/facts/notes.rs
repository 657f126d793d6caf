//! ELF notes: registers of the CPUs, VMCOREINFO.

use crate::bytes::u32_at;

/// Most notes kept.
const MOST: usize = 1 << 16;
const NT_PRSTATUS: u32 = 1;

/// A note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: u32,
    pub(crate) content: Vec<u8>,
}

/// The notes of a dump, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes {
    notes: Vec<Note>,
}

impl Notes {
    /// Reads notes as far as they go; the last of a file that was cut is left out.
    pub(crate) fn parse(bytes: &[u8]) -> Notes {
        let mut notes = Vec::new();
        let mut rest = bytes;
        while notes.len() < MOST && rest.len() >= 12 {
            let name_len = u32_at(rest, 0) as usize;
            let len = u32_at(rest, 4) as usize;
            let kind = u32_at(rest, 8);
            let body = &rest[12..];
            let padded = |n: usize| n.checked_next_multiple_of(4);
            let (Some(skip), Some(name)) = (padded(name_len), body.get(..name_len)) else {
                break;
            };
            let Some(content) = body.get(skip..).and_then(|b| b.get(..len)) else {
                break;
            };
            if name_len > 0 {
                notes.push(Note {
                    name: name.split(|&b| b == 0).next().unwrap_or_default().to_vec(),
                    kind,
                    content: content.to_vec(),
                });
            }
            let Some(next) = padded(len).and_then(|l| skip.checked_add(l)) else {
                break;
            };
            rest = body.get(next..).unwrap_or_default();
        }
        Notes { notes }
    }

    /// Gives the first note of this name and kind.
    pub(crate) fn find(&self, name: &[u8], kind: u32) -> Option<&[u8]> {
        let mut notes = self.notes.iter();
        let note = notes.find(|n| n.name == name && n.kind == kind)?;
        Some(&note.content)
    }

    /// Gives the status of each CPU that wrote one, in order.
    pub(crate) fn cpus(&self) -> impl Iterator<Item = &[u8]> {
        let notes = self.notes.iter();
        notes
            .filter(|n| n.name == b"CORE" && n.kind == NT_PRSTATUS)
            .map(|n| &*n.content)
    }
}
