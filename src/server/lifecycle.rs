//! The life cycle of a running server: reload, drain, end. Reacts to signals and to cores; closes no socket.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout};

use super::drain::AcceptRate;
use super::signals::Signal;
use super::supervisor::Supervisor;
use crate::control::Watched;

/// The running cores as a group.
pub trait CoreLifecycle {
    /// Starts a drain: the cores accept no connections, tell their clients to reconnect, close them within the window, and
    /// end.
    fn drain(&self, window_ms: u64);
    /// Ends the cores at once.
    fn stop(&self);
    /// Whether every core has answered the last heartbeat. Sends the next one.
    fn are_alive(&self) -> bool;
    /// Resolves when every core has ended or one has failed. Cancel-safe until it resolves.
    fn ended(&mut self) -> impl Future<Output = Result<(), String>>;
}

/// How the server ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerEnd {
    /// Every connection was flushed and closed.
    Drained,
    /// `server.shutdown_grace` expired first.
    GraceOver,
    /// A second [`Signal::Terminate`] ended the drain.
    Interrupted,
    /// A core ended unexpectedly.
    Failed(String),
}

/// Interval at which the accept rate is sampled.
const SAMPLE: Duration = Duration::from_secs(1);

/// How long stopped cores may take before the process ends regardless.
const STOP: Duration = Duration::from_secs(1);

/// Runs until the server ends, and sends heartbeats to `supervisor` while the cores answer. Calls `hang_up` for each
/// [`Signal::Hangup`] before a drain.
pub async fn live(
    cores: &mut impl CoreLifecycle,
    signals: &mut Receiver<Signal>,
    watched: &Watched,
    supervisor: &Supervisor,
    grace_ms: u64,
    mut hang_up: impl FnMut(),
) -> ServerEnd {
    let mut watchdog = Watchdog::new(supervisor);
    let mut began: Option<Instant> = None;
    let mut rate = AcceptRate::default();
    let mut sample = interval(SAMPLE);
    sample.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let terminated = loop {
        tokio::select! {
            ended = cores.ended() => {
                return ServerEnd::Failed(ended.err().unwrap_or_else(|| "the cores ended unexpectedly".into()));
            }
            Some(signal) = signals.recv() => match signal {
                Signal::Hangup => hang_up(),
                Signal::Terminate => break true,
                Signal::Drain => break false,
            },
            now = sample.tick() => {
                let now_ms = now.saturating_duration_since(*began.get_or_insert(now)).as_millis() as u64;
                rate.sample(now_ms, sum(watched, |core| core.accepted.get()));
            }
            () = watchdog.due() => if cores.are_alive() {
                supervisor.beat();
            } else {
                tracing::warn!("a core does not answer heartbeats");
            }
        }
    };
    let connections = sum(watched, |core| core.connections.get() + core.upgrading.get());
    supervisor.stopping(&format!("draining {connections} connections"));
    tokio::select! {
        end = drain(cores, signals, watched, grace_ms, rate, terminated) => end,
        // Cores end one after the other during a drain, which its grace bounds.
        () = async { loop { watchdog.due().await; supervisor.beat() } } => unreachable!("it never ends"),
    }
}

/// The schedule of heartbeats to the supervisor.
struct Watchdog(Option<Interval>);

impl Watchdog {
    fn new(supervisor: &Supervisor) -> Self {
        Self(supervisor.beat_every().map(|every| {
            let mut interval = interval(every);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        }))
    }

    /// Resolves when the next heartbeat is due; never without a watchdog.
    async fn due(&mut self) {
        match &mut self.0 {
            Some(interval) => drop(interval.tick().await),
            None => std::future::pending().await,
        }
    }
}

async fn drain(
    cores: &mut impl CoreLifecycle,
    signals: &mut Receiver<Signal>,
    watched: &Watched,
    grace_ms: u64,
    rate: AcceptRate,
    mut terminated: bool,
) -> ServerEnd {
    watched.draining.store(true, Ordering::Relaxed);
    let connections = sum(watched, |core| core.connections.get() + core.upgrading.get());
    let window_ms = rate.window_ms(connections, grace_ms);
    tracing::info!(connections, window_ms, grace_ms, "draining");
    cores.drain(window_ms);
    let grace_over = sleep(Duration::from_millis(grace_ms));
    tokio::pin!(grace_over);
    loop {
        tokio::select! {
            ended = cores.ended() => return ended.map_or_else(ServerEnd::Failed, |()| ServerEnd::Drained),
            Some(signal) = signals.recv() => match signal {
                Signal::Terminate if terminated => return ServerEnd::Interrupted,
                Signal::Terminate => {
                    terminated = true;
                    tracing::info!("drain already in progress; another signal ends the process at once");
                }
                Signal::Drain | Signal::Hangup => {}
            },
            () = &mut grace_over => {
                let left = sum(watched, |core| core.connections.get());
                tracing::warn!(connections = left, "server.shutdown_grace expired before every connection was closed");
                cores.stop();
                let _ = timeout(STOP, cores.ended()).await;
                return ServerEnd::GraceOver;
            }
        }
    }
}

