//! What serves connections: SMTP for all doors that take mail, POP3 for all that hand it out, and the proxy beside both.

//!
//! A reload makes all of them anew for connections that begin then; what they share with those before (locks on maildrops,
//! sessions counted, waits after failed logins, memory) stays one.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use anyhow::{Context as _, Result};

use crate::app::Core;
use crate::console::{self, Console, Process};
use crate::intake::SealingIntake;
use crate::intake::authentication::{Authentication, Checker};
use crate::intake::memory::Memory;
use crate::listen::{Limits, Replaceable, allow_many_descriptors};
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

type Smtp = SmtpServer<SealingIntake>;
type Pop3 = Pop3Server<Registry, SpooledMaildrops>;

/// What serves at this moment, and how much.
pub(crate) struct Serving {
    pub(crate) smtp: Replaceable<Smtp>,
    pub(crate) pop3: Replaceable<Pop3>,
    /// Places for senders, for archivers, and at the console.
    pub(crate) senders: Limits,
    pub(crate) archivers: Limits,
    pub(crate) console: Limits,
    /// The pages, once they are served.
    pub(crate) pages: OnceLock<Weak<Console>>,
    pub(crate) process: Arc<Process>,
    servers: Mutex<Arc<Servers>>,
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving").finish_non_exhaustive()
    }
}

impl Serving {
    /// With the addresses that the gateway itself listens on, which the proxy never connects to.
    pub(crate) fn open(core: &Core, own: Vec<SocketAddr>, process: Arc<Process>) -> Result<Self> {
        let settings = core.settings();
        let servers = Servers::new(core, Arc::clone(&settings), own)?;
        let limits = |quota| Limits::with(quota, Arc::clone(&core.clock));
        let serving = Self {
            smtp: Replaceable::new(servers.smtp.clone()),
            pop3: Replaceable::new(servers.pop3.clone()),
            senders: limits(settings.limits.smtp),
            archivers: limits(settings.limits.pop3),
            console: limits(console::quota(&settings)),
            pages: OnceLock::new(),
            process,
            servers: Mutex::new(Arc::new(servers)),
        };
        serving.limit(&settings);
        Ok(serving)
    }

    /// One of each for other settings, not serving yet.
    pub(crate) fn prepare(&self, core: &Core, settings: &Arc<Settings>) -> Result<Servers> {
        let now = Arc::clone(&self.servers.lock().unwrap_or_else(PoisonError::into_inner));
        now.renewed(core, Arc::clone(settings))
    }

    /// From now on these serve. Nobody who is connected notices.
    pub(crate) fn replace(&self, servers: Servers) {
        self.smtp.replace(servers.smtp.clone());
        self.pop3.replace(servers.pop3.clone());
        self.limit(&servers.settings);
        if let Some(pages) = self.pages.get().and_then(Weak::upgrade) {
            pages.follow(&servers.settings);
        }
        *self.servers.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(servers);
    }

    /// What is known of mail that clients fetched through the proxy; without a proxy nothing is.
    pub(crate) fn fetched(&self) -> Option<Arc<Recording<SealingIntake>>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).fetched.clone()
    }

    fn limit(&self, settings: &Settings) {
        let limits = &settings.limits;
        allow_many_descriptors(limits.smtp.sessions + limits.pop3.sessions + settings.console.connections);
        let handshakes = limits.handshakes();
        for (places, quota) in [
            (&self.senders, limits.smtp),
            (&self.archivers, limits.pop3),
            (&self.console, console::quota(settings)),
        ] {
            places.follow(quota, handshakes.clone(), limits.answer_deadline);
        }
    }
}

/// One of each, for all listeners: what they share is bounded over all of them, and a maildrop is locked whichever door its
/// client came through.
pub(crate) struct Servers {
    settings: Arc<Settings>,
    own: Vec<SocketAddr>,
    smtp: Smtp,
    pop3: Pop3,
    intake: SealingIntake,
    logins: Arc<LoginPool>,
    authentication: Option<Authentication>,
    /// Once there was one it is kept, also while it is switched off: it remembers who must wait.
    proxy: Option<Proxy>,
    fetched: Option<Arc<Recording<SealingIntake>>>,
    /// What of proxied messages is held until they are whole.
    memory: Option<Memory>,
}

impl Servers {
    fn new(core: &Core, settings: Arc<Settings>, own: Vec<SocketAddr>) -> Result<Self> {
        let intake = SealingIntake::new(
            Arc::clone(&core.registry),
            Arc::clone(&core.spool),
            Arc::clone(&core.clock),
            Arc::clone(&core.ids),
            settings.host_name.clone(),
        );
        Self::make(core, settings, own, intake, None)
    }

    fn renewed(&self, core: &Core, settings: Arc<Settings>) -> Result<Self> {
        Self::make(core, settings, self.own.clone(), self.intake.clone(), Some(self))
    }

