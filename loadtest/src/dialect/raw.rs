//! Owns the raw dialect for any server: join and publish are templates, and a message with a stamp is a publication.
//! Never knows a protocol.

use anyhow::Context as _;
use roomring::wire::frame::Opcode;
use serde::{Deserialize, Serialize};

use super::said::{Said, StampedDelivery};
use crate::payload::{Payload, Stamp};

/// Templates with the placeholders `{room}`, `{user}` and `{data}` (the stamped payload).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Templates {
    /// Appended to the URL's path.
    pub target: String,
    /// Join message; empty if a connection is a member at once.
    pub join: String,
    /// Text in the reply to a join; empty if there is no reply.
    pub joined: String,
    /// Publish message.
    pub publish: String,
    /// Uses binary frames instead of text.
    pub binary: bool,
    /// Messages and their answers, for heartbeats of the server.
    #[serde(default)]
    pub answers: Vec<(String, String)>,
    /// Each line of a server message is a message.
    #[serde(default)]
    pub lines: bool,
    /// Position of the last stamp.
    #[serde(default)]
    pub hint: usize,
}

impl Default for Templates {
    /// The protocol of the servers in `peers/`: the room in the path, and messages published unchanged.
    fn default() -> Self {
        Templates {
            target: "/room/{room}".into(),
            join: String::new(),
            joined: String::new(),
            publish: "{data}".into(),
            binary: false,
            answers: Vec::new(),
            lines: false,
            hint: 0,
        }
    }
}

impl Templates {
    /// The opcode of commands.
    #[must_use]
    pub fn opcode(&self) -> Opcode {
        if self.binary { Opcode::Binary } else { Opcode::Text }
    }

    /// The request target: the URL's path, then the template.
    #[must_use]
    pub fn request_target(&self, path: &str, room: &str, user: &str) -> String {
        let added = self.target.replace("{room}", room).replace("{user}", user);
        if path == "/" && added.starts_with('/') { added } else { format!("{path}{added}") }
    }

    /// Whether a join has a reply.
    #[must_use]
    pub fn joins_by_message(&self) -> bool {
        !self.join.is_empty() && !self.joined.is_empty()
    }

    /// Writes a join, if joining needs a message.
    pub fn write_join(&self, room: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(self.join.replace("{room}", room).as_bytes());
    }

    /// Writes a publish.
    pub fn write_publish(&self, room: &str, stamp: Stamp, payload: Payload, out: &mut Vec<u8>) {
        let (before, after) = self.publish.split_once("{data}").unwrap_or((&self.publish, ""));
        out.extend_from_slice(before.replace("{room}", room).as_bytes());
        payload.write(stamp, out);
        out.extend_from_slice(after.replace("{room}", room).as_bytes());
    }

    /// Parses a publication.
    pub fn delivery(&mut self, message: &[u8]) -> Option<StampedDelivery> {
        Stamp::find(message, &mut self.hint).map(|stamp| StampedDelivery { seq: None, stamp: Some(stamp) })
    }

    /// Parses any message.
    #[must_use]
    pub fn parse(&self, message: &[u8]) -> Said {
        if self.joins_by_message() && memchr::memmem::find(message, self.joined.as_bytes()).is_some() {
            let (room, epoch) = (String::new(), String::new());
            return Said::Joined { room, epoch, seq: 0, recovered: false, messages: Vec::new(), following: 0 };
        }
        let answer = self.answers.iter().find(|(asked, _)| asked.as_bytes() == message);
        answer.map_or(Said::Other, |(_, answer)| Said::Asked { answer: answer.clone().into_bytes() })
    }
}

/// Parses a rule `MESSAGE=ANSWER`, split at the first `=`.
///
/// # Errors
/// The text has no `=`, or no message before it.
pub fn answer_rule(text: &str) -> anyhow::Result<(String, String)> {
    let (asked, answer) = text.split_once('=').context("expected MESSAGE=ANSWER, such as 2=3")?;
    anyhow::ensure!(!asked.is_empty(), "expected a message before the =");
    Ok((asked.to_owned(), answer.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::PayloadKind;

    #[test]
    fn templates_are_filled() {
        let templates = Templates {
            join: r#"["sub","{room}"]"#.into(),
            joined: "subscribed".into(),
            publish: r#"["pub","{room}","{data}"]"#.into(),
            ..Templates::default()
        };
        assert_eq!(templates.request_target("/", "a", "u"), "/room/a");
        assert_eq!(templates.request_target("/base", "a", "u"), "/base/room/a");
        let mut out = Vec::new();
        let payload = Payload { bytes: 24, kind: PayloadKind::Dots, seed: 0 };
        templates.write_publish("a", Stamp { number: 2, room: 5 }, payload, &mut out);
        assert!(out.starts_with(br#"["pub","a","~rr1"#) && out.ends_with(br#""]"#));
        let mut reader = templates.clone();
        let delivery = reader.delivery(&out).expect("stamped");
        assert_eq!(delivery, StampedDelivery { seq: None, stamp: Some(Stamp { number: 2, room: 5 }) });
        assert!(matches!(templates.parse(br#"{"ok":"subscribed"}"#), Said::Joined { .. }));
        assert_eq!(templates.parse(b"hello"), Said::Other);
    }

    #[test]
    fn a_heartbeat_is_answered_by_its_rule() {
        let rules = ["2=3", "{}={\"a\":\"=\"}"].map(|text| answer_rule(text).expect("a rule"));
        let templates = Templates { answers: rules.to_vec(), ..Templates::default() };
        assert_eq!(templates.parse(b"2"), Said::Asked { answer: b"3".to_vec() });
        assert_eq!(templates.parse(b"{}"), Said::Asked { answer: br#"{"a":"="}"#.to_vec() });
        // Only whole messages match, not publications that contain the text.
        assert_eq!(templates.parse(b"42"), Said::Other);
        assert!(answer_rule("ping").is_err() && answer_rule("=pong").is_err());
    }

    #[test]
    fn a_join_may_hold_several_commands() {
        let templates = Templates {
            join: "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"{room}\"}}".into(),
            joined: r#""id":2,"subscribe""#.into(),
            ..Templates::default()
        };
        let mut out = Vec::new();
        templates.write_join("a", &mut out);
        let lines: Vec<serde_json::Value> =
            out.split(|byte| *byte == b'\n').map(|line| serde_json::from_slice(line).expect("JSON")).collect();
        assert_eq!(lines[0]["connect"], serde_json::json!({}));
        assert_eq!(lines[1]["subscribe"]["channel"], "a");
        assert_eq!(templates.parse(br#"{"id":1,"connect":{"client":"x"}}"#), Said::Other);
        assert!(matches!(templates.parse(br#"{"id":2,"subscribe":{}}"#), Said::Joined { .. }));
    }
}
