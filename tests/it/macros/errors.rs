//! Errors that `derive(RpcError)` sends and reads.

use bowline::error::ErrorValue;
use bowline::{CallError, RpcError as _, Value};

use super::{ProfileError, TokenError, bad_token, connected};

#[tokio::test]
async fn errors_arrive_unchanged_at_the_caller() {
    let (api, pair) = connected();
    let errors = [
        (0, ProfileError::Empty, r#"["error","Empty","the directory is empty",null,{"code":"Empty"}]"#),
        (
            100,
            ProfileError::NoUser { user_id: 100, hint: None },
            r#"["error","NoUser","there is no 100",null,{"code":"NoUser","userId":100,"hint":null}]"#,
        ),
        (
            101,
            ProfileError::TooLarge("101 is too large".to_owned()),
            r#"["error","RangeError","101 is too large",null,{"code":"TooLarge"}]"#,
        ),
        (
            102,
            ProfileError::Token(bad_token()),
            r#"["error","Token","the token is not valid",null,{"code":"Token","cause":["error","TokenError","bad token",null,{"code":"TokenError","why":"too old"}]}]"#,
        ),
    ];
    for (id, expected, wire) in errors {
        match api.profile(id).await {
            Err(CallError::App(error)) => assert_eq!(error, expected),
            other => panic!("{:?}", other.map(|profile| profile.id)),
        }
        let log = pair.wire.take_log().join("\n");
        assert!(log.contains(wire), "{wire} in {log}");
    }
}

#[test]
fn errors_are_matched_by_code_or_by_a_name_that_one_case_has() {
    let error = |name: &str, code: Option<&str>| {
        let mut error = ErrorValue::new(name, "far");
        if let Some(code) = code {
            error.props.insert("code", Value::String(code.to_owned()));
        }
        Value::from(error)
    };
    // A JavaScript peer that passes an error on keeps its properties, and not a name that it does not know.
    assert_eq!(ProfileError::from_value(&error("Error", Some("Empty"))), Some(ProfileError::Empty));
    assert_eq!(ProfileError::from_value(&error("Empty", Some("Other"))), None);
    assert_eq!(ProfileError::from_value(&error("RangeError", None)), Some(ProfileError::TooLarge("far".to_owned())));
    assert_eq!(Ambiguous::from_value(&error("RangeError", None)), None);
    assert_eq!(Ambiguous::from_value(&error("RangeError", Some("TOO_LOW"))), Some(Ambiguous::Low));
}

#[derive(Debug, PartialEq, thiserror::Error, bowline::RpcError)]
enum Ambiguous {
    #[error("too low")]
    #[rpc(name = "RangeError", code = "TOO_LOW")]
    Low,
    #[error("too high")]
    #[rpc(name = "RangeError")]
    High,
}

#[tokio::test]
async fn source_that_is_not_a_cause_is_not_sent() {
    let (api, pair) = connected();
    let error = api.profile(103).await.err().expect("the call fails");
    let remote = error.remote().expect("the error cannot be rebuilt from its properties");
    assert_eq!((remote.name(), remote.message()), ("Disk", "the disk is gone"));
    assert_eq!(remote.props().and_then(|props| props.get("number")), Some(&Value::Number(5.0)));
    assert!(!pair.wire.log().join("\n").contains("/var/lib"));
}

#[tokio::test]
async fn error_of_an_earlier_call_can_be_downcast() {
    let (api, _pair) = connected();
    let error = api.authenticate("bad").me().await.expect_err("the token is not valid");
    let remote = error.remote().expect("`me` declares no error");
    assert_eq!(remote.downcast::<TokenError>(), Some(bad_token()));
    assert_eq!(remote.downcast::<ProfileError>(), None);
}
