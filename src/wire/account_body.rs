//! Reads the JSON body of a request about an account (PROTOCOL section 1, "Accounts"). Never judges a password, and never
//! repeats one in an error or a log.

use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::handshake::AccountPath;
use crate::base::ids::UserName;
use crate::base::limits::{PASSWORD_BYTES_MAX, TOKEN_NAME_BYTES_MAX};

/// A password, which is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Box<str>);

impl Password {
    /// Of 1 to [`PASSWORD_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// Completes "the password …".
    pub fn new(text: &str) -> Result<Self, String> {
        match text.len() {
            0 => Err("must not be empty".to_owned()),
            1..=PASSWORD_BYTES_MAX => Ok(Self(text.into())),
            _ => Err(format!("must be at most {PASSWORD_BYTES_MAX} bytes")),
        }
    }

    /// As it was typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Checks a new password for its least number of characters.
    ///
    /// # Errors
    /// Completes "the password …".
    pub fn check_length(&self, chars_min: u32) -> Result<(), String> {
        if self.0.chars().count() >= chars_min as usize {
            return Ok(());
        }
        Err(format!("must have at least {chars_min} characters"))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// The body of a request about an account.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of PROTOCOL section 1")]
pub enum AccountBody {
    /// A new account.
    Register { user: UserName, password: Password, name: Option<Box<str>> },
    /// A token for an account.
    Token { user: UserName, password: Password },
    /// Another password for the account of the request's token.
    Password { password: Password, new_password: Password },
}

/// The known fields as written. Errors of `serde_json` quote what they do not like, so it reads no values.
#[derive(Default, Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    user: Option<&'a RawValue>,
    #[serde(borrow, default)]
    password: Option<&'a RawValue>,
    #[serde(borrow, default)]
    new_password: Option<&'a RawValue>,
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
}

/// Reads the body of a request to this path. Unknown fields are ignored.
///
/// # Errors
/// One sentence that names the field at fault.
pub fn read_account_body(path: AccountPath, body: &[u8]) -> Result<AccountBody, String> {
    let object = "the body must be a JSON object that has each field once at most";
    let text = std::str::from_utf8(body).map_err(|_| object)?;
    // A list of values would be read as the fields in their order.
    if !text.trim_start().starts_with('{') {
        return Err(object.to_owned());
    }
    let fields: Fields<'_> = serde_json::from_str(text).map_err(|_| object)?;
    Ok(match path {
        AccountPath::Register => AccountBody::Register {
            user: user(fields.user)?,
            password: password("password", fields.password)?,
            name: name(fields.name)?,
        },
        AccountPath::Token => {
            AccountBody::Token { user: user(fields.user)?, password: password("password", fields.password)? }
        }
        AccountPath::Password => AccountBody::Password {
            password: password("password", fields.password)?,
            new_password: password("new_password", fields.new_password)?,
        },
    })
}

/// A field's text; `null` stands for a missing one.
fn text(field: &str, value: Option<&RawValue>) -> Result<Option<String>, String> {
    let Some(value) = value.map(RawValue::get).filter(|value| *value != "null") else { return Ok(None) };
    serde_json::from_str(value).map(Some).map_err(|_| format!("`{field}` must be a string"))
}

fn user(value: Option<&RawValue>) -> Result<UserName, String> {
    let user = text("user", value)?.ok_or("`user` is missing")?;
    UserName::new(&user).map_err(|error| format!("`user` {error}"))
}

fn password(field: &str, value: Option<&RawValue>) -> Result<Password, String> {
    let password = text(field, value)?.ok_or_else(|| format!("`{field}` is missing"))?;
    Password::new(&password).map_err(|wrong| format!("`{field}` {wrong}"))
}

fn name(value: Option<&RawValue>) -> Result<Option<Box<str>>, String> {
    let name = text("name", value)?;
    name.map(|name| check_shown_name(&name).map(|()| name.into()).map_err(|wrong| format!("`name` {wrong}")))
        .transpose()
}

/// Checks a shown name: the rule of a token's claim `name`.
///
/// # Errors
/// Completes "the name …".
pub fn check_shown_name(name: &str) -> Result<(), String> {
    if name.len() > TOKEN_NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(format!("must be at most {TOKEN_NAME_BYTES_MAX} bytes without control characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: AccountPath, body: &str) -> Result<AccountBody, String> {
        read_account_body(path, body.as_bytes())
    }

    #[test]
    fn each_path_has_its_fields() {
        let (ann, word) = (UserName::new("ann").expect("valid"), |text| Password::new(text).expect("valid"));
        let body = r#" {"user":"ann","password":"p\u0061ss","name":"Ann","more":[1]}"#;
        let (user, password) = (ann.clone(), word("pass"));
        let expected = AccountBody::Register { user, password, name: Some("Ann".into()) };
        assert_eq!(read(AccountPath::Register, body), Ok(expected));
        let expected = AccountBody::Token { user: ann.clone(), password: word("pass") };
        assert_eq!(read(AccountPath::Token, body), Ok(expected));
        let (user, password) = (ann, word("p"));
        let expected = AccountBody::Register { user, password, name: None };
        assert_eq!(read(AccountPath::Register, r#"{"password":"p","user":"ann","name":null}"#), Ok(expected));
        let expected = AccountBody::Password { password: word("old"), new_password: word("new") };
        assert_eq!(read(AccountPath::Password, r#"{"password":"old","new_password":"new"}"#), Ok(expected));
    }

    #[test]
    fn errors_name_the_field_and_never_a_password() {
        for (path, body, named) in [
            (AccountPath::Register, r#"{"password":"hunter2"}"#, "`user` is missing"),
            (AccountPath::Register, r#"{"user":"","password":"hunter2"}"#, "`user` must not be empty"),
            (AccountPath::Register, r#"{"user":7,"password":"hunter2"}"#, "`user` must be a string"),
            (AccountPath::Token, r#"{"user":"ann"}"#, "`password` is missing"),
            (AccountPath::Token, r#"{"user":"ann","password":["hunter2"]}"#, "`password` must be a string"),
            (AccountPath::Token, r#"{"user":"ann","password":""}"#, "`password` must not be empty"),
            (AccountPath::Token, r#"{"user":"ann","password":"hunter2","password":"hunter2"}"#, "each field once"),
            (AccountPath::Token, r#"{"user":"ann","password":"hunter2\"#, "a JSON object"),
            (AccountPath::Token, r#"["ann","hunter2"]"#, "a JSON object"),
            (AccountPath::Token, "", "a JSON object"),
            (AccountPath::Password, r#"{"password":"hunter2"}"#, "`new_password` is missing"),
            (AccountPath::Password, r#"{"password":"hunter2","new_password":true}"#, "`new_password` must be a string"),
            (AccountPath::Register, r#"{"user":"a","password":"hunter2","name":"a\nb"}"#, "`name` must be at most"),
        ] {
            let sentence = read(path, body).expect_err(named);
            assert!(sentence.contains(named) && !sentence.contains("hunter2"), "{sentence}");
        }
        let long = format!(r#"{{"user":"ann","password":"{}"}}"#, "x".repeat(PASSWORD_BYTES_MAX + 1));
        let sentence = read(AccountPath::Token, &long).expect_err("too long");
        assert_eq!(sentence, format!("`password` must be at most {PASSWORD_BYTES_MAX} bytes"));
    }

    #[test]
    fn passwords_count_characters_and_are_not_shown() {
        let password = Password::new("pässwört").expect("valid");
        assert_eq!((password.check_length(8), password.check_length(9).is_err()), (Ok(()), true));
        assert_eq!(format!("{password:?}"), "Password(…)");
    }
}