fn sum(watched: &Watched, read: impl Fn(&crate::base::counters::CoreCounters) -> u64) -> u64 {
    watched.cores.iter().fold(0, |sum, core| sum.wrapping_add(read(core)))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;

    use tokio::sync::{mpsc, watch};

    use super::*;
    use crate::base::counters::CoreCounters;

    /// Cores that record their instructions.
    struct FakeCores {
        instructions: RefCell<Vec<String>>,
        ended: watch::Receiver<Option<Result<(), String>>>,
        end: watch::Sender<Option<Result<(), String>>>,
        ends_on_stop: bool,
    }

    impl FakeCores {
        fn new() -> Self {
            let (end, ended) = watch::channel(None);
            Self { instructions: RefCell::default(), ended, end, ends_on_stop: true }
        }
    }

    impl CoreLifecycle for FakeCores {
        fn drain(&self, window_ms: u64) {
            self.instructions.borrow_mut().push(format!("drain {window_ms}"));
        }

        fn stop(&self) {
            self.instructions.borrow_mut().push("stop".into());
            if self.ends_on_stop {
                self.end.send_replace(Some(Ok(())));
            }
        }

        fn are_alive(&self) -> bool {
            true
        }

        async fn ended(&mut self) -> Result<(), String> {
            let ended = self.ended.wait_for(Option::is_some).await.expect("the sender is beside it").clone();
            ended.expect("waited for")
        }
    }

    fn watched() -> Watched {
        let counters = CoreCounters::default();
        counters.connections.set(4_000);
        Watched::new("a".into(), Arc::new([Arc::new(counters)]), Vec::new())
    }

    async fn live_with(cores: &mut FakeCores, sent: &[Signal], watched: &Watched) -> (ServerEnd, usize) {
        let (sender, mut signals) = mpsc::channel(8);
        for signal in sent {
            sender.send(*signal).await.expect("room for it");
        }
        let mut hang_ups = 0;
        let end = live(cores, &mut signals, watched, &Supervisor::default(), 30_000, || hang_ups += 1).await;
        (end, hang_ups)
    }

    #[tokio::test(start_paused = true)]
    async fn a_signal_drains_and_the_end_of_the_cores_ends_it() {
        let (mut cores, watched) = (FakeCores::new(), watched());
        let end = cores.end.clone();
        tokio::spawn(async move {
            sleep(Duration::from_secs(5)).await;
            end.send_replace(Some(Ok(())));
        });
        let began = Instant::now();
        let ended = live_with(&mut cores, &[Signal::Hangup, Signal::Hangup, Signal::Terminate], &watched).await;
        assert_eq!(ended, (ServerEnd::Drained, 2));
        assert_eq!(began.elapsed().as_secs(), 5);
        assert_eq!(*cores.instructions.borrow(), ["drain 2000"]);
        assert!(watched.draining.load(Ordering::Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn cores_that_do_not_end_are_stopped_after_the_grace() {
        let (mut cores, watched) = (FakeCores::new(), watched());
        let began = Instant::now();
        assert_eq!(live_with(&mut cores, &[Signal::Terminate], &watched).await.0, ServerEnd::GraceOver);
        assert_eq!(began.elapsed().as_secs(), 30);
        assert_eq!(*cores.instructions.borrow(), ["drain 2000", "stop"]);
        cores = FakeCores { ends_on_stop: false, ..FakeCores::new() };
        let began = Instant::now();
        assert_eq!(live_with(&mut cores, &[Signal::Terminate], &watched).await.0, ServerEnd::GraceOver);
        assert_eq!(began.elapsed().as_secs(), 31);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_ends_at_once() {
        let (mut cores, watched) = (FakeCores::new(), watched());
        let began = Instant::now();
        let signals = [Signal::Terminate, Signal::Hangup, Signal::Terminate];
        assert_eq!(live_with(&mut cores, &signals, &watched).await, (ServerEnd::Interrupted, 0));
        assert_eq!(began.elapsed().as_secs(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_requested_drain_is_like_that_of_a_signal_and_repeating_it_changes_nothing() {
        let (mut cores, watched) = (FakeCores::new(), watched());
        let began = Instant::now();
        assert_eq!(live_with(&mut cores, &[Signal::Drain; 3], &watched).await, (ServerEnd::GraceOver, 0));
        assert_eq!(began.elapsed().as_secs(), 30);
        assert_eq!(*cores.instructions.borrow(), ["drain 2000", "stop"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_signal_after_a_requested_drain_changes_nothing_and_the_second_ends_it() {
        use Signal::{Drain, Terminate};
        for (signals, end, seconds) in [
            (&[Drain, Terminate][..], ServerEnd::GraceOver, 30),
            (&[Drain, Drain, Terminate, Drain], ServerEnd::GraceOver, 30),
            (&[Terminate, Drain], ServerEnd::GraceOver, 30),
            (&[Drain, Terminate, Terminate], ServerEnd::Interrupted, 0),
            (&[Terminate, Drain, Terminate], ServerEnd::Interrupted, 0),
        ] {
            let (mut cores, watched) = (FakeCores::new(), watched());
            let began = Instant::now();
            assert_eq!(live_with(&mut cores, signals, &watched).await, (end, 0), "{signals:?}");
            assert_eq!(began.elapsed().as_secs(), seconds, "the grace is that of the first, {signals:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_core_that_ends_by_itself_is_a_failure() {
        for (result, why) in [(Ok(()), "the cores ended unexpectedly"), (Err("core 1".to_string()), "core 1")] {
            let (mut cores, watched) = (FakeCores::new(), watched());
            cores.end.send_replace(Some(result));
            assert_eq!(live_with(&mut cores, &[], &watched).await.0, ServerEnd::Failed(why.into()));
        }
    }
}
