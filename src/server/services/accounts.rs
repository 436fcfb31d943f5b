//! The service of accounts. The work is done in [`crate::server::accounts`].

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::service::{RunningServer, Service, Work};
use crate::control::{ManageAccounts, Observed};
use crate::engine::access::{Keys, Material, Renewal};
use crate::io::core::CoreHandle;
use crate::io::service_lane::service_lanes;
use crate::server::accounts::{AccountLanes, AccountSettings, Accounts};
use crate::server::auth::send_keys;
use crate::server::config::lower::Plan;
use crate::server::cores::CoreParts;
use crate::store::keeper_thread::StoreHandle;

/// How long the start waits for the key that signs tokens: until it has come, the server is not ready, and upgrades get 503.
const KEY_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers the cores' requests about accounts.
pub struct AccountService {
    accounts: Accounts,
    /// Taken when it starts to answer.
    lanes: Option<AccountLanes>,
    cores: Arc<[CoreHandle]>,
}

impl AccountService {
    /// Starts the thread that hashes passwords.
    ///
    /// # Errors
    /// The operating system gives no thread or no random numbers.
    pub fn prepare(settings: AccountSettings, store: StoreHandle) -> anyhow::Result<Self> {
        let accounts = Accounts::start(settings, store)
            .map_err(|error| anyhow::anyhow!("cannot start the thread that hashes passwords: {error:#}"))?;
        Ok(Self { accounts, lanes: None, cores: Arc::new([]) })
    }

    /// What the control address manages accounts by.
    pub fn managed(&self) -> Arc<dyn ManageAccounts> {
        Arc::new(self.accounts.clone())
    }
}

impl Service for AccountService {
    fn name(&self) -> &'static str {
        "accounts"
    }

    fn connect(&mut self, cores: &mut CoreParts) {
        let (lanes, ends) = service_lanes(&cores.wakes);
        self.lanes = Some(lanes);
        for (services, end) in cores.services.iter_mut().zip(ends) {
            services.accounts = Some(end);
        }
        let expected = self.accounts.settings().expected;
        cores.keys = Some(Arc::new(Keys::new(Material::new(), expected, Renewal::AwaitedSecret)));
    }

    fn observed(&self) -> Option<Arc<dyn Observed>> {
        Some(self.accounts.figures())
    }

    fn start<'a>(&'a mut self, server: &'a RunningServer) -> Work<'a> {
        self.cores = server.cores.clone();
        let lanes = self.lanes.take();
        Box::pin(async move {
            if let Some(lanes) = lanes {
                tokio::spawn(self.accounts.clone().serve(lanes));
            }
            let (accounts, cores) = (self.accounts.clone(), self.cores.clone());
            let obtaining = tokio::spawn(async move {
                accounts.obtain_key().await;
                tell_keys(&accounts, &cores).await;
            });
            // It goes on in the background if the time is over.
            let _ = timeout(KEY_TIMEOUT, obtaining).await;
        })
    }

    fn reload(&mut self, plan: &Plan) {
        let Some(settings) = &plan.accounts else { return };
        self.accounts.set_settings(settings.clone());
        let (accounts, cores) = (self.accounts.clone(), self.cores.clone());
        tokio::spawn(async move { tell_keys(&accounts, &cores).await });
    }
}

/// Tells the cores by what they verify tokens, once that is known.
async fn tell_keys(accounts: &Accounts, cores: &[CoreHandle]) {
    if let Some(keys) = accounts.keys() {
        send_keys(cores, &Arc::new(keys)).await;
    }
}
