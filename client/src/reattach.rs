//! Reattaching: continuing a session that an earlier process of this client saved.

use std::sync::Arc;
use std::time::Duration;

use bowline_core::endpoint::{Attach, Attached};
use bowline_core::id::Ids;
use bowline_core::link::{Features, Left, LinkRules, Mode, Refused, Resumed, Welcome};
use bowline_core::peer::{Connection, Durability, LinkEvents, RestoreCtx, Restorers, SessionOptions, Stub};
use bowline_transport::Ending;

use crate::connect::{PAUSE, rules_of};
use crate::dial::{Dialer, Stream};
use crate::error::ConnectError;
use crate::hello::{Failure, Opening, Standing};
use crate::keeper::{Ready, not_asked_for};
use crate::saved_session::{Saved, SavedSession, Writer};

/// The saved state of the session, and the settings of this process.
pub(crate) struct Reattaching {
    pub(crate) saved: Vec<u8>,
    pub(crate) main: Option<Stub>,
    pub(crate) options: SessionOptions,
    pub(crate) rules: LinkRules,
    pub(crate) restorers: Option<Arc<Restorers>>,
    pub(crate) writer: Option<Writer>,
}

/// A session that was reattached, on its first connection.
pub(crate) struct Reattached {
    pub(crate) connection: Connection,
    pub(crate) saved_session: Arc<SavedSession>,
    pub(crate) welcome: Welcome,
    pub(crate) ready: Ready,
}

impl Reattaching {
    /// Requests the session until the server grants or finally refuses it. Dropping the future
    /// leaves the session as it was saved.
    pub(crate) async fn run(self, dialer: &mut Dialer) -> Result<Reattached, ConnectError> {
        let Saved { welcome, end, .. } = Saved::read(&self.saved).map_err(ConnectError::Saved)?;
        let options = durable(self.options, self.restorers, &welcome.session_id);
        let rules = rules_of(&welcome, self.rules);
        let keeps_bytes = rules.retain_bytes;
        let (connection, left) = Connection::from_saved_state(end.as_bytes(), self.main, options, rules)
            .map_err(|error| ConnectError::Saved(error.to_string()))?;
        let saved_session = SavedSession::new(welcome, self.writer);
        if saved_session.saves() {
            connection.save_tokens();
        }
        if saved_session.ticket().is_durable {
            connection.keep_sent(keeps_bytes);
        }
        let (resumed, opening, ending) = ask(dialer, &saved_session, connection.ids(), left).await?;
        let attached = attach(&connection, &saved_session, &resumed).map_err(ConnectError::from_refused)?;
        saved_session.resumed(&resumed);
        saved_session.save(&connection).await.map_err(ConnectError::NotSaved)?;
        let welcome = saved_session.welcome();
        Ok(Reattached { connection, saved_session, welcome, ready: Ready { opening, ending, attached } })
    }
}

/// Requests the session until the server grants or finally refuses it.
async fn ask(
    dialer: &mut Dialer,
    saved_session: &SavedSession,
    ids: Ids,
    left: Left,
) -> Result<(Resumed, Opening, Ending<Box<dyn Stream>>), ConnectError> {
    loop {
        let socket = match dialer.dial_link().await {
            Err(error) if dialer.other.is_some() => {
                tracing::debug!(%error, "cannot reattach, trying the other address");
                dialer.turn_away();
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            dialed => dialed?,
        };
        let (mut opening, ending) = Opening::of(socket.ok_or(ConnectError::NotResumable)?);
        let auth = dialer.who.credentials(None).await;
        let stands =
            Standing { features: dialer.features(), came: 0, first_retained: 0, ids, auth, left: Some(left.clone()) };
        match opening.resume(&saved_session.ticket(), &stands).await {
            Ok(resumed) => return Ok((resumed, opening, ending)),
            Err(Failure::Refused(refused)) if refused.retryable => {
                refused.resume_url.iter().for_each(|url| dialer.go_to(url));
                tokio::time::sleep(refused.retry_after_ms.map_or(PAUSE, Duration::from_millis)).await;
            }
            Err(Failure::Refused(refused)) => return Err(ConnectError::from_refused(refused)),
            Err(Failure::Plain) => return Err(ConnectError::NotResumable),
            Err(Failure::Gone(end)) => {
                tracing::debug!(%end, "connection ended before the session was reattached, trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Waits until both sides are reconciled. An object that is exported before would be released by
/// the reconciliation.
pub(crate) async fn until_reconciled(connection: &Connection, mut events: LinkEvents) -> Result<(), ConnectError> {
    while connection.is_unreconciled() && !connection.is_closed() {
        if events.next().await.is_none() {
            break;
        }
    }
    match connection.close_reason() {
        Some(closed) => Err(ConnectError::Rejected { code: closed.cause.to_code(), message: closed.message }),
        None => Ok(()),
    }
}

/// Attaches the session, if this is the same server as before and it reattaches.
fn attach(connection: &Connection, saved_session: &SavedSession, resumed: &Resumed) -> Result<Attached, Refused> {
    saved_session.recognise(resumed)?;
    let (Mode::Reattach, Some(ids), Some(left)) = (&resumed.mode, resumed.ids, &resumed.left) else {
        return Err(not_asked_for(&resumed.mode));
    };
    connection.set_lease(resumed.lease);
    let before = saved_session.welcome().features;
    let features = Features::of(resumed.features.as_ref().unwrap_or(&before));
    connection.attach(features, Attach::Reattach { ids, left })
}

/// Enables recipes for this side's objects if there are restorers for them.
pub(crate) fn durable(options: SessionOptions, restorers: Option<Arc<Restorers>>, session_id: &str) -> SessionOptions {
    match restorers {
        Some(restorers) => options.durability(Durability::new(RestoreCtx::new(session_id, "", ""), restorers)),
        None => options,
    }
}
