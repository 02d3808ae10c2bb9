//! What a run has to do with the index: nothing that could keep it.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::archive::{AttachmentText, DocumentReader, Follower, NotRead};

/// Reads no document until it is let go.
#[derive(Debug)]
struct Stuck {
    begun: Mutex<Sender<()>>,
    let_go: Mutex<Receiver<()>>,
}

impl DocumentReader for Stuck {
    fn read(&self, _: &str, _: &[u8], _: &dyn Fn() -> bool) -> Result<AttachmentText, NotRead> {
        let _ = self.begun.lock().unwrap().send(());
        let _ = self.let_go.lock().unwrap().recv();
        Err(NotRead::Ended)
    }
}

/// Documents of that archive are read when the second is dropped; the first tells that one is to be read.
fn stuck(archive: &Archive) -> (Receiver<()>, Sender<()>) {
    let ((begun, begins), (go, let_go)) = (channel(), channel());
    archive
        .instance
        .read_documents_with(Arc::new(Stuck { begun: Mutex::new(begun), let_go: Mutex::new(let_go) }));
    (begins, go)
}

/// A server with a message that holds a document.
async fn server_with_document() -> Server {
    let message = "S: Subject: a\nS: MIME-Version: 1.0\nS: Content-Type: application/rtf; name=a.rtf\nS: \
                   Content-Disposition: attachment; filename=a.rtf\nS:\nS: {\\rtf1 words}\n";
    let retr = format!("C: RETR 1\nS: +OK\n{message}S: .\n");
    serve(&[[&*login("anna"), &list(&[("a", 17)]), &retr, QUIT].concat()]).await
}

async fn run(
    archive: &Archive,
    server: &Server,
    context: &Context,
) -> (RunResult, Result<RunResult, RunError>) {
    let profile = profile("pop3", server, &Value::Null);
    let ran = tokio::time::timeout(Duration::from_secs(60), archive.run_in(&profile, context)).await;
    ran.expect("the run ends")
}

/// Goal: a run ends when all of it is archived, whatever the index that follows in the background is at.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_does_not_wait_for_who_follows() {
    let archive = Archive::new();
    let (begins, go) = stuck(&archive);
    let (context, _told, _cancel) = Context::new();
    let follower = Follower::start(&archive.instance).unwrap();
    let server = server_with_document().await;
    let (ran, ended) = run(&archive, &server, &context).await;
    assert!(ended.is_ok() && ran.archived == 1, "{ran:?}");
    begins.recv().unwrap();
    // Another one, while the follower is amid the first one's document.
    let other = serve(&[[&*login("anna"), &list(&[("b", 17)]), &gives(1, "b"), QUIT].concat()]).await;
    let (ran, ended) = run(&archive, &other, &context).await;
    assert!(ended.is_ok() && ran.archived == 1, "{ran:?}");
    drop(go);
    drop(follower);
}

/// Goal: a run that indexes itself ends soon when it is cancelled, whatever message it is in.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_indexes_can_be_cancelled() {
    let archive = Archive::new();
    let (begins, go) = stuck(&archive);
    let (context, _told, cancel) = Context::new();
    let server = server_with_document().await;
    let cancels = std::thread::spawn(move || {
        begins.recv().unwrap();
        cancel.send_replace(true);
    });
    let (ran, ended) = run(&archive, &server, &context).await;
    assert!(ended.is_ok() && ran.archived == 1, "{ran:?}");
    cancels.join().unwrap();
    drop(go);
}
