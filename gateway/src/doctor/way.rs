//! The way of a mail client to its server, step by step, and in words which one fails.
//!
//! It goes the way that the daemon would: same rules, same certificates. The password is sent only at the last step, on a
//! connection of its own.

use std::net::SocketAddr;

use postern_shared::clock::{Clock as _, SystemClock, UnixMillis};
use postern_shared::crypto::digest::sha256;
use postern_shared::crypto::password::is_generated;
use postern_shared::proto::sasl::{Credentials, PlainCredentials};
use postern_shared::tls::server::Leaf;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::{Ask, Finding};
use crate::command::{Command, oauth};
use crate::listen::Entrance;
use crate::proxy::targets::{Forbidden, Target, TlsMode};
use crate::proxy::upstream::{
    Dialer, FailureStep, Identity, LoginError, Pop3Login, RefusalKind, SmtpLogin, UpstreamError,
};
use crate::proxy::{Link, Route};
use crate::settings::Settings;

const USER_NAME: &str = "user name";
const MAILBOX: &str = "mailbox";
const POLICY: &str = "policy";
const DNS: &str = "DNS";
const TCP: &str = "TCP";
const TLS: &str = "TLS";
const GREETING: &str = "greeting";
const CAPABILITIES: &str = "capabilities";
const LOGIN: &str = "login";

/// What to try.
#[derive(Debug)]
pub(crate) struct Tried {
    /// The user name as the mail client has it.
    pub(crate) user: String,
    /// Whether the client fetches mail; `None` tells it from the port, and sends.
    pub(crate) pop3: Option<bool>,
    /// Another port of the server.
    pub(crate) port: Option<u16>,
    /// The password at the provider; without one no login is tried.
    pub(crate) password: Option<SecretString>,
}

/// Where steps go that are done.
type Tell<'t> = &'t mut (dyn FnMut(Finding) + Send);

/// The way of a mail client.
pub(crate) struct Way<'w> {
    /// The gateway's.
    pub(crate) settings: &'w Settings,
    /// What is known of mailboxes and bindings.
    pub(crate) ask: Ask<'w>,
}

