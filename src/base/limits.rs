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

/// Frames merged into one send.
pub const SEND_FRAMES_MAX: usize = 64;

/// Bytes merged into one send (a larger frame is sent by itself): what a stalled reader keeps in flight for good.
pub const SEND_BYTES_MAX: usize = 16 * 1024;

/// Shortest and longest time between two ticks of an engine that has something to wait for.
pub const TICK_MS: u64 = 100;

/// Bytes charged to the memory budget for each entry of a history, beside its frames.
pub const HISTORY_ENTRY_BYTES: usize = 160;

/// Bytes charged to the memory budget for a room without members that is kept for its history or keys.
pub const ROOM_BYTES: usize = 512;

/// Connections shed in one tick while the memory budget is exceeded: each costs a look at every outbox.
pub const SHED_PER_TICK_MAX: usize = 8;

/// Path of the WebSocket endpoint.
pub const WS_PATH: &str = "/ws";

/// Path of the liveness answer on the data port.
pub const HEALTH_PATH: &str = "/health";

const _: () = assert!(LANE_HOPS_MAX >= 10_000, "REQUIREMENTS A5: absorbs 10,000 queued broadcasts");
const _: () = assert!(SEND_BYTES_MAX >= SEND_FRAMES_MAX * 256, "a merged send has room for usual frames");
