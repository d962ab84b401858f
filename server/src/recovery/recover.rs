//! Recovering a session that this process does not have, from a store or from its token.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bowline_core::endpoint::{Attach, Attached, Endpoint, RecoverError, Recovered};
use bowline_core::error::ErrorCode;
use bowline_core::id::Ids;
use bowline_core::link::{Features, Left, Mode, Refused, Resume, Resumed};
use bowline_core::peer::{Connection, StoredVars, Vars};
use bowline_core::resume::{Claims, Jti, Owner, TokenError, snapshot_sum};
use bowline_core::session::{ClosedBy, Report};
use bytes::Bytes;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::{Keeper, Kept};
use crate::handshake::refused;
use crate::peer_info::Peer;
use crate::registry::{Admitted, Entry, Registry, random, refuse, unix_ms};
use crate::service::Service;
use crate::store::{Claim, Claimed, Fence, Held, Position, SessionStore, StoreError, Wanted};

/// How long a client waits before it tries again after the store was unavailable.
const RETRY_MS: u64 = 1_000;

/// How long this process waits for the owner of a session to release it, and how often it checks.
const LET_GO: Duration = Duration::from_millis(1_500);
const CLAIM_AGAIN: Duration = Duration::from_millis(50);

/// The longest time before a client tries again to resume a session whose owner does not respond.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// A client that has proved possession of the token's key and has authenticated.
pub(crate) struct Claimant<'a> {
    pub(crate) resume: &'a Resume,
    pub(crate) claims: Claims,
    pub(crate) peer: Peer,
    /// The scheme of the client's credentials.
    pub(crate) scheme: String,
    pub(crate) service: &'a Service,
}

/// A session that this process has claimed, with its stored state.
struct ClaimedSession {
    kept: Kept,
    owner: Owner,
    snapshot: Option<Bytes>,
}

impl Registry {
    /// Recovers a session. Nothing in it runs before the client has reconciled its state.
    ///
    /// # Errors
    /// Refuses if another process owns the session, if it no longer exists, or if its stored state
    /// is unusable.
    pub(crate) async fn recover(self: &Arc<Self>, claimant: Claimant<'_>) -> Result<(Admitted, Resumed), Refused> {
        let gone = || Refused::new(ErrorCode::ResumeWindowExpired, "the session no longer exists");
        let Claimant { resume, claims, mut peer, scheme, service } = claimant;
        let restarted = resume.restarted();
        let accepted = restarted.is_some() || resume.accept.contains(&Mode::Cold);
        let (Some(keeper), Some(ids), true) = (&self.keeper, resume.ids, accepted) else {
            return Err(gone());
        };
        let report = if restarted.is_some() { Report::Partial(ids) } else { Report::Whole(ids) };
        // One at a time: the second of two simultaneous attempts of a client finds the session that
        // the first one recovered.
        let turn = self.recovering(&claims.sid);
        let _alone = turn.lock().await;
        if self.entry(&claims.sid).is_some_and(|entry| entry.is_ending()) {
            return Err(gone());
        }
        self.give_up_stale(&claims);
        let taken = keeper.take(self, &claims, peer.account()).await?;
        let made = keeper.rebuild(taken.snapshot.as_deref(), service, &claims, report, &mut peer);
        let made = match made {
            Ok(restored) => service.root(peer.clone()).await.map(|root| (restored, root)).map_err(refused),
            Err(refused) => Err(refused),
        };
        let (restored, root) = match made {
            Ok(made) => made,
            Err(refused) => {
                keeper.give_back(&taken.kept).await;
                return Err(refused);
            }
        };
        if let Some(fence) = &taken.kept.fence {
            // An earlier process may have begun every call that the client has sent.
            fence.note_begun(ids.next_positive.saturating_sub(1));
        }
        let left = restored.left();
        let Recovered { endpoint, revived, .. } = restored;
        let options = keeper.options(self, &service.options, &claims.sid, &peer, &taken.kept);
        let connection = Connection::recovered(endpoint, &revived.targets, Some(root), options);
        connection.date_from(unix_ms());
        let mut entry_claims = claims.clone();
        entry_claims.ln = claims.ln + 1;
        let epoch = taken.owner.epoch();
        let who = (peer.principal.clone(), scheme);
        let from = peer.address_group();
        let entry = Arc::new(Entry::recovered(connection, who, from, taken.owner, entry_claims, taken.kept));
        let features = entry.features(&resume.features);
        let attached = match restarted {
            Some(theirs) => reattach(&entry.connection, features, (theirs, ids), left),
            None => {
                let attached = entry.connection.attach(features, Attach::New);
                attached.map(|attached| Attached { left: Some(left), ..attached })
            }
        };
        let attached = match attached {
            Ok(attached) => attached,
            Err(refused) => {
                if let Some(kept) = &entry.kept {
                    keeper.give_back(kept).await;
                }
                return Err(refused);
            }
        };
        let mode = if restarted.is_some() { Mode::Reattach } else { Mode::Cold };
        let resumed = self.resumed(&entry, &mut entry.lock(), &attached, mode, features);
        self.admit_recovered(&entry);
        tracing::info!(session = entry.id, epoch, "session recovered");
        Ok((Admitted { entry, attached, epoch }, resumed))
    }

