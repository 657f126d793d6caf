//! Programs on network interfaces: XDP, tcx, netkit.

use std::ffi::CString;

use kscope_spec::{AttachType, ProgramType};
use kscope_sys::{Errno, Kernel, LinkCreate, LinkTarget, Order, SharedKernel};

use super::legacy::Undo;
use super::netlink::{NESTED, Request};
use super::{Hold, Link};
use crate::error::Error;
use crate::program::Program;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;

/// A network interface of the namespace that the process is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interface(pub u32);

impl Interface {
    /// Finds an interface by its name.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`].
    pub fn named(kernel: &dyn Kernel, name: &str) -> Result<Interface, Error> {
        let missing = || Error::not_found("network interface", name);
        let c_name = CString::new(name).map_err(|_| missing())?;
        match kernel.interface_index(&c_name) {
            Ok(index) => Ok(Interface(index)),
            Err(Errno::NODEV | Errno::NXIO) => Err(missing()),
            Err(errno) => Err(Error::os("if_nametoindex", errno, name)),
        }
    }

    /// Tells whether there is such an interface, as far as the kernel says.
    fn is_there(self, kernel: &dyn Kernel) -> bool {
        const GETLINK: u16 = 18;
        let mut fixed = [0; 16];
        fixed[4..8].copy_from_slice(&self.0.to_ne_bytes());
        let answer = Request::new("RTM_GETLINK", GETLINK, 0, &fixed).send(kernel);
        answer.err().and_then(|error| error.errno()) != Some(Errno::NODEV)
    }
}

/// Who runs an XDP program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum XdpMode {
    /// The driver where it can, else the kernel's generic code.
    #[default]
    Any,
    /// The kernel's generic code, after a packet's memory was made.
    Generic,
    /// The driver.
    Driver,
    /// The card itself.
    Hardware,
}

impl XdpMode {
    fn flags(self) -> u32 {
        match self {
            XdpMode::Any => 0,
            XdpMode::Generic => 1 << 1,
            XdpMode::Driver => 1 << 2,
            XdpMode::Hardware => 1 << 3,
        }
    }
}

/// Which end of a pair of netkit devices a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NetkitSide {
    /// The device that the program is attached to.
    Primary,
    /// The other one.
    Peer,
}

/// A number that no interface has: a kernel that knows the hook says so.
const NO_INTERFACE: u32 = i32::MAX as u32;

impl Program {
    /// Attaches an XDP program to an interface.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] with `EBUSY` where another XDP program is there, [`Error::NotFound`] for an
    /// unknown interface, [`Error::Unsupported`] for a driver that cannot.
    ///
    /// # Minimum kernel version
    ///
    /// Linux 5.9.
    pub fn attach_xdp(&self, interface: Interface, mode: XdpMode) -> Result<Link, Error> {
        self.must_be(ProgramType::Xdp, "an interface's XDP hook")?;
        let target = format!("xdp:{}", interface.0);
        let created = self.kernel.link_create(LinkCreate {
            program: self.as_fd(),
            attach_type: AttachType::Xdp as u32,
            target: LinkTarget::Xdp {
                interface: interface.0,
                flags: mode.flags(),
            },
        });
        let fd = created.map_err(|errno| match errno {
            Errno::OPNOTSUPP => no_driver(mode),
            Errno::NODEV | Errno::INVAL if !interface.is_there(&*self.kernel) => {
                no_interface(interface)
            }
            errno => self.failed("BPF_LINK_CREATE", errno, &target),
        })?;
        Ok(Link::of(&self.kernel, fd, target))
    }

    /// Attaches an XDP program to an interface by rtnetlink, the way without a link: in place of
    /// `replace`, which must be what is there, or where nothing is.
    ///
    /// Dropping the link takes it away; it stays if the process is killed.
    ///
    /// # Errors
    ///
    /// As [`Program::attach_xdp`]; [`Error::Os`] with `EEXIST` where another program is there.
    pub fn attach_xdp_netlink(
        &self,
        interface: Interface,
        mode: XdpMode,
        replace: Option<&Program>,
    ) -> Result<Link, Error> {
        self.must_be(ProgramType::Xdp, "an interface's XDP hook")?;
        let set = |program: i32, expected: Option<i32>| {
            const UPDATE_IF_NOEXIST: u32 = 1;
            const REPLACE: u32 = 1 << 4;
            let flags = match expected {
                None => UPDATE_IF_NOEXIST,
                Some(_) => REPLACE,
            };
            xdp_request(interface, |xdp| {
                let xdp = xdp
                    .attribute(1, &program.to_ne_bytes())
                    .number(3, mode.flags() | flags);
                match expected {
                    None => xdp,
                    Some(fd) => xdp.attribute(8, &fd.to_ne_bytes()),
                }
            })
        };
        let ours = self.fd.as_raw_fd();
        let old = replace.map(|old| old.fd.as_raw_fd());
        set(ours, old)
            .send(&*self.kernel)
            .map_err(|error| match error.errno() {
                Some(Errno::NODEV) => no_interface(interface),
                Some(Errno::OPNOTSUPP) => no_driver(mode),
                Some(errno @ (Errno::PERM | Errno::ACCES)) => self.failed("RTM_SETLINK", errno, ""),
                _ => error,
            })?;
        // Only if it is still ours; the descriptor lives as long as the link.
        let kept = Undo::Xdp {
            interface,
            mode,
            program: self.fd.clone(),
        };
        let target = format!("xdp:{}", interface.0);
        Ok(Link::new(&self.kernel, Hold::Undo(kept), target))
    }

