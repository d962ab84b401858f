//! The interfaces that both sides serve and call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bowline::durable::Vars;
use bowline::error::ErrorValue;
use bowline::{Func, Promise, Stub, Thrown, Value};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

#[bowline::interface]
pub(crate) trait Garden {
    async fn plant(&self, kind: String, level: Option<f64>) -> BedRef;
    async fn slowly_planted(&self, kind: String, ms: u64) -> BedRef;
    async fn promised(&self, kind: String, ms: u64) -> PromisedBed;
    #[rpc(get)]
    async fn place(&self) -> Place;
    /// The variables of the session.
    #[rpc(get)]
    async fn memory(&self) -> Stub;
    async fn echo(&self, value: Value) -> Value;
    async fn dig(&self, depth: f64) -> Result<(), DigError>;
    async fn each_day(&self, days: u32, tell: Func<(u32,), Value, Thrown>) -> Result<Vec<Value>, Thrown>;
    async fn welcome(&self, gate: String, visitor: VisitorRef) -> Result<String, Thrown>;
    async fn show(&self, gate: String, what: Value) -> Result<usize, Thrown>;
    async fn visitor(&self, gate: String) -> Result<VisitorRef, ErrorValue>;
    async fn close(&self, gate: String) -> bool;
    async fn beds_of(&self, kind: String) -> usize;
}

#[bowline::interface]
pub(crate) trait Bed {
    async fn water(&self, litres: f64) -> f64;
    #[rpc(get)]
    async fn name(&self) -> String;
    async fn neighbour(&self, kind: String) -> BedRef;
}

#[bowline::interface]
pub(crate) trait Visitor {
    #[rpc(get)]
    async fn name(&self) -> String;
    async fn see(&self, what: Value) -> usize;
}

#[derive(Serialize, Deserialize, bowline::Pipeline)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) at: Vec<f64>,
}

#[derive(Serialize, Deserialize, bowline::Pipeline)]
pub(crate) struct PromisedBed {
    pub(crate) bed: Promise<BedRef>,
}

#[derive(Debug, PartialEq, thiserror::Error, bowline::RpcError)]
pub(crate) enum DigError {
    #[error("{0}")]
    #[rpc(name = "RangeError")]
    TooDeep(#[rpc(message)] String),
    #[error("the spade broke")]
    #[rpc(name = "Error")]
    Broken {
        tool: String,
        #[rpc(cause)]
        why: Rust,
    },
}

#[derive(Debug, PartialEq, thiserror::Error, bowline::RpcError)]
#[error("rust")]
#[rpc(name = "Error")]
pub(crate) struct Rust {}

#[derive(Default)]
pub(crate) struct Plot {
    pub(crate) beds: Arc<Mutex<HashMap<String, usize>>>,
    pub(crate) gates: Arc<Mutex<HashMap<String, VisitorRef>>>,
    pub(crate) vars: Vars,
}

impl Plot {
    fn bed(&self, kind: &str, level: f64) -> BedRef {
        planted(&self.beds, kind, level)
    }

    fn gate(&self, gate: &str) -> Result<VisitorRef, ErrorValue> {
        let found = locked(&self.gates).get(gate).cloned();
        found.ok_or_else(|| ErrorValue::new("RangeError", "no visitor is at this gate"))
    }
}

fn locked<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().expect("the lock is not poisoned")
}

pub(crate) fn planted(beds: &Arc<Mutex<HashMap<String, usize>>>, kind: &str, level: f64) -> BedRef {
    *locked(beds).entry(kind.to_owned()).or_default() += 1;
    BedRef::new(Soil { kind: kind.to_owned(), level: Mutex::new(level), beds: Arc::clone(beds) })
}

impl Garden for Plot {
    async fn plant(&self, kind: String, level: Option<f64>) -> BedRef {
        self.bed(&kind, level.unwrap_or_default())
    }

    async fn slowly_planted(&self, kind: String, ms: u64) -> BedRef {
        sleep(Duration::from_millis(ms)).await;
        self.bed(&kind, 0.0)
    }

    async fn promised(&self, kind: String, ms: u64) -> PromisedBed {
        let beds = Arc::clone(&self.beds);
        let bed = Promise::new(async move {
            sleep(Duration::from_millis(ms)).await;
            Ok(planted(&beds, &kind, 0.0))
        });
        PromisedBed { bed }
    }

    async fn place(&self) -> Place {
        Place { name: "Brno".to_owned(), at: vec![49.2, 16.6] }
    }

    async fn memory(&self) -> Stub {
        self.vars.target()
    }

    async fn echo(&self, value: Value) -> Value {
        value
    }

    async fn dig(&self, depth: f64) -> Result<(), DigError> {
        assert!(depth > 0.0, "depth must be positive");
        if depth > 1.0 { Err(DigError::TooDeep(format!("{depth} m is too deep"))) } else { Err(broken()) }
    }

    async fn each_day(&self, days: u32, tell: Func<(u32,), Value, Thrown>) -> Result<Vec<Value>, Thrown> {
        let mut told = Vec::new();
        for day in 0..days {
            told.push(tell.call((day,)).await?);
        }
        Ok(told)
    }

    async fn welcome(&self, gate: String, visitor: VisitorRef) -> Result<String, Thrown> {
        let welcome = format!("Welcome, {}", visitor.name().await?);
        locked(&self.gates).insert(gate, visitor);
        Ok(welcome)
    }

    async fn show(&self, gate: String, what: Value) -> Result<usize, Thrown> {
        Ok(self.gate(&gate)?.see(what).await?)
    }

    async fn visitor(&self, gate: String) -> Result<VisitorRef, ErrorValue> {
        self.gate(&gate)
    }

    async fn close(&self, gate: String) -> bool {
        locked(&self.gates).remove(&gate).is_some()
    }

    async fn beds_of(&self, kind: String) -> usize {
        locked(&self.beds).get(&kind).copied().unwrap_or_default()
    }
}

pub(crate) fn broken() -> DigError {
    DigError::Broken { tool: "spade".to_owned(), why: Rust {} }
}

pub(crate) struct Soil {
    kind: String,
    level: Mutex<f64>,
    beds: Arc<Mutex<HashMap<String, usize>>>,
}

impl Bed for Soil {
    async fn water(&self, litres: f64) -> f64 {
        let mut level = locked(&self.level);
        *level += litres;
        *level
    }

    async fn name(&self) -> String {
        self.kind.clone()
    }

    async fn neighbour(&self, kind: String) -> BedRef {
        planted(&self.beds, &kind, 0.0)
    }
}

impl Drop for Soil {
    fn drop(&mut self) {
        if let Some(count) = locked(&self.beds).get_mut(&self.kind) {
            *count -= 1;
        }
    }
}
