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
