//! Selects the parked sessions that must end to satisfy the limits. They are taken from the holder
//! that has the most, so that one client cannot displace the sessions of others.

use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;

use tokio::time::Instant;

use crate::address::AddressGroup;

/// The client that a session counts for: its principal, or its address if it is anonymous. All
/// anonymous clients with unknown addresses count as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Holder<'a> {
    Principal(&'a str),
    Address(AddressGroup),
    Unknown,
}

/// A parked session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parked<'a> {
    pub(super) holder: Holder<'a>,
    pub(super) address: Option<AddressGroup>,
    pub(super) since: Instant,
    pub(super) bytes: usize,
    /// Whether its client has never sent a message.
    pub(super) is_unused: bool,
}

/// The limits on parked sessions.
#[derive(Clone, Copy, Debug)]
pub(super) struct ParkedBounds {
    pub(super) sessions: usize,
    pub(super) bytes: usize,
    pub(super) per_principal: usize,
    pub(super) per_address: usize,
}

/// Returns the indexes of the sessions that must end.
pub(super) fn excess(parked: &[Parked<'_>], bounds: ParkedBounds) -> Vec<usize> {
    let mut eviction = Eviction::new(parked);
    eviction.bound_each_holder(bounds);
    eviction.bound_sessions(bounds.sessions);
    eviction.bound_bytes(bounds.bytes);
    (0..parked.len()).filter(|&at| eviction.is_over[at]).collect()
}

struct Eviction<'a> {
    parked: &'a [Parked<'a>],
    /// Indexes in the order in which the sessions of one holder end: unused ones first, then those
    /// parked longest.
    order: Vec<usize>,
    is_over: Vec<bool>,
    sessions: usize,
    of_holder: HashMap<Holder<'a>, usize>,
    of_address: HashMap<Option<AddressGroup>, usize>,
}

impl<'a> Eviction<'a> {
    fn new(parked: &'a [Parked<'a>]) -> Self {
        let mut order: Vec<usize> = (0..parked.len()).collect();
        order.sort_by_key(|&at| (!parked[at].is_unused, parked[at].since));
        Self {
            parked,
            order,
            is_over: vec![false; parked.len()],
            sessions: parked.len(),
            of_holder: counted(parked.iter().map(|session| session.holder)),
            of_address: counted(parked.iter().map(|session| session.address)),
        }
    }

    fn evict(&mut self, at: usize) {
        let Parked { holder, address, .. } = &self.parked[at];
        self.is_over[at] = true;
        self.sessions -= 1;
        self.of_holder.entry(*holder).and_modify(|count| *count -= 1);
        self.of_address.entry(*address).and_modify(|count| *count -= 1);
    }

    fn bound_each_holder(&mut self, bounds: ParkedBounds) {
        for place in 0..self.order.len() {
            let at = self.order[place];
            let holder = self.parked[at].holder;
            let most = match holder {
                Holder::Principal(_) => bounds.per_principal,
                Holder::Address(_) => bounds.per_address,
                Holder::Unknown => usize::MAX,
            };
            if self.of_holder[&holder] > most {
                self.evict(at);
            }
        }
    }

    /// Takes sessions from the holder that has the most; among equals, from the address that has
    /// the most.
    fn bound_sessions(&mut self, most: usize) {
        // Unused sessions end first, regardless of their holder.
        for unused in [true, false] {
            let mut groups: HashMap<Holder<'_>, Vec<usize>> = HashMap::new();
            let left = self.order.iter().rev().filter(|&&at| self.parked[at].is_unused == unused && !self.is_over[at]);
            left.for_each(|&at| groups.entry(self.parked[at].holder).or_default().push(at));
            let weight = |eviction: &Self, at: usize| {
                let Parked { holder, address, .. } = &eviction.parked[at];
                (eviction.of_holder[holder], eviction.of_address[address])
            };
            let firsts = groups.values().filter_map(|group| group.last());
            let mut heap: BinaryHeap<_> = firsts.map(|&at| (weight(self, at), at)).collect();
            while self.sessions > most
                && let Some((noted, at)) = heap.pop()
            {
                // The address may have lost sessions of other holders since this weight was
                // computed.
                let now = weight(self, at);
                if now != noted {
                    heap.push((now, at));
                    continue;
                }
                self.evict(at);
                let group = groups.get_mut(&self.parked[at].holder);
                let next = group.and_then(|group| {
                    group.pop();
                    group.last().copied()
                });
                heap.extend(next.map(|at| (weight(self, at), at)));
            }
        }
    }

    /// Takes the largest session of the holder with the most bytes; among sessions of equal size,
    /// in the usual order.
    fn bound_bytes(&mut self, most: usize) {
        let mut groups: HashMap<Holder<'_>, (usize, Vec<usize>)> = HashMap::new();
        let mut left: Vec<usize> = self.order.iter().rev().copied().filter(|&at| !self.is_over[at]).collect();
        left.sort_by_key(|&at| self.parked[at].bytes);
        let mut bytes = 0_usize;
        for at in left {
            let session = &self.parked[at];
            bytes = bytes.saturating_add(session.bytes);
            let (held, group) = groups.entry(session.holder).or_default();
            *held = held.saturating_add(session.bytes);
            group.push(at);
        }
        let firsts = groups.values().filter_map(|(held, group)| Some((*held, *group.last()?)));
        let mut heap: BinaryHeap<(usize, usize)> = firsts.collect();
        while bytes > most
            && let Some((held, at)) = heap.pop()
        {
            let session = &self.parked[at];
            bytes = bytes.saturating_sub(session.bytes);
            self.evict(at);
            if let Some((_, group)) = groups.get_mut(&session.holder) {
                group.pop();
                heap.extend(group.last().map(|&next| (held.saturating_sub(session.bytes), next)));
            }
        }
    }
}

