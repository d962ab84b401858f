//! URLs of servers. WebSocket and HTTP schemes name the same server.

use std::net::IpAddr;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

use crate::error::ConnectError;

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) secure: bool,
    authority: Authority,
    path: PathAndQuery,
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, ConnectError> {
        let bad = |reason| ConnectError::Url { url: url.to_owned(), reason };
        let uri: Uri = url.parse().map_err(|_invalid| bad("it is not a URL"))?;
        let secure = match uri.scheme_str() {
            Some("ws" | "http") => false,
            Some("wss" | "https") if cfg!(feature = "tls") => true,
            Some("wss" | "https") => return Err(bad("the feature `tls` of `bowline` is not enabled")),
            _ => return Err(bad("it must begin with ws:, wss:, http: or https:")),
        };
        let authority = uri.authority().ok_or_else(|| bad("it has no host"))?.clone();
        if authority.as_str().contains('@') {
            return Err(bad("credentials belong in a header, where logs do not show them"));
        }
        let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok(Self { secure, authority, path })
    }

    /// Returns the host, without the brackets of an IPv6 address.
    pub(crate) fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }

    pub(crate) fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.secure { 443 } else { 80 })
    }

    /// Returns whether this is a loopback address. Names are not resolved: only those that are
    /// reserved for loopback (RFC 6761, section 6.3) count.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.host().trim_end_matches('.').to_ascii_lowercase();
        match host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_name) => host == "localhost" || host.ends_with(".localhost"),
        }
    }

    /// Returns the host and port as given.
    pub(crate) fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// Returns the address as an HTTP URL.
    pub(crate) fn http(&self) -> Uri {
        let scheme = if self.secure { Scheme::HTTPS } else { Scheme::HTTP };
        self.uri(scheme)
    }

    /// Returns the address as a WebSocket URL.
    pub(crate) fn websocket(&self) -> Uri {
        let scheme = if self.secure { "wss" } else { "ws" };
        self.uri(scheme.parse().expect("both are valid schemes"))
    }

    fn uri(&self, scheme: Scheme) -> Uri {
        Uri::builder()
            .scheme(scheme)
            .authority(self.authority.clone())
            .path_and_query(self.path.clone())
            .build()
            .expect("the parts are those of a valid URL")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_and_localhost_names_are_loopback() {
        let is_loopback = |host: &str| Address::parse(&format!("ws://{host}/rpc")).expect("an address").is_loopback();
        for host in
            ["localhost", "LocalHost:8080", "localhost.", "app.localhost", "127.0.0.1", "127.9.9.9:80", "[::1]:80"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["example.com", "localhost.example.com", "notlocalhost", "10.0.0.1", "0.0.0.0", "[::2]", "[::]"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
