//! Hosts and origins, as browsers write them into `Host` and `Origin` headers.
//!
//! Two spellings of a host are equal only if browsers treat them as equal: case and the spelling of
//! an IPv6 address do not matter, a trailing dot does. Malformed text is refused as a whole, so
//! that parts of a header are never compared.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The maximum length of a DNS name, with a trailing dot.
const NAME_BYTES_MAX: usize = 254;

/// A host: a name in lower case, or an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Name(String),
    Address(IpAddr),
}

/// A host and an optional port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPort {
    pub(crate) host: Host,
    pub(crate) port: Option<u16>,
}

/// The origin of a page (RFC 6454).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: String,
    host: Host,
    /// `None` for the default port of the scheme.
    port: Option<u16>,
}

impl Host {
    /// Parses a host. Returns `None` if the text is neither an address nor a name of ASCII letters,
    /// digits, `-`, `_`, and `.`. International names are sent as Punycode.
    fn parse(text: &str) -> Option<Self> {
        if let Some(bracketed) = text.strip_prefix('[') {
            let address = bracketed.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?;
            return Some(Self::Address(address.into()));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Some(Self::Address(address.into()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        let is_name = text.len() <= NAME_BYTES_MAX && name.split('.').all(is_label);
        is_name.then(|| Self::Name(text.to_ascii_lowercase()))
    }

    /// Returns whether the host is this machine in any case. `localhost` and the names below it
    /// cannot be registered (RFC 6761, section 6.3).
    pub(crate) fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                name == "localhost" || name.ends_with(".localhost")
            }
            Self::Address(address) => address.to_canonical().is_loopback(),
        }
    }
}

impl HostPort {
    /// Parses `host` or `host:port`. Returns `None` for anything else, such as a text with a user
    /// name or a path.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        // The colons of an IPv6 address are inside of its brackets.
        let colon = text.rfind(':').filter(|colon| text.rfind(']').is_none_or(|bracket| bracket < *colon));
        let (host, port) = match colon {
            Some(colon) => (&text[..colon], Some(&text[colon + 1..])),
            None => (text, None),
        };
        let port = match port {
            // RFC 3986 allows a colon without digits.
            None | Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
            Some(_) => return None,
        };
        Some(Self { host: Host::parse(host)?, port })
    }
}

impl Origin {
    /// Parses an origin. Returns `None` for `null`, lists, and everything else that is not a single
    /// origin.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
        if !is_scheme || rest.ends_with(':') {
            return None;
        }
        let scheme = scheme.to_ascii_lowercase();
        let HostPort { host, port } = HostPort::parse(rest)?;
        let port = port.filter(|port| Some(*port) != default_port(&scheme));
        Some(Self { scheme, host, port })
    }

    /// Returns whether a page of this origin was served by `host`, over HTTP or HTTPS: behind a
    /// proxy that terminates TLS, the server itself sees only HTTP. An absent port is the default
    /// port of the page's scheme, on both sides.
    pub(crate) fn is_at(&self, host: &HostPort) -> bool {
        default_port(&self.scheme).is_some_and(|default| {
            self.host == host.host && self.port.unwrap_or(default) == host.port.unwrap_or(default)
        })
    }
}

/// Returns the default port of a scheme, if web pages can have it.
fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_at(origin: &str, host: &str) -> bool {
        let host = HostPort::parse(host).expect("a host");
        Origin::parse(origin).is_some_and(|origin| origin.is_at(&host))
    }

    #[test]
    fn origin_is_compared_by_host_and_port() {
        for (origin, host) in [
            ("http://example.com", "example.com"),
            ("https://example.com", "example.com"),
            ("https://example.com", "example.com:443"),
            ("https://example.com:443", "example.com"),
            ("http://example.com:80", "example.com"),
            ("http://example.com", "example.com:"),
            ("https://EXAMPLE.com", "Example.COM"),
            ("HTTPS://example.com", "example.com"),
            ("http://example.com:8080", "example.com:8080"),
            ("https://example.com.", "example.com."),
            ("http://192.0.2.1:8080", "192.0.2.1:8080"),
            ("http://[2001:db8::1]:8080", "[2001:DB8:0::1]:8080"),
            ("https://[::1]", "[::1]:443"),
        ] {
            assert!(is_at(origin, host), "{origin} at {host}");
        }
        for (origin, host) in [
            ("https://evil.example", "example.com"),
            ("https://example.com.evil.example", "example.com"),
            ("https://notexample.com", "example.com"),
            ("https://example.com:8443", "example.com"),
            ("https://example.com", "example.com:8443"),
            ("https://example.com", "example.com:80"),
            ("http://example.com", "example.com:443"),
            ("http://example.com:443", "example.com"),
            ("https://example.com.", "example.com"),
            ("https://example.com", "example.com."),
            ("http://localhost:8080", "127.0.0.1:8080"),
            ("http://[::1]:8080", "[::2]:8080"),
            ("http://[::ffff:192.0.2.1]", "192.0.2.1"),
            ("ws://example.com", "example.com"),
            ("chrome-extension://example.com", "example.com"),
        ] {
            assert!(!is_at(origin, host), "{origin} at {host}");
        }
    }

    #[test]
    fn malformed_origins_and_hosts_are_refused() {
        for malformed in [
            "",
            "null",
            "example.com",
            "//example.com",
            "https:example.com",
            "https://",
            "file://",
            "https://user@example.com",
            "https://evil.example@example.com",
            "https://example.com:443@evil.example",
            "https://example.com/",
            "https://example.com?",
            "https://example.com#",
            "https://example.com\\",
            "https://example.com https://evil.example",
            "https://example.com, https://evil.example",
            " https://example.com",
            "https://example.com:",
            "https://example.com:+443",
            "https://example.com:65536",
            "https://example.com:443:443",
            "https://.example.com",
            "https://example..com",
            "https://ex%61mple.com",
            "https://[::1",
            "https://::1",
            "https://[::1]evil.example",
            "https://[fe80::1%25eth0]",
            "https://[example.com]",
            "1https://example.com",
        ] {
            assert_eq!(Origin::parse(malformed), None, "{malformed:?}");
        }
        assert_eq!(Host::parse("bücher.example"), None);
        assert_eq!(Host::parse(&"a".repeat(NAME_BYTES_MAX + 1)), None);
    }

    #[test]
    fn only_loopback_hosts_are_loopback() {
        for loopback in [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "app.localhost",
            "a.b.localhost.",
            "127.0.0.1",
            "127.255.0.3",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(Host::parse(loopback).expect(loopback).is_loopback(), "{loopback}");
        }
        for other in [
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1.evil.example",
            "127.1",
            "0x7f.0.0.1",
            "2130706433",
            "0.0.0.0",
            "128.0.0.1",
            "[::]",
            "[::2]",
            "localhost..",
        ] {
            assert!(!Host::parse(other).is_some_and(|host| host.is_loopback()), "{other}");
        }
    }
}
