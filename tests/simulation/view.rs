//! One connection's view of one room: what it must see next (PROTOCOL sections 4.1, 4.2 and 4.6). Checks every message,
//! `joined`, `gap` and page of history.

use std::collections::BTreeMap;

use roomring::base::limits::{PAGE_BYTES_MAX, PAGE_OUTBOX_DIVISOR};

use super::hear::{History, Joined, Message, Present};
use super::judge::{ConnKey, Judge};
use super::profile::{Mode, Profile};

/// What a client may rely on about a room while it looks at an answer.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The run.
    pub profile: &'a Profile,
    /// Which connection.
    pub conn: ConnKey,
    /// Which room.
    pub room: usize,
    /// Unix milliseconds of the run's own clock.
    pub unix_ms: u64,
}

/// A join as it was asked.
#[derive(Clone, Debug, Default)]
pub struct JoinAsk {
    /// The command's number on its connection.
    pub number: u64,
    /// `last_received_seq` and, when given, its epoch.
    pub recover: Option<(u64, Option<u64>)>,
    /// `history`, when given.
    pub history: Option<u32>,
    /// What others had seen when it was asked: (epoch, seq).
    pub heads: Vec<(u64, u64)>,
}

/// A page of history as it was asked.
#[derive(Clone, Debug)]
pub struct HistoryAsk {
    /// Only above.
    pub after: Option<u64>,
    /// Only below.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: Option<u32>,
    /// Virtual time.
    pub asked_us: u64,
    /// What others had seen when it was asked: (epoch, seq).
    pub heads: Vec<(u64, u64)>,
}

/// One connection's view of one room.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// `joined` came, and no `left` since.
    pub member: bool,
    /// The last leave without `id`, as the command's number: the end of the membership is not told.
    pub fading: Option<u64>,
    /// The numbering of `last`.
    pub epoch: u64,
    /// Everything up to here was given, spared or told by `gap`.
    pub last: u64,
    /// Up to here messages come that the last `joined` did not hold itself: every one of them, or a `gap`.
    replayed_to: u64,
    past: Vec<u64>,
    /// What it was told of who is there.
    pub crowd: Crowd,
}

/// What one connection was told of who is in one room, by `presence` replies and the pushes after them.
#[derive(Clone, Debug, Default)]
pub struct Crowd {
    /// By user: `online`, `away` or `offline`.
    told: BTreeMap<String, String>,
    /// Whoever is not in `told` is not there.
    whole: bool,
}

impl Crowd {
    /// A `presence` reply to a question for `limit` users from the beginning.
    pub fn on_page(&mut self, users: &[Present], limit: u64) {
        self.whole |= (users.len() as u64) < limit;
        let last = users.last().filter(|_| users.len() as u64 == limit).map(|last| last.user.clone());
        for (user, status) in &mut self.told {
            if last.as_ref().is_none_or(|last| user.as_bytes() <= last.as_bytes()) {
                "offline".clone_into(status);
            }
        }
        self.told.extend(users.iter().map(|user| (user.user.clone(), user.status.clone())));
    }

    /// A push with a name.
    pub fn on_status(&mut self, user: String, status: String) {
        self.told.insert(user, status);
    }

    /// A push without names: those from before do not count any more.
    pub fn on_total(&mut self) {
        *self = Self::default();
    }

    /// Whatever was told holds when nothing moves any more. Auditors come and go.
    pub fn on_audit(&self, scene: Scene<'_>, present: &[Present], judge: &mut Judge) {
        let is_client = |user: &str| !user.starts_with("auditor-");
        let truth: BTreeMap<&str, &str> =
            present.iter().map(|user| (user.user.as_str(), user.status.as_str())).collect();
        let Scene { conn, room, .. } = scene;
        for (user, status) in self.told.iter().filter(|(user, _)| is_client(user)) {
            let holds = truth.get(user.as_str()).copied().unwrap_or("offline");
            judge.seen.statuses += 1;
            judge.check(status == holds, || {
                format!("connection {conn} room {room} was told last that {user} is {status}, who is {holds}")
            });
        }
        for user in truth.keys().filter(|user| self.whole && is_client(user) && !self.told.contains_key(**user)) {
            judge.fail(|| format!("connection {conn} room {room} was shown everybody, and never told of {user}"));
        }
    }
}

