//! Sockets: their programs, and rtnetlink(7).

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::{done, new_fd};
use crate::call::{Reply, SocketPlace};
use crate::errno::Errno;

pub(super) fn socket_program(
    socket: BorrowedFd<'_>,
    place: SocketPlace,
    program: Option<BorrowedFd<'_>>,
) -> Result<Reply, Errno> {
    const DETACH_REUSEPORT: i32 = 68;
    let option = match (place, program.is_some()) {
        (SocketPlace::Filter, true) => libc::SO_ATTACH_BPF,
        (SocketPlace::Filter, false) => libc::SO_DETACH_BPF,
        (SocketPlace::Reuseport, true) => libc::SO_ATTACH_REUSEPORT_EBPF,
        (SocketPlace::Reuseport, false) => DETACH_REUSEPORT,
    };
    let value = program.map_or(0, |program| program.as_raw_fd());
    // SAFETY: the kernel reads one int that lives through the call.
    done(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const value).cast(),
            size_of_val(&value) as u32,
        )
    })
}

/// Answers are read up to this size; a dump of the filters of one hook is far smaller.
const LARGEST_ANSWER: usize = 1 << 24;

pub(super) fn netlink(request: &[u8]) -> Result<Vec<u8>, Errno> {
    const EXTENDED_ACK: i32 = 11;
    const DONE: u16 = 3;
    const ERROR: u16 = 2;
    const MULTI: u16 = 2;
    // SAFETY: takes no pointers.
    let socket: OwnedFd = new_fd(i64::from(unsafe {
        libc::socket(
            libc::AF_NETLINK,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            libc::NETLINK_ROUTE,
        )
    }))?;
    let on = 1i32;
    // Kernels say in words what they do not like; one that cannot says only the number.
    // SAFETY: the kernel reads one int that lives through the call.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            EXTENDED_ACK,
            (&raw const on).cast(),
            size_of_val(&on) as u32,
        );
    }
    // SAFETY: the kernel reads `request.len()` bytes of a live slice.
    let sent = unsafe {
        libc::send(
            socket.as_raw_fd(),
            request.as_ptr().cast(),
            request.len(),
            0,
        )
    };
    if sent < 0 {
        return Err(Errno::last());
    }
    let mut all = Vec::new();
    let mut part = vec![0u8; 1 << 16];
    loop {
        // SAFETY: the kernel writes at most `part.len()` bytes to a live mutable slice.
        let count =
            unsafe { libc::recv(socket.as_raw_fd(), part.as_mut_ptr().cast(), part.len(), 0) };
        let count = match usize::try_from(count) {
            Ok(count) => count,
            Err(_) if Errno::last() == Errno::INTR => continue,
            Err(_) => return Err(Errno::last()),
        };
        let got = part.get(..count).unwrap_or_default();
        all.extend_from_slice(got);
        if all.len() > LARGEST_ANSWER {
            return Err(Errno::TOO_BIG);
        }
        // Each datagram holds whole messages: length, type, flags.
        let mut at = 0;
        let mut ended = count == 0;
        while let Some(head) = got.get(at..).and_then(<[u8]>::first_chunk::<8>) {
            let length = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]) as usize;
            let kind = u16::from_ne_bytes([head[4], head[5]]);
            let flags = u16::from_ne_bytes([head[6], head[7]]);
            ended = kind == DONE || kind == ERROR || flags & MULTI == 0 && kind != 0;
            if length < 16 {
                return Err(Errno::BADMSG);
            }
            at += length.next_multiple_of(4);
        }
        // An acknowledgement follows what was asked to be echoed.
        if ended {
            return Ok(all);
        }
    }
}
