//! The network of a capture: one interface, its address and the way to others, by rtnetlink(7).

use std::ffi::CString;

use kscope_sys::{Call, Errno, Kernel, RealKernel, Reply};

use super::settings::Settings;
use super::{say, wait};
use crate::Error;
use crate::network::Address;
use crate::root::Root;

/// Message types of linux/rtnetlink.h.
const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
/// `NLM_F_REQUEST` and `NLM_F_ACK`; where something is made, `NLM_F_CREATE` and `NLM_F_REPLACE`, which
/// links do not take.
const FLAGS: u16 = 1 | 4;
const MAKE: u16 = 0x400 | 0x100;
const AF_INET: u8 = 2;

/// Sets up the interface that `ip=` of the kernel's command line names.
pub(super) fn set_up(root: &Root, command_line: &str, settings: &Settings) -> Result<(), Error> {
    let words = command_line.split_whitespace();
    let ip = words
        .filter_map(|word| word.strip_prefix("ip="))
        .next_back();
    let ip = ip.ok_or_else(|| {
        Error::missing(
            "the command line has no ip=",
            "`kscope kdump load` makes one; write `ip` into /etc/kscope/kdump.conf",
        )
    })?;
    let address = Address::parse(ip).map_err(Error::malformed)?;
    let name = wait(settings.wait, || {
        find(root, &address.device, settings.mac.as_deref())
    });
    let name = name.ok_or_else(|| {
        let names = root.names("/sys/class/net").join(", ");
        Error::missing(
            format!(
                "no network interface {} (there are: {names})",
                address.device
            ),
            "its driver did not load: see the kernel's messages above",
        )
    })?;
    let kernel: &dyn Kernel = &RealKernel;
    let index = CString::new(name.clone())
        .ok()
        .and_then(|name| match kernel.call(Call::InterfaceIndex(&name)) {
            Ok(Reply::Number(index)) => u32::try_from(index).ok(),
            _ => None,
        })
        .ok_or_else(|| Error::malformed(format!("{name} has no number")))?;
    let client = address.client.octets();
    let mut header = vec![AF_INET, address.prefix, 0, 0];
    header.extend(index.to_ne_bytes());
    // IFA_LOCAL 2, IFA_ADDRESS 1.
    ask(NEW_ADDRESS, &header, &[(2, &client), (1, &client)])?;
    // struct ifinfomsg: family, pad, type, index, flags and which of them change; IFF_UP is 1.
    let mut header = vec![0, 0, 0, 0];
    header.extend([index, 1, 1].iter().flat_map(|word| word.to_ne_bytes()));
    ask(NEW_LINK, &header, &[])?;
    if let Some(gateway) = address.gateway {
        // struct rtmsg: family, lengths of both parts, tos, table main 254, protocol boot 3, scope
        // universe 0, type unicast 1, flags: RTNH_F_ONLINK 4, since clouds have gateways outside of the network.
        let mut header = vec![AF_INET, 0, 0, 0, 254, 3, 0, 1];
        header.extend(4u32.to_ne_bytes());
        // RTA_GATEWAY 5, RTA_OIF 4.
        ask(
            NEW_ROUTE,
            &header,
            &[(5, &gateway.octets()), (4, &index.to_ne_bytes())],
        )?;
    }
    say(format_args!(
        "{name} has the address {}/{}",
        address.client, address.prefix
    ));
    Ok(())
}

/// Finds an interface by its hardware address, or by its name.
fn find(root: &Root, name: &str, mac: Option<&str>) -> Option<String> {
    let names = root.names("/sys/class/net");
    let has_mac = |name: &&String| {
        let address = root.text(format!("/sys/class/net/{name}/address"));
        mac.is_some() && address.ok().as_deref() == mac
    };
    let by_mac = names.iter().filter(|name| *name != "lo").find(has_mac);
    by_mac
        .or_else(|| names.iter().find(|known| *known == name))
        .cloned()
}

/// Sends one request and reads the kernel's verdict.
fn ask(kind: u16, header: &[u8], attributes: &[(u16, &[u8])]) -> Result<(), Error> {
    let mut message = vec![0; 16];
    message.extend(header);
    for (attribute, value) in attributes {
        message.extend((value.len() as u16 + 4).to_ne_bytes());
        message.extend(attribute.to_ne_bytes());
        message.extend(*value);
        message.resize(message.len().next_multiple_of(4), 0);
    }
    let length = message.len() as u32;
    let flags = FLAGS | if kind == NEW_LINK { 0 } else { MAKE };
    message[..4].copy_from_slice(&length.to_ne_bytes());
    message[4..6].copy_from_slice(&kind.to_ne_bytes());
    message[6..8].copy_from_slice(&flags.to_ne_bytes());
    let kernel: &dyn Kernel = &RealKernel;
    let verdict = match kernel.call(Call::Netlink(&message)) {
        Ok(Reply::Bytes(answer)) => verdict(&answer),
        Ok(_) => Err(Errno::IO),
        Err(errno) => Err(errno),
    };
    match verdict {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(Error::Refused {
            call: "netlink",
            errno,
            means: "the network interface cannot be set up",
            way_out: "check `ip` in /etc/kscope/kdump.conf",
        }),
    }
}

/// Reads the error of the last message: `struct nlmsgerr` after its header.
fn verdict(answer: &[u8]) -> Result<(), Errno> {
    let number = answer.get(16..).and_then(<[u8]>::first_chunk);
    match number.map(|bytes| i32::from_ne_bytes(*bytes)) {
        Some(0) => Ok(()),
        Some(number) => Err(Errno(-number)),
        None => Err(Errno::IO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Tree;

    #[test]
    fn an_interface_keeps_its_hardware_address_and_not_its_name() {
        let tree = Tree::new("interface");
        tree.write("sys/class/net/eth0/address", "52:54:00:00:00:01\n");
        tree.write("sys/class/net/eth1/address", "52:54:00:00:00:02\n");
        let check = |name, mac, expected: Option<&str>| {
            assert_eq!(
                find(&tree.root(), name, mac).as_deref(),
                expected,
                "{name} {mac:?}"
            );
        };
        check("ens3", Some("52:54:00:00:00:02"), Some("eth1"));
        check("eth0", None, Some("eth0"));
        check("ens3", None, None);
    }

    #[test]
    fn verdicts() {
        let mut answer = vec![0; 36];
        assert_eq!(verdict(&answer), Ok(()));
        answer[16..20].copy_from_slice(&(-17i32).to_ne_bytes());
        assert_eq!(verdict(&answer), Err(Errno::EXIST));
        assert_eq!(verdict(&answer[..18]), Err(Errno::IO));
    }
}
