//! The service that listens on the control address. The work is done in [`crate::control`].

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinHandle;

use super::service::{RunningServer, Service, Work};
use crate::control::{self, Api, ApiSettings, ManageAccounts, ManageDeadLetters};
use crate::server::config::check::is_loopback;
use crate::server::config::lower::Plan;
use crate::server::open_files::explain;
use crate::server::signals::Signal;

/// Serves the control address.
pub struct ControlService {
    address: SocketAddr,
    settings: ApiSettings,
    /// What accounts are managed by, where there are some.
    accounts: Option<Arc<dyn ManageAccounts>>,
    dead_letters: Option<Arc<dyn ManageDeadLetters>>,
    /// Requests to drain join the queue of signals.
    signals: Sender<Signal>,
    /// Taken when serving starts.
    listener: Option<TcpListener>,
    serving: Option<ServingApi>,
}

struct ServingApi {
    api: Arc<Api>,
    task: JoinHandle<()>,
}

impl ControlService {
    /// Listens on the control address, or takes over an inherited socket.
    ///
    /// # Errors
    /// The socket cannot be bound or used.
    pub async fn prepare(
        plan: &Plan,
        inherited: Option<std::net::TcpListener>,
        signals: Sender<Signal>,
    ) -> anyhow::Result<Self> {
        let listener = match inherited {
            Some(socket) => take_over(socket)?,
            None => bind(plan.control_listen).await?,
        };
        let address = listener.local_addr().context("cannot read the control address")?;
        let settings = plan.api.clone();
        Ok(Self {
            address,
            settings,
            accounts: None,
            dead_letters: None,
            signals,
            listener: Some(listener),
            serving: None,
        })
    }

    /// Serves the operations on accounts by this.
    pub fn manage(&mut self, accounts: Arc<dyn ManageAccounts>) {
        self.accounts = Some(accounts);
    }

    /// Serves the operations on dead letters by this.
    pub fn keep(&mut self, dead_letters: Arc<dyn ManageDeadLetters>) {
        self.dead_letters = Some(dead_letters);
    }

    /// The address listened on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Service for ControlService {
    fn name(&self) -> &'static str {
        "control"
    }

    fn start<'a>(&'a mut self, server: &'a RunningServer) -> Work<'a> {
        if let Some(listener) = self.listener.take() {
            let signals = self.signals.clone();
            let drain = move || signals.try_send(Signal::Drain).is_ok();
            let allowed_hosts = self.settings.allowed_hosts.clone().listening_on([self.address.ip()]);
            let settings = ApiSettings { allowed_hosts, ..self.settings.clone() };
            let api = Api::new(settings, server.cores.clone(), drain)
                .managing(self.accounts.clone())
                .keeping(self.dead_letters.clone());
            let api = Arc::new(api);
            let router = control::router(server.watched.clone(), api.clone());
            self.serving = Some(ServingApi { api, task: tokio::spawn(control::serve(listener, router)) });
        }
        Box::pin(std::future::ready(()))
    }

    /// Applies the key, the rate and the hosts. An address that other hosts can reach keeps its key until it gets another.
    fn reload(&mut self, plan: &Plan) {
        let Some(ServingApi { api, .. }) = &self.serving else { return };
        let ApiSettings { api_key, api_rate, allowed_hosts, .. } = plan.api.clone();
        if api_key.is_empty() && !is_loopback(&self.address) {
            let bound = self.address;
            tracing::error!(control = %bound, "keeping the previous control.api_key: without one, other hosts could use the API");
            return;
        }
        api.change(api_key, api_rate, allowed_hosts.listening_on([self.address.ip()]));
    }

    /// Stops serving, and closes all connections.
    fn finish(&mut self) -> Work<'_> {
        if let Some(ServingApi { task, .. }) = self.serving.take() {
            task.abort();
        }
        Box::pin(std::future::ready(()))
    }
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let advice = "choose another address with control.listen";
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("control.listen: {address} is in use by another process; end that process or {advice}")
        }
        _ => anyhow::anyhow!("control.listen: cannot listen on {address}: {}; {advice}", explain(&error)),
    })
}

/// Takes over a socket from the service manager.
fn take_over(socket: std::net::TcpListener) -> anyhow::Result<TcpListener> {
    let taken = socket.set_nonblocking(true).and_then(|()| TcpListener::from_std(socket));
    taken.map_err(|error| anyhow::anyhow!("LISTEN_FDS: cannot use the control socket: {}", explain(&error)))
}
