//! Address groups: the unit in which clients are counted by address.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The length of the prefix that identifies an IPv6 network. Providers assign at least a /64 to a
/// customer, so limits on single addresses would have no effect.
const IPV6_PREFIX_BITS: u32 = 64;

/// Addresses that count as one client: a single IPv4 address, or an IPv6 /64 network. An IPv4
/// address that is mapped to IPv6, as dual-stack sockets report it, counts as the IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct AddressGroup(IpAddr);

impl From<IpAddr> for AddressGroup {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = u128::from(address) & (u128::MAX << (128 - IPV6_PREFIX_BITS));
                IpAddr::V6(Ipv6Addr::from(network))
            }
            address => address,
        })
    }
}

impl From<SocketAddr> for AddressGroup {
    fn from(address: SocketAddr) -> Self {
        address.ip().into()
    }
}

impl fmt::Display for AddressGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(network) => write!(f, "{network}/{IPV6_PREFIX_BITS}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(address: &str) -> AddressGroup {
        address.parse::<IpAddr>().expect("an address").into()
    }

    #[test]
    fn ipv6_addresses_are_counted_by_64_network() {
        assert_eq!(group("2001:db8:1:2::1"), group("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(group("2001:db8:1:2::1"), group("2001:db8:1:3::1"));
        assert_eq!(group("2001:db8:1:2::1").to_string(), "2001:db8:1:2::/64");
    }

    #[test]
    fn ipv4_addresses_are_counted_one_by_one() {
        assert_ne!(group("192.0.2.1"), group("192.0.2.2"));
        assert_eq!(group("192.0.2.1").to_string(), "192.0.2.1");
    }

    #[test]
    fn mapped_ipv4_address_is_counted_as_ipv4() {
        assert_eq!(group("::ffff:192.0.2.1"), group("192.0.2.1"));
        assert_ne!(group("::ffff:192.0.2.1"), group("::ffff:192.0.2.2"));
        assert_ne!(group("::1"), group("127.0.0.1"));
    }
}
