//! Opening a folder, and what is noticed about it while it is open.

use postern_shared::proto::imap::{Code, Command, Condition, Response, Text, Uid};
use tokio::time::timeout;

use super::changes::State;
use super::{ImapSource, folders};
use crate::sources::SourceError;
use crate::sources::account::FolderId;

/// The folder that is open.
#[derive(Debug, Clone)]
pub(super) struct Opened {
    pub(super) folder: FolderId,
    pub(super) state: State,
    writable: bool,
    pub(super) messages: Option<u32>,
    /// The number of the last message that was told of, or 0; while it is known.
    pub(super) told: Option<u32>,
    /// All changes up to its state were told: for more it must be opened again.
    pub(super) read_through: bool,
    /// Something happened in it that was not told yet.
    pub(super) stirred: bool,
}

impl ImapSource {
    /// The folder's state; opens it when it is not open, or must be looked at afresh.
    pub(super) async fn open(
        &mut self,
        folder: &FolderId,
        writable: bool,
        afresh: bool,
    ) -> Result<State, SourceError> {
        if let Some(opened) = &self.opened
            && opened.folder == *folder
            && (opened.writable || !writable)
            && !afresh
        {
            return Ok(opened.state);
        }
        let limit = self.limits.list;
        timeout(limit, self.open_now(folder, writable))
            .await
            .unwrap_or_else(|_| Err(self.late("the opening of a folder", limit)))
    }

    async fn open_now(&mut self, folder: &FolderId, writable: bool) -> Result<State, SourceError> {
        self.opened = None;
        let session = &self.connection.session;
        let name = folders::wire_of(folder, session.is_utf8());
        let enabled = session.enabled().condstore();
        let ask = if session.capabilities().condstore() && !enabled { " (CONDSTORE)" } else { "" };
        let (verb, label) = if writable { ("SELECT ", "SELECT") } else { ("EXAMINE ", "EXAMINE") };
        let command = Command::new(verb).string(&name).text(ask);
        let (mut validity, mut uid_next, mut modseq, mut messages) = (None, None, 0, None);
        let (condition, text) = self
            .perform(command, label, |response| {
                match response {
                    Response::Status(_, Text { code: Some(code), .. }) => match code {
                        Code::UidValidity(found) => validity = Some(found),
                        Code::UidNext(found) => uid_next = Some(found),
                        Code::HighestModSeq(found) => modseq = found,
                        Code::NoModSeq => modseq = 0,
                        // What came before belongs to the folder that was open (RFC 7162 §3.2.11).
                        Code::Closed => (validity, uid_next, modseq, messages) = (None, None, 0, None),
                        _ => {}
                    },
                    Response::Exists(found) => messages = Some(found),
                    _ => {}
                }
                Ok(())
            })
            .await?;
        let fail = |text: String| SourceError::Folder {
            host: self.settings.host.clone(),
            folder: folder.clone(),
            text,
        };
        if condition != Condition::Ok {
            return Err(fail(text.to_string()));
        }
        if writable && text.code == Some(Code::ReadOnly) {
            return Err(fail("it cannot be changed: it is read-only for this user".into()));
        }
        let validity: Uid = validity.ok_or_else(|| fail("the server tells no UIDVALIDITY".into()))?;
        let state = State { validity, uid_next, modseq };
        self.opened = Some(Opened {
            folder: folder.clone(),
            state,
            writable,
            messages,
            told: None,
            read_through: false,
            stirred: false,
        });
        Ok(state)
    }

    /// Takes notice of what a server says of the open folder at any time.
    pub(super) fn note(&mut self, response: &Response) {
        let Some(opened) = &mut self.opened else { return };
        match response {
            Response::Exists(messages) if opened.messages != Some(*messages) => {
                opened.messages = Some(*messages);
                opened.stirred = true;
            }
            Response::Expunge(number) => {
                opened.told = opened.told.map(|told| told - u32::from(*number <= told));
                opened.messages = opened.messages.map(|messages| messages.saturating_sub(1));
                opened.stirred = true;
            }
            Response::Vanished { earlier: false, uids } => {
                let gone = u32::try_from(uids.len()).unwrap_or(u32::MAX);
                opened.messages = opened.messages.map(|messages| messages.saturating_sub(gone));
                opened.told = None;
                opened.stirred = true;
            }
            _ => {}
        }
    }
}
