//! Every maximum and every default that is not a configuration key, with what it protects. Numbers only.
//! Keys of OPERATIONS.md have their ranges and defaults beside them in `server::config`.

use std::num::NonZeroU64;

/// Bytes of a room's or user's name.
pub const NAME_BYTES_MAX: usize = 128;

/// Bytes of a publish's idempotency `key`.
pub const KEY_BYTES_MAX: usize = 128;

/// Bytes of an HTTP request head on the data port; over it 431.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// An HTTP request head that is not complete after this ends the connection.
pub const HEAD_TIMEOUT_MS: u64 = 10_000;

/// Bytes of the first message of a connection that identifies itself by it: a token and some more.
pub const GREETING_BYTES_MAX: usize = 16 * 1024;

/// Bytes from a client whose upgrade waits to be let in; over it the connection ends.
pub const EARLY_BYTES_MAX: usize = 16 * 1024;

/// An address may open so many sockets for each upgrade that `limits.connect_rate_per_ip` allows: health checks, requests
/// that are refused. Those beyond are refused when they come.
pub const SOCKETS_PER_CONNECT: NonZeroU64 = NonZeroU64::new(4).expect("it is not 0");

/// A frame of more bytes that waits for a connection is charged to the memory budget with half of them again.
pub const LARGE_FRAME_BYTES: usize = 128 * 1024;

/// So many refusals for rate in a row close a connection (4429).
pub const RATE_REFUSALS_MAX: u8 = 100;

/// Bytes charged to the memory budget for each address and user that is counted, beside a user's window.
pub const LIMITER_ENTRY_BYTES: usize = 128;
/// A client that has connected just before a drain whose listening sockets go on to a successor gets so long for its
/// request head; after that the drain does not wait for it.
pub const HAND_OVER_MS: u64 = 1_000;

/// Sockets of one core that are no WebSocket, whatever they wait for: a proxy's header, a TLS handshake, a request head, the
/// answer to their upgrade, or their peer's end after a refusal or a TLS failure. Over it the oldest goes. Holds the clients
/// of a storm that have connected and whose heads are under way: 20,000 a second at 400 ms.
pub const HALF_OPEN_MAX: u32 = 8_192;

/// Bytes of incomplete request heads and first messages of one core; over it the oldest goes. A usual head comes whole and is not kept.
pub const HEADS_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Addresses, and users, looked at in one tick for having nothing to be remembered for; the rest follow in the next turn.
pub const LIMITER_LOOKS_PER_TICK_MAX: usize = 4_096;

/// Events that one sliding window remembers, 8 bytes each: the largest count of a rate that is kept by one.
pub const WINDOW_EVENTS_MAX: u64 = 1_000_000;

/// Pongs queued for one connection in one turn; of further pings in it only the latest is answered.
pub const PONGS_PER_TURN_MAX: u8 = 16;

/// Bytes charged to the memory budget for a ping that waits to be answered.
pub const PONG_BYTES: usize = 256;

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

/// Hops staged for one core before hops that may be refused are refused. Holds a burst of 10,000 broadcasts.
pub const LANE_HOPS_MAX: usize = 16_384;

/// Bytes of the hops staged for one core and in the channel to it before hops that may be refused are refused.
pub const LANE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Joins and questions fill a lane to one in so many of its hops; over it they are refused, so that what is published finds
/// room. States and leaves then wait.
pub const LANE_QUESTIONS_DIVISOR: usize = 4;

/// Publishes of more bytes fill a lane to half of its bytes, and joins and questions to three quarters: the rest is left to
/// small publishes, so that large ones crowd nobody out.
pub const LANE_LARGE_BYTES: usize = 4 * 1024;

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

/// Bytes charged to the memory budget for each user who has left a room, beside the name, until the members are told: the
/// user's entry, its place in the order of graces and its place among the changes.
pub const ABSENT_BYTES: usize = 128;

/// Joins and leaves of one connection that may be unanswered at once; over it joins are refused. Holds a thousand pairs in
/// one burst.
pub const UNANSWERED_MAX: usize = 4_096;

/// Expulsions of one membership that may be unanswered at once; over it joins of that room are refused.
pub const EXPULSIONS_MAX: u8 = 100;

