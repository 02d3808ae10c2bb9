//! The way in: from credentials whose user name is a route to a provider's server that has taken them.
//!
//! In this order, so that each check is paid for only by what passed the ones before it: route, mailbox, target, back-off,
//! what the server said last (of a bound account: behind its password), a turn, access token, connection, login, a place. Of all failures only wrong credentials make
//! the next attempt wait here ([`Guard`]), and only a server's own "not now" makes it wait for the server (`throttle`).

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use postern_shared::clock::Clock;
use postern_shared::crypto::password::is_generated;
use postern_shared::id::MailboxId;
use postern_shared::proto::sasl::{BearerCredentials, Credentials, Mechanism};
use postern_shared::tls::client::TrustError;
use secrecy::{ExposeSecret, SecretString};

use super::places::Places;
use super::targets::Target;
use super::throttle::{Asked, Throttle};
use super::turns::{Turn, Turns};
use super::upstream::{
    Dialer, FailureStep, Identity, Link, Pop3Server, RefusalKind, SmtpServer, UpstreamError,
};
use super::{Account, AccountPlace, Admission, BadRoute, LoginRefusal, Route, Tokens};
use crate::listen::Entrance;
use crate::login::{Attempt, BackOff, Guard};
use crate::mailbox::{MailboxError, Registry, Status};
use crate::monitoring::{ProxyLogin, ProxyProtocol, metrics};
use crate::settings::ProxySettings;

/// Lets clients through to their servers; clones share everything.
#[derive(Debug, Clone)]
pub struct Proxy {
    shared: Arc<Shared>,
    tokens: Option<Arc<dyn Tokens>>,
}

#[derive(Debug)]
struct Shared {
    settings: ProxySettings,
    registry: Arc<Registry>,
    clock: Arc<dyn Clock>,
    dialer: Dialer,
    places: Places,
    turns: Arc<Turns>,
    guard: Arc<Mutex<Guard>>,
    throttle: Arc<Mutex<Throttle>>,
}

/// A client that was let through.
#[derive(Debug)]
pub struct Admitted<S> {
    /// Where it goes.
    pub route: Route,
    /// The server, logged in.
    pub server: S,
    /// Its place, held for the session.
    pub place: AccountPlace,
}

/// What is known once all was checked that can be checked here.
struct Passed {
    client: IpAddr,
    route: Route,
    target: Target,
    attempt: Attempt,
    asked: Asked,
}

