//! Limits that are not configuration keys, each with what it protects. Numbers only.
//!
//! A number stands here if several files go by it (tests included), or if it is
//! - a limit that a client or an operator can meet: an error, a closed connection, a message dropped or delayed;
//! - the bound of a queue or of memory that others can make grow;
//! - a charge to the memory budget.
//!
//! A number that only paces the work of one file stands in that file. Ranges and defaults of configuration keys stand
//! beside the keys in `server::config`, limits of the control address's HTTP in `control`.

mod store;

use std::num::NonZeroU64;

pub use self::store::*;

// Paths of the data port.

/// Path of the WebSocket endpoint.
pub const WS_PATH: &str = "/ws";

/// Path of the liveness answer on the data port.
pub const HEALTH_PATH: &str = "/health";

// Names and commands.

/// Bytes of a room's or user's name.
pub const NAME_BYTES_MAX: usize = 128;

/// Bytes of a publish's idempotency key.
pub const KEY_BYTES_MAX: usize = 128;

/// Largest `limit` of a `history` or `presence` command, and its default.
pub const PAGE_MAX: u32 = 300;

/// Rooms in one `resume` command.
pub const RESUME_ROOMS_MAX: usize = 1_024;

/// Fields of one command in the JSON form, unknown ones included: each costs as much as 50 bytes of text.
pub const COMMAND_FIELDS_MAX: usize = 256;

/// Empty fragments of a client's message beyond the bytes that the message may have. Rates count whole messages only, so
/// without a bound empty fragments would cost a client nothing.
pub const EMPTY_FRAGMENTS_MAX: usize = 1_024;

/// Bytes of the reason in a close frame (RFC 6455 section 5.5, less the status code).
pub const CLOSE_REASON_BYTES_MAX: usize = 123;

// Request heads and sockets that are no WebSocket yet.

/// Bytes of an HTTP request head; on the data port a longer one gets 431.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Header fields of a request head; more get 431. Browsers and proxies send about thirty.
pub const HEAD_FIELDS_MAX: usize = 100;

/// Parameters in the query of a request.
pub const QUERY_PARAMETERS_MAX: usize = 512;

/// A request head that is not complete after this ends the connection.
pub const HEAD_TIMEOUT_MS: u64 = 10_000;

/// Bytes of incomplete request heads on one core; over it the oldest connection is closed. A usual head comes whole and is
/// not kept.
pub const HEADS_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Addresses, and users, checked in one tick for whether they can be forgotten; the rest follow in the next turn.
pub const LIMITER_LOOKS_PER_TICK_MAX: usize = 4_096;

/// Bytes of the first message of a connection that identifies itself by it: a token and some more.
pub const GREETING_BYTES_MAX: usize = 16 * 1024;

/// Bytes from a client that waits for the answer to its upgrade; over it the connection ends.
pub const EARLY_BYTES_MAX: usize = 16 * 1024;

/// Sockets that an address may open for each upgrade that `limits.connect_rate_per_ip` allows, for health checks and
/// requests that are refused. Further ones are refused as they come.
pub const SOCKETS_PER_CONNECT: NonZeroU64 = NonZeroU64::new(4).expect("it is not 0");

/// Sockets of one core that are no WebSocket: they wait for a proxy's header, a TLS handshake, a request head, the answer
/// to their upgrade, or their peer's end after a refusal or a failed handshake. Over it the oldest is closed. Holds the
/// clients of a storm whose heads are under way: 20,000 a second at 400 ms.
pub const HALF_OPEN_MAX: u32 = 8_192;

/// During a drain that hands listening sockets to a successor, a client that has just connected has this long to send its
/// request head. Then the drain does not wait for it.
pub const HAND_OVER_MS: u64 = 1_000;

/// How long a closing connection waits for its peer's close frame or end of stream.
pub const CLOSE_TIMEOUT_MS: u64 = 5_000;

// Rates.

/// Commands in a row that are refused for rate before the connection is closed (4429).
pub const RATE_REFUSALS_MAX: u8 = 100;

/// When a command that was refused for lack of memory may be tried again.
pub const OVERLOADED_RETRY_MS: u64 = 2_000;

/// The rate of a room in a listing covers its messages of at most this long.
pub const ROOM_RATE_WINDOW_MS: u64 = 10_000;

// Tokens and the keys that verify them.

