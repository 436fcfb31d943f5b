//! The operator commands: each makes one request to the HTTP API of a running server and prints the response. Never
//! touches a server in another way.

pub mod command;
mod password;
mod table;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use serde_json::Value;

use self::command::{ApiRequest, ControlArgs, OperatorCommand};
use super::config::Config;
use crate::control::KEY_FIELD;

/// Time limit for connecting to the server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Time limit for the whole request; the server takes less.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// One operator command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteCommand {
    /// Where to send it, and how to print the response.
    pub how: ControlArgs,
    /// The command itself.
    pub ask: OperatorCommand,
}

/// Why a command failed: one sentence.
#[derive(Debug, PartialEq, Eq)]
pub enum OperateError {
    /// The command is invalid.
    Usage(String),
    /// The server refused it or cannot be reached.
    Running(String),
}

/// Sends the command to the server. Returns the text to print.
///
/// # Errors
/// Why the command failed.
pub fn run(operation: &RemoteCommand, config: &Config) -> Result<String, OperateError> {
    let base = base_url(operation.how.control.as_deref(), config).map_err(OperateError::Usage)?;
    let key = config.get("control", "api_key").text();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| OperateError::Running(format!("cannot make the request: {error}")))?;
    let mut request = operation.ask.request();
    let given = operation.ask.needs_password_of().map(password::read).transpose().map_err(OperateError::Running)?;
    if let Some(given) = &given {
        request.add_password(&given.password);
    }
    let text = runtime.block_on(send(&base, key, request))?;
    let made = given.filter(|given| given.is_generated).map(|given| given.password);
    if operation.how.json {
        return match made {
            None => Ok(text),
            Some(password) => with_password(&text, &password).ok_or_else(|| not_roomring(&base)),
        };
    }
    let answer = table::read(&operation.ask, &text).map_err(|_| not_roomring(&base))?;
    let done = table::render(&operation.ask, &answer);
    Ok(made.map_or_else(|| done.clone(), |password| format!("{done}\npassword: {password}")))
}

/// The server's response as JSON, with a password that was generated here: the server shows none.
fn with_password(text: &str, password: &str) -> Option<String> {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(text) else { return None };
    fields.insert("password".to_owned(), Value::from(password));
    Some(Value::Object(fields).to_string())
}

fn not_roomring(base: &Url) -> OperateError {
    OperateError::Running(format!("{base} is not the control address of a roomring server"))
}

/// The URL of the control address: as given, or from the configuration.
fn base_url(given: Option<&str>, config: &Config) -> Result<Url, String> {
    let Some(given) = given else {
        let listen = config.get("control", "listen").addresses()[0];
        if listen.port() == 0 {
            return Err("control.listen has port 0; give the server's control address with --control".into());
        }
        return Url::parse(&format!("http://{}/", reachable(listen))).map_err(|error| error.to_string());
    };
    let text = if given.contains("://") { given.to_owned() } else { format!("http://{given}") };
    let invalid = || format!("--control: expected an address such as 127.0.0.1:8081 or https://host/; got {given:?}");
    let url = Url::parse(&text).map_err(|_| invalid())?;
    let is_http = matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none();
    if is_http { Ok(url) } else { Err(invalid()) }
}

/// A server that listens on every address is reached over loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen {
        SocketAddr::V4(address) if address.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        SocketAddr::V6(address) if address.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        other => other,
    }
}

async fn send(base: &Url, key: &str, asked: ApiRequest) -> Result<String, OperateError> {
    // The API key must go to this server only: no proxy, no redirect.
    let client = Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(RESPONSE_TIMEOUT);
    // Plain http needs no certificates of the host, which a small container may lack.
    let client = if base.scheme() == "http" { client.tls_certs_only([]) } else { client };
    let client =
        client.build().map_err(|error| OperateError::Running(format!("cannot make the request: {}", cause(&error))))?;
    let mut url = base.clone();
    url.path_segments_mut().map_err(|()| not_roomring(base))?.pop_if_empty().push("api").extend(&asked.path);
    if !asked.query.is_empty() {
        url.query_pairs_mut().extend_pairs(&asked.query);
    }
    let mut request = client.request(asked.method, url);
    if !key.is_empty() {
        request = request.header(KEY_FIELD, key);
    }
    if let Some(body) = asked.body {
        request = request.header(CONTENT_TYPE, "application/json").body(body);
    }
    let unreachable = |error: reqwest::Error| {
        let why = if error.is_timeout() { "no response in time".into() } else { cause(&error) };
        OperateError::Running(format!("cannot reach a server at {base}: {why}; check control.listen or --control"))
    };
    read(base, request.send().await.map_err(unreachable)?).await
}

async fn read(base: &Url, response: Response) -> Result<String, OperateError> {
    let status = response.status();
    let text = response.text().await.map_err(|_| not_roomring(base))?;
    if status.is_success() {
        return Ok(text);
    }
    let body: Value = serde_json::from_str(&text).map_err(|_| not_roomring(base))?;
    let (Some(error), Some(message)) = (body["error"].as_str(), body["message"].as_str()) else {
        return Err(not_roomring(base));
    };
    let sentence = table::plain(&format!("the server at {base} responded {} {error}: {message}", status.as_u16()));
    Err(if status.as_u16() == 400 { OperateError::Usage(sentence) } else { OperateError::Running(sentence) })
}

/// The innermost cause: the system's error.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
