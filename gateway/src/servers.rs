//! What serves connections: SMTP for all doors that take mail, POP3 for all that hand it out, and the proxy beside both.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use crate::app::Core;
use crate::intake::SealingIntake;
use crate::intake::authentication::{Authentication, Checker};
use crate::login::LoginPool;
use crate::mailbox::Registry;
use crate::pop3_server::{self, Pop3Server, SpooledMaildrops};
use crate::proxy::Proxy;
use crate::proxy::oauth::PooledBroker;
use crate::proxy::pop3::seen::Seen;
use crate::proxy::pop3::{Pop3Proxy, Recording};
use crate::proxy::smtp::SmtpProxy;
use crate::settings::Settings;
use crate::smtp_receiver::{self, SessionSettings, SmtpServer, SpooledMailboxes};
use crate::spool;

/// One of each, for all listeners: what they share is bounded over all of them, and a maildrop is locked whichever door its
/// client came through.
pub(crate) struct Servers {
    pub(crate) smtp: SmtpServer<SealingIntake>,
    pub(crate) pop3: Pop3Server<Registry, SpooledMaildrops>,
    /// What is known of mail that clients fetched through the proxy; without a proxy nothing is.
    pub(crate) fetched: Option<Arc<Recording<SealingIntake>>>,
}

impl Servers {
    /// With the addresses that the gateway itself listens on, which the proxy never connects to.
    pub(crate) fn new(core: &Core, own: Vec<SocketAddr>) -> Result<Self> {
        let limits = &core.settings.limits;
        let logins = Arc::new(LoginPool::new(limits.logins_at_once, limits.logins_waiting));
        let intake = SealingIntake::new(
            Arc::clone(&core.registry),
            Arc::clone(&core.spool),
            Arc::clone(&core.clock),
            Arc::clone(&core.ids),
            core.settings.host_name.clone(),
        );
        let proxy = proxy(core, own, &logins)?;
        let recording = proxy.as_ref().map(|_| recording(core, intake.clone())).transpose()?;
        let fetching = proxy.clone().zip(recording.clone()).map(|(proxy, recording)| {
            let clock = Arc::clone(&core.clock);
            let proxy = Pop3Proxy::new(proxy, recording, limits.message_bytes_max, clock);
            Arc::new(proxy) as Arc<dyn pop3_server::Elsewhere>
        });
        let smtp = smtp(core, intake, proxy)?;
        Ok(Self { smtp, pop3: pop3(core, logins, fetching), fetched: recording })
    }
}

fn smtp(core: &Core, intake: SealingIntake, proxy: Option<Proxy>) -> Result<SmtpServer<SealingIntake>> {
    let limits = &core.settings.limits;
    let session = Arc::new(SessionSettings {
        host_name: core.settings.host_name.clone(),
        domain: core.registry.domain().to_owned(),
        mailboxes: Arc::new(mailboxes(core)),
        message_bytes_max: limits.message_bytes_max,
        limits: limits.session,
        product: core.settings.product(),
    });
    let sending = proxy.map(|proxy| {
        let (session, clock) = (Arc::clone(&session), Arc::clone(&core.clock));
        let proxy = SmtpProxy::new(proxy, session, intake.clone(), limits.patience, clock);
        Arc::new(proxy) as Arc<dyn smtp_receiver::Elsewhere>
    });
    Ok(SmtpServer::new(session, intake.with_authentication(authentication(core)?))
        .with_patience(limits.patience, Arc::clone(&core.clock))
        .beside(sending, limits.login_failure_pause))
}

fn pop3(
    core: &Core,
    logins: Arc<LoginPool>,
    fetching: Option<Arc<dyn pop3_server::Elsewhere>>,
) -> Pop3Server<Registry, SpooledMaildrops> {
    let limits = &core.settings.limits;
    let settings = pop3_server::Settings {
        idle: limits.pop3_idle,
        login_deadline: limits.pop3_login,
        failure_pause: limits.login_failure_pause,
        logins,
        back_off: limits.back_off,
        product: core.settings.product(),
        clock: Arc::clone(&core.clock),
    };
    let maildrops = SpooledMaildrops::new(Arc::clone(&core.spool));
    Pop3Server::beside(Arc::clone(&core.registry), Arc::new(maildrops), settings, fetching)
}

/// What clients log in elsewhere with, unless the operator wants none of that.
fn proxy(core: &Core, own: Vec<SocketAddr>, logins: &Arc<LoginPool>) -> Result<Option<Proxy>> {
    let Settings { proxy, limits, host_name, .. } = &core.settings;
    if !proxy.enabled {
        return Ok(None);
    }
    let (registry, clock) = (Arc::clone(&core.registry), Arc::clone(&core.clock));
    let proxy = Proxy::new(proxy, limits.back_off, (host_name, own), registry, clock)?;
    let broker = PooledBroker::new(Arc::clone(&core.oauth), Arc::clone(logins));
    Ok(Some(proxy.with_tokens(Arc::new(broker))))
}

/// How mail that clients fetch is recorded.
fn recording(core: &Core, intake: SealingIntake) -> Result<Arc<Recording<SealingIntake>>> {
    let (disk, clock) = (Arc::clone(&core.disk), Arc::clone(&core.clock));
    let data_dir = core.settings.data_dir.clone();
    let seen = Seen::open(Arc::clone(&disk), &data_dir, clock)
        .with_context(|| format!("cannot use {}", data_dir.join("proxy").display()))?;
    let mailboxes = Arc::new(mailboxes(core));
    let reserve_bytes = spool::Settings::default().reserve_bytes;
    Ok(Arc::new(Recording { intake, seen, mailboxes, disk, data_dir, reserve_bytes }))
}

fn mailboxes(core: &Core) -> SpooledMailboxes {
    SpooledMailboxes::new(Arc::clone(&core.registry), Arc::clone(&core.spool))
}

fn authentication(core: &Core) -> Result<Option<Authentication>> {
    let settings = &core.settings.authentication;
    if !settings.enabled {
        return Ok(None);
    }
    let checker = Checker::new(&*core.disk, &settings.resolvers, settings.bounds.deadline)?;
    Ok(Some(Authentication::new(Arc::new(checker), settings.bounds.clone())))
}
