//! The text of `/proc/kallsyms`, read piece by piece.

use core::fmt;
use std::collections::HashMap;

use crate::VirtAddr;
use crate::symbols::{Entry, KernelSymbols};

/// Longest line accepted. The kernel's names have at most 511 bytes, its modules' 55.
const LINE: usize = 4096;

/// A line that is not one of `/proc/kallsyms`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KallsymsError {
    /// What is wrong with it.
    pub what: &'static str,
    /// Byte offset of the line in the text.
    pub offset: u64,
}

impl fmt::Display for KallsymsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "malformed symbol table: {} in the line at byte {}",
            self.what, self.offset
        )
    }
}

impl std::error::Error for KallsymsError {}

/// Reads the symbol table from pieces of its text, so that a reader needs no buffer for all of it.
#[derive(Debug, Default)]
pub struct KernelSymbolsBuilder {
    table: KernelSymbols,
    /// The begin of a line whose end has not come yet.
    partial: Vec<u8>,
    /// Byte offset of the next line to be read.
    offset: u64,
    modules: HashMap<Vec<u8>, u16>,
    /// The module of the line before: lines of a module follow each other.
    last_module: u16,
}

impl KernelSymbolsBuilder {
    /// Begins an empty table.
    #[must_use]
    pub fn new() -> KernelSymbolsBuilder {
        KernelSymbolsBuilder::default()
    }

    /// Reads the next piece of the text; lines may be cut anywhere.
    ///
    /// # Errors
    /// Where a line is not `ADDRESS KIND NAME`, optionally followed by a tab and `[MODULE]`.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), KallsymsError> {
        let mut rest = piece;
        if !self.partial.is_empty() {
            let end = rest.iter().position(|&b| b == b'\n');
            let taken = end.map_or(rest.len(), |e| e + 1);
            if self.partial.len() + taken > LINE {
                return Err(self.fault("too many bytes"));
            }
            self.partial.extend_from_slice(&rest[..taken]);
            rest = &rest[taken..];
            if end.is_none() {
                return Ok(());
            }
            let line = std::mem::take(&mut self.partial);
            self.whole_line(&line)?;
        }
        let tail = self.lines(rest)?;
        if tail.len() > LINE {
            return Err(self.fault("too many bytes"));
        }
        self.partial.extend_from_slice(tail);
        Ok(())
    }

    /// Adds a symbol that was read elsewhere than in text; `module` is none for the kernel itself.
    ///
    /// # Errors
    /// Where the name is empty, not ASCII or too long, or the table is full.
    pub fn add(
        &mut self,
        address: VirtAddr,
        kind: u8,
        name: &[u8],
        module: Option<&str>,
    ) -> Result<(), KallsymsError> {
        if name.is_empty() || name.len() > LINE || !name.is_ascii() {
            return Err(self.fault("no name"));
        }
        if !kind.is_ascii_graphic() {
            return Err(self.fault("no kind"));
        }
        let module = match module {
            Some(module) => self.module_number(module)?,
            None => 0,
        };
        let Some(name) = self.table.add_name(name) else {
            return Err(self.fault("too many names"));
        };
        self.table.entries.push(Entry {
            address: address.0,
            name,
            module,
            kind,
        });
        Ok(())
    }

    /// Gives the table. A last line needs no newline.
    ///
    /// # Errors
    /// Where the last line is malformed.
    pub fn finish(mut self) -> Result<KernelSymbols, KallsymsError> {
        if !self.partial.is_empty() {
            let mut line = std::mem::take(&mut self.partial);
            line.push(b'\n');
            self.whole_line(&line)?;
        }
        self.table.sort();
        Ok(self.table)
    }

    fn fault(&self, what: &'static str) -> KallsymsError {
        KallsymsError {
            what,
            offset: self.offset,
        }
    }

    /// Reads a line that ends in a newline.
    fn whole_line(&mut self, line: &[u8]) -> Result<(), KallsymsError> {
        let left = self.lines(line)?;
        if left.is_empty() {
            Ok(())
        } else {
            Err(self.fault("no end"))
        }
    }

    /// Reads all complete lines and gives what is left.
    fn lines<'t>(&mut self, text: &'t [u8]) -> Result<&'t [u8], KallsymsError> {
        let mut rest = text;
        while let Some(len) = self.line(rest)? {
            self.offset += len as u64;
            rest = &rest[len..];
        }
        Ok(rest)
    }

    /// Reads the first line of `text` and gives its length; none where its end is not there.
    #[inline]
    fn line(&mut self, text: &[u8]) -> Result<Option<usize>, KallsymsError> {
        let mut address = 0u64;
        let mut at = 0;
        loop {
            let Some(&b) = text.get(at) else {
                return Ok(None);
            };
            let digit = match b {
                b'0'..=b'9' => b - b'0',
                b'a'..=b'f' => b - b'a' + 10,
                b'A'..=b'F' => b - b'A' + 10,
                b' ' if at > 0 => break,
                _ => return Err(self.fault("no address")),
            };
            if address >> 60 != 0 {
                return Err(self.fault("too large an address"));
            }
            address = (address << 4) | u64::from(digit);
            at += 1;
        }
        // The kind and the spaces around it.
        let Some(&kind) = text.get(at + 1) else {
            return Ok(None);
        };
        if !kind.is_ascii_graphic() {
            return Err(self.fault("no kind"));
        }
        let Some(&space) = text.get(at + 2) else {
            return Ok(None);
        };
        if space != b' ' {
            return Err(self.fault("no kind"));
        }
        let start = at + 3;
        let Some(len) = text[start..].iter().position(|&b| b <= b' ') else {
            return Ok(None);
        };
        let end = start + len;
        let mut next = end + 1;
        let mut module = 0;
        if !matches!(text[end], b'\n' | b'\t') {
            return Err(self.fault("no name"));
        }
        if text[end] == b'\t' {
            let Some(len) = text[next..].iter().position(|&b| b == b'\n') else {
                return Ok(None);
            };
            module = self.module(&text[next..next + len])?;
            next += len + 1;
        }
        let name = &text[start..end];
        if name.len() > LINE {
            return Err(self.fault("too many bytes"));
        }
        if name.is_empty() || !name.is_ascii() {
            return Err(self.fault("no name"));
        }
        let Some(name) = self.table.add_name(name) else {
            return Err(self.fault("too many names"));
        };
        self.table.entries.push(Entry {
            address,
            name,
            module,
            kind,
        });
        Ok(Some(next))
    }

    /// Gives the number of a module written as `[name]`; 0 is the kernel itself.
    fn module(&mut self, text: &[u8]) -> Result<u16, KallsymsError> {
        let name = text.strip_prefix(b"[").and_then(|t| t.strip_suffix(b"]"));
        let name = match name.map(std::str::from_utf8) {
            Some(Ok(name)) if !name.is_empty() => name,
            _ => return Err(self.fault("no module")),
        };
        self.module_number(name)
    }

    fn module_number(&mut self, name: &str) -> Result<u16, KallsymsError> {
        let last = usize::from(self.last_module);
        if last > 0 && self.table.modules.get(last - 1).is_some_and(|m| m == name) {
            return Ok(self.last_module);
        }
        let number = match self.modules.get(name.as_bytes()) {
            Some(&number) => number,
            None => {
                let number = u16::try_from(self.table.modules.len() + 1)
                    .map_err(|_| self.fault("too many modules"))?;
                self.table.modules.push(name.to_owned());
                self.modules.insert(name.as_bytes().to_vec(), number);
                number
            }
        };
        self.last_module = number;
        Ok(number)
    }
}
