//! One run, against a server that is started for it or one that the options name.

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

/// One run.
pub struct SingleRun {
    /// What the clients do.
    pub options: Options,
    /// How a server is to be started for them.
    pub conditions: Conditions,
    /// Standard error shows how it goes.
    pub shows_progress: bool,
}

impl SingleRun {
    /// Does it, against the server that `server` starts, or the one that the options name.
    ///
    /// # Errors
    /// The options do not fit the server, or the server cannot be started or reached.
    pub fn start(self, server: Option<&Spec>, stop: &Arc<AtomicBool>) -> anyhow::Result<Outcome> {
        let SingleRun { mut options, conditions, shows_progress } = self;
        options.edge = options.edge.and(server.map_or_else(Edge::default, |spec| spec.edge));
        let edge = options.edge;
        ensure!(
            !edge.limits || server.is_some(),
            "--limits on is for a roomring that is started here: --server roomring"
        );
        if edge.jwt && options.secret.is_none() {
            ensure!(server.is_some(), "--jwt: a server that is not started here needs its --jwt-secret");
            options.secret = Some(edge::new_secret());
        }
        let conditions = Conditions { edge, secret: options.secret.clone(), ..conditions };
        let launched = server.map(|spec| spec.launch(&conditions)).transpose()?;
        if let (Some(launched), Some(spec)) = (&launched, server) {
            options.name.clone_from(&spec.label);
            options.targets = vec![Target::parse(&launched.url)?];
            options.dialect = launched.dialect.clone();
            options.pid = Some(launched.pid());
            options.control = launched.control;
            options.floor = (spec.kind == ServerKind::Floor).then_some(launched.address);
        }
        if let (Dialect::Raw(templates), payload::PayloadKind::Json) = (&options.dialect, options.payload) {
            let publish = &templates.publish;
            ensure!(publish == "{data}", "--payload json has quotes, and is to be sent inside of {publish:?}");
        }
        let roomring = !matches!(options.dialect, Dialect::Raw(_));
        ensure!(
            roomring || !matches!(options.scenario, Scenario::Soak(_) | Scenario::Mixed(_)),
            "this scenario needs a server that speaks Roomring's protocol"
        );
        super::execute(&options, stop, shows_progress)
    }
}