impl Way<'_> {
    /// Goes it to its end, or to the first step that fails, and tells each.
    pub(crate) async fn walk(&self, mut tried: Tried, tell: Tell<'_>) {
        let Some((route, entrance)) = route(self.settings, &tried, tell) else { return };
        self.mailbox(&route, tell);
        let target = self.settings.proxy.targets.target(entrance, &route);
        // A failed step is the last one told of.
        if let Err(failed) = self.go(&route, entrance, &target, tried.password.take(), tell).await {
            tell(failed);
        }
    }

    fn mailbox(&self, route: &Route, tell: Tell<'_>) {
        let id = route.mailbox;
        tell(match (self.ask)(&Command::MailboxShow { id }) {
            Ok(shown) if shown["status"] == "active" => Finding::ok(MAILBOX, format!("{id} is active")),
            Ok(_) => {
                let advice = format!("run: postern-gateway mailbox edit {id} --status active");
                Finding::fail(MAILBOX, format!("{id} is suspended"), advice)
            }
            Err(error) => {
                Finding::fail(MAILBOX, format!("{error:#}"), "put the id of a mailbox at the user name's end")
            }
        });
    }

    /// From policy to login; the error is the step that failed.
    async fn go(
        &self,
        route: &Route,
        entrance: Entrance,
        target: &Target,
        password: Option<SecretString>,
        tell: Tell<'_>,
    ) -> Result<(), Finding> {
        let settings = self.settings;
        let failed = |error: UpstreamError| failure(&error, target);
        let dialer =
            Dialer::new(&settings.proxy, &settings.host_name, listeners(settings)).map_err(|error| {
                Finding::fail(TLS, error.to_string(), "see key proxy.trust, and trust in [[proxy.target]]")
            })?;
        let addresses = dialer.addresses(target).await.map_err(failed)?;
        tell(Finding::ok(POLICY, format!("{target} is allowed")));
        let shown: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
        tell(Finding::ok(DNS, shown.join(", ")));
        let link = dialer.connect_to(target, &addresses).await.map_err(failed)?;
        tell(Finding::ok(TCP, format!("{} takes the connection", link.address())));
        let (link, offered) = if entrance.is_pop3() {
            let mut login = Pop3Login::new(None);
            let link = dialer.log_in(link, target, &mut login).await.map_err(failed)?;
            (link, login.capabilities().lines().collect::<Vec<_>>().join(", "))
        } else {
            let mut login = SmtpLogin::new(&settings.host_name, None);
            let link = dialer.log_in(link, target, &mut login).await.map_err(failed)?;
            (link, format!("{:?}", login.extensions()))
        };
        tell(secured(&link, target));
        tell(Finding::ok(CAPABILITIES, offered));
        link.close().await;
        let Some(password) = password else {
            let advice = "give a password (--password-file, or on standard input) to try it";
            tell(Finding::warn(LOGIN, "not tried: no password was given", advice));
            return Ok(());
        };
        if self.is_bound(route) {
            let advice = "log in through the gateway to try it; `oauth list` shows the bindings";
            let found = "not tried: the account is bound, and no server gets a proxy password";
            tell(Finding::warn(LOGIN, found, advice));
            return Ok(());
        }
        if is_generated(password.expose_secret()) {
            let advice = "give the password at the provider, or bind the account: postern-gateway oauth bind";
            let found = "not tried: the password is one that the gateway made, and no server gets those";
            tell(Finding::warn(LOGIN, found, advice));
            return Ok(());
        }
        let plain = PlainCredentials { user: route.account.user.clone(), password };
        let identity = Identity::new(Credentials::Password(plain), None)
            .map_err(|error| Finding::fail(LOGIN, error.to_string(), "check user name and password"))?;
        let link = match entrance.is_pop3() {
            true => dialer.pop3(target, Some(identity)).await.map(|server| server.link),
            false => dialer.smtp(target, Some(identity)).await.map(|server| server.link),
        };
        link.map_err(failed)?.close().await;
        tell(Finding::ok(LOGIN, format!("{target} takes {}", route.account.user)));
        Ok(())
    }

    /// Whether the account's password is a proxy password; also when nobody can tell.
    fn is_bound(&self, route: &Route) -> bool {
        let account = route.account.to_string();
        let bound = (self.ask)(&Command::Oauth(oauth::Command::IsBound { account }));
        bound.map_or(true, |bound| bound != Value::Bool(false))
    }
}

fn route(settings: &Settings, test: &Tried, tell: Tell<'_>) -> Option<(Route, Entrance)> {
    let divider = settings.proxy.divider;
    let mut route = match Route::parse(&test.user, divider) {
        Some(Ok(route)) => route,
        Some(Err(error)) => {
            let advice = format!("write it as remote_user{divider}server{divider}mailbox-id");
            tell(Finding::fail(USER_NAME, error.to_string(), advice));
            return None;
        }
        None => {
            let found = format!("it holds no {divider:?}, and so leads to no server");
            let advice = format!("write it as remote_user{divider}server{divider}mailbox-id");
            tell(Finding::fail(USER_NAME, found, advice));
            return None;
        }
    };
    route.port = test.port.or(route.port);
    let pop3 = test.pop3.unwrap_or(matches!(route.port, Some(110 | 995)));
    let entrance = if pop3 { Entrance::Pop3s } else { Entrance::Submission };
    let found = format!("{} at {} into {}", route.account.user, route.account.host, route.mailbox);
    tell(match settings.proxy.enabled {
        true => Finding::ok(USER_NAME, found),
        false => {
            Finding::warn(USER_NAME, format!("{found}; but the proxy is off"), "set proxy.enabled = true")
        }
    });
    Some((route, entrance))
}

fn listeners(settings: &Settings) -> Vec<SocketAddr> {
    let listen = &settings.listen;
    let all = [&listen.smtp, &listen.smtps, &listen.submission, &listen.pop3, &listen.pop3s];
    all.into_iter().flat_map(|addresses| addresses.0.iter().copied()).collect()
}

