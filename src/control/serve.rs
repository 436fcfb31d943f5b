//! HTTP/1.1 on the control address. Every wait and every buffer has a bound, and the slowest client is closed for the next,
//! so that no client can hold the service thread's memory or keep others out. Knows no route.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep, timeout};

use super::connection_limit::{ConnectionLimit, Permit};
use crate::base::log_gate::LogGate;
use crate::io::clock;

/// Connections at a time; over it the one that has kept the server waiting longest is closed.
const CONNECTIONS_MAX: usize = 256;

/// Bytes of a request head.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// A request head must arrive, and a kept-alive connection be used again, within this time.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection is shut down after this time, so that a client that reads nothing does not stay.
const LIFETIME: Duration = Duration::from_secs(300);

/// A response in flight at the end of [`LIFETIME`] may take this much longer.
const LAST_RESPONSE: Duration = Duration::from_secs(5);

/// The pause after a failed accept when no connection can be closed for it; it doubles up to [`ACCEPT_PAUSE_MAX`].
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause.
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Serves until the future is dropped, which closes its connections too.
pub async fn serve(listener: TcpListener, router: Router) {
    let limit = ConnectionLimit::new(CONNECTIONS_MAX);
    let mut connections = JoinSet::new();
    let mut failures = Failures::default();
    loop {
        let accepted = listener.accept().await;
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                failures.pause = None;
                let permit = limit.admit(clock::now().mono_ms());
                let task = connections.spawn(serve_connection(stream, router.clone(), permit.clone()));
                permit.served_by(task);
            }
            Err(error) => {
                failures.tell(&error);
                let lacks_memory =
                    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM));
                // A slow client holds a descriptor that the next one needs.
                if lacks_memory && limit.close_slowest(clock::now().mono_ms()) {
                    // The task of the connection closes it.
                    yield_now().await;
                } else {
                    sleep(failures.next_pause()).await;
                }
            }
        }
    }
}

/// Consecutive failures of accept.
#[derive(Default)]
struct Failures {
    /// The last pause.
    pause: Option<Duration>,
    gate: LogGate<Option<i32>>,
}

impl Failures {
    fn next_pause(&mut self) -> Duration {
        let pause = self.pause.map_or(ACCEPT_PAUSE, |last| (last * 2).min(ACCEPT_PAUSE_MAX));
        self.pause = Some(pause);
        pause
    }

    /// Logs each kind of error once a minute.
    fn tell(&mut self, error: &std::io::Error) {
        if let Some(held_back) = self.gate.admit(clock::now().mono_ms(), error.raw_os_error(), "accept") {
            tracing::warn!(%error, held_back, "cannot accept on the control address");
        }
    }
}

async fn serve_connection(stream: TcpStream, router: Router, permit: Permit) {
    let service = Tracked { service: TowerToHyperService::new(router), permit };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        // A client may shut down its stream right after its request.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // How a connection ended does not matter.
    let ended = timeout(LIFETIME, connection.as_mut()).await.is_ok();
    if !ended {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(LAST_RESPONSE, connection).await;
    }
}

/// Marks in a connection's permit when a request is in flight, and when the server waits for the client.
struct Tracked {
    service: TowerToHyperService<Router>,
    permit: Permit,
}

type Responding<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Service<Request<Incoming>> for Tracked {
    type Response = axum::response::Response;
    type Error = std::convert::Infallible;
    type Future = Responding<Result<Self::Response, Self::Error>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let in_flight = self.permit.begin_request(clock::now().mono_ms());
        let answer = self.service.call(request);
        Box::pin(async move {
            let answer = answer.await;
            drop(in_flight);
            answer
        })
    }
}
