//! Correct messages pass, and a crowd finds each kind of wrong message.

use super::*;
use crate::dialect::Dialect;
use crate::fleet::address::Target;
use crate::fleet::{FleetEdge, FleetSettings};
use crate::measure::counters::Counters;
use crate::plan::Scenario;

const EPOCH: &str = "00000000000000aa";

struct CrowdStage {
    crowd: Crowd,
    fleet: Fleet,
    room: String,
}

impl CrowdStage {
    /// Three clients, two of them members of the only room; five publications in flight. Client 1 uses the binary form.
    fn new() -> Self {
        let target = Target::parse("ws://127.0.0.1:9/ws").expect("an address");
        let plan = WorkerPlan {
            targets: vec![target.clone()],
            dialect: Dialect::json(),
            scenario: Scenario::Idle,
            shard: 0,
            core: None,
            clients: 3,
            room_size: 3,
            payload_bytes: 32,
            payload: crate::payload::PayloadKind::default(),
            edge: crate::edge::Edge::default(),
            secret: None,
            sources: 1,
            connecting_max: 1,
            run: 1,
            seed: 1,
            pid: None,
        };
        let targets = vec![target];
        let settings = FleetSettings {
            targets,
            clients: 3,
            shard: 0,
            sources: 1,
            connecting_max: 1,
            seed: 1,
            edge: FleetEdge::default(),
        };
        let fleet = Fleet::new(settings).expect("epoll");
        let room = plan.room_name(0);
        let mut stage = CrowdStage { crowd: Crowd::new(plan, 1, |client| client == 1), fleet, room };
        for client in [0, 1] {
            stage.crowd.clients[client as usize].remembered.push((0, None));
            stage.crowd.opened(&mut stage.fleet, client, 0);
        }
        stage.joined(0, 0, false, &[]);
        while stage.fleet.counters.published < 5 {
            stage.crowd.publish(&mut stage.fleet, 0, 0, 24);
        }
        stage
    }

    fn data(number: u32) -> String {
        let mut data = Vec::new();
        Stamp { number, room: 0 }.write(24, &mut data);
        String::from_utf8(data).expect("ASCII")
    }

    fn say(&mut self, client: u32, message: &[u8]) {
        self.crowd.message(&mut self.fleet, client, message, 0);
    }

