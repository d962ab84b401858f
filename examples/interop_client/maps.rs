//! Maps over remote lists, which run where the list is.

use bowline::interface::Mapped;
use bowline::{Func, Promise, Reference, Value};
use serde::Serialize;
use serde_json::json;

use crate::describe::describe;
use crate::kit::{Context, Outcome, json};

/// The result of mapping a record.
#[derive(Serialize)]
struct Squared {
    id: Promise<f64>,
    sq: Promise<f64>,
}

impl Mapped for Squared {
    type Value = Value;
}

pub(crate) async fn run(step: &str, Context { m, .. }: &Context) -> Option<Outcome> {
    let outcome = async {
        Ok(Some(match step {
            "map-square" => json!(m.list_numbers(5_u32).map_each(|x| m.square(x)).await?),
            "map-capabilities" => {
                json!(m.list_counters(3_u32).map_each(|counter| counter.increment(Some(10.0))).await?)
            }
            "map-object" => {
                let records = m.list_records(2_u32);
                let squared = records.map_each(|record| Squared { id: record.id(), sq: m.square(record.id()) });
                json(&Value::Array(squared.await?))
            }
            "map-nested" => {
                let matrix = m.matrix(3_u32, 2_u32);
                json!(matrix.map_each(|row| row.map_each(|x| m.square(x))).await?)
            }
            "map-null" => {
                let name = m.return_null().map_each(|x| Promise::stub(&x).get("name")).await?;
                json!(describe(&name.into()))
            }
            "map-client-function" => {
                let triple = Func::<(f64,), f64>::new(|(x,)| async move { x * 3.0 });
                let tripled = m.list_numbers(4_u32).map_each(|x| triple.stub().call("", (x,)));
                json(&Value::Array(tripled.await?))
            }
            _ => return Ok(None),
        }))
    };
    outcome.await.transpose()
}
