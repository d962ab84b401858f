//! Types that cannot be declared in TypeScript, and invalid attributes.

use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Plain {
    id: u64,
}

#[derive(Serialize, Deserialize)]
struct Other {
    id: u64,
}

#[derive(Serialize, Deserialize, bowline::TypeScript)]
struct Holder {
    other: Vec<Other>,
}

#[bowline::interface]
trait Inner {}

#[bowline::interface(typescript)]
trait Api {
    async fn plain(&self) -> Plain;
    async fn inner(&self, inner: InnerRef);
}

#[bowline::interface(java)]
trait Java {}

#[derive(bowline::TypeScript)]
struct Odd<'a> {
    #[serde(with = "custom")]
    with: u64,
    #[typescript(name = "string")]
    text: &'a str,
}

#[derive(bowline::TypeScript)]
#[serde(from = "String")]
struct From;

fn main() {}
