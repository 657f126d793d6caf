//! Arguments of USDT probes, as the notes of an executable tell them.

/// Where an argument of a USDT probe is. Registers are offsets in bytes into `struct pt_regs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsdtArgumentPlace {
    /// The number itself.
    Constant(i64),
    /// In the register at this offset of `struct pt_regs`.
    Register(u16),
    /// In memory at a register plus an offset.
    Memory {
        /// The register.
        base: u16,
        /// Bytes from where it points to.
        offset: i64,
    },
    /// In memory at a register, plus another times a power of two, plus an offset.
    Indexed {
        /// The register that points to the begin.
        base: u16,
        /// The register that counts.
        index: u16,
        /// The power of two.
        shift: u8,
        /// Bytes from there.
        offset: i64,
    },
}

/// One argument of a USDT probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsdtArgument {
    /// Size in bytes: 1, 2, 4 or 8.
    pub bytes: u8,
    /// Two's complement if set.
    pub signed: bool,
    /// Where it is.
    pub place: UsdtArgumentPlace,
}
