//! What operators do with dead letters, by the control address: the store keeps them. Publishes none.

use crate::control::{ManageDeadLetters, Managed, OperationError};
use crate::engine::kept::{DeadLetter, DeadLetterAsk, DeadLetterDone, KeptAnswer, KeptAsk};
use crate::store::keeper_thread::StoreHandle;

/// The dead letters of this server's store.
pub struct StoredDeadLetters(pub StoreHandle);

impl StoredDeadLetters {
    async fn ask(&self, ask: DeadLetterAsk) -> Result<DeadLetterDone, OperationError> {
        match self.0.ask(KeptAsk::DeadLetter(ask)).await {
            KeptAnswer::DeadLetter(done) => Ok(done),
            KeptAnswer::Unavailable { retry_after_ms } => {
                Err(OperationError { retry_after_ms: Some(retry_after_ms), ..unavailable() })
            }
            _ => Err(unavailable()),
        }
    }
}

impl ManageDeadLetters for StoredDeadLetters {
    fn list(&self, after: u64, limit: u32) -> Managed<'_, Vec<DeadLetter>> {
        Box::pin(async move {
            match self.ask(DeadLetterAsk::List { after, limit }).await? {
                DeadLetterDone::Listed(letters) => Ok(letters),
                _ => Err(unavailable()),
            }
        })
    }

    fn find(&self, id: u64) -> Managed<'_, Option<DeadLetter>> {
        Box::pin(async move {
            match self.ask(DeadLetterAsk::Find(id)).await? {
                DeadLetterDone::Found(letter) => Ok(letter),
                _ => Err(unavailable()),
            }
        })
    }

    fn forget(&self, id: u64) -> Managed<'_, bool> {
        Box::pin(async move {
            match self.ask(DeadLetterAsk::Drop(id)).await? {
                DeadLetterDone::Dropped(was_there) => Ok(was_there),
                _ => Err(unavailable()),
            }
        })
    }
}

fn unavailable() -> OperationError {
    OperationError::unavailable("the store does not answer; a change may have been made all the same")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::base::ids::{Epoch, RoomName, UserName};
    use crate::engine::record::Record;
    use crate::io::wake::Wake;
    use crate::store::state::{Keep, Rules};
    use crate::store::threads::PreparedStore;
    use crate::wire::publication::DataKind;

    fn letter() -> DeadLetter {
        let (from, data) = (UserName::new("ann").expect("a name"), Bytes::from_static(b"1"));
        let record = Record { seq: 5, at: 1, from, kind: DataKind::Json, data, key: None, except: None };
        let room = RoomName::new("lobby").expect("a name");
        DeadLetter { id: 0, at: 1, reason: "a gap".into(), room, epoch: Epoch(7), record }
    }

    #[tokio::test]
    async fn letters_are_kept_counted_and_forgotten() {
        let keep = Keep { count: 10, ttl_ms: 1, numbering_ttl_ms: 1 };
        let rules = Rules { retention: std::sync::Arc::new(move |_| keep), session_ttl_ms: 1 };
        let mut prepared = PreparedStore::in_memory(rules).expect("memory opens");
        let (figures, handle) = (prepared.figures(), prepared.handle());
        let wake = std::sync::Arc::new(Wake::new().expect("an eventfd"));
        let cores = prepared.connect(&[wake]);
        let running = prepared.start();
        for id in 1..=3 {
            let added = handle.ask(KeptAsk::DeadLetter(DeadLetterAsk::Add(letter()))).await;
            assert_eq!(added, KeptAnswer::DeadLetter(DeadLetterDone::Added(Some(id))));
        }
        let letters = StoredDeadLetters(handle);
        let ids = |page: Vec<DeadLetter>| page.iter().map(|letter| letter.id).collect::<Vec<_>>();
        assert_eq!(letters.list(1, 9).await.map(ids), Ok(vec![2, 3]));
        assert_eq!(letters.find(2).await, Ok(Some(DeadLetter { id: 2, ..letter() })));
        assert_eq!((letters.forget(2).await, letters.forget(2).await), (Ok(true), Ok(false)));
        assert_eq!(letters.find(2).await, Ok(None));
        assert_eq!((figures.dead_letters.get(), figures.dead_letters_added.get()), (2, 3));
        drop((cores, letters));
        running.finish().await;
    }
}
