//! Places for clients that have not been admitted yet, shared fairly between addresses.
//!
//! The number of places is bounded, and an attacker may try to take all of them. So when all are
//! taken, a newcomer displaces a client of the address that holds the most. Clients that the server
//! waits for ("silent") are displaced before clients that wait for the server ("busy"); among the
//! silent ones, the one that has been silent longest.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::address::AddressGroup;

/// The address of a client; `None` if it is unknown.
type Source = Option<AddressGroup>;

/// Which clients a newcomer can displace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GiveWay {
    /// Silent clients of addresses that hold more places than the newcomer's.
    Silent,
    /// Silent clients, even of the newcomer's own address. If there are none, busy clients of
    /// addresses that hold more places than the newcomer's would.
    All,
}

/// A set of places. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    give_way: GiveWay,
    taken: Arc<Mutex<Occupied>>,
}

#[derive(Debug, Default)]
struct Occupied {
    count: usize,
    /// The next number. Numbers order clients by when they became silent or busy.
    next: u64,
    by_address: HashMap<Source, Holders>,
}

/// The clients of one address, ordered by when they became silent or busy.
#[derive(Debug, Default)]
struct Holders {
    silent: BTreeMap<u64, Arc<Displaced>>,
    busy: BTreeMap<u64, Arc<Displaced>>,
    /// The number of clients that cannot be displaced anymore.
    settled: usize,
}

/// Whether the holder of a place was displaced.
#[derive(Debug, Default)]
struct Displaced {
    is: AtomicBool,
    notify: Notify,
}

/// A place, which is released when it is dropped. Its client is silent at first.
#[derive(Debug)]
pub(crate) struct Place {
    taken: Arc<Mutex<Occupied>>,
    held: Mutex<Occupancy>,
}

#[derive(Debug)]
struct Occupancy {
    from: Source,
    number: u64,
    /// `None` once the client is settled.
    displaced: Option<Arc<Displaced>>,
}

/// All places are taken, and no client can be displaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Places {
    pub(crate) fn new(give_way: GiveWay) -> Self {
        Self { give_way, taken: Arc::default() }
    }

    /// Takes one of `max` places. If all are taken, displaces another client.
    pub(crate) fn take(&self, from: Source, max: usize) -> Result<Place, Full> {
        let mut taken = self.lock();
        if taken.count >= max && !(max > 0 && taken.displace(from, self.give_way)) {
            return Err(Full);
        }
        let displaced = Arc::new(Displaced::default());
        taken.count += 1;
        let number = taken.number();
        taken.by_address.entry(from).or_default().silent.insert(number, Arc::clone(&displaced));
        drop(taken);
        let held = Mutex::new(Occupancy { from, number, displaced: Some(displaced) });
        Ok(Place { taken: Arc::clone(&self.taken), held })
    }

    fn lock(&self) -> MutexGuard<'_, Occupied> {
        lock(&self.taken)
    }
}

/// Locks the places. No user code runs while the lock is held, so poisoning is ignored. Lock order:
/// `Place::held` before `Places::taken`.
fn lock(taken: &Mutex<Occupied>) -> MutexGuard<'_, Occupied> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Occupied {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Displaces a client in favor of one from `newcomer`. Returns whether there was one to
    /// displace.
    fn displace(&mut self, newcomer: Source, give_way: GiveWay) -> bool {
        let own = self.by_address.get(&newcomer).map_or(0, Holders::len);
        let silent = |(from, holders): (&Source, &Holders)| {
            let oldest = *holders.silent.keys().next()?;
            (holders.len() > own || *from == newcomer && give_way == GiveWay::All).then_some((
                holders.len(),
                std::cmp::Reverse(oldest),
                *from,
            ))
        };
        let busy = |(from, holders): (&Source, &Holders)| {
            let oldest = *holders.busy.keys().next()?;
            (holders.len() > own + 1).then_some((holders.len(), std::cmp::Reverse(oldest), *from))
        };
        let mut gives_way = self.by_address.iter().filter_map(silent).max();
        if gives_way.is_none() && give_way == GiveWay::All {
            gives_way = self.by_address.iter().filter_map(busy).max();
        }
        let Some((_, std::cmp::Reverse(number), from)) = gives_way else { return false };
        let Some(displaced) = self.remove(from, number) else { return false };
        displaced.is.store(true, Ordering::SeqCst);
        displaced.notify.notify_waiters();
        true
    }

    /// Removes a client. Returns `None` if it was displaced before.
    fn remove(&mut self, from: Source, number: u64) -> Option<Arc<Displaced>> {
        let holders = self.by_address.get_mut(&from)?;
        let removed = holders.silent.remove(&number).or_else(|| holders.busy.remove(&number))?;
        self.count -= 1;
        if holders.len() == 0 {
            self.by_address.remove(&from);
        }
        Some(removed)
    }
}