impl Proxy {
    /// A proxy of a gateway of that name with those listeners. Reads the certificate authorities that the settings name.
    pub fn new(
        settings: &ProxySettings,
        back_off: BackOff,
        (host_name, own): (&str, Vec<SocketAddr>),
        registry: Arc<Registry>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TrustError> {
        let dialer = Dialer::new(settings, host_name, own)?;
        Ok(Self::with_dialer(settings, back_off, dialer, registry, clock))
    }

    pub(super) fn with_dialer(
        settings: &ProxySettings,
        back_off: BackOff,
        dialer: Dialer,
        registry: Arc<Registry>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let shared = Shared {
            settings: settings.clone(),
            registry,
            clock,
            dialer,
            places: Places::new(settings.sessions_per_account),
            turns: Arc::default(),
            guard: Arc::new(Mutex::new(Guard::new(back_off))),
            throttle: Arc::default(),
        };
        Self { shared: Arc::new(shared), tokens: None }
    }

    /// The same with other settings: accounts' sessions are counted together, and who or what must be waited for still
    /// must.
    pub fn with_settings(
        &self,
        settings: &ProxySettings,
        back_off: BackOff,
        (host_name, own): (&str, Vec<SocketAddr>),
    ) -> Result<Self, TrustError> {
        let before = &*self.shared;
        let shared = Shared {
            settings: settings.clone(),
            registry: Arc::clone(&before.registry),
            clock: Arc::clone(&before.clock),
            dialer: Dialer::new(settings, host_name, own)?,
            places: before.places.allowing(settings.sessions_per_account),
            turns: Arc::clone(&before.turns),
            guard: Arc::clone(&before.guard),
            throttle: Arc::clone(&before.throttle),
        };
        lock(&before.guard).follow(back_off);
        Ok(Self { shared: Arc::new(shared), tokens: self.tokens.clone() })
    }

    /// The same with a broker of access tokens. Every clone that serves clients must have it: without, a proxy password
    /// would go to the server.
    #[must_use]
    pub fn with_tokens(self, tokens: Arc<dyn Tokens>) -> Self {
        Self { tokens: Some(tokens), ..self }
    }

    /// What stands between the parts of a route.
    pub fn divider(&self) -> char {
        self.shared.settings.divider
    }

    /// Whether the operator wants a proxy at all.
    pub fn is_on(&self) -> bool {
        self.shared.settings.enabled
    }

    /// The settings.
    pub fn settings(&self) -> &ProxySettings {
        &self.shared.settings
    }

    /// Logs in at the SMTP server that the user name leads to.
    pub async fn log_in_smtp(
        &self,
        entrance: Entrance,
        client: IpAddr,
        credentials: Credentials,
    ) -> Result<Admitted<SmtpServer>, LoginRefusal> {
        self.log_in(entrance, client, credentials).await
    }

    /// Logs in at the POP3 server that the user name leads to.
    pub async fn log_in_pop3(
        &self,
        entrance: Entrance,
        client: IpAddr,
        credentials: Credentials,
    ) -> Result<Admitted<Pop3Server>, LoginRefusal> {
        self.log_in(entrance, client, credentials).await
    }

    async fn log_in<S: Server>(
        &self,
        entrance: Entrance,
        client: IpAddr,
        credentials: Credentials,
    ) -> Result<Admitted<S>, LoginRefusal> {
        let (passed, _turn) = match self.pass(entrance, client, credentials.user()).await {
            Ok(passed) => passed,
            Err(refusal) => {
                if matches!(refusal, LoginRefusal::Upstream(_)) {
                    metrics().proxy.upstream_failed(FailureStep::Policy);
                }
                metrics().proxy.login(S::PROTOCOL, refusal.counted());
                tracing::info!(%client, protocol = ?S::PROTOCOL, why = %refusal, "a proxied login is refused");
                return Err(refusal);
            }
        };
        match self.at_server(&passed, credentials).await.and_then(|server| self.admit(&passed, server)) {
            Ok(admitted) => Ok(admitted),
            Err(refusal) => {
                metrics().proxy.login(S::PROTOCOL, refusal.counted());
                self.learn(&passed, &refusal);
                Err(refusal)
            }
        }
    }

    /// All that can be checked without the server.
    async fn pass(
        &self,
        entrance: Entrance,
        client: IpAddr,
        user: &str,
    ) -> Result<(Passed, Turn), LoginRefusal> {
        let passed = self.check(entrance, client, user)?;
        let patience = self.shared.settings.login_deadline;
        let turn = self.shared.turns.take(client, patience).await.ok_or(LoginRefusal::TooManyLogins)?;
        // Others may have failed while this one waited.
        self.check_waits(&passed)?;
        Ok((passed, turn))
    }

    fn check(&self, entrance: Entrance, client: IpAddr, user: &str) -> Result<Passed, LoginRefusal> {
        let shared = &*self.shared;
        if !self.is_on() {
            return Err(LoginRefusal::Off);
        }
        let divider = self.divider();
        let route = Route::parse(user, divider).unwrap_or(Err(BadRoute::Parts(divider)));
        let route = route.map_err(LoginRefusal::Route)?;
        self.check_mailbox(route.mailbox, client)?;
        let target = shared.settings.targets.target(entrance, &route);
        let forbidden = |why| UpstreamError::Forbidden { server: target.to_string(), why };
        shared.settings.targets.judge_host(&target.host).map_err(forbidden)?;
        let attempt = lock(&shared.guard).attempt(client, &self.name_of(&route.account));
        let asked = Asked::new(&route.account, target.port, client);
        let passed = Passed { client, route, target, attempt, asked };
        self.check_waits(&passed)?;
        Ok(passed)
    }

    /// What guesses are counted against: one name at all hosts of a provider, so that none gives guessers another start.
    fn name_of(&self, account: &Account) -> String {
        let tokens = self.tokens.as_deref();
        tokens.map_or_else(|| super::oauth::account_key(account), |tokens| tokens.name_of(account))
    }

    /// The broker of an account whose password is checked here.
    fn broker_of(&self, account: &Account) -> Option<&dyn Tokens> {
        self.tokens.as_deref().filter(|tokens| tokens.is_bound(account))
    }

    fn check_waits(&self, passed: &Passed) -> Result<(), LoginRefusal> {
        let left = lock(&self.shared.guard).wait(passed.attempt, self.shared.clock.moment());
        if !left.is_zero() {
            return Err(LoginRefusal::MustWait(left));
        }
        // What the server said to a bound account is for those who know its password.
        if self.broker_of(&passed.route.account).is_some() { Ok(()) } else { self.check_throttle(passed) }
    }

    fn check_throttle(&self, passed: &Passed) -> Result<(), LoginRefusal> {
        match lock(&self.shared.throttle).wait(&passed.asked, self.shared.clock.moment()) {
            Some((left, words)) => Err(LoginRefusal::Throttled { left, words }),
            None => Ok(()),
        }
    }

    fn check_mailbox(&self, id: MailboxId, client: IpAddr) -> Result<(), LoginRefusal> {
        let mailbox = self.shared.registry.show(id).map_err(|error| match error {
            MailboxError::Unknown(id) => LoginRefusal::UnknownMailbox(id),
            _ => LoginRefusal::Damaged(id),
        })?;
        if mailbox.status != Status::Active {
            return Err(LoginRefusal::Suspended(id));
        }
        if mailbox.policy.allows(Some(client)) { Ok(()) } else { Err(LoginRefusal::Network(id)) }
    }

    /// The server, logged in with the client's own password or token under the account's name, or with the broker's token.
    async fn at_server<S: Server>(
        &self,
        passed: &Passed,
        credentials: Credentials,
    ) -> Result<S, LoginRefusal> {
        let account = &passed.route.account;
        match (self.broker_of(account), credentials) {
            (Some(broker), Credentials::Password(plain)) => {
                self.with_token(passed, broker, plain.password).await
            }
            // Meant for a binding that is not there (any more), or for a mailbox here.
            (None, Credentials::Password(plain)) if is_generated(plain.password.expose_secret()) => {
                Err(LoginRefusal::GeneratedPassword)
            }
            (_, own) => Ok(self.ask(passed, own.renamed(account.user.clone()), None).await?),
        }
    }

    /// A token that is refused may have been withdrawn since the provider gave it: a fresh one tells.
    async fn with_token<S: Server>(
        &self,
        passed: &Passed,
        broker: &dyn Tokens,
        password: SecretString,
    ) -> Result<S, LoginRefusal> {
        let account = &passed.route.account;
        let mut is_retry = false;
        loop {
            let admission = self.admission(passed.attempt);
            let token =
                broker.token(account, password.clone(), admission).await.map_err(LoginRefusal::Token)?;
            self.check_throttle(passed)?;
            let bearer = BearerCredentials { user: account.user.clone(), token: token.token.clone() };
            match self.ask(passed, Credentials::Bearer(bearer), Some(token.mechanism)).await {
                Err(LoginRefusal::Upstream(error)) if is_refused(&error, RefusalKind::Credentials) => {
                    broker.refused(account, &token.token);
                    if is_retry {
                        return Err(LoginRefusal::TokenNotTaken(error));
                    }
                    is_retry = true;
                }
                answered => return answered,
            }
        }
    }

    fn admission(&self, attempt: Attempt) -> Admission {
        let shared = Arc::clone(&self.shared);
        let known = lock(&shared.guard).knows(attempt);
        let must_wait = move || !lock(&shared.guard).wait(attempt, shared.clock.moment()).is_zero();
        Admission { known, must_wait: Box::new(must_wait) }
    }

    async fn ask<S: Server>(
        &self,
        passed: &Passed,
        credentials: Credentials,
        preferred: Option<Mechanism>,
    ) -> Result<S, LoginRefusal> {
        let identity = Identity::new(credentials, preferred).map_err(LoginRefusal::Credentials)?;
        S::log_in(&self.shared.dialer, &passed.target, identity).await.map_err(|error| {
            metrics().proxy.upstream_failed(error.step());
            error.into()
        })
    }

    /// The server took the login.
    fn admit<S: Server>(&self, passed: &Passed, server: S) -> Result<Admitted<S>, LoginRefusal> {
        let (shared, Passed { client, route, .. }) = (&*self.shared, passed);
        lock(&shared.guard).succeeded(passed.attempt);
        lock(&shared.throttle).cleared(&passed.asked);
        let place = shared.places.take(&route.account, S::PROTOCOL).ok_or(LoginRefusal::TooManySessions)?;
        metrics().proxy.login(S::PROTOCOL, ProxyLogin::Ok);
        let link = server.link();
        let tls = link.tls().map_or("", |tls| &tls.version);
        tracing::info!(%client, account = %route.account, server = link.server(), tls, "proxied login");
        Ok(Admitted { route: route.clone(), server, place })
    }

    /// Draws the lesson from a login that came to nothing.
    fn learn(&self, passed: &Passed, refusal: &LoginRefusal) {
        let (shared, now) = (&*self.shared, self.shared.clock.moment());
        let Passed { client, route, target: server, .. } = passed;
        if refusal.is_wrong_credentials() {
            lock(&shared.guard).failed(passed.attempt, now);
        }
        let upstream = match refusal {
            LoginRefusal::Upstream(error) | LoginRefusal::TokenNotTaken(error) => Some(error),
            _ => None,
        };
        let leave_alone = |error: &&UpstreamError| {
            matches!(refusal, LoginRefusal::TokenNotTaken(_)) || is_refused(error, RefusalKind::Busy)
        };
        if let Some(no) = upstream.filter(leave_alone).and_then(UpstreamError::refusal) {
            lock(&shared.throttle).throttled(&passed.asked, &no.words, now);
        }
        let account = &route.account;
        if let Some(untrusted) = upstream.and_then(UpstreamError::not_trusted) {
            // Here an operator finds what could be pinned.
            tracing::warn!(%client, %account, %server, why = %untrusted, "a server's certificate is not trusted");
        } else {
            tracing::info!(%client, %account, %server, why = %refusal, "a proxied login is refused");
        }
    }
}

fn is_refused(error: &UpstreamError, kind: RefusalKind) -> bool {
    error.refusal().is_some_and(|no| no.kind == kind)
}

/// A server of either protocol, logged in.
trait Server: Sized {
    const PROTOCOL: ProxyProtocol;
    fn log_in(
        dialer: &Dialer,
        target: &Target,
        identity: Identity,
    ) -> impl Future<Output = Result<Self, UpstreamError>> + Send;
    fn link(&self) -> &Link;
}

impl Server for SmtpServer {
    const PROTOCOL: ProxyProtocol = ProxyProtocol::Smtp;

    async fn log_in(dialer: &Dialer, target: &Target, identity: Identity) -> Result<Self, UpstreamError> {
        dialer.smtp(target, Some(identity)).await
    }

    fn link(&self) -> &Link {
        &self.link
    }
}

impl Server for Pop3Server {
    const PROTOCOL: ProxyProtocol = ProxyProtocol::Pop3;

    async fn log_in(dialer: &Dialer, target: &Target, identity: Identity) -> Result<Self, UpstreamError> {
        dialer.pop3(target, Some(identity)).await
    }

    fn link(&self) -> &Link {
        &self.link
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
