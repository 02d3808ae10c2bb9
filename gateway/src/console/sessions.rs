//! Sessions of administrators, in memory: a restart signs everybody out, and nothing on disk is worth stealing. Pure:
//! time comes in as a value.
//!
//! A session is found by the SHA-256 of its cookie's 256 random bits. It begins in a stage in which it can do nothing but
//! go on, and each step to the next stage gives it a new cookie, so a cookie known before is worth nothing after.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postern_shared::clock::{Moment, UnixMillis};
use postern_shared::crypto::digest::{Digest, sha256};
use postern_shared::crypto::random;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::accounts::passkey::CHALLENGE_BYTES;
use super::accounts::{Account, totp};

const SESSIONS_MAX: usize = 2000;
const SESSIONS_EACH_MAX: usize = 50;
const AGENT_CHARS_MAX: usize = 200;
/// How long the steps of signing in may take.
const UNFINISHED_MAX: Duration = Duration::from_secs(10 * 60);
/// How long a passkey's challenge may be answered.
pub(super) const CHALLENGE_LASTS: Duration = Duration::from_secs(5 * 60);
/// Wrong second factors before the password has to be given again.
const TRIES_MAX: u32 = 5;

/// How far signing in has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// The password was right; the second factor is awaited.
    SecondFactor,
    /// A new password was shown; that it is stored is awaited.
    PasswordShown,
    /// Signed in.
    Full,
}

/// How long sessions last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lasting {
    /// Without a request.
    pub(super) idle: Duration,
    /// In any case.
    pub(super) lifetime: Duration,
}

#[derive(Debug)]
struct Session {
    id: String,
    name: String,
    generation: u64,
    stage: Stage,
    begun: (Moment, UnixMillis),
    seen: (Moment, UnixMillis),
    peer: IpAddr,
    agent: String,
    tries: u32,
    totp: Option<totp::Secret>,
    /// What a passkey is to answer, and since when.
    challenge: Option<([u8; CHALLENGE_BYTES], Moment)>,
}

/// What is shown of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    /// Tells it from others; no key to it.
    pub(super) id: String,
    /// Whose it is.
    pub(super) name: String,
    /// Under which generation of the record.
    pub(super) generation: u64,
    /// How far it has come.
    pub(super) stage: Stage,
    /// When the password was given.
    pub(super) begun: UnixMillis,
    /// When it was last used.
    pub(super) seen: UnixMillis,
    /// Where it began.
    pub(super) peer: IpAddr,
    /// What the browser calls itself.
    pub(super) agent: String,
    /// For how long it lasts when nothing more comes.
    pub(super) left: Duration,
}

/// Finds a session; worth nothing to others than this room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key(Digest);

impl Key {
    /// Of a cookie's value.
    pub(super) fn of(cookie: &str) -> Self {
        Self(sha256(cookie.as_bytes()))
    }
}

/// All sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    lasting: Mutex<Lasting>,
    all: Mutex<HashMap<Digest, Session>>,
}

/// The time, on both clocks.
pub(super) type Now = (Moment, UnixMillis);

impl Sessions {
    /// None yet.
    pub(super) fn new(lasting: Lasting) -> Self {
        Self { lasting: Mutex::new(lasting), all: Mutex::default() }
    }

    /// From now on all of them last so long.
    pub(super) fn last(&self, lasting: Lasting) {
        *self.lasting.lock().unwrap_or_else(PoisonError::into_inner) = lasting;
    }

    /// Begins a session; the cookie's value.
    pub(super) fn begin(
        &self,
        account: &Account,
        stage: Stage,
        peer: IpAddr,
        agent: &str,
        now: Now,
    ) -> SecretString {
        let mut all = self.lock();
        all.retain(|_, session| !self.left(session, now.0).is_zero());
        // The oldest make room: who signs in now is there now.
        while all.values().filter(|session| session.name == account.name).count() >= SESSIONS_EACH_MAX {
            remove_oldest(&mut all, |session| session.name == account.name);
        }
        while all.len() >= SESSIONS_MAX {
            remove_oldest(&mut all, |_| true);
        }
        let session = Session {
            id: hex::encode(random::<8>()),
            name: account.name.clone(),
            generation: account.generation,
            stage,
            begun: now,
            seen: now,
            peer,
            agent: agent.chars().filter(|c| !c.is_control()).take(AGENT_CHARS_MAX).collect(),
            tries: 0,
            totp: None,
            challenge: None,
        };
        insert(&mut all, session)
    }

