//! Arbitrary text as a snapshot, and messages for the session that it restores. Nothing may panic,
//! and an accepted session must be consistent. The fuzz target `snapshot_decode` runs `replay` on
//! its inputs; the test here runs it on the corpus.

use bowline_core::error::ErrorCode;
use bowline_core::limits::Limits;
use bowline_core::session::{Report, Session, Snapshot, Wanted};

use super::hostile::End;

/// Restores the first line of `text`, and passes the others to the session: as it is, and as
/// another process recovers it.
pub(crate) fn replay(text: &str) {
    let mut limits = Limits::default();
    (limits.table_entries, limits.held_bytes, limits.running_calls) = (100, 100_000, 8);
    (limits.message_nodes, limits.message_bytes, limits.map_steps) = (10_000, 100_000, 100_000);
    let (stored, messages) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(snapshot) = serde_json::from_str::<Snapshot>(stored) else { return };
    let Ok(mut session) = Session::restore(snapshot, limits.clone()) else { return };
    let again = Session::restore(session.snapshot().expect("the session is open"), limits)
        .expect("the session was consistent before");
    assert_eq!(again, session, "an accepted session round-trips");
    // The queued messages are arbitrary text from the snapshot.
    while session.poll_transmit().is_some() {}
    if let Some(revived) = revived(session.clone()) {
        converse(revived, messages);
    }
    converse(session, messages);
}

/// Returns the session as another process recovers it, with everything that is left held and
/// pulled.
pub(crate) fn revived(mut session: Session) -> Option<Session> {
    let report = session.ids().of_peer();
    let left =
        session.revive(Report::Whole(report), |recipe, _| recipe.map(drop).ok_or(ErrorCode::CapabilityLost)).ok()?;
    let pull = left.restored.iter().copied().filter(|&id| id > 0).collect();
    session.reconcile(&Wanted { hold: left.restored, pull });
    Some(session)
}

fn converse(session: Session, messages: &str) {
    let mut end = End::of(session);
    messages.lines().for_each(|line| end.take(line));
    end.settle_all();
    end.finish();
}

#[cfg(test)]
mod tests {
    #[test]
    fn fuzz_corpus_is_handled() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/snapshot_decode");
        let entries: Vec<_> = std::fs::read_dir(corpus).unwrap().collect();
        assert!(entries.len() >= 10);
        for entry in entries {
            super::replay(&std::fs::read_to_string(entry.unwrap().path()).unwrap());
        }
    }
}
