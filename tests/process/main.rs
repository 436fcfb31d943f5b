//! The real program over the real ring: every test starts its own server, speaks to it over sockets and ends it. No
//! test sleeps and hopes. Expected events are awaited with a deadline. To show that an event does not happen, a test
//! waits for a later event on the same path.

mod abuse;
mod accounts;
mod activation;
mod api;
mod auth;
mod bursts;
mod capacity;
mod causes;
mod chat;
mod client;
mod command_line;
mod compression;
mod configuration;
mod conformance;
mod control;
mod cores;
mod crowd;
mod durable;
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
mod store_tools;
mod tls;
mod traces;
mod upgrade;
