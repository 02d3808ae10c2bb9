//! Work on an instance ends when the instance is stopped.

use std::future::Future;

use postern_shared::control::Context;
use postern_shared::shutdown::Shutdown;

/// Does what `work` gives, cancelled when its caller cancels it or `stopping` says so.
pub(super) async fn stopped<R, F: Future<Output = R>>(
    stopping: Option<Shutdown>,
    mut context: Context,
    work: impl FnOnce(Context) -> F,
) -> R {
    let Some(mut stopping) = stopping else { return work(context).await };
    let (inner, mut told, cancel) = Context::new();
    let mut work = std::pin::pin!(work(inner));
    let mut may_cancel = true;
    loop {
        let outer = context.clone();
        tokio::select! {
            done = &mut work => return done,
            Some(progress) = told.recv() => outer.progress(progress),
            () = context.cancelled(), if may_cancel => { may_cancel = false; cancel.send_replace(true); }
            () = stopping.requested(), if may_cancel => { may_cancel = false; cancel.send_replace(true); }
        }
    }
}

#[cfg(test)]
mod tests {
    use postern_shared::shutdown::switch;
    use postern_shared::telemetry::Progress;

    use super::*;

    async fn works_until_cancelled(mut context: Context) -> &'static str {
        context.progress(Progress { what: "working".into(), done: 1, total: None });
        context.cancelled().await;
        assert!(context.is_cancelled());
        "came to an end"
    }

    /// Goal: work ends when its instance is stopped as well as when its caller cancels it; what it tells comes through.
    #[tokio::test]
    async fn work_ends_with_its_instance_or_its_caller() {
        for by_caller in [false, true] {
            let (stop, stopping) = switch();
            let (context, mut told, cancel) = Context::new();
            let work = tokio::spawn(stopped(Some(stopping), context, works_until_cancelled));
            assert_eq!(told.recv().await.unwrap().what, "working");
            if by_caller {
                cancel.send_replace(true);
            } else {
                stop.turn();
            }
            assert_eq!(work.await.unwrap(), "came to an end");
        }
    }
}