    fn make(
        core: &Core,
        settings: Arc<Settings>,
        own: Vec<SocketAddr>,
        intake: SealingIntake,
        before: Option<&Self>,
    ) -> Result<Self> {
        let limits = &settings.limits;
        let sizes = |settings: &Settings| (settings.limits.logins_at_once, settings.limits.logins_waiting);
        let same_pool = before.filter(|before| sizes(&before.settings) == sizes(&settings));
        let logins = same_pool.map_or_else(
            || Arc::new(LoginPool::new(limits.logins_at_once, limits.logins_waiting)),
            |before| Arc::clone(&before.logins),
        );
        let same = before.filter(|before| before.settings.authentication == settings.authentication);
        let authentication = match same {
            Some(before) => before.authentication.clone(),
            None => authentication(core, &settings)?,
        };
        let kept = before.and_then(|before| before.proxy.as_ref());
        let proxy = proxy(core, &settings, own.clone(), &logins, kept)?;
        let fetched = match before.and_then(|before| before.fetched.clone()) {
            Some(fetched) => Some(fetched),
            None => proxy.as_ref().map(|_| recording(core, intake.clone())).transpose()?,
        };
        let on = proxy.clone().filter(Proxy::is_on);
        let fetching = on.clone().zip(fetched.clone()).map(|(proxy, recording)| {
            let fetching =
                Pop3Proxy::new(proxy, recording, limits.message_bytes_max, Arc::clone(&core.clock));
            match before.and_then(|before| before.memory.clone()) {
                Some(memory) => fetching.sharing_memory(memory),
                None => fetching,
            }
        });
        let memory = fetching.as_ref().map(Pop3Proxy::memory);
        let memory = memory.or_else(|| before.and_then(|before| before.memory.clone()));
        let fetching = fetching.map(|fetching| Arc::new(fetching) as Arc<dyn pop3_server::Elsewhere>);
        let smtp = smtp(core, &settings, intake.clone(), on, authentication.clone());
        let pop3_settings = pop3_settings(core, &settings, Arc::clone(&logins));
        let pop3 = match before {
            Some(before) => before.pop3.with_settings(pop3_settings, fetching),
            None => {
                let maildrops = Arc::new(SpooledMaildrops::new(Arc::clone(&core.spool)));
                Pop3Server::beside(Arc::clone(&core.registry), maildrops, pop3_settings, fetching)
            }
        };
        Ok(Self { settings, own, smtp, pop3, intake, logins, authentication, proxy, fetched, memory })
    }
}

fn smtp(
    core: &Core,
    settings: &Settings,
    intake: SealingIntake,
    proxy: Option<Proxy>,
    authentication: Option<Authentication>,
) -> Smtp {
    let limits = &settings.limits;
    let session = Arc::new(SessionSettings {
        host_name: settings.host_name.clone(),
        domain: core.registry.domain().to_owned(),
        mailboxes: Arc::new(mailboxes(core)),
        message_bytes_max: limits.message_bytes_max,
        limits: limits.session,
        product: settings.product(),
    });
    let sending = proxy.map(|proxy| {
        let (session, clock) = (Arc::clone(&session), Arc::clone(&core.clock));
        let proxy = SmtpProxy::new(proxy, session, intake.clone(), limits.patience, clock);
        Arc::new(proxy) as Arc<dyn smtp_receiver::Elsewhere>
    });
    SmtpServer::new(session, intake.with_authentication(authentication))
        .with_patience(limits.patience, Arc::clone(&core.clock))
        .beside(sending, limits.login_failure_pause)
}

fn pop3_settings(core: &Core, settings: &Settings, logins: Arc<LoginPool>) -> pop3_server::Settings {
    let limits = &settings.limits;
    pop3_server::Settings {
        idle: limits.pop3_idle,
        login_deadline: limits.pop3_login,
        failure_pause: limits.login_failure_pause,
        logins,
        back_off: limits.back_off,
        product: settings.product(),
        clock: Arc::clone(&core.clock),
    }
}

/// What clients log in elsewhere with: none when the operator never wanted one, else as the settings say.
fn proxy(
    core: &Core,
    settings: &Settings,
    own: Vec<SocketAddr>,
    logins: &Arc<LoginPool>,
    before: Option<&Proxy>,
) -> Result<Option<Proxy>> {
    let Settings { proxy, limits, host_name, .. } = settings;
    let gateway = (host_name.as_str(), own);
    let proxy = match before {
        Some(before) => before.with_settings(proxy, limits.back_off, gateway)?,
        None if !proxy.enabled => return Ok(None),
        None => {
            let (registry, clock) = (Arc::clone(&core.registry), Arc::clone(&core.clock));
            Proxy::new(proxy, limits.back_off, gateway, registry, clock)?
        }
    };
    let broker = PooledBroker::new(Arc::clone(&core.oauth), Arc::clone(logins));
    Ok(Some(proxy.with_tokens(Arc::new(broker))))
}

/// How mail that clients fetch is recorded.
fn recording(core: &Core, intake: SealingIntake) -> Result<Arc<Recording<SealingIntake>>> {
    let (disk, clock) = (Arc::clone(&core.disk), Arc::clone(&core.clock));
    let data_dir = core.settings().data_dir.clone();
    let seen = Seen::open(Arc::clone(&disk), &data_dir, clock)
        .with_context(|| format!("cannot use {}", data_dir.join("proxy").display()))?;
    let mailboxes = Arc::new(mailboxes(core));
    let reserve_bytes = spool::Settings::default().reserve_bytes;
    Ok(Arc::new(Recording { intake, seen, mailboxes, disk, data_dir, reserve_bytes }))
}

fn mailboxes(core: &Core) -> SpooledMailboxes {
    SpooledMailboxes::new(Arc::clone(&core.registry), Arc::clone(&core.spool))
}

fn authentication(core: &Core, settings: &Settings) -> Result<Option<Authentication>> {
    let settings = &settings.authentication;
    if !settings.enabled {
        return Ok(None);
    }
    let checker = Checker::new(&*core.disk, &settings.resolvers, settings.bounds.deadline)?;
    Ok(Some(Authentication::new(Arc::new(checker), settings.bounds.clone())))
}
