//! The list of allowed differences, `tests/node/differential/allowed.md`, and which of them have occurred.

use std::collections::BTreeSet;

const LIST: &str = include_str!("../../node/differential/allowed.md");

/// One table of the list.
pub(super) struct Allowed {
    pub(super) ids: Vec<&'static str>,
    met: BTreeSet<String>,
}

impl Allowed {
    /// Returns the three tables: values of Rust, values of JavaScript, and texts.
    pub(super) fn tables() -> [Self; 3] {
        let mut tables: Vec<Self> = Vec::new();
        for line in LIST.lines() {
            match line.strip_prefix("| ").and_then(|row| row.split_once(" | ")) {
                Some(("id", _)) => tables.push(Self { ids: Vec::new(), met: BTreeSet::new() }),
                Some((id, row)) => {
                    assert!(row.trim_end_matches(" |").split(" | ").count() == 2, "{id} has no reason");
                    tables.last_mut().expect("a table begins with its header").ids.push(id);
                }
                None => {}
            }
        }
        tables.try_into().ok().expect("allowed.md has three tables")
    }

    /// Returns the differences without one.
    pub(super) fn without(&self, id: &str) -> Vec<&'static str> {
        self.ids.iter().copied().filter(|other| *other != id).collect()
    }

    /// Notes that a difference has occurred.
    pub(super) fn met(&mut self, id: &str) {
        self.met.insert(id.to_owned());
    }

    /// Returns the differences that have not occurred yet.
    pub(super) fn unmet(&self) -> Vec<&'static str> {
        self.ids.iter().copied().filter(|id| !self.met.contains(*id)).collect()
    }

    /// Asserts that every difference of the list has occurred, so that the list stays true.
    pub(super) fn check(&self, table: &str) {
        let unmet = self.unmet();
        assert!(unmet.is_empty(), "allowed.md lists differences {table} that do not occur: {unmet:?}");
    }
}
