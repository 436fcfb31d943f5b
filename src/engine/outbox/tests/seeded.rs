//! Random traffic of two rooms to readers that read now and then, under both slow policies: whatever happens, the
//! messages and gaps of a room that come out are its stream, each number once, in order.

use super::*;
use crate::engine::random::Random;

/// A reader's view of one room: the numbers that it has got or been told of end here.
#[derive(Clone, Copy, Default)]
struct View {
    last: Seq,
    messages: u64,
    missed: u64,
}

impl View {
    /// Takes what came out, as `m<room>.<from>-<to>;`, `gap<room>.<from>-<to>;` or `joined<room>.<head>;`.
    fn hear(&mut self, word: &str, seed: u64) {
        let (what, range) = word.split_once('.').expect("a room and numbers");
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (from, to): (Seq, Seq) = (from.parse().expect("a seq"), to.parse().expect("a seq"));
        if what.starts_with("joined") {
            // What came before it does not matter to who joins anew, but it never goes back.
            assert!(from >= self.last, "seed {seed}: {word} after {}", self.last);
            self.last = from;
            return;
        }
        assert_eq!(from, self.last + 1, "seed {seed}: {word} after {}", self.last);
        assert!(to >= from, "seed {seed}: {word}");
        self.last = to;
        *(if what.starts_with("gap") { &mut self.missed } else { &mut self.messages }) += to + 1 - from;
    }
}

struct World {
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
    latest: [bool; 2],
}

const READERS: u32 = 3;

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut outboxes = Outboxes::new(200 + random.below(1_500) as usize);
        outboxes.reach(READERS - 1);
        World {
            seed,
            outboxes,
            budget: Budget::new(u64::MAX),
            counters: CoreCounters::default(),
            rooms: ["0", "1"].map(|name| RoomName::new(name).expect("valid")),
            latest: [random.below(2) == 0, random.below(2) == 0],
            random,
            heads: [0; 2],
            views: vec![[View::default(); 2]; READERS as usize],
            sending: vec![false; READERS as usize],
            told: vec![0; READERS as usize],
        }
    }

    /// A frame that says what it is, of some size.
    fn bytes(&mut self, words: &str) -> Bytes {
        let size = words.len() + self.random.below(150) as usize;
        format!("{words:<size$}").into()
    }

    /// A run of the room's next messages to everyone, as the home half puts it: whole where it fits, else one by one.
    fn publish(&mut self, room: usize) {
        let count = 1 + self.random.below(4);
        let (from, to) = (self.heads[room] + 1, self.heads[room] + count);
        self.heads[room] = to;
        let frames: Vec<Bytes> = (from..=to).map(|seq| self.bytes(&format!("m{room}.{seq};"))).collect();
        let stream = room as u32;
        let role = Role::Messages { stream, from, to };
        let outgoing = Outgoing { bytes: frames.concat().into(), messages: count as u32, role };
        let (mut full, slots) = (Vec::new(), (0..READERS).collect::<Vec<_>>());
        self.outboxes.push_all(&slots, None, outgoing, &mut full, &mut self.budget);
        for slot in full {
            for (seq, bytes) in (from..=to).zip(&frames) {
                if self.outboxes.is_full_for(slot, bytes.len()) {
                    let at = (stream, &self.rooms[room], seq);
                    let latest = self.latest[room];
                    let dropped = self.outboxes.push_dropping(slot, at, bytes.clone(), latest, &mut self.budget);
                    self.told[slot as usize] += dropped;
                } else {
                    let message = Outgoing::message(stream, seq, bytes.clone());
                    self.outboxes.push(slot, message, &mut self.budget);
                }
            }
        }
    }

    /// The owner tells of numbers that are lost to all.
    fn lose(&mut self, room: usize) {
        let (from, to) = (self.heads[room] + 1, self.heads[room] + 1 + self.random.below(3));
        self.heads[room] = to;
        for slot in 0..READERS {
            self.outboxes.push_gap(slot, room as u32, &self.rooms[room], from, to);
            self.told[slot as usize] += to + 1 - from;
        }
    }

    fn other(&mut self, room: usize) {
        let slot = self.random.below(u64::from(READERS)) as u32;
        let joins = self.random.below(2) == 0;
        let (words, role) = match joins {
            true => (format!("joined{room}.{};", self.heads[room]), Role::Start { stream: room as u32 }),
            false => (String::from("other;"), Role::Other),
        };
        let bytes = self.bytes(&words);
        self.outboxes.push(slot, Outgoing { bytes, messages: 1, role }, &mut self.budget);
    }

    fn flush(&mut self) {
        let mut sends = Vec::new();
        let mut gap = |_: u32, room: &RoomName, from: Seq, to: Seq| Bytes::from(format!("gap{room}.{from}-{to};"));
        self.outboxes.flush(&mut sends, &mut self.budget, &self.counters, &mut gap, &mut |_| {});
        for send in sends {
            let slot = send.slot as usize;
            assert!(!std::mem::replace(&mut self.sending[slot], true), "one send at a time");
            let text = String::from_utf8(send.bytes.to_vec()).expect("ascii").replace(' ', "");
            for word in text.split_terminator(';').filter(|word| *word != "other") {
                let name = word.split_once('.').expect("a room").0;
                let room = usize::from(name.ends_with('1'));
                self.views[slot][room].hear(word, self.seed);
            }
        }
    }

    fn sent(&mut self, slot: u32) {
        if std::mem::take(&mut self.sending[slot as usize]) {
            self.outboxes.sent(slot);
        }
    }

    fn step(&mut self) {
        let room = self.random.below(2) as usize;
        match self.random.below(20) {
            0..10 => self.publish(room),
            10 => self.lose(room),
            11..13 => self.other(room),
            13..17 => self.flush(),
            // The last reader reads seldom.
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
        let mut world = World::new(seed);
        for _ in 0..400 {
            world.step();
        }
        let views = world.views.iter().flatten().copied().collect::<Vec<_>>();
        messages += views.iter().map(|view| view.messages).sum::<u64>();
        missed += views.iter().map(|view| view.missed).sum::<u64>();
        world.end();
    }
    assert!(messages > 10_000 && missed > 10_000, "both happen often: {messages} got, {missed} missed");
}