fn counted<K: Eq + Hash>(keys: impl Iterator<Item = K>) -> HashMap<K, usize> {
    let mut counts = HashMap::new();
    for key in keys {
        *counts.entry(key).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::*;

    const BOUNDS: ParkedBounds =
        ParkedBounds { sessions: 10_000, bytes: 1 << 20, per_principal: 1_000, per_address: 1_000 };

    fn address(n: usize) -> AddressGroup {
        IpAddr::from([10, 0, (n >> 8) as u8, n as u8]).into()
    }

    /// Creates sessions that are parked one after the other.
    struct Lot(Instant, Vec<Parked<'static>>);

    impl Lot {
        fn new() -> Self {
            Self(Instant::now(), Vec::new())
        }

        fn add(&mut self, holder: Holder<'static>, from: usize) -> &mut Parked<'static> {
            let since = self.0 + Duration::from_millis(self.1.len() as u64);
            self.1.push(Parked { holder, address: Some(address(from)), since, bytes: 0, is_unused: false });
            self.1.last_mut().unwrap()
        }

        fn anonymous(&mut self, from: usize) -> &mut Parked<'static> {
            self.add(Holder::Address(address(from)), from)
        }
    }

    #[test]
    fn address_beyond_its_quota_loses_its_own_oldest_sessions() {
        let mut lot = Lot::new();
        lot.anonymous(1);
        for _ in 0..11_000 {
            lot.anonymous(2);
        }
        let over = excess(&lot.1, BOUNDS);
        assert_eq!(over.len(), 10_000);
        assert_eq!(over, (1..=10_000).collect::<Vec<_>>(), "those of the address that were parked first");
    }

    #[test]
    fn many_addresses_below_their_quotas_displace_no_smaller_holder() {
        let mut lot = Lot::new();
        for _ in 0..3 {
            lot.anonymous(0);
        }
        for n in 0..11_000 {
            lot.anonymous(1 + n % 50);
        }
        let over = excess(&lot.1, BOUNDS);
        assert_eq!(over.len(), 1_003);
        assert!(over.iter().all(|&at| at >= 3), "the sessions of another address stay");
    }

    #[test]
    fn many_principals_of_one_address_displace_no_other_address() {
        let mut lot = Lot::new();
        lot.add(Holder::Principal("victim"), 0);
        for n in 0..30 {
            let name: &'static str = Box::leak(format!("p{n}").into_boxed_str());
            lot.add(Holder::Principal(name), 1);
        }
        let over = excess(&lot.1, ParkedBounds { sessions: 10, ..BOUNDS });
        assert_eq!(over.len(), 21);
        assert!(!over.contains(&0));
    }

    #[test]
    fn principal_is_not_counted_with_anonymous_sessions_of_its_address() {
        let mut lot = Lot::new();
        lot.add(Holder::Principal("victim"), 7);
        for _ in 0..2_000 {
            lot.anonymous(7);
        }
        let over = excess(&lot.1, ParkedBounds { sessions: 100, ..BOUNDS });
        assert_eq!(over.len(), 1_901);
        assert!(!over.contains(&0));
    }

    #[test]
    fn unused_sessions_end_first() {
        let mut lot = Lot::new();
        for _ in 0..4 {
            lot.anonymous(1);
        }
        lot.anonymous(1).is_unused = true;
        lot.anonymous(2).is_unused = true;
        assert_eq!(excess(&lot.1, ParkedBounds { sessions: 4, ..BOUNDS }), [4, 5]);
        assert_eq!(excess(&lot.1, ParkedBounds { per_address: 4, ..BOUNDS }), [4]);
    }

    #[test]
    fn largest_sessions_of_the_holder_with_most_bytes_end() {
        let mut lot = Lot::new();
        lot.anonymous(1).bytes = 300;
        (0..10).for_each(|_| lot.anonymous(2).bytes = 100);
        let over = excess(&lot.1, ParkedBounds { bytes: 1_000, ..BOUNDS });
        assert_eq!(over.len(), 3, "{over:?}");
        assert!(!over.contains(&0));
        lot.1[0].bytes = 5_000;
        assert_eq!(excess(&lot.1, ParkedBounds { bytes: 1_000, ..BOUNDS }), [0]);
    }

    #[test]
    fn clients_of_unknown_address_have_no_quota() {
        let mut lot = Lot::new();
        (0..2_000).for_each(|_| lot.add(Holder::Unknown, 0).address = None);
        assert!(excess(&lot.1, BOUNDS).is_empty());
        assert_eq!(excess(&lot.1, ParkedBounds { sessions: 1_999, ..BOUNDS }), [0]);
    }
}
