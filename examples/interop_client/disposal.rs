//! When objects are released.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bowline::{CallError, Reference, Stub};
use serde_json::json;
use tokio::time::sleep;

use crate::contract::InteropRef;
use crate::kit::{Context, Outcome, until};

/// An object whose drop is observed.
#[bowline::interface]
trait Watched {
    async fn ping(&self) -> String;
}

/// Sets a flag when it is dropped.
struct Dropped(Arc<AtomicBool>);

impl Watched for Dropped {
    async fn ping(&self) -> String {
        "pong".to_owned()
    }
}

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

pub(crate) async fn run(step: &str, Context { m, .. }: &Context) -> Option<Outcome> {
    let outcome = async {
        Ok(Some(match step {
            "dispose-stub" => {
                let tracked = m.make_tracked("ds").await?;
                let before = m.live_count("ds").await?;
                drop(tracked);
                json!([before, counted(m, "ds", 0).await?])
            }
            "dispose-duplicate" => {
                let first = m.make_tracked("dd").await?;
                let second = first.clone();
                drop(first);
                sleep(Duration::from_millis(30)).await;
                let (live, pong) = (m.live_count("dd").await?, second.ping().await?);
                drop(second);
                json!([live, pong, counted(m, "dd", 0).await?])
            }
            "dispose-result" => {
                let tree = m.make_tracked_tree("dr").await?;
                let before = m.live_count("dr").await?;
                drop(tree);
                json!([before, counted(m, "dr", 0).await?])
            }
            "dispose-promise" => {
                let promise = m.make_tracked("dp");
                let before = counted(m, "dp", 1).await?;
                drop(promise);
                json!([before, counted(m, "dp", 0).await?])
            }
            "released-argument" => {
                let (object, gone) = watched();
                m.take_cap(object.into_value()).await?;
                json!(until(async || Ok::<_, CallError>(gone.load(Ordering::SeqCst)), true).await?)
            }
            "released-held" => {
                let (object, gone) = watched();
                m.hold("released-held", object).await?;
                sleep(Duration::from_millis(30)).await;
                let before = gone.load(Ordering::SeqCst);
                m.drop_held("released-held").await?;
                json!([before, until(async || Ok::<_, CallError>(gone.load(Ordering::SeqCst)), true).await?])
            }
            _ => return Ok(None),
        }))
    };
    outcome.await.transpose()
}

/// Waits until the number of live objects is `want`, and returns the last number seen.
pub(crate) async fn counted(m: &InteropRef, tag: &str, want: usize) -> Result<usize, CallError> {
    until(|| m.live_count(tag).into_future(), want).await
}

fn watched() -> (Stub, Arc<AtomicBool>) {
    let gone = Arc::new(AtomicBool::new(false));
    (WatchedRef::new(Dropped(Arc::clone(&gone))).stub().clone(), gone)
}
