//! Trusted reverse proxies, which say where a request comes from.
//!
//! Every proxy appends an entry to a header, and the client may have sent that header, too. So
//! entries are read from the last to the first, and only as long as a trusted proxy wrote them:
//! everything before could be forged.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::header::FORWARDED;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::address::AddressGroup;
use crate::peer_info::PeerAddress;
use crate::service::Service;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The reverse proxies that a service trusts to report the addresses of clients, and the header in
/// which they do. See [`Service::trusted_proxies`](crate::Service::trusted_proxies).
///
/// ```
/// use bowline_server::TrustedProxies;
///
/// let proxies = TrustedProxies::x_forwarded_for(["10.0.0.0/8", "fd00::/8", "127.0.0.1"]);
/// # drop(proxies);
/// ```
#[derive(Clone, Debug)]
pub struct TrustedProxies {
    networks: Vec<Network>,
    header: Header,
}

/// The header that is read. It is only one, because a proxy that writes one passes on the other as
/// the client sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Header {
    Forwarded,
    XForwardedFor,
    /// Not an HTTP header: it precedes the first request of each connection.
    ProxyProtocol,
}

/// Addresses with a common prefix. IPv4 addresses are mapped to IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    bits: u128,
    mask: u128,
}

impl TrustedProxies {
    /// Trusts the header `Forwarded` (RFC 7239) of proxies in these networks. A network is a single
    /// address, or an address and the length of a prefix, as in `10.0.0.0/8`. The proxies must
    /// append an element with `for`, or replace the header.
    ///
    /// # Panics
    /// Panics if a value is not a network.
    pub fn forwarded<N: AsRef<str>>(networks: impl IntoIterator<Item = N>) -> Self {
        Self::new(networks, Header::Forwarded)
    }

    /// Trusts the header `X-Forwarded-For` of proxies in these networks. A network is a single
    /// address, or an address and the length of a prefix, as in `10.0.0.0/8`. The proxies must
    /// append the address of their client, or replace the header.
    ///
    /// # Panics
    /// Panics if a value is not a network.
    pub fn x_forwarded_for<N: AsRef<str>>(networks: impl IntoIterator<Item = N>) -> Self {
        Self::new(networks, Header::XForwardedFor)
    }

    /// Trusts the header of the PROXY protocol, version 1 or 2, of load balancers in these
    /// networks. A network is a single address, or an address and the length of a prefix, as in
    /// `10.0.0.0/8`.
    ///
    /// Each connection of a load balancer must begin with a header of at most
    /// [`HttpLimits::header_bytes`](crate::HttpLimits::header_bytes), within
    /// [`HttpLimits::handshake`](crate::HttpLimits::handshake), or is closed. Connections from
    /// other addresses must not have one.
    ///
    /// This works with [`Service::listen`] and [`Service::serve`]. A service that is mounted in
    /// another server does not see the connection, and takes the address from [`PeerAddress`].
    ///
    /// # Panics
    /// Panics if a value is not a network.
    pub fn proxy_protocol<N: AsRef<str>>(networks: impl IntoIterator<Item = N>) -> Self {
        Self::new(networks, Header::ProxyProtocol)
    }

    fn new<N: AsRef<str>>(networks: impl IntoIterator<Item = N>, header: Header) -> Self {
        let parse = |network: N| {
            let network = network.as_ref();
            Network::parse(network)
                .unwrap_or_else(|| panic!("{network:?} is not a network: write \"10.0.0.1\" or \"10.0.0.0/8\""))
        };
        Self { networks: networks.into_iter().map(parse).collect(), header }
    }

    /// Whether a connection from `address` begins with a PROXY header.
    pub(crate) fn precede_connections_from(&self, address: IpAddr) -> bool {
        self.header == Header::ProxyProtocol && self.trusts(address)
    }

    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    /// Returns the address of the client of a request that arrived from `connection`. The port is 0
    /// if the proxy does not report it. If an entry is not an address, the request counts as that
    /// of the proxy which wrote the entry.
    pub(crate) fn client(&self, connection: SocketAddr, headers: &HeaderMap) -> SocketAddr {
        let mut client = connection;
        if !self.trusts(client.ip()) {
            return client;
        }
        let lines = match self.header {
            Header::Forwarded => headers.get_all(FORWARDED),
            Header::XForwardedFor => headers.get_all(X_FORWARDED_FOR),
            Header::ProxyProtocol => return client,
        };
        for line in lines.iter().rev() {
            let Some(entries) = self.entries(line) else { return client };
            for entry in entries.into_iter().rev() {
                let Some(address) = entry.as_deref().and_then(parse_node) else { return client };
                client = address;
                if !self.trusts(client.ip()) {
                    return client;
                }
            }
        }
        client
    }

