//! Expressions whose value lies in memory.

use super::function::{Lower, Place, Result, VarPlace, unsupported};
use crate::hir::{Builtin, Expr, ExprKind, FieldType, Type};
use crate::ir::Value;

impl Lower<'_> {
    /// Gives the place where the value lies: its own where it has one, a new slot else.
    pub(super) fn memory(&mut self, expr: &Expr) -> Result<Place> {
        match &expr.kind {
            ExprKind::Var(var) => match self.var(*var) {
                VarPlace::Slot(slot) => return Ok(self.slot_place(slot)),
                VarPlace::Outer(place) => return Ok(place),
                _ => return Err(unsupported(expr.span, "this variable")),
            },
            ExprKind::OptionStr(option) => return Ok(self.option_place(*option)),
            ExprKind::Field {
                base,
                offset,
                bits: None,
            } => {
                return Ok(self.memory(base)?.at(*offset));
            }
            ExprKind::Block(statements, value) => {
                self.statements(statements)?;
                return self.memory(value);
            }
            _ => {}
        }
        let slot = self.slot(expr.ty.size());
        let place = self.slot_place(slot);
        self.memory_into(expr, place, true)?;
        Ok(place)
    }

    /// Gives where the value of a string option stands.
    pub(super) fn option_place(&mut self, option: u32) -> Place {
        let map = self.tables.options();
        let offset = self.program.options[option as usize].offset;
        self.value_place(map, offset)
    }

    /// Evaluates into a place of the size of the type. With `pad`, every byte gets a value that
    /// depends on the value alone; without, what follows the NUL of a string is left as it was.
    pub(super) fn memory_into(&mut self, expr: &Expr, to: Place, pad: bool) -> Result<()> {
        let around = std::mem::replace(&mut self.at, expr.span);
        let done = self.memory_here(expr, to, pad);
        self.at = around;
        done
    }

    fn memory_here(&mut self, expr: &Expr, to: Place, pad: bool) -> Result<()> {
        let size = expr.ty.size();
        match &expr.kind {
            ExprKind::Str(text) => self.literal(text, to, size, pad),
            ExprKind::Builtin(Builtin::Comm) => self.comm_into(to, size, pad),
            ExprKind::ReadStr {
                address,
                space,
                len,
            } => {
                let address = self.scalar(address)?;
                let len = len.as_deref().map(|len| self.scalar(len)).transpose()?;
                if pad {
                    self.zero(to, size);
                }
                self.read_str(to, size, address, *space, len);
            }
            ExprKind::ReadBytes { address, space } => {
                let address = self.scalar(address)?;
                self.read_memory(to, size, address, *space);
            }
            ExprKind::NameOf { table, number } => self.name_of(*table, number, to, size, pad)?,
            ExprKind::StrOfBytes(bytes) => self.string_of_bytes(bytes, to, size, pad)?,
            ExprKind::CtxBytes { offset } => {
                let from = Place {
                    base: self.ctx(),
                    offset: 0,
                    align: 8,
                }
                .at(*offset);
                self.copy(to, from, size);
            }
            ExprKind::MapGet { map, key } => {
                self.map_get_memory(*map, key.as_deref(), to, size, expr.span)?;
            }
            ExprKind::Ternary {
                condition,
                then,
                otherwise,
            } => {
                let then_block = self.b.block();
                let else_block = self.b.block();
                let end = self.b.block();
                self.condition(condition, then_block, else_block)?;
                for (block, value) in [(then_block, then), (else_block, otherwise)] {
                    self.enter(block);
                    self.memory_into(value, to, pad)?;
                    self.b.jump(end);
                }
                self.enter(end);
            }
            ExprKind::ReadBuffer {
                address,
                space,
                len,
            } => self.read_buffer((address, *space), len, to, size, pad)?,
            ExprKind::ReadStrings { list, space } => self.read_strings(expr, list, *space, to)?,
            ExprKind::ReadArguments {
                address,
                space,
                len,
                most,
            } => self.read_arguments((address, *space), (len, most), to, size, pad)?,
            ExprKind::BufferOf { value, len } => self.buffer_of(value, len, to, size)?,
            ExprKind::Concat(first, second) => self.concat(first, second, to, size)?,
            ExprKind::Bytes(number) => {
                let bytes = number.ty.size().min(size).min(8) as u8;
                let value = self.scalar(number)?;
                self.store(to, bytes, value);
            }
            ExprKind::CommOf { pid, found } => {
                self.zero(to, size);
                self.comm_of_process(pid, *found, to, expr.span)?;
            }
            ExprKind::PathOf(path) => self.path_of(path, to, size)?,
            ExprKind::Resize(inner) => self.resize(inner, to, size, pad)?,
            ExprKind::Fields(parts) => self.fields(expr, parts, to)?,
            ExprKind::Index { base, index } => {
                let array = self.memory(base)?;
                let index = self.scalar(index)?;
                self.zero(to, size);
                let end = self.b.block();
                let element = self.element(array, index, size, base.ty.size(), end);
                self.copy(to, element, size);
                self.join(end);
            }
            ExprKind::Block(statements, value) => {
                self.statements(statements)?;
                self.memory_into(value, to, pad)?;
            }
            ExprKind::Var(_) | ExprKind::OptionStr(_) | ExprKind::Field { .. } => {
                let from = self.memory(expr)?;
                self.copy(to, from, size);
            }
            _ => return Err(unsupported(expr.span, "this value in memory")),
        }
        Ok(())
    }

    /// Writes a value of any type to a place.
    pub(super) fn value_into(&mut self, expr: &Expr, to: Place, pad: bool) -> Result<()> {
        match expr.ty.scalar_int() {
            Some(int) => {
                let value = self.scalar(expr)?;
                self.store(to, int.bytes, value);
                Ok(())
            }
            None => self.memory_into(expr, to, pad),
        }
    }

    /// Puts a number into a slot, all eight bytes of it.
    pub(super) fn number_in_memory(&mut self, value: Value) -> Place {
        let slot = self.slot(8);
        let place = self.slot_place(slot);
        self.b.store(8, place.base, 0, value);
        place
    }

    pub(super) fn copy(&mut self, to: Place, from: Place, len: u32) {
        self.b
            .copy((to.base, to.offset), (from.base, from.offset), len);
    }

    pub(super) fn zero(&mut self, to: Place, len: u32) {
        self.b.zero(to.base, to.offset, len);
    }

    fn fields(&mut self, expr: &Expr, parts: &[Expr], to: Place) -> Result<()> {
        let of_process;
        let fields = match &expr.ty {
            Type::Tuple(fields) | Type::Record(fields) | Type::FullPath(fields) => fields,
            // A family and an address, an address, elements.
            Type::InternetAddress | Type::EthernetAddress | Type::Array { .. } => {
                self.zero(to, expr.ty.size());
                let mut at = 0;
                for part in parts {
                    self.value_into(part, to.at(at), true)?;
                    at += part.ty.size();
                }
                return Ok(());
            }
            Type::UserStack { .. } => {
                of_process = FieldType::of_process(Type::I64);
                &of_process
            }
            Type::UserSymbol => {
                of_process = FieldType::of_process(Type::U64);
                &of_process
            }
            _ => return Err(unsupported(expr.span, "these fields")),
        };
        self.zero_gaps(fields, to, expr.ty.size());
        for (field, part) in fields.iter().zip(parts) {
            self.value_into(part, to.at(field.offset), true)?;
        }
        Ok(())
    }

    /// Zeroes the padding between fields, so that equal values have equal bytes.
    fn zero_gaps(&mut self, fields: &[FieldType], to: Place, size: u32) {
        let mut end = 0;
        for field in fields {
            self.zero(to.at(end), field.offset.saturating_sub(end));
            end = field.offset + field.ty.size();
        }
        self.zero(to.at(end), size.saturating_sub(end));
    }
}