    /// The session, when it is not over. It lasts longer then, unless the request came by itself (`renew` is false).
    pub(super) fn find(&self, key: Key, renew: bool, now: Now) -> Option<Shown> {
        let mut all = self.lock();
        let session = all.get_mut(&key.0)?;
        if self.left(session, now.0).is_zero() {
            all.remove(&key.0);
            return None;
        }
        if renew {
            session.seen = now;
        }
        Some(self.shown(session, now.0))
    }

    /// The session goes on to `stage` under another cookie, and under the account's present generation.
    pub(super) fn advance(
        &self,
        key: Key,
        stage: Stage,
        account: &Account,
        now: Now,
    ) -> Option<SecretString> {
        let mut all = self.lock();
        let mut session = all.remove(&key.0)?;
        session.stage = stage;
        session.generation = account.generation;
        session.seen = now;
        session.tries = 0;
        session.challenge = None;
        Some(insert(&mut all, session))
    }

    /// Counts a wrong second factor; the session ends with the last that it may have.
    pub(super) fn failed(&self, key: Key) {
        let mut all = self.lock();
        if let Some(session) = all.get_mut(&key.0) {
            session.tries += 1;
            if session.tries >= TRIES_MAX {
                all.remove(&key.0);
            }
        }
    }

    /// Remembers the secret that is being set up.
    pub(super) fn keep_totp(&self, key: Key, secret: totp::Secret) {
        if let Some(session) = self.lock().get_mut(&key.0) {
            session.totp = Some(secret);
        }
    }

    /// The secret that is being set up.
    pub(super) fn kept_totp(&self, key: Key) -> Option<totp::Secret> {
        self.lock().get(&key.0)?.totp.clone()
    }

    /// Gives a passkey something to answer; what was given before is worth nothing then.
    pub(super) fn give_challenge(&self, key: Key, now: Now) -> [u8; CHALLENGE_BYTES] {
        let challenge = random();
        if let Some(session) = self.lock().get_mut(&key.0) {
            session.challenge = Some((challenge, now.0));
        }
        challenge
    }

    /// What was given to be answered; it serves once.
    pub(super) fn take_challenge(&self, key: Key, now: Now) -> Option<[u8; CHALLENGE_BYTES]> {
        let (challenge, given) = self.lock().get_mut(&key.0)?.challenge.take()?;
        (now.0.since(given) < CHALLENGE_LASTS).then_some(challenge)
    }

    /// Ends a session.
    pub(super) fn end(&self, key: Key) {
        self.lock().remove(&key.0);
    }

    /// Ends the sessions of `name` that `which` is true of; how many there were.
    pub(super) fn end_of(&self, name: &str, which: impl Fn(&str, Key) -> bool) -> usize {
        let mut all = self.lock();
        let before = all.len();
        all.retain(|key, session| session.name != name || !which(&session.id, Key(*key)));
        before - all.len()
    }

    /// The sessions of `name`, the newest first.
    pub(super) fn of(&self, name: &str, now: Now) -> Vec<(Key, Shown)> {
        let all = self.lock();
        let mut found: Vec<_> = all
            .iter()
            .filter(|(_, session)| session.name == name && !self.left(session, now.0).is_zero())
            .map(|(key, session)| (Key(*key), self.shown(session, now.0)))
            .collect();
        found.sort_by(|(_, a), (_, b)| b.begun.cmp(&a.begun).then_with(|| a.id.cmp(&b.id)));
        found
    }

    fn left(&self, session: &Session, now: Moment) -> Duration {
        let Lasting { idle, lifetime } = *self.lasting.lock().unwrap_or_else(PoisonError::into_inner);
        let lifetime = if session.stage == Stage::Full { lifetime } else { lifetime.min(UNFINISHED_MAX) };
        let idle = idle.saturating_sub(now.since(session.seen.0));
        idle.min(lifetime.saturating_sub(now.since(session.begun.0)))
    }

