//! All public types are `Send + Sync + 'static` and implement `Debug`.

use std::fmt::Debug;

use bowline_core::generated::TypedCalls;
use bowline_core::peer::testing::{End, EndReceiver, EndSender, Message, Pair, Side, Wire};
use bowline_core::peer::*;

fn shared<T: Send + Sync + Debug + 'static>() {}

fn sent<T: Send + 'static>(_: &T) {}

#[test]
fn public_types() {
    shared::<Stub>();
    shared::<Promise<std::cell::Cell<u8>, Never>>();
    shared::<Waiting<std::cell::Cell<u8>, Never>>();
    shared::<Func<std::rc::Rc<u8>, std::rc::Rc<u8>>>();
    shared::<Arg<u8>>();
    shared::<Elements<u8>>();
    shared::<Args>();
    shared::<Member>();
    shared::<MemberKind>();
    shared::<Connection>();
    shared::<Revoke>();
    shared::<CallError<Thrown>>();
    shared::<RemoteError>();
    shared::<SessionError>();
    shared::<CodecError>();
    shared::<TransportEnd>();
    shared::<Pair>();
    shared::<Wire>();
    shared::<Message>();
    shared::<Side>();
    shared::<End>();
    shared::<EndSender>();
    shared::<EndReceiver>();
}

#[test]
fn public_futures() {
    let stub = Stub::function(|_| async { Err(bowline_core::value::Value::Null) });
    let promise = stub.call_typed::<u8, Never>("", &());
    sent(&Promise::timeout(promise.clone(), std::time::Duration::ZERO));
    sent(&promise.into_future());
    let (left, _, _) = testing::link();
    let (connection, driver) = Connection::start(left, None, bowline_core::limits::Limits::default());
    sent(&driver);
    let handle = connection.clone();
    sent(&async move { (handle.closed().await, handle.answered().await) });
    sent(&async move { stub.broken().await });
}

#[test]
fn arguments() {
    fn takes(_: impl IntoArg<u64>, _: impl IntoArg<String>, _: impl IntoArg<Stub>) {}
    let stub = Stub::function(|_| async { Err(bowline_core::value::Value::Null) });
    let promise = stub.get_typed::<u64, Never>("x");
    takes(1, "text", &stub);
    takes(&promise, String::new(), stub.clone());
    takes(promise, "text", stub.get_typed::<Stub, Never>("y"));
}
