//! What is true over all clients: which contents were published, where each one stands, and that nobody sees anything
//! else. The first violation is kept; the run ends with it. Judges what clients report, never looks into an engine.

use std::collections::BTreeMap;
use std::rc::Rc;

use roomring::engine::settings::KeepingMode;
use roomring::wire::publication::DataKind;

use super::hear::Message;
use super::profile::{Mode, Profile};
use super::store::Met;

/// A connection of the run; never reused.
pub type ConnKey = usize;

/// Data that some client published, perhaps several times under one key.
#[derive(Debug)]
pub struct Content {
    /// Room's index in the run.
    pub room: usize,
    /// Publishing user.
    pub user: Rc<str>,
    /// The data as written.
    pub bytes: Rc<[u8]>,
    /// How it was written.
    pub kind: DataKind,
    /// Idempotency key.
    pub key: Option<String>,
    /// Whether the publishing connection wants it.
    pub echo: bool,
    /// Not to be numbered.
    pub ephemeral: bool,
    /// Which connections sent it, with a number that grows with each publish of the run.
    sends: Vec<(ConnKey, u64)>,
    /// Refusals answered.
    refusals: usize,
    /// It was taken for failed, and is there after all.
    is_found: bool,
    /// Acknowledged as the first, not as a duplicate.
    acknowledged_first: Vec<(u64, u64)>,
    /// Its positions (epoch, seq).
    positions: Vec<(u64, u64)>,
}

/// What stands at a position.
#[derive(Debug)]
struct Entry {
    /// Which content; `None` as long as only its empty data was seen.
    content: Option<usize>,
    from: Rc<str>,
    at: Option<u64>,
    /// A client was shown it, or its publisher was told the position.
    shown: bool,
    /// The link has lost it: what nobody was shown may give way to another one.
    lost: bool,
}

/// A seq that a connection was not given and that must turn out to be its own `echo:false`.
#[derive(Debug)]
struct Spared {
    conn: ConnKey,
    room: usize,
    epoch: u64,
    seq: u64,
}

/// How much of what was seen: a run that saw nothing proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Publishes sent.
    pub publishes: u64,
    /// Publishes acknowledged.
    pub acknowledged: u64,
    /// Live messages.
    pub live: u64,
    /// Messages in `joined` and `history`.
    pub replayed: u64,
    /// Joins that recovered something.
    pub recovered: u64,
    /// `gap` pushes.
    pub gaps: u64,
    /// Refusals.
    pub refusals: u64,
    /// Connections opened.
    pub opened: u64,
    /// Joins pushed for a new epoch.
    pub epochs: u64,
    /// Close frames by the server.
    pub closes: u64,
    /// Compressed messages.
    pub compressed: u64,
    /// Statuses that clients were told and that were held against the truth in the end.
    pub statuses: u64,
    /// Totals pushed.
    pub totals: u64,
    /// Pushes of somebody typing.
    pub typing: u64,
    /// Receipts of others.
    pub receipts: u64,
    /// Pages of history that hold what no memory does.
    pub pages_beyond: u64,
    /// Joins that recovered what no memory holds.
    pub recovered_beyond: u64,
    /// Of the store: groups that failed, those that were found after all, starts that were cut off, starts with a log that
    /// begins late, and times that the index came back.
    pub store: [u64; 5],
}

