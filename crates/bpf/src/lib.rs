//! The eBPF library's kernel half: maps, programs, links, rings, features and the verifier's log.
//!
//! A [`spec::Spec`] is plain data; a [`Loader`] makes an [`Object`] of it on a kernel, whose
//! programs are then attached as [`Link`]s and whose rings are read through an [`EventReader`].
//! Everything is held by descriptors: when the process ends, however it ends, nothing stays
//! attached.
//!
//! # Examples
//!
//! ```no_run
//! use kscope_bpf::spec::{MapId, ProgramId, Spec};
//! use kscope_bpf::{Error, EventReader, Loader, RingBuffer, sys::real_kernel};
//!
//! fn trace(spec: &Spec) -> Result<(), Error> {
//!     let object = Loader::new(real_kernel()).late("opt.pid", 42).load(spec)?;
//!     let ring = object.map(MapId(0)).expect("the spec has one");
//!     let mut reader = EventReader::Ring(RingBuffer::new(&[ring])?);
//!     let program = object.program(ProgramId(0))?;
//!     let _link = program.attach_tracepoint("sched", "sched_process_exec", 0)?;
//!     loop {
//!         reader.poll(None, &mut |record| println!("{} bytes", record.len()))?;
//!     }
//! }
//! ```
//!
//! # Features
//!
//! On unless `default-features = false`: `buffers` (perf buffers, user ring buffers), `bulk` (many
//! entries of a map at once), `exclusive` (maps of one program alone), `explain` (what the kernel can
//! do, and why it refuses), `extend` (programs in the place of others' functions), `gzip`
//! (`/proc/config.gz`), `insn` (instructions made and taken apart), `iter` (BPF iterators), `kconfig`
//! (build options as variables), `kinds` (queues, filters, locks, maps of other things), `late` (values
//! that compiled scripts leave open), `legacy` (maps described without BTF), `manage` (maps and links
//! found again, described, updated), `multi` (many kernel functions by one program), `network` (links on
//! interfaces, sockets, cgroups and the like), `sections` (sections of any ELF file), `struct_ops`
//! (tables of functions for the kernel to call), `token` (BPF tokens), `typed` (maps and globals by
//! Rust types), `uprobe` (uprobes and USDT probes), `validate` (types checked as a whole).
//!
//! Off unless asked for: `inspect` (what is loaded, whoever loaded it), `disasm`, `asm`, `check`,
//! `write`, `link`, `minimize` (modules and functions of [`spec`]), `print`, `parse` (functions of
//! [`btf`]) and `tokio`. docs/LIBRARY.md says what each brings.

#[cfg(feature = "tokio")]
mod asynchronous;
mod create;
mod denial;
mod error;
mod event;
#[cfg(feature = "uprobe")]
mod executable;
#[cfg(feature = "explain")]
mod features;
#[cfg(feature = "inspect")]
pub mod inspect;
mod kallsyms;
#[cfg(feature = "late")]
mod late;
mod link;
mod loader;
mod log;
mod map;
mod named;
mod object_btf;
mod patch;
#[cfg(feature = "buffers")]
mod perf_buffer;
pub mod plain;
#[cfg(feature = "inspect")]
mod printed;
mod program;
mod ring;
mod search;
#[cfg(feature = "bulk")]
mod snapshot;
mod stats;
#[cfg(feature = "token")]
mod token;
mod tracefs;
#[cfg(feature = "typed")]
pub mod typed;
mod unmounted;
#[cfg(feature = "uprobe")]
mod usdt;
#[cfg(feature = "buffers")]
mod user_ring;
mod waker;

pub use kscope_btf as btf;
pub use kscope_spec as spec;
pub use kscope_sys as sys;

#[cfg(feature = "tokio")]
pub use asynchronous::{AsyncEvents, AsyncReader, Closer};
pub use denial::Denial;
#[cfg(feature = "explain")]
pub use denial::Lockdown;
pub use error::{Absent, Error, MapNumber};
pub use event::{EventReader, EventRound};
#[cfg(feature = "uprobe")]
pub use executable::{DataObject, Executable, Function, UsdtNote, UsdtPlace};
#[cfg(feature = "uprobe")]
pub use features::prepare_uprobes;
#[cfg(feature = "explain")]
pub use features::{Features, Support};
#[cfg(feature = "uprobe")]
pub use kscope_spec::{UsdtArgument, UsdtArgumentPlace};
pub use kscope_sys::{IterOver, Order, Peer};
#[cfg(feature = "late")]
pub use late::NearSymbols;
#[cfg(feature = "iter")]
pub use link::IterReader;
pub use link::{AttachOutcome, Attachment, KprobeAt, Link, detach_all};
#[cfg(feature = "network")]
pub use link::{
    CgroupMode, Direction, Interface, NetfilterHook, NetkitSide, Route, TcFilter, XdpMode,
};
#[cfg(feature = "manage")]
pub use link::{LinkDetails, LinkKind, PerfDetails};
#[cfg(feature = "uprobe")]
pub use link::{OpenUprobe, Uprobe, UprobePlace, Usdt};
#[cfg(feature = "kconfig")]
pub use loader::build_option;
pub use loader::{Global, GlobalValue, Loader, Object, SymbolResolver};
pub use log::VerifierLog;
#[cfg(feature = "manage")]
pub use map::MapDetails;
pub use map::{Map, PerCpuValues, UpdateMode, lpm_key};
#[cfg(feature = "buffers")]
pub use perf_buffer::PerfBuffer;
#[cfg(feature = "inspect")]
pub use printed::{PrintedLine, PrintedLog};
pub use program::{Program, ProgramError, ProgramStats, TestInput, TestOutput};
pub use ring::RingBuffer;
#[cfg(feature = "bulk")]
pub use snapshot::{Entry, Snapshot};
pub use stats::RunStats;
#[cfg(feature = "token")]
pub use token::Token;
pub use tracefs::Tracefs;
#[cfg(feature = "uprobe")]
pub use usdt::parse as usdt_arguments;
#[cfg(feature = "buffers")]
pub use user_ring::UserRing;
pub use waker::Waker;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_daemon_keeps_goes_between_threads() {
        fn shared<T: Send + Sync + 'static>() {}
        fn moved<T: Send + 'static>() {}
        shared::<Object>();
        shared::<Program>();
        shared::<Map>();
        shared::<Link>();
        #[cfg(feature = "explain")]
        shared::<Features>();
        shared::<Waker>();
        shared::<Error>();
        moved::<EventReader>();
        #[cfg(feature = "iter")]
        moved::<IterReader>();
    }
}