impl View {
    /// A `joined`, asked or pushed; `ask` when it is known which one it answers; `leaving` when a leave waits for its
    /// reply.
    pub fn on_joined(
        &mut self,
        scene: Scene<'_>,
        joined: &Joined,
        ask: Option<&JoinAsk>,
        leaving: bool,
        judge: &mut Judge,
    ) {
        let Scene { conn, room, .. } = scene;
        let what = || format!("connection {conn} room {room}: {}", brief(joined));
        check_run(&joined.messages, judge, what);
        if let Some(last) = joined.messages.last() {
            let ends = last.seq + joined.remaining;
            judge.check(ends == joined.seq, || format!("{}: its messages end at {ends}", what()));
        }
        judge.check(joined.remaining <= joined.seq, || format!("{}: more than there are", what()));
        judge.check(joined.members != Some(0), || format!("{}: no members", what()));
        let back = self.past.contains(&joined.epoch)
            || (self.member && self.epoch == joined.epoch && joined.seq < self.last && self.fading.is_none());
        let view = self.clone();
        judge.check(!back, || format!("{}: back from {view:?}", what()));
        if let Some(ask) = ask {
            check_recovery(scene, joined, ask, judge);
        }
        if self.member && self.fading.is_none() && !leaving && self.epoch == joined.epoch {
            // One order: whoever is a member already, and stays, has everything up to the head of a fresh `joined`.
            self.skip_to(scene, joined.seq + 1, judge);
        }
        if self.epoch != joined.epoch {
            if self.epoch != 0 {
                self.past.push(self.epoch);
                let legal = judge.numbering_lost || self.may_be_forgotten(scene);
                judge.check(legal, || format!("{}: a new epoch after {view:?}", what()));
            }
            self.epoch = joined.epoch;
        }
        if !self.member || self.fading.is_some() {
            self.crowd = Crowd::default();
        }
        self.member = true;
        // A leave that was sent behind this join is still to come.
        self.fading = self.fading.filter(|leave| ask.is_none_or(|ask| ask.number < *leave));
        self.last = joined.seq.saturating_sub(joined.remaining);
        self.replayed_to = if joined.remaining > 0 { joined.seq } else { 0 };
        if joined.recovered && given(joined) > 0 {
            judge.seen.recovered += 1;
            let held_max = scene.profile.settings.room(&Profile::room_name(room)).history_size as u64;
            judge.seen.recovered_beyond += u64::from(given(joined) > held_max);
        }
        for message in &joined.messages {
            judge.seen(conn, room, joined.epoch, message, false);
        }
    }

    /// In memory a room without members is forgotten with its history, and begins anew.
    fn may_be_forgotten(&self, scene: Scene<'_>) -> bool {
        scene.profile.mode == Mode::Memory && (!self.member || self.fading.is_some())
    }

    /// A live message.
    pub fn on_message(&mut self, scene: Scene<'_>, message: &Message, judge: &mut Judge) {
        let Scene { conn, room, .. } = scene;
        let view = self.clone();
        judge.check(self.member, || {
            format!("connection {conn} got {} of room {room} without being a member", message.seq)
        });
        judge.check(message.seq > self.last, || {
            format!("connection {conn} room {room} got {} after {view:?}", message.seq)
        });
        let live = message.seq > self.replayed_to;
        self.skip_to(scene, message.seq, judge);
        self.last = self.last.max(message.seq);
        judge.seen(conn, room, self.epoch, message, live);
    }

    /// A told gap.
    pub fn on_gap(&mut self, scene: Scene<'_>, from: u64, to: u64, judge: &mut Judge) {
        let Scene { conn, room, .. } = scene;
        let view = self.clone();
        let sound = self.member && from > self.last && to >= from;
        judge.check(sound, || format!("connection {conn} room {room}: gap {from} to {to} after {view:?}"));
        judge.check(!scene.profile.is_calm(), || format!("connection {conn} room {room}: a gap without any fault"));
        self.skip_to(scene, from, judge);
        self.last = self.last.max(to);
        judge.seen.gaps += 1;
    }

    /// Everything between the last one and `seq` was not given.
    fn skip_to(&mut self, scene: Scene<'_>, seq: u64, judge: &mut Judge) {
        let missing = self.last + 1..seq;
        if missing.end.saturating_sub(missing.start) > 100_000 {
            judge.fail(|| format!("connection {} room {} jumps to {seq}", scene.conn, scene.room));
            return;
        }
        let what =
            || format!("connection {} room {}: {seq} comes where {missing:?} is missing", scene.conn, scene.room);
        judge.check(missing.is_empty() || missing.start > self.replayed_to, what);
        for missed in missing {
            judge.spared(scene.conn, scene.room, self.epoch, missed);
        }
    }