/// Bytes of a token.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Patterns in a token's `rooms`.
pub const TOKEN_ROOMS_MAX: usize = 64;

/// Bytes of one pattern in a token's `rooms`.
pub const TOKEN_PATTERN_BYTES_MAX: usize = 256;

/// Bytes of a token's `name`.
pub const TOKEN_NAME_BYTES_MAX: usize = 256;

/// How long before its token expires a client is warned.
pub const TOKEN_WARNING_MS: u64 = 30_000;

/// Keys that tokens are verified with.
pub const TOKEN_KEYS_MAX: usize = 64;

/// Keys tried on a token that does not name its key: each costs a verification.
pub const TOKEN_KEYS_TRIED_MAX: usize = 16;

/// Signature checks that one connection may cause by `refresh` in each [`TOKEN_CHECKS_PER_MS`], twice as many at once. A
/// check takes 15 to 200 microseconds of a core, a hundred times as long as another command. A token that names its key
/// takes one, any other as many as there are keys that may have signed it.
pub const TOKEN_CHECKS_MAX: u64 = 32;

/// See [`TOKEN_CHECKS_MAX`].
pub const TOKEN_CHECKS_PER_MS: u64 = 60_000;

/// Tokens refused in a row before the connection is closed (4401).
pub const TOKEN_REFUSALS_MAX: u8 = 5;

/// Each core logs a refused token at most this often for each cause.
pub const TOKEN_LOG_AGAIN_MS: u64 = 60_000;

/// Keys of a key set that cannot be used and are named in the log.
pub const KEYS_PASSED_OVER_TOLD_MAX: usize = 8;

/// Bytes of a file with a certificate, a key or a key set.
pub const KEY_FILE_BYTES_MAX: usize = 256 * 1024;

/// How long an upgrade or a refresh waits for keys that are yet to be fetched, within [`HEAD_TIMEOUT_MS`].
pub const KEYS_WAIT_MS: u64 = 6_000;

/// Upgrades of one core that wait for keys, and likewise connections with such a `refresh`; more are refused at once.
pub const KEYS_WAITING_MAX: usize = 1_024;

/// Upgrades of one IPv4 address or IPv6 /64 that wait for keys on one core; more are refused at once.
pub const KEYS_WAITING_PER_ADDRESS_MAX: usize = 128;

/// Refreshes of one connection that wait for keys, or behind one that does; with one more the first is answered at once.
pub const REFRESHES_WAITING_MAX: usize = 4;

/// Signature checks in one turn for tokens that have waited for keys, beside the last token's; the rest follow in the next
/// turn.
pub const WAITED_CHECKS_PER_TURN_MAX: u32 = 16;

// Turns, lanes and controls.

/// Shortest and longest time between two ticks of an engine that waits for time.
pub const TICK_MS: u64 = 100;

/// Bytes that one turn takes from sockets, with the answers to them, and likewise from other cores. Then the turn ends, and
/// what it queued goes out before the next turn takes more.
pub const TURN_BYTES_MAX: usize = 256 * 1024;

/// Hops staged for one core before those that may be refused are refused. Holds a burst of 10,000 broadcasts.
pub const LANE_HOPS_MAX: usize = 16_384;

/// Bytes of the hops staged for one core and in the channel to it before hops that may be refused are refused.
pub const LANE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Joins and questions fill one part in this many of a lane's hops; over it they are refused, so that publishes find room.
/// States and leaves then wait.
pub const LANE_QUESTIONS_DIVISOR: usize = 4;

/// Publishes of more bytes fill at most half of a lane's bytes, joins and questions three quarters. The rest is left to
/// small publishes, so that large ones crowd nobody out.
pub const LANE_LARGE_BYTES: usize = 4 * 1024;

/// Batches of hops in the channel into one core; a full channel leaves the rest staged at the sender.
pub const LANE_BATCHES_MAX: usize = 256;

/// Commands of the service thread in the channel into one core; a full channel leaves them with the sender.
pub const CONTROLS_MAX: usize = 1_024;

/// Spans that one turn of a core records; over it they are dropped and counted.
pub const SPANS_PER_TURN_MAX: usize = 256;

// Outboxes and sends.

/// Sends of one turn; further outboxes wait for the next turn. As many as a ring takes in one submission, which bounds the
/// memory that a flush to a very large room needs for itself.
pub const SENDS_PER_TURN_MAX: usize = 1024;