    fn shown(&self, session: &Session, now: Moment) -> Shown {
        Shown {
            id: session.id.clone(),
            name: session.name.clone(),
            generation: session.generation,
            stage: session.stage,
            begun: session.begun.1,
            seen: session.seen.1,
            peer: session.peer,
            agent: session.agent.clone(),
            left: self.left(session, now),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Session>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn insert(all: &mut HashMap<Digest, Session>, session: Session) -> SecretString {
    let cookie = hex::encode(random::<32>());
    all.insert(sha256(cookie.as_bytes()), session);
    SecretString::from(cookie)
}

fn remove_oldest(all: &mut HashMap<Digest, Session>, which: impl Fn(&Session) -> bool) {
    let oldest = all.iter().filter(|(_, session)| which(session)).min_by_key(|(_, session)| session.seen.0);
    if let Some(key) = oldest.map(|(key, _)| *key) {
        all.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use postern_shared::clock::{Clock, ManualClock};
    use secrecy::ExposeSecret;

    use super::super::accounts::Role;
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn account(name: &str) -> Account {
        Account {
            name: name.into(),
            role: Role::Viewer,
            created: UnixMillis(0),
            password_since: UnixMillis(0),
            password_is_given: false,
            totp: false,
            passkeys: 0,
            recovery_codes: 0,
            generation: 1,
        }
    }

    fn sessions() -> (Sessions, ManualClock) {
        (Sessions::new(Lasting { idle: 30 * MINUTE, lifetime: 720 * MINUTE }), ManualClock::default())
    }

    fn now(clock: &ManualClock) -> Now {
        (clock.moment(), clock.wall())
    }

    fn key(cookie: &SecretString) -> Key {
        Key::of(cookie.expose_secret())
    }

    #[test]
    fn a_session_ends_when_idle_and_when_old() {
        let (sessions, clock) = sessions();
        let idle = sessions.begin(&account("a"), Stage::Full, PEER, "", now(&clock));
        clock.advance(29 * MINUTE);
        assert!(sessions.find(key(&idle), false, now(&clock)).is_some(), "a request that came by itself");
        clock.advance(MINUTE);
        assert!(sessions.find(key(&idle), true, now(&clock)).is_none(), "did not renew it");
        let busy = sessions.begin(&account("a"), Stage::Full, PEER, "", now(&clock));
        for _ in 0..719 {
            clock.advance(MINUTE);
            assert!(sessions.find(key(&busy), true, now(&clock)).is_some());
        }
        clock.advance(MINUTE);
        assert!(sessions.find(key(&busy), true, now(&clock)).is_none());
        let unfinished = sessions.begin(&account("a"), Stage::SecondFactor, PEER, "", now(&clock));
        clock.advance(10 * MINUTE);
        assert!(sessions.find(key(&unfinished), true, now(&clock)).is_none());
    }

    #[test]
    fn each_step_gives_another_cookie() {
        let (sessions, clock) = sessions();
        let first = sessions.begin(&account("a"), Stage::SecondFactor, PEER, "x\u{7}y", now(&clock));
        let second = sessions.advance(key(&first), Stage::Full, &account("a"), now(&clock)).unwrap();
        assert!(sessions.find(key(&first), true, now(&clock)).is_none());
        let found = sessions.find(key(&second), true, now(&clock)).unwrap();
        assert_eq!((found.stage, found.agent.as_str()), (Stage::Full, "xy"));
    }

    #[test]
    fn wrong_second_factors_end_it() {
        let (sessions, clock) = sessions();
        let cookie = sessions.begin(&account("a"), Stage::SecondFactor, PEER, "", now(&clock));
        for _ in 0..4 {
            sessions.failed(key(&cookie));
            assert!(sessions.find(key(&cookie), true, now(&clock)).is_some());
        }
        sessions.failed(key(&cookie));
        assert!(sessions.find(key(&cookie), true, now(&clock)).is_none());
    }

    #[test]
    fn sessions_are_bounded_and_the_oldest_go() {
        let (sessions, clock) = sessions();
        let first = sessions.begin(&account("a"), Stage::Full, PEER, "", now(&clock));
        for _ in 0..SESSIONS_EACH_MAX {
            clock.advance(Duration::from_secs(1));
            sessions.begin(&account("a"), Stage::Full, PEER, "", now(&clock));
        }
        assert!(sessions.find(key(&first), true, now(&clock)).is_none());
        assert_eq!(sessions.of("a", now(&clock)).len(), SESSIONS_EACH_MAX);
        let newest = sessions.of("a", now(&clock)).remove(0);
        assert_eq!(sessions.end_of("a", |_, other| other != newest.0), SESSIONS_EACH_MAX - 1);
        assert!(sessions.find(newest.0, true, now(&clock)).is_some());
        for n in 0..SESSIONS_MAX + 10 {
            sessions.begin(&account(&n.to_string()), Stage::Full, PEER, "", now(&clock));
        }
        assert_eq!(sessions.lock().len(), SESSIONS_MAX);
    }
}
