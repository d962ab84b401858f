//! A store in Redis, which several hosts can share. Every change is a script that runs inside of
//! the server, with the server's clock.
//!
//! Redis replicates after it has answered. When a replica takes over, the latest changes may be
//! lost, even claims: two owners can then have one session with the same epoch. To rule that out,
//! run a single server that writes every change to its disk (`appendfsync always`), without
//! failover.

mod presence;
mod script;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bowline_core::resume::{Jti, snapshot_sum};
use bytes::Bytes;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{
    Client, ErrorKind, ExistenceCheck, FromRedisValue, RedisError, ScriptInvocation, SetExpiry, SetOptions, Value,
};

use self::presence::{GRACE, Presence, Subscriber};
use self::script::Scripts;
use super::bounds::{self, Bound, WANTED_MAX};
use super::{
    CHECKPOINTS_MAX, Checkpoint, Claim, Claimed, EPOCH_MAX, Fence, Held, LIST_MAX, OwnerInfo, Place, Position, Quota,
    RECORDED_BYTES_EACH, RECORDED_BYTES_MAX, Recorded, SESSION_BYTES_EACH, STURDY_MAX, SessionStore, StoreError,
    SturdyEntry, SturdyRecord, Wanted, intact,
};

/// The timeout of connecting, and of an answer.
const WAIT: Duration = Duration::from_secs(2);

/// The timeout of an operation, including reconnecting.
const OPERATION: Duration = Duration::from_secs(5);

/// The longest time to live: the server counts milliseconds.
const KEEP_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The number of the layout.
const LAYOUT: i64 = 1;

/// The length of the checksum in front of a snapshot.
const SUM_BYTES: usize = 43;

/// The kinds of keys, which follow the prefix.
const SESSION: char = 's';
const CHECKPOINTS: char = 'c';
const OUTCOMES: char = 'r';
const OUTCOME_AGES: char = 'x';
const OWNER: char = 'o';
/// The mark that the process of an owner is subscribed to a channel.
const MARK: char = 'm';
/// When a claim first found such a channel without a subscriber.
const MISSED: char = 'd';
const REFERENCE: char = 't';
const REFERENCES: char = 'u';
const ACCOUNT: char = 'a';
const INSTANCE: char = 'i';
const WANTED: char = 'w';

/// How long a request for a session is kept for its owner.
const WANTED_FOR: Duration = Duration::from_secs(60);

/// A store in a Redis server, under keys with a common prefix.
#[derive(Clone)]
pub struct RedisStore {
    connection: ConnectionManager,
    /// Another connection, so that leases are renewed while large checkpoints are sent.
    leases: ConnectionManager,
    /// Opens the connections by which the server sees that the process of an owner runs.
    client: Client,
    presences: Arc<Mutex<HashMap<String, Presence>>>,
    scripts: Arc<Scripts>,
    prefix: Arc<str>,
}

