use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::*;

struct Echo;

impl Handler for Echo {
    type Command = Value;

    async fn handle(&self, command: Value, mut context: Context) -> Result<Value, String> {
        match command.as_str() {
            Some("fail") => Err("it cannot be done".into()),
            Some("count") => {
                for done in 0..3 {
                    context.progress(Progress { what: "counting".into(), done, total: Some(3) });
                }
                Ok(json!(3))
            }
            Some("wait") => {
                context.cancelled().await;
                Err("cancelled".into())
            }
            _ => Ok(json!({ "echo": command })),
        }
    }
}

async fn in_daemon<R: Send + 'static>(dir: &Path, test: impl FnOnce(PathBuf) -> R + Send + 'static) -> R {
    let (stop, stopped) = crate::shutdown::switch();
    let daemon = tokio::spawn({
        let dir = dir.to_path_buf();
        async move { serve(&dir, Arc::new(Echo), stopped).await }
    });
    let path = dir.to_path_buf();
    while matches!(client_ready(&path), Err(CallError::NotRunning)) {
        tokio::task::yield_now().await;
    }
    let result = tokio::task::spawn_blocking(move || test(path)).await.unwrap();
    stop.turn();
    daemon.await.unwrap().unwrap();
    result
}

fn client_ready(dir: &Path) -> Result<(), CallError> {
    let (path, _dir) = socket_path(dir)?;
    std::os::unix::net::UnixStream::connect(path).map(drop).map_err(|_| CallError::NotRunning)
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_answered_refused_and_their_progress_is_told() {
    let dir = tempfile::tempdir().unwrap();
    in_daemon(dir.path(), |dir| {
        let answer: Value = call(&dir, &json!({"a": 1}), |_| ()).unwrap();
        assert_eq!(answer, json!({"echo": {"a": 1}}));
        let refused = call::<_, Value>(&dir, &json!("fail"), |_| ()).unwrap_err();
        assert_eq!(refused.to_string(), "it cannot be done");
        let mut seen = 0;
        assert_eq!(call::<_, u64>(&dir, &json!("count"), |_| seen += 1).unwrap(), 3);
        assert!(seen <= 3);
    })
    .await;
}

/// Goal: a command whose client went away, and one in progress at shutdown, both end; else this test never would.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_and_a_shutdown_both_cancel() {
    let dir = tempfile::tempdir().unwrap();
    let waiting = in_daemon(dir.path(), |dir| {
        use std::io::Write;
        let (path, _fd) = socket_path(&dir).unwrap();
        let mut leaving = std::os::unix::net::UnixStream::connect(path).unwrap();
        leaving.write_all(b"{\"command\":\"wait\"}\n").unwrap();
        drop(leaving);
        std::thread::spawn(move || call::<_, Value>(&dir, &json!("wait"), |_| ()))
    })
    .await;
    assert!(waiting.join().unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_may_lie_deep() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("d".repeat(120)).join("e".repeat(120));
    crate::disk::Disk::create_dir_all(&crate::disk::RealDisk, &deep).unwrap();
    let answer = in_daemon(&deep, |dir| call::<_, Value>(&dir, &json!(1), |_| ()).unwrap()).await;
    assert_eq!(answer, json!({"echo": 1}));
}

#[test]
fn without_a_daemon_the_client_says_so() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(call::<_, Value>(dir.path(), &json!(1), |_| ()), Err(CallError::NotRunning)));
}

/// Goal: who connects and says nothing, or takes no answer, keeps no daemon from ending; else this test never would.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_client_keeps_no_daemon_from_ending() {
    let dir = tempfile::tempdir().unwrap();
    let held = in_daemon(dir.path(), |dir| {
        use std::io::Write;
        let connect = || std::os::unix::net::UnixStream::connect(socket_path(&dir).unwrap().0).unwrap();
        let (silent, mut deaf) = (connect(), connect());
        // An answer that fills the socket's buffer.
        let long = json!({ "command": "x".repeat(4 << 20) });
        deaf.write_all(format!("{long}\n").as_bytes()).unwrap();
        // Both are there by the time that this is answered.
        let _: Value = call(&dir, &json!(1), |_| ()).unwrap();
        (silent, deaf)
    })
    .await;
    drop(held);
}
