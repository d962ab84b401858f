//! Several messages in one text of the transport, one on each line, if both sides support it. A message
//! then costs a line break instead of a text of its own.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::slice;

use memchr::memchr;

use crate::link::features::LINES_BYTES_MAX;

/// Outgoing messages, joined into as few texts as possible.
pub(crate) struct Joining {
    pub(crate) texts: VecDeque<String>,
    joins: bool,
}

impl Joining {
    pub(crate) fn new(joins: bool) -> Self {
        Self { texts: VecDeque::new(), joins }
    }

    /// Queues a message. `is_line` says that it is known to contain no line break. `all` bounds the bytes of
    /// this message and those that follow it.
    pub(crate) fn push(&mut self, mut message: Cow<'_, str>, is_line: bool, all: usize) {
        if !self.joins {
            return self.texts.push_back(message.into_owned());
        }
        // A line break can only be white space, from a value that a peer sent and that is passed on
        // unchanged: JSON strings contain no raw line breaks.
        if !is_line && memchr(b'\n', message.as_bytes()).is_some() {
            message = message.replace('\n', " ").into();
        }
        match self.texts.back_mut() {
            Some(last) if last.len() + message.len() < LINES_BYTES_MAX => {
                last.push('\n');
                last.push_str(&message);
            }
            _ if message.len() < LINES_BYTES_MAX => {
                let mut text = String::with_capacity(all.clamp(message.len(), LINES_BYTES_MAX));
                text.push_str(&message);
                self.texts.push_back(text);
            }
            _ => self.texts.push_back(message.into_owned()),
        }
    }
}

/// An iterator over the messages in texts, in order.
pub(crate) struct Lines<'a, T> {
    texts: slice::Iter<'a, T>,
    /// The rest of the current text.
    rest: Option<&'a str>,
    are_joined: bool,
}

impl<'a, T> Lines<'a, T> {
    pub(crate) fn of(texts: &'a [T], are_joined: bool) -> Self {
        Self { texts: texts.iter(), rest: None, are_joined }
    }
}

impl<'a, T: AsRef<str>> Iterator for Lines<'a, T> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = match self.rest.take() {
            Some(rest) => rest,
            None => {
                let text = self.texts.next()?.as_ref();
                if !self.are_joined || text.len() > LINES_BYTES_MAX {
                    return Some(text);
                }
                text
            }
        };
        let Some(end) = memchr(b'\n', rest.as_bytes()) else { return Some(rest) };
        self.rest = Some(&rest[end + 1..]);
        Some(&rest[..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(joins: bool, messages: &[&str]) -> Vec<String> {
        let mut joining = Joining::new(joins);
        messages.iter().for_each(|&message| joining.push(message.into(), false, 0));
        joining.texts.into()
    }

    #[test]
    fn joined_messages_are_split_into_the_same_messages() {
        let long = "x".repeat(LINES_BYTES_MAX - 4);
        let longer = "y".repeat(2 * LINES_BYTES_MAX);
        let messages = ["[1]", &long, "[2]", "[3]", &longer, "[4]"];
        assert_eq!(sent(false, &messages), messages);
        let texts = sent(true, &messages);
        assert_eq!(texts, [&format!("[1]\n{long}"), "[2]\n[3]", &longer, "[4]"]);
        assert_eq!(Lines::of(&texts, true).collect::<Vec<_>>(), messages);
        assert_eq!(Lines::of(&texts, false).count(), 4);
    }

    #[test]
    fn line_breaks_in_a_message_become_spaces_when_joined() {
        assert_eq!(sent(true, &["[1,\n2]", "[3]"]), ["[1, 2]\n[3]"]);
        assert_eq!(sent(false, &["[1,\n2]"]), ["[1,\n2]"]);
    }

    #[test]
    fn text_longer_than_joined_lines_is_one_message() {
        let text = "[1]\n".repeat(LINES_BYTES_MAX);
        assert_eq!(Lines::of(&[&text], true).collect::<Vec<_>>(), [&text]);
    }
}
