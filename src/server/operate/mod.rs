//! The operator's commands: one request to a running server's HTTP API each, and its answer on standard output. Changes
//! nothing by itself.

pub mod command;
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

/// The server is to be reached within this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The server answers within this, or never.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// ControlArgs it speaks.
    pub how: ControlArgs,
    /// What it asks.
    pub ask: OperatorCommand,
}

/// Why a command did not do what it should: one sentence.
#[derive(Debug, PartialEq, Eq)]
pub enum OperateError {
    /// It could not be asked so.
    Usage(String),
    /// The server did not do it, or is not there.
    Running(String),
}

/// Asks the server. What is to be printed.
///
/// # Errors
/// Why it was not done.
pub fn run(operation: &Operation, config: &Config) -> Result<String, OperateError> {
    let base = base_url(operation.how.control.as_deref(), config).map_err(OperateError::Usage)?;
    let key = config.get("control", "api_key").text();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| OperateError::Running(format!("the request cannot be made: {error}")))?;
    let text = runtime.block_on(ask(&base, key, operation.ask.request()))?;
    if operation.how.json {
        return Ok(text);
    }
    let answer = table::read(&operation.ask, &text).map_err(|_| strange(&base))?;
    Ok(table::render(&operation.ask, &answer))
}

fn strange(base: &Url) -> OperateError {
    OperateError::Running(format!("what answers at {base} is not a roomring server's control address"))
}

/// Where the API is: as given, else where the server of this configuration listens.
fn base_url(given: Option<&str>, config: &Config) -> Result<Url, String> {
    let Some(given) = given else {
        let listen = config.get("control", "listen").addresses()[0];
        if listen.port() == 0 {
            return Err("control.listen has port 0; name the server's control address with --control".into());
        }
        return Url::parse(&format!("http://{}/", reachable(listen))).map_err(|error| error.to_string());
    };
    let text = if given.contains("://") { given.to_owned() } else { format!("http://{given}") };
    let wrong = || format!("--control: {given:?} is no address; it must be such as 127.0.0.1:8081 or https://host/");
    let url = Url::parse(&text).map_err(|_| wrong())?;
    let is_http = matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none();
    if is_http { Ok(url) } else { Err(wrong()) }
}

/// A server that listens on every address is asked on this host's own.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen {
        SocketAddr::V4(address) if address.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        SocketAddr::V6(address) if address.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        other => other,
    }
}

async fn ask(base: &Url, key: &str, asked: ApiRequest) -> Result<String, OperateError> {
    // The key goes to the server that was named, and nowhere else.
    let client =
        Client::builder().no_proxy().redirect(Policy::none()).connect_timeout(CONNECT_TIMEOUT).timeout(ANSWER_TIMEOUT);
    // A plain connection needs none of the host's certificates, which a small container may not have.
    let client = if base.scheme() == "http" { client.tls_certs_only([]) } else { client };
    let client = client
        .build()
        .map_err(|error| OperateError::Running(format!("the request cannot be made: {}", cause(&error))))?;
    let mut url = base.clone();
    url.path_segments_mut().map_err(|()| strange(base))?.pop_if_empty().push("api").extend(&asked.path);
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
        let why = if error.is_timeout() { "it does not answer in time".into() } else { cause(&error) };
        OperateError::Running(format!("no server can be asked at {base}: {why}; see control.listen and --control"))
    };
    read(base, request.send().await.map_err(unreachable)?).await
}

async fn read(base: &Url, response: Response) -> Result<String, OperateError> {
    let status = response.status();
    let text = response.text().await.map_err(|_| strange(base))?;
    if status.is_success() {
        return Ok(text);
    }
    let body: Value = serde_json::from_str(&text).map_err(|_| strange(base))?;
    let (Some(error), Some(message)) = (body["error"].as_str(), body["message"].as_str()) else {
        return Err(strange(base));
    };
    let sentence = table::plain(&format!("the server at {base} refuses with {} {error}: {message}", status.as_u16()));
    Err(if status.as_u16() == 400 { OperateError::Usage(sentence) } else { OperateError::Running(sentence) })
}

/// The innermost reason: what the system said.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