/// Frames merged into one send.
pub const SEND_FRAMES_MAX: usize = 64;

/// Bytes merged into one send (a larger frame is sent by itself): a stalled reader keeps as many in flight for good.
pub const SEND_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a frame sent at once. A larger frame goes in several sends, so that a reader on a slow link is seen to take it.
pub const SEND_PART_BYTES_MAX: usize = 128 * 1024;

/// Bytes that wait in the queue of one connection before further messages of rooms go to its backlog: one part in this many
/// of its outbox, and at most [`QUEUE_BYTES_MAX`].
pub const QUEUE_OUTBOX_DIVISOR: usize = 4;

/// See [`QUEUE_OUTBOX_DIVISOR`].
pub const QUEUE_BYTES_MAX: usize = 256 * 1024;

/// Places, or frames, of a core's outboxes that are kept when fewer are in use.
pub const OUTBOX_ARENA_KEPT: usize = 4_096;

/// A reader is slow when its outbox is over its bound and the kernel has not taken the send under way for this long, plus
/// the time that the send's bytes take at [`SLOW_BYTES_PER_SECOND`].
pub const SLOW_AFTER_MS: u64 = 1_000;

/// See [`SLOW_AFTER_MS`].
pub const SLOW_BYTES_PER_SECOND: usize = 16 * 1024;

/// As [`SLOW_AFTER_MS`], where the memory budget is nearly used up.
pub const SLOW_NEAR_BUDGET_MS: u64 = 100;

/// Bytes of the messages in one `joined`; the others follow as pushes.
pub const JOINED_BYTES_MAX: usize = 64 * 1024;

/// The messages of one `history` take at most one part in this many of a connection's outbox, so that a reply alone never
/// fills it.
pub const PAGE_OUTBOX_DIVISOR: usize = 2;

/// Bytes of the messages in one `history`, however large the outbox is.
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Payload of a message that is compressed; a larger message is sent as it is. At the slowest level this much takes tens of
/// milliseconds, in which the core serves nobody else.
pub const COMPRESS_BYTES_MAX: usize = 512 * 1024;

/// Pongs queued for one connection in one turn; of further pings in the turn only the latest is answered.
pub const PONGS_PER_TURN_MAX: u8 = 16;

// Rooms and their members.

/// How long a publish's idempotency key is remembered.
pub const KEY_WINDOW_MS: u64 = 120_000;

/// Idempotency keys remembered for one room; over it the oldest are dropped first.
pub const KEYS_PER_ROOM_MAX: usize = 100_000;

/// Rooms looked at in one tick; the rest follow in the next turn.
pub const ROOMS_PER_TICK_MAX: usize = 4_096;

/// Joins and leaves of one connection that may be unanswered at once; over it joins are refused. Holds a burst of a thousand
/// pairs.
pub const UNANSWERED_MAX: usize = 4_096;

/// Expulsions of one membership that may be unanswered at once; over it joins of that room are refused.
pub const EXPULSIONS_MAX: u8 = 100;

/// Members of a room are told of statuses at most once in this time, and of each change within it.
pub const STATUS_INTERVAL_MS: u64 = 1_000;

/// Status changes of one room told by name at once, where `rooms.presence_names_max` is no higher; over it members are told
/// the total.
pub const STATUSES_AT_ONCE_MAX: usize = 1_024;

/// Users of one room whose newest status is kept for members who could not be told; over it these are told the total.
pub const MISSED_NAMES_MAX: usize = 1_024;

// Accounts (`auth.mode = "accounts"`).

/// Bytes of the body of a request to an account path; a longer one gets 413.
pub const ACCOUNT_BODY_BYTES_MAX: usize = 4 * 1024;

/// Bytes of a password. Far more than anyone remembers, and few enough that hashing them costs nothing beside the rest.
pub const PASSWORD_BYTES_MAX: usize = 1_024;

/// Attempts of one client address: this many in [`ACCOUNT_ATTEMPTS_PER_MS`], twice as many at once. A person who mistypes a
/// password meets no limit; a program that guesses gets 14,400 a day, and a flood cannot fill the queue of hashes.
pub const ACCOUNT_ATTEMPTS: u64 = 10;

/// See [`ACCOUNT_ATTEMPTS`].
pub const ACCOUNT_ATTEMPTS_PER_MS: u64 = 60_000;

