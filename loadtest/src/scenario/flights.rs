//! The publishes of one room that are under way: when each was due, and how many receivers still wait for it. Numbers
//! count from 0 in the order of publishing. Checks no order: that is each receiver's own.

use std::collections::VecDeque;

use crate::measure::counters::Counters;

/// Publishes under way, oldest first.
#[derive(Debug, Default)]
pub struct Flights {
    flights: VecDeque<Flight>,
    /// Number of the oldest one under way.
    first: u32,
}

/// One publish under way.
#[derive(Clone, Copy, Debug)]
pub struct Flight {
    /// When it was due, in nanoseconds of the fleet's clock.
    pub scheduled: u64,
    /// Its durations are recorded.
    pub measured: bool,
    /// Receivers that have neither got it nor been told that they will not.
    pub missing: u32,
    /// Some receiver will not get it: it has no last receiver.
    pub skipped: bool,
    /// How many were to get it.
    pub receivers: u32,
}

impl Flights {
    /// The number of the next publish.
    #[must_use]
    pub fn next(&self) -> u32 {
        self.first + self.flights.len() as u32
    }

    /// How many are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flights.len()
    }

    /// Takes note of a publish that `receivers` are to get; returns its number.
    pub fn launch(&mut self, scheduled: u64, receivers: u32, measured: bool) -> u32 {
        let number = self.next();
        self.flights.push_back(Flight { scheduled, measured, missing: receivers, skipped: false, receivers });
        number
    }

    /// A receiver has got publish `number`. Returns what is left of it; `None`: nobody waits for it.
    pub fn arrive(&mut self, number: u32) -> Option<Flight> {
        let flight = self.at(number)?;
        flight.missing -= 1;
        let flight = *flight;
        self.land();
        Some(flight)
    }

    /// A receiver will not get publish `number`. Returns whether anybody waited for it.
    pub fn skip(&mut self, number: u32) -> bool {
        let Some(flight) = self.at(number) else { return false };
        flight.missing -= 1;
        flight.skipped = true;
        self.land();
        true
    }

    /// The same for seqs `from ..= to`, where number 0 has the seq `offset`. Returns how many were waited for.
    pub fn skip_seqs(&mut self, offset: u64, from: u64, to: u64) -> u64 {
        let end = to.saturating_add(1).saturating_sub(offset).min(u64::from(self.next()));
        let numbers = from.saturating_sub(offset)..end;
        numbers.filter(|number| u32::try_from(*number).is_ok_and(|number| self.skip(number))).count() as u64
    }

    /// The publisher is gone: forgets the newest publishes of which nobody has heard, as the server may never have seen
    /// them. Counts them, and the deliveries that were waited for.
    pub fn recall(&mut self, counters: &mut Counters) {
        while let Some(flight) = self.flights.pop_back_if(|flight| flight.missing == flight.receivers) {
            counters.unsent += 1;
            counters.cut_off += u64::from(flight.missing);
        }
    }

    fn at(&mut self, number: u32) -> Option<&mut Flight> {
        let index = number.checked_sub(self.first)?;
        self.flights.get_mut(index as usize).filter(|flight| flight.missing > 0)
    }

    fn land(&mut self) {
        while self.flights.front().is_some_and(|flight| flight.missing == 0) {
            self.flights.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_is_under_way_until_its_last_receiver_has_it() {
        let mut flights = Flights::default();
        assert_eq!([flights.launch(10, 2, true), flights.launch(20, 1, false)], [0, 1]);
        assert!(flights.arrive(0).is_some_and(|flight| flight.missing == 1 && flight.scheduled == 10));
        assert!(flights.arrive(1).is_some_and(|flight| flight.missing == 0 && !flight.measured));
        assert!(flights.arrive(1).is_none(), "nobody waits for it any more");
        assert_eq!((flights.len(), flights.next()), (2, 2), "the older one is still under way");
        assert!(flights.skip(0));
        assert!(!flights.skip(0) && flights.arrive(7).is_none());
        assert_eq!((flights.len(), flights.next()), (0, 2));
        flights.launch(30, 1, true);
        flights.launch(40, 1, true);
        assert_eq!(flights.skip_seqs(5, 8, u64::MAX), 1, "seq 8 is publish 3, and there is none after it");
        assert_eq!(flights.skip_seqs(5, 0, 7), 1, "publish 2");
    }

    #[test]
    fn a_publisher_takes_with_it_what_nobody_has_heard_of() {
        let mut flights = Flights::default();
        assert_eq!((0..4).map(|at| flights.launch(at, 3, true)).last(), Some(3));
        assert!(flights.arrive(1).is_some());
        let mut counters = Counters::default();
        flights.recall(&mut counters);
        assert_eq!((counters.unsent, counters.cut_off), (2, 6), "0 was published before 1, which the server has seen");
        assert_eq!((flights.len(), flights.next()), (2, 2));
    }

    #[test]
    fn what_someone_never_gets_has_no_last_receiver() {
        let mut flights = Flights::default();
        flights.launch(10, 2, true);
        assert!(flights.skip(0));
        assert!(flights.arrive(0).is_some_and(|flight| flight.missing == 0 && flight.skipped));
    }
}
