//! Deletions at a source that tells little, or does not tell what became of them.

use std::sync::Mutex;

use super::*;

/// An account with one message; what it does with it.
#[derive(Default)]
struct Source {
    /// What it tells of the message now; nothing when that is gone.
    message: Mutex<Option<Item>>,
    /// Breaks when it has deleted, and says nothing of it.
    breaks: bool,
}

struct Session<'s>(&'s Source);

impl<'s> Opens for &'s Source {
    type Account = Session<'s>;

    async fn open(&self) -> Result<Session<'s>, SourceError> {
        Ok(Session(self))
    }
}

impl Session<'_> {
    fn message(&self) -> Option<Item> {
        self.0.message.lock().unwrap().clone()
    }
}

impl Account for Session<'_> {
    async fn folders(&mut self) -> Result<Vec<Folder>, SourceError> {
        FakeAccount(false).folders().await.map(|folders| folders[..1].to_vec())
    }

    async fn changes(&mut self, _: &FolderId, after: Option<&Cursor>) -> Result<Changes, SourceError> {
        Ok(all_at_once(after, self.message()))
    }

    async fn fetch(
        &mut self,
        _: &FolderId,
        items: &[Item],
        sink: &mut (impl Sink + ?Sized),
    ) -> Result<(), SourceError> {
        for item in items {
            hand_over(item, b"Subject: b\r\n\r\nb\r\n", sink).await?;
        }
        Ok(())
    }

    async fn look(&mut self, _: &FolderId, items: &[Item]) -> Result<Vec<Item>, SourceError> {
        let now = self.message();
        Ok(now.into_iter().filter(|now| items.iter().any(|item| item.id == now.id)).collect())
    }

    async fn delete(&mut self, _: &FolderId, items: &[ItemId]) -> Result<Deleted, SourceError> {
        *self.0.message.lock().unwrap() = None;
        if self.0.breaks {
            return Err(SourceError::Closed { host: "h".into(), during: "EXPUNGE" });
        }
        Ok(Deleted { deleted: items.to_vec(), ..Deleted::default() })
    }

    async fn wait(&mut self, _: &FolderId, _: Duration) -> Result<Woken, SourceError> {
        Err(SourceError::CannotWait)
    }

    async fn finish(self) -> Result<Deleted, SourceError> {
        Ok(Deleted::default())
    }
}

fn message(octets: u64) -> Item {
    Item { id: ItemId("1".into()), flags: Vec::new(), internal_date: None, octets }
}

/// Goal: what was archived when the source told neither size nor date is not deleted by its name alone: it stays, and is fetched again
/// once the source tells them.
#[tokio::test]
async fn what_cannot_be_compared_is_not_deleted() {
    let (archive, source) = (Archive::new(), Source::default());
    let tells = |octets| *source.message.lock().unwrap() = Some(message(octets));
    tells(0);
    let ran = archive.pull_and_delete(&&source).await;
    assert_eq!((ran.archived, ran.deleted_at_source, ran.retries), (1, 0, 0), "{ran:?}");
    assert!(ran.errors[0].contains("tells neither its size nor its date now"), "{ran:?}");
    archive.clock.advance(Duration::from_secs(25 * 3600));
    tells(17);
    let ran = archive.pull_and_delete(&&source).await;
    assert_eq!((ran.failed, ran.deleted_at_source, ran.retries), (1, 0, 1), "{ran:?}");
    assert!(ran.errors[0].contains("did not tell its size and date when it was archived"), "{ran:?}");
    archive.clock.advance(Duration::from_secs(600));
    let ran = archive.pull_and_delete(&&source).await;
    assert_eq!((ran.duplicates, ran.deleted_at_source, ran.retries), (1, 1, 0), "{ran:?}");
}

/// Goal: a deletion of which the source did not tell any more what became of it is told as one when the message is gone.
#[tokio::test]
async fn a_deletion_that_was_not_confirmed_is_told() {
    let (archive, source) = (Archive::new(), Source { breaks: true, ..Source::default() });
    *source.message.lock().unwrap() = Some(message(17));
    let first = archive.pull_and_delete(&&source).await;
    archive.clock.advance(Duration::from_secs(25 * 3600));
    let second = archive.pull_and_delete(&&source).await;
    assert_eq!(first.archived, 1, "{first:?}");
    let told = first.deleted_at_source + second.deleted_at_source;
    assert_eq!((told, first.gone + second.gone), (1, 0), "{first:?} {second:?}");
}
