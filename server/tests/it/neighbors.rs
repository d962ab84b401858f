//! Other clients, of other addresses or of the same one, cannot end a session, or keep a client from opening
//! or resuming one.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bowline_core::link::{Frame, Secret};
use bowline_core::peer::Stub;
use bowline_server::{Credentials, HttpLimits, Peer, Principal, Service, TrustedProxies};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use crate::harness::{Api, Socket, announce, body, connect_from, post, serve, service, within};
use crate::link::{Linked, code, dial_from, dial_over, hello_of};

/// The address of the client that must not be affected.
const VICTIM: [u8; 4] = [127, 0, 0, 200];

/// How long a hello may take under attack. Otherwise it takes a few milliseconds.
const AT_ONCE: Duration = Duration::from_secs(2);

fn limits(change: impl FnOnce(&mut HttpLimits)) -> HttpLimits {
    let mut limits = HttpLimits::default();
    change(&mut limits);
    limits
}

/// Opens a session from the given address and makes a call in it.
async fn is_served(from: [u8; 4], address: SocketAddr) -> Linked {
    let served = async {
        let mut linked = Linked::of(dial_from(from, address, &[]).await).await;
        linked.socket.send(&Frame::Hello(hello_of(Credentials::default())).write()).await;
        assert!(matches!(linked.frame().await, Frame::Welcome(_)));
        is_answered(&mut linked, 1).await;
        linked
    };
    timeout(AT_ONCE, served).await.expect("the hello is answered in time")
}