impl Seen {
    /// Each number with its name.
    pub fn numbers(&self) -> [(&'static str, u64); 22] {
        [
            ("publishes", self.publishes),
            ("acknowledged", self.acknowledged),
            ("live", self.live),
            ("replayed", self.replayed),
            ("recovered", self.recovered),
            ("gaps", self.gaps),
            ("refusals", self.refusals),
            ("opened", self.opened),
            ("epochs", self.epochs),
            ("closes", self.closes),
            ("compressed", self.compressed),
            ("statuses", self.statuses),
            ("totals", self.totals),
            ("typing", self.typing),
            ("receipts", self.receipts),
            ("pages_beyond", self.pages_beyond),
            ("recovered_beyond", self.recovered_beyond),
            ("store_failed", self.store[0]),
            ("store_found", self.store[1]),
            ("store_cut_off", self.store[2]),
            ("store_forgotten", self.store[3]),
            ("store_reopened", self.store[4]),
        ]
    }

    /// Adds what a store has met.
    pub fn met(&mut self, Met { failed, found, cut_off, forgotten, reopened }: Met) {
        for (sum, more) in self.store.iter_mut().zip([failed, found, cut_off, forgotten, reopened]) {
            *sum += more;
        }
    }
}

/// The judge of a run.
pub struct Judge {
    mode: Mode,
    verdict: Option<String>,
    contents: Vec<Content>,
    ledger: BTreeMap<(usize, u64, u64), Entry>,
    order: BTreeMap<(ConnKey, usize, u64), BTreeMap<u64, u64>>,
    heads: BTreeMap<(usize, u64), u64>,
    spared: Vec<Spared>,
    /// When each row came into the database.
    rows: BTreeMap<(usize, u64, u64), u64>,
    /// The highest receipt that a user was told of, by room.
    receipts: BTreeMap<(usize, Rc<str>), u64>,
    /// Whether a publisher is answered after its row is there.
    awaits_rows: bool,
    sends: u64,
    /// What happened, when wanted.
    trace: Option<Vec<String>>,
    /// Virtual time, for the trace.
    pub now_us: u64,
    /// Numbers of the run.
    pub seen: Seen,
    /// Whether the link lost its data or a node in memory was restarted: new epochs are legal.
    pub numbering_lost: bool,
}

impl Judge {
    /// Nothing published.
    pub fn new(profile: &Profile, trace: bool) -> Self {
        Self {
            mode: profile.mode,
            verdict: None,
            contents: Vec::new(),
            ledger: BTreeMap::new(),
            order: BTreeMap::new(),
            heads: BTreeMap::new(),
            spared: Vec::new(),
            rows: BTreeMap::new(),
            receipts: BTreeMap::new(),
            awaits_rows: profile.mode == Mode::LinkedKept && profile.settings.keeping == KeepingMode::Commit,
            sends: 0,
            trace: trace.then(Default::default),
            now_us: 0,
            seen: Seen::default(),
            numbering_lost: false,
        }
    }

