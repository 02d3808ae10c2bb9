//! The way in: from credentials whose user name is a route to a provider's server that has taken them.
//!
//! In this order, so that each check is paid for only by what passed the ones before it: route, mailbox, target, back-off,
//! places, what the server said last, access token, connection, login. Of all failures only wrong credentials make the
//! next attempt wait here ([`Guard`]), and only a server's own "not now" makes it wait for the server (`throttle`).

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use postern_shared::clock::Clock;
use postern_shared::id::MailboxId;
use postern_shared::proto::sasl::{BearerCredentials, Credentials};
use postern_shared::tls::client::TrustError;

use super::places::Places;
use super::targets::Target;
use super::throttle::Throttle;
use super::upstream::{
    Dialer, FailureStep, Identity, Link, Pop3Server, RefusalKind, SmtpServer, UpstreamError,
};
use super::{Account, AccountPlace, BadRoute, LoginRefusal, Route, Tokens};
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
    guard: Mutex<Guard>,
    throttle: Mutex<Throttle>,
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
    protocol: ProxyProtocol,
    client: IpAddr,
    route: Route,
    target: Target,
    attempt: Attempt,
    place: AccountPlace,
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
            guard: Mutex::new(Guard::new(back_off)),
            throttle: Mutex::default(),
        };
        Self { shared: Arc::new(shared), tokens: None }
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
        let (passed, identity) = self.pass(ProxyProtocol::Smtp, entrance, client, credentials).await?;
        let server = self.shared.dialer.smtp(&passed.target, Some(identity)).await;
        self.settle(passed, server)
    }

    /// Logs in at the POP3 server that the user name leads to.
    pub async fn log_in_pop3(
        &self,
        entrance: Entrance,
        client: IpAddr,
        credentials: Credentials,
    ) -> Result<Admitted<Pop3Server>, LoginRefusal> {
        let (passed, identity) = self.pass(ProxyProtocol::Pop3, entrance, client, credentials).await?;
        let server = self.shared.dialer.pop3(&passed.target, Some(identity)).await;
        self.settle(passed, server)
    }

    /// All that can be checked without the server.
    async fn pass(
        &self,
        protocol: ProxyProtocol,
        entrance: Entrance,
        client: IpAddr,
        credentials: Credentials,
    ) -> Result<(Passed, Identity), LoginRefusal> {
        let passed = match self.check(protocol, entrance, client, credentials.user()) {
            Ok(passed) => passed,
            Err(refusal) => {
                if matches!(refusal, LoginRefusal::Upstream(_)) {
                    metrics().proxy.upstream_failed(FailureStep::Policy);
                }
                metrics().proxy.login(protocol, refusal.counted());
                tracing::info!(%client, ?protocol, why = %refusal, "a proxied login is refused");
                return Err(refusal);
            }
        };
        match self.identity(&passed.route.account, credentials).await {
            Ok(identity) => Ok((passed, identity)),
            Err(refusal) => Err(self.refused(&passed, refusal)),
        }
    }

    fn check(
        &self,
        protocol: ProxyProtocol,
        entrance: Entrance,
        client: IpAddr,
        user: &str,
    ) -> Result<Passed, LoginRefusal> {
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
        let (account, now) = (&route.account, shared.clock.moment());
        let attempt = {
            let guard = lock(&shared.guard);
            let attempt = guard.attempt(client, &account.to_string());
            let left = guard.wait(attempt, now);
            if !left.is_zero() {
                return Err(LoginRefusal::MustWait(left));
            }
            attempt
        };
        let place = shared.places.take(account, protocol).ok_or(LoginRefusal::TooManySessions)?;
        if let Some((left, words)) = lock(&shared.throttle).wait(account, now) {
            return Err(LoginRefusal::Throttled { left, words });
        }
        Ok(Passed { protocol, client, route, target, attempt, place })
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

    /// What the server is to get: the client's own password or token under the account's name, or the broker's token.
    async fn identity(&self, account: &Account, credentials: Credentials) -> Result<Identity, LoginRefusal> {
        let broker = self.tokens.as_ref().filter(|tokens| tokens.is_bound(account));
        let (credentials, preferred) = match (broker, credentials) {
            (Some(broker), Credentials::Password(plain)) => {
                let token = broker.token(account, plain.password).await.map_err(LoginRefusal::Token)?;
                let bearer = BearerCredentials { user: account.user.clone(), token: token.token };
                (Credentials::Bearer(bearer), Some(token.mechanism))
            }
            (_, own) => (own.renamed(account.user.clone()), None),
        };
        Identity::new(credentials, preferred).map_err(LoginRefusal::Credentials)
    }

    /// Draws the lesson from what the server said.
    fn settle<S: HasLink>(
        &self,
        passed: Passed,
        server: Result<S, UpstreamError>,
    ) -> Result<Admitted<S>, LoginRefusal> {
        let server = match server {
            Ok(server) => server,
            Err(error) => {
                metrics().proxy.upstream_failed(error.step());
                return Err(self.refused(&passed, error.into()));
            }
        };
        let Passed { protocol, client, route, attempt, place, .. } = passed;
        lock(&self.shared.guard).succeeded(attempt);
        lock(&self.shared.throttle).cleared(&route.account);
        metrics().proxy.login(protocol, ProxyLogin::Ok);
        let link = server.link();
        let tls = link.tls().map_or("", |tls| &tls.version);
        tracing::info!(%client, account = %route.account, server = link.server(), tls, "proxied login");
        Ok(Admitted { route, server, place })
    }

    fn refused(&self, passed: &Passed, refusal: LoginRefusal) -> LoginRefusal {
        let (shared, now) = (&*self.shared, self.shared.clock.moment());
        let Passed { protocol, client, route, target, attempt, .. } = passed;
        if refusal.is_wrong_credentials() {
            lock(&shared.guard).failed(*attempt, now);
        }
        if let LoginRefusal::Upstream(error) = &refusal
            && let Some(no) = error.refusal().filter(|no| no.kind == RefusalKind::Busy)
        {
            lock(&shared.throttle).throttled(&route.account, &no.words, now);
        }
        metrics().proxy.login(*protocol, refusal.counted());
        let (account, server) = (&route.account, target);
        let untrusted = match &refusal {
            LoginRefusal::Upstream(error) => error.not_trusted(),
            _ => None,
        };
        if let Some(untrusted) = untrusted {
            // Here an operator finds what could be pinned.
            tracing::warn!(%client, %account, %server, why = %untrusted, "a server's certificate is not trusted");
        } else {
            tracing::info!(%client, %account, %server, why = %refusal, "a proxied login is refused");
        }
        refusal
    }
}

/// A server with its connection.
trait HasLink {
    fn link(&self) -> &Link;
}

impl HasLink for SmtpServer {
    fn link(&self) -> &Link {
        &self.link
    }
}

impl HasLink for Pop3Server {
    fn link(&self) -> &Link {
        &self.link
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