    /// Attaches a [`ProgramType::SchedCls`] program to an interface's tcx hook.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] for an unknown interface; [`Error::Os`] with `ENOENT` or `EDOM` for a
    /// neighbour that is not there.
    ///
    /// # Minimum kernel version
    ///
    /// Linux 6.6.
    pub fn attach_tcx(
        &self,
        interface: Interface,
        direction: super::Direction,
        order: Order<'_>,
    ) -> Result<Link, Error> {
        let attach_type = match direction {
            super::Direction::Ingress => AttachType::TcxIngress,
            super::Direction::Egress => AttachType::TcxEgress,
        };
        let target = format!("tcx:{}:{direction}", interface.0);
        self.attach_interface(interface, attach_type, order, &target, "Linux 6.6")
    }

    /// Attaches a [`ProgramType::SchedCls`] program to a netkit device.
    ///
    /// # Errors
    ///
    /// As [`Program::attach_tcx`]; [`Error::Os`] with `EOPNOTSUPP` for another kind of device.
    ///
    /// # Minimum kernel version
    ///
    /// Linux 6.7 with CONFIG_NETKIT.
    pub fn attach_netkit(
        &self,
        interface: Interface,
        side: NetkitSide,
        order: Order<'_>,
    ) -> Result<Link, Error> {
        let (attach_type, word) = match side {
            NetkitSide::Primary => (AttachType::NetkitPrimary, "primary"),
            NetkitSide::Peer => (AttachType::NetkitPeer, "peer"),
        };
        let target = format!("netkit:{}:{word}", interface.0);
        let since = "Linux 6.7 with CONFIG_NETKIT";
        self.attach_interface(interface, attach_type, order, &target, since)
    }

    fn attach_interface(
        &self,
        interface: Interface,
        attach_type: AttachType,
        order: Order<'_>,
        target: &str,
        since: &'static str,
    ) -> Result<Link, Error> {
        self.must_be(ProgramType::SchedCls, "an interface")?;
        let create = |interface, order| {
            self.kernel.link_create(LinkCreate {
                program: self.as_fd(),
                attach_type: attach_type as u32,
                target: LinkTarget::Interface { interface, order },
            })
        };
        let fd = create(interface.0, order).map_err(|errno| match errno {
            Errno::NODEV => no_interface(interface),
            Errno::INVAL | Errno::TOO_BIG
                if create(NO_INTERFACE, Order::Unsaid).err() != Some(Errno::NODEV) =>
            {
                let word = target.split(':').next().unwrap_or_default();
                Error::unsupported(format!("{word} hooks"), since)
            }
            errno => self.failed("BPF_LINK_CREATE", errno, target),
        })?;
        Ok(Link::of(&self.kernel, fd, target))
    }
}

/// Takes an XDP program off an interface, if it is still the one there.
pub(super) fn take_off(
    kernel: &SharedKernel,
    interface: Interface,
    mode: XdpMode,
    program: i32,
) -> Result<(), Error> {
    const REPLACE: u32 = 1 << 4;
    let request = xdp_request(interface, |xdp| {
        xdp.attribute(1, &(-1i32).to_ne_bytes())
            .number(3, mode.flags() | REPLACE)
            .attribute(8, &program.to_ne_bytes())
    });
    request.send(&**kernel).map(drop)
}

/// `RTM_SETLINK` with what `fill` says of XDP.
fn xdp_request(interface: Interface, fill: impl FnOnce(Request) -> Request) -> Request {
    const SETLINK: u16 = 19;
    const IFLA_XDP: u16 = 43;
    // struct ifinfomsg: family, type, index, flags, change.
    let mut fixed = [0; 16];
    fixed[4..8].copy_from_slice(&interface.0.to_ne_bytes());
    Request::new("RTM_SETLINK", SETLINK, 0, &fixed).nested(IFLA_XDP | NESTED, fill)
}

pub(super) fn no_interface(interface: Interface) -> Error {
    Error::not_found("network interface with number", interface.0.to_string())
}

fn no_driver(mode: XdpMode) -> Error {
    Error::Unsupported {
        feature: format!("XDP of mode {mode:?} in this interface's driver"),
        since: None,
    }
}
