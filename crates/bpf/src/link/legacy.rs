//! What was attached without a descriptor that holds it, and how it is taken back.

#[cfg(feature = "network")]
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

#[cfg(feature = "network")]
use kscope_sys::{AttachTarget, ProgramDetach, SocketPlace};
use kscope_sys::{Errno, MapFd, SharedKernel};

#[cfg(feature = "network")]
use super::netlink::Request;
#[cfg(feature = "network")]
use super::network::{Interface, XdpMode, take_off};
use crate::error::Error;

/// How an attachment is taken back.
pub(super) enum Undo {
    /// `BPF_PROG_DETACH` from a cgroup or a map of sockets.
    #[cfg(feature = "network")]
    Program {
        target: OwnedFd,
        program: Arc<OwnedFd>,
        attach_type: u32,
    },
    /// A message of rtnetlink.
    #[cfg(feature = "network")]
    Netlink(Request),
    /// An interface's XDP program, if it is still this one.
    #[cfg(feature = "network")]
    Xdp {
        interface: Interface,
        mode: XdpMode,
        program: Arc<OwnedFd>,
    },
    /// A socket's program.
    #[cfg(feature = "network")]
    Socket { socket: OwnedFd, place: SocketPlace },
    /// The entry of a map of functions that registered it.
    #[cfg_attr(
        not(feature = "struct_ops"),
        allow(dead_code, reason = "tables of functions alone are registered so")
    )]
    StructOps(Arc<MapFd>),
}

impl Undo {
    pub(super) fn run(self, kernel: &SharedKernel) -> Result<(), Error> {
        let gone_is_fine = |call: &'static str, outcome: Result<(), Errno>| match outcome {
            Ok(()) | Err(Errno::NOENT | Errno::NODEV) => Ok(()),
            Err(errno) => Err(Error::os(call, errno, "")),
        };
        match self {
            #[cfg(feature = "network")]
            Undo::Program {
                target,
                program,
                attach_type,
            } => {
                let detach = ProgramDetach {
                    target: AttachTarget::Descriptor(target.as_fd()),
                    program: Some(program.as_fd()),
                    attach_type,
                };
                gone_is_fine("BPF_PROG_DETACH", kernel.program_detach(detach))
            }
            #[cfg(feature = "network")]
            Undo::Netlink(request) => or_gone(request.send(&**kernel).map(drop)),
            #[cfg(feature = "network")]
            Undo::Xdp {
                interface,
                mode,
                program,
            } => or_gone(take_off(kernel, interface, mode, program.as_raw_fd())),
            #[cfg(feature = "network")]
            Undo::Socket { socket, place } => gone_is_fine(
                "setsockopt",
                kernel.socket_program(socket.as_fd(), place, None),
            ),
            Undo::StructOps(map) => {
                gone_is_fine("BPF_MAP_DELETE_ELEM", kernel.map_delete(&map, &[0; 4]))
            }
        }
    }
}

/// Takes what rtnetlink says of a filter, route or program that is gone already for success.
#[cfg(feature = "network")]
fn or_gone(outcome: Result<(), Error>) -> Result<(), Error> {
    match outcome {
        Err(Error::Os {
            errno: Errno::NOENT | Errno::NODEV | Errno::SRCH | Errno::EXIST | Errno::INVAL,
            ..
        }) => Ok(()),
        outcome => outcome,
    }
}