/// Users of one room whose newest status is kept for those who could not be told; over it they are told the total.
pub const MISSED_NAMES_MAX: usize = 1_024;

/// Bytes charged to the memory budget for each user whose newest status is kept for those who could not be told.
pub const MISSED_NAME_BYTES: usize = 256;

/// Bytes charged to the memory budget for each member, or core, that has not been told of some status.
pub const MISSED_MEMBER_BYTES: usize = 64;

/// Members looked at in one tick for statuses that they could not be told; the rest follow at the next tick.
pub const MISSED_LOOKS_PER_TICK_MAX: usize = 4_096;

/// Memberships looked at in one turn for changes of state that their room's owner has not been told; the rest follow.
pub const LATE_LOOKS_PER_TURN_MAX: usize = 16_384;

/// Changes of state that met a full lane are offered to it again after this.
pub const LATE_AGAIN_US: u64 = 1_000;

/// Bytes charged to the memory budget for each hop or publication that waits for the link or the store, beside its data.
pub const WAITING_BYTES: usize = 256;

/// The part of the memory budget (one in so many) that histories, keys and what waits for link or store may take
/// together. Over it messages go, those of the rooms that hold the most first, then the oldest of the core; keys and what
/// waits cannot be let go, and publishes that would add to them are refused once they alone fill the part.
pub const HISTORY_BUDGET_DIVISOR: u64 = 2;

/// The part of the memory budget (one in so many) that messages keep, however many rooms and members there are.
pub const HISTORY_FLOOR_DIVISOR: u64 = 8;

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

/// Members of a room are told of statuses at most once in this time. A change is told within it.
pub const STATUS_INTERVAL_MS: u64 = 1_000;

/// Status changes of one room put into one frame buffer.
pub const STATUSES_PER_PUSH_MAX: usize = 128;

/// Status changes of one room told by name at once, where `rooms.presence_names_max` is no higher; over it members are
/// told the total.
pub const STATUSES_AT_ONCE_MAX: usize = 1_024;

/// Rooms looked at in one tick; the rest follow in the next turn.
pub const ROOMS_PER_TICK_MAX: usize = 4_096;

/// Bytes charged to the memory budget for a room at its owner, beside its name, members, users, history and keys. This
/// and the constants below are held to what an allocator counts by `tests/charges`.
pub const ROOM_BYTES: usize = 512;

/// Empty fragments of a client's message: so many more fragments than bytes it may have. Only whole messages count for a
/// client's rates, so without a bound empty fragments would cost it nothing.
pub const EMPTY_FRAGMENTS_MAX: usize = 1_024;

/// Fields of one command in the JSON form, those that no command knows included: each costs as much as 50 bytes of text.
pub const COMMAND_FIELDS_MAX: usize = 256;

/// Parameters in the query of a request.
pub const QUERY_PARAMETERS_MAX: usize = 512;
/// Bytes charged to the memory budget for each member of a room at its owner.
pub const MEMBER_BYTES: usize = 28;

/// Bytes charged to the memory budget for the users of a room together, while there are any.
pub const USERS_BYTES: usize = 256;

/// Bytes charged to the memory budget for each user of a room whose presence is tracked, beside the name.
pub const USER_BYTES: usize = 80;

/// Bytes charged to the memory budget for a room's members on one core together, beside the room's name.
pub const AUDIENCE_BYTES: usize = 320;

/// Bytes charged to the memory budget for each membership of a connection.
pub const MEMBERSHIP_BYTES: usize = 32;

/// Bytes charged to the memory budget for each connection, beside its user's name.
pub const CONNECTION_BYTES: usize = 192;

/// Bytes charged to the memory budget for the state of TLS of each connection that speaks it: what the larger of TLS 1.2
/// and 1.3 makes resident (`tests/tls_memory`).
pub const TLS_CONNECTION_BYTES: usize = 8 * 1024;

/// Bytes charged to the memory budget for the numbering of a room in which nothing is left, beside the room's name.
pub const NUMBERING_BYTES: usize = 192;

/// The part of the memory budget (one in so many) that those numberings may take together; over it the first that would
/// end goes.
pub const NUMBERINGS_BUDGET_DIVISOR: u64 = 8;

/// When a command that was refused for lack of memory may be tried again.
pub const OVERLOADED_RETRY_MS: u64 = 2_000;

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

