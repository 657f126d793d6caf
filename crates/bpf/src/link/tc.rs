//! Traffic control by filters of the clsact queueing discipline, over rtnetlink.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd};

use kscope_spec::ProgramType;
use kscope_sys::Errno;

use super::legacy::Undo;
use super::netlink::{CREATE, DUMP, ECHO, EXCL, NESTED, REPLACE, Request, attribute};
use super::network::{Interface, no_interface};
use super::{Hold, Link};
use crate::error::Error;
use crate::program::Program;

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Coming in.
    Ingress,
    /// Going out.
    Egress,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        })
    }
}

/// Where a filter stands among the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcFilter {
    /// Smaller ones run first; 0 lets the kernel choose.
    pub priority: u16,
    /// Tells filters of one priority apart; 0 lets the kernel choose.
    pub handle: u32,
    /// Whether a filter with the same priority and handle is replaced.
    pub replace: bool,
}

/// `struct tcmsg`.
fn message(interface: Interface, parent: u32, handle: u32, info: u32) -> [u8; 20] {
    let mut fixed = [0; 20];
    for (at, value) in [(4, interface.0), (8, handle), (12, parent), (16, info)] {
        fixed[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    fixed
}

const KIND: u16 = 1;
const OPTIONS: u16 = 2;
const NEW_QDISC: u16 = 36;
const NEW_FILTER: u16 = 44;
const DELETE_FILTER: u16 = 45;
const GET_FILTER: u16 = 46;
const CLSACT: u32 = 0xffff_fff1;

/// Priority and protocol as `tcm_info` holds them: every protocol, in network order.
fn info(priority: u16) -> u32 {
    u32::from(priority) << 16 | u32::from(3u16.to_be())
}

impl Program {
    /// Attaches a [`ProgramType::SchedCls`] program as a filter of an interface's clsact queueing
    /// discipline, which is made if it is not there (and stays). It decides by its return value
    /// (`TC_ACT_*`).
    ///
    /// Dropping the link takes the filter away; it stays if the process is killed. From Linux 6.6
    /// [`Program::attach_tcx`] leaves nothing behind.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] for an unknown interface, [`Error::Unsupported`] for a kernel without
    /// clsact or BPF filters, [`Error::Os`] with `EEXIST` for a handle that is taken.
    pub fn attach_tc(
        &self,
        interface: Interface,
        direction: Direction,
        filter: TcFilter,
    ) -> Result<Link, Error> {
        self.must_be(ProgramType::SchedCls, "traffic control")?;
        let options = |options: Request| {
            const FD: u16 = 6;
            const NAME: u16 = 7;
            const FLAGS: u16 = 8;
            const DIRECT_ACTION: u32 = 1;
            options
                .number(FD, self.fd.as_raw_fd() as u32)
                .name(NAME, &self.name)
                .number(FLAGS, DIRECT_ACTION)
        };
        self.attach_filter(interface, direction, filter, "bpf", &options)
    }

    /// Attaches a [`ProgramType::SchedAct`] program as the action of a filter that takes every
    /// packet (`matchall`); see [`Program::attach_tc`]. It decides by its return value
    /// (`TC_ACT_*`).
    ///
    /// # Errors
    ///
    /// As [`Program::attach_tc`]; [`Error::Unsupported`] for a kernel without such filters or
    /// without BPF actions.
    pub fn attach_tc_action(
        &self,
        interface: Interface,
        direction: Direction,
        filter: TcFilter,
    ) -> Result<Link, Error> {
        self.must_be(ProgramType::SchedAct, "an action of traffic control")?;
        let options = |options: Request| {
            const ACTIONS: u16 = 2;
            const PARAMETERS: u16 = 2;
            const FD: u16 = 5;
            const NAME: u16 = 6;
            // `struct tc_gen`: an index of the kernel's choice, TC_ACT_PIPE where the program says nothing.
            let mut parameters = [0; 20];
            parameters[8..12].copy_from_slice(&3u32.to_ne_bytes());
            let action = |action: Request| {
                action
                    .name(KIND, "bpf")
                    .nested(OPTIONS | NESTED, |options| {
                        options
                            .attribute(PARAMETERS, &parameters)
                            .number(FD, self.fd.as_raw_fd() as u32)
                            .name(NAME, &self.name)
                    })
            };
            // The first of the actions.
            options.nested(ACTIONS | NESTED, |actions| {
                actions.nested(1 | NESTED, action)
            })
        };
        self.attach_filter(interface, direction, filter, "matchall", &options)
    }

    fn attach_filter(
        &self,
        interface: Interface,
        direction: Direction,
        filter: TcFilter,
        kind: &'static str,
        options: &dyn Fn(Request) -> Request,
    ) -> Result<Link, Error> {
        let about = |error: Error| match error.errno() {
            Some(Errno::NODEV) => no_interface(interface),
            Some(errno @ (Errno::PERM | Errno::ACCES)) => self.failed("rtnetlink", errno, ""),
            _ => error,
        };
        let clsact = message(interface, CLSACT, 0xffff_0000, 0);
        let made = Request::new("RTM_NEWQDISC", NEW_QDISC, CREATE | EXCL, &clsact)
            .name(KIND, "clsact")
            .send(&*self.kernel);
        match made {
            Err(error) if error.errno() == Some(Errno::EXIST) => {}
            Err(error) if error.errno() == Some(Errno::NOENT) => {
                return Err(Error::unsupported("clsact", "CONFIG_NET_SCH_INGRESS"));
            }
            other => drop(other.map_err(about)?),
        }
        let parent = match direction {
            Direction::Ingress => 0xffff_fff2,
            Direction::Egress => 0xffff_fff3,
        };
        let how = if filter.replace { REPLACE } else { EXCL };
        let fixed = message(interface, parent, filter.handle, info(filter.priority));
        let request = Request::new("RTM_NEWTFILTER", NEW_FILTER, CREATE | ECHO | how, &fixed)
            .name(KIND, kind)
            .nested(OPTIONS | NESTED, options);
        let made = request
            .send(&*self.kernel)
            .map_err(|error| match error.errno() {
                Some(Errno::NOENT) if kind == "bpf" => {
                    Error::unsupported("BPF filters of tc", "CONFIG_NET_CLS_BPF")
                }
                Some(Errno::NOENT) => Error::unsupported(
                    "BPF actions of tc",
                    "CONFIG_NET_CLS_MATCHALL and CONFIG_NET_ACT_BPF",
                ),
                _ => about(error),
            })?;
        // What the kernel made: its handle and priority may be its own choice.
        let made = made.iter().find(|body| is_at(body, interface, parent));
        let (handle, info) = match made {
            Some(body) => place(body),
            None if filter.priority != 0 && filter.handle != 0 => {
                (filter.handle, info(filter.priority))
            }
            // It has no room for the echo, say; the filter is there.
            None => self.filter_there(interface, parent).ok_or_else(|| {
                Error::os(
                    "RTM_NEWTFILTER",
                    Errno::BADMSG,
                    format!(
                        "tc:{}:{direction}: the kernel does not say which filter it made; it is \
                         still there, and runs program {}",
                        interface.0, self.name
                    ),
                )
            })?,
        };
        let gone = message(interface, parent, handle, info);
        let undo = Request::new("RTM_DELTFILTER", DELETE_FILTER, 0, &gone).name(KIND, kind);
        let target = format!("tc:{}:{direction}:{}", interface.0, info >> 16);
        Ok(Link::new(
            &self.kernel,
            Hold::Undo(Undo::Netlink(undo)),
            target,
        ))
    }
    /// Finds the one filter of a hook that runs this program; none where there are several.
    fn filter_there(&self, interface: Interface, parent: u32) -> Option<(u32, u32)> {
        let id = self.kernel.program_info(self.as_fd()).ok()?.id;
        let hook = message(interface, parent, 0, 0);
        let request = Request::new("RTM_GETTFILTER", GET_FILTER, DUMP, &hook);
        let filters = request.send(&*self.kernel).ok()?;
        let mut ours = filters
            .iter()
            .filter(|body| is_at(body, interface, parent) && program_of(body) == Some(id));
        let one = ours.next()?;
        ours.next().is_none().then(|| place(one))
    }
}

/// Reads a number of a message; 0 past its end.
fn number(body: &[u8], at: usize) -> u32 {
    let bytes = body.get(at..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

/// Tells whether a message is of a filter at this hook.
fn is_at(body: &[u8], interface: Interface, parent: u32) -> bool {
    body.len() >= 20
        && number(body, 4) == interface.0
        && number(body, 12) & 0xffff == parent & 0xffff
}

/// Gives a filter's handle, and its priority and protocol.
fn place(body: &[u8]) -> (u32, u32) {
    (number(body, 8), number(body, 16))
}

/// Gives the id of the program that a filter runs: by itself, or as its first action.
fn program_of(body: &[u8]) -> Option<u32> {
    const FILTER_ID: u16 = 11;
    const ACTIONS: u16 = 2;
    const ACTION_ID: u16 = 9;
    let options = attribute(body.get(20..)?, OPTIONS)?;
    let id = match attribute(options, FILTER_ID) {
        Some(id) => id,
        None => {
            let first = attribute(attribute(options, ACTIONS)?, 1)?;
            attribute(attribute(first, OPTIONS)?, ACTION_ID)?
        }
    };
    Some(u32::from_ne_bytes(*id.first_chunk()?))
}
