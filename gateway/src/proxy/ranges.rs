//! Addresses that no provider's server has: those of this machine, of networks behind it, and of nobody.
//!
//! After the IANA special-purpose registries (RFC 6890). A proxy that connects there for whoever asks would be a door into
//! the network behind the firewall.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

const V4: [(Ipv4Net, &str); 15] = [
    (v4([0, 0, 0, 0], 8), "an unspecified address"),
    (v4([10, 0, 0, 0], 8), "a private address"),
    (v4([100, 64, 0, 0], 10), "a carrier's private address"),
    (v4([127, 0, 0, 0], 8), "a loopback address"),
    (v4([169, 254, 0, 0], 16), "a link-local address"),
    (v4([172, 16, 0, 0], 12), "a private address"),
    (v4([192, 0, 0, 0], 24), "a reserved address"),
    (v4([192, 0, 2, 0], 24), "an address for documentation"),
    (v4([192, 88, 99, 0], 24), "a reserved address"),
    (v4([192, 168, 0, 0], 16), "a private address"),
    (v4([198, 18, 0, 0], 15), "a reserved address"),
    (v4([198, 51, 100, 0], 24), "an address for documentation"),
    (v4([203, 0, 113, 0], 24), "an address for documentation"),
    (v4([224, 0, 0, 0], 4), "a multicast address"),
    (v4([240, 0, 0, 0], 4), "a reserved address"),
];

/// Of what is not 2000::/3, all is reserved; these have better names.
const V6: [(Ipv6Net, &str); 12] = [
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), "an unspecified address"),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), "a loopback address"),
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), "a private address"),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), "a private address"),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), "a link-local address"),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), "a private address"),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), "a multicast address"),
    // IETF protocols, Teredo among them.
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), "a reserved address"),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), "an address for documentation"),
    // 6to4 leads to any IPv4 address.
    (v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), "a reserved address"),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), "an address for documentation"),
    (v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16), "a reserved address"),
];

const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);
/// RFC 6052 §2.1: how an IPv6-only network writes an IPv4 address.
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6([a, b, c, d, e, f, g, h]: [u16; 8], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

/// The IPv4 address that a connection to `address` leads to, when it is written as an IPv6 one (mapped, or NAT64); else
/// the address itself.
pub(super) fn meant(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if NAT64.contains(&v6) => {
            let [.., a, b, c, d] = v6.octets();
            Ipv4Addr::new(a, b, c, d).into()
        }
        canonical => canonical,
    }
}

/// What kind of address it is, when it is none of the public internet.
pub(super) fn reserved(address: IpAddr) -> Option<&'static str> {
    match meant(address) {
        IpAddr::V4(address) => V4.iter().find(|(range, _)| range.contains(&address)).map(|(_, kind)| *kind),
        IpAddr::V6(address) => {
            let named = V6.iter().find(|(range, _)| range.contains(&address)).map(|(_, kind)| *kind);
            named.or_else(|| (!GLOBAL_V6.contains(&address)).then_some("a reserved address"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the first and last address of each range is found, the ones beside it are not.
    #[test]
    fn every_range_has_its_borders() {
        for (inside, outside) in [
            (["0.0.0.0", "0.255.255.255"], ["1.0.0.0", "255.255.255.255"]),
            (["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0"]),
            (["100.64.0.0", "100.127.255.255"], ["100.63.255.255", "100.128.0.0"]),
            (["127.0.0.1", "127.255.255.255"], ["126.255.255.255", "128.0.0.0"]),
            (["169.254.0.0", "169.254.169.254"], ["169.253.255.255", "169.255.0.0"]),
            (["172.16.0.0", "172.31.255.255"], ["172.15.255.255", "172.32.0.0"]),
            (["192.168.0.0", "192.168.255.255"], ["192.167.255.255", "192.169.0.0"]),
            (["192.0.0.0", "192.0.0.255"], ["191.255.255.255", "192.0.1.0"]),
            (["192.0.2.0", "192.0.2.255"], ["192.0.1.255", "192.0.3.0"]),
            (["192.88.99.0", "192.88.99.255"], ["192.88.98.255", "192.88.100.0"]),
            (["198.18.0.0", "198.19.255.255"], ["198.17.255.255", "198.20.0.0"]),
            (["198.51.100.0", "198.51.100.255"], ["198.51.99.255", "198.51.101.0"]),
            (["203.0.113.0", "203.0.113.255"], ["203.0.112.255", "203.0.114.0"]),
            (["224.0.0.0", "255.255.255.255"], ["223.255.255.255", "1.1.1.1"]),
            (["2001::", "2001:1ff:ffff::"], ["2001:200::", "2000:ffff::"]),
            (["2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"], ["2001:db7::", "2001:db9::"]),
            (["2002::", "2002:ffff::"], ["2001:ffff::", "2003::"]),
            (["3fff::", "3fff:fff:ffff::"], ["3ffe::", "3fff:1000::"]),
        ] {
            for address in inside {
                assert!(reserved(address.parse().unwrap()).is_some(), "{address}");
            }
            for address in outside.iter().filter(|address| **address != "255.255.255.255") {
                assert_eq!(reserved(address.parse().unwrap()), None, "{address}");
            }
        }
    }

    #[test]
    fn nothing_but_global_unicast_is_public() {
        for address in [
            "::",
            "::1",
            "::7f00:1",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "100::1",
            "4000::",
            "5f00::1",
            "64:ff9b:1::1",
            "64:ff9b:2::1",
        ] {
            assert!(reserved(address.parse().unwrap()).is_some(), "{address}");
        }
        for address in ["2606:4700::1111", "2a00:1450:4001::1", "2400::1"] {
            assert_eq!(reserved(address.parse().unwrap()), None, "{address}");
        }
    }

    /// Goal: an IPv4 address is judged as itself, however IPv6 writes it.
    #[test]
    fn ipv4_in_ipv6_is_ipv4() {
        for address in [
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "64:ff9b::10.0.0.1",
            "64:ff9b::127.0.0.1",
            "::ffff:169.254.169.254",
        ] {
            assert!(reserved(address.parse().unwrap()).is_some(), "{address}");
        }
        for address in ["::ffff:1.1.1.1", "64:ff9b::1.1.1.1"] {
            let address = address.parse().unwrap();
            assert_eq!((reserved(address), meant(address)), (None, "1.1.1.1".parse().unwrap()));
        }
    }
}
