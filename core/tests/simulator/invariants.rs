//! What must hold, one function for each, named by the invariants of docs/link.md. I1, I2 and
//! the epochs of I4 are where the messages are counted, in `ledger`, and where the calls arrive,
//! in `app`.

use bowline_core::endpoint::Endpoint;
use bowline_core::error::ErrorCode;
use bowline_core::link::{Attachment, LinkRules, LinkStats};
use bowline_core::session::SessionStats;
use bowline_core::time::Time;

use super::client::{Client, State};
use super::ledger::Ledger;
use super::network::Way;
use super::registry::Entry;
use super::server::Server;

type Held = Result<(), String>;

/// I3: when all is quiet, what was sent has been processed.
pub(crate) fn i3_nothing_is_missing(ledger: &Ledger) -> Held {
    for way in [Way::ToServer, Way::ToClient] {
        let (sent, processed) = ledger.count(way);
        if sent != processed {
            return Err(format!("I3: of {sent} messages {way:?}, {processed} were processed"));
        }
    }
    Ok(())
}

/// I3: and so have the calls.
pub(crate) fn i3_no_call_is_missing(client: &Client, entry: &Entry) -> Held {
    let of_client = (client.app.made, entry.app.taken);
    let of_server = (entry.app.made, client.app.taken);
    if of_client.0 != of_client.1 || of_server.0 != of_server.1 {
        return Err(format!("I3: calls made and taken: {of_client:?} of the client, {of_server:?} of the server"));
    }
    Ok(())
}

/// I4: only the newest transport of a session does anything.
pub(crate) fn i4_an_old_transport_changes_nothing(before: &Endpoint, after: &Endpoint) -> Held {
    if before == after { Ok(()) } else { Err("I4: an old transport has changed its session".to_owned()) }
}

/// I5: a message is kept until the other side has processed it.
pub(crate) fn i5_nothing_is_freed_before_it_arrived(of: &Endpoint, peer: &Endpoint) -> Held {
    let freed = of.first_retained() - 1;
    if freed > peer.processed() {
        return Err(format!("I5: {freed} messages are freed, and {} were processed", peer.processed()));
    }
    Ok(())
}

/// I6: what is kept stays within its bounds; the last message may reach beyond that of bytes.
pub(crate) fn i6_buffers_stay_within_their_bounds(endpoint: &Endpoint, rules: &LinkRules) -> Held {
    const LONGEST: usize = 256;
    let LinkStats { retained_bytes: bytes, retained_messages: messages, .. } = endpoint.link_stats();
    if bytes >= rules.retain_bytes + LONGEST || messages > rules.retain_messages {
        return Err(format!("I6: {messages} messages of {bytes} bytes are kept"));
    }
    Ok(())
}

/// I8: after a resume both sides mean the same message by the same number.
pub(crate) fn i8_both_ends_count_alike(ledger: &Ledger, client: &Endpoint, goes_on: u64, counted: u64) -> Held {
    let (_, by_server) = ledger.count(Way::ToServer);
    let (by_server_sent, by_client) = ledger.count(Way::ToClient);
    if goes_on > by_server || client.processed() != by_client || counted > by_server_sent {
        return Err(format!(
            "I8: the client goes on after {goes_on} of {by_server}, at {} of {by_client}, told {counted}",
            client.processed()
        ));
    }
    Ok(())
}

/// I8: and when all is quiet they are equally far.
pub(crate) fn i8_both_ends_have_come_equally_far(client: &Endpoint, server: &Endpoint) -> Held {
    let ends = [(client.first_retained(), server.processed() + 1), (server.first_retained(), client.processed() + 1)];
    if ends.iter().any(|(next, awaited)| next != awaited)
        || [client, server].iter().any(|end| end.link_stats().retained_messages > 0)
    {
        return Err(format!("I8: what comes next, and what is awaited: {ends:?}"));
    }
    Ok(())
}

/// I9: when all is quiet and given back, neither side holds anything of the other. That no
/// message names what is not there is seen on the way: it would end the session.
pub(crate) fn i9_nothing_is_held(endpoint: &Endpoint) -> Held {
    let stats = endpoint.session().stats();
    if stats != (SessionStats { imports: 1, exports: 1 }) || !endpoint.session().is_idle() {
        return Err(format!("I9: {stats:?} are left"));
    }
    Ok(())
}

/// I12: whatever was waited for has ended: by an answer, or with the session and its code.
pub(crate) fn i12_every_wait_has_ended(client: &Client) -> Held {
    if !client.app.is_answered() {
        return Err(format!("I12: a client still waits: {:?}", client.app));
    }
    Ok(())
}

/// I12: a session that ends says why, and ends only for what its rules allow.
pub(crate) fn i12_a_loss_has_a_code(client: &Client, may_be_lost: bool) -> Held {
    match &client.lost {
        None => Ok(()),
        Some(ErrorCode::ResumeWindowExpired | ErrorCode::BufferOverflow) if may_be_lost => Ok(()),
        Some(code) => Err(format!("I12: the session is lost: {code}, {:?}", client.endpoint.session().closed())),
    }
}

