//! Random runs of one owner with members on three cores, full lanes, and a store or a link that misbehaves. Every hop
//! is checked: the home's assertions hold, a position never stands for two messages, and each command is answered once.
//! At the end, every member has every message, and no state is left. `OWNER_SEED=n` repeats one run.

mod clients;
mod models;

use self::clients::Clients;
use self::models::{LinkModel, StoreModel};
use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Memory,
    Store,
    Link,
}

struct Run {
    world: World,
    random: Random,
    clients: Clients,
    store: StoreModel,
    link: LinkModel,
}

impl Run {
    fn new(mode: Mode, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let tight = random.below(3) == 0;
        let world = World::new(|settings, rooms| {
            if mode == Mode::Store {
                settings.keeping = KeepingMode::Commit;
            }
            if mode == Mode::Link {
                settings.numbering = NumberingMode::Link;
            }
            rooms.history_size = [0, 3, 10, 50][random.below(4) as usize];
            rooms.presence = random.below(3) > 0;
            rooms.presence_grace_ms = [0, 200, 2_000][random.below(3) as usize];
            rooms.presence_names_max = [1_000, 3][random.below(2) as usize];
            rooms.history_ttl_ms = if random.below(4) == 0 { 3_000 } else { 60_000 };
            rooms.recovery_max = 20;
            if tight {
                settings.memory_budget_bytes = 12_000;
            }
        });
        Self { world, random, clients: Clients::default(), store: StoreModel::default(), link: LinkModel::new() }
    }

    /// Performs one random event.
    fn step(&mut self) {
        let Self { world, random, clients, store, link } = self;
        match random.below(100) {
            0..30 => clients.publish(world, random),
            30..45 => clients.come_or_go(world, random),
            45..50 => clients.read(world, random),
            50..70 => clients.hear(world, random.below(3) as u16),
            70..71 => world.fill_lane(1 + random.below(2) as u16),
            71..77 => world.pass(random.below(300)),
            77..78 => world.pass(random.below(15_000)),
            _ => {
                store.step(world, random);
                link.step(world, random);
            }
        }
    }

    /// Nothing fails any more and all lanes are read, until nothing is in flight.
    fn calm_down(&mut self) {
        self.store.is_calm = true;
        self.link.is_calm = true;
        for _ in 0..250 {
            for core in 0..3 {
                self.clients.hear(&mut self.world, core);
            }
            for _ in 0..25 {
                self.store.step(&mut self.world, &mut self.random);
                self.link.step(&mut self.world, &mut self.random);
            }
            self.world.pass(300);
        }
    }
}

/// Returns the number of statuses that members had been told at the end.
fn run(mode: Mode, seed: u64) -> usize {
    let mut run = Run::new(mode, seed);
    for _ in 0..2_000 {
        run.step();
    }
    run.calm_down();
    run.clients.assert_answered();
    if run.world.has_room() {
        let id = run.world.owner.rooms.find(&room()).expect("just asked");
        let found = run.world.owner.rooms.get_mut(id).expect("found");
        let head = found.stream.head();
        if let Some(presence) = &mut found.stream.presence {
            run.clients.assert_told(&presence.page(None, 10, false));
        }
        run.clients.assert_up_to_date(head);
        match mode {
            Mode::Memory => {}
            Mode::Store => assert_eq!(run.store.head(), head, "the store and the room agree"),
            Mode::Link => assert_eq!(run.link.head(), head, "the link and the room agree"),
        }
    }
    let told = run.clients.told();
    run.clients.go(&mut run.world);
    for _ in 0..4 {
        run.calm_down();
    }
    run.world.pass(200_000);
    run.world.assert_empty();
    told
}

fn run_all(mode: Mode) {
    let seeds = match std::env::var("OWNER_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("OWNER_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..25,
    };
    let mut told = 0;
    for seed in seeds {
        eprintln!("{mode:?} OWNER_SEED={seed}");
        told += run(mode, seed);
    }
    assert!(told > 0 || std::env::var_os("OWNER_SEED").is_some(), "no member was told a status");
}

#[test]
fn alone() {
    run_all(Mode::Memory);
}

#[test]
fn with_a_store_that_misbehaves() {
    run_all(Mode::Store);
}

#[test]
fn with_a_link_that_misbehaves() {
    run_all(Mode::Link);
}
