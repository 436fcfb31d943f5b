//! Owns one run against a server: starts the server if needed, and fits the options to it. Never measures.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::ensure;

use crate::dialect::Dialect;
use crate::edge::{self, Edge};
use crate::fleet::address::Target;
use crate::payload;
use crate::plan::Scenario;
use crate::plan::options::Options;
use crate::results::outcome::Outcome;
use crate::server::launch::{Conditions, ServerKind, Spec};
use crate::store::StoreMode;

/// A run, not yet started.
pub struct SingleRun {
    /// The options of the run.
    pub options: Options,
    /// Conditions for a server that is started for the run.
    pub conditions: Conditions,
    /// Shows progress on standard error.
    pub shows_progress: bool,
}

impl SingleRun {
    /// Starts `server`, or uses the server of the options, and executes the run.
    ///
    /// # Errors
    /// The options do not fit the server, or the server cannot be started or reached.
    pub fn start(self, server: Option<&Spec>, stop: &Arc<AtomicBool>) -> anyhow::Result<Outcome> {
        let SingleRun { mut options, conditions, shows_progress } = self;
        options.edge = options.edge.and(server.map_or_else(Edge::default, |spec| spec.edge));
        let edge = options.edge;
        ensure!(!edge.limits || server.is_some(), "--limits on: expected --server roomring, which starts the server");
        if edge.jwt && options.secret.is_none() {
            ensure!(server.is_some(), "--jwt: expected --jwt-secret SECRET or --server roomring");
            options.secret = Some(edge::new_secret());
        }
        let conditions = Conditions { edge, secret: options.secret.clone(), ..conditions };
        ensure!(
            conditions.store.is_none() || server.is_some() || conditions.store == options.scenario.store(),
            "--store: expected --server roomring, which starts the server"
        );
        if let Scenario::Durable(load) = options.scenario {
            ensure!(load.kills == 0 || server.is_some(), "--kills: expected --server roomring, or --kills 0");
            let mode = server.and_then(|spec| spec.store).or(conditions.store);
            ensure!(
                load.kills == 0 || mode == Some(StoreMode::Commit),
                "--kills: expected --store commit; with another store a publish that was answered may be lost"
            );
        }
        let mut launched = server.map(|spec| spec.launch(&conditions)).transpose()?;
        if let (Some(launched), Some(spec)) = (&launched, server) {
            options.name.clone_from(&spec.label);
            options.targets = vec![Target::parse(&launched.url)?];
            options.dialect = launched.dialect.clone();
            options.pid = Some(launched.pid());
            options.control = launched.control;
            options.store.clone_from(&launched.store);
            options.floor = (spec.kind == ServerKind::Floor).then_some(launched.address);
        }
        if let (Scenario::Durable(_) | Scenario::Chat(_), Dialect::Binary) = (options.scenario, &options.dialect) {
            // Only the JSON form has their commands.
            options.dialect = Dialect::json();
        }
        if let (Dialect::Raw(templates), payload::PayloadKind::Json) = (&options.dialect, options.payload) {
            let publish = &templates.publish;
            ensure!(
                publish == "{data}",
                "--payload json: expected --raw-publish {{data}}, since JSON has quotes; got {publish:?}"
            );
        }
        let roomring = !matches!(options.dialect, Dialect::Raw(_));
        ensure!(
            roomring || !options.scenario.is_roomring_only(),
            "expected a server with Roomring's protocol for this scenario"
        );
        super::execute(&options, launched.as_mut(), stop, shows_progress)
    }
}
