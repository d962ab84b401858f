//! The PROXY protocol, whose header tells a server the address of a client behind a TCP load
//! balancer. Both versions are supported, from trusted proxies only.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::listen::{REFUSAL_MAX, refuse};
use crate::permits::ConnectionPermit;
use crate::service::Service;

/// The beginning of a header of version 1, which is text.
const TEXT_START: &[u8] = b"PROXY ";

/// The maximum length of a header of version 1.
const TEXT_MAX: usize = 107;

/// A length that every header of either version exceeds.
const START_BYTES: usize = 12;

/// The length of the fixed part of a header of version 2, which ends with the length of the rest.
const BINARY_FIXED: usize = 16;

impl Service {
    /// Reads the PROXY header of a connection from a trusted proxy, then serves the connection as
    /// one of the client in the header. Until then, the connection is counted for the proxy. A
    /// connection without a valid header is closed.
    pub(crate) async fn connection_of_proxy(
        self: Arc<Self>,
        mut stream: TcpStream,
        proxy: SocketAddr,
        permit: ConnectionPermit,
    ) {
        let header = timeout(self.http.handshake, read_header(&mut stream, self.http.header_bytes));
        let client = tokio::select! {
            header = header => header.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
            () = permit.displaced() => return,
        };
        match client {
            // The proxy connects on its own behalf, for example for a health check.
            Ok(None) => self.connection(stream, proxy, permit).await,
            Ok(Some(client)) => match self.connections.admit(Some(client.into()), &self.http) {
                Ok(of_client) => {
                    drop(permit);
                    self.connection(stream, client, of_client).await;
                }
                Err(why) => {
                    tracing::debug!(address = %client, why, "connection refused");
                    drop(timeout(REFUSAL_MAX, refuse(stream, why)).await);
                }
            },
            Err(error) => tracing::debug!(address = %proxy, %error, "connection without a PROXY header"),
        }
    }
}

/// Reads a header of at most `most` bytes, and nothing behind it. Returns the address of the
/// client, or `None` if the connection is the proxy's own.
///
/// # Errors
/// Returns an error if the stream ends, or if it does not begin with a valid header.
async fn read_header(stream: &mut (impl AsyncRead + Unpin), most: usize) -> io::Result<Option<SocketAddr>> {
    let mut header = vec![0; START_BYTES];
    stream.read_exact(&mut header).await?;
    if header.starts_with(TEXT_START) {
        // The length is unknown, and the bytes behind the header must stay in the stream.
        while !header.ends_with(b"\n") {
            if header.len() == TEXT_MAX {
                return Err(malformed());
            }
            header.push(stream.read_u8().await?);
        }
    } else {
        header.resize(BINARY_FIXED, 0);
        stream.read_exact(&mut header[START_BYTES..]).await?;
        let rest = usize::from(u16::from_be_bytes([header[BINARY_FIXED - 2], header[BINARY_FIXED - 1]]));
        if !header.starts_with(b"\r\n\r\n\0\r\nQUIT\n") || BINARY_FIXED + rest > most {
            return Err(malformed());
        }
        header.resize(BINARY_FIXED + rest, 0);
        stream.read_exact(&mut header[BINARY_FIXED..]).await?;
    }
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    match ProxyHeader::parse(&header, config) {
        Ok((parsed, len)) if len == header.len() => Ok(parsed.proxied_address().map(|address| address.source)),
        _ => Err(malformed()),
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "malformed PROXY header")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the header of a TCP connection, with `more` bytes behind the addresses.
    fn binary(command: u8, family: u8, addresses: &[u8], more: usize) -> Vec<u8> {
        let len = u16::try_from(addresses.len() + more).expect("it is short").to_be_bytes();
        [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &len, addresses, &vec![0; more]].concat()
    }

    async fn read(bytes: &[u8]) -> Result<Option<String>, io::ErrorKind> {
        let mut rest = bytes;
        let read = read_header(&mut rest, 1_000).await;
        if read.is_ok() {
            assert_eq!(rest, b"GET", "the request is not read");
        }
        read.map(|address| address.map(|address| address.to_string())).map_err(|error| error.kind())
    }

    #[tokio::test]
    async fn both_versions_name_the_client() {
        let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x67, 0, 80];
        let v6 = [[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]; 2].concat();
        let v6 = [&v6[..], &[0x12, 0x67, 0, 80]].concat();
        for (header, client) in [
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n".to_vec(), Some("192.0.2.1:4711")),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 80\r\n".to_vec(), Some("[2001:db8::7]:4711")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n".to_vec(), None),
            (binary(0x21, 0x11, &v4, 0), Some("192.0.2.1:4711")),
            (binary(0x21, 0x11, &v4, 500), Some("192.0.2.1:4711")),
            (binary(0x21, 0x21, &v6, 3), Some("[2001:db8::7]:4711")),
            (binary(0x20, 0x11, &v4, 0), None),
            (binary(0x20, 0x00, &[], 0), None),
            (binary(0x21, 0x31, &[0; 216], 0), None),
        ] {
            let found = read(&[&header[..], b"GET"].concat()).await;
            assert_eq!(found, Ok(client.map(str::to_owned)), "{}", header.escape_ascii());
        }
    }

    #[tokio::test]
    async fn malformed_and_absent_headers_are_refused() {
        let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x67, 0, 80];
        for bytes in [
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 65536\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.256 10.0.0.1 4711 80\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::7 10.0.0.1 4711 80\r\n".to_vec(),
            b"PROXY TCP5 192.0.2.1 10.0.0.1 4711 80\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\n".to_vec(),
            b"proxy TCP4 192.0.2.1 10.0.0.1 4711 80\r\n".to_vec(),
            [&b"PROXY UNKNOWN "[..], &[b'x'; 200], b"\r\n"].concat(),
            binary(0x31, 0x11, &v4, 0),
            binary(0x22, 0x11, &v4, 0),
            binary(0x21, 0x41, &v4, 0),
            binary(0x21, 0x11, &v4[..8], 0),
            binary(0x21, 0x21, &v4, 0),
            binary(0x21, 0x11, &v4, 60_000),
        ] {
            assert_eq!(read(&bytes).await, Err(io::ErrorKind::InvalidData), "{:.60}", bytes.escape_ascii());
        }
        for bytes in [&b""[..], b"PROXY ", b"PROXY TCP4 192.0.2.1", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0"] {
            assert_eq!(read(bytes).await, Err(io::ErrorKind::UnexpectedEof), "{}", bytes.escape_ascii());
        }
    }
}
