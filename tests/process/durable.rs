//! The embedded store in the real server: what outlives a stop, a kill and a full disk (LINK_AND_STORE section 6).

mod damage;
mod full;
mod kills;
mod restart;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::client::Client;
use crate::server::{Server, scratch};

/// A data directory that is removed with its contents before and after.
pub struct DataDirectory(PathBuf);

impl DataDirectory {
    /// An empty one for a test of this name.
    pub fn new(name: &str) -> Self {
        let path = scratch("data").join(name);
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Starts a server on it.
    pub fn start(&self, durability: &str, settings: &[&str]) -> Server {
        let path = format!("store.path={}", self.0.display());
        let durability = format!("store.durability={durability}");
        let mut all = vec!["store.kind=embedded", &path, &durability];
        all.extend(settings);
        Server::start(&all)
    }

    /// The files of the log, oldest first.
    pub fn segments(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.0.join("log")).expect("the store has a log");
        let paths = entries.map(|entry| entry.expect("an entry can be read").path());
        let mut segments: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == "rrl")).collect();
        segments.sort();
        segments
    }
}

impl Drop for DataDirectory {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// Ends a server as an operator does.
pub fn stop(mut server: Server) {
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.stderr.get());
}

/// Ends a server as a crash does.
pub fn kill(mut server: Server) {
    server.signal("KILL");
    server.wait();
}

/// Joins a room from a position; of the epoch that the room has, if none is given.
pub fn join_from(client: &mut Client, room: &str, seq: u64, epoch: &Value) -> Value {
    let mut join = json!({"type": "join", "room": room, "last_received_seq": seq});
    if !epoch.is_null() {
        join["epoch"] = epoch.clone();
    }
    client.request(join)
}

/// The data of the messages of a reply.
pub fn data_of(reply: &Value) -> Vec<Value> {
    let messages = reply["messages"].as_array().unwrap_or_else(|| panic!("a reply with messages: {reply}"));
    messages.iter().map(|message| message["data"].clone()).collect()
}
