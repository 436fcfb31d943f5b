//! Owns a blocking `GET` for small answers of a server on loopback. Never a general client.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail};

/// Requests a path and returns the body.
///
/// # Errors
/// No answer within 5 s, or a status other than 200.
pub fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let (status, body) = request(address, path)?;
    if code(&status) != Some(200) {
        bail!("GET {address}{path}: {status}");
    }
    Ok(body)
}

/// Requests a path and returns the status code.
///
/// # Errors
/// No answer within 5 s.
pub fn status(address: SocketAddr, path: &str) -> anyhow::Result<u16> {
    let (status, _) = request(address, path)?;
    code(&status).with_context(|| format!("GET {address}{path}: {status}"))
}

/// The status line and the body.
fn request(address: SocketAddr, path: &str) -> anyhow::Result<(String, String)> {
    let wait = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, wait).with_context(|| format!("GET {address}{path}"))?;
    stream.set_read_timeout(Some(wait))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).with_context(|| format!("GET {address}{path}"))?;
    let answer = String::from_utf8_lossy(&answer);
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        bail!("GET {address}{path}: expected an HTTP answer")
    };
    Ok((head.lines().next().unwrap_or_default().to_owned(), body.to_owned()))
}

fn code(status: &str) -> Option<u16> {
    status.split(' ').nth(1)?.parse().ok()
}