    /// Returns the client of each entry of a header line, or `None` if the line is malformed.
    fn entries(&self, line: &HeaderValue) -> Option<Vec<Option<String>>> {
        let line = line.to_str().ok()?;
        match self.header {
            Header::Forwarded => parse_forwarded(line),
            Header::XForwardedFor | Header::ProxyProtocol => {
                Some(line.split(',').map(|entry| Some(entry.trim().to_owned())).collect())
            }
        }
    }
}

impl Service {
    /// Trusts these reverse proxies to report the addresses of clients.
    ///
    /// Limits per address, [`Peer::address`](crate::Peer::address), and the log then see the client
    /// instead of the proxy. The proxy itself may open any number of connections, up to
    /// [`HttpLimits::connections`](crate::HttpLimits::connections). By default, the address is that
    /// of the connection. A service that is mounted in another server needs a [`PeerAddress`] for
    /// this.
    #[must_use]
    pub fn trusted_proxies(mut self, proxies: TrustedProxies) -> Self {
        self.proxies = Some(proxies);
        self
    }

    /// Returns the address group of a connection, or `None` if it is a trusted proxy's.
    pub(crate) fn address_group(&self, connection: SocketAddr) -> Option<AddressGroup> {
        let is_proxy = self.proxies.as_ref().is_some_and(|proxies| proxies.trusts(connection.ip()));
        (!is_proxy).then(|| connection.into())
    }

    /// Returns the address group of the client, and puts the address into the request if a proxy
    /// reported it.
    pub(crate) fn find_client(&self, request: &mut Parts) -> Option<AddressGroup> {
        let PeerAddress(connection) = *request.extensions.get()?;
        let client = self.proxies.as_ref().map_or(connection, |proxies| proxies.client(connection, &request.headers));
        if client != connection {
            request.extensions.insert(PeerAddress(client));
        }
        Some(client.into())
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address = address.parse::<IpAddr>().ok()?;
        let (bits, before) = match address {
            IpAddr::V4(address) => (u128::from(address.to_ipv6_mapped()), 96),
            IpAddr::V6(address) => (u128::from(address), 0),
        };
        let length = match length {
            Some(length) if length.bytes().all(|byte| byte.is_ascii_digit()) => length.parse::<u32>().ok()?,
            Some(_) => return None,
            None => 128 - before,
        };
        let host_bits = 128_u32.checked_sub(before + length)?;
        let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
        Some(Self { bits: bits & mask, mask })
    }

    fn contains(&self, address: IpAddr) -> bool {
        let bits = match address {
            IpAddr::V4(address) => u128::from(address.to_ipv6_mapped()),
            IpAddr::V6(address) => u128::from(address),
        };
        bits & self.mask == self.bits
    }
}

/// Parses an address with or without a port, IPv6 with or without brackets. `unknown` and
/// obfuscated names (RFC 7239, section 6.3) are not addresses.
fn parse_node(node: &str) -> Option<SocketAddr> {
    let bracketed = || node.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    let address = node.parse::<IpAddr>().ok().or_else(|| bracketed().map(IpAddr::from));
    address.map(|address| SocketAddr::new(address, 0)).or_else(|| node.parse().ok())
}

/// Returns the `for` of each element of a line, or `None` if it does not follow RFC 7239, section
/// 4.
fn parse_forwarded(line: &str) -> Option<Vec<Option<String>>> {
    let mut elements = Vec::new();
    let mut rest = line;
    loop {
        let mut node = None;
        loop {
            rest = rest.trim_start_matches([' ', '\t']);
            if !rest.is_empty() && !rest.starts_with([';', ',']) {
                let (name, value, after) = parse_pair(rest)?;
                if name.eq_ignore_ascii_case("for") && node.replace(value).is_some() {
                    // A parameter may occur only once.
                    return None;
                }
                rest = after.trim_start_matches([' ', '\t']);
            }
            match rest.strip_prefix(';') {
                Some(after) => rest = after,
                None => break,
            }
        }
        elements.push(node);
        if rest.is_empty() {
            return Some(elements);
        }
        rest = rest.strip_prefix(',')?;
    }
}

