//! What the kernel tells of maps and links, where one command needs two calls.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use super::{bpf, possible_cpus};
use crate::bpf::{Bpf, LinkInfo, MapInfo};
#[cfg(feature = "inspect")]
use crate::bpf::{ProgramImage, Question};
use crate::errno::Errno;
use crate::map_fd::MapFd;

/// Refuses a descriptor of another kind: the question what an object is, is answered for maps, programs,
/// links and BTF alike, with other fields.
pub(super) fn must_be(fd: BorrowedFd<'_>, names: &[&str]) -> Result<(), Errno> {
    let link = Path::new("/proc/self/fd").join(fd.as_raw_fd().to_string());
    let is = std::fs::read_link(link).map_err(|error| Errno::from_io(&error))?;
    match is.to_str().is_some_and(|is| names.contains(&is)) {
        true => Ok(()),
        false => Err(Errno::INVAL),
    }
}

/// Binds a descriptor to the sizes that the kernel says its map has.
pub(super) fn adopt(fd: OwnedFd) -> Result<MapFd, Errno> {
    must_be(fd.as_fd(), &["anon_inode:bpf-map"])?;
    let mut into = [0; MapInfo::SIZE];
    let mut call = Bpf::MapInfo {
        map: fd.as_fd(),
        into: &mut into,
    };
    bpf(&mut *call.attr()?)?;
    let shape = MapInfo::decode(&into).shape;
    let cpus = if shape.is_per_cpu() {
        possible_cpus()?
    } else {
        1
    };
    Ok(MapFd::new(fd, shape, cpus))
}

/// Asks for a link: first what kind it is, then again with the address of the text where that kind
/// has one.
pub(super) fn link_info(
    link: BorrowedFd<'_>,
    into: &mut [u8; LinkInfo::SIZE],
    text: &mut [u8],
) -> Result<(), Errno> {
    must_be(link, &["anon_inode:bpf_link", "anon_inode:bpf-link"])?;
    let mut call = Bpf::LinkInfo {
        link,
        into,
        text: &mut [],
    };
    let mut attr = call.attr()?;
    bpf(&mut attr)?;
    let Bpf::LinkInfo { into, .. } = call else {
        return Err(Errno::IO);
    };
    text.fill(0);
    let Some((address, size)) = LinkInfo::text_place(into) else {
        return Ok(());
    };
    let room = u32::try_from(text.len()).map_err(|_| Errno::TOO_BIG)?;
    // The kernel writes at most `room` bytes of text there: a link's kind, and that of the event
    // it sits on, do not change.
    into.fill(0);
    into[address..address + 8].copy_from_slice(&(text.as_mut_ptr() as u64).to_ne_bytes());
    into[size..size + 4].copy_from_slice(&room.to_ne_bytes());
    bpf(&mut attr)?;
    // The address says nothing to anybody.
    into[address..address + 8].fill(0);
    Ok(())
}

/// Asks for a program: first how long its tables are, then for all of them.
#[cfg(feature = "inspect")]
pub(super) fn program_image(program: BorrowedFd<'_>, into: &mut ProgramImage) -> Result<(), Errno> {
    must_be(program, &["anon_inode:bpf-prog"])?;
    let mut first = Question::first();
    bpf(&mut first.attr(program))?;
    let mut second = first.second()?;
    bpf(&mut second.attr(program))?;
    *into = second.image();
    Ok(())
}
