//! The channels between a core and the service thread: requests out, events and commands in. Never waits: a full channel
//! leaves the requests with the core.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crossbeam_channel::{Sender, TrySendError};
use rustls::ServerConfig;

use super::calls::CallReply;
use crate::base::counters::CoreCounters;
use crate::base::ids::CoreId;
use crate::engine::access::Keys;
use crate::engine::call::Call;
use crate::engine::link_port::LinkEvent;
use crate::engine::link_port::LinkRequest;
use crate::engine::output::Output;
use crate::engine::settings::Settings;
use crate::engine::store_port::StoreEvent;
use crate::engine::store_port::StoreRequest;
use crate::engine::trace::Span;

/// What the service thread tells a core.
#[derive(Debug)]
pub enum Control {
    /// Let go of the connections over this window, and end when all cores have.
    Drain {
        /// Over how long this core's closes are spread.
        window_ms: u64,
        /// The listening sockets stay open in other hands, for a successor: whoever has connected and is not served yet
        /// is left to it.
        hands_over: bool,
    },
    /// End at once.
    Stop,
    /// Other settings hold from now on.
    Settings(Arc<Settings>),
    /// Count up, to show that the core lives.
    Beat(Arc<AtomicUsize>),
    /// The control address asks, or has something done.
    Call {
        /// What.
        call: Call,
        /// Gets the answer.
        reply: CallReply,
    },
    /// News from the link.
    Link(LinkEvent),
    /// News from the store.
    Store(StoreEvent),
    /// TLS handshakes go by this from now on. A core whose clients speak plain TCP ignores it.
    Tls(Arc<ServerConfig>),
    /// Keys that verify tokens.
    Keys(Arc<Keys>),
}

/// Calls for keys that a core does not know. Any thread may call, which neither waits nor fails; calls that come before
/// the first was heard are one with it.
#[derive(Clone)]
pub struct CallForKeys(pub Arc<dyn Fn() + Send + Sync>);

impl fmt::Debug for CallForKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallForKeys")
    }
}

/// Where a core's requests go. A service that is not configured gets none.
#[derive(Clone, Debug, Default)]
pub struct Services {
    /// To the link.
    pub link: Option<Sender<(CoreId, LinkRequest)>>,
    /// To the store.
    pub store: Option<Sender<(CoreId, StoreRequest)>>,
    /// To whoever fetches keys.
    pub keys: Option<CallForKeys>,
    /// To whoever exports traces, at its own pace: it is not woken.
    pub spans: Option<Sender<Span>>,
}

impl Services {
    /// Hands over spans. They are samples: what finds no room is dropped and counted.
    pub fn take_spans(&self, spans: &mut Vec<Span>, counters: &CoreCounters) {
        for span in spans.drain(..) {
            let taken = self.spans.as_ref().is_some_and(|to| to.try_send(span).is_ok());
            counters.spans_dropped.add(u64::from(!taken));
        }
    }

    /// Hands over what `output` asks of them. Whether everything went: the rest stays, in order, for the next time.
    pub fn take(&self, core: CoreId, output: &mut Output) -> bool {
        if std::mem::take(&mut output.keys_wanted)
            && let Some(CallForKeys(call)) = &self.keys
        {
            call();
        }
        let link = hand_over(self.link.as_ref(), core, &mut output.link, "link");
        let store = hand_over(self.store.as_ref(), core, &mut output.store, "store");
        link && store
    }
}

fn hand_over<T>(to: Option<&Sender<(CoreId, T)>>, core: CoreId, requests: &mut Vec<T>, name: &str) -> bool {
    if requests.is_empty() {
        return true;
    }
    let to = to.unwrap_or_else(|| panic!("the engine asks a {name} that it was told not to have"));
    let mut left = Vec::new();
    for request in requests.drain(..) {
        if !left.is_empty() {
            left.push(request);
            continue;
        }
        match to.try_send((core, request)) {
            // Without the service thread the process is ending.
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full((_, request))) => left.push(request),
        }
    }
    *requests = left;
    requests.is_empty()
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;
    use crate::base::ids::RoomName;
    use crate::engine::random::Random;
    use crate::engine::trace::{Mark, Stage};

    fn close(room: &str) -> LinkRequest {
        LinkRequest::Close { room: RoomName::new(room).expect("valid") }
    }

    #[test]
    fn a_full_service_leaves_the_rest_in_order() {
        let (sender, receiver) = bounded(2);
        let services = Services { link: Some(sender), ..Services::default() };
        let mut output = Output { link: vec![close("a"), close("b"), close("c"), close("d")], ..Output::default() };
        assert!(!services.take(CoreId(1), &mut output));
        assert_eq!(output.link, [close("c"), close("d")]);
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [(CoreId(1), close("a")), (CoreId(1), close("b"))]);
        assert!(services.take(CoreId(1), &mut output));
        assert!(output.is_empty());
    }

    #[test]
    fn a_call_for_keys_is_made_once() {
        let (sender, receiver) = bounded(2);
        let call = CallForKeys(Arc::new(move || sender.send(()).expect("room")));
        let services = Services { keys: Some(call), ..Services::default() };
        let mut output = Output { keys_wanted: true, ..Output::default() };
        assert!(services.take(CoreId(0), &mut output) && services.take(CoreId(0), &mut output));
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
        Services::default().take(CoreId(0), &mut Output { link: vec![close("a")], ..Output::default() });
    }
}
