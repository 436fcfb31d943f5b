//! Every maximum and every default that is not a configuration key, with what it protects. Numbers only.
//! Keys of OPERATIONS.md have their ranges and defaults beside them in `server::config`.

/// Bytes of a room's or user's name.
pub const NAME_BYTES_MAX: usize = 128;

/// Bytes of a publish's idempotency `key`.
pub const KEY_BYTES_MAX: usize = 128;

/// Bytes of an HTTP request head on the data port; over it 431.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// An HTTP request head that is not complete after this ends the connection.
pub const HEAD_TIMEOUT_MS: u64 = 10_000;

/// Bytes from a client whose upgrade waits to be let in; over it the connection ends.
pub const EARLY_BYTES_MAX: usize = 16 * 1024;

/// So many refusals for rate in a row close a connection (4429).
pub const RATE_REFUSALS_MAX: u8 = 100;

/// Bytes charged to the memory budget for each address and user that is counted, beside a user's window.
pub const LIMITER_ENTRY_BYTES: usize = 128;
/// A client that has connected just before a drain whose listening sockets go on to a successor gets so long for its
/// request head; after that the drain does not wait for it.
pub const HAND_OVER_MS: u64 = 1_000;

/// Sockets of one core that are no WebSocket, before their upgrade or after a refusal; over it the oldest goes. Holds the
/// clients of a storm that have connected and whose heads are under way: 20,000 a second at 400 ms.
pub const HALF_OPEN_MAX: u32 = 8_192;

/// Bytes of incomplete request heads of one core; over it the oldest goes. A usual head comes whole and is not kept.
pub const HEADS_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Addresses, and users, looked at in one tick for having nothing to be remembered for; the rest follow in the next turn.
pub const LIMITER_LOOKS_PER_TICK_MAX: usize = 4_096;

/// Events that one sliding window remembers, 8 bytes each: the largest count of a rate that is kept by one.
pub const WINDOW_EVENTS_MAX: u64 = 1_000_000;

/// How long a closing connection waits for its peer's close frame, or for its end of stream.
pub const CLOSE_TIMEOUT_MS: u64 = 5_000;

/// Largest `limit` of a `history` or `presence` command, and its default.
pub const PAGE_MAX: u32 = 300;

/// How long a publish's `key` is remembered.
pub const KEY_WINDOW_MS: u64 = 120_000;

/// Remembered keys of one room; over it the oldest go first.
pub const KEYS_PER_ROOM_MAX: usize = 100_000;

/// Publishes of one room that wait for the store or the link; over it `overloaded`.
pub const PENDING_PER_ROOM_MAX: usize = 10_000;

/// Hops that wait for one room to be opened from the link or the store; over it `overloaded`.
pub const OPENING_PER_ROOM_MAX: usize = 10_000;

/// Publications of one room held because an earlier one is missing; over it they are read again later.
pub const AHEAD_PER_ROOM_MAX: usize = 1_024;

/// A linked room with members and without news is compared with the link's head this often.
pub const POSITION_CHECK_MS: u64 = 10_000;

/// A read or an open of the link or store that has not been answered is asked again after this.
pub const ASK_AGAIN_MS: u64 = 2_000;

/// Hops staged for one core before hops that may be refused are. Holds a burst of 10,000 broadcasts.
pub const LANE_HOPS_MAX: usize = 16_384;

/// Bytes carried by the hops staged for one core before hops that may be refused are.
pub const LANE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Batches of hops in the channel into one core; a full channel leaves the rest staged at the sender.
pub const LANE_BATCHES_MAX: usize = 256;

/// Commands and events of the service thread in the channel into one core; a full one leaves them with the sender.
pub const CONTROLS_MAX: usize = 1_024;

/// Sends of one turn; outboxes beyond them wait for the next. As many as a ring takes in one submission: what a flush
/// to a very large room needs for itself is bounded by this.
pub const SENDS_PER_TURN_MAX: usize = 1024;

/// Frames merged into one send.
pub const SEND_FRAMES_MAX: usize = 64;

/// Bytes merged into one send (a larger frame is sent by itself): what a stalled reader keeps in flight for good.
pub const SEND_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a frame sent at once: a larger one goes in several sends, so that a reader on a slow link is seen to take it.
pub const SEND_PART_BYTES_MAX: usize = 128 * 1024;

/// Bytes that wait in the queue of one connection before what rooms send it goes to its backlog: as much as one in so
/// many bytes of its outbox, and at most so many.
pub const QUEUE_OUTBOX_DIVISOR: usize = 4;
/// See [`QUEUE_OUTBOX_DIVISOR`].
pub const QUEUE_BYTES_MAX: usize = 256 * 1024;

