//! HTTP batches: calls that share one request.

use bowline_client::batch;
use bowline_core::peer::Promise;

use crate::harness::{canned, serve, service, within};

#[tokio::test]
async fn concurrent_calls_share_one_request() {
    let answer =
        "HTTP/1.1 200 OK\r\nContent-Length: 31\r\nConnection: close\r\n\r\n[\"resolve\",1,5]\n[\"resolve\",2,7]";
    let (address, requests) = canned(answer).await;
    let batch = batch(format!("http://{address}/rpc")).unwrap();
    let api = batch.root_dyn();
    let (five, seven) = within(batch.send(async move {
        let five = api.call("add", (2, 3));
        let seven = api.call("add", (&five, 2));
        tokio::join!(five.into_future(), seven.into_future())
    }))
    .await;
    assert_eq!((five.unwrap(), seven.unwrap()), (5.into(), 7.into()));
    let requests = requests.lock().unwrap();
    let body = requests[0].split_once("\r\n\r\n").unwrap().1;
    assert_eq!(requests.len(), 1);
    let push = r#"["push",["pipeline",0,["add"],[2,3]]]"#;
    let pushes = format!("{push}\n[\"push\",[\"pipeline\",0,[\"add\"],[[\"pipeline\",1],2]]]");
    assert_eq!(body, format!("{pushes}\n[\"pull\",1]\n[\"pull\",2]"));
    assert!(requests[0].to_lowercase().contains("content-type: text/plain;charset=utf-8\r\n"));
}

#[tokio::test]
async fn bowline_server_answers_a_batch() {
    let batch = batch(format!("http://{}/rpc", serve(service()).await)).unwrap();
    let api = batch.root_dyn();
    let two = within(batch.send(async move {
        let counter = api.call("counter", ());
        let first = Promise::stub(&counter).call("next", ());
        let second = Promise::stub(&counter).call("next", ()).await;
        drop(first);
        second
    }))
    .await;
    assert_eq!(two.unwrap(), 2.into());
}

#[tokio::test]
async fn later_calls_and_unanswered_calls_fail() {
    let (address, _requests) =
        canned("HTTP/1.1 200 OK\r\nContent-Length: 15\r\nConnection: close\r\n\r\n[\"resolve\",1,5]").await;
    let batch = batch(format!("http://{address}")).unwrap();
    let api = batch.root_dyn();
    let (open, later) = within(batch.send(async move {
        let open = api.call("add", (1, 1)).into_future();
        let answered = api.call("add", (2, 3)).into_future();
        let (_five, open) = tokio::join!(open, answered);
        (open, api.call("add", (2, 3)).await)
    }))
    .await;
    for ended in [open.unwrap_err(), later.unwrap_err()] {
        assert!(ended.to_string().contains("Batch RPC request ended."), "{ended}");
    }
}

#[tokio::test]
async fn refused_request_fails_the_calls() {
    let (address, _requests) =
        canned("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    let batch = batch(format!("ws://{address}")).unwrap();
    let api = batch.root_dyn();
    let failed = within(batch.send(async move { api.call("add", (1, 1)).await })).await.unwrap_err();
    assert!(failed.to_string().contains("RPC request failed: 503 Service Unavailable"), "{failed}");
}

#[tokio::test]
async fn unsent_batch_fails_its_calls() {
    let batch = batch("http://127.0.0.1:1").unwrap();
    let open = batch.root_dyn().call("add", (1, 1));
    drop(batch);
    let failed = within(open.into_future()).await.unwrap_err();
    assert!(failed.to_string().contains("The batch was dropped before it was sent."), "{failed}");
}

#[tokio::test]
async fn unreachable_server_fails_the_calls() {
    let batch = batch("http://127.0.0.1:1").unwrap();
    let api = batch.root_dyn();
    let failed = within(batch.send(async move { api.call("add", (1, 1)).await })).await.unwrap_err();
    assert!(failed.to_string().contains("RPC request failed: client error (Connect)"), "{failed}");
}

#[tokio::test]
async fn batch_is_sent_even_if_no_call_is_awaited() {
    let (address, requests) = canned("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    let batch = batch(format!("http://{address}")).unwrap();
    let told = batch.root_dyn().call("add", (1, 1));
    assert_eq!(within(batch.send(async { 7 })).await, 7);
    drop(told);
    assert_eq!(requests.lock().unwrap().len(), 1);
}
