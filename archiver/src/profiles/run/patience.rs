//! When a run has had enough of a server: one that lets in and lists, and hands nothing over, is not asked for all that it has.
//!
//! What was left out until then stays on the list of what is tried again, so the next run begins behind it.

use std::time::Duration;

/// How often a session that breaks is taken up again before anything came of one.
const ATTEMPTS_MAX: u32 = 3;
/// Messages that are left out, one after the other, before it is the server that fails.
const MESSAGES_MAX: u32 = 5;
/// The same of folders.
const FOLDERS_MAX: u32 = 20;
/// Sessions of a run that bring nothing.
const FRUITLESS_MAX: u32 = 100;
/// A run with so many sessions that broke has come to an end, whatever comes of them.
const SESSIONS_MAX: u32 = 1000;
const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 5 } else { 2000 });
/// The longest pause, in pauses.
const PAUSES_MAX: u32 = 30;

/// Something at which a session broke, and that the others do not wait for any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeftOut {
    Message,
    Folder,
}

/// What sessions with one account, or gateway, came to in this run.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// Sessions since something came or was left out.
    attempts: u32,
    /// Messages left out since one came, and folders since one was read.
    messages: u32,
    folders: u32,
    /// Sessions that brought nothing, in a row and in all.
    in_a_row: u32,
    fruitless: u32,
    sessions: u32,
}

impl Patience {
    /// Messages came.
    pub(super) fn came(&mut self) {
        (self.attempts, self.messages, self.folders, self.in_a_row) = (0, 0, 0, 0);
    }

    /// A folder was read to its end; there may have been nothing new in it.
    pub(super) fn read_folder(&mut self) {
        self.folders = 0;
    }

    /// A session broke; `came` says whether messages came of it. How long to wait before the next one.
    pub(super) fn broke(&mut self, came: bool, left_out: Option<LeftOut>) -> Duration {
        self.sessions += 1;
        if came {
            self.came();
        } else {
            self.in_a_row += 1;
            self.fruitless += 1;
        }
        match left_out {
            Some(LeftOut::Message) => self.messages += 1,
            Some(LeftOut::Folder) => self.folders += 1,
            None => {}
        }
        self.attempts = if came || left_out.is_some() { 0 } else { self.attempts + 1 };
        PAUSE * self.in_a_row.min(PAUSES_MAX)
    }

    /// Whether no further session is worth it.
    pub(super) fn is_over(&self) -> bool {
        self.hands_nothing_over()
            || self.attempts > ATTEMPTS_MAX
            || self.folders >= FOLDERS_MAX
            || self.fruitless >= FRUITLESS_MAX
            || self.sessions >= SESSIONS_MAX
    }

    /// Whether it breaks at every message.
    pub(super) fn hands_nothing_over(&self) -> bool {
        self.messages >= MESSAGES_MAX
    }

    /// The messages were bad ones before, so they say nothing of the server.
    pub(super) fn pardon(&mut self) {
        self.messages = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sessions until a run is over that all end like that, and how long it waits between them.
    fn sessions(how: impl Fn(u32) -> (bool, Option<LeftOut>)) -> (u32, Duration) {
        let (mut patience, mut waited) = (Patience::default(), Duration::ZERO);
        for session in 1.. {
            let (came, left_out) = how(session);
            waited += patience.broke(came, left_out);
            if patience.is_over() {
                return (session, waited);
            }
        }
        unreachable!("a run has an end")
    }

    /// Goal: whatever a server does at its messages and folders, a run has an end, and is no flood of logins before.
    #[test]
    fn a_run_has_an_end() {
        let every_second =
            |what: LeftOut| move |session: u32| (false, session.is_multiple_of(2).then_some(what));
        let pauses = |count: u32| PAUSE * (1..=count).map(|pause| pause.min(PAUSES_MAX)).sum::<u32>();
        assert_eq!(sessions(|_| (false, None)), (4, pauses(4)));
        assert_eq!(sessions(every_second(LeftOut::Message)), (10, pauses(10)));
        assert_eq!(sessions(every_second(LeftOut::Folder)), (40, pauses(40)));
        assert_eq!(sessions(|_| (true, None)).0, SESSIONS_MAX);
        // Bad messages among good ones are each left out, run by run.
        let among_good = |session: u32| {
            (!session.is_multiple_of(2), session.is_multiple_of(2).then_some(LeftOut::Message))
        };
        assert_eq!(sessions(among_good).0, 2 * FRUITLESS_MAX);
        // A good session at its end counts too.
        let mut patience = Patience::default();
        for _ in 0..MESSAGES_MAX {
            patience.broke(false, Some(LeftOut::Message));
            patience.came();
        }
        assert!(!patience.is_over());
    }
}
