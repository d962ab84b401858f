//! Draining a service.

use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use crate::harness::{Socket, body, post, serve, service, within};

const HANG: &str = r#"["push",["pipeline",0,["hang"],[]]]"#;

#[tokio::test]
async fn idle_sessions_are_closed_at_once() {
    let service = service();
    let mut peer = Socket::open(serve(service.clone()).await).await;
    let began = Instant::now();
    let (close, _report) = tokio::join!(peer.next(), service.drain(Duration::from_secs(8)));
    assert_eq!(close, "close 1001 server is draining");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn running_call_may_complete() {
    let service = service();
    let mut peer = Socket::open(serve(service.clone()).await).await;
    peer.send(r#"["push",["pipeline",0,["nap"],[200]]]"#).await;
    peer.send(r#"["pull",1]"#).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let reads = async { (peer.next().await, peer.next().await) };
    let ((answer, close), _report) = tokio::join!(reads, service.drain(Duration::from_secs(8)));
    assert_eq!(answer, r#"["resolve",1,"rested"]"#);
    assert_eq!(close, "close 1001 server is draining");
}

#[tokio::test]
async fn hanging_call_is_cut_off_at_the_deadline() {
    let service = service();
    let mut peer = Socket::open(serve(service.clone()).await).await;
    peer.send(HANG).await;
    peer.send(r#"["pull",1]"#).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let began = Instant::now();
    let (close, _report) = tokio::join!(peer.next(), service.drain(Duration::from_millis(800)));
    assert_eq!(close, "close 1001 server is draining");
    let took = began.elapsed();
    assert!((Duration::from_millis(500)..Duration::from_millis(1000)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn peer_that_keeps_its_connection_open_does_not_delay_a_drain() {
    let service = service();
    let peer = Socket::open(serve(service.clone()).await).await;
    let began = Instant::now();
    service.drain(Duration::from_millis(500)).await;
    assert!(began.elapsed() < Duration::from_millis(700), "{:?}", began.elapsed());
    drop(peer);
}

#[tokio::test]
async fn idle_connection_does_not_delay_a_drain() {
    let service = service();
    let address = serve(service.clone()).await;
    let idle = tokio::net::TcpStream::connect(address).await.unwrap();
    post(address, "").await;
    let began = Instant::now();
    service.drain(Duration::from_secs(8)).await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    drop(idle);
}

#[tokio::test]
async fn new_requests_are_refused_and_serving_ends() {
    let service = service();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(service.clone().serve(listener));
    let mut peer = Socket::open(address).await;
    peer.send(HANG).await;
    peer.send(r#"["pull",1]"#).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let refused = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        post(address, "").await
    };
    let (refused, _report) = tokio::join!(refused, service.drain(Duration::from_millis(600)));
    assert_eq!(body(&refused), ("503", "server is draining"));
    assert!(refused.contains("retry-after: 1\r\n"), "{refused}");
    within(serving).await.unwrap();
}

#[tokio::test]
async fn hanging_batch_is_answered_with_an_abort() {
    let service = service();
    let address = serve(service.clone()).await;
    let calls = format!("[\"push\",[\"pipeline\",0,[\"add\"],[2,3]]]\n[\"pull\",1]\n{HANG}\n[\"pull\",2]");
    let drain = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        service.drain(Duration::from_millis(600)).await;
    };
    let (answer, ()) = tokio::join!(post(address, &calls), drain);
    let expected = "[\"resolve\",1,5]\n[\"abort\",[\"error\",\"Error\",\"server is draining\"]]";
    assert_eq!(body(&answer), ("200", expected));
}

#[tokio::test]
async fn call_without_a_pull_completes() {
    let service = service();
    let mut peer = Socket::open(serve(service.clone()).await).await;
    peer.send(r#"["push",["pipeline",0,["nap"],[400]]]"#).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let began = Instant::now();
    let (close, report) = tokio::join!(peer.next(), service.drain(Duration::from_secs(8)));
    assert_eq!(close, "close 1001 server is draining");
    assert_eq!(report.calls_cut, 0);
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
}

#[tokio::test]
async fn calls_that_are_cut_off_are_counted_awaited_or_not() {
    let service = service();
    let address = serve(service.clone()).await;
    let (mut one, mut other) = (Socket::open(address).await, Socket::open(address).await);
    one.send(HANG).await;
    other.send(HANG).await;
    other.send(HANG).await;
    other.send(r#"["pull",2]"#).await;
    let batch = format!("{HANG}\n[\"pull\",1]");
    let posted = tokio::spawn(async move { post(address, &batch).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let report = service.drain(Duration::from_millis(400)).await;
    assert_eq!(report.calls_cut, 4);
    within(posted).await.unwrap();
    assert_eq!(service.drain(Duration::ZERO).await.calls_cut, 4);
}

#[tokio::test]
async fn batch_is_answered_before_calls_without_a_pull_and_the_drain_waits_for_those() {
    let service = service();
    let address = serve(service.clone()).await;
    let calls =
        "[\"push\",[\"pipeline\",0,[\"nap\"],[500]]]\n[\"push\",[\"pipeline\",0,[\"add\"],[2,3]]]\n[\"pull\",2]";
    let began = Instant::now();
    let answer = post(address, calls).await;
    assert_eq!(body(&answer), ("200", "[\"resolve\",2,5]"));
    assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
    let report = service.drain(Duration::from_secs(8)).await;
    assert_eq!(report.calls_cut, 0);
    assert!(began.elapsed() >= Duration::from_millis(450), "{:?}", began.elapsed());
}

#[tokio::test]
async fn drain_with_maximum_duration_waits_only_for_calls() {
    let service = service();
    let mut peer = Socket::open(serve(service.clone()).await).await;
    peer.send(r#"["push",["pipeline",0,["nap"],[200]]]"#).await;
    peer.send(r#"["pull",1]"#).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let reads = async move { (peer.next().await, peer.next().await) };
    let (read, report) = within(async { tokio::join!(reads, service.drain(Duration::MAX)) }).await;
    assert_eq!(read, (r#"["resolve",1,"rested"]"#.to_owned(), "close 1001 server is draining".to_owned()));
    assert_eq!(report.calls_cut, 0);
}