/// Wrong passwords for one user from one client address within [`SIGN_IN_FAILURES_PER_MS`]; over it 429 for that address
/// alone. Fewer than a lockout of usual sites allows, since it ends by itself.
pub const SIGN_IN_FAILURES_PER_ADDRESS: u64 = 5;

/// Wrong passwords for one user from all addresses within [`SIGN_IN_FAILURES_PER_MS`]; over it 429, except at the addresses
/// from which the user has signed in before. NIST SP 800-63B section 5.2.2 allows 100 in a row in all.
pub const SIGN_IN_FAILURES_PER_USER: u64 = 50;

/// See [`SIGN_IN_FAILURES_PER_ADDRESS`].
pub const SIGN_IN_FAILURES_PER_MS: u64 = 600_000;

/// Addresses of one user that are remembered for their last sign-in: home, work, a telephone, and some more.
pub const SIGN_IN_ADDRESSES_MAX: usize = 8;

/// How long an address is remembered for the last sign-in of a user.
pub const SIGN_IN_ADDRESS_TTL_MS: u64 = 30 * 86_400_000;

/// Users whose wrong passwords and addresses are remembered, in about 100 MiB at most; over it the one that was remembered
/// first is forgotten.
pub const SIGN_IN_USERS_MAX: usize = 100_000;

/// Requests about accounts of one core that wait for their answer; over it 503. As many as the thread that hashes does in
/// one to two seconds.
pub const ACCOUNTS_WAITING_MAX: usize = 64;

/// Passwords that wait to be hashed; over it 503.
pub const HASHES_WAITING_MAX: usize = 128;

/// How long a request about an account may take from its core and back; then 503. A password that has waited longer is not
/// hashed any more.
pub const ACCOUNT_TIMEOUT_MS: u64 = 8_000;

/// When to try again after a refusal because too many passwords wait to be hashed.
pub const ACCOUNT_RETRY_MS: u64 = 2_000;

// The link between machines and the store.

/// Publishes of one room that wait for the store or the link; over it `overloaded`.
pub const PENDING_PER_ROOM_MAX: usize = 10_000;

/// How long a room that the store keeps stays in memory after its last member has left.
pub const ROOM_LINGER_MS: u64 = 10_000;

/// Hops that wait until one room is opened from the link or the store; over it `overloaded`.
pub const OPENING_PER_ROOM_MAX: usize = 10_000;

/// How long a hop or a call waits for its room to be opened; then `unavailable`.
pub const OPENING_TIMEOUT_MS: u64 = 10_000;

/// Pages of one room's history that are asked of the store or the link; over it `overloaded`.
pub const PAGES_PER_ROOM_MAX: usize = 256;

/// Records of one recovery that are asked of the store or the link at once; the rest follow.
pub const PAGE_RECORDS_MAX: usize = 1_024;

/// How long a page is waited for; then `unavailable`.
pub const PAGE_TIMEOUT_MS: u64 = 5_000;

/// When to try again what the store or the link did not answer in time.
pub const UNAVAILABLE_RETRY_MS: u64 = 1_000;

/// Publications of one room held because an earlier one is missing; further ones are read again later.
pub const AHEAD_PER_ROOM_MAX: usize = 1_024;

/// How often a linked room without news is compared with the link's head, give or take [`POSITION_JITTER_MS`].
pub const POSITION_CHECK_MS: u64 = 60_000;

/// See [`POSITION_CHECK_MS`].
pub const POSITION_JITTER_MS: u64 = 6_000;

/// Rooms in one question for the heads of rooms.
pub const POSITIONS_MAX: usize = 1_000;

/// Users in one message of presence from one machine to the others; the rest follow in further messages.
pub const PRESENCE_CHANGES_MAX: usize = 1_024;

/// Over how long a machine that reaches the link again tells the presence of all its rooms again.
pub const PRESENCE_SPREAD_MS: u64 = 5_000;

/// Lives of machines that have ended and are remembered, so that a late message does not bring one back.
pub const ENDED_LIVES_MAX: usize = 64;

/// A read or an open of the link or the store that has no answer after this is asked again.
pub const ASK_AGAIN_MS: u64 = 2_000;

/// Asks of one core's user half that wait for the store, and likewise of its owner half; further ones are refused `overloaded`.
pub const ASKS_WAITING_MAX: usize = 4_096;

