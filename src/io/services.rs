//! The connections between a core and the service threads: commands in, requests out, events in. Never waits: a full lane
//! leaves the requests with the core.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crossbeam_channel::Sender;
use rustls::ServerConfig;

use super::calls::CallReply;
use super::service_lane::{CoreEnd, ServiceEvent, ServiceRequest};
use crate::base::counters::CoreCounters;
use crate::base::limits::TURN_BYTES_MAX;
use crate::engine::access::Keys;
use crate::engine::account_port::{AccountEvent, AccountRequest};
use crate::engine::call::Call;
use crate::engine::input::Input;
use crate::engine::link_port::{LinkEvent, LinkRequest};
use crate::engine::output::Output;
use crate::engine::settings::Settings;
use crate::engine::store_port::{StoreEvent, StoreRequest};
use crate::engine::trace::Span;

/// A command of the service thread to a core.
#[derive(Debug)]
pub enum Control {
    /// Close the connections over this window, and end when all cores have.
    Drain {
        /// Time over which this core spreads its closes.
        window_ms: u64,
        /// The listening sockets stay open for a successor, which serves the connections in their backlogs.
        hands_over: bool,
    },
    /// End at once.
    Stop,
    /// Use other settings from now on.
    Settings(Arc<Settings>),
    /// Count up, to show that the core lives.
    Beat(Arc<AtomicUsize>),
    /// A call of the control address.
    Call {
        /// The call.
        call: Call,
        /// Receives the answer.
        reply: CallReply,
    },
    /// Use this for TLS handshakes from now on. A core without TLS ignores it.
    Tls(Arc<ServerConfig>),
    /// Keys that verify tokens.
    Keys(Arc<Keys>),
}

/// A request for token keys that a core does not know. Any thread may make it; it neither waits nor fails. Requests before
/// the first was handled are merged with it.
#[derive(Clone)]
pub struct CallForKeys(pub Arc<dyn Fn() + Send + Sync>);

impl fmt::Debug for CallForKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallForKeys")
    }
}

/// One core's ends of its services; `None` for a service that is not configured.
#[derive(Debug, Default)]
pub struct Services {
    /// Lanes of the link.
    pub link: Option<CoreEnd<LinkRequest, LinkEvent>>,
    /// Lanes of the store.
    pub store: Option<CoreEnd<StoreRequest, StoreEvent>>,
    /// Lanes of accounts.
    pub accounts: Option<CoreEnd<AccountRequest, AccountEvent>>,
    /// Requests for token keys.
    pub keys: Option<CallForKeys>,
    /// Spans for the export of traces, which polls.
    pub spans: Option<Sender<Span>>,
}

impl Services {
    /// Sends spans. They are samples: spans for which there is no room are dropped and counted.
    pub fn take_spans(&self, spans: &mut Vec<Span>, counters: &CoreCounters) {
        for span in spans.drain(..) {
            let taken = self.spans.as_ref().is_some_and(|to| to.try_send(span).is_ok());
            counters.spans_dropped.add(u64::from(!taken));
        }
    }

    /// Sends the requests of `output`. What a full lane does not take stays there, in order, for the next time: see
    /// [`Services::have_room_again`].
    pub fn take(&mut self, output: &mut Output) {
        if std::mem::take(&mut output.keys_wanted)
            && let Some(CallForKeys(call)) = &self.keys
        {
            call();
        }
        hand_over(self.link.as_mut(), &mut output.link, "link");
        hand_over(self.store.as_mut(), &mut output.store, "store");
        hand_over(self.accounts.as_mut(), &mut output.accounts, "service of accounts");
    }

    /// Whether a lane that was full has room again. The service wakes the core at that time.
    #[must_use]
    pub fn have_room_again(&self) -> bool {
        self.link.as_ref().is_some_and(CoreEnd::has_room_again)
            || self.store.as_ref().is_some_and(CoreEnd::has_room_again)
            || self.accounts.as_ref().is_some_and(CoreEnd::has_room_again)
    }

