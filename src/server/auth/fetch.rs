//! Reads a key set from a file or from an http(s) URL. Every wait and every response is bounded. Never retries: the keeper
//! does.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use super::files;
use crate::base::limits::KEY_FILE_BYTES_MAX;
use crate::engine::access::Material;
use crate::server::file;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Time limit of the whole fetch.
const FETCH_TIMEOUT: Duration = Duration::from_secs(4);

const REDIRECTS_MAX: usize = 3;

/// Whether `auth.jwks` is a URL rather than a file.
pub(super) fn is_url(key_set: &str) -> bool {
    key_set.contains("://")
}

/// Whether the key set comes from another machine over plain http.
pub(super) fn is_plain_and_remote(key_set: &str) -> bool {
    let Ok(url) = Url::parse(key_set) else { return false };
    let host = url.host_str().unwrap_or_default();
    let is_here = host == "localhost"
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    url.scheme() == "http" && !is_here
}

/// Reads the key set once.
///
/// # Errors
/// Why it failed, without the URL, which may hold a password.
pub(super) async fn fetch(key_set: &str) -> Result<Material, String> {
    if is_url(key_set) {
        let text = fetch_text(key_set).await?;
        return Material::from_key_set(&text).map_err(|error| format!("the response {error}"));
    }
    let path = key_set.to_owned();
    let read = tokio::task::spawn_blocking(move || files::read_key_set(&path)).await;
    read.unwrap_or_else(|_| Err("reading the file failed".into()))
}

async fn fetch_text(address: &str) -> Result<String, String> {
    let cannot = |error: reqwest::Error| causes(&error.without_url());
    let client = Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(FETCH_TIMEOUT)
        .redirect(Policy::limited(REDIRECTS_MAX))
        // A redirect must not lead from https to http.
        .https_only(address.starts_with("https://"))
        .user_agent(concat!("roomring/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(cannot)?;
    let mut response = client.get(address).send().await.map_err(cannot)?;
    if !response.status().is_success() {
        return Err(format!("the response has status {}", response.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(cannot)? {
        body.extend_from_slice(&chunk);
        if body.len() > KEY_FILE_BYTES_MAX {
            return Err(format!("the response is larger than {} KiB", KEY_FILE_BYTES_MAX >> 10));
        }
    }
    file::text(body).map_err(|error| format!("the response {error}"))
}

/// An error with its causes; the last one is the system's.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_safe_only_on_this_machine() {
        for (address, is_unsafe) in [
            ("http://idp.example/keys", true),
            ("http://10.0.0.1/keys", true),
            ("https://idp.example/keys", false),
            ("http://localhost:9/keys", false),
            ("http://127.0.0.1:9/keys", false),
            ("http://[::1]:9/keys", false),
            ("keys.json", false),
        ] {
            assert_eq!(is_plain_and_remote(address), is_unsafe, "{address}");
        }
    }

    #[tokio::test]
    async fn a_byte_order_mark_before_a_response_is_skipped() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let server = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.expect("somebody asks");
            let _ = socket.read(&mut [0; 1_024]).await.expect("a request");
            let body = "\u{feff}{\"keys\":[]}";
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            socket.write_all(answer.as_bytes()).await.expect("the client reads");
            socket
        });
        let error = fetch(&format!("http://{address}/keys")).await.expect_err("it has no key");
        assert!(error.starts_with("the response holds no public key"), "{error}");
        drop(server.await);
    }

    #[tokio::test]
    async fn errors_do_not_show_the_url() {
        // Port 1 of loopback: nobody listens.
        let error = fetch("http://me:hunter2@127.0.0.1:1/keys?a=hunter2").await.expect_err("nobody listens");
        assert!(!error.contains("hunter2") && !error.is_empty(), "{error}");
        let error = fetch("/no/such/keys.json").await.expect_err("no such file");
        assert!(error.contains("/no/such/keys.json"), "{error}");
    }
}