/// How long they wait; then `unavailable`.
pub const ASK_TIMEOUT_MS: u64 = 5_000;

/// Receipts of one room that are known at its owner. Over it those that the store keeps are forgotten there; without a
/// store further ones are refused `overloaded`.
pub const RECEIPTS_PER_ROOM_MAX: usize = 10_000;

/// Connections of one user that wait for one receipt; over it `overloaded`.
pub const RECEIPT_ASKERS_MAX: usize = 64;

/// Requests that the store's lane has not taken from one core before it writes no more sessions.
pub const SESSIONS_UNWRITTEN_MAX: usize = 16_384;

/// Epochs that a linked room remembers as past, so that a link which goes back to one is known to have lost data.
pub const PAST_EPOCHS_MAX: usize = 8;

/// Batches of requests in the channel from one core to the link, and to the store, and batches of events in the channel
/// back. A full channel leaves requests with the core and events with the service.
pub const SERVICE_BATCHES_MAX: usize = 64;

/// Bytes of the requests in the channel from one core to the link, and to the store; further ones stay with the core. Also
/// bytes of the events on their way back: over it events that rooms repair by themselves are dropped, and no requests of
/// the core are taken.
pub const SERVICE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes of one batch of events to a core; a larger event goes alone.
pub const SERVICE_BATCH_BYTES_MAX: usize = 256 * 1024;

// Calls of the control address.

/// Rooms or connections in one page of a listing.
pub const LISTING_MAX: u32 = 1_000;

/// Rooms or connections in a listing by size, largest first.
pub const TOP_MAX: u32 = 100;

/// Rooms, or slots of connections, that one call looks at in one turn; its answer says where to go on. Delays the members by
/// well below a millisecond.
pub const CALL_SCAN_MAX: u32 = 2_048;

/// Connections that one call closes or removes from a room in one turn.
pub const CALL_ENDS_MAX: u32 = 256;

// TLS.

/// Bytes of one TLS handshake received and not used yet, with the bytes right behind it; over it the connection ends. No
/// client says more before its request head is answered (RFC 6455 section 4.1).
pub const TLS_HANDSHAKE_BYTES_MAX: usize = 64 * 1024;

/// Bytes of one TLS record with its header, the most that TLS 1.2 allows (RFC 5246 section 6.2.3).
pub const TLS_RECORD_BYTES_MAX: usize = 5 + 16 * 1024 + 2_048;

/// Bytes of TLS's own messages (handshake, tickets, alerts) that wait for one connection; over it the connection ends.
pub const TLS_OWN_BYTES_MAX: usize = 128 * 1024;

/// Bytes encrypted at once for one connection. A larger frame goes in several sends, because encrypted bytes cannot be
/// shared by connections.
pub const TLS_SEND_BYTES_MAX: usize = 64 * 1024;

/// Bytes of TLS handshake messages received in part on one core; over it the handshakes that hold the most end first. More
/// than [`HALF_OPEN_MAX`] usual first messages.
pub const TLS_HANDSHAKES_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Bytes of TLS records received in part on one core, after complete handshakes; over it the connections that hold the most
/// end first.
pub const TLS_PARTIAL_BYTES_MAX: usize = 64 * 1024 * 1024;

// Parts of the memory budget, and the bytes charged to it. `tests/charges` holds the charges to an allocator's count.

/// The part of the memory budget, one in this many, that histories, keys and publishes that wait for link or store may
/// take together. Over it messages are dropped, first those of the rooms that hold the most, then the oldest of the core.
/// Keys and waiting publishes cannot be dropped: once they alone fill the part, publishes that would add to them are
/// refused.
pub const HISTORY_BUDGET_DIVISOR: u64 = 2;

/// The part of the memory budget, one in this many, that messages keep, however many rooms and members there are.
pub const HISTORY_FLOOR_DIVISOR: u64 = 8;

/// The part of the memory budget, one in this many, that the numberings of rooms in which nothing is left may take
/// together; over it those that would expire first are dropped.
pub const NUMBERINGS_BUDGET_DIVISOR: u64 = 8;

/// Each connection, beside its user's name.
pub const CONNECTION_BYTES: usize = 192;

/// The state of TLS of each connection that speaks it: what the larger of TLS 1.2 and 1.3 makes resident
/// (`tests/tls_memory`).
pub const TLS_CONNECTION_BYTES: usize = 8 * 1024;