/// Signature checks that one connection may cause by `refresh`: so many, twice as many at once, in
/// [`TOKEN_CHECKS_PER_MS`]. A check takes 15 to 200 microseconds of a core, a hundred times what other commands do. One
/// token takes as many as there are keys that may have signed it: one where it names its key.
pub const TOKEN_CHECKS_MAX: u64 = 32;

/// See [`TOKEN_CHECKS_MAX`].
pub const TOKEN_CHECKS_PER_MS: u64 = 60_000;

/// So many refused tokens in a row on one connection close it (4401).
pub const TOKEN_REFUSALS_MAX: u8 = 5;

/// Signature checks made in one turn for tokens that have waited for keys, beside the last token's; the rest follow in
/// the next turn.
pub const WAITED_CHECKS_PER_TURN_MAX: u32 = 16;

/// Tokens that have waited for keys judged in one turn; the rest follow in the next turn.
pub const WAITED_TOKENS_PER_TURN_MAX: u32 = 64;

/// Keys of a key set that cannot be used and are named in the log.
pub const KEYS_PASSED_OVER_TOLD_MAX: usize = 8;

/// Bytes of a certificate, key or key set file.
pub const KEY_FILE_BYTES_MAX: usize = 256 * 1024;

/// An upgrade or a refresh whose token may be good by a key that is yet to be fetched waits for it at most so long, within
/// [`HEAD_TIMEOUT_MS`].
pub const KEYS_WAIT_MS: u64 = 6_000;

/// Upgrades of one core that wait for keys, and likewise connections with a `refresh` that does; more are refused at once.
pub const KEYS_WAITING_MAX: usize = 1_024;

/// Upgrades of one IPv4 address or IPv6 /64 among those of one core that wait for keys; more are refused at once.
pub const KEYS_WAITING_PER_ADDRESS_MAX: usize = 128;

/// Refreshes of one connection that wait for keys, or behind one that does; with one more the first is answered at once.
pub const REFRESHES_WAITING_MAX: usize = 4;

/// Bytes charged to the memory budget for each refresh that waits, beside its token.
pub const REFRESH_WAITING_BYTES: usize = 256;

/// A core that has asked for keys and got no answer asks again after this.
pub const KEYS_ASK_AGAIN_MS: u64 = 500;

/// A refused token is logged at most this often by each core and for each cause.
pub const TOKEN_LOG_AGAIN_MS: u64 = 60_000;

/// Nobody who holds fewer bytes is shed while the memory budget is exceeded: a healthy reader in the middle of a send.
pub const SHED_BYTES_MIN: usize = 1_024;

/// When the memory budget is exceeded and nobody is left to be shed, it is looked again after this. Whoever was told to go
/// has as long to take the last of what it is sent, before it is cut off.
pub const SHED_AGAIN_MS: u64 = 100;

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

/// Bytes of TLS handshake messages received in part on one core; over it the handshakes that hold the most end first. More
/// than [`HALF_OPEN_MAX`] usual first messages.
pub const TLS_HANDSHAKES_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Bytes of TLS records received in part on one core, on connections whose handshake is complete; over it the connections
/// that hold the most end first.
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
const _: () = assert!(TLS_HANDSHAKES_BYTES_MAX >= HALF_OPEN_MAX as usize * 4_096, "usual handshakes all fit");
const _: () = assert!(LANE_HOPS_MAX >= 10_000, "REQUIREMENTS A5: absorbs 10,000 queued broadcasts");
const _: () = assert!(HEADS_BYTES_MAX > HEAD_BYTES_MAX, "one head always fits");
const _: () = assert!(TOKEN_CHECKS_MAX as usize >= TOKEN_KEYS_TRIED_MAX, "any one token can be checked");
const _: () = assert!(KEYS_WAIT_MS < HEAD_TIMEOUT_MS, "a head that waits for keys gets an answer");
const _: () = assert!(PAGE_BYTES_MAX <= LANE_BYTES_MAX / 4, "a few replies do not fill a lane");
const _: () = assert!(SEND_PART_BYTES_MAX >= SEND_BYTES_MAX, "what is merged goes at once");
const _: () = assert!(SEND_BYTES_MAX >= SEND_FRAMES_MAX * 256, "a merged send has room for usual frames");