    /// Ends the session that an earlier attempt of the same client has recovered, whose answer was
    /// lost.
    fn give_up_stale(&self, claims: &Claims) {
        if let Some(entry) = self.entry(&claims.sid) {
            if let Some(kept) = &entry.kept {
                kept.retire();
            }
            self.remove(&claims.sid);
            let message = "the client resumed the session again";
            entry.connection.end_with(ClosedBy::Transport, &ErrorCode::SessionTakenOver, message);
        }
    }
}

/// The stored row of a session that is being opened. Dropping this deletes the row.
pub(crate) struct Unopened(Option<(Arc<dyn SessionStore>, Fence)>);

impl Unopened {
    /// Keeps the row, because the session was opened.
    pub(crate) fn opened(mut self) {
        self.0 = None;
    }
}

impl Drop for Unopened {
    fn drop(&mut self) {
        let Some((store, fence)) = self.0.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Err(error) = store.delete(&fence).await {
                tracing::debug!(session = fence.sid, %error, "cannot delete the row of a session that was not opened");
            }
        });
    }
}

impl Keeper {
    /// Creates a session in the store. Returns `None` if the quota of the client is exhausted.
    ///
    /// # Errors
    /// Returns `STORE_UNAVAILABLE` if the store fails.
    pub(crate) async fn create(
        self: &Arc<Self>,
        registry: &Arc<Registry>,
        sid: &str,
        account: Option<String>,
    ) -> Result<Option<(Kept, Unopened)>, Refused> {
        let Some(store) = &self.store else { return Ok(Some((Kept::new(None, 0, account), Unopened(None)))) };
        let (quota, lifetime) = (self.quota(account.as_ref()), registry.session_lifetime());
        let mut owner = self.owner(store, registry).await.map_err(|error| unavailable(&error))?;
        // The row may exist even if the answer of the store is lost, or if this future is dropped
        // while it waits.
        let first = Fence { sid: sid.to_owned(), owner: owner.clone(), epoch: 1 };
        let mut unopened = Unopened(Some((Arc::clone(store), first)));
        let mut created = store.create(sid, &owner, lifetime, quota.as_ref()).await;
        if let Err(StoreError::Fenced) = created {
            // The store may have lost the owner.
            owner = self.living_owner(store, registry, &owner).await.map_err(|error| unavailable(&error))?;
            let first = Fence { sid: sid.to_owned(), owner: owner.clone(), epoch: 1 };
            unopened = Unopened(Some((Arc::clone(store), first)));
            created = store.create(sid, &owner, lifetime, quota.as_ref()).await;
        }
        match created {
            Ok(fence) => Ok(Some((Kept::new(Some(fence), 0, account), unopened))),
            Err(error @ StoreError::TooMuch { .. }) => {
                tracing::warn!(
                    monotonic_counter.bowline_store_quotas_exceeded = 1_u64,
                    session = sid,
                    %error,
                    "cannot store the session: the quota of the client is exhausted"
                );
                Ok(None)
            }
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// Claims the session for this process, and loads the state that the token names.
    async fn take(
        self: &Arc<Self>,
        registry: &Arc<Registry>,
        claims: &Claims,
        account: Option<String>,
    ) -> Result<ClaimedSession, Refused> {
        let next = Jti(random::<16>());
        let replayed = |error: TokenError| refuse(Some(&claims.sid), &error);
        let Some(store) = &self.store else {
            let owner = Owner::restore(0, [], claims, claims.ep + 1, next).map_err(replayed)?;
            let snapshot = claims.snapshot.clone().map(Bytes::from);
            if snapshot.is_none() && claims.ck > 0 {
                return Err(Refused::new(
                    ErrorCode::ResumeWindowExpired,
                    "the token does not contain the session, and there is no store",
                ));
            }
            return Ok(ClaimedSession { kept: Kept::new(None, claims.ln + 1, account), owner, snapshot });
        };
        let claimed = self.claim(registry, store, claims).await?;
        let Claimed { fence, known_epoch, tokens, checkpoints } = claimed;
        let restored = Owner::restore(known_epoch, tokens, claims, fence.epoch, next).map_err(replayed);
        let loaded = match restored {
            Ok(owner) => load(store, &fence, claims, &checkpoints).await.map(|snapshot| (owner, snapshot)),
            Err(refused) => Err(refused),
        };
        match loaded {
            Ok((owner, snapshot)) => {
                Ok(ClaimedSession { kept: Kept::new(Some(fence), claims.ln + 1, account), owner, snapshot })
            }
            Err(refused) => {
                self.give_back(&Kept::new(Some(fence), claims.ln + 1, account)).await;
                Err(refused)
            }
        }
    }

    /// Claims a session. If its owner is alive, asks it to release the session and waits. An owner
    /// that has advertised its address keeps the session, and the client is redirected to it.
    async fn claim(
        self: &Arc<Self>,
        registry: &Arc<Registry>,
        store: &Arc<dyn SessionStore>,
        claims: &Claims,
    ) -> Result<Claimed, Refused> {
        let until = Instant::now() + LET_GO;
        let mut owner = self.owner(store, registry).await.map_err(|error| unavailable(&error))?;
        loop {
            let mut claim = store.claim(&claims.sid, &owner, claims.ep).await;
            if let Err(StoreError::Fenced) = claim {
                // The store may have lost the owner.
                owner = self.living_owner(store, registry, &owner).await.map_err(|error| unavailable(&error))?;
                claim = store.claim(&claims.sid, &owner, claims.ep).await;
            }
            match claim.map_err(|error| unavailable(&error))? {
                Claim::Claimed(claimed) => return Ok(claimed),
                Claim::NotFound => {
                    return Err(Refused::new(ErrorCode::ResumeWindowExpired, "the session no longer exists"));
                }
                Claim::Held(Held { left, address, known_epoch, tokens }) => {
                    // A replaced token must not disturb the owner.
                    let counts = Owner::restore(known_epoch, tokens, claims, claims.ep, claims.jti.clone());
                    counts.map_err(|error| refuse(Some(&claims.sid), &error))?;
                    let wanted = Wanted { sid: claims.sid.clone(), token: claims.jti.clone() };
                    store.want(&wanted).await.map_err(|error| unavailable(&error))?;
                    if let Some(url) = address.filter(|url| self.info.address.as_ref() != Some(url)) {
                        return Err(Refused { resume_url: Some(url), ..elsewhere(Duration::ZERO) });
                    }
                    if Instant::now() >= until {
                        return Err(elsewhere(left.min(ASK_AGAIN)));
                    }
                    sleep(CLAIM_AGAIN.min(left)).await;
                }
            }
        }
    }

    /// Releases a session, so that other processes need not wait for the lease to end.
    pub(super) async fn give_back(&self, kept: &Kept) {
        let (Some(store), Some(current)) = (&self.store, &kept.fence) else { return };
        let fence = current.give_back().await;
        if let Err(error) = store.release(&fence, self.bounds.unclaimed).await {
            tracing::debug!(session = fence.sid, %error, "cannot release the session; it is free when the lease ends");
        }
    }

    fn rebuild(
        &self,
        snapshot: Option<&[u8]>,
        service: &Service,
        claims: &Claims,
        report: Report,
        peer: &mut Peer,
    ) -> Result<Recovered, Refused> {
        let failed = |code: ErrorCode, error: &dyn fmt::Display| {
            tracing::error!(session = claims.sid, %error, "cannot recover the session");
            Refused::new(code, "the session cannot be recovered")
        };
        let Service { options, registry, .. } = service;
        let rules = registry.resumption.rules.clone();
        let lives = |recipe: Option<&_>, kind| self.restorers.lives(recipe, kind);
        let restored = Endpoint::recover(snapshot, options.limits.clone(), rules, claims.ln, report, lives);
        let restored = restored.map_err(|error| match error {
            RecoverError::Contradicted(_) => failed(ErrorCode::ResumeGap, &error),
            _ => failed(ErrorCode::StoreCorrupt, &error),
        })?;
        if !restored.beside.is_null() {
            let stored = StoredVars::deserialize(&restored.beside);
            let stored = stored.map_err(|error| failed(ErrorCode::StoreCorrupt, &error))?;
            let vars = Vars::restored_for(stored, &self.restorers, |vars| {
                super::ctx(&claims.sid, &claims.aud, &Peer { vars, ..peer.clone() })
            });
            peer.vars = vars.map_err(|error| failed(ErrorCode::StoreCorrupt, &error))?;
        }
        Ok(restored)
    }
}

/// Attaches a session both of whose sides were replaced. What either side cannot restore is lost at
/// once.
fn reattach(
    connection: &Connection,
    features: Features,
    (theirs, ids): (&Left, Ids),
    ours: Left,
) -> Result<Attached, Refused> {
    let codes: BTreeMap<i64, ErrorCode> = ours.lost.into_iter().collect();
    let mut theirs = theirs.clone();
    let mut lost = Vec::new();
    theirs.imports.retain(|(id, _)| {
        let code = codes.get(id).cloned();
        lost.extend(code.clone().map(|code| (*id, code)));
        code.is_none()
    });
    let attached = connection.attach(features, Attach::Reattach { ids, left: &theirs })?;
    let left = attached.left.map(|left| Left { lost: left.lost.into_iter().chain(lost).collect(), ..left });
    Ok(Attached { left, ..attached })
}

/// Loads the checkpoint that a token names, or the one before if that is damaged.
async fn load(
    store: &Arc<dyn SessionStore>,
    fence: &Fence,
    claims: &Claims,
    checkpoints: &[Position],
) -> Result<Option<Bytes>, Refused> {
    if let Some(snapshot) = &claims.snapshot {
        return Ok(Some(Bytes::from(snapshot.clone())));
    }
    if claims.ck == 0 {
        return Ok(None);
    }
    let earlier = checkpoints.iter().rev().filter(|at| at.lineage <= claims.ln && at.number <= claims.ck);
    for (n, &at) in earlier.enumerate() {
        match store.load(fence, at).await {
            Ok(bytes) if n > 0 || snapshot_sum(&bytes) == claims.sum => return Ok(Some(bytes)),
            Ok(_) | Err(StoreError::Corrupt(_) | StoreError::NotFound) => {
                tracing::error!(session = claims.sid, checkpoint = at.number, "stored checkpoint is damaged");
            }
            Err(error) => return Err(unavailable(&error)),
        }
    }
    Err(Refused::new(ErrorCode::StoreCorrupt, "the stored session is damaged"))
}

/// Returns the refusal for a session that another process owns. The client may try again after
/// `after`.
pub(crate) fn elsewhere(after: Duration) -> Refused {
    let refused = Refused::new(ErrorCode::SessionElsewhere, "another process owns the session");
    let retry_after_ms = Some(after.as_millis().try_into().unwrap_or(u64::MAX));
    Refused { retryable: true, retry_after_ms, ..refused }
}

fn unavailable(error: &StoreError) -> Refused {
    tracing::warn!(%error, "the session store is unavailable");
    let refused = Refused::new(ErrorCode::StoreUnavailable, "the session store is unavailable");
    Refused { retryable: true, retry_after_ms: Some(RETRY_MS), ..refused }
}