/// Bytes charged for each frame, gap or replay that waits for connections, beside its own bytes. Counts in the outbox of
/// each of them too, so that it bounds how many small ones wait there.
pub const OUTBOX_ITEM_BYTES: usize = 96;

/// Bytes charged for each place in a connection's queue or backlog.
pub const OUTBOX_PLACE_BYTES: usize = 8;

/// Bytes charged for a connection's backlog, and for that of each room in it.
pub const BACKLOG_BYTES: usize = 320;

/// Bytes charged for a publication that a replay keeps, beside its frames: it may have left its history.
pub const REPLAYED_BYTES: usize = 320;

/// Bytes of the messages in one `joined`; the others follow as pushes.
pub const JOINED_BYTES_MAX: usize = 64 * 1024;

/// A reader is slow when its outbox is over its bound and the kernel has not taken the send that is under way for so
/// long, and longer by the time that its bytes take at [`SLOW_BYTES_PER_SECOND`].
pub const SLOW_AFTER_MS: u64 = 1_000;

/// See [`SLOW_AFTER_MS`].
pub const SLOW_BYTES_PER_SECOND: usize = 16 * 1024;

/// The same where the memory budget is nearly used up.
pub const SLOW_NEAR_BUDGET_MS: u64 = 100;

/// Bytes that one turn takes from sockets, with what they are answered, and likewise from other cores: then it ends, and
/// what it queued goes out before the next one takes more.
pub const TURN_BYTES_MAX: usize = 256 * 1024;

/// Places, or frames, of a core's outboxes that are kept when fewer are in use.
pub const OUTBOX_ARENA_KEPT: usize = 4_096;

/// Shortest and longest time between two ticks of an engine that has something to wait for.
pub const TICK_MS: u64 = 100;

/// Bytes charged to the memory budget for each entry of a history, beside its frames: the publication's own fields and
/// reference counts, its places in the history's and the core's queues, and their slack.
pub const HISTORY_ENTRY_BYTES: usize = 288;

/// Bytes charged to the memory budget for each remembered key, beside its text and its user's name.
pub const KEY_ENTRY_BYTES: usize = 160;

/// Bytes charged to the memory budget for each user who has left a room and whose grace has not passed.
pub const ABSENT_BYTES: usize = 128;

/// Bytes charged to the memory budget for each hop or publication that waits for the link or the store, beside its data.
pub const WAITING_BYTES: usize = 256;

/// The part of the memory budget (one in so many) that histories, keys and what waits for link or store may take
/// together. Over it the oldest messages of the core go first; keys and what waits cannot be let go, and publishes that
/// would add to them are refused once they alone fill the part.
pub const HISTORY_BUDGET_DIVISOR: u64 = 2;

/// The messages of one `history` take at most one in so many bytes of a connection's outbox, so that a reply alone never
/// fills it.
pub const PAGE_OUTBOX_DIVISOR: usize = 2;

/// Bytes of the messages in one `history`, whatever the outbox holds.
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Records asked from the link in one read.
pub const LINK_READ_MAX: usize = 1_024;

/// Numberings that a linked room remembers as past, so that a late answer does not bring one back.
pub const PAST_EPOCHS_MAX: usize = 8;

/// Expired messages and keys are freed at multiples of this (reads never see them before that either).
pub const SWEEP_MS: u64 = 5_000;

/// Status changes of one room told in one push; the rest follow at the next tick.
pub const STATUSES_PER_PUSH_MAX: usize = 1_024;

/// Rooms looked at in one tick; the rest follow in the next turn.
pub const ROOMS_PER_TICK_MAX: usize = 4_096;

/// Bytes charged to the memory budget for a room without members that is kept for its history or keys.
pub const ROOM_BYTES: usize = 512;

/// Bytes of a token.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Patterns in a token's `rooms`.
pub const TOKEN_ROOMS_MAX: usize = 64;

/// Bytes of one pattern in a token's `rooms`.
pub const TOKEN_PATTERN_BYTES_MAX: usize = 256;

/// Bytes of a token's `name`.
pub const TOKEN_NAME_BYTES_MAX: usize = 256;

/// A client is warned so long before its token expires.
pub const TOKEN_WARNING_MS: u64 = 30_000;

/// Keys that tokens are verified with.
pub const TOKEN_KEYS_MAX: usize = 64;

/// Keys tried on a token that does not name its key: each costs a verification.
pub const TOKEN_KEYS_TRIED_MAX: usize = 16;

/// Bytes of a PEM file or a key set.
pub const KEY_FILE_BYTES_MAX: usize = 256 * 1024;

