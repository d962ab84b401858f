//! Objects of dynamic values: names in the order in which they were written.

use super::Value;

/// What a JavaScript object is on the wire. Keeps insertion order; compares without it.
#[derive(Clone, Debug, Default)]
pub struct Object(Vec<(String, Value)>);

impl Object {
    /// An empty object.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value under `key`. Looks at one entry after the other.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// Sets `key`, which keeps its place if it is there already. Returns what it replaces.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        let (key, value) = (key.into(), value.into());
        match self.0.iter_mut().find(|(k, _)| *k == key) {
            Some((_, old)) => Some(std::mem::replace(old, value)),
            None => {
                self.0.push((key, value));
                None
            }
        }
    }

    /// Takes `key` out.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let index = self.0.iter().position(|(k, _)| k == key)?;
        Some(self.0.remove(index).1)
    }

    /// The entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there are no entries.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Object {
    /// Of entries with the same key the last one wins and the first one gives the place, as in
    /// JavaScript. Takes n log n steps, since a peer may choose the keys.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut entries: Vec<(String, Value)> = entries.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        let doubles = doubles(&entries);
        if !doubles.is_empty() {
            for (first, later) in &doubles {
                entries[*first].1 = std::mem::take(&mut entries[*later].1);
            }
            let mut doubles = doubles.into_iter().map(|(_, later)| later).peekable();
            let mut index = 0;
            entries.retain(|_| {
                index += 1;
                doubles.next_if_eq(&(index - 1)).is_none()
            });
        }
        Self(entries)
    }
}

/// The entries whose key occurred before, in order, each after the first one with its key.
fn doubles(entries: &[(String, Value)]) -> Vec<(usize, usize)> {
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by_key(|&index| &entries[index].0);
    let mut doubles: Vec<_> = order
        .chunk_by(|&a, &b| entries[a].0 == entries[b].0)
        .flat_map(|same| same[1..].iter().map(|&later| (same[0], later)))
        .collect();
    doubles.sort_unstable_by_key(|(_, later)| *later);
    doubles
}

impl<K: Into<String>, V: Into<Value>, const N: usize> From<[(K, V); N]> for Object {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl IntoIterator for Object {
    type Item = (String, Value);
    type IntoIter = std::vec::IntoIter<(String, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        if self.0.len() != other.0.len() {
            return false;
        }
        if self.0.iter().zip(&other.0).all(|(a, b)| a.0 == b.0) {
            return self.0.iter().zip(&other.0).all(|(a, b)| a.1 == b.1);
        }
        self.sorted() == other.sorted()
    }
}

impl Object {
    fn sorted(&self) -> Vec<(&str, &Value)> {
        let mut entries: Vec<_> = self.iter().collect();
        entries.sort_by_key(|(key, _)| *key);
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_equal_keys_wins_in_the_place_of_the_first() {
        let object = Object::from([("a", 1), ("b", 2), ("a", 3), ("c", 4), ("b", 5), ("a", 6)]);
        let entries: Vec<_> = object.iter().map(|(k, v)| (k, v.as_f64())).collect();
        assert_eq!(entries, [("a", Some(6.0)), ("b", Some(5.0)), ("c", Some(4.0))]);
    }

    #[test]
    fn order_does_not_matter_to_equality() {
        let a = Object::from([("a", 1), ("b", 2)]);
        assert_eq!(a, Object::from([("b", 2), ("a", 1)]));
        assert_ne!(a, Object::from([("b", 1), ("a", 2)]));
        assert_ne!(a, Object::from([("a", 1)]));
    }

    #[test]
    fn insert_replaces_and_remove_takes() {
        let mut object = Object::from([("a", 1), ("b", 2)]);
        assert_eq!(object.insert("a", 3), Some(Value::from(1)));
        assert_eq!(object.insert("c", 4), None);
        assert_eq!(object.remove("b"), Some(Value::from(2)));
        assert_eq!(object, Object::from([("a", 3), ("c", 4)]));
    }
}
