//! What objects in the tests of peers and streams are made of.

use std::future::{Future, ready};

use bowline_core::peer::testing::Pair;
use bowline_core::peer::{Lifetime, Member, MemberKind, Never, Repeat, Reply, RpcError, reply};
use bowline_core::session::SessionStats;
use serde::Serialize;

pub(crate) const fn method(name: &'static str) -> Member {
    repeatable(name, Repeat::Never)
}

pub(crate) const fn repeatable(name: &'static str, repeat: Repeat) -> Member {
    Member { name, kind: MemberKind::Method, args: &[], repeat, lifetime: Lifetime::Session }
}

/// Returns a reply that is ready at once.
pub(crate) fn now<T: Serialize>(value: T) -> Option<Reply> {
    Some(Box::pin(ready(reply(Ok::<T, Never>(value)))))
}

/// Returns the reply of a method that takes longer.
pub(crate) fn later<T, E, F>(future: F) -> Option<Reply>
where
    T: Serialize,
    E: RpcError,
    F: Future<Output = Result<T, E>> + Send + 'static,
{
    Some(Box::pin(async move { reply(future.await) }))
}

/// Waits until all messages in flight have arrived.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

pub(crate) async fn assert_idle(pair: &Pair) {
    settle().await;
    let idle = SessionStats { imports: 1, exports: 1 };
    assert_eq!((pair.left.stats(), pair.right.stats()), (idle, idle));
}
