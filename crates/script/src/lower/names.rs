//! Names of errors, signals and system calls as strings in programs.

use kscope_rows::NameTable;

use super::function::{Lower, Place, Result};
use crate::hir::Expr;
use crate::ir::BinOp;
use crate::plan::NAME_ROOM;

/// Gives the names of a table one after the other, [`NAME_ROOM`] bytes each, and the words for
/// numbers beyond them.
fn name_table(table: NameTable) -> (Vec<u8>, String) {
    let count = match table {
        NameTable::Error => 134,
        NameTable::Signal => 65,
        NameTable::Syscall => 480,
    };
    let mut bytes = Vec::with_capacity(count * NAME_ROOM as usize);
    for number in 0..count {
        let mut name = table.name(number as i64).into_bytes();
        name.truncate(NAME_ROOM as usize - 1);
        name.resize(NAME_ROOM as usize, 0);
        bytes.extend(name);
    }
    (bytes, table.name(i64::from(i32::MAX)))
}

impl Lower<'_> {
    /// Puts the name of a number into a place: out of a table, or the words for numbers beyond it.
    pub(super) fn name_of(
        &mut self,
        table: NameTable,
        number: &Expr,
        to: Place,
        size: u32,
        pad: bool,
    ) -> Result<()> {
        let (names, unknown) = name_table(table);
        let mut index = self.scalar(number)?;
        if table == NameTable::Error {
            // Errors are given as the kernel does: negative.
            let bits = self.b.constant(63);
            let sign = self.b.binary(BinOp::AShr, index, bits);
            let flipped = self.b.binary(BinOp::Xor, index, sign);
            index = self.b.binary(BinOp::Sub, flipped, sign);
        }
        self.literal(unknown.as_bytes(), to, size, pad);
        let len = names.len() as u32;
        let map = self.tables.names(table, names);
        let whole = self.value_place(map, 0);
        let end = self.b.block();
        let name = self.element(whole, index, NAME_ROOM, len, end);
        self.copy(to, name, NAME_ROOM.min(size));
        self.join(end);
        Ok(())
    }
}
