//! The limit on messages of a peer that has not been admitted yet.
//!
//! The WebSocket library takes its limits when it is set up, and collects a whole message before it
//! returns anything. So until the peer is admitted, this module watches the bytes that the library
//! reads. It parses only the lengths in frame headers (RFC 6455, section 5.2). It never passes
//! bytes beyond the end of the current frame to the library. Later frames, which may belong to a
//! session with higher limits, stay unread until they are requested.

use std::fmt;

/// The longest frame header: two bytes, a length of eight, a mask of four.
const HEAD_BYTES_MAX: usize = 14;

/// The lowest opcode of a control frame. Control frames may be sent between the fragments of a
/// message.
const CONTROL: u8 = 0x8;

/// Parses the frame headers of a peer.
#[derive(Debug)]
pub(crate) struct Opening {
    message_bytes_max: usize,
    head: [u8; HEAD_BYTES_MAX],
    head_bytes: usize,
    /// The number of bytes of the frame's payload that are still to come.
    payload_left: u64,
    /// The number of bytes of the message in all its fragments so far.
    message_bytes: u64,
}

/// The message exceeds the limit for peers that have not been admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong {
    pub(crate) bytes: u64,
    pub(crate) bytes_max: usize,
}

impl Opening {
    pub(crate) fn new(message_bytes_max: usize) -> Self {
        Self { message_bytes_max, head: [0; HEAD_BYTES_MAX], head_bytes: 0, payload_left: 0, message_bytes: 0 }
    }

    /// Returns how many bytes certainly belong to the current frame, at least one.
    pub(crate) fn wanted(&self) -> usize {
        if self.payload_left > 0 {
            usize::try_from(self.payload_left).unwrap_or(usize::MAX)
        } else {
            self.head_bytes_needed() - self.head_bytes
        }
    }

    /// Accounts for bytes that are passed to the library. There must be at most as many as
    /// [`wanted`](Self::wanted) returned.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.payload_left > 0 {
            self.payload_left -= bytes.len() as u64;
            return Ok(());
        }
        self.head[self.head_bytes..self.head_bytes + bytes.len()].copy_from_slice(bytes);
        self.head_bytes += bytes.len();
        if self.head_bytes < 2 || self.head_bytes < self.head_bytes_needed() {
            return Ok(());
        }
        self.head_bytes = 0;
        self.payload_left = self.payload_bytes();
        let opcode = self.head[0] & 0x0F;
        let bytes = if opcode >= CONTROL {
            self.payload_left
        } else {
            // Opcode 0 continues the previous message.
            let before = if opcode == 0 { self.message_bytes } else { 0 };
            self.message_bytes = before.saturating_add(self.payload_left);
            self.message_bytes
        };
        let bytes_max = self.message_bytes_max;
        if bytes > bytes_max as u64 { Err(TooLong { bytes, bytes_max }) } else { Ok(()) }
    }

    fn head_bytes_needed(&self) -> usize {
        if self.head_bytes < 2 {
            return 2;
        }
        let length = match self.head[1] & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.head[1] & 0x80 != 0 { 4 } else { 0 };
        2 + length + mask
    }

    fn payload_bytes(&self) -> u64 {
        let [_, length, long @ ..] = self.head;
        match length & 0x7F {
            126 => u64::from(u16::from_be_bytes([long[0], long[1]])),
            127 => u64::from_be_bytes([long[0], long[1], long[2], long[3], long[4], long[5], long[6], long[7]]),
            length => u64::from(length),
        }
    }
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, bytes_max } = self;
        write!(f, "a message of {bytes} bytes exceeds the limit of {bytes_max} bytes before authentication")
    }
}

impl std::error::Error for TooLong {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes the sent bytes in pieces of at most `piece` bytes.
    fn pass(opening: &mut Opening, mut sent: &[u8], piece: usize) -> Result<(), TooLong> {
        while !sent.is_empty() {
            let (passed, rest) = sent.split_at(opening.wanted().min(piece).min(sent.len()));
            opening.pass(passed)?;
            sent = rest;
        }
        Ok(())
    }

    fn frame(opcode: u8, payload: usize) -> Vec<u8> {
        let mut frame = vec![opcode];
        match payload {
            0..126 => frame.push(0x80 | payload as u8),
            126..0x1_0000 => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(payload as u16).to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend_from_slice(&(payload as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(&[0; 4]);
        frame.extend(std::iter::repeat_n(b'x', payload));
        frame
    }

    #[test]
    fn no_byte_beyond_the_current_frame_is_wanted() {
        for payload in [0, 1, 125, 126, 65_535, 65_536, 80_000] {
            for piece in [1, 3, 1_000, usize::MAX] {
                let mut opening = Opening::new(80_000);
                for _ in 0..2 {
                    pass(&mut opening, &frame(0x81, payload), piece).expect("it is short enough");
                    assert_eq!((opening.wanted(), opening.head_bytes), (2, 0), "{payload} in pieces of {piece}");
                }
            }
        }
    }

    #[test]
    fn long_frames_are_refused_by_their_headers() {
        for (opcode, payload) in [(0x81, 101), (0x82, 200), (0x89, 101), (0x01, 70_000), (0xF1, 500)] {
            let sent = frame(opcode, payload);
            let head = &sent[..sent.len() - payload];
            let refused = pass(&mut Opening::new(100), head, 1);
            assert_eq!(refused, Err(TooLong { bytes: payload as u64, bytes_max: 100 }));
        }
        let endless = [0x81, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0];
        assert!(pass(&mut Opening::new(100), &endless, 14).is_err());
    }

    #[test]
    fn limit_applies_to_the_sum_of_fragments_without_control_frames() {
        let mut opening = Opening::new(100);
        for sent in [frame(0x01, 50), frame(0x89, 90), frame(0x00, 40), frame(0x8A, 90), frame(0x00, 10)] {
            pass(&mut opening, &sent, usize::MAX).expect("100 bytes of a message");
        }
        let refused = pass(&mut opening, &frame(0x80, 1), usize::MAX);
        assert_eq!(refused, Err(TooLong { bytes: 101, bytes_max: 100 }));
        let mut opening = Opening::new(100);
        for sent in [frame(0x01, 60), frame(0x80, 40), frame(0x81, 100), frame(0x81, 100)] {
            pass(&mut opening, &sent, usize::MAX).expect("messages of 100 bytes");
        }
    }
}