/// An upgrade whose token names a key that may yet be fetched waits for it at most so long, within [`HEAD_TIMEOUT_MS`].
pub const KEYS_WAIT_MS: u64 = 6_000;

/// Upgrades of one core that wait for keys; more are refused at once.
pub const KEYS_WAITING_MAX: usize = 1_024;

/// A core that has asked for keys and got no answer asks again after this.
pub const KEYS_ASK_AGAIN_MS: u64 = 500;

/// A refused token is logged at most this often by each core and for each cause.
pub const TOKEN_LOG_AGAIN_MS: u64 = 60_000;

/// Connections shed in one turn while the memory budget is exceeded: each costs a look at every outbox.
pub const SHED_PER_TURN_MAX: usize = 8;

/// TLS handshakes under way on one core, beside which new sockets are closed at once. Those that have sent nothing cost
/// a few bytes, those that have been answered once about 3 KiB.
pub const TLS_HANDSHAKES_MAX: usize = 8_192;

/// How long one turn works on TLS handshakes before it goes on with the connections that are open. At least one step is
/// made, which is one signature and one key exchange at most.
pub const TLS_HANDSHAKES_US_PER_TURN: u64 = 1_000;

/// Bytes of one TLS handshake received and not used yet, with what follows it at once; over it the connection ends. No
/// client says more before its request head is answered (RFC 6455 section 4.1).
pub const TLS_HANDSHAKE_BYTES_MAX: usize = 64 * 1024;

/// Bytes of one TLS record with its header, the most that TLS 1.2 allows (RFC 5246 section 6.2.3).
pub const TLS_RECORD_BYTES_MAX: usize = 5 + 16 * 1024 + 2_048;

/// Bytes of TLS's own messages (handshake, tickets, alerts) that wait for one connection; over it the connection ends.
pub const TLS_OWN_BYTES_MAX: usize = 128 * 1024;

/// Bytes encrypted at once for one connection: a larger frame goes in several sends, so that no connection has more of it
/// in a form that cannot be shared.
pub const TLS_SEND_BYTES_MAX: usize = 64 * 1024;

/// Bytes of TLS records received in part on one core; over it the connections that hold the most end first.
pub const TLS_PARTIAL_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Payload of a message that is still compressed; a larger one is sent as it is. At the slowest level this much takes tens
/// of milliseconds, which everyone on the core waits for.
pub const COMPRESS_BYTES_MAX: usize = 512 * 1024;
/// Rooms or connections in one page of a listing of the control address.
pub const LISTING_MAX: u32 = 1_000;

/// Rooms or connections in a listing of the control address by size, busiest first.
pub const TOP_MAX: u32 = 100;

/// Rooms, or slots of connections, that one call of the control address looks at in one turn: it is told where to go on.
/// What the members wait for meanwhile is well below a millisecond.
pub const CALL_SCAN_MAX: u32 = 2_048;

/// Connections that one call of the control address closes or puts out of a room in one turn.
pub const CALL_ENDS_MAX: u32 = 256;

/// The rate of a room is that of its messages of so long ago at most.
pub const ROOM_RATE_WINDOW_MS: u64 = 10_000;

/// Bytes of the reason in a close frame (RFC 6455 section 5.5, less the status code).
pub const CLOSE_REASON_BYTES_MAX: usize = 123;
/// Spans that one turn of a core tells; over it they are dropped and counted.
pub const SPANS_PER_TURN_MAX: usize = 256;

/// Path of the WebSocket endpoint.
pub const WS_PATH: &str = "/ws";

/// Path of the liveness answer on the data port.
pub const HEALTH_PATH: &str = "/health";

const _: () = assert!(TLS_SEND_BYTES_MAX >= SEND_BYTES_MAX, "what is merged goes in one send under TLS too");
const _: () = assert!(LANE_HOPS_MAX >= 10_000, "REQUIREMENTS A5: absorbs 10,000 queued broadcasts");
const _: () = assert!(HEADS_BYTES_MAX > HEAD_BYTES_MAX, "one head always fits");
const _: () = assert!(KEYS_WAIT_MS < HEAD_TIMEOUT_MS, "a head that waits for keys gets an answer");
const _: () = assert!(PAGE_BYTES_MAX <= LANE_BYTES_MAX / 4, "a few replies do not fill a lane");
const _: () = assert!(SEND_PART_BYTES_MAX >= SEND_BYTES_MAX, "what is merged goes at once");
const _: () = assert!(SEND_BYTES_MAX >= SEND_FRAMES_MAX * 256, "a merged send has room for usual frames");
