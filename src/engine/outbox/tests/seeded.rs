//! Random traffic of two rooms to readers that read sometimes, under both slow policies. The messages and gaps of a
//! room that come out must be its stream, each seq once, in order.

use super::*;
use crate::engine::random::Random;

/// A reader's view of one room: the last seq that it received or that a gap reported.
#[derive(Clone, Copy, Default)]
struct View {
    last: Seq,
    messages: u64,
    missed: u64,
}

impl View {
    /// Reads output such as `m<room>.<from>-<to>;`, `gap<room>.<from>-<to>;` or `joined<room>.<from>-<head>;`. After
    /// the last, seqs above `from` are sent again.
    fn hear(&mut self, word: &str, seed: u64) {
        let (what, range) = word.split_once('.').expect("a room and numbers");
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (from, to): (Seq, Seq) = (from.parse().expect("a seq"), to.parse().expect("a seq"));
        if what.starts_with("joined") {
            // Earlier seqs do not matter after a new join, but the head never decreases.
            assert!(to >= self.last, "seed {seed}: {word} after {}", self.last);
            self.last = from;
            return;
        }
        assert_eq!(from, self.last + 1, "seed {seed}: {word} after {}", self.last);
        assert!(to >= from, "seed {seed}: {word}");
        self.last = to;
        *(if what.starts_with("gap") { &mut self.missed } else { &mut self.messages }) += to + 1 - from;
    }
}

struct TwoRooms {
    seed: u64,
    outboxes: Outboxes,
    budget: Budget,
    counters: CoreCounters,
    rooms: [RoomName; 2],
    random: Random,
    heads: [Seq; 2],
    views: Vec<[View; 2]>,
    sending: Vec<bool>,
    told: Vec<u64>,
    policies: [SlowPolicy; 2],
}

const READERS: u32 = 3;

/// Writes each room's messages and gaps as text.
struct Numbered;

impl Encoder for Numbered {
    fn gap(&mut self, _: u32, room: &RoomName, from: Seq, to: Seq) -> Bytes {
        format!("gap{room}.{from}-{to};").into()
    }

    fn message(&mut self, _: u32, room: &RoomName, message: &Publication) -> Bytes {
        let seq = message.seq;
        format!("m{room}.{seq}-{seq};").into()
    }
}

/// Does what the home half does for each slow reader. Returns the number of messages dropped.
fn relieve(outboxes: &mut Outboxes, slot: u32, source: Source<'_>, budget: &mut Budget) -> u64 {
    if outboxes.is_slow(slot, true) { outboxes.relieve(slot, source, budget).dropped } else { 0 }
}

