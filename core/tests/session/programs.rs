//! A session that is asked to run arbitrary mapper functions. An invalid one rejects its map and
//! never ends the session, the number of instructions is limited, and every map is answered. The
//! fuzz target `map_programs` runs `replay` on its inputs; the test here runs it on the corpus.

use bowline_core::limits::Limits;
use bowline_core::session::CloseReason;

use super::hostile::End;

/// The first line of `text` is a value, and each further line a list of instructions for it.
pub(crate) fn replay(text: &str) {
    let mut limits = Limits::default();
    (limits.map_inputs, limits.map_instructions, limits.map_steps) = (20, 20, 60);
    (limits.message_nodes, limits.message_bytes, limits.held_bytes) = (10_000, 100_000, 1_000_000);
    let mut lines = text.lines();
    let mut end = End::new(limits);
    end.take(&format!("[\"push\",{}]", lines.next().unwrap_or("null")));
    if end.closed().is_some() {
        return;
    }
    for (n, instructions) in lines.take(20).enumerate() {
        let before = end.delivered();
        let id = n + 2;
        end.take(&format!(r#"["push",["remap",1,[],[["import",0],["export",-1]],{instructions}]]"#));
        end.take(&format!("[\"pull\",{id}]"));
        if let Some(closed) = end.closed() {
            assert!(is_no_message(closed), "a map ends the session with {closed:?}: {instructions}");
            return;
        }
        // Each call may be preceded by the read of a property.
        assert!(end.delivered() - before <= 2 * 60, "a map runs too many instructions: {instructions}");
    }
    end.settle_all();
    assert!(end.closed().is_none(), "answers end the session");
    end.finish();
}

/// Returns `true` if the text was not a message, or was too large.
fn is_no_message(closed: &CloseReason) -> bool {
    let message = &closed.message;
    closed.cause.name() == "SyntaxError"
        || ["bad RPC message", "limit: ", "Deserialization exceeded", "Deserialized bigint", "unknown special value"]
            .iter()
            .any(|text| message.starts_with(text))
}

#[cfg(test)]
mod tests {
    #[test]
    fn fuzz_corpus_is_handled() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/map_programs");
        let entries: Vec<_> = std::fs::read_dir(corpus).unwrap().collect();
        assert!(entries.len() >= 10);
        for entry in entries {
            super::replay(&std::fs::read_to_string(entry.unwrap().path()).unwrap());
        }
    }
}
