//! Reads a client's `Sec-WebSocket-Extensions` (RFC 6455 section 9.1) and accepts the first acceptable offer of
//! permessage-deflate (RFC 7692 section 7.1). Never compresses.

use super::headers::Headers;
use super::lexer::{Lexer, is_token};
use super::refusal::HttpRefusal;
use crate::wire::deflate::Window;

/// An acceptable offer of permessage-deflate. Neither side will keep its context from one message to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateOffer {
    /// The window that the server compresses for.
    pub window: Window,
    /// Whether the client has asked for a window, so that the answer must name it.
    names_window: bool,
}

impl DeflateOffer {
    /// The extension in the response. It may require `client_no_context_takeover` without an offer (section 7.1.1.2).
    pub(super) fn answer(self) -> String {
        let plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        if self.names_window {
            format!("{plain}; server_max_window_bits={}", self.window.bits())
        } else {
            plain.to_owned()
        }
    }
}

/// The first acceptable offer of permessage-deflate.
///
/// # Errors
/// 400 for a list that violates the grammar of RFC 6455 section 9.1.
pub(super) fn read(headers: Headers<'_>) -> Result<Option<DeflateOffer>, HttpRefusal> {
    let malformed = || HttpRefusal::bad_request("header Sec-WebSocket-Extensions is not a list of extensions");
    let mut taken = None;
    for value in headers.all("sec-websocket-extensions") {
        let mut rest = Lexer(value);
        loop {
            rest.skip_blanks();
            if !matches!(rest.peek(), None | Some(b',')) {
                let offer = extension(&mut rest).ok_or_else(malformed)?;
                taken = taken.or(offer);
            }
            if !rest.take(b',') {
                break;
            }
        }
        if !rest.0.is_empty() {
            return Err(malformed());
        }
    }
    Ok(taken)
}

/// The parameters of one offer.
#[derive(Default)]
struct Parameters {
    server_no_context: bool,
    client_no_context: bool,
    server_bits: Option<u8>,
    client_bits: Option<u8>,
    unacceptable: bool,
}

impl Parameters {
    /// Adds a parameter. Unknown names, repeated names and invalid values make the offer unacceptable.
    fn add(&mut self, name: &[u8], value: Option<&[u8]>) {
        let is_new = match (name, value) {
            (b"server_no_context_takeover", None) => !std::mem::replace(&mut self.server_no_context, true),
            (b"client_no_context_takeover", None) => !std::mem::replace(&mut self.client_no_context, true),
            (b"server_max_window_bits", Some(value)) => {
                window_bits(value).is_some_and(|bits| self.server_bits.replace(bits).is_none())
            }
            // The server can inflate any window.
            (b"client_max_window_bits", None) => self.client_bits.replace(15).is_none(),
            (b"client_max_window_bits", Some(value)) => {
                window_bits(value).is_some_and(|bits| self.client_bits.replace(bits).is_none())
            }
            _ => false,
        };
        self.unacceptable |= !is_new;
    }

    fn offer(&self) -> Option<DeflateOffer> {
        let window = Window::within(self.server_bits.unwrap_or(15))?;
        (!self.unacceptable).then_some(DeflateOffer { window, names_window: self.server_bits.is_some() })
    }
}

/// Reads 8 … 15, without a leading zero.
fn window_bits(value: &[u8]) -> Option<u8> {
    match value {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// Reads one extension with its parameters: the outer `None` is malformed, the inner one unacceptable.
#[expect(clippy::option_option, reason = "malformed and unacceptable are different outcomes")]
fn extension(lexer: &mut Lexer<'_>) -> Option<Option<DeflateOffer>> {
    let is_deflate = lexer.token()? == b"permessage-deflate";
    let mut parameters = Parameters::default();
    while lexer.take(b';') {
        let name = lexer.token()?;
        let value = if lexer.take(b'=') { Some(lexer.token_or_quoted()?) } else { None };
        // A quoted value must be a token too (RFC 6455 section 9.1).
        if value.as_ref().is_some_and(|value| value.is_empty() || !value.iter().all(|byte| is_token(*byte))) {
            return None;
        }
        parameters.add(name, value.as_deref());
    }
    Some(parameters.offer().filter(|_| is_deflate))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(values: &[&str]) -> Result<Option<String>, u16> {
        let fields: Vec<_> = values
            .iter()
            .map(|value| httparse::Header { name: "Sec-WebSocket-Extensions", value: value.as_bytes() })
            .collect();
        read(Headers(&fields)).map(|offer| offer.map(DeflateOffer::answer)).map_err(|refusal| refusal.status)
    }

    const PLAIN: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    #[test]
    fn acceptable_offers_are_accepted() {
        for offer in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate;client_max_window_bits=8",
            "permessage-deflate ; client_max_window_bits = \"15\" ; server_no_context_takeover",
            "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
            "x-webkit-deflate-frame, permessage-deflate",
            ", ,permessage-deflate,",
        ] {
            assert_eq!(read_all(&[offer]), Ok(Some(PLAIN.to_owned())), "{offer}");
        }
        assert_eq!(read_all(&[]), Ok(None));
        assert_eq!(read_all(&[""]), Ok(None));
        assert_eq!(read_all(&["permessage-bzip2", "permessage-deflate"]), Ok(Some(PLAIN.to_owned())), "several fields");
    }

    #[test]
    fn the_window_is_the_largest_within_the_request() {
        for (asked, bits) in [("15", 15), ("\"15\"", 15), ("14", 12), ("\"1\\3\"", 12), ("12", 12)] {
            let answer = format!("{PLAIN}; server_max_window_bits={bits}");
            let offer = format!("permessage-deflate; server_max_window_bits={asked}");
            assert_eq!(read_all(&[&offer]), Ok(Some(answer)), "{offer}");
        }
    }

    #[test]
    fn unacceptable_offers_are_skipped() {
        let bad = [
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; server_max_window_bits=9",
            "permessage-deflate; server_max_window_bits=11",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=010",
            "permessage-deflate; server_max_window_bits=1x",
            "permessage-deflate; client_max_window_bits=16",
            "permessage-deflate; client_max_window_bits=09",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover=true",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
            "permessage-deflate; server_max_window_bits=12; server_max_window_bits=12",
            "permessage-deflate; unknown",
            "permessage-deflate; mu=\"\\a\"",
            "permessage-deflate; Server_No_Context_Takeover",
            "permessage-foo; server_no_context_takeover",
            "Permessage-Deflate2",
        ];
        for offer in bad {
            assert_eq!(read_all(&[offer]), Ok(None), "{offer}");
            let then_another = format!("{offer}, permessage-deflate; server_max_window_bits=12, permessage-deflate");
            let answer = format!("{PLAIN}; server_max_window_bits=12");
            assert_eq!(read_all(&[&then_another]), Ok(Some(answer.clone())), "{then_another}");
            assert_eq!(read_all(&[offer, "permessage-deflate; server_max_window_bits=12"]), Ok(Some(answer)));
        }
    }

    #[test]
    fn malformed_lists_are_refused() {
        for value in [
            "permessage-deflate;",
            "permessage-deflate; ;",
            "permessage-deflate; a=",
            "permessage-deflate; a=\"",
            "permessage-deflate; a=\"\"",
            "permessage-deflate; a=\"b c\"",
            "permessage-deflate; a=\"b\\",
            "permessage-deflate; a=b c",
            "permessage-deflate b",
            "=a",
            "\"permessage-deflate\"",
            "per@message",
            "permessage-deflate, \u{e4}",
        ] {
            assert_eq!(read_all(&[value]), Err(400), "{value}");
        }
    }
}