impl TwoRooms {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut outboxes = Outboxes::new(1_000 + random.below(9_000) as usize);
        outboxes.reach(READERS - 1);
        TwoRooms {
            seed,
            outboxes,
            budget: Budget::new(1 << 40),
            counters: CoreCounters::default(),
            rooms: ["0", "1"].map(|name| RoomName::new(name).expect("valid")),
            policies: [0, 1].map(|_| [SlowPolicy::Skip, SlowPolicy::Latest][random.below(2) as usize]),
            random,
            heads: [0; 2],
            views: vec![[View::default(); 2]; READERS as usize],
            sending: vec![false; READERS as usize],
            told: vec![0; READERS as usize],
        }
    }

    /// A frame that contains its own description, padded to a random size.
    fn bytes(&mut self, words: &str) -> Bytes {
        let size = words.len() + self.random.below(150) as usize;
        format!("{words:<size$}").into()
    }

    /// Queues a run of the room's next messages for every reader, as the home half does.
    fn publish(&mut self, room: usize) {
        let count = 1 + self.random.below(4);
        let (from, to) = (self.heads[room] + 1, self.heads[room] + count);
        self.heads[room] = to;
        let bytes = self.bytes(&format!("m{room}.{from}-{to};"));
        let frame = self.outboxes.add(Outgoing::messages(from, count as u32, bytes), &mut self.budget);
        let (mut behind, slots) = (Vec::new(), (0..READERS).collect::<Vec<_>>());
        self.outboxes.push_all(&slots, None, frame, &mut behind, &mut self.budget);
        let source = Source { room: &self.rooms[room], policy: self.policies[room] };
        for slot in behind {
            self.outboxes.hold(slot, source, frame, &mut self.budget);
            self.told[slot as usize] += relieve(&mut self.outboxes, slot, source, &mut self.budget);
        }
        self.outboxes.release(frame, &mut self.budget);
    }

    /// The owner reports seqs that are lost to all.
    fn lose(&mut self, room: usize) {
        let (from, to) = (self.heads[room] + 1, self.heads[room] + 1 + self.random.below(3));
        self.heads[room] = to;
        let source = Source { room: &self.rooms[room], policy: self.policies[room] };
        for slot in 0..READERS {
            self.outboxes.push_gap(slot, source, (from, to), &mut self.budget);
            self.told[slot as usize] += to + 1 - from;
        }
    }

    /// Queues a reply, or a `joined` with some messages as a replay, which the reader receives again.
    fn other(&mut self, room: usize) {
        let slot = self.random.below(u64::from(READERS)) as u32;
        let again = self.random.below(self.heads[room].min(20) + 1);
        let head = self.heads[room];
        let (words, again) = match self.random.below(2) == 0 {
            true => (format!("joined{room}.{}-{head};", head - again), again),
            false => (String::from("other;"), 0),
        };
        let bytes = self.bytes(&words);
        let frame = self.outboxes.add(Outgoing { bytes, messages: 1, role: Role::Other }, &mut self.budget);
        let source = Source { room: &self.rooms[room], policy: self.policies[room] };
        if self.outboxes.is_behind(slot, &self.rooms[room]) {
            self.outboxes.hold(slot, source, frame, &mut self.budget);
        } else {
            self.outboxes.push_frame(slot, frame, &mut self.budget);
        }
        self.outboxes.release(frame, &mut self.budget);
        if again > 0 {
            let messages = Fixture::publications(head - again + 1..=head);
            self.outboxes.replay(slot, source, messages, &mut self.budget);
        }
        self.told[slot as usize] += relieve(&mut self.outboxes, slot, source, &mut self.budget);
    }

    fn flush(&mut self) {
        let mut sends = Vec::new();
        let mut encoder = Numbered;
        self.outboxes.flush(&mut sends, &mut self.budget, &self.counters, &mut encoder, &mut |_| {});
        for send in sends {
            assert!(!std::mem::replace(&mut self.sending[send.slot as usize], true), "one send at a time");
            let text = std::str::from_utf8(&send.bytes).expect("ascii").to_owned();
            for word in text.split(';').map(str::trim).filter(|word| !word.is_empty() && *word != "other") {
                let (room, _) = word.split_once('.').expect("it names its room");
                let room = usize::from(room.ends_with('1'));
                self.views[send.slot as usize][room].hear(word, self.seed);
            }
        }
    }

    fn sent(&mut self, slot: u32) {
        if std::mem::take(&mut self.sending[slot as usize]) {
            self.outboxes.sent(slot, &mut self.budget);
        }
    }

    fn step(&mut self) {
        let room = self.random.below(2) as usize;
        match self.random.below(20) {
            0..10 => self.publish(room),
            10 => self.lose(room),
            11..13 => self.other(room),
            13..16 => self.flush(),
            16 => self.outboxes.tick(),
            // The last reader rarely reads.
            _ => {
                let slot = self.random.below(u64::from(READERS) + 2) as u32;
                if slot < READERS - 1 || self.random.below(10) == 0 {
                    self.sent(slot.min(READERS - 1));
                }
            }
        }
    }

    fn end(mut self) {
        while self.outboxes.has_dirty() || self.sending.iter().any(|sending| *sending) {
            self.flush();
            (0..READERS).for_each(|slot| self.sent(slot));
        }
        for slot in 0..READERS {
            let views = self.views[slot as usize];
            assert_eq!(views.map(|view| view.last), self.heads, "seed {}: all is got or told", self.seed);
            let missed = views.iter().map(|view| view.missed).sum::<u64>();
            assert_eq!(missed, self.told[slot as usize], "seed {}: what was dropped is what was told", self.seed);
            assert_eq!(self.outboxes.bytes(slot), 0, "seed {}: nothing stays charged", self.seed);
        }
        assert_eq!(self.budget.used(), 0, "seed {}", self.seed);
    }
}

#[test]
fn every_number_of_a_room_is_got_or_told_once_and_in_order() {
    let (mut messages, mut missed) = (0, 0);
    for seed in 0..400 {
        let mut rooms = TwoRooms::new(seed);
        for _ in 0..400 {
            rooms.step();
        }
        let views = rooms.views.iter().flatten().copied().collect::<Vec<_>>();
        messages += views.iter().map(|view| view.messages).sum::<u64>();
        missed += views.iter().map(|view| view.missed).sum::<u64>();
        rooms.end();
    }
    assert!(messages > 10_000 && missed > 10_000, "both happen often: {messages} got, {missed} missed");
}