/// Parses `name=value` with an optionally quoted value. Returns the remaining text, too.
fn parse_pair(text: &str) -> Option<(&str, String, &str)> {
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    let (name, text) = text.split_once('=')?;
    if !is_token(name) {
        return None;
    }
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ',', ' ', '\t']).unwrap_or(text.len());
        // Many proxies omit the quotes that a port or an IPv6 address requires.
        let is_bare = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'=');
        return text[..end].bytes().all(is_bare).then(|| (name, text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((name, value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            char => value.push(char),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(proxies: &TrustedProxies, from: &str, lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            let name = if proxies.header == Header::Forwarded { FORWARDED } else { X_FORWARDED_FOR };
            headers.append(name, HeaderValue::from_str(line).expect("a header"));
            // The client sent the other header.
            let other = if proxies.header == Header::Forwarded { X_FORWARDED_FOR } else { FORWARDED };
            headers.append(other, HeaderValue::from_static("for=203.0.113.66"));
        }
        proxies.client(SocketAddr::new(from.parse().expect("an address"), 9), &headers).ip().to_string()
    }

    #[test]
    fn last_entry_that_a_trusted_proxy_wrote_counts() {
        let proxies = TrustedProxies::x_forwarded_for(["10.0.0.0/8", "fd00::1"]);
        for (from, lines, expected) in [
            ("10.0.0.1", &["192.0.2.1"][..], "192.0.2.1"),
            ("10.0.0.1", &["6.6.6.6, 192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", &["6.6.6.6", "192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", &["6.6.6.6,192.0.2.1, 10.9.9.9"], "192.0.2.1"),
            ("10.0.0.1", &["192.0.2.1", "10.9.9.9"], "192.0.2.1"),
            ("::ffff:10.0.0.1", &["192.0.2.1"], "192.0.2.1"),
            ("fd00::1", &["2001:db8::1"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1", &["192.0.2.1:4711"], "192.0.2.1"),
            // If an entry cannot be a proxy's, the request counts as that of the proxy that passed
            // it on.
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &["192.0.2.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["192.0.2.1,, 10.9.9.9"], "10.9.9.9"),
            // The header of a client that is not a trusted proxy is ignored.
            ("192.0.2.7", &["192.0.2.1"], "192.0.2.7"),
            ("fd00::2", &["192.0.2.1"], "fd00::2"),
            ("11.0.0.1", &["192.0.2.1"], "11.0.0.1"),
        ] {
            assert_eq!(client(&proxies, from, lines), expected, "{from} {lines:?}");
        }
    }

    #[test]
    fn forwarded_is_parsed_as_in_rfc_7239() {
        let proxies = TrustedProxies::forwarded(["10.0.0.0/8"]);
        for (lines, expected) in [
            (&["for=192.0.2.1"][..], "192.0.2.1"),
            (&["For=192.0.2.1;proto=http;by=203.0.113.43"], "192.0.2.1"),
            (&["proto=https; FOR=\"192.0.2.1:4711\" ;host=example.com"], "192.0.2.1"),
            (&["for=\"[2001:db8:cafe::17]:4711\""], "2001:db8:cafe::17"),
            (&["for=\"[2001:db8:cafe::17]\""], "2001:db8:cafe::17"),
            (&["for=[2001:db8:cafe::17]:4711"], "2001:db8:cafe::17"),
            (&["for=6.6.6.6, for=192.0.2.1, for=10.2.2.2"], "192.0.2.1"),
            (&["for=6.6.6.6", "for=192.0.2.1;host=\"a,b;c\\\"d\""], "192.0.2.1"),
            (&["for=\"192.0.2.\\1\""], "192.0.2.1"),
            // Names, and elements without a client.
            (&["for=192.0.2.1, for=unknown"], "10.0.0.1"),
            (&["for=192.0.2.1, for=_gazonk"], "10.0.0.1"),
            (&["for=192.0.2.1, proto=https"], "10.0.0.1"),
            (&["for=192.0.2.1,"], "10.0.0.1"),
            // A client cannot hide or add an entry by what it sent before.
            (&["for=\"6.6.6.6", "for=192.0.2.1"], "192.0.2.1"),
            (&["for=\"6.6.6.6, for=192.0.2.1"], "10.0.0.1"),
            (&["for=6.6.6.6;x=\", for=\"[2001:db8::1]\""], "10.0.0.1"),
            (&["for=192.0.2.1;for=6.6.6.6"], "10.0.0.1"),
            (&["for=192.0.2.1 6.6.6.6"], "10.0.0.1"),
            (&["for = 192.0.2.1"], "10.0.0.1"),
            (&["=192.0.2.1"], "10.0.0.1"),
            (&["192.0.2.1"], "10.0.0.1"),
        ] {
            assert_eq!(client(&proxies, "10.0.0.1", lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn networks_are_parsed_as_addresses_and_prefixes() {
        let contains = |network: &str, address: &str| {
            Network::parse(network).expect(network).contains(address.parse().expect("an address"))
        };
        assert!(contains("0.0.0.0/0", "192.0.2.1") && !contains("0.0.0.0/0", "2001:db8::1"));
        assert!(contains("::/0", "2001:db8::1") && contains("10.0.0.0/31", "10.0.0.1"));
        assert!(contains("10.1.2.3/8", "10.200.0.1") && !contains("10.0.0.0/31", "10.0.0.2"));
        assert!(contains("10.0.0.1", "::ffff:10.0.0.1") && contains("2001:db8::/32", "2001:db8:ffff::1"));
        for malformed in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/+8", "example.com", "[::1]"] {
            assert_eq!(Network::parse(malformed), None, "{malformed}");
        }
    }
}
