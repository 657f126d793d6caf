//! Programs of routes (lightweight tunnels), over rtnetlink, and of infrared receivers.

use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use kscope_spec::{AttachType, ProgramType};
use kscope_sys::{AttachTarget, Errno, Order, ProgramAttach};

use super::legacy::Undo;
use super::netlink::{CREATE, EXCL, NESTED, Request};
use super::network::{Interface, no_interface};
use super::socket::own;
use super::{Hold, Link};
use crate::error::Error;
use crate::program::Program;

/// A route to be made for a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where packets go to.
    pub destination: IpAddr,
    /// How many bits of the destination count.
    pub prefix: u8,
    /// The interface that they leave by.
    pub interface: Interface,
}

impl Route {
    /// `struct rtmsg` of the main table.
    fn message(&self) -> [u8; 12] {
        const MAIN: u8 = 254;
        const STATIC: u8 = 4;
        const UNICAST: u8 = 1;
        let (family, scope) = match self.destination {
            // RT_SCOPE_LINK, and RT_SCOPE_UNIVERSE.
            IpAddr::V4(_) => (2, 253),
            IpAddr::V6(_) => (10, 0),
        };
        [
            family,
            self.prefix,
            0,
            0,
            MAIN,
            STATIC,
            scope,
            UNICAST,
            0,
            0,
            0,
            0,
        ]
    }

    fn request(&self, what: &'static str, kind: u16, flags: u16) -> Request {
        const DESTINATION: u16 = 1;
        const OUT_INTERFACE: u16 = 4;
        let address = match self.destination {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        Request::new(what, kind, flags, &self.message())
            .attribute(DESTINATION, &address)
            .number(OUT_INTERFACE, self.interface.0)
    }
}

impl Program {
    /// Makes a route whose packets go through this program: [`ProgramType::LwtIn`],
    /// [`ProgramType::LwtOut`], [`ProgramType::LwtXmit`], or, for IPv6 with segment routing,
    /// [`ProgramType::LwtSeg6Local`].
    ///
    /// Dropping the link takes the route away; it stays if the process is killed.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a program of another type, [`Error::NotFound`] for an unknown
    /// interface, [`Error::Unsupported`] for a kernel without such tunnels, [`Error::Os`] with
    /// `EEXIST` where the route is there already.
    pub fn attach_route(&self, route: &Route) -> Result<Link, Error> {
        const NEW_ROUTE: u16 = 24;
        const DELETE_ROUTE: u16 = 25;
        const ENCAP_TYPE: u16 = 21;
        const ENCAP: u16 = 22;
        const BPF: u16 = 6;
        const SEG6_LOCAL: u16 = 7;
        let hook = match self.kind {
            ProgramType::LwtIn => Some(1),
            ProgramType::LwtOut => Some(2),
            ProgramType::LwtXmit => Some(3),
            ProgramType::LwtSeg6Local => None,
            _ => return Err(self.wrong_kind("a route")),
        };
        let program = |request: Request| {
            request
                .number(1, self.fd.as_raw_fd() as u32)
                .name(2, &self.name)
        };
        let request = route.request("RTM_NEWROUTE", NEW_ROUTE, CREATE | EXCL);
        let request = match hook {
            Some(hook) => request
                .attribute(ENCAP_TYPE, &BPF.to_ne_bytes())
                .nested(ENCAP | NESTED, |encap| encap.nested(hook | NESTED, program)),
            None => request
                .attribute(ENCAP_TYPE, &SEG6_LOCAL.to_ne_bytes())
                .nested(ENCAP | NESTED, |encap| {
                    const ACTION: u16 = 1;
                    const END_BPF: u32 = 15;
                    const PROGRAM: u16 = 8;
                    encap
                        .number(ACTION, END_BPF)
                        .nested(PROGRAM | NESTED, program)
                }),
        };
        request
            .send(&*self.kernel)
            .map_err(|error| match error.errno() {
                Some(Errno::NODEV) => no_interface(route.interface),
                Some(Errno::OPNOTSUPP) => Error::unsupported(
                    "BPF programs of routes",
                    "CONFIG_LWTUNNEL_BPF, for segment routing CONFIG_IPV6_SEG6_BPF",
                ),
                Some(errno @ (Errno::PERM | Errno::ACCES)) => self.failed("rtnetlink", errno, ""),
                _ => error,
            })?;
        let undo = route.request("RTM_DELROUTE", DELETE_ROUTE, 0);
        let target = format!(
            "route:{}/{}:{}",
            route.destination, route.prefix, route.interface.0
        );
        Ok(Link::new(
            &self.kernel,
            Hold::Undo(Undo::Netlink(undo)),
            target,
        ))
    }

    /// Lets a [`ProgramType::LircMode2`] program decode what an infrared receiver (`/dev/lirc0`)
    /// sees.
    ///
    /// Dropping the link detaches; the program stays if the process is killed.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a program of another type, or a descriptor that is no receiver;
    /// [`Error::Unsupported`] for a kernel without infrared decoders in eBPF.
    pub fn attach_lirc(&self, receiver: BorrowedFd<'_>) -> Result<Link, Error> {
        self.must_be(ProgramType::LircMode2, "an infrared receiver")?;
        let attach_type = AttachType::LircMode2 as u32;
        let target = "an infrared receiver";
        // Before it is attached: what cannot be taken back is not to be left behind.
        let held = own(receiver, target)?;
        let attached = self.kernel.program_attach(ProgramAttach {
            target: AttachTarget::Descriptor(receiver),
            program: self.as_fd(),
            attach_type,
            flags: 0,
            replace: None,
            order: Order::Unsaid,
        });
        attached.map_err(|errno| match errno {
            Errno::INVAL | Errno::NODEV | Errno::NOTTY => Error::invalid(
                "the descriptor is no infrared receiver, or one that sends no pulses",
            ),
            Errno::OPNOTSUPP | Errno::NOTSUPP => {
                Error::unsupported("infrared decoders in eBPF", "CONFIG_BPF_LIRC_MODE2")
            }
            errno => self.failed("BPF_PROG_ATTACH", errno, target),
        })?;
        let undo = Undo::Program {
            target: held,
            program: self.fd.clone(),
            attach_type,
        };
        Ok(Link::new(&self.kernel, Hold::Undo(undo), target))
    }
}
