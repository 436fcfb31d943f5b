//! HTTP/1.1 on the control address. Every wait and every buffer has a bound, so that no client of it can hold the
//! service thread's memory or keep others out for long.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Connections at a time; more wait in the listening socket.
const CONNECTIONS_MAX: usize = 256;

/// Bytes of a request head.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// A request head must be complete, and a kept connection used again, within this.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection is asked to end after this, so that a client that reads nothing does not keep its place.
const LIFETIME: Duration = Duration::from_secs(300);

/// An answer under way at the end of [`LIFETIME`] may take so much longer.
const LAST_ANSWER: Duration = Duration::from_secs(5);

/// After a failed accept (no descriptors left), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until the future is dropped, which ends its connections too.
pub async fn serve(listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                connections.spawn(async move {
                    serve_connection(stream, router).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept on the control address");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, router: Router) {
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        // A client may end its stream right behind its request.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // How a client's connection ended is the client's business.
    let ended = timeout(LIFETIME, connection.as_mut()).await.is_ok();
    if !ended {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(LAST_ANSWER, connection).await;
    }
}
