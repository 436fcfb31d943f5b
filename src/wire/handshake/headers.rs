//! Finds header fields of a request head by name. Never interprets a field.

use super::refusal::HttpRefusal;

/// The fields of one head, in order.
#[derive(Clone, Copy)]
pub(super) struct Headers<'a>(pub(super) &'a [httparse::Header<'a>]);

impl<'a> Headers<'a> {
    /// Values of every field of that name, trimmed.
    pub(super) fn all(self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value.trim_ascii())
    }

    /// The value of a field that may occur once.
    ///
    /// # Errors
    /// 400 if the field occurs more than once, or is not UTF-8.
    pub(super) fn single(self, name: &'static str) -> Result<Option<&'a str>, HttpRefusal> {
        let mut values = self.all(name);
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(HttpRefusal::bad_request(format!("header {name} is given twice")));
        }
        let text =
            std::str::from_utf8(value).map_err(|_| HttpRefusal::bad_request(format!("header {name} is not UTF-8")));
        text.map(Some)
    }

    /// Elements of a comma-separated list that may be spread over several fields. Values that are not UTF-8 are skipped.
    pub(super) fn tokens(self, name: &'static str) -> impl Iterator<Item = &'a str> {
        self.all(name)
            .filter_map(|value| std::str::from_utf8(value).ok())
            .flat_map(|value| value.split(','))
            .map(str::trim_ascii)
            .filter(|token| !token.is_empty())
    }

    /// The token of an `Authorization: Bearer` header. Other schemes are ignored: they may be meant for a proxy.
    pub(super) fn bearer(self) -> Option<&'a str> {
        self.all("authorization").find_map(|value| {
            let (scheme, token) = std::str::from_utf8(value).ok()?.split_once(' ')?;
            let token = token.trim_ascii();
            (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
        })
    }

    /// Whether a list contains `token`, ignoring case.
    pub(super) fn has_token(self, name: &'static str, token: &str) -> bool {
        self.tokens(name).any(|element| element.eq_ignore_ascii_case(token))
    }
}
