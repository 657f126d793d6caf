//! The address of the capture kernel, in the notation of the kernel's `ip=`.

use std::net::Ipv4Addr;

/// An address with what is needed to reach others
/// (the kernel's Documentation/admin-guide/nfs/nfsroot.rst).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub client: Ipv4Addr,
    /// Who knows the way to other networks.
    pub gateway: Option<Ipv4Addr>,
    /// The length of the network's part.
    pub prefix: u8,
    /// The network interface.
    pub device: String,
}

impl Address {
    /// Reads `client:server:gateway:netmask:host:device:off`.
    ///
    /// # Errors
    /// Says which part is none.
    pub fn parse(text: &str) -> Result<Address, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let part = |at: usize| parts.get(at).copied().unwrap_or_default();
        let address = |at: usize, what: &str| {
            let parsed = part(at).parse::<Ipv4Addr>();
            parsed.map_err(|_| format!("the {what} `{}` is no IPv4 address", part(at)))
        };
        let client = address(0, "client's address")?;
        let gateway = match part(2) {
            "" => None,
            _ => Some(address(2, "gateway's address")?),
        };
        let mask = u32::from(address(3, "netmask's address")?);
        if mask.leading_ones() != mask.count_ones() {
            return Err(format!("the netmask `{}` has a gap", part(3)));
        }
        let device = part(5);
        let fine = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if device.is_empty() || device.len() > 15 || !device.bytes().all(fine) {
            return Err(format!("`{device}` is no network interface"));
        }
        if !matches!(part(6), "" | "off" | "none") {
            return Err(format!(
                "`{}`: an address that is asked for is not supported",
                part(6)
            ));
        }
        Ok(Address {
            client,
            gateway,
            prefix: mask.leading_ones() as u8,
            device: device.to_owned(),
        })
    }

    /// Gives the netmask.
    #[must_use]
    pub fn mask(&self) -> Ipv4Addr {
        let bits = u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32)));
        Ipv4Addr::from(bits.unwrap_or(0))
    }

    /// Writes it as the kernel reads it.
    #[must_use]
    pub fn text(&self) -> String {
        let gateway = self.gateway.map(|gateway| gateway.to_string());
        format!(
            "{}::{}:{}::{}:off",
            self.client,
            gateway.unwrap_or_default(),
            self.mask(),
            self.device
        )
    }
}

/// A line of /proc/net/route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) device: String,
    pub(crate) network: Ipv4Addr,
    pub(crate) mask: u32,
    pub(crate) gateway: Option<Ipv4Addr>,
}

/// Reads /proc/net/route, whose numbers are of the host's byte order.
pub(crate) fn routes(text: &str) -> Vec<Route> {
    let lines = text.lines().skip(1);
    let route = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let hex = |at: usize| {
            let number = u32::from_str_radix(words.get(at)?, 16).ok()?;
            Some(u32::from_be(number))
        };
        let gateway = hex(2)?;
        Some(Route {
            device: (*words.first()?).to_owned(),
            network: Ipv4Addr::from(hex(1)?),
            mask: hex(7)?,
            gateway: (gateway != 0).then(|| Ipv4Addr::from(gateway)),
        })
    };
    lines.filter_map(route).collect()
}

/// Gives the route that a packet to an address takes: the one with the longest mask.
pub(crate) fn route_to(routes: &[Route], to: Ipv4Addr) -> Option<&Route> {
    let fits = |route: &&Route| u32::from(to) & route.mask == u32::from(route.network);
    routes.iter().filter(fits).max_by_key(|route| route.mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let text = "10.0.2.15::10.0.2.2:255.255.255.0::eth0:off";
        let address = Address::parse(text).expect("an address");
        assert_eq!((address.prefix, address.text()), (24, text.to_owned()));
        let check = |text: &str, what: &str| {
            let error = Address::parse(text).expect_err(text);
            assert!(error.contains(what), "{error}");
        };
        check("dhcp", "client's address");
        check("10.0.2.15:::255.0.255.0::eth0:off", "gap");
        check("10.0.2.15:::255.255.255.0:::off", "no network interface");
        check("10.0.2.15:::255.255.255.0::eth0:dhcp", "not supported");
    }

    #[test]
    fn the_longest_mask_wins() {
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t0202000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            eth1\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let routes = routes(text);
        let to = |address: [u8; 4]| route_to(&routes, address.into()).map(|route| &*route.device);
        assert_eq!(to([10, 0, 2, 9]), Some("eth1"));
        assert_eq!(to([8, 8, 8, 8]), Some("eth0"));
        assert_eq!(routes[0].gateway, Some([10, 0, 2, 2].into()));
    }
}