/// Each membership of a connection.
pub const MEMBERSHIP_BYTES: usize = 32;

/// A room's members on one core together, beside the room's name.
pub const AUDIENCE_BYTES: usize = 320;

/// A room at its owner, beside its name, members, users, history and keys.
pub const ROOM_BYTES: usize = 512;

/// Each member of a room at its owner.
pub const MEMBER_BYTES: usize = 28;

/// The users of a room together, while there are any.
pub const USERS_BYTES: usize = 256;

/// Each user of a room whose presence is tracked, beside the name.
pub const USER_BYTES: usize = 80;

/// Each user who has left a room, beside the name, until the members are told: the user's entry, its place in the order of
/// graces and its place among the changes.
pub const ABSENT_BYTES: usize = 128;

/// Each user who is in a room on another machine, for each such machine, beside the name.
pub const CONTRIBUTION_BYTES: usize = 128;

/// Each user whose counts the other machines have not been told.
pub const UNTOLD_BYTES: usize = 32;

/// Each user whose newest status is kept for members who could not be told.
pub const MISSED_NAME_BYTES: usize = 256;

/// Each member, or core, that has not been told of some status.
pub const MISSED_MEMBER_BYTES: usize = 64;

/// Each entry of a history, beside its frames: the publication's own fields and reference counts, its places in the
/// history's and the core's queues, and their slack.
pub const HISTORY_ENTRY_BYTES: usize = 288;

/// Each remembered idempotency key, beside its text and its user's name.
pub const KEY_ENTRY_BYTES: usize = 160;

/// The numbering of a room in which nothing is left, beside the room's name.
pub const NUMBERING_BYTES: usize = 192;

/// Each hop or publication that waits for the link or the store, beside its data.
pub const WAITING_BYTES: usize = 256;

/// Each receipt that is known at a room's owner, beside its user's name.
pub const RECEIPT_BYTES: usize = 192;

/// Each address and user that is counted, beside a user's window.
pub const LIMITER_ENTRY_BYTES: usize = 128;

/// Each refresh that waits for keys, beside its token.
pub const REFRESH_WAITING_BYTES: usize = 256;

/// A ping that waits to be answered.
pub const PONG_BYTES: usize = 256;

/// Each frame, gap or replay that waits for connections, beside its own bytes. Counts in the outbox of each of them too, and
/// so bounds how many small ones wait there.
pub const OUTBOX_ITEM_BYTES: usize = 96;

/// Each place in a connection's queue or backlog.
pub const OUTBOX_PLACE_BYTES: usize = 8;

/// A connection's backlog, and that of each room in it.
pub const BACKLOG_BYTES: usize = 320;

/// Each publication that a replay keeps, beside its frames: it may have left its history.
pub const REPLAYED_BYTES: usize = 320;

/// A frame of more bytes that waits for a connection is charged with half of them again.
pub const LARGE_FRAME_BYTES: usize = 128 * 1024;

const _: () = assert!(TLS_SEND_BYTES_MAX >= SEND_BYTES_MAX, "what is merged goes in one send under TLS too");
const _: () = assert!(TLS_HANDSHAKES_BYTES_MAX >= HALF_OPEN_MAX as usize * 4_096, "usual handshakes all fit");
const _: () = assert!(LANE_HOPS_MAX >= 10_000, "REQUIREMENTS A5: absorbs 10,000 queued broadcasts");
const _: () = assert!(HEADS_BYTES_MAX > HEAD_BYTES_MAX, "one head always fits");
const _: () = assert!(TOKEN_CHECKS_MAX as usize >= TOKEN_KEYS_TRIED_MAX, "any one token can be checked");
const _: () = assert!(KEYS_WAIT_MS < HEAD_TIMEOUT_MS, "a head that waits for keys gets an answer");
const _: () = assert!(PAGE_BYTES_MAX <= LANE_BYTES_MAX / 4, "a few replies do not fill a lane");
const _: () = assert!(SEND_PART_BYTES_MAX >= SEND_BYTES_MAX, "what is merged goes at once");
const _: () = assert!(SEND_BYTES_MAX >= SEND_FRAMES_MAX * 256, "a merged send has room for usual frames");
const _: () = assert!(ACCOUNT_TIMEOUT_MS < HEAD_TIMEOUT_MS, "a request about an account gets an answer");
