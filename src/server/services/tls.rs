//! The service that replaces the TLS certificate on reload, and warns before it expires. Reads no file and makes no
//! handshake.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::service::{RunningServer, Service, Work};
use crate::control::{Metric, Observed};
use crate::io::clock;
use crate::io::core::CoreHandle;
use crate::io::services::Control;
use crate::server::config::lower::Plan;
use crate::server::tls::TlsIdentity;

/// The log warns daily during so many days before the certificate expires.
const WARN_DAYS: u64 = 14;
const DAY_S: u64 = 86_400;

/// Owns the TLS identity in use.
pub struct TlsService {
    current: Arc<TlsIdentity>,
    cores: Arc<[CoreHandle]>,
    expiry: Arc<TlsExpiry>,
}

/// When the certificate in use expires, Unix seconds.
struct TlsExpiry(AtomicU64);

impl Observed for TlsExpiry {
    fn metrics(&self) -> Vec<Metric> {
        let help = "Expiry of the TLS certificate in use, in Unix seconds.";
        let expires_s = Some(self.0.load(Ordering::Relaxed)).filter(|expires_s| *expires_s > 0);
        vec![Metric::gauge("roomring_tls_certificate_expiry_timestamp_seconds", help, expires_s)]
    }
}

impl TlsService {
    /// With the identity that the cores start with.
    pub fn prepare(current: Arc<TlsIdentity>) -> Self {
        let expiry = Arc::new(TlsExpiry(AtomicU64::new(current.validity().ends_s)));
        Self { current, cores: Arc::new([]), expiry }
    }

    fn warn(&self) {
        let validity = self.current.validity();
        let now_s = clock::now().unix_ms / 1_000;
        if validity.begins_s > now_s {
            tracing::warn!(in_seconds = validity.begins_s - now_s, "the TLS certificate is not valid yet");
        }
        warn_of_expiry(validity.ends_s, now_s);
    }
}

impl Service for TlsService {
    fn name(&self) -> &'static str {
        "tls"
    }

    fn observed(&self) -> Option<Arc<dyn Observed>> {
        Some(self.expiry.clone())
    }

    fn start<'a>(&'a mut self, server: &'a RunningServer) -> Work<'a> {
        self.cores = server.cores.clone();
        self.warn();
        tokio::spawn(watch_expiry(self.expiry.clone()));
        Box::pin(std::future::ready(()))
    }

    /// Replaces the identity if it differs. Open connections stay; their sessions cannot be resumed, so that every client
    /// gets to see the new certificate.
    fn reload(&mut self, plan: &Plan) {
        // Switching TLS on or off needs a restart.
        let Some(new) = plan.tls.as_ref().filter(|new| !new.is_same_as(&self.current)) else { return };
        for (core, handle) in self.cores.iter().enumerate() {
            // A core empties its channel in every turn, so only the channel of a core that hangs is full.
            if handle.try_tell(Control::Tls(new.config.clone())).is_err() {
                tracing::error!(core, "cannot send the new TLS certificate to the core; send SIGHUP again");
                return;
            }
        }
        self.current = new.clone();
        tracing::info!(certificates = new.certificates(), "TLS certificate replaced; new handshakes use it");
        self.expiry.0.store(new.validity().ends_s, Ordering::Relaxed);
        self.warn();
    }
}

/// Warns once a day while the certificate in use is about to expire. Never returns.
async fn watch_expiry(expiry: Arc<TlsExpiry>) {
    loop {
        tokio::time::sleep(Duration::from_secs(DAY_S)).await;
        let expires_s = expiry.0.load(Ordering::Relaxed);
        if expires_s > 0 {
            warn_of_expiry(expires_s, clock::now().unix_ms / 1_000);
        }
    }
}

fn warn_of_expiry(expires_s: u64, now_s: u64) {
    if expires_s <= now_s {
        tracing::warn!(
            days_ago = (now_s - expires_s) / DAY_S,
            "the TLS certificate has expired; clients will refuse it"
        );
    } else if expires_s - now_s < WARN_DAYS * DAY_S {
        tracing::warn!(days_left = (expires_s - now_s) / DAY_S, "the TLS certificate expires soon");
    }
}
