//! Kernel stacks: from registers, frame by frame, to where the kernel was entered.

mod call_site;
mod orc;
mod unwinder;

pub(crate) use orc::Orc;
pub use orc::OrcVersion;
pub use unwinder::{Frame, FrameFrom, Stack, StackEnd, Unwinder};