/// I14: some token that the client holds always counts.
pub(crate) fn i14_no_client_is_stranded(client: &Client, server: &Server, entry: &Entry) -> Held {
    let Some(ticket) = &client.ticket else { return Ok(()) };
    let held = server.minted.get(ticket.token.expose()).ok_or("I15: a client has a token that was never minted")?;
    entry.owner.check(held).map_err(|error| format!("I14: {held:?} of the client does not count: {error}"))
}

/// I14: once the client was heard with a token, none from before counts.
pub(crate) fn i14_nothing_older_than_what_was_confirmed_counts(
    client: &Client,
    server: &Server,
    entry: &Entry,
) -> Held {
    if !entry.endpoint.has_heard() {
        return Ok(());
    }
    let mut owner = entry.owner.clone();
    owner.confirm();
    let named = client.tickets.iter().rev().filter_map(|ticket| server.minted.get(ticket.token.expose()));
    let mut older = named.skip_while(|jti| **jti != entry.handed).skip(1).take(3);
    match older.find(|jti| owner.check(jti).is_ok()) {
        Some(old) => Err(format!("I14: {old:?} counts although the client was heard with {:?}", entry.handed)),
        None => Ok(()),
    }
}

/// I15: a token that was found good was minted here, with exactly these bytes.
pub(crate) fn i15_only_what_was_minted_is_accepted(server: &mut Server) -> Held {
    let accepted = std::mem::take(&mut server.accepted);
    match accepted.into_iter().find(|token| !server.minted.contains_key(token)) {
        Some(forged) => Err(format!("I15: {forged} was never minted")),
        None => Ok(()),
    }
}

/// I19: when no client is left and the window has ended, nothing of the clients is left.
pub(crate) fn i19_nothing_is_left_after_the_window(server: &Server) -> Held {
    if !server.sessions.is_empty() || !server.served.is_empty() {
        let (sessions, served) = (server.sessions.len(), &server.served);
        return Err(format!("I19: {sessions} sessions and {served:?} are left"));
    }
    Ok(())
}

/// I19: a session that is over has dropped its objects and keeps nothing.
pub(crate) fn i19_a_session_that_is_over_holds_nothing(entry: &Entry) -> Held {
    if !entry.app.is_idle() || !entry.app.is_answered() || !entry.endpoint.session().is_idle() {
        return Err(format!("I19: a session that is over holds {:?}", entry.app));
    }
    Ok(())
}

/// I20: without a link an endpoint is the session in it, message by message.
pub(crate) fn i20_without_a_link_a_session_is_as_it_ever_was(endpoint: &mut Endpoint, now: Time, text: &str) -> Held {
    let mut twin = endpoint.session().clone();
    let at = Attachment::PLAIN;
    endpoint.handle_text(at, now, text);
    twin.handle_message(text);
    if twin != *endpoint.session() || endpoint.poll_timeout().is_some() || endpoint.poll_event().is_some() {
        return Err(format!("I20: {text} is not taken in as a plain session does"));
    }
    Ok(())
}

/// I20: nor is anything written that the session did not.
pub(crate) fn i20_without_a_link_bytes_are_those_of_the_session(
    endpoint: &mut Endpoint,
) -> Result<Option<String>, String> {
    let next = endpoint.session().clone().poll_transmit();
    let at = Attachment::PLAIN;
    let text = endpoint.poll_transmit(at);
    if text == next { Ok(text) } else { Err(format!("I20: {text:?} is written, the session says {next:?}")) }
}

/// What holds of one session after every event.
pub(crate) fn of_a_session(client: &Client, server: &mut Server, may_be_lost: bool) -> Held {
    i12_a_loss_has_a_code(client, may_be_lost)?;
    i15_only_what_was_minted_is_accepted(server)?;
    if let Some(fault) = &client.app.fault {
        return Err(fault.clone());
    }
    let Some(entry) = client.session.as_ref().and_then(|id| server.sessions.get(id)) else { return Ok(()) };
    if let Some(fault) = &entry.app.fault {
        return Err(fault.clone());
    }
    for endpoint in [&client.endpoint, &entry.endpoint] {
        i6_buffers_stay_within_their_bounds(endpoint, &server.rules)?;
    }
    if matches!(client.state, State::Over | State::Crashed) || entry.endpoint.session().is_closed() {
        return Ok(());
    }
    i5_nothing_is_freed_before_it_arrived(&client.endpoint, &entry.endpoint)?;
    i5_nothing_is_freed_before_it_arrived(&entry.endpoint, &client.endpoint)?;
    i14_no_client_is_stranded(client, server, entry)?;
    i14_nothing_older_than_what_was_confirmed_counts(client, server, entry)
}