    /// Notes a line of the trace.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        let now_us = self.now_us;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>10.6}  {}", now_us as f64 / 1e6, line()));
        }
    }

    /// Whether a trace is kept.
    pub fn is_tracing(&self) -> bool {
        self.trace.is_some()
    }

    /// The trace kept.
    pub fn take_trace(&mut self) -> Vec<String> {
        self.trace.take().unwrap_or_default()
    }

    /// Records a violation; the first one counts.
    pub fn fail(&mut self, what: impl FnOnce() -> String) {
        if self.verdict.is_none() {
            let what = format!("at {:.6} s: {}", self.now_us as f64 / 1e6, what());
            self.note(|| format!("VIOLATION {what}"));
            self.verdict = Some(what);
        }
    }

    /// Records a violation unless `holds`.
    pub fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.fail(what);
        }
    }

    /// The first violation.
    pub fn verdict(&self) -> Option<&str> {
        self.verdict.as_deref()
    }

    /// A content by its number.
    pub fn content(&self, content: usize) -> &Content {
        &self.contents[content]
    }

    /// The number of the next content: its data carries it.
    pub fn next_content(&self) -> usize {
        self.contents.len()
    }

    /// Adds a content that is about to be sent for the first time.
    #[expect(clippy::too_many_arguments, reason = "one per field that the publisher chooses")]
    pub fn add_content(
        &mut self,
        room: usize,
        user: &Rc<str>,
        bytes: Vec<u8>,
        kind: DataKind,
        key: Option<String>,
        echo: bool,
        ephemeral: bool,
    ) -> usize {
        self.contents.push(Content {
            room,
            user: user.clone(),
            bytes: bytes.into(),
            kind,
            key,
            echo,
            ephemeral,
            sends: Vec::new(),
            refusals: 0,
            is_found: false,
            acknowledged_first: Vec::new(),
            positions: Vec::new(),
        });
        self.contents.len() - 1
    }

    /// A connection publishes a content.
    pub fn sent(&mut self, conn: ConnKey, content: usize) {
        self.sends += 1;
        self.seen.publishes += 1;
        self.contents[content].sends.push((conn, self.sends));
    }

    /// A publish was refused.
    pub fn refused(&mut self, content: usize, code: &str) {
        let mode = self.mode;
        let content_ref = &mut self.contents[content];
        content_ref.refusals += 1;
        let can_tell = !mode.is_linked() && !content_ref.is_found && content_ref.sends.len() == 1;
        let appeared = can_tell && !content_ref.positions.is_empty();
        self.check(!appeared, || format!("content {content} was refused ({code}) and published all the same"));
    }

    /// A publish was acknowledged at a position.
    pub fn acknowledged(&mut self, content: usize, epoch: u64, seq: u64, duplicate: bool) {
        self.seen.acknowledged += 1;
        let known = &self.contents[content];
        let (room, sends, from) = (known.room, known.sends.len(), known.user.clone());
        self.check(!duplicate || sends > 1, || format!("content {content} sent once is called a duplicate"));
        if !duplicate {
            let firsts = &mut self.contents[content].acknowledged_first;
            let again = firsts.iter().any(|(other, _)| *other == epoch);
            firsts.push((epoch, seq));
            self.check(!again, || format!("content {content} was acknowledged twice as new in epoch {epoch:016x}"));
        }
        if self.mode.keeps_first() && !self.ledger.contains_key(&(room, epoch, seq)) {
            self.fail(|| format!("content {content} acknowledged at {seq} before its keeper has that"));
        }
        let has_row = self.rows.contains_key(&(room, epoch, seq));
        self.check(!self.awaits_rows || duplicate || has_row, || {
            format!("content {content} acknowledged at {seq} before the database has that")
        });
        self.place(room, epoch, seq, Some(content), &from, None);
        self.note_shown(room, epoch, seq);
    }

    /// The link has lost what a room had above `head`.
    pub fn lost(&mut self, room: usize, epoch: u64, head: u64) {
        for ((_, _, seq), entry) in self.ledger.range_mut((room, epoch, head + 1)..=(room, epoch, u64::MAX)) {
            entry.lost = true;
            for (_, orders) in self.order.iter_mut().filter(|((_, of, own), _)| (*of, *own) == (room, epoch)) {
                orders.retain(|_, own| *own != *seq || entry.shown);
            }
        }
    }

    /// What a room has at the link or in a store up to `head` stands there under another epoch from here on.
    pub fn renumbered(&mut self, room: usize, from: u64, to: u64, head: u64) {
        let kept = self.ledger.range((room, from, 0)..=(room, from, head)).filter(|(_, entry)| !entry.lost);
        let kept: Vec<_> =
            kept.map(|((_, _, seq), entry)| (*seq, entry.content, entry.from.clone(), entry.at)).collect();
        for (seq, content, from, at) in kept {
            self.ledger.insert((room, to, seq), Entry { content, from, at, shown: false, lost: false });
            if let Some(content) = content {
                self.contents[content].positions.push((to, seq));
            }
        }
    }

    /// What was lost and nobody was shown gives way.
    fn give_way(&mut self, room: usize, epoch: u64, seq: u64) {
        let position = (room, epoch, seq);
        let Some(entry) = self.ledger.get(&position).filter(|entry| entry.lost && !entry.shown) else { return };
        if let Some(content) = entry.content {
            self.contents[content].positions.retain(|own| *own != (epoch, seq));
        }
        self.ledger.remove(&position);
    }

    fn note_shown(&mut self, room: usize, epoch: u64, seq: u64) {
        if let Some(entry) = self.ledger.get_mut(&(room, epoch, seq)) {
            entry.shown = true;
        }
        let head = self.heads.entry((room, epoch)).or_default();
        *head = (*head).max(seq);
    }

    /// A member saw a message, live or later.
    pub fn seen(&mut self, conn: ConnKey, room: usize, epoch: u64, message: &Message, live: bool) {
        if live {
            self.seen.live += 1;
        } else {
            self.seen.replayed += 1;
        }
        let content = self.recognize(room, message);
        if let Some(content) = content {
            let known = &self.contents[content];
            self.check(!known.ephemeral, || format!("ephemeral content {content} has a seq"));
            let known = &self.contents[content];
            if live && !known.echo && known.sends.len() == 1 && known.sends[0].0 == conn {
                self.fail(|| format!("connection {conn} got its own echo:false content {content}"));
            }
        }
        if self.mode.keeps_first() && !self.ledger.contains_key(&(room, epoch, message.seq)) {
            let seq = message.seq;
            self.fail(|| format!("room {room} epoch {epoch:016x} seq {seq} was shown before its keeper has it"));
        }
        self.place(room, epoch, message.seq, content, &message.from, Some(message.at));
        self.note_shown(room, epoch, message.seq);
    }

    /// A member saw an ephemeral message.
    pub fn seen_ephemeral(&mut self, conn: ConnKey, room: usize, message: &Message) {
        let Some(content) = self.recognize(room, message) else { return };
        let known = &self.contents[content];
        let own = !known.echo && known.sends[0].0 == conn;
        self.check(known.ephemeral, || format!("content {content} is not ephemeral and came as such"));
        self.check(!own, || format!("connection {conn} got its own echo:false ephemeral {content}"));
    }

    /// The link numbered, or the store committed, a record: from here on it stands there.
    pub fn kept(&mut self, room: usize, epoch: u64, message: &Message) {
        let content = self.recognize(room, message);
        self.give_way(room, epoch, message.seq);
        self.place(room, epoch, message.seq, content, &message.from, Some(message.at));
    }

    /// A user was told that a receipt is kept.
    pub fn receipt_told(&mut self, room: usize, user: &Rc<str>, seq: u64) {
        let told = self.receipts.entry((room, user.clone())).or_default();
        *told = seq.max(*told);
    }

    /// What a store must have kept of a user's receipts.
    pub fn receipt_floor(&self, room: usize, user: &str) -> u64 {
        let has_store = matches!(self.mode, Mode::Durable | Mode::Behind);
        let told = self.receipts.get(&(room, Rc::from(user))).copied();
        told.filter(|_| has_store).unwrap_or(0)
    }

    /// Data that a store has taken for failed is found when it starts again.
    pub fn found_after_all(&mut self, data: &[u8]) {
        if let Some(content) = content_number(data).and_then(|content| self.contents.get_mut(content)) {
            content.is_found = true;
        }
    }

    /// The database holds a record from now on.
    pub fn row(&mut self, room: usize, epoch: u64, seq: u64) {
        self.rows.entry((room, epoch, seq)).or_insert(self.now_us);
    }

    /// Whether the database held a record at a time.
    pub fn had_row(&self, room: usize, epoch: u64, seq: u64, at_us: u64) -> bool {
        self.rows.get(&(room, epoch, seq)).is_some_and(|since_us| *since_us <= at_us)
    }

    /// Which content a message shows; checks that it is shown as it was published.
    fn recognize(&mut self, room: usize, message: &Message) -> Option<usize> {
        if message.data.is_empty() {
            return None;
        }
        let Some(content) = content_number(&message.data).filter(|content| *content < self.contents.len()) else {
            self.fail(|| format!("data that nobody published: {:?}", String::from_utf8_lossy(&message.data)));
            return None;
        };
        let known = &self.contents[content];
        let same = known.bytes[..] == message.data[..]
            && *known.user == *message.from
            && message.kind.is_none_or(|kind| kind == known.kind)
            && message.key.as_ref().is_none_or(|key| *key == known.key);
        let known_room = known.room;
        self.check(same, || format!("content {content} is shown otherwise than published: {message:?}"));
        self.check(known_room == room, || format!("content {content} of room {known_room} leaked into room {room}"));
        Some(content)
    }

    /// Puts a content at a position, or checks that it is what stands there.
    fn place(&mut self, room: usize, epoch: u64, seq: u64, content: Option<usize>, from: &str, at: Option<u64>) {
        if let Some(entry) = self.ledger.get_mut(&(room, epoch, seq)) {
            let content_agrees = match (entry.content, content) {
                (Some(there), Some(here)) => there == here,
                (Some(there), None) => self.contents[there].bytes.is_empty(),
                (None, Some(here)) => self.contents[here].bytes.is_empty(),
                (None, None) => true,
            };
            let agrees =
                content_agrees && *entry.from == *from && (entry.at.is_none() || at.is_none() || entry.at == at);
            let fresh = entry.content.is_none() && content.is_some();
            entry.at = entry.at.or(at);
            entry.content = entry.content.or(content);
            let there = entry.content;
            self.check(agrees, || {
                format!("room {room} epoch {epoch:016x} seq {seq}: content {content:?} from {from} at {at:?}, but {there:?} stands there")
            });
            if fresh {
                self.position(room, epoch, seq, content);
            }
            return;
        }
        let (shown, lost) = (false, false);
        self.ledger.insert((room, epoch, seq), Entry { content, from: from.into(), at, shown, lost });
        self.position(room, epoch, seq, content);
    }

    /// A content has got a position: the only one in that epoch, in the order of its connection's publishes.
    fn position(&mut self, room: usize, epoch: u64, seq: u64, content: Option<usize>) {
        let Some(number) = content else { return };
        let mode = self.mode;
        let content = &self.contents[number];
        let sends = content.sends.clone();
        // One that was lost before anybody was shown it does not count.
        let counts = |(other, seq): &&(u64, u64)| {
            self.ledger.get(&(room, *other, *seq)).is_none_or(|entry| entry.shown || !entry.lost)
        };
        let twice = content.positions.iter().filter(counts).any(|(other, _)| *other == epoch || sends.len() == 1);
        let content = &mut self.contents[number];
        let refused = !mode.is_linked() && !content.is_found && content.refusals > 0 && content.refusals >= sends.len();
        content.positions.push((epoch, seq));
        let positions = content.positions.clone();
        self.check(!twice, || format!("content {number} has several positions: {positions:x?}"));
        self.check(!refused, || format!("content {number} was refused and stands at {seq} all the same"));
        if let [(conn, order)] = sends[..] {
            let orders = self.order.entry((conn, room, epoch)).or_default();
            let before = orders.range(..order).next_back().map(|(_, seq)| *seq);
            let after = orders.range(order..).next().map(|(_, seq)| *seq);
            orders.insert(order, seq);
            let ordered = before.is_none_or(|before| before < seq) && after.is_none_or(|after| seq < after);
            self.check(ordered, || {
                format!("publishes of connection {conn} to room {room} changed order at {seq}: {before:?}, {after:?}")
            });
        }
    }

    /// A connection was not given a seq, without a `gap`: legal for its own `echo:false` only.
    pub fn spared(&mut self, conn: ConnKey, room: usize, epoch: u64, seq: u64) {
        let spared = Spared { conn, room, epoch, seq };
        match self.is_own_silent(&spared) {
            Some(true) => {}
            Some(false) => {
                self.fail(|| format!("connection {conn} in room {room} was not given seq {seq} of {epoch:016x}"));
            }
            None => self.spared.push(spared),
        }
    }

    /// `None` while nobody knows what stands there.
    fn is_own_silent(&self, spared: &Spared) -> Option<bool> {
        let content = self.ledger.get(&(spared.room, spared.epoch, spared.seq))?.content?;
        let content = &self.contents[content];
        Some(!content.echo && content.sends.iter().any(|(conn, _)| *conn == spared.conn))
    }

    /// The highest seq that any client saw in a numbering.
    pub fn head(&self, room: usize, epoch: u64) -> u64 {
        self.heads.get(&(room, epoch)).copied().unwrap_or(0)
    }

    /// Every numbering of a room in which any client saw something.
    pub fn epochs(&self, room: usize) -> Vec<u64> {
        self.heads.range((room, 0)..=(room, u64::MAX)).map(|((_, epoch), _)| *epoch).collect()
    }

    /// Whether a content stands at a seq of a numbering.
    pub fn stands_at(&self, content: usize, epoch: u64, seq: u64) -> bool {
        self.contents[content].positions.contains(&(epoch, seq))
    }

    /// More bytes than the server can need to hold these messages in both forms; `None` when one of them is not known.
    pub fn bytes_of(&self, room: usize, epoch: u64, seqs: std::ops::RangeInclusive<u64>) -> Option<usize> {
        let mut bytes = 0;
        for seq in seqs {
            let entry = self.ledger.get(&(room, epoch, seq))?;
            let data = entry.content.map_or(0, |content| self.contents[content].bytes.len());
            bytes += 3 * data + 1_500;
        }
        Some(bytes)
    }

    /// When the message at a position was numbered, if known.
    pub fn at(&self, room: usize, epoch: u64, seq: u64) -> Option<u64> {
        self.ledger.get(&(room, epoch, seq))?.at
    }

    /// Settles what had to wait for the end: each seq that was spared is explained by an own `echo:false`.
    pub fn finish(&mut self) {
        let mut unexplained: BTreeMap<(ConnKey, usize), usize> = BTreeMap::new();
        for spared in std::mem::take(&mut self.spared) {
            match self.is_own_silent(&spared) {
                Some(true) => {}
                Some(false) => self.fail(|| format!("{spared:?} is not its own echo:false")),
                None => *unexplained.entry((spared.conn, spared.room)).or_default() += 1,
            }
        }
        for ((conn, room), count) in unexplained {
            let own = |content: &&Content| {
                let placed = !content.positions.is_empty() && !content.bytes.is_empty();
                content.room == room && !content.echo && !placed && content.sends.iter().any(|(by, _)| *by == conn)
            };
            let candidates = self.contents.iter().filter(own).count();
            self.check(count <= candidates, || {
                format!("connection {conn} in room {room} was not given {count} messages that nobody can explain")
            });
        }
    }
}

/// Finds the content's number in its data: 8 bytes after the tag 0xb1, or the first decimal number of the text.
fn content_number(data: &[u8]) -> Option<usize> {
    if let [0xb1, rest @ ..] = data {
        return Some(u64::from_le_bytes(rest.get(..8)?.try_into().ok()?) as usize);
    }
    let start = data.iter().position(u8::is_ascii_digit)?;
    let digits = data[start..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(None, |number: Option<usize>, digit| {
        number.unwrap_or(0).checked_mul(10)?.checked_add(usize::from(digit - b'0'))
    })
}
