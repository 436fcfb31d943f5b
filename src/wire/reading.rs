//! How a connection reads its messages: in which form, and compressed or not. All connections with the same reading share
//! the same bytes. Never encodes and never compresses.

use std::num::NonZeroU8;

use bytes::Bytes;

use super::deflate::Window;
use super::form::{Form, Forms};

/// A form and, if compression was negotiated, its window. An optional reading takes one byte too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading(NonZeroU8);

impl Reading {
    /// Number of readings.
    pub const COUNT: usize = Form::COUNT * (1 + Window::ALL.len());

    /// The readings without compression, in the order of their [index](Reading::index).
    pub const PLAIN: [Reading; Form::COUNT] = Reading::run_from(0);

    /// The readings with compression, in the order of their [index](Reading::index).
    pub const COMPRESSED: [Reading; Reading::COUNT - Form::COUNT] = Reading::run_from(Form::COUNT);

    /// The reading of a form, compressed for a window or not.
    #[must_use]
    pub const fn new(form: Form, window: Option<Window>) -> Self {
        let row = match window {
            None => 0,
            Some(window) => 1 + window.index(),
        };
        Self::at((row * Form::COUNT + form.index()) as u8)
    }

    const fn run_from<const LEN: usize>(first: usize) -> [Reading; LEN] {
        let mut run = [Reading::at(0); LEN];
        let mut at = 0;
        while at < LEN {
            run[at] = Reading::at((first + at) as u8);
            at += 1;
        }
        run
    }

    const fn at(index: u8) -> Self {
        Self(NonZeroU8::MIN.saturating_add(index))
    }

    /// Its place among all readings; those without compression come first.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0.get() as usize - 1
    }

    /// Its form.
    #[must_use]
    pub const fn form(self) -> Form {
        Form::ALL[self.index() % Form::COUNT]
    }

    /// The window that its messages are compressed for, if any.
    #[must_use]
    pub const fn window(self) -> Option<Window> {
        match self.index() / Form::COUNT {
            0 => None,
            window => Some(Window::ALL[window - 1]),
        }
    }
}

impl From<Form> for Reading {
    fn from(form: Form) -> Self {
        Self::new(form, None)
    }
}

/// A set of readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Readings(u16);

const _: () = assert!(Reading::COUNT <= u16::BITS as usize);

impl Readings {
    /// Adds a reading.
    pub const fn add(&mut self, reading: Reading) {
        self.0 |= 1 << reading.index();
    }

    /// The readings in either set.
    #[must_use]
    pub const fn union(self, other: Readings) -> Readings {
        Readings(self.0 | other.0)
    }

    /// Whether the set holds a reading.
    #[must_use]
    pub const fn contains(self, reading: Reading) -> bool {
        self.0 & (1 << reading.index()) != 0
    }

    /// The forms of the readings in the set.
    #[must_use]
    pub const fn forms(self) -> Forms {
        // The readings of each window are one row of bits, in the order of the forms.
        let mut bits = self.0;
        let mut row = 1;
        while row <= Window::ALL.len() {
            bits |= self.0 >> (row * Form::COUNT);
            row += 1;
        }
        Forms::from_bits(bits)
    }

    /// The readings with compression.
    pub fn compressed(self) -> impl Iterator<Item = Reading> {
        // Runs for every publication, and most rooms have no such reading.
        let all: &[Reading] = if self.0 >> Form::COUNT == 0 { &[] } else { &Reading::COMPRESSED };
        all.iter().copied().filter(move |reading| self.contains(*reading))
    }
}

/// The same frames, compressed for each reading that wants them so and for which they get smaller. Shared by all cores.
#[derive(Debug, Default)]
pub struct Variants(Vec<(Reading, Bytes)>);

impl Variants {
    /// Adds the frames for a reading.
    pub fn add(&mut self, reading: Reading, frames: Bytes) {
        self.0.push((reading, frames));
    }

    /// The frames for a reading.
    #[must_use]
    pub fn get(&self, reading: Reading) -> Option<&Bytes> {
        self.0.iter().find(|(its, _)| *its == reading).map(|(_, frames)| frames)
    }

    /// Whether no reading has compressed frames.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of the frames for all readings.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(_, frames)| frames.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reading_is_its_form_and_window() {
        let mut seen = Vec::new();
        for window in [None].into_iter().chain(Window::ALL.map(Some)) {
            for form in Form::ALL {
                let reading = Reading::new(form, window);
                assert_eq!((reading.form(), reading.window()), (form, window));
                seen.push(reading);
            }
        }
        assert_eq!(seen, [&Reading::PLAIN[..], &Reading::COMPRESSED[..]].concat());
        assert!(seen.iter().enumerate().all(|(index, reading)| reading.index() == index));
        assert_eq!(size_of::<Option<Reading>>(), 1);
    }

    #[test]
    fn sets_know_their_forms_and_compressed_readings() {
        let (plain, packed) = (Reading::from(Form::Json), Reading::new(Form::Binary, Some(Window::Bits12)));
        let mut readings = Readings::default();
        assert_eq!(readings.forms(), Forms::default());
        readings.add(plain);
        assert_eq!((readings.forms(), readings.compressed().count()), (Forms::from(Form::Json), 0));
        let mut other = Readings::default();
        other.add(packed);
        assert_eq!(other.forms(), Forms::from(Form::Binary));
        let both = readings.union(other);
        assert_eq!(both.forms(), Forms::ALL);
        assert_eq!(both.compressed().collect::<Vec<_>>(), [packed]);
        assert!(both.contains(plain) && both.contains(packed) && !both.contains(Reading::from(Form::Binary)));
    }
}
