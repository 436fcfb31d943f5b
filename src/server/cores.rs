//! The cores of this process as the service thread sees them: started together, told together, ended together.

use std::net::SocketAddr;
use std::sync::Arc;

use super::config::lower::Plan;
use super::life;
use crate::base::counters::CoreCounters;

pub struct Running {}

pub fn start(_plan: &Plan, _counters: &Arc<[Arc<CoreCounters>]>) -> anyhow::Result<(Running, Vec<SocketAddr>)> {
    Ok((Running {}, Vec::new()))
}

impl life::Cores for Running {
    fn drain(&self, _window_ms: u64) {}
    fn stop(&self) {}
    async fn ended(&mut self) -> Result<(), String> {
        std::future::pending().await
    }
}