impl RedisStore {
    /// Connects to a server, for example `redis://127.0.0.1:6379`, and uses keys that begin with
    /// `bowline:`. If the connection breaks, operations in progress fail with `Unavailable`, and
    /// the next one reconnects.
    ///
    /// # Errors
    /// Returns `Unavailable` if the server cannot be reached or the URL is malformed, and `Layout`
    /// if another version has written there.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::connect_with_prefix(url, "bowline:").await
    }

    /// Connects to a server and uses keys that begin with `prefix`. Services that share a server
    /// need different prefixes to keep their sessions apart.
    ///
    /// # Errors
    /// Returns `Unavailable` if the server cannot be reached or the URL is malformed, and `Layout`
    /// if another version has written there.
    pub async fn connect_with_prefix(url: &str, prefix: &str) -> Result<Self, StoreError> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(WAIT))
            .set_response_timeout(Some(WAIT))
            .set_number_of_retries(1);
        let client = Client::open(url).map_err(|error| failure(&error, None))?;
        let connecting = in_time(ConnectionManager::new_with_config(client.clone(), config.clone()));
        let connection = connecting.await?.map_err(|error| failure(&error, None))?;
        let connecting = in_time(ConnectionManager::new_with_config(client.clone(), config));
        let leases = connecting.await?.map_err(|error| failure(&error, None))?;
        let (presences, scripts) = (Arc::default(), Arc::new(Scripts::new()));
        let store = Self { connection, leases, client, presences, scripts, prefix: prefix.into() };
        store.check_layout().await?;
        Ok(store)
    }

    async fn check_layout(&self) -> Result<(), StoreError> {
        let key = format!("{}layout", self.prefix);
        let mut first = redis::cmd("SET");
        first.arg(&key).arg(LAYOUT).arg("NX").arg("GET");
        let found: Option<i64> = self.command(&first).await?;
        match found {
            None | Some(LAYOUT) => Ok(()),
            Some(found) => Err(StoreError::Layout { found, known: LAYOUT }),
        }
    }

    async fn command<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, StoreError> {
        Self::command_on(&self.connection, command).await
    }

    async fn command_on<T: FromRedisValue>(
        connection: &ConnectionManager,
        command: &redis::Cmd,
    ) -> Result<T, StoreError> {
        let mut connection = connection.clone();
        in_time(command.query_async(&mut connection)).await?.map_err(|error| failure(&error, None))
    }

    /// Runs a script that may report that `bound` is exceeded.
    async fn run<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
        bound: impl Into<Option<Bound>>,
    ) -> Result<T, StoreError> {
        Self::run_on(&self.connection, script, bound.into()).await
    }

    async fn run_on<T: FromRedisValue>(
        connection: &ConnectionManager,
        script: &ScriptInvocation<'_>,
        bound: Option<Bound>,
    ) -> Result<T, StoreError> {
        let mut connection = connection.clone();
        in_time(script.invoke_async(&mut connection)).await?.map_err(|error| failure(&error, bound))
    }

    fn key(&self, kind: char, name: &str) -> String {
        format!("{}{kind}:{name}", self.prefix)
    }

    fn presences(&self) -> MutexGuard<'_, HashMap<String, Presence>> {
        self.presences.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows the server that the process of an owner runs, as far as the server supports that.
    async fn begin_presence(&self, owner: &str) {
        let presence = Presence::begin(Subscriber {
            client: self.client.clone(),
            commands: self.leases.clone(),
            mark: self.scripts.mark.clone(),
            unmark: self.scripts.unmark.clone(),
            keys: [OWNER, MARK, MISSED].map(|kind| self.key(kind, owner)),
        });
        let started = presence.started();
        self.presences().insert(owner.to_owned(), presence);
        // If it takes longer, the lease alone counts until then.
        drop(tokio::time::timeout(WAIT, started).await);
    }

    /// Creates the key of a lease, whose value is the owner's address. Returns `false` if the owner
    /// exists.
    async fn begin_lease(&self, owner: &str, lease: Duration) -> Result<bool, StoreError> {
        let expires = SetExpiry::PX(millis(lease));
        let options = SetOptions::default().conditional_set(ExistenceCheck::NX).with_expiration(expires);
        let mut set = redis::cmd("SET");
        set.arg(self.key(OWNER, owner)).arg("").arg(options);
        Ok(Self::command_on::<Option<String>>(&self.leases, &set).await?.is_some())
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may contain a password.
        f.debug_struct("RedisStore").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

async fn in_time<T>(operation: impl Future<Output = T>) -> Result<T, StoreError> {
    let elapsed = |_elapsed| StoreError::Unavailable("the Redis server did not answer in time".to_owned());
    tokio::time::timeout(OPERATION, operation).await.map_err(elapsed)
}

/// Converts the error codes of scripts, and all other errors.
fn failure(error: &RedisError, bound: Option<Bound>) -> StoreError {
    let size = error.detail().and_then(|size| size.parse().ok());
    match (error.code(), bound.zip(size)) {
        (Some("FENCED"), _) => StoreError::Fenced,
        (Some("TAKEN"), _) => StoreError::Taken,
        (Some("LATER"), _) => StoreError::OutOfOrder,
        (Some("FULL"), Some((bound, size))) => bound.exceeded(size),
        (Some("QUOTA"), _) => quota_exceeded(error.detail().unwrap_or_default()),
        _ if error.kind() == ErrorKind::UnexpectedReturnType => StoreError::Corrupt(error.to_string()),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// Reads the size and the limit that a script reports.
fn quota_exceeded(detail: &str) -> StoreError {
    let mut numbers = detail.split(' ').map(|number| number.parse().unwrap_or_default());
    let (size, max) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    StoreError::TooMuch { what: bounds::STORED, size, max }
}

/// Returns at least 1, because the server refuses a time to live of 0.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.min(KEEP_MAX).as_millis()).unwrap_or(u64::MAX).max(1)
}

/// Returns a position as text that sorts in the order of positions.
fn place(at: Position) -> String {
    format!("{:020}{:020}", at.lineage, at.number)
}

fn position(place: &str) -> Option<Position> {
    let (lineage, number) = place.split_at_checked(20)?;
    Some(Position { lineage: lineage.parse().ok()?, number: number.parse().ok()? })
}

fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(format!("{what} cannot be read"))
}

#[async_trait]
impl SessionStore for RedisStore {
    async fn open_owner(&self, owner: &str, lease: Duration) -> Result<(), StoreError> {
        bounds::name("the name of an owner", owner)?;
        if !self.begin_lease(owner, lease).await? {
            return Err(StoreError::Taken);
        }
        self.begin_presence(owner).await;
        Ok(())
    }

    async fn describe_owner(&self, owner: &str, info: &OwnerInfo, place: Place) -> Result<(), StoreError> {
        bounds::owner_info(info)?;
        let instance = info.instance.as_deref().unwrap_or_default();
        let mut script = self.scripts.describe.key(self.key(OWNER, owner));
        script.key(self.key(INSTANCE, instance)).arg(owner).arg(info.address.as_deref().unwrap_or_default());
        script.arg(self.key(OWNER, "")).arg(u8::from(info.instance.is_some())).arg(u8::from(place == Place::Kept));
        self.run(&script, None).await
    }

    async fn want(&self, wanted: &Wanted) -> Result<(), StoreError> {
        bounds::wanted(wanted)?;
        let mut script = self.scripts.want.key(self.key(SESSION, &wanted.sid));
        script.arg(&wanted.sid).arg(&wanted.token.0).arg(self.key(WANTED, "")).arg(millis(WANTED_FOR));
        self.run(&script, None).await
    }

    async fn wanted(&self, owner: &str) -> Result<Vec<Wanted>, StoreError> {
        let mut script = self.scripts.wanted.key(self.key(OWNER, owner));
        let told: Vec<(String, String)> = self.run(script.key(self.key(WANTED, owner)).arg(WANTED_MAX), None).await?;
        Ok(told.into_iter().map(|(sid, token)| Wanted { sid, token: Jti(token) }).collect())
    }

    async fn renew_owner(&self, owner: &str, lease: Duration) -> Result<(), StoreError> {
        if self.presences().get(owner).is_some_and(Presence::is_doubted) {
            return Err(StoreError::Unavailable("the server may take this process for dead".to_owned()));
        }
        let mut script = self.scripts.renew.key(self.key(OWNER, owner));
        script.key(self.key(MARK, owner)).arg(millis(lease));
        let is_there: bool = Self::run_on(&self.leases, &script, None).await?;
        if is_there { Ok(()) } else { Err(StoreError::Fenced) }
    }

    async fn doubted(&self, owner: &str) {
        let doubted = self.presences().get(owner).map(Presence::doubted);
        match doubted {
            Some(doubted) => doubted.await,
            None => std::future::pending().await,
        }
    }

    async fn close_owner(&self, owner: &str) -> Result<(), StoreError> {
        let presence = self.presences().remove(owner);
        let keys = [OWNER, MARK, MISSED].map(|kind| self.key(kind, owner));
        let closed = Self::command_on(&self.leases, redis::cmd("DEL").arg(&keys)).await;
        drop(presence);
        closed
    }

    async fn create(
        &self,
        sid: &str,
        owner: &str,
        lifetime: Duration,
        quota: Option<&Quota>,
    ) -> Result<Fence, StoreError> {
        bounds::name("the name of a session", sid)?;
        bounds::quota(quota)?;
        let mut script = self.scripts.create.key(self.key(SESSION, sid));
        script
            .key(self.key(CHECKPOINTS, sid))
            .key(self.key(OUTCOMES, sid))
            .key(self.key(OUTCOME_AGES, sid))
            .key(self.key(OWNER, owner));
        let (account, bytes) = quota.map_or(("", 0), |quota| (quota.account.as_str(), quota.bytes));
        script.arg(owner).arg(millis(lifetime)).arg(account).arg(bytes);
        script.arg(SESSION_BYTES_EACH).arg(sid).arg(self.key(ACCOUNT, "")).arg(self.key(SESSION, ""));
        self.run::<()>(&script, None).await?;
        Ok(Fence { sid: sid.to_owned(), owner: owner.to_owned(), epoch: 1 })
    }

    async fn claim(&self, sid: &str, owner: &str, seen: u64) -> Result<Claim, StoreError> {
        bounds::epoch(seen)?;
        let mut script = self.scripts.claim.key(self.key(SESSION, sid));
        script.key(self.key(CHECKPOINTS, sid)).key(self.key(OWNER, owner));
        script.key(self.key(OUTCOMES, sid)).key(self.key(OUTCOME_AGES, sid));
        script.arg(owner).arg(seen).arg(self.key(OWNER, "")).arg(EPOCH_MAX);
        script.arg(self.key(MARK, "")).arg(self.key(MISSED, "")).arg(millis(GRACE));
        let answer: Vec<Value> = self.run(&script, bounds::EPOCH).await?;
        let read = read_claim(sid, owner, answer).map_err(|error| failure(&error, None))?;
        read.ok_or_else(|| corrupt("a session"))
    }

    async fn checkpoint(&self, fence: &Fence, checkpoint: Checkpoint, keep_from: Position) -> Result<(), StoreError> {
        bounds::checkpoint(&checkpoint)?;
        bounds::position(keep_from)?;
        let Checkpoint { at, epoch, tokens, bytes } = checkpoint;
        let mut kept = snapshot_sum(&bytes).into_bytes();
        kept.extend_from_slice(&bytes);
        let tokens = tokens.iter().map(|Jti(token)| token.as_str()).collect::<Vec<_>>().join(" ");
        let mut script = self.scripts.checkpoint.key(self.key(SESSION, &fence.sid));
        script.key(self.key(CHECKPOINTS, &fence.sid)).arg(&fence.owner).arg(fence.epoch);
        script.arg(place(at)).arg(place(keep_from)).arg(kept).arg(tokens).arg(epoch).arg(CHECKPOINTS_MAX);
        script.arg(&fence.sid).arg(self.key(ACCOUNT, "")).arg(self.key(SESSION, ""));
        self.run(&script, bounds::CHECKPOINTS).await
    }

    async fn load(&self, fence: &Fence, at: Position) -> Result<Bytes, StoreError> {
        let mut script = self.scripts.load.key(self.key(SESSION, &fence.sid));
        script.key(self.key(CHECKPOINTS, &fence.sid)).arg(&fence.owner).arg(fence.epoch).arg(place(at));
        let kept: Option<Vec<u8>> = self.run(&script, None).await?;
        let kept = kept.ok_or(StoreError::NotFound)?;
        let (sum, bytes) = kept.split_at_checked(SUM_BYTES).ok_or_else(|| corrupt("a snapshot"))?;
        intact(bytes.to_vec(), &String::from_utf8_lossy(sum), "a snapshot")
    }

    async fn release(&self, fence: &Fence, unclaimed: Duration) -> Result<(), StoreError> {
        let sid = &fence.sid;
        let mut script = self.scripts.release.key(self.key(SESSION, sid));
        script.key(self.key(CHECKPOINTS, sid)).key(self.key(OUTCOMES, sid)).key(self.key(OUTCOME_AGES, sid));
        self.run(script.arg(&fence.owner).arg(fence.epoch).arg(millis(unclaimed)), None).await
    }

    async fn delete(&self, fence: &Fence) -> Result<(), StoreError> {
        let sid = &fence.sid;
        let mut script = self.scripts.delete.key(self.key(SESSION, sid));
        script.key(self.key(CHECKPOINTS, sid)).key(self.key(OUTCOMES, sid)).key(self.key(OUTCOME_AGES, sid));
        script.arg(&fence.owner).arg(fence.epoch).arg(sid).arg(self.key(ACCOUNT, ""));
        self.run(&script, None).await
    }

    async fn record(&self, fence: &Fence, call: i64, outcome: Bytes) -> Result<(), StoreError> {
        bounds::outcome(call, &outcome)?;
        let mut script = self.scripts.record.key(self.key(SESSION, &fence.sid));
        script
            .key(self.key(OUTCOMES, &fence.sid))
            .key(self.key(OUTCOME_AGES, &fence.sid))
            .arg(&fence.owner)
            .arg(fence.epoch);
        script.arg(call).arg(call.unsigned_abs()).arg(&outcome[..]).arg(RECORDED_BYTES_EACH).arg(RECORDED_BYTES_MAX);
        script.arg(&fence.sid).arg(self.key(ACCOUNT, "")).arg(self.key(SESSION, ""));
        self.run(&script, None).await
    }

    async fn forget(&self, fence: &Fence, call: i64) -> Result<(), StoreError> {
        bounds::outcome(call, &[])?;
        let mut script = self.scripts.forget.key(self.key(SESSION, &fence.sid));
        self.run(script.arg(&fence.owner).arg(fence.epoch).arg(call.unsigned_abs()), None).await
    }

    async fn recorded(&self, fence: &Fence, call: i64) -> Result<Recorded, StoreError> {
        let mut script = self.scripts.recorded.key(self.key(SESSION, &fence.sid));
        script.key(self.key(OUTCOMES, &fence.sid)).arg(&fence.owner).arg(fence.epoch);
        let known: (u8, Option<Vec<u8>>) = self.run(script.arg(call).arg(call.unsigned_abs()), None).await?;
        Ok(match known {
            (_, Some(outcome)) => Recorded::Kept(outcome.into()),
            (0, None) => Recorded::Never,
            _ => Recorded::Forgotten,
        })
    }

    async fn save(&self, id: &str, record: SturdyRecord) -> Result<(), StoreError> {
        bounds::sturdy(id, &record)?;
        let mut script = self.scripts.save.key(self.key(REFERENCE, id));
        script.key(self.key(REFERENCES, &record.owner));
        script.arg(id).arg(&record.owner).arg(&record.label).arg(&record.recipe[..]).arg(STURDY_MAX);
        self.run(&script, bounds::REFERENCES).await
    }

    async fn sturdy(&self, id: &str) -> Result<Option<SturdyRecord>, StoreError> {
        let mut get = redis::cmd("HMGET");
        get.arg(self.key(REFERENCE, id)).arg(&["owner", "label", "recipe"]);
        let (owner, label, recipe): (Option<String>, Option<String>, Option<Vec<u8>>) = self.command(&get).await?;
        let record = owner.zip(label).zip(recipe);
        Ok(record.map(|((owner, label), recipe)| SturdyRecord { owner, label, recipe: recipe.into() }))
    }

    async fn list_sturdy(&self, owner: &str, after: &str, limit: usize) -> Result<Vec<SturdyEntry>, StoreError> {
        let mut script = self.scripts.list.key(self.key(REFERENCES, owner));
        script.arg(after).arg(limit.min(LIST_MAX)).arg(self.key(REFERENCE, ""));
        let list: Vec<(String, String)> = self.run(&script, None).await?;
        Ok(list.into_iter().map(|(id, label)| SturdyEntry { id, label }).collect())
    }

    async fn revoke(&self, owner: &str, id: &str) -> Result<bool, StoreError> {
        let mut script = self.scripts.revoke.key(self.key(REFERENCE, id));
        script.key(self.key(REFERENCES, owner)).arg(id).arg(owner);
        self.run(&script, None).await
    }

    /// Does nothing: the server expires keys by itself.
    async fn gc(&self) -> Result<u64, StoreError> {
        Ok(0)
    }
}

fn read_tokens(tokens: &str) -> Vec<Jti> {
    tokens.split_ascii_whitespace().map(|token| Jti(token.to_owned())).collect()
}

/// Parses the result of the claim script.
fn read_claim(sid: &str, owner: &str, answer: Vec<Value>) -> Result<Option<Claim>, RedisError> {
    let mut answer = answer.into_iter();
    let mut next = || answer.next().unwrap_or(Value::Nil);
    match u64::from_redis_value(next())? {
        0 => Ok(Some(Claim::NotFound)),
        1 => {
            let left = Duration::from_millis(u64::from_redis_value(next())?);
            let address = Option::<String>::from_redis_value(next())?.filter(|address| !address.is_empty());
            let known_epoch = u64::from_redis_value(next())?;
            let tokens = read_tokens(&String::from_redis_value(next())?);
            Ok(Some(Claim::Held(Held { left, address, known_epoch, tokens })))
        }
        _ => {
            let fence = Fence { sid: sid.to_owned(), owner: owner.to_owned(), epoch: u64::from_redis_value(next())? };
            let known_epoch = u64::from_redis_value(next())?;
            let tokens = read_tokens(&String::from_redis_value(next())?);
            let places = Vec::<String>::from_redis_value(next())?;
            let checkpoints: Option<Vec<_>> = places.iter().map(|place| position(place)).collect();
            Ok(checkpoints.map(|checkpoints| Claim::Claimed(Claimed { fence, known_epoch, tokens, checkpoints })))
        }
    }
}