fn secured(link: &Link, target: &Target) -> Finding {
    let how = match target.tls {
        TlsMode::Implicit => "from the first octet",
        TlsMode::StartTls => "by STARTTLS or STLS",
    };
    let tls = link.tls().map(|tls| format!("{} {}", tls.version, tls.cipher)).unwrap_or_default();
    let Some(der) = link.certificate() else {
        return Finding::fail(TLS, format!("{tls} {how}, without a certificate"), "use another server");
    };
    let fingerprint = format!("sha256:{}", sha256(der));
    let Some(leaf) = Leaf::read(der) else {
        return Finding::warn(
            TLS,
            format!("{tls} {how}; an odd certificate, {fingerprint}"),
            "see what it is",
        );
    };
    let found = format!(
        "{tls} {how}; certificate for {}, until {}, {fingerprint}; trusted by {}",
        leaf.names.join(", "),
        leaf.not_after.rfc3339(),
        target.trust
    );
    if leaf.not_after < SystemClock::new().wall().plus(SOON) && leaf.not_after > UnixMillis(0) {
        return Finding::warn(TLS, found, "it expires soon, or has: whoever runs the server must renew it");
    }
    Finding::ok(TLS, found)
}

const SOON: std::time::Duration = std::time::Duration::from_secs(14 * 24 * 3600);

fn failure(error: &UpstreamError, target: &Target) -> Finding {
    let step = match error.step() {
        FailureStep::Policy => POLICY,
        FailureStep::Resolve => DNS,
        FailureStep::Connect => TCP,
        FailureStep::Tls => TLS,
        FailureStep::Greeting => GREETING,
        FailureStep::Login => match error {
            UpstreamError::Login { at: "the login", .. } | UpstreamError::Broken { at: "the login", .. } => {
                LOGIN
            }
            UpstreamError::Login { source: LoginError::NoMechanism { .. }, .. } => LOGIN,
            _ => CAPABILITIES,
        },
    };
    Finding::fail(step, found(error), advice(error, target))
}

fn found(error: &UpstreamError) -> String {
    error.not_trusted().map_or_else(|| error.to_string(), ToString::to_string)
}

fn advice(error: &UpstreamError, target: &Target) -> String {
    match error {
        UpstreamError::Forbidden { why, .. } => match why {
            Forbidden::Denied => "take it out of proxy.deny, if it should be allowed".into(),
            Forbidden::NotAllowed => "add it to proxy.allow, if it should be allowed".into(),
            Forbidden::Reserved(_) => {
                "name it in proxy.allow, or set proxy.allow_private_targets = true".into()
            }
            Forbidden::Itself => "name the provider's server, not the gateway".into(),
        },
        UpstreamError::Resolve { .. } => {
            "check the name, and whether this machine reaches its resolver".into()
        }
        UpstreamError::Connect { .. } => {
            "check name and port, and whether a firewall lets this machine out".into()
        }
        UpstreamError::Trust(_) => "see key proxy.trust, and trust in [[proxy.target]]".into(),
        UpstreamError::Tls { .. } => match error.not_trusted() {
            Some(untrusted) => format!(
                "if that is the server's own certificate, pin it: [[proxy.target]] with host = \"{}\" and trust = \
                 \"sha256:{}\"; or name its authorities: trust = \"file:…\"",
                target.host, untrusted.presented
            ),
            None => {
                "check the port: does TLS begin there at once, or by STARTTLS? See tls in [[proxy.target]]"
                    .into()
            }
        },
        UpstreamError::Login { source, .. } => match source {
            LoginError::Refused(no) => match no.kind {
                RefusalKind::Credentials => "check the user name at the provider and the password".into(),
                RefusalKind::Permanent => {
                    "do what the server says; some providers want an app password".into()
                }
                RefusalKind::Busy | RefusalKind::InUse => "try again later".into(),
            },
            LoginError::NoTls(_) => "use a port with TLS: 465, 587 or 995".into(),
            LoginError::NoMechanism { .. } => {
                "bind the account to an access token: postern-gateway oauth bind".into()
            }
            _ => "check that a mail server of that protocol is at that port".into(),
        },
        UpstreamError::Broken { .. } => {
            "check the port: does TLS begin there at once, or by STARTTLS? See tls in [[proxy.target]]".into()
        }
    }
}
