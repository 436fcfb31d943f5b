//! Roomring: a real-time WebSocket room server for dedicated Linux hosts. Thread-per-core, shared-nothing, on io_uring.
//!
//! # One picture
//!
//! ```text
//! clients ──► core 0: glommio executor ── pump ── ring (io_uring) ── Engine { home half, owner half }
//! clients ──► core 1: the same …                     ▲ lanes: one bounded channel into each core, hops batched per turn ▼
//!              …                                      core n
//!                        service thread (tokio, current_thread): control address (/api, /metrics), signals
//! ```
//!
//! - A **core** is a pinned thread with one glommio executor, one io_uring for its sockets and one
//!   [`engine::Engine`]. It accepts its own connections (`SO_REUSEPORT`); nothing is shared on the message path.
//! - A connection's **home** is the core that holds its socket. A room's **owner** is the core that its name hashes to
//!   ([`engine::placement`]). A room has two halves: the owner's `room` (numbering, history, presence, which cores
//!   listen) and an `audience` (the local members) on every core that has members.
//! - What connections of several cores share in limits (addresses, users, the server as a whole) is counted on the one core
//!   that the key hashes to ([`engine::limiter`]); what one connection may do, beside it. How many WebSockets are open in
//!   the process is one shared number ([`base::places`]), touched when one opens and when it ends.
//! - Cores speak by **hops** ([`engine::hop`]) over bounded **lanes** ([`io`]). A hop to a room of the same core is the
//!   same hop, handled at once: there is one path, however many cores there are.
//! - The **service thread** does what is not on the message path. It never blocks a core; a core never waits for it. What
//!   the control address asks of rooms and connections are calls ([`engine::call`]): inputs of an engine like any other,
//!   bounded in each turn; a publish by the server takes the same way through the room's owner as a member's.
//!
//! # The path of one message
//!
//! 1. [`io`]: bytes arrive in a buffer of the core's ring; the pump hands them to [`engine::Engine::handle`], less a trusted
//!    proxy's header ([`io::proxy_header`]) and decrypted by [`io::tls`] where clients speak so.
//! 2. [`wire`]: the frame is unmasked in place, the command decoded; `data` stays the bytes that the client wrote.
//! 3. [`engine::home`]: the membership is checked; the data is copied once, into a `Publish` hop to the room's owner.
//! 4. [`io`]: all hops of one turn to one core go in one channel send; that core is woken only if it sleeps.
//! 5. [`engine::owner`]: the next seq (or the link's, or after the store's commit), one encoding per form in use, history.
//! 6. One `Deliver` hop per core that listens, never per member.
//! 7. [`engine::home`]: one tight loop over the audience puts a reference to the frame into each
//!    [outbox](engine::outbox).
//! 8. At the end of the turn each connection with something to say gets one send, made once for all members who wait
//!    for the same frames; all sends of the turn go to the kernel in one submission.
//!
//! A turn is synchronous: inputs in, the engine runs, outputs out. No borrow of the engine lives across an await, there
//! is no task per connection, and no lock.
//!
//! # Floors
//!
//! A file imports only from floors below its own; `tests/floors` keeps this true.
//!
//! | floor | holds |
//! |---|---|
//! | [`base`] | words and numbers: ids, limits, codes, counters, time as values |
//! | [`wire`] | bytes <-> values: frames, messages, handshake, both forms |
//! | [`engine`] | one core's whole state, sans-IO and deterministic |
//! | [`io`] | the only floor with glommio, io_uring, clocks, sockets |
//! | [`control`] | `/api`, `/stats`, `/metrics`, `/health`, `/ready`, the export of traces |
//! | [`server`] | configuration, command line, boot, drain, doctor |
//!
//! # What keeps it true
//!
//! - **Order**: whatever must stay ordered rides one lane. `joined` with its messages and the live messages after it leave
//!   the owner by the same lane, so join, recovery and live delivery have no hole and need no reordering.
//! - **Bounds**: every queue has one ([`base::limits`], configuration), and every hop says what happens when its lane is
//!   full and who repairs that. Who is present is told as the newest state ([`engine::news`]): what a full lane or outbox
//!   did not take is made good later, and never closes anybody. What outsiders can make grow is charged to a memory budget
//!   at what it takes ([`engine::budget`]): `tests/charges` holds the charges to an allocator's count, and the greedy
//!   clients of `tests/process` hold a server's resident memory to its budget.
//! - **Slow** is who has not taken what was offered: an outbox over its bound is judged only when the kernel has not taken
//!   the send under way for a second ([`engine::outbox`]). What is more than a queue takes waits in backlogs by room, and
//!   goes out at the pace of its reader; so does what a join brings. A turn ends when it has taken so much, so that what
//!   it queues goes out first.
//! - **Failures** are of four kinds: refusal (an error reply; the connection stays), disconnect (a close code), transient
//!   (link, store: retried), bug (an assertion ends the process rather than serve wrong data; clients recover by position).
//! - **Seams**: a publish can be numbered by a link between machines and acknowledged after a store's commit
//!   ([`engine::input`], [`engine::output`]), and the user half keeps sessions in the store ([`engine::kept`]). Requests
//!   and events go over bounded lanes ([`io::service_lane`]). The engine's rules for link and store are held by the
//!   simulation in `tests/`; the server offers neither yet.
//! - **Tokens** are verified on the core that has the connection, with an immutable set of keys ([`engine::access`]) that
//!   the service thread renews ([`server::auth`]). A token that no key fits waits for the next set; signature checks are
//!   weighed in the limits of connections and addresses. What tokens allow stands beside the sessions, in tables that are
//!   empty in mode `open`.
//! - **Randomness and time** come into the engine as arguments: one seed gives one run. What clients see (ids, epochs) comes
//!   from a cryptographic generator ([`engine::random`]); tables that hold what outsiders choose, and the placement of names
//!   on cores, have keys that follow from other secrets of the process.
//! - `unsafe` stands in `io/ring` (the ring, its buffers, the blocks that addresses are written to) only.

pub mod base;
pub mod control;
pub mod engine;
pub mod io;
pub mod server;
pub mod wire;
