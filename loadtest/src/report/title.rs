//! Owns the names and titles of runs. Never shows figures.

use crate::edge::Edge;
use crate::payload::PayloadKind;
use crate::plan::options::Options;
use crate::plan::{PublishPace, Scenario};
use crate::text::{grouped, number};

/// The name of the scenario, and its description without the server's name.
#[must_use]
pub fn scenario(options: &Options) -> (String, String) {
    let Options { connections, room_size, .. } = options;
    let payload_bytes = match options.payload {
        PayloadKind::Dots => format!("{} B", options.payload_bytes),
        PayloadKind::Json => format!("{} B of JSON", options.payload_bytes),
    };
    let pace = |pace: PublishPace, each: &str| match pace {
        PublishPace::InFlight(count) => format!("{count} in flight per {each}"),
        PublishPace::Poisson { per_second } => format!("{} published/s offered (Poisson)", number(per_second)),
        PublishPace::Even { per_second } => format!("{} published/s offered (even)", number(per_second)),
    };
    let clients = format!("{} connections", grouped(u64::from(*connections)));
    let rooms = format!("{clients} in rooms of {}", grouped(u64::from(*room_size)));
    let (name, what) = match options.scenario {
        Scenario::Idle => ("idle", rooms),
        Scenario::Fanout { pace: of, stalled_per_mille } => {
            let stalled = match stalled_per_mille {
                0 => String::new(),
                share => format!(", {:.1} % of the readers stalled", f64::from(share) / 10.0),
            };
            ("fanout", format!("{rooms}, {payload_bytes}, {}{stalled}", pace(of, "room")))
        }
        Scenario::Echo { pace: of } => ("echo", format!("{clients}, {payload_bytes}, {}", pace(of, "client"))),
        Scenario::Churn => ("churn", format!("connect, join a room of {room_size}, close; {connections} at a time")),
        Scenario::Storm(storm) => {
            let (share, every) = (f64::from(storm.share_per_mille) / 10.0, storm.every_ns as f64 / 1e9);
            let hit = format!("{} % of the readers hit every {every:.1} s", number(share));
            ("storm", format!("{rooms}, {hit}, {payload_bytes}, {}", pace(storm.pace, "room")))
        }
        Scenario::Mixed(mixed) => {
            let (memberships, zipf, burst) = (mixed.memberships, mixed.zipf, mixed.burst);
            let rooms =
                format!("{} rooms (Zipf {zipf}), {memberships} each on average", grouped(u64::from(mixed.rooms)));
            let offered = number(mixed.publishes_per_second);
            ("mixed", format!("{clients} in {rooms}, {offered} published/s offered in bursts of {burst}"))
        }
        Scenario::Durable(load) => {
            let kills = match load.kills {
                1 => "1 kill".to_owned(),
                kills => format!("{kills} kills"),
            };
            ("durable", format!("{rooms}, {payload_bytes}, {}, {kills}", pace(load.pace, "room")))
        }
        Scenario::Chat(load) => {
            let (rate, away) = (number(load.messages_per_user), 1.0 / load.absences_per_user.max(1e-9));
            let people = format!("{} users", grouped(u64::from(*connections)));
            ("chat", format!("{people}, {rate} messages/s each, {payload_bytes}, away every {} s", number(away)))
        }
        Scenario::Soak(_) => ("soak", format!("{} random clients", grouped(u64::from(*connections)))),
    };
    (name.to_owned(), what)
}

/// The title of a run: server, scenario and description.
#[must_use]
pub fn title(options: &Options) -> String {
    let (name, what) = scenario(options);
    let edge = if options.edge == Edge::default() { String::new() } else { format!(", {}", options.edge.told()) };
    format!("{}  {name}: {what}{edge}", options.name)
}
