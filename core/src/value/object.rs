//! Objects of dynamic values, which keep the order of their keys.

use std::{iter, slice};

use super::Value;

/// A JavaScript object. Keeps insertion order; comparison ignores the order.
///
/// ```
/// # mod bowline { pub mod value { pub use bowline_core::value::Object; } }
/// use bowline::value::Object;
///
/// let mut object = Object::from([("x", 1.0), ("y", 2.0)]);
/// object.insert("label", "here");
/// object.extend([("z", 3.0)]);
/// assert_eq!((&object).into_iter().map(|(key, _)| key).collect::<Vec<_>>(), ["x", "y", "label", "z"]);
/// assert_eq!(object.get("label").unwrap().as_str(), Some("here"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Object(Vec<(String, Value)>);

impl Object {
    /// Creates an empty object.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the value under `key`. Searches linearly.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// Sets the value under `key` and returns the previous one. A key that exists keeps its position.
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

    /// Removes `key` and returns its value.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let index = self.0.iter().position(|(k, _)| k == key)?;
        Some(self.0.remove(index).1)
    }

    /// Returns the entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v))
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns `true` if there are no entries.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Object {
    /// Of entries with the same key, the last value wins at the position of the first, as in JavaScript.
    /// Takes O(n log n) steps, because a peer may choose the keys.
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

/// Returns the positions of entries whose key occurred before, in order, each with the position of the
/// first entry of that key.
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

impl<K: Into<String>, V: Into<Value>> Extend<(K, V)> for Object {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<'a> IntoIterator for &'a Object {
    type Item = (&'a str, &'a Value);
    type IntoIter = iter::Map<slice::Iter<'a, (String, Value)>, fn(&'a (String, Value)) -> Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
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
    fn last_value_of_a_repeated_key_wins_at_the_first_position() {
        let object = Object::from([("a", 1), ("b", 2), ("a", 3), ("c", 4), ("b", 5), ("a", 6)]);
        let entries: Vec<_> = object.iter().map(|(k, v)| (k, v.as_f64())).collect();
        assert_eq!(entries, [("a", Some(6.0)), ("b", Some(5.0)), ("c", Some(4.0))]);
    }

    #[test]
    fn equality_ignores_order() {
        let a = Object::from([("a", 1), ("b", 2)]);
        assert_eq!(a, Object::from([("b", 2), ("a", 1)]));
        assert_ne!(a, Object::from([("b", 1), ("a", 2)]));
        assert_ne!(a, Object::from([("a", 1)]));
    }

    #[test]
    fn insert_and_remove_return_the_old_value() {
        let mut object = Object::from([("a", 1), ("b", 2)]);
        assert_eq!(object.insert("a", 3), Some(Value::from(1)));
        assert_eq!(object.insert("c", 4), None);
        assert_eq!(object.remove("b"), Some(Value::from(2)));
        assert_eq!(object, Object::from([("a", 3), ("c", 4)]));
    }
}
