//! Waiting for something to happen in a folder.

use std::time::Duration;

use postern_shared::proto::imap::{Command, Response};
use tokio::time::timeout;

use super::{Happened, ImapSource};
use crate::sources::SourceError;
use crate::sources::account::{FolderId, Woken};

/// Servers may end a session of 30 minutes without a command (RFC 2177).
const IDLE_MAX: Duration = Duration::from_secs(28 * 60);
/// How often is looked where there is no IDLE.
const POLL: Duration = Duration::from_secs(60);

impl ImapSource {
    pub(super) async fn wait_for_changes(
        &mut self,
        folder: &FolderId,
        limit: Duration,
    ) -> Result<Woken, SourceError> {
        self.open(folder, false, false).await?;
        // What the list of folders told is older than the open folder.
        self.states.remove(folder);
        let mut left = limit;
        loop {
            if self.opened.as_ref().is_some_and(|opened| opened.stirred) {
                return Ok(Woken::Changed);
            }
            if left.is_zero() {
                return Ok(Woken::Quiet);
            }
            let idles = self.connection.session.capabilities().has("IDLE");
            let pause = left.min(if idles { IDLE_MAX } else { POLL });
            if idles {
                self.idle(pause).await?;
            } else {
                tokio::time::sleep(pause).await;
                let list = self.limits.list;
                let noop = timeout(list, self.perform(Command::new("NOOP"), "NOOP", |_| Ok(()))).await;
                noop.unwrap_or_else(|_| Err(self.late("NOOP", list)))?;
            }
            left -= pause;
        }
    }

    /// Until something happens, for `limit` at most.
    async fn idle(&mut self, limit: Duration) -> Result<(), SourceError> {
        let ticket = self.connection.session.idle();
        let heard = timeout(limit, self.hear(limit + self.limits.silence)).await;
        heard.unwrap_or(Ok(()))?;
        self.connection.session.end_idle();
        let list = self.limits.list;
        let ended = timeout(list, self.until(ticket, |_| Ok(()))).await;
        ended.unwrap_or_else(|_| Err(self.late("the end of IDLE", list))).map(drop)
    }

    async fn hear(&mut self, silence: Duration) -> Result<(), SourceError> {
        loop {
            match self.connection.event(silence).await? {
                Happened::Data(response) => {
                    self.note(&response);
                    let flags = matches!(response, Response::Fetch(_));
                    if let Some(opened) = &mut self.opened {
                        opened.stirred |= flags;
                        if opened.stirred {
                            return Ok(());
                        }
                    }
                }
                // Refused: nothing to be heard, and nothing to be ended; the caller looks again later.
                Happened::Done(_, _, text) => return Err(self.refused("IDLE", text)),
                _ => {}
            }
        }
    }
}
