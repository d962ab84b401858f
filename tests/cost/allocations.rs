//! How often memory is asked for. Typed arguments take what their types own and nothing else: the
//! decoder reads from the message, and an answer is written into the text that is sent.

use allocation_counter::measure;
use bowline::transport::Options;
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

/// Decodes an argument list, and says how often that asked for memory the second time: a thread keeps
/// where it notes capabilities.
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
fn arguments_that_own_nothing_take_no_allocation() {
    assert_eq!(decoding("[]", &()), 0);
    assert_eq!(decoding("[1,2]", &(1_i64, 2_i64)), 0);
    assert_eq!(decoding("[true,null,1.5]", &(true, None::<u8>, 1.5_f64)), 0);
    assert_eq!(decoding(r#"[{"id":7,"price":12.5,"paid":true,"side":"Sell"},3]"#, &(ORDER, 3_u32)), 0);
}

#[test]
fn arguments_that_own_something_take_one_allocation_for_each() {
    assert_eq!(decoding(r#"["a word"]"#, &"a word".to_owned()), 1);
    assert_eq!(decoding(r#"["one",2,"three"]"#, &("one".to_owned(), 2_u8, "three".to_owned())), 2);
    assert_eq!(decoding("[[[1,2,3,4]]]", &vec![1_u64, 2, 3, 4]), 1);
    // Nothing is owned, for it is not asked for.
    assert_eq!(decoding(r#"[{"id":7,"note":"long","price":12.5,"paid":true,"side":"Sell"}]"#, &ORDER), 0);
}

#[test]
fn a_small_answer_lies_in_place_and_a_larger_one_is_one_allocation() {
    assert_eq!(encoding(&3_i64, "3"), 0);
    assert_eq!(encoding(&(), "[\"undefined\"]"), 0);
    assert_eq!(encoding(&"a word", "\"a word\""), 0);
    assert_eq!(encoding(&ORDER, r#"{"id":7,"price":12.5,"paid":true,"side":"Sell"}"#), 1);
}

/// Rounds that are counted; what grows once in a while is spread over them.
const ROUNDS: u64 = 100;

fn per_round(runtime: &Runtime, joined: &Joined, scenario: impl AsyncFn(&Joined)) -> f64 {
    let rounds = || {
        runtime.block_on(async {
            for _ in 0..ROUNDS {
                scenario(joined).await;
            }
        });
    };
    // Tables and buffers have grown when the second hundred begins.
    rounds();
    measure(rounds).count_total as f64 / ROUNDS as f64
}

/// Both sides together, the caller's future, frames and the pipe included. Bounds are what was counted
/// and some more, so that a new allocation for each call is seen.
#[test]
fn whole_calls_stay_within_their_allocations() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let joined = runtime.block_on(join_in_memory(Options::default()));
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
        assert!(count <= bound, "{what}: {count} allocations, more than {bound}");
    }
    assert_eq!(joined.client.stats(), idle);
    assert!(!joined.server.is_closed());
}
