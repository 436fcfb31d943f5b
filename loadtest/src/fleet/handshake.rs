//! Owns the client's half of the opening handshake (RFC 6455 section 4.1). Never reads a socket.

use std::fmt::Write as _;

use roomring::wire::client::{DEFLATE_OFFER, deflate_agreed};

/// The key of every connection, an example of the RFC. Servers accept it, and the answer is known in advance.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Maximum length of an answer's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The request of a scenario for a new connection.
#[derive(Clone, Debug)]
pub struct OpeningRequest {
    /// Index of the target.
    pub target: usize,
    /// Path and query.
    pub path: String,
    /// Subprotocol to offer.
    pub subprotocol: Option<&'static str>,
    /// Size of the socket's receive buffer in bytes, if limited.
    pub receive_bytes: Option<usize>,
}

/// The state of the answer received so far.
#[derive(Debug, PartialEq, Eq)]
pub enum OpeningAnswer {
    /// More bytes are needed.
    Incomplete,
    /// The WebSocket is open.
    Open {
        /// Length of the head; frames follow.
        used: usize,
        /// Whether messages may be compressed.
        deflate: bool,
    },
    /// The server refused, with this reason.
    Refused(String),
}

/// Writes an upgrade request, with a token and an offer of permessage-deflate if given.
#[must_use]
pub fn request(request: &OpeningRequest, host: &str, token: Option<&str>, deflate: bool) -> String {
    let mut text = format!(
        "GET {} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n",
        request.path
    );
    if let Some(subprotocol) = request.subprotocol {
        write!(text, "Sec-WebSocket-Protocol: {subprotocol}\r\n").expect("a String takes all writes");
    }
    if let Some(token) = token {
        write!(text, "Authorization: Bearer {token}\r\n").expect("a String takes all writes");
    }
    if deflate {
        text.push_str(DEFLATE_OFFER);
    }
    text.push_str("\r\n");
    text
}

/// Parses the server's answer. `deflate` tells whether the request offered permessage-deflate.
#[must_use]
pub fn answer(received: &[u8], deflate: bool) -> OpeningAnswer {
    let Some(end) = memchr::memmem::find(received, b"\r\n\r\n") else {
        if received.len() > HEAD_BYTES_MAX {
            return OpeningAnswer::Refused("answered with an endless head".to_owned());
        }
        return OpeningAnswer::Incomplete;
    };
    let head = String::from_utf8_lossy(&received[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    let code = status.split(' ').nth(1).unwrap_or_default();
    if code != "101" {
        let body = String::from_utf8_lossy(&received[end + 4..]);
        return OpeningAnswer::Refused(format!("answered {status:?} {}", body.trim()));
    }
    let fields: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(':')).collect();
    let field =
        |wanted: &str| fields.iter().find_map(|(name, value)| name.eq_ignore_ascii_case(wanted).then(|| value.trim()));
    let accept = field("sec-websocket-accept");
    if accept != Some(ACCEPT) {
        return OpeningAnswer::Refused(format!("answered with Sec-WebSocket-Accept {accept:?}"));
    }
    let extensions = field("sec-websocket-extensions");
    if let (false, Some(extensions)) = (deflate, extensions) {
        return OpeningAnswer::Refused(format!("answered with extensions that were not offered: {extensions}"));
    }
    match deflate_agreed(extensions) {
        Ok(deflate) => OpeningAnswer::Open { used: end + 4, deflate },
        Err(error) => OpeningAnswer::Refused(format!("answered with {error}: {}", extensions.unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_parsed() {
        let good = format!("HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: {ACCEPT}\r\n\r\nframes");
        let open = |deflate| OpeningAnswer::Open { used: good.len() - 6, deflate };
        assert_eq!(answer(good.as_bytes(), false), open(false));
        assert_eq!(answer(good.as_bytes(), true), open(false), "the server may decline");
        for cut in 0..good.len() - 6 {
            assert_eq!(answer(&good.as_bytes()[..cut], true), OpeningAnswer::Incomplete);
        }
        let extended =
            |value: &str| good.replace("\r\n\r\n", &format!("\r\nsec-websocket-extensions: {value}\r\n\r\n"));
        let agreed = extended("permessage-deflate; server_no_context_takeover");
        assert!(matches!(answer(agreed.as_bytes(), true), OpeningAnswer::Open { deflate: true, .. }));
        assert!(matches!(answer(agreed.as_bytes(), false), OpeningAnswer::Refused(why) if why.contains("not offered")));
        let kept = extended("permessage-deflate");
        assert!(
            matches!(answer(kept.as_bytes(), true), OpeningAnswer::Refused(why) if why.contains("context takeover"))
        );
        let full = b"HTTP/1.1 503 Service Unavailable\r\n\r\n{\"error\":\"overloaded\"}";
        let full = answer(full, false);
        assert!(
            matches!(&full, OpeningAnswer::Refused(why) if why.contains("503") && why.contains("overloaded")),
            "{full:?}"
        );
        let wrong = answer(b"HTTP/1.1 101 x\r\nSec-WebSocket-Accept: nonsense\r\n\r\n", false);
        assert!(matches!(wrong, OpeningAnswer::Refused(_)));
        assert!(matches!(answer(&vec![b'x'; HEAD_BYTES_MAX + 1], false), OpeningAnswer::Refused(_)));
    }

    #[test]
    fn the_request_is_complete() {
        let asked = OpeningRequest {
            target: 0,
            path: "/ws?user=a".into(),
            subprotocol: Some("roomring.v1.json"),
            receive_bytes: None,
        };
        let text = request(&asked, "h:1", None, false);
        assert!(text.starts_with("GET /ws?user=a HTTP/1.1\r\nHost: h:1\r\n") && text.ends_with("json\r\n\r\n"));
        let text = request(&asked, "h:1", Some("a.b.c"), false);
        assert!(text.ends_with("json\r\nAuthorization: Bearer a.b.c\r\n\r\n"), "{text}");
        let text = request(&asked, "h:1", None, true);
        assert!(text.contains("\r\nSec-WebSocket-Extensions: permessage-deflate;") && text.ends_with("\r\n\r\n"));
    }
}
