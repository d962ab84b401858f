//! Numbers of allocations. Typed arguments allocate only what their types own: the decoder reads from the
//! message, and a reply is written into the text that is sent.

use allocation_counter::measure;
use bowline::transport::SessionOptions;
use bowline::value::{Payload, encode};
use bowline_core::value::decode_args;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use crate::peers::{Joined, join_in_memory};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    price: f64,
    paid: bool,
    side: Side,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Side {
    Buy,
    Sell,
}

const ORDER: Order = Order { id: 7, price: 12.5, paid: true, side: Side::Sell };

/// Decodes an argument list twice and returns the number of allocations of the second time, because each
/// thread allocates its list of capabilities once.
#[track_caller]
fn decoding<T: DeserializeOwned + PartialEq + std::fmt::Debug>(text: &str, expected: &T) -> u64 {
    let first = decode_args::<T>(Payload::plain(text)).unwrap();
    let payload = Payload::plain(text);
    let mut decoded = None;
    let info = measure(|| decoded = Some(decode_args::<T>(payload)));
    assert_eq!((&first, &decoded.unwrap().unwrap()), (expected, expected));
    info.count_total
}

fn encoding<T: Serialize>(value: &T, expected: &str) -> u64 {
    let first = encode(value).unwrap();
    let mut encoded = None;
    let info = measure(|| encoded = Some(encode(value)));
    assert_eq!((first.text(), encoded.unwrap().unwrap().text()), (expected, expected));
    info.count_total
}

#[test]
fn arguments_that_own_nothing_do_not_allocate() {
    assert_eq!(decoding("[]", &()), 0);
    assert_eq!(decoding("[1,2]", &(1_i64, 2_i64)), 0);
    assert_eq!(decoding("[true,null,1.5]", &(true, None::<u8>, 1.5_f64)), 0);
    assert_eq!(decoding(r#"[{"id":7,"price":12.5,"paid":true,"side":"Sell"},3]"#, &(ORDER, 3_u32)), 0);
}

#[test]
fn each_owning_argument_takes_one_allocation() {
    assert_eq!(decoding(r#"["a word"]"#, &"a word".to_owned()), 1);
    assert_eq!(decoding(r#"["one",2,"three"]"#, &("one".to_owned(), 2_u8, "three".to_owned())), 2);
    assert_eq!(decoding("[[[1,2,3,4]]]", &vec![1_u64, 2, 3, 4]), 1);
    // An argument that is not decoded allocates nothing.
    assert_eq!(decoding(r#"[{"id":7,"note":"long","price":12.5,"paid":true,"side":"Sell"}]"#, &ORDER), 0);
}

#[test]
fn small_reply_is_inline_and_a_larger_one_takes_one_allocation() {
    assert_eq!(encoding(&3_i64, "3"), 0);
    assert_eq!(encoding(&(), "[\"undefined\"]"), 0);
    assert_eq!(encoding(&"a word", "\"a word\""), 0);
    assert_eq!(encoding(&ORDER, r#"{"id":7,"price":12.5,"paid":true,"side":"Sell"}"#), 1);
}

/// The number of counted rounds. Allocations of growing tables are spread over them.
const ROUNDS: u64 = 100;

fn per_round(runtime: &Runtime, joined: &Joined, scenario: impl AsyncFn(&Joined)) -> f64 {
    let rounds = || {
        runtime.block_on(async {
            for _ in 0..ROUNDS {
                scenario(joined).await;
            }
        });
    };
    // Tables and buffers have grown before the second hundred rounds begin.
    rounds();
    measure(rounds).count_total as f64 / ROUNDS as f64
}

/// Counts both sides, including the caller's future, frames, and the pipe. The limits are slightly above the
/// measured numbers, so that one more allocation per call exceeds them.
#[test]
fn calls_stay_within_their_allocation_limits() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let joined = runtime.block_on(join_in_memory(SessionOptions::default()));
    let idle = joined.client.stats();
    let bytes = vec![7; 64 << 10];
    let counts = [
        ("a call", 8.0, per_round(&runtime, &joined, async |joined| joined.call().await)),
        ("64 calls at once", 240.0, per_round(&runtime, &joined, async |joined| joined.calls_at_once().await)),
        ("a chain of eight", 70.0, per_round(&runtime, &joined, async |joined| joined.chain().await)),
        ("an object", 28.0, per_round(&runtime, &joined, async |joined| joined.object().await)),
        ("a callback", 27.0, per_round(&runtime, &joined, async |joined| joined.callback().await)),
        ("64 KiB", 35.0, per_round(&runtime, &joined, async |joined| joined.bytes(&bytes).await)),
    ];
    for (what, bound, count) in counts {
        println!("{what}: {count} allocations");
        assert!(count <= bound, "{what}: {count} allocations exceed the limit of {bound}");
    }
    assert_eq!(joined.client.stats(), idle);
    assert!(!joined.server.is_closed());
}
