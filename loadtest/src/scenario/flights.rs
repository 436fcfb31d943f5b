//! Owns the publishes of one room in flight: scheduled times and missing receivers, with numbers from 0 in the order of
//! publishing. Never checks order, which each receiver does.

use std::collections::VecDeque;

use crate::measure::counters::Counters;

/// Publishes in flight, oldest first.
#[derive(Debug, Default)]
pub struct Flights {
    flights: VecDeque<Flight>,
    /// Number of the oldest publish in flight.
    first: u32,
}

/// A publish in flight.
#[derive(Clone, Copy, Debug)]
pub struct Flight {
    /// Scheduled time, in nanoseconds of the fleet's clock.
    pub scheduled: u64,
    /// Whether its durations are recorded.
    pub measured: bool,
    /// Receivers that have neither received nor skipped it.
    pub missing: u32,
    /// Whether some receiver skipped it, so that it has no last receiver.
    pub skipped: bool,
    /// Number of receivers.
    pub receivers: u32,
}

impl Flights {
    /// Number of the next publish.
    #[must_use]
    pub fn next(&self) -> u32 {
        self.first + self.flights.len() as u32
    }

    /// Number of publishes in flight.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flights.len()
    }

    /// Adds a publish for `receivers` receivers. Returns its number.
    pub fn launch(&mut self, scheduled: u64, receivers: u32, measured: bool) -> u32 {
        let number = self.next();
        self.flights.push_back(Flight { scheduled, measured, missing: receivers, skipped: false, receivers });
        number
    }

    /// Records a delivery of publish `number`. Returns its state; `None` if no receiver waits for it.
    pub fn arrive(&mut self, number: u32) -> Option<Flight> {
        let flight = self.at(number)?;
        flight.missing -= 1;
        let flight = *flight;
        self.land();
        Some(flight)
    }

    /// Records that a receiver skips publish `number`. Returns whether a receiver waited for it.
    pub fn skip(&mut self, number: u32) -> bool {
        let Some(flight) = self.at(number) else { return false };
        flight.missing -= 1;
        flight.skipped = true;
        self.land();
        true
    }

    /// Skips seqs `from ..= to`, where number 0 has the seq `offset`. Returns how many had waiting receivers.
    pub fn skip_seqs(&mut self, offset: u64, from: u64, to: u64) -> u64 {
        let end = to.saturating_add(1).saturating_sub(offset).min(u64::from(self.next()));
        let numbers = from.saturating_sub(offset)..end;
        numbers.filter(|number| u32::try_from(*number).is_ok_and(|number| self.skip(number))).count() as u64
    }

    /// After the loss of the publisher, removes the newest publishes without any delivery, which the server may never
    /// have received. Counts them and their missing deliveries.
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
    fn a_publish_is_in_flight_until_its_last_receiver_has_it() {
        let mut flights = Flights::default();
        assert_eq!([flights.launch(10, 2, true), flights.launch(20, 1, false)], [0, 1]);
        assert!(flights.arrive(0).is_some_and(|flight| flight.missing == 1 && flight.scheduled == 10));
        assert!(flights.arrive(1).is_some_and(|flight| flight.missing == 0 && !flight.measured));
        assert!(flights.arrive(1).is_none(), "no receiver waits for it");
        assert_eq!((flights.len(), flights.next()), (2, 2), "the older one is still in flight");
        assert!(flights.skip(0));
        assert!(!flights.skip(0) && flights.arrive(7).is_none());
        assert_eq!((flights.len(), flights.next()), (0, 2));
        flights.launch(30, 1, true);
        flights.launch(40, 1, true);
        assert_eq!(flights.skip_seqs(5, 8, u64::MAX), 1, "seq 8 is publish 3, the last one");
        assert_eq!(flights.skip_seqs(5, 0, 7), 1, "publish 2");
    }

    #[test]
    fn recall_removes_publishes_without_any_delivery() {
        let mut flights = Flights::default();
        assert_eq!((0..4).map(|at| flights.launch(at, 3, true)).last(), Some(3));
        assert!(flights.arrive(1).is_some());
        let mut counters = Counters::default();
        flights.recall(&mut counters);
        assert_eq!(
            (counters.unsent, counters.cut_off),
            (2, 6),
            "the server has received 1, so it has received 0 before"
        );
        assert_eq!((flights.len(), flights.next()), (2, 2));
    }

    #[test]
    fn a_skipped_publish_has_no_last_receiver() {
        let mut flights = Flights::default();
        flights.launch(10, 2, true);
        assert!(flights.skip(0));
        assert!(flights.arrive(0).is_some_and(|flight| flight.missing == 0 && flight.skipped));
    }
}