impl Occupied {
    fn settle(&mut self, from: Source) {
        self.count += 1;
        self.by_address.entry(from).or_default().settled += 1;
    }

    fn unsettle(&mut self, from: Source) {
        let Some(holders) = self.by_address.get_mut(&from) else { return };
        self.count -= 1;
        holders.settled -= 1;
        if holders.len() == 0 {
            self.by_address.remove(&from);
        }
    }
}

impl Holders {
    fn len(&self) -> usize {
        self.silent.len() + self.busy.len() + self.settled
    }
}

impl Place {
    /// Records that the client waits for the server from now on.
    pub(crate) fn set_busy(&self) {
        self.change(|holders, number, displaced| drop(holders.busy.insert(number, displaced)));
    }

    /// Records that the server waits for the client from now on.
    pub(crate) fn set_silent(&self) {
        self.change(|holders, number, displaced| drop(holders.silent.insert(number, displaced)));
    }

    /// Sets the address of the client, which is not always known at first.
    pub(crate) fn set_from(&self, from: Source) {
        let mut held = self.held();
        let mut taken = lock(&self.taken);
        if held.displaced.is_none() {
            taken.unsettle(held.from);
            taken.settle(from);
            held.from = from;
            return;
        }
        let was_busy = taken.by_address.get(&held.from).is_some_and(|holders| holders.busy.contains_key(&held.number));
        if let Some(displaced) = taken.remove(held.from, held.number) {
            taken.count += 1;
            held.from = from;
            let holders = taken.by_address.entry(from).or_default();
            let side = if was_busy { &mut holders.busy } else { &mut holders.silent };
            side.insert(held.number, displaced);
        }
    }

    /// Keeps the client from being displaced for good, unless it already was. It is still counted.
    pub(crate) fn settle(&self) {
        let mut held = self.held();
        let mut taken = lock(&self.taken);
        if taken.remove(held.from, held.number).is_some() {
            taken.settle(held.from);
            held.displaced = None;
        }
    }

    /// Waits until the client is displaced, which never happens once it is settled. Cancel-safe.
    pub(crate) async fn displaced(&self) {
        let Some(displaced) = self.held().displaced.clone() else { return std::future::pending().await };
        loop {
            let notified = displaced.notify.notified();
            if displaced.is.load(Ordering::SeqCst) {
                return;
            }
            notified.await;
        }
    }

    fn change(&self, insert: impl FnOnce(&mut Holders, u64, Arc<Displaced>)) {
        let mut held = self.held();
        let mut taken = lock(&self.taken);
        if let Some(displaced) = taken.remove(held.from, held.number) {
            taken.count += 1;
            held.number = taken.number();
            insert(taken.by_address.entry(held.from).or_default(), held.number, displaced);
        }
    }