    /// The audit: `head` is where the room stands when nothing moves any more.
    pub fn on_audit(&mut self, scene: Scene<'_>, epoch: u64, head: u64, judge: &mut Judge) {
        let view = self.clone();
        judge.check(self.epoch == epoch && self.last <= head, || {
            format!("connection {} room {} ends at {view:?}, the room at {epoch:016x} {head}", scene.conn, scene.room)
        });
        self.skip_to(scene, head + 1, judge);
        self.last = head;
    }
}

/// A `joined` in few words.
fn brief(joined: &Joined) -> String {
    let seqs = joined.messages.first().map(|first| (first.seq, joined.messages.len()));
    let Joined { to, epoch, seq, recovered, members, remaining, .. } = joined;
    format!(
        "joined {to:?} {epoch:016x} seq {seq} recovered {recovered} members {members:?} messages {seqs:?} and {remaining}"
    )
}

/// How many messages a `joined` brings, those that follow it too.
fn given(joined: &Joined) -> u64 {
    joined.messages.len() as u64 + joined.remaining
}

/// Messages come oldest first without holes.
fn check_run(messages: &[Message], judge: &mut Judge, what: impl Fn() -> String) {
    let whole = messages.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq);
    let seqs = || messages.iter().map(|message| message.seq).collect::<Vec<_>>();
    judge.check(whole && messages.first().is_none_or(|first| first.seq > 0), || format!("{}: {:?}", what(), seqs()));
}

/// Whether these messages surely fit into one reply.
fn fit_one_reply(scene: Scene<'_>, epoch: u64, seqs: std::ops::RangeInclusive<u64>, judge: &Judge) -> bool {
    let bytes_max = (scene.profile.settings.outbox_bytes / PAGE_OUTBOX_DIVISOR).min(PAGE_BYTES_MAX);
    seqs.is_empty() || judge.bytes_of(scene.room, epoch, seqs).is_some_and(|bytes| bytes <= bytes_max)
}

/// Whether a message must still be held: few enough after it, surely not expired, and nothing else takes history away.
fn must_be_held(scene: Scene<'_>, epoch: u64, seq: u64, head: u64, judge: &Judge) -> bool {
    let profile = scene.profile;
    let rooms = profile.settings.room(&Profile::room_name(scene.room));
    // A late answer of the link may open a room with less than the link holds.
    let kept_elsewhere = !profile.mode.is_linked() || profile.is_calm();
    let fresh = judge.at(scene.room, epoch, seq).is_some_and(|at| at + rooms.history_ttl_ms > scene.unix_ms + 1_000);
    let few = head - seq < rooms.history_size as u64;
    few && fresh && kept_elsewhere && profile.faults.wall_jump == 0.0 && !profile.is_tight() && seq > 0
}

/// Whether the store must hold a message, and the server give it: nothing that was committed is lost.
fn must_be_kept(scene: Scene<'_>, epoch: u64, seq: u64, judge: &Judge) -> bool {
    let profile = scene.profile;
    let rooms = profile.settings.room(&Profile::room_name(scene.room));
    let fresh = judge.at(scene.room, epoch, seq).is_some_and(|at| at + rooms.history_ttl_ms > scene.unix_ms + 1_000);
    let is_told = profile.mode == Mode::Durable && rooms.history_size > 0 && profile.faults.wall_jump == 0.0;
    is_told && fresh && !profile.is_tight() && seq > 0
}