    /// Passes events on, up to [`TURN_BYTES_MAX`] from each service. Returns whether there were any.
    pub fn pass_events(&mut self, counters: &CoreCounters, mut handle: impl FnMut(Input<'_>)) -> bool {
        let link = pass_events(self.link.as_mut(), counters, |event| handle(Input::Link(event)));
        let store = pass_events(self.store.as_mut(), counters, |event| handle(Input::Store(event)));
        let accounts = pass_events(self.accounts.as_mut(), counters, |event| handle(Input::Account(event)));
        link || store || accounts
    }

    /// Whether no event waits.
    #[must_use]
    pub fn are_quiet(&self) -> bool {
        self.link.as_ref().is_none_or(CoreEnd::is_empty)
            && self.store.as_ref().is_none_or(CoreEnd::is_empty)
            && self.accounts.as_ref().is_none_or(CoreEnd::is_empty)
    }

    /// Bytes in the lanes, and of what they did not take of `output`.
    #[must_use]
    pub fn bytes(&self, output: &Output) -> usize {
        self.link.as_ref().map_or(0, CoreEnd::bytes)
            + self.store.as_ref().map_or(0, CoreEnd::bytes)
            + self.accounts.as_ref().map_or(0, CoreEnd::bytes)
            + output.link.iter().map(ServiceRequest::bytes).sum::<usize>()
            + output.store.iter().map(ServiceRequest::bytes).sum::<usize>()
            + output.accounts.iter().map(ServiceRequest::bytes).sum::<usize>()
    }
}

fn hand_over<R: ServiceRequest, E: ServiceEvent>(to: Option<&mut CoreEnd<R, E>>, requests: &mut Vec<R>, name: &str) {
    if !requests.is_empty() {
        let to = to.unwrap_or_else(|| panic!("the engine asks a {name} that it was told not to have"));
        to.send(requests);
    }
}

fn pass_events<R: ServiceRequest, E: ServiceEvent>(
    from: Option<&mut CoreEnd<R, E>>,
    counters: &CoreCounters,
    mut handle: impl FnMut(E),
) -> bool {
    let Some(from) = from else { return false };
    let mut bytes = 0;
    while bytes < TURN_BYTES_MAX
        && let Some(event) = from.take_event()
    {
        bytes += event.bytes();
        handle(event);
    }
    if bytes > 0 {
        counters.dropped_service.add(from.take_dropped());
    }
    bytes > 0
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::super::service_lane::service_lanes;
    use super::super::wake::Wake;
    use super::*;
    use crate::base::ids::{CoreId, RoomName};
    use crate::engine::link_port::LinkFailure;
    use crate::engine::random::Random;
    use crate::engine::trace::{Mark, Stage};

    fn close(room: &str) -> LinkRequest {
        LinkRequest::Close { room: RoomName::new(room).expect("valid") }
    }

    #[test]
    fn requests_of_a_turn_go_in_one_batch_and_events_come_by_turns() {
        let wake = Arc::new(Wake::new().expect("an eventfd"));
        let (mut service, mut cores) = service_lanes(&[wake]);
        let mut services = Services { link: cores.pop(), ..Services::default() };
        let mut output = Output { link: vec![close("a"), close("b")], ..Output::default() };
        services.take(&mut output);
        assert!(output.is_empty() && services.bytes(&output) > 0 && !services.have_room_again());
        let requests = service.try_recv().expect("it was woken");
        assert_eq!((requests.core, requests.requests), (CoreId(0), vec![close("a"), close("b")]));
        let each = LinkEvent::Restored { round: 1 }.bytes();
        let published = |token| LinkEvent::Published { token, result: Err(LinkFailure { retry_after_ms: 1 }) };
        let count = TURN_BYTES_MAX / each + 10;
        service.tell(CoreId(0), (0..count as u64).map(published));
        let counters = CoreCounters::default();
        let mut passed = 0;
        let mut turns = 0;
        while !services.are_quiet() {
            turns += 1;
            assert!(services.pass_events(&counters, |_| passed += 1));
        }
        assert_eq!((passed, turns, services.bytes(&output)), (count, 2, 0));
        assert!(!services.pass_events(&counters, |_| panic!("nothing is left")));
    }

    #[test]
    fn a_call_for_keys_is_made_once() {
        let (sender, receiver) = bounded(2);
        let call = CallForKeys(Arc::new(move || sender.send(()).expect("room")));
        let mut services = Services { keys: Some(call), ..Services::default() };
        let mut output = Output { keys_wanted: true, ..Output::default() };
        services.take(&mut output);
        services.take(&mut output);
        assert_eq!((receiver.len(), output.is_empty()), (1, true));
    }

    #[test]
    fn spans_beyond_the_queue_are_dropped_and_counted() {
        let mark = Mark::draw(u64::MAX, &mut Random::new(1)).expect("all are sampled");
        let (room, stage) = (RoomName::new("r").expect("valid"), Stage::Flushed { seq: 1, deliveries: 2 });
        let span = Span { mark, arrived_us: 1, core: CoreId(0), room, stage, began_us: 1, ended_us: 2 };
        let (sender, receiver) = bounded(2);
        let (services, counters) = (Services { spans: Some(sender), ..Services::default() }, CoreCounters::default());
        let mut spans = vec![span.clone(), span.clone(), span];
        services.take_spans(&mut spans, &counters);
        assert_eq!((spans.len(), receiver.len(), counters.spans_dropped.get()), (0, 2, 1));
    }

    #[test]
    #[should_panic(expected = "asks a link")]
    fn a_request_to_nobody_is_a_bug() {
        Services::default().take(&mut Output { link: vec![close("a")], ..Output::default() });
    }
}
