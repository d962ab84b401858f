//! `#[bowline::durable]`, and the attributes that say what a repeated call does, as applications use them.

use std::sync::Arc;

use bowline::durable::{Durable, RestoreCtx, RestoreError, Restorers};
use bowline::interface::{Lifetime, Repeat};
use bowline::{CallError, ErrorCode};

#[bowline::interface]
trait Account {
    #[rpc(idempotent)]
    async fn owner(&self) -> String;
    #[rpc(recorded)]
    async fn pay(&self, amount: u64) -> u64;
    async fn parent(&self) -> Option<AccountRef>;
}

/// Data, a durable reference, and a field that is not part of the recipe.
#[bowline::durable(restorer = "account", version = 2)]
struct Ledger {
    owner: String,
    parent: Option<AccountRef>,
    #[serde(default)]
    limit: Option<u64>,
    #[durable(skip)]
    bank: Arc<str>,
}

impl Account for Ledger {
    async fn owner(&self) -> String {
        format!("{} at {}", self.owner, self.bank)
    }

    async fn pay(&self, amount: u64) -> u64 {
        amount.min(self.limit.unwrap_or(amount))
    }

    async fn parent(&self) -> Option<AccountRef> {
        self.parent.clone()
    }
}

fn ledger(owner: &str, parent: Option<AccountRef>) -> Ledger {
    Ledger { owner: owner.to_owned(), parent, limit: None, bank: "then".into() }
}

fn restorers() -> Arc<Restorers> {
    let account = Ledger::restorer((), |ctx, params, ()| async move {
        if ctx.principal() != "ann" {
            return Err(RestoreError::PermissionDenied.into());
        }
        Ok(AccountRef::durable(params.restore("now".into())))
    });
    Arc::new(Restorers::new().with(account))
}

#[test]
fn attributes_declare_what_a_repeated_call_does() {
    let repeats: Vec<_> = AccountRef::INTERFACE.members.iter().map(|member| (member.name, member.repeat)).collect();
    assert_eq!(repeats, [("owner", Repeat::Idempotent), ("pay", Repeat::Recorded), ("parent", Repeat::Never)]);
}

#[bowline::interface]
trait Orders {
    #[rpc(detached)]
    async fn place(&self);
    #[rpc(detached, idempotent)]
    async fn cancel(&self);
    async fn watch(&self);
}

#[test]
fn attributes_declare_the_lifetime_of_a_call() {
    let members = OrdersRef::INTERFACE.members.iter();
    let lifetimes: Vec<_> = members.map(|member| (member.name, member.repeat, member.lifetime)).collect();
    let expected = [
        ("place", Repeat::Never, Lifetime::Detached),
        ("cancel", Repeat::Idempotent, Lifetime::Detached),
        ("watch", Repeat::Never, Lifetime::Session),
    ];
    assert_eq!(lifetimes, expected);
}

#[tokio::test]
async fn durable_struct_is_restored_from_its_fields() {
    let first = AccountRef::durable(ledger("ann", Some(AccountRef::durable(ledger("bank", None)))));
    assert_eq!(first.owner().await.unwrap(), "ann at then");
    let kept = serde_json::to_string(&bowline::Reference::stub(&first).stored_recipe().unwrap()).unwrap();
    assert!(!kept.contains("then"), "{kept}");

    let kept = serde_json::from_str(&kept).unwrap();
    let again = restorers().restore(&RestoreCtx::new("s_2", "ann", "tests"), &kept);
    let again = <AccountRef as bowline::Reference>::from_stub(again);
    assert_eq!(again.owner().await.unwrap(), "ann at now");
    assert_eq!(again.pay(7).await.unwrap(), 7);
    assert_eq!(again.parent().await.unwrap().unwrap().owner().await.unwrap(), "bank at now");

    let other = restorers().restore(&RestoreCtx::new("s_3", "bob", "tests"), &kept);
    let error: CallError = <AccountRef as bowline::Reference>::from_stub(other).owner().await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::PermissionDenied));
    assert_eq!(ledger("ann", None).recipe().version(), 2);
}
