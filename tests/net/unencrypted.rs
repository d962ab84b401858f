//! Secrets are not sent to another machine unencrypted.

use std::time::Duration;

use bowline_client::{ConnectError, Session, SessionBuilder, batch};
use bowline_server::{Credentials, Principal};

use crate::harness::{serve, service, within};

/// An address that is reserved for documentation (RFC 5737), where nothing answers.
const ELSEWHERE: &str = "ws://192.0.2.1:9/rpc";

fn elsewhere() -> SessionBuilder {
    Session::builder(ELSEWHERE).connect_timeout(Duration::from_millis(300))
}

#[tokio::test]
async fn credentials_and_tokens_are_not_sent_unencrypted() {
    let with_header = elsewhere().header("authorization", "Bearer s3cret").plain();
    let with_cookie = elsewhere().header("cookie", "session=s3cret").plain();
    let asked = elsewhere().credentials(|_challenge| async { Credentials::bearer("s3cret") });
    let bearer = [elsewhere().bearer("s3cret"), elsewhere().bearer("s3cret").plain()];
    for connect in bearer.into_iter().chain([with_header, with_cookie, asked]) {
        let refused = within(connect.connect()).await.unwrap_err();
        assert!(matches!(&refused, ConnectError::Unencrypted { authority, .. } if authority == "192.0.2.1:9"));
        let message = refused.to_string();
        assert!(message.starts_with("credentials would be sent to 192.0.2.1:9 unencrypted"), "{message}");
        assert!(message.contains("allow_unencrypted") && message.contains("wss:"), "{message}");
    }
    let refused = within(elsewhere().connect()).await.unwrap_err();
    assert!(refused.to_string().contains("the tokens of the session"), "{refused}");
    assert!(refused.to_string().contains("SessionBuilder::plain"), "{refused}");
}

#[tokio::test]
async fn unencrypted_connections_without_secrets_or_with_permission_are_dialed() {
    for connect in [elsewhere().plain(), elsewhere().allow_unencrypted().bearer("s3cret")] {
        let error = within(connect.connect()).await.unwrap_err();
        assert!(matches!(error, ConnectError::Unreachable { .. } | ConnectError::TimedOut(_)), "{error}");
    }
}

#[tokio::test]
async fn headers_of_a_batch_are_not_sent_unencrypted() {
    for (name, value) in [("authorization", "Bearer s3cret"), ("cookie", "session=s3cret")] {
        let batch = batch("http://192.0.2.1:9/rpc").unwrap().header(name, value);
        let api = batch.root_dyn();
        let error = within(batch.send(async move { api.call("add", (1, 2)).await.map(drop) })).await.unwrap_err();
        assert!(error.to_string().contains("credentials would be sent to 192.0.2.1:9 unencrypted"), "{error}");
    }
}

#[tokio::test]
async fn secrets_are_sent_unencrypted_to_the_same_machine() {
    let named = |token: &str| (token == "s3cret").then(|| Principal::new("ann"));
    let address = serve(service().authenticate(named)).await;
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("ws://{host}:{}/rpc", address.port());
        Session::builder(&url).bearer("s3cret").connect().await.unwrap().close().await;
        Session::builder(&url).bearer("s3cret").plain().connect().await.unwrap().close().await;
        let batch = batch(&url).unwrap().header("authorization", "Bearer s3cret");
        let api = batch.root_dyn();
        let sum = batch.send(async move { api.call("add", (1, 2)).await.map(drop) }).await;
        assert!(sum.is_ok(), "{sum:?}");
    }
}
