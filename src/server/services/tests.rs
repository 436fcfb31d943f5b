//! The list of services: all are told, in their order, and none can hold up the end.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::time::Instant;

use super::service::Work;
use super::*;

/// Writes down what it is told.
struct Scribe {
    name: &'static str,
    told: Rc<RefCell<Vec<String>>>,
    hangs: bool,
}

impl Scribe {
    fn note(&self, what: &str) {
        self.told.borrow_mut().push(format!("{} {what}", self.name));
    }
}

impl Service for Scribe {
    fn name(&self) -> &'static str {
        self.name
    }

    fn start<'a>(&'a mut self, _: &'a RunningServer) -> Work<'a> {
        self.note("starts");
        Box::pin(std::future::ready(()))
    }

    fn finish(&mut self) -> Work<'_> {
        self.note("finishes");
        let hangs = self.hangs;
        Box::pin(async move {
            if hangs {
                std::future::pending::<()>().await;
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn services_start_and_finish_in_their_order_and_within_a_time_limit() {
    let told = Rc::new(RefCell::new(Vec::new()));
    let scribe = |name, hangs| Box::new(Scribe { name, told: told.clone(), hangs }) as Box<dyn Service>;
    let mut services = ServiceThread(vec![scribe("first", true), scribe("second", false)]);
    let watched = Arc::new(crate::control::Watched::new("n".into(), Arc::new([]), services.observed()));
    services.start(&RunningServer { cores: Arc::new([]), watched }).await;
    let began = Instant::now();
    services.finish().await;
    assert_eq!(*told.borrow(), ["first starts", "second starts", "first finishes", "second finishes"]);
    assert_eq!(began.elapsed(), FINISH_TIMEOUT);
}
