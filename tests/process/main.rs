//! The real program over the real ring: every test starts a server of its own, speaks to it over sockets and ends it.
//! Nothing here sleeps and hopes: what should happen is awaited with a deadline, what should not is fenced by something
//! that comes after it on the same path.

mod abuse;
mod activation;
mod api;
mod auth;
mod bursts;
mod capacity;
mod causes;
mod client;
mod command_line;
mod compression;
mod configuration;
mod conformance;
mod control;
mod cores;
mod crowd;
mod forms;
mod greedy;
mod half_close;
mod heartbeat;
mod hostile;
mod hosts;
mod http;
mod life;
mod limits;
mod logs;
mod many;
mod monitoring;
mod operator;
mod presence;
mod proxy;
#[path = "../support/random.rs"]
mod random;
mod refusals;
mod rooms;
mod server;
mod slow;
mod stalled;
mod tls;
mod traces;
mod upgrade;
