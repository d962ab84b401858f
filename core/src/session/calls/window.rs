//! The send window of a stream; see docs/wire.md, "Streams". It grows toward the product of
//! bandwidth and round-trip time, measured on acknowledgments.

/// The initial size of the window, in UTF-16 units of message text.
const START: f64 = 262_144.0;
const MIN: f64 = 65_536.0;
/// Far below the 1 GiB of the official package, because it bounds what a peer holds for one stream.
const MAX: f64 = 16_777_216.0;
/// The minimum time over which bandwidth is measured. Shorter ones cannot be told from a clock that
/// did not advance.
const ELAPSED_US_MIN: u64 = 100;

/// The flow control of one stream, on the sending side. Times are microseconds of any monotonic
/// clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    units: f64,
    in_flight: usize,
    delivered: u64,
    delivered_at_us: u64,
    first_ack: Option<(u64, u64)>,
    round_trip_us_min: u64,
    /// The window still doubles. This ends when it has not grown for three rounds.
    starting: bool,
    round_began_us: u64,
    round_units: f64,
    stale_rounds: u32,
}

/// The state of a chunk until it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sent {
    at_us: u64,
    units: usize,
    delivered: u64,
    delivered_at_us: u64,
    window: f64,
    filled: bool,
}

/// Returns the length of a text in UTF-16 units, by which chunks are counted.
pub fn units(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.encode_utf16().count() }
}

impl Default for Window {
    fn default() -> Self {
        Self {
            units: START,
            in_flight: 0,
            delivered: 0,
            delivered_at_us: 0,
            first_ack: None,
            round_trip_us_min: u64::MAX,
            starting: true,
            round_began_us: 0,
            round_units: START,
            stale_rounds: 0,
        }
    }
}

impl Window {
    /// Returns `true` if another chunk may be sent.
    pub fn is_open(&self) -> bool {
        (self.in_flight as f64) < self.units
    }

    /// Returns the number of units that were sent and not acknowledged.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Records that a chunk was sent.
    pub fn sent(&mut self, now_us: u64, units: usize) -> Sent {
        self.in_flight += units;
        Sent {
            at_us: now_us,
            units,
            delivered: self.delivered,
            delivered_at_us: self.delivered_at_us,
            window: self.units,
            filled: !self.is_open(),
        }
    }

    /// Records that a chunk was refused. The stream has ended.
    pub fn refused(&mut self, sent: Sent) {
        self.in_flight = self.in_flight.saturating_sub(sent.units);
    }

    /// Records that a chunk was acknowledged.
    pub fn acknowledged(&mut self, now_us: u64, sent: Sent) {
        self.in_flight = self.in_flight.saturating_sub(sent.units);
        self.delivered += sent.units as u64;
        self.delivered_at_us = now_us;
        self.round_trip_us_min = self.round_trip_us_min.min(now_us.saturating_sub(sent.at_us));
        let Some(first) = self.first_ack else {
            self.first_ack = Some((now_us, self.delivered));
            return;
        };
        let (base_us, base) = if sent.delivered_at_us == 0 { first } else { (sent.delivered_at_us, sent.delivered) };
        let elapsed_us = now_us.saturating_sub(base_us);
        if elapsed_us >= ELAPSED_US_MIN && self.round_trip_us_min > 0 {
            let per_us = self.delivered.saturating_sub(base) as f64 / elapsed_us as f64;
            self.grow(per_us * self.round_trip_us_min as f64, sent);
        }
        if self.starting && sent.at_us >= self.round_began_us {
            self.end_round(now_us);
        }
    }

    fn grow(&mut self, bandwidth_delay: f64, sent: Sent) {
        let gain = if self.starting { 2.0 } else { 1.25 };
        let wanted = (bandwidth_delay * gain).min(sent.window * gain);
        // Only a chunk that filled the window can show that a smaller window suffices.
        let floor = if sent.filled { sent.window * 0.9 } else { self.units };
        self.units = wanted.max(floor).clamp(MIN, MAX);
    }

    fn end_round(&mut self, now_us: u64) {
        if self.units > self.round_units * 1.25 {
            self.stale_rounds = 0;
        } else {
            self.stale_rounds += 1;
            self.starting = self.stale_rounds < 3;
        }
        self.round_began_us = now_us;
        self.round_units = self.units;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Writes `chunks` of 10,000 units over a line with a round trip of `rtt_us` and `units_per_us`,
    /// on a clock that ticks every `tick_us`. Returns the window at the end and the time it took.
    fn transfer(chunks: usize, rtt_us: u64, units_per_us: u64, tick_us: u64) -> (f64, u64) {
        let mut window = Window::default();
        let mut acks: VecDeque<(u64, Sent)> = VecDeque::new();
        let (mut now, mut line_free, mut left) = (1, 0, chunks);
        while left > 0 || !acks.is_empty() {
            while left > 0 && window.is_open() {
                line_free = line_free.max(now) + 10_000 / units_per_us;
                acks.push_back((line_free + rtt_us, window.sent(now / tick_us * tick_us, 10_000)));
                left -= 1;
            }
            let (at, sent) = acks.pop_front().expect("a closed window waits for acknowledgements");
            now = now.max(at);
            window.acknowledged(now / tick_us * tick_us, sent);
        }
        assert_eq!(window.in_flight(), 0);
        (window.units, now)
    }

    #[test]
    fn first_window_admits_27_chunks_of_10_041_units() {
        let mut window = Window::default();
        let sent = (0..100).take_while(|_| {
            let open = window.is_open();
            window.sent(1, 10_041);
            open
        });
        assert_eq!(sent.count(), 27);
    }

    #[test]
    fn grows_to_fill_a_long_line_and_stays_bounded() {
        let (units, _) = transfer(20_000, 100_000, 50, 1);
        assert!((4_000_000.0..=MAX).contains(&units), "bandwidth times delay is 5,000,000: {units}");
        assert!(transfer(20_000, 1_000_000, 1_000, 1).0 <= MAX);
    }

    #[test]
    fn a_coarse_clock_does_not_stall_it() {
        let (_, coarse) = transfer(2_000, 20_000, 50, 100_000);
        let (_, fine) = transfer(2_000, 20_000, 50, 1);
        assert!(coarse < fine * 5, "{coarse} against {fine}");
    }
}
