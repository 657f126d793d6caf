//! The way past functions without unwind entries: a return address on the stack stands right
//! behind an instruction that called the function.

use kscope_memory::{Memory, VirtAddr};

use crate::facts::kernel::Kernel;

/// How far up the stack a return address is looked for, in bytes.
const REACH: u64 = 4096;
/// Length of `call` with a relative target.
const CALL: u64 = 5;

/// Looks up the stack from `sp` for the return address of a call of the function that begins at
/// `function`. Gives where it is and what it is.
pub(crate) fn find(
    kernel: &Kernel,
    function: VirtAddr,
    sp: VirtAddr,
) -> Option<(VirtAddr, VirtAddr)> {
    let start = sp.0.checked_add(7)? & !7;
    (0..REACH / 8).find_map(|i| {
        let at = VirtAddr(start.checked_add(i * 8)?);
        let value = VirtAddr(kernel.read_u64(at).ok()?);
        (value.is_kernel() && called(kernel, value) == Some(function)).then_some((at, value))
    })
}

/// Gives the target of the call right before a return address.
fn called(kernel: &Kernel, after: VirtAddr) -> Option<VirtAddr> {
    const OPCODE: u8 = 0xe8;
    let mut code = [0; CALL as usize];
    kernel
        .read(VirtAddr(after.0.checked_sub(CALL)?), &mut code)
        .ok()?;
    let [OPCODE, offset @ ..] = code else {
        return None;
    };
    let offset = i32::from_le_bytes(offset);
    Some(VirtAddr(after.0.wrapping_add(offset as i64 as u64)))
}