    fn held(&self) -> MutexGuard<'_, Occupancy> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let held = self.held();
        let mut taken = lock(&self.taken);
        match held.displaced {
            Some(_) => drop(taken.remove(held.from, held.number)),
            None => taken.unsettle(held.from),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn from(host: u8) -> Source {
        Some(std::net::IpAddr::from([192, 0, 2, host]).into())
    }

    fn is_displaced(place: &Place) -> bool {
        place.displaced().now_or_never().is_some()
    }

    #[test]
    fn newcomer_displaces_a_client_of_the_address_that_holds_the_most() {
        let places = Places::new(GiveWay::All);
        let many: Vec<_> = (0..7).map(|_| places.take(from(1), 10).expect("a place")).collect();
        let few: Vec<_> = (0..3).map(|_| places.take(from(2), 10).expect("a place")).collect();
        let newcomers: Vec<_> = (0..4).map(|_| places.take(from(3), 10).expect("a place")).collect();
        assert_eq!(many.iter().map(is_displaced).collect::<Vec<_>>(), [true, true, true, true, false, false, false]);
        assert!(!few.iter().chain(&newcomers).any(is_displaced));
        drop(many);
        assert_eq!(places.lock().count, 7);
        drop((few, newcomers));
        assert!(places.lock().count == 0 && places.lock().by_address.is_empty());
    }

    #[test]
    fn silent_clients_are_displaced_before_busy_ones() {
        let places = Places::new(GiveWay::All);
        let held: Vec<_> = (0..3).map(|_| places.take(from(1), 3).expect("a place")).collect();
        held[0].set_busy();
        held[1].set_busy();
        held[1].set_silent();
        // The second was silent later than the third.
        let _first = places.take(from(2), 3).expect("a place");
        assert_eq!(held.iter().map(is_displaced).collect::<Vec<_>>(), [false, false, true]);
        let _second = places.take(from(3), 3).expect("a place");
        assert_eq!(held.iter().map(is_displaced).collect::<Vec<_>>(), [false, true, true]);
    }

    #[test]
    fn busy_clients_are_displaced_only_by_addresses_with_fewer_places() {
        let places = Places::new(GiveWay::All);
        let held: Vec<_> = (0..2).map(|_| places.take(from(1), 2).expect("a place")).collect();
        held.iter().for_each(Place::set_busy);
        let newcomer = places.take(from(2), 2).expect("a place");
        newcomer.set_busy();
        assert_eq!(held.iter().map(is_displaced).collect::<Vec<_>>(), [true, false]);
        assert_eq!(places.take(from(3), 2).map(drop), Err(Full), "each has one");

        let places = Places::new(GiveWay::Silent);
        let held: Vec<_> = (0..2).map(|_| places.take(from(1), 2).expect("a place")).collect();
        held.iter().for_each(Place::set_busy);
        assert_eq!(places.take(from(2), 2).map(drop), Err(Full));
    }

    #[test]
    fn within_an_address_the_longest_silent_client_is_displaced() {
        let places = Places::new(GiveWay::All);
        for from in [from(1), None] {
            let held: Vec<_> = (0..2).map(|_| places.take(from, 2).expect("a place")).collect();
            held[0].set_busy();
            let newcomer = places.take(from, 2).expect("a place");
            newcomer.set_busy();
            assert_eq!(held.iter().map(is_displaced).collect::<Vec<_>>(), [false, true]);
            assert_eq!(places.take(from, 2).map(drop), Err(Full), "both are busy");
        }
        assert_eq!(places.take(None, 0).map(drop), Err(Full));
    }

    #[test]
    fn settled_clients_are_counted_and_never_displaced() {
        let places = Places::new(GiveWay::All);
        let held: Vec<_> = (0..2).map(|_| places.take(from(1), 2).expect("a place")).collect();
        held.iter().for_each(Place::settle);
        held[0].set_silent();
        held[0].set_from(from(2));
        assert_eq!(places.take(from(3), 2).map(drop), Err(Full));
        assert!(!held.iter().any(is_displaced));
        drop(held);
        assert!(places.lock().count == 0 && places.lock().by_address.is_empty());
        // A client that was displaced cannot be settled afterward.
        let held = [places.take(from(1), 1).expect("a place"), places.take(from(2), 1).expect("a place")];
        held[0].settle();
        assert!(is_displaced(&held[0]) && places.lock().count == 1);
    }

    #[test]
    fn client_is_counted_for_its_address_once_it_is_known() {
        let places = Places::new(GiveWay::Silent);
        let held: Vec<_> = (0..2).map(|_| places.take(None, 2).expect("a place")).collect();
        held[0].set_from(from(1));
        let _newcomer = places.take(from(2), 2).expect("a place");
        assert!(is_displaced(&held[0]) && !is_displaced(&held[1]));
        held[0].set_from(from(3));
        held[0].set_busy();
        assert_eq!(places.lock().count, 2, "a displaced client has no place");
    }
}
