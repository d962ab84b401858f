#![deny(warnings, missing_docs, unreachable_pub)]
//! A durable struct in a crate with strict lints.

use serde::{Deserialize, Serialize};

/// A durable struct with a field of every kind.
#[bowline::durable(restorer = "account", version = 2)]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    /// The owner.
    #[serde(rename = "o", default)]
    pub owner: String,
    number: u64,
    #[durable(skip)]
    #[serde(skip)]
    bank: Option<u8>,
}

#[bowline::durable(restorer = "unit", version = 1)]
struct Unit;

fn main() {
    let account = Account { owner: "ann".to_owned(), number: 7, bank: None };
    let recipe = bowline::durable::Durable::recipe(&account);
    assert_eq!((recipe.restorer(), recipe.version()), ("account", 2));
    let params = AccountParams { owner: String::new(), number: 1 };
    assert_eq!(params.restore(Some(3)).bank, Some(3));
    let _ = (bowline::durable::Durable::recipe(&Unit), UnitParams {}.restore());
}