/// `recovered` is true exactly when every message after the asked one is given, and then nothing else is.
fn check_recovery(scene: Scene<'_>, joined: &Joined, ask: &JoinAsk, judge: &mut Judge) {
    let Scene { conn, room, profile, .. } = scene;
    let rooms = profile.settings.room(&Profile::room_name(room)).clone();
    let what = || format!("connection {conn} room {room} asked {ask:?} and got {}", brief(joined));
    check_heads(scene, joined.epoch, joined.seq, &ask.heads, judge, what);
    let count = given(joined);
    let first = (joined.seq + 1).saturating_sub(count);
    if joined.recovered {
        let Some((after, epoch)) = ask.recover else { return judge.fail(|| format!("{}: not asked for", what())) };
        let exact = epoch.is_none_or(|epoch| epoch == joined.epoch) && first == after + 1;
        judge.check(exact && count <= rooms.recovery_max as u64, || format!("{}: not what was missed", what()));
        return;
    }
    if let Some((after, epoch)) = ask.recover {
        let comparable = epoch.is_none_or(|epoch| epoch == joined.epoch) && after <= joined.seq;
        let missed = joined.seq.saturating_sub(after);
        let held = missed == 0
            || must_be_held(scene, joined.epoch, after + 1, joined.seq, judge)
            || must_be_kept(scene, joined.epoch, after + 1, judge);
        let possible = comparable && missed <= rooms.recovery_max as u64 && held;
        judge.check(!possible, || format!("{}: could have been recovered", what()));
    }
    let wanted = ask.history.unwrap_or(rooms.history_on_join).min(rooms.history_on_join_max);
    judge.check(count <= u64::from(wanted), || format!("{}: more than {wanted}", what()));
    let short =
        count < u64::from(wanted) && first > 1 && must_be_held(scene, joined.epoch, first - 1, joined.seq, judge);
    judge.check(!short, || format!("{}: fewer than {wanted}, and {} is held", what(), first - 1));
}

/// One node's room cannot stand below what somebody saw before the question was asked.
fn check_heads(
    scene: Scene<'_>,
    epoch: u64,
    head: u64,
    heads: &[(u64, u64)],
    judge: &mut Judge,
    what: impl Fn() -> String,
) {
    let below = heads.iter().any(|(other, seen)| *other == epoch && *seen > head);
    judge.check(!below || scene.profile.mode.is_linked(), || format!("{}: below what was seen before", what()));
}

/// A page of history holds what was asked: a run without holes, at the right end, as long as possible.
pub fn check_history(scene: Scene<'_>, page: &History, ask: &HistoryAsk, judge: &mut Judge) {
    let Scene { conn, room, .. } = scene;
    let History { epoch, first_seq, head_seq, messages, .. } = page;
    let seqs = messages.first().map(|first| (first.seq, messages.len()));
    let what =
        || format!("connection {conn} room {room} asked {ask:?}: {epoch:016x} {first_seq}..={head_seq} gave {seqs:?}");
    check_run(messages, judge, what);
    check_heads(scene, *epoch, *head_seq, &ask.heads, judge, what);
    let limit = u64::from(ask.limit.unwrap_or(300));
    let low = ask.after.map_or(*first_seq, |after| first_seq.max(&after.saturating_add(1)).to_owned());
    let high = ask.before.map_or(*head_seq, |before| head_seq.min(&before.saturating_sub(1)).to_owned());
    let held = (high + 1).saturating_sub(low);
    let count = messages.len() as u64;
    let first = if ask.after.is_some() { low } else { (high + 1).saturating_sub(count) };
    let last = first + count;
    // A page is bounded in bytes too, but always gets its reader further.
    let next = if ask.after.is_some() { first..=last } else { first.saturating_sub(1)..=last.saturating_sub(1) };
    let long = count == held.min(limit) || (count > 0 && count < held && !fit_one_reply(scene, *epoch, next, judge));
    // A row may be missing whose publisher's node has ended, or that is still to be written behind: a page does not go past
    // it. One that expires while its page is on its way makes that shorter.
    let next = first + count;
    let may_lack_rows = matches!(scene.profile.mode, Mode::Behind | Mode::LinkedKept);
    let ends_at_hole = may_lack_rows && !judge.had_row(room, *epoch, next, ask.asked_us);
    let is_cut =
        scene.profile.mode != Mode::Memory && ask.after.is_some_and(|after| after + 1 < *first_seq) && count > 0;
    let long = long || (ask.after.is_some() && (ends_at_hole || is_cut));
    let placed = messages.first().is_none_or(|message| message.seq == first);
    judge.check(long && placed && count <= limit && *first_seq >= 1 && *first_seq <= head_seq + 1, || {
        format!("{}: expected {} from {first}", what(), held.min(limit))
    });
    judge.check(*first_seq == 1 || !must_be_kept(scene, *epoch, first_seq - 1, judge), || {
        format!("{}: {} is kept too", what(), first_seq - 1)
    });
    let held_max = scene.profile.settings.room(&Profile::room_name(room)).history_size as u64;
    judge.seen.pages_beyond += u64::from(messages.first().is_some_and(|first| first.seq + held_max <= *head_seq));
    for message in messages {
        judge.seen(conn, room, *epoch, message, false);
    }
}
