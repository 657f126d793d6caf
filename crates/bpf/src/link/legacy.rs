//! What was attached without a descriptor that holds it, and how it is taken back.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use kscope_sys::{AttachTarget, Errno, MapFd, ProgramDetach, SharedKernel, SocketPlace};

use super::netlink::Request;
use super::network::{Interface, XdpMode, take_off};
use crate::error::Error;

/// How an attachment is taken back.
pub(super) enum Undo {
    /// `BPF_PROG_DETACH` from a cgroup or a map of sockets.
    Program {
        target: OwnedFd,
        program: Arc<OwnedFd>,
        attach_type: u32,
    },
    /// A message of rtnetlink.
    Netlink(Request),
    /// An interface's XDP program, if it is still this one.
    Xdp {
        interface: Interface,
        mode: XdpMode,
        program: Arc<OwnedFd>,
    },
    /// A socket's program.
    Socket { socket: OwnedFd, place: SocketPlace },
    /// The entry of a map of functions that registered it.
    StructOps(Arc<MapFd>),
}

impl Undo {
    pub(super) fn run(self, kernel: &SharedKernel) -> Result<(), Error> {
        let gone_is_fine = |call: &'static str, outcome: Result<(), Errno>| match outcome {
            Ok(()) | Err(Errno::NOENT | Errno::NODEV) => Ok(()),
            Err(errno) => Err(Error::os(call, errno, "")),
        };
        match self {
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
            Undo::Netlink(request) => or_gone(request.send(&**kernel).map(drop)),
            Undo::Xdp {
                interface,
                mode,
                program,
            } => or_gone(take_off(kernel, interface, mode, program.as_raw_fd())),
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
fn or_gone(outcome: Result<(), Error>) -> Result<(), Error> {
    match outcome {
        Err(Error::Os {
            errno: Errno::NOENT | Errno::NODEV | Errno::SRCH | Errno::EXIST | Errno::INVAL,
            ..
        }) => Ok(()),
        outcome => outcome,
    }
}
