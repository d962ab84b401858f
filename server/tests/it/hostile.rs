//! Peers that violate the WebSocket protocol or try to exhaust memory.

use bowline_core::limits::Limits;
use tokio::io::AsyncWriteExt;

use crate::harness::{Socket, announce, frame, raw_socket, read_close, rss_bytes, serve, service, within};

const TEXT: u8 = 0x81;
const TEXT_BEGINS: u8 = 0x01;
const GOES_ON: u8 = 0x00;

#[tokio::test]
async fn oversized_frame_is_refused_by_its_header_with_1009() {
    let mut peer = raw_socket(serve(service()).await).await;
    peer.write_all(&announce(TEXT, (8 << 20) + 1)).await.unwrap();
    let close = read_close(&mut peer).await;
    assert!(close.starts_with("close 1009 "), "{close}");
}

#[tokio::test]
async fn close_frame_reaches_a_peer_that_keeps_sending() {
    let mut peer = Socket::open(serve(service()).await).await;
    // The frame is refused by its header, while the rest of it is still being sent.
    peer.send(&"x".repeat((8 << 20) + 1)).await;
    let close = peer.next().await;
    assert!(close.starts_with("close 1009 "), "{close}");
}

#[tokio::test]
async fn message_of_maximum_size_is_accepted() {
    let mut peer = Socket::open(serve(service()).await).await;
    let call = |text: &str| format!(r#"["push",["pipeline",0,["repeat"],["{text}",0]]]"#);
    let room = (8 << 20) - call("").len();
    peer.send(&call(&"x".repeat(room))).await;
    peer.send(r#"["pull",1]"#).await;
    assert_eq!(peer.next().await, r#"["resolve",1,""]"#);
}

#[tokio::test]
async fn text_that_is_not_utf_8_closes_with_1007() {
    let mut peer = raw_socket(serve(service()).await).await;
    peer.write_all(&frame(TEXT, b"[\"\xff\"]")).await.unwrap();
    let close = read_close(&mut peer).await;
    assert!(close.starts_with("close 1007 "), "{close}");
}

#[tokio::test]
async fn invalid_frames_close_with_1002() {
    let address = serve(service()).await;
    let unmasked = vec![TEXT, 2, b'[', b']'];
    let reserved_bits = frame(0xF1, b"[]");
    let reserved_opcode = frame(0x83, b"[]");
    let continuation_of_nothing = frame(GOES_ON, b"[]");
    let fragmented_ping = frame(0x09, b"");
    for bad in [unmasked, reserved_bits, reserved_opcode, continuation_of_nothing, fragmented_ping] {
        let mut peer = raw_socket(address).await;
        peer.write_all(&bad).await.unwrap();
        let close = read_close(&mut peer).await;
        assert!(close.starts_with("close 1002 "), "{bad:?}: {close}");
    }
}

#[tokio::test]
async fn announced_frames_take_no_memory_before_they_arrive() {
    let address = serve(service()).await;
    let mut peers = Vec::new();
    for _ in 0..20 {
        peers.push(raw_socket(address).await);
    }
    let before = rss_bytes();
    for _ in 0..200 {
        let mut peer = raw_socket(address).await;
        peer.write_all(&announce(TEXT, 8 << 20)).await.unwrap();
        peer.write_all(b"[").await.unwrap();
        peers.push(peer);
    }
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let grown = rss_bytes().saturating_sub(before);
    // The frames announced 1.6 GB. The margin allows for other tests in this process.
    assert!(grown < 128 << 20, "memory grew by {grown} bytes");
}

#[tokio::test]
async fn fragments_of_one_byte_are_bounded() {
    let mut limits = Limits::default();
    limits.message_bytes = 64 << 10;
    let mut peer = raw_socket(serve(service().limits(limits)).await).await;
    let before = rss_bytes();
    let (mut read, mut write) = peer.split();
    let send = async {
        let mut first = TEXT_BEGINS;
        let hundred = |first: u8| [frame(first, b"x"), frame(GOES_ON, b"x").repeat(99)].concat();
        // Sending fails once the server has closed the connection, which the assertion below checks.
        while write.write_all(&hundred(first)).await.is_ok() {
            first = GOES_ON;
        }
    };
    let close = async {
        use tokio::io::AsyncReadExt;
        let mut head = [0; 4];
        within(read.read_exact(&mut head)).await.unwrap();
        u16::from_be_bytes([head[2], head[3]])
    };
    let code = tokio::select! { code = close => code, () = send => panic!("the server closed without a close frame") };
    assert_eq!(code, 1009);
    assert!(rss_bytes().saturating_sub(before) < 64 << 20);
}

/// Opens a raw connection, negotiates the link, and reads the challenge.
async fn raw_link(address: std::net::SocketAddr) -> tokio::net::TcpStream {
    use tokio::io::AsyncReadExt;
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let ask = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
               Sec-WebSocket-Protocol: bowline.v1\r\nSec-WebSocket-Version: 13\r\n\
               Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(stream.read_u8()).await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    let frame = within(stream.read_u16()).await.unwrap();
    let mut challenge = vec![0; usize::from(frame & 0x7f)];
    within(stream.read_exact(&mut challenge)).await.unwrap();
    stream
}

/// The maximum length of a message from a client that has not authenticated.
const OPENING_BYTES: u64 = 80 << 10;

#[tokio::test]
async fn long_frame_of_unauthenticated_client_is_refused_by_its_header() {
    let address = serve(service()).await;
    for length in [OPENING_BYTES + 1, 1 << 20, 8 << 20, 1 << 40] {
        for opcode in [TEXT, TEXT_BEGINS, 0x82, 0x89] {
            let mut peer = raw_link(address).await;
            peer.write_all(&announce(opcode, length)).await.unwrap();
            let close = read_close(&mut peer).await;
            assert!(close.starts_with("close 1009 "), "{opcode:x} of {length}: {close}");
        }
    }
}

#[tokio::test]
async fn fragments_of_unauthenticated_client_are_limited_by_their_sum() {
    let mut peer = raw_link(serve(service()).await).await;
    let piece = vec![b'x'; OPENING_BYTES as usize / 4];
    peer.write_all(&frame(TEXT_BEGINS, &piece)).await.unwrap();
    for _ in 0..3 {
        peer.write_all(&[frame(0x89, b"still here"), frame(GOES_ON, &piece)].concat()).await.unwrap();
    }
    peer.write_all(&announce(GOES_ON, 1)).await.unwrap();
    let close = read_close(&mut peer).await;
    assert!(close.starts_with("close 1009 "), "{close}");
}

#[tokio::test]
async fn unauthenticated_clients_take_little_memory() {
    let address = serve(service()).await;
    let before = rss_bytes();
    let mut peers = Vec::new();
    for length in [OPENING_BYTES, 8 << 20].repeat(20) {
        let mut peer = raw_link(address).await;
        peer.write_all(&announce(TEXT, length)).await.unwrap();
        // Sends all but the last byte, as far as the server accepts it.
        drop(peer.write_all(&vec![b'{'; length as usize - 1]).await);
        peers.push(peer);
    }
    let grown = rss_bytes().saturating_sub(before);
    // The frames announced 160 MiB. The margin allows for other tests in this process.
    assert!(grown < 64 << 20, "memory grew by {grown} bytes");
}

#[tokio::test]
async fn message_after_a_hello_may_have_the_full_length() {
    use bowline_core::link::Frame;
    use bowline_server::Credentials;
    let mut peer = crate::link::dial(serve(service()).await).await;
    let hello = Frame::Hello(crate::link::hello_of(Credentials::default())).write();
    // Sent in one write, so that the server has both before it welcomes the client.
    peer.send(&hello).await;
    peer.send(&format!(r#"["push",["pipeline",0,["repeat"],["{}",0]]]"#, "x".repeat(1 << 20))).await;
    peer.send(r#"["pull",1]"#).await;
    loop {
        let text = peer.next().await;
        if text.starts_with('[') {
            break assert_eq!(text, r#"["resolve",1,""]"#);
        }
        assert!(text.starts_with('{'), "{text}");
    }
}
