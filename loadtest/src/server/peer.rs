//! Owns the table of servers in `peers/`: their programs and protocols. Never starts one.

use std::path::{Path, PathBuf};

use crate::dialect::raw::Templates;

/// A server of `peers/`.
#[derive(Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name on the command line and in `peers/setup`.
    pub name: &'static str,
    /// Its program: a path in `peers/` if it has a slash, otherwise found in `PATH`.
    program: &'static str,
    /// Its script in `peers/`, if the program is an interpreter.
    script: Option<&'static str>,
    /// A file in `peers/` that exists after installation.
    installed: &'static str,
    /// Environment variable for the number of CPUs; `None` if it has one thread.
    pub cpus: Option<&'static str>,
    /// Whether `/echo` echoes.
    pub echo: bool,
    /// Whether it supports binary messages.
    pub binary: bool,
    target: &'static str,
    join: &'static str,
    joined: &'static str,
    publish: &'static str,
    answer: Option<(&'static str, &'static str)>,
    lines: bool,
}

/// The default: the room in the path, and messages published unchanged.
const PLAIN: Peer = Peer {
    name: "",
    program: "node",
    script: None,
    installed: "",
    cpus: None,
    echo: true,
    binary: true,
    target: "/room/{room}",
    join: "",
    joined: "",
    publish: "{data}",
    answer: None,
    lines: false,
};

/// All peers.
pub static PEERS: [Peer; 7] = [
    Peer { name: "uws", script: Some("uws.js"), installed: "node_modules/uwebsockets", ..PLAIN },
    Peer {
        name: "bun",
        program: "node_modules/@oven/bun-linux-x64/bin/bun",
        script: Some("bun.js"),
        installed: "node_modules/@oven/bun-linux-x64/bin/bun",
        ..PLAIN
    },
    Peer { name: "ws", script: Some("ws.js"), installed: "node_modules/ws", ..PLAIN },
    Peer {
        name: "socketio",
        script: Some("socketio.js"),
        installed: "node_modules/socket.io",
        echo: false,
        // It sends binary data as a text message with an attachment.
        binary: false,
        target: "/socket.io/?EIO=4&transport=websocket",
        join: r#"40{"room":"{room}"}"#,
        joined: r#"40{"sid""#,
        publish: r#"42["m","{data}"]"#,
        answer: Some(("2", "3")),
        ..PLAIN
    },
    Peer {
        name: "gorilla",
        program: "build/gorilla/gorilla",
        installed: "build/gorilla/gorilla",
        cpus: Some("GOMAXPROCS"),
        lines: true,
        ..PLAIN
    },
    Peer {
        name: "nchan",
        program: "nchan/start",
        installed: "build/nchan/usr/sbin/nginx",
        cpus: Some("WORKERS"),
        echo: false,
        ..PLAIN
    },
    Peer {
        name: "tungstenite",
        program: "build/tungstenite/release/tungstenite-peer",
        installed: "build/tungstenite/release/tungstenite-peer",
        cpus: Some("TOKIO_WORKER_THREADS"),
        ..PLAIN
    },
];

/// The folder of the peers.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

impl Peer {
    /// Finds a peer by name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Peer> {
        PEERS.iter().find(|peer| peer.name == name)
    }

    /// Its program and arguments.
    ///
    /// # Errors
    /// It is not installed.
    pub fn command(&self) -> anyhow::Result<(PathBuf, Vec<String>)> {
        let folder = folder();
        anyhow::ensure!(
            folder.join(self.installed).exists(),
            "{} is not installed: run `{} {}`",
            self.name,
            folder.join("setup").display(),
            self.name
        );
        let program = if self.program.contains('/') { folder.join(self.program) } else { self.program.into() };
        Ok((program, self.script.iter().map(|script| folder.join(script).display().to_string()).collect()))
    }

    /// The protocol of its clients.
    #[must_use]
    pub fn templates(&self, binary: bool) -> Templates {
        Templates {
            target: self.target.into(),
            join: self.join.into(),
            joined: self.joined.into(),
            publish: self.publish.into(),
            binary,
            answers: self.answer.iter().map(|&(asked, answer)| (asked.into(), answer.into())).collect(),
            lines: self.lines,
            hint: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_and_the_folder_agree() {
        let setup = std::fs::read_to_string(folder().join("setup")).expect("peers/setup");
        for (index, peer) in PEERS.iter().enumerate() {
            assert_eq!(Peer::named(peer.name), Some(&PEERS[index]), "names are unique");
            assert!(setup.contains(&format!("\n    {})\n", peer.name)), "{} can be set up", peer.name);
            if let Some(script) = peer.script {
                assert!(folder().join(script).is_file(), "{script}");
            }
        }
    }

    #[test]
    fn a_missing_peer_names_its_setup() {
        let missing = Peer { name: "ws", installed: "node_modules/no-such-package", ..PLAIN };
        let error = missing.command().expect_err("not installed").to_string();
        assert!(error.contains("peers/setup ws"), "{error}");
    }

    #[test]
    fn the_protocol_of_socket_io_is_known() {
        use crate::dialect::Said;
        let templates = Peer::named("socketio").expect("in the table").templates(false);
        assert_eq!(templates.request_target("/", "a", "u"), "/socket.io/?EIO=4&transport=websocket");
        assert_eq!(templates.parse(br#"0{"sid":"x40","pingInterval":25000}"#), Said::Other);
        assert!(matches!(templates.parse(br#"40{"sid":"y"}"#), Said::Joined { .. }));
        assert_eq!(templates.parse(b"2"), Said::Asked { answer: b"3".to_vec() });
    }
}