    /// Delivers a `joined` with messages of these seqs; publish n has seq n + 1.
    fn joined(&mut self, client: u32, head: u64, recovered: bool, seqs: &[u32]) {
        let entry = |seq: &u32| format!(r#"{{"seq":{seq},"from":"u","at":1,"data":"{}"}}"#, CrowdStage::data(seq - 1));
        let messages = seqs.iter().map(entry).collect::<Vec<_>>().join(",");
        let room = &self.room;
        let text = format!(
            r#"{{"type":"joined","id":1,"room":"{room}","epoch":"{EPOCH}","seq":{head},"recovered":{recovered},
            "messages":[{messages}],"members":1,"role":"member"}}"#
        );
        self.say(client, text.as_bytes());
    }

    fn message(&mut self, client: u32, seq: u64, number: u32) {
        let (room, data) = (self.room.clone(), CrowdStage::data(number));
        let text = format!(r#"{{"type":"message","room":"{room}","seq":{seq},"from":"u","at":1,"data":"{data}"}}"#);
        self.say(client, text.as_bytes());
    }

    fn accepted(&mut self, seq: u64) {
        let text = format!(r#"{{"type":"published","id":3,"room":"{}","seq":{seq},"epoch":"{EPOCH}"}}"#, self.room);
        self.say(0, text.as_bytes());
    }

    /// Client 0 loses its connection and reconnects.
    fn returns(&mut self) {
        self.crowd.go_away(0);
        self.crowd.opened(&mut self.fleet, 0, 0);
    }

    /// Counters: lost, duplicated, out of order, misrouted, wrong.
    fn faults(&self) -> [u64; 5] {
        let Counters { duplicated, out_of_order, misrouted, wrong, .. } = self.fleet.counters;
        [self.fleet.counters.lost(), duplicated, out_of_order, misrouted, wrong]
    }
}

#[test]
fn a_correct_history_passes() {
    let mut stage = CrowdStage::new();
    stage.message(0, 1, 0);
    stage.accepted(1);
    stage.accepted(2);
    stage.message(0, 2, 1);
    let position = ClientPosition { epoch: EPOCH.into(), seq: 2 };
    stage.crowd.go_away(0);
    assert_eq!(stage.crowd.clients[0].remembered, [(0, Some(position))]);
    stage.crowd.opened(&mut stage.fleet, 0, 0);
    stage.joined(0, 4, true, &[3, 4]);
    stage.message(0, 5, 4);
    assert_eq!(stage.faults(), [0; 5], "{:?}", stage.crowd.complaints.take());
    assert_eq!((stage.fleet.counters.recovered, stage.fleet.counters.delivered), (1, 5));
}

#[test]
fn holes_duplicates_and_late_messages_are_distinguished() {
    let mut stage = CrowdStage::new();
    stage.message(0, 1, 0);
    stage.message(0, 3, 2);
    assert_eq!(stage.faults(), [1, 0, 0, 0, 0]);
    stage.message(0, 2, 1);
    stage.message(0, 2, 1);
    assert_eq!(stage.faults(), [0, 1, 1, 0, 0], "late messages are not lost");
}

#[test]
fn an_announced_gap_is_no_loss() {
    let mut stage = CrowdStage::new();
    let gap = format!(r#"{{"type":"gap","room":"{}","from":1,"to":2}}"#, stage.room);
    stage.say(0, gap.as_bytes());
    stage.message(0, 3, 2);
    assert_eq!(stage.faults(), [0; 5]);
    assert_eq!(stage.fleet.counters.gaps_announced, 2);
}

#[test]
fn misrouted_and_early_messages_are_found() {
    let mut stage = CrowdStage::new();
    stage.message(2, 1, 0);
    assert_eq!(stage.faults(), [0, 0, 0, 1, 0], "client 2 never joined");
    stage.returns();
    stage.message(0, 1, 0);
    assert_eq!(stage.faults(), [0, 0, 0, 1, 1], "before the joined");
}

#[test]
fn an_incomplete_recovery_is_found() {
    let mut stage = CrowdStage::new();
    stage.message(0, 1, 0);
    stage.returns();
    stage.joined(0, 3, true, &[3]);
    assert_eq!(stage.faults()[4], 1, "2 is missing");
    let mut stage = CrowdStage::new();
    stage.message(0, 1, 0);
    stage.returns();
    stage.joined(0, 3, false, &[1, 2, 3]);
    assert_eq!(stage.faults()[4], 1, "it could have been recovered");
    let mut stage = CrowdStage::new();
    stage.message(0, 1, 0);
    stage.returns();
    stage.joined(0, 0, true, &[]);
    assert!(stage.faults()[4] > 0, "the head went back");
}

#[test]
fn two_receivers_cannot_see_different_rooms() {
    let mut stage = CrowdStage::new();
    stage.message(0, 1, 0);
    let mut joined = 129u32.to_le_bytes().to_vec();
    joined.extend_from_slice(&0xaau64.to_le_bytes());
    joined.extend_from_slice(&0u64.to_le_bytes());
    joined.extend_from_slice(&[0; 5]);
    joined.extend_from_slice(stage.room.as_bytes());
    stage.say(1, &joined);
    assert_eq!(stage.faults(), [0; 5], "{:?}", stage.crowd.complaints.take());
    let mut message = 131u32.to_le_bytes().to_vec();
    message.extend_from_slice(&1u64.to_le_bytes());
    message.extend_from_slice(&0u64.to_le_bytes());
    message.extend_from_slice(&(stage.room.len() as u16).to_le_bytes());
    message.extend_from_slice(&[0, 0]);
    message.extend_from_slice(stage.room.as_bytes());
    message.extend_from_slice(CrowdStage::data(1).as_bytes());
    stage.say(1, &message);
    assert_eq!(stage.faults(), [0, 0, 0, 0, 1], "seq 1 is publish 0 for one client and 1 for the other");
}

#[test]
fn unexpected_replies_are_found() {
    let mut stage = CrowdStage::new();
    stage.accepted(1);
    stage.accepted(1);
    assert_eq!(stage.faults()[4], 1, "two publishes under one seq");
    let left = format!(r#"{{"type":"left","room":"{}"}}"#, stage.room);
    stage.say(0, left.as_bytes());
    assert_eq!(stage.faults()[4], 2, "unexpected left");
    stage.say(0, b"{");
    assert_eq!(stage.faults()[4], 3, "garbage");
}
