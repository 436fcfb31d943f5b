//! Roomring: a real-time WebSocket room server for dedicated Linux hosts. Thread-per-core, shared-nothing, on io_uring.
//!
//! # One picture
//!
//! ```text
//! clients ──► core 0: glommio executor ── pump ── ring (io_uring) ── Engine { home, owner, user, limiter }
//! clients ──► core 1: the same …                     ▲ lanes: one bounded channel into each core, hops batched per turn ▼
//!              …                                      core n
//!      service thread (tokio, current_thread): control address, token keys, accounts, certificates, traces
//!                     store threads: keeper, log, index
//! ```
//!
//! - A **core** is a pinned thread with one glommio executor, one io_uring for its sockets and one [`engine::Engine`].
//!   It accepts its own connections (`SO_REUSEPORT`). Cores share nothing on the message path.
//! - The **home** of a connection is the core that holds its socket. The **owner** of a room is the core that its name
//!   hashes to ([`engine::placement`]). The owner holds the `room`: numbering, history, presence, and the list of cores
//!   with members. Every core with members holds an `audience`: the members on that core.
//! - Cores send each other **hops** ([`engine::hop`]) over bounded **lanes** ([`io::lanes`]). A hop to the same core is
//!   handled at once. There is one path, however many cores there are.
//! - The **service thread** does all work off the message path. It never blocks a core, and a core never waits for it.
//!   The control address reaches rooms and connections by calls ([`engine::call`]): inputs like any other, bounded per
//!   turn. A publish by the server passes through the room's owner, as a member's does.
//! - The **store** keeps what outlives memory and the process ([`store`]), on threads of its own, so that a slow disk never
//!   stops a core.
//!
//! # Parts of an engine
//!
//! | part | holds |
//! |---|---|
//! | [`engine::home`] | the connections of this core: the handshake (`lobby/`), sessions, tokens, audiences, outboxes |
//! | [`engine::owner`] | the rooms that hash to this core |
//! | [`engine::user`] | the users that hash to this core: their connections, publish rates and sessions |
//! | [`engine::limiter`] | the addresses that hash to this core, and on core 0 the upgrade rate of the whole server |
//!
//! The parts send each other hops, on one core or between two. A limit of one connection is counted in its home. The
//! number of open WebSockets in the process is one shared counter ([`base::places`]), changed when a WebSocket opens
//! and when it ends.
//!
//! A room has a numbering and a keeping, chosen independently. *Numbering*: by the room itself, or by the link that
//! joins several machines. *Keeping*: in memory only, or in the store as well, with the publisher answered before or
//! after the commit. The engine speaks to the link through [`engine::link_port`] and to the store through
//! [`engine::store_port`]; both carry the [`engine::record`]. The user half keeps sessions in the store, the
//! owner half created rooms with their members, roles, invites and receipts ([`engine::kept`]): the store decides, and the
//! owner shows what it has decided. Requests and events use bounded lanes ([`io::service_lane`]). The simulation in
//! `tests/` tests the engine's rules for link and store. The server has no link yet.
//!
//! # The path of one message
//!
//! 1. [`io`]: bytes arrive in a buffer of the core's ring. [`io::tls`] decrypts them, and [`io::proxy_header`] removes
//!    the header of a trusted proxy. The pump passes the rest to [`engine::Engine::handle`].
//! 2. [`wire`]: the frame is unmasked in place and the command decoded. `data` stays the bytes that the client wrote.
//! 3. [`engine::home`]: checks membership and limits, copies the data once, and sends an `Ask` hop to the room's owner.
//! 4. [`io`]: sends all hops of one turn to one core in one channel send, and wakes that core only if it sleeps.
//! 5. [`engine::owner`]: takes the next seq (from the link, if that numbers; delivers after the commit, if the store
//!    must have it first), encodes once per form in use, and appends to history.
//! 6. [`engine::owner`]: sends one `Deliver` hop to each core with members, never one per member.
//! 7. [`engine::home`]: in one loop over the audience, puts a reference to the frame into each
//!    [outbox](engine::outbox).
//! 8. [`engine::Engine::finish_turn`]: makes one send for each connection with queued frames. Members with the same
//!    queue share the gathered bytes. All sends of the turn go to the kernel in one submission.
//!
//! A turn is synchronous: inputs in, the engine runs, outputs out. No borrow of the engine lives across an await. There
//! is no task per connection, and no lock.
//!
//! A numbered message takes nine shapes from the socket to the flush:
//!
//! | shape | defined in | is |
//! |---|---|---|
//! | `Ask` | `wire/protocol.rs` | the publish as a form reads it from the socket; its data is copied out of the receive buffer |
//! | `Post` | `engine/owner/publish.rs` | the publish with its publisher and its time of arrival |
//! | `Record` | `engine/record.rs` | the numbered publish, not encoded; the link and the store keep it |
//! | `Content` | `wire/publication.rs` | a borrowed view, which each form writes as a message |
//! | `Publication` | `wire/publication.rs` | finished frames in each form, kept in history and shared by reference |
//! | `Delivery` | `engine/hop.rs` | the publication and its compressed frames: the hop to a home, and its entry in the audience until the messages of the turn are queued |
//! | `Outgoing` | `engine/outbox/outgoing.rs` | the bytes of one form with their seq, to be queued |
//! | `Frame` | `engine/outbox/items.rs` | the same bytes, counted by reference and queued in outboxes |
//! | `Send` | `engine/output.rs` | the gathered frames of one connection: one write |
//!
//! An ephemeral message is neither numbered nor kept: it goes from `Post` to `Content`, and its frames from there to
//! `Outgoing`.
//!
//! # Floors
//!
//! A file imports only from floors below its own. `tests/floors` checks this.
//!
//! | floor | holds |
//! |---|---|
//! | [`base`] | words and numbers: ids, limits, codes, counters, time as values |
//! | [`wire`] | bytes <-> values: frames, messages, handshake, forms, dialects, compression |
//! | [`engine`] | one core's whole state, sans-IO and deterministic |
//! | [`io`] | the only floor with glommio, io_uring, clocks, sockets |
//! | [`store`] | the keeper, the log and the index of what is kept; beside `control` |
//! | [`control`] | `/api`, `/stats`, `/metrics`, `/health`, `/ready`, the export of traces |
//! | [`server`] | configuration, command line, boot, services, drain, doctor |
//!
//! # Where to add something
//!
//! - **A room command** (`typing` is an example): its `Ask` and `Answer` in `wire/protocol.rs`; how JSON reads and
//!   writes them in `wire/json/read.rs` and `wire/json/write.rs`; one arm in `engine/owner/room.rs`; its state and
//!   rules in a file of `engine/owner/room/`. One that the store decides (`invite` is an example): its request in
//!   `engine/kept.rs`, and its arms in `engine/owner/administration.rs`. An operation in a file of `control/operations/` offers it to the server's
//!   API.
//! - **A form** ([`wire::form`]): a folder beside `wire/json` and `wire/binary`, a variant of `Form`, and an entry in
//!   each table of forms.
//! - **A dialect** ([`wire::dialect`]): an entry in `DIALECTS`: its subprotocol, its form, how it reads commands, and
//!   whether its connections identify their user by the upgrade or by their first message.
//! - **An operation of the control address**: a file of `control/operations/`, which knows no HTTP. Its `list` adds the
//!   operation to a `Catalogue`, which each protocol of the control address implements.
//! - **A service**: a file of `server/services/` that implements `Service`, and a line in the list of its `mod.rs`.
//!
//! # Rules
//!
//! - **Order**: messages that must stay in order use one lane. `joined` with its messages and the live messages after
//!   it leave the owner by the same lane. So join, recovery and live delivery have no hole, and need no reordering.
//! - **Bounds**: every queue has a bound ([`base::limits`], configuration). Every hop documents what happens when its
//!   lane is full, and who repairs that. Presence is sent as the newest state ([`engine::news`]): a change that a full
//!   lane or outbox did not take is sent later, and never closes a connection.
//! - **Memory**: everything that clients can make grow is charged to a memory budget at its real size
//!   ([`engine::budget`]). `tests/charges` compares the charges with an allocator's count. The greedy clients in
//!   `tests/process` check that a server's resident memory stays within its budget.
//! - **Slow consumers**: a connection is slow if its outbox is over its bound and the kernel has not taken the send in
//!   flight for a second ([`engine::outbox`]). What exceeds a queue, and the messages of a join, wait in a backlog per
//!   room and go out as the client reads. A turn has a bound on what it takes in, so that its output is sent before
//!   more is queued.
//! - **Failures** are of four kinds: refusal (an error reply; the connection stays), disconnect (a close code),
//!   transient (link, store: retried), bug (an assertion ends the process rather than serve wrong data; clients recover
//!   by position).
//! - **Tokens** are verified on the connection's core with an immutable set of keys ([`engine::access`]), which the
//!   service thread renews ([`server::auth`]). A token that no key fits waits for the next set. Signature checks count
//!   in the limits of connections and addresses. The permissions of tokens are kept beside the sessions, in tables that
//!   are empty in mode `open`.
//! - **Accounts** (`auth.mode = "accounts"`): the core reads the request in its lobby and counts its address; the service
//!   ([`engine::account_port`], `server/accounts/`) asks the store, has the password hashed by a thread of its own, counts
//!   wrong ones, and signs a token, which the cores verify as they verify any.
//! - **Randomness and time** come into the engine as arguments: one seed gives one run. What clients see (ids, epochs)
//!   comes from a cryptographic generator ([`engine::random`]). Hash tables of names from clients, and the placement of
//!   names on cores, use keys derived from separate secrets of the process.
//! - `unsafe` is allowed only in `io/ring.rs` and `io/ring/`: the ring, its buffers, and the blocks that hold
//!   addresses.

pub mod base;
pub mod control;
pub mod engine;
pub mod io;
pub mod server;
pub mod store;
pub mod wire;