async fn is_answered(linked: &mut Linked, call: u64) {
    linked.socket.send(r#"["push",["pipeline",0,["add"],[1,2]]]"#).await;
    linked.socket.send(&format!(r#"["pull",{call}]"#)).await;
    assert_eq!(linked.message().await, format!(r#"["resolve",{call},3]"#));
}

#[tokio::test]
async fn silent_connections_of_others_do_not_delay_a_hello() {
    let address = serve(service().http_limits(limits(|limits| limits.unauthenticated = 60))).await;
    let mut before = is_served(VICTIM, address).await;
    for (calls, addresses) in [(2, 5), (3, 50)] {
        let mut held = Vec::new();
        for n in 0..120 {
            let mut socket = dial_from([127, 0, 1, n % addresses], address, &[]).await;
            if n % 2 == 1 {
                // An incomplete frame counts as silence.
                let begun = [announce(0x81, 1_000), b"{".to_vec()].concat();
                socket.0.get_mut().write_all(&begun).await.unwrap();
            }
            held.push(socket);
        }
        for _ in 0..3 {
            is_served(VICTIM, address).await;
        }
        is_answered(&mut before, calls).await;
    }
}

#[tokio::test]
async fn slow_authentications_of_others_do_not_delay_a_hello() {
    let slow = |peer: &Peer| peer.address.is_some_and(|address| address.ip().to_string() != "127.0.0.200");
    let service = Service::try_new(move |peer: Peer| async move {
        if slow(&peer) {
            std::future::pending::<()>().await;
        }
        Ok(Stub::new(Api))
    });
    let address = serve(service.http_limits(limits(|limits| limits.unauthenticated = 20))).await;
    let mut held = Vec::new();
    for n in 0..40 {
        let mut socket = dial_from([127, 0, 1, n % 5], address, &[]).await;
        socket.send(&Frame::Hello(hello_of(Credentials::default())).write()).await;
        held.push(socket);
    }
    is_served(VICTIM, address).await;
    is_served(VICTIM, address).await;
}

#[tokio::test]
async fn idle_connections_of_others_do_not_delay_a_hello() {
    let address = serve(service().http_limits(limits(|limits| limits.connections = 60))).await;
    let mut before = is_served(VICTIM, address).await;
    let mut held = Vec::new();
    for n in 0..120 {
        let mut stream = connect_from([127, 0, 1, n % 50], address).await;
        // Sends nothing, a part of a request, or a batch without its body.
        let says = ["", "POST /rpc HT", "POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n["];
        stream.write_all(says[usize::from(n) % 3].as_bytes()).await.unwrap();
        held.push(stream);
    }
    is_served([127, 0, 0, 201], address).await;
    assert_eq!(body(&within(post(address, "")).await).0, "200");
    // Sessions are never displaced.
    is_answered(&mut before, 2).await;
}

#[tokio::test]
async fn running_batches_and_sessions_are_never_displaced() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let service = Service::new(move |_peer| {
        tell.send(()).unwrap();
        Stub::new(Api)
    });
    let address = serve(service.http_limits(limits(|limits| limits.connections = 3))).await;
    let mut session = is_served([127, 0, 1, 1], address).await;
    let mut plain = Socket::open(address).await;
    told.recv().await.unwrap();
    told.recv().await.unwrap();
    let batch = tokio::spawn(post(address, "[\"push\",[\"pipeline\",0,[\"nap\"],[300]]]\n[\"pull\",1]"));
    // The batch runs at once, because its body arrived with its header.
    within(told.recv()).await.unwrap();
    let mut refused = String::new();
    let mut stream = connect_from([127, 0, 1, 9], address).await;
    within(AsyncReadExt::read_to_string(&mut stream, &mut refused)).await.unwrap();
    assert_eq!(body(&refused), ("503", "too many connections"));
    assert_eq!(body(&batch.await.unwrap()), ("200", r#"["resolve",1,"rested"]"#));
    is_answered(&mut session, 2).await;
    plain.send(r#"["push",["pipeline",0,["add"],[1,2]]]"#).await;
    plain.send(r#"["pull",1]"#).await;
    assert_eq!(plain.next().await, r#"["resolve",1,3]"#);
}

#[tokio::test]
async fn valid_token_is_accepted_despite_invalid_ones_from_its_address() {
    let address = serve(service()).await;
    let (mut linked, greeting) = Linked::greet(address, &hello_of(Credentials::default())).await;
    let Frame::Welcome(welcome) = greeting else { panic!("{greeting:?}") };
    is_answered(&mut linked, 1).await;
    drop(linked);
    let (mut token, mut key) = (welcome.resume_token, welcome.resume_key);
    let neighbors = [0; 3].map(|_| tokio::spawn(forge(address)));
    for epoch in 2..12 {
        let (_linked, resumed) = Linked::resume(address, &token, &key, 1).await;
        let resumed = resumed.expect("the token is valid");
        assert_eq!(resumed.epoch, epoch);
        (token, key) = (resumed.resume_token, resumed.resume_key);
    }
    // Also after the rate limit was reached.
    for neighbor in neighbors {
        within(neighbor).await.unwrap();
    }
    let (_linked, resumed) = Linked::resume(address, &token, &key, 1).await;
    assert!(resumed.is_ok());
}

/// Presents invalid tokens until the rate limit is reached.
async fn forge(address: SocketAddr) {
    let (forged, key) = (Secret::new("bwl1.e30.e30.e30"), Secret::new("key"));
    while code(Linked::resume(address, &forged, &key, 0).await.1) != "RATE_LIMITED" {}
}

#[tokio::test]
async fn rate_of_refused_tokens_is_configurable() {
    let limits = limits(|limits| (limits.refused_tokens_per_second, limits.refused_tokens_burst) = (1, 3));
    let address = serve(service().http_limits(limits)).await;
    let (forged, key) = (Secret::new("bwl1.e30.e30.e30"), Secret::new("key"));
    let mut codes = Vec::new();
    for _ in 0..5 {
        codes.push(code(Linked::resume(address, &forged, &key, 0).await.1));
    }
    assert_eq!(codes[..3], ["RESUME_TOKEN_INVALID"; 3]);
    assert_eq!(codes[4], "RATE_LIMITED");
}

/// A service behind a proxy, with limits that two clients of one address reach.
struct BehindProxy {
    address: SocketAddr,
    /// The addresses of its peers.
    told: UnboundedReceiver<String>,
}

impl BehindProxy {
    async fn serve(proxies: TrustedProxies) -> Self {
        let (tell, told) = tokio::sync::mpsc::unbounded_channel();
        let service = Service::new(move |peer: Peer| {
            tell.send(peer.address.unwrap().ip().to_string()).unwrap();
            Stub::new(Api)
        });
        let bounds = limits(|limits| {
            limits.connections_per_address = 2;
            limits.refused_tokens_burst = 2;
        });
        Self { address: serve(service.http_limits(bounds).trusted_proxies(proxies)).await, told }
    }

    /// Checks that limits apply to each client behind the proxy, and not to the proxy. `through` connects a client
    /// of the given address through the proxy, and `batch` sends a batch from it.
    async fn assert_limits_each_client(
        &mut self,
        through: impl AsyncFn(&str) -> Linked,
        batch: impl AsyncFn(&str) -> String,
    ) {
        let mut held = Vec::new();
        for client in ["192.0.2.1", "2001:db8::1", "192.0.2.2", "2001:db8::2", "192.0.2.1"] {
            let mut linked = through(client).await;
            linked.socket.send(&Frame::Hello(hello_of(Credentials::default())).write()).await;
            assert!(matches!(linked.frame().await, Frame::Welcome(_)));
            assert_eq!(self.told.recv().await.unwrap(), client);
            held.push(linked);
        }
        for full in ["192.0.2.1", "2001:db8::ffff"] {
            assert_eq!(body(&batch(full).await), ("503", "too many connections from this address"));
        }
        assert_eq!(body(&batch("2001:db8:0:1::1").await).0, "200");
        assert_eq!(self.told.recv().await.unwrap(), "2001:db8:0:1::1");
        // Invalid tokens of one client do not count against another.
        let (forged, key) = (Secret::new("bwl1.e30.e30.e30"), Secret::new("key"));
        let mut codes = Vec::new();
        for client in ["192.0.2.5", "192.0.2.5", "192.0.2.5", "192.0.2.6"] {
            codes.push(code(through(client).await.resumes((&forged, &key), 0, None).await.1));
        }
        assert_eq!(codes, ["RESUME_TOKEN_INVALID", "RESUME_TOKEN_INVALID", "RATE_LIMITED", "RESUME_TOKEN_INVALID"]);
    }
}

#[tokio::test]
async fn trusted_proxy_names_the_addresses_of_its_clients() {
    let mut service = BehindProxy::serve(TrustedProxies::x_forwarded_for(["127.0.0.1", "10.0.0.0/8"])).await;
    let address = service.address;
    let through = async |client: &str| {
        let list = format!("6.6.6.6, {client}, 10.0.0.1");
        Linked::of(dial_from(PROXY, address, &[("x-forwarded-for", &list)]).await).await
    };
    let batch = async |client: &str| {
        let headers = format!("Host: localhost\r\nX-Forwarded-For: {client}\r\nContent-Length: 0\r\n");
        crate::harness::request(address, &format!("POST /rpc HTTP/1.1\r\n{headers}\r\n")).await
    };
    service.assert_limits_each_client(through, batch).await;
    // The header is ignored if the peer is not a trusted proxy.
    let mut direct = Linked::of(dial_from(VICTIM, address, &[("x-forwarded-for", "192.0.2.9")]).await).await;
    direct.socket.send(&Frame::Hello(hello_of(Credentials::default())).write()).await;
    assert!(matches!(direct.frame().await, Frame::Welcome(_)));
    assert_eq!(service.told.recv().await.unwrap(), "127.0.0.200");
}

const PROXY: [u8; 4] = [127, 0, 0, 1];

/// A connection on which a proxy has written its header.
async fn connect_through(address: SocketAddr, header: &[u8]) -> TcpStream {
    let mut stream = connect_from(PROXY, address).await;
    stream.write_all(header).await.unwrap();
    stream
}

/// Returns a PROXY header of version 1 for an IPv4 address, or of version 2 for an IPv6 address.
fn header_of(client: &str) -> Vec<u8> {
    match client.parse().unwrap() {
        IpAddr::V4(client) => format!("PROXY TCP4 {client} 127.0.0.1 4711 80\r\n").into_bytes(),
        IpAddr::V6(client) => {
            let start = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24";
            [&start[..], &client.octets(), &client.octets(), &[0x12, 0x67, 0, 80]].concat()
        }
    }
}

/// Sends bytes and returns everything that the server sends until the connection is closed.
async fn answer_to(mut stream: TcpStream, bytes: &[u8]) -> String {
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A connection that the server closes before it has read everything may be reset.
    drop(within(stream.read_to_end(&mut answer)).await);
    String::from_utf8(answer).unwrap()
}

const BATCH: &str = "POST /rpc HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn proxy_header_names_the_address_of_the_client() {
    let mut service = BehindProxy::serve(TrustedProxies::proxy_protocol(["127.0.0.1"])).await;
    let address = service.address;
    let through = async |client: &str| {
        let stream = connect_through(address, &header_of(client)).await;
        // HTTP headers are ignored.
        let headers = [("x-forwarded-for", "6.6.6.6"), ("forwarded", "for=6.6.6.6")];
        Linked::of(dial_over(stream, address, &headers).await).await
    };
    let batch =
        async |client: &str| answer_to(connect_through(address, &header_of(client)).await, BATCH.as_bytes()).await;
    service.assert_limits_each_client(through, batch).await;
    // A health check of the proxy itself.
    for own in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        assert_eq!(body(&answer_to(connect_through(address, own).await, BATCH.as_bytes()).await).0, "200");
    }
}

#[tokio::test]
async fn proxy_header_is_required_from_proxies_and_refused_from_others() {
    let bounds = limits(|limits| limits.handshake = Duration::from_millis(300));
    let proxies = TrustedProxies::proxy_protocol(["127.0.0.1"]);
    let address = serve(service().http_limits(bounds).trusted_proxies(proxies)).await;
    for malformed in [&b""[..], b"PROXY TCP4 192.0.2.1 127.0.0.1 4711\r\n", b"PROXY TCP9 1 2 3 4\r\n", b"\r\n\r\n"] {
        let answer = answer_to(connect_through(address, malformed).await, BATCH.as_bytes()).await;
        assert_eq!(answer, "", "{}", malformed.escape_ascii());
    }
    // A connection without the header is closed after the timeout.
    assert_eq!(answer_to(connect_through(address, b"PROXY TCP4 192").await, b"").await, "");
    // From any other address, the header is an invalid request.
    let direct = connect_from(VICTIM, address).await;
    let answer = answer_to(direct, &[&header_of("192.0.2.1")[..], BATCH.as_bytes()].concat()).await;
    assert_eq!(body(&answer).0, "400");
    is_served(VICTIM, address).await;
    let answer = answer_to(connect_through(address, &header_of("192.0.2.1")).await, BATCH.as_bytes()).await;
    assert_eq!(body(&answer).0, "200");
}

#[tokio::test]
async fn principal_with_an_empty_name_is_refused() {
    let service = service().authenticate(|token: &str| {
        Some(if token == "everyone" { Principal::anonymous() } else { Principal::new(token.trim_start_matches("no ")) })
    });
    let address = serve(service).await;
    let (_linked, answer) = Linked::greet(address, &hello_of(Credentials::bearer("no "))).await;
    let Frame::Unauthenticated(refused) = answer else { panic!("{answer:?}") };
    assert_eq!(refused.status, Some(401));
    let head = "POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n";
    let answer = crate::harness::request(address, &format!("{head}Authorization: Bearer no \r\n\r\n")).await;
    assert_eq!(body(&answer).0, "200", "`no`: a header has no space at its end");
    let (_linked, answer) = Linked::greet(address, &hello_of(Credentials::bearer("everyone"))).await;
    let Frame::Welcome(welcome) = answer else { panic!("{answer:?}") };
    assert_eq!(welcome.principal, None);
}
