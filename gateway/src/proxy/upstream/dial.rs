//! Connecting: names to addresses, addresses to connections, connections to logins.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use postern_shared::tls::client::{Trust, TrustError, client_config};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::error::{LoginError, UpstreamError};
use super::login::{Identity, Login, Progress};
use super::pop3_login::Pop3Login;
use super::smtp_login::SmtpLogin;
use super::{Link, Pop3Server, SmtpServer};
use crate::proxy::Host;
use crate::proxy::targets::{Target, Targets, TlsMode};
use crate::settings::ProxySettings;

/// Names resolved at once: the system's resolver takes a thread for each, for as long as name servers are silent. Eight
/// networks with all their logins in progress ([`LOGINS_PER_NETWORK`](crate::proxy::turns::LOGINS_PER_NETWORK)).
const LOOKUPS_AT_ONCE: usize = 256;
/// Of a name with more addresses, these are tried.
const ADDRESSES_MAX: usize = 8;

/// Resolves a name; blocks.
pub(in crate::proxy) type LookUp = Arc<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;

/// Makes connections to providers' servers. Clones share what is shared.
#[derive(Clone)]
pub struct Dialer {
    shared: Arc<Shared>,
}

struct Shared {
    targets: Targets,
    connect_deadline: Duration,
    login_deadline: Duration,
    write_deadline: Duration,
    /// What we call ourselves in EHLO.
    name: String,
    /// The gateway's own listeners.
    own: Vec<SocketAddr>,
    configs: HashMap<Trust, Arc<ClientConfig>>,
    look_up: LookUp,
    lookups: Arc<Semaphore>,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").field("targets", &self.shared.targets).finish_non_exhaustive()
    }
}

impl Dialer {
    /// A dialer for a gateway of that name with those listeners. Reads the certificate authorities that the settings name.
    ///
    /// # Errors
    /// When a file of authorities cannot be read. A machine without any of its own is no error until one is needed.
    pub fn new(settings: &ProxySettings, name: &str, own: Vec<SocketAddr>) -> Result<Self, TrustError> {
        let look_up = |name: &str| Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect());
        Self::with_look_up(settings, name, own, Arc::new(look_up))
    }

    pub(in crate::proxy) fn with_look_up(
        settings: &ProxySettings,
        name: &str,
        own: Vec<SocketAddr>,
        look_up: LookUp,
    ) -> Result<Self, TrustError> {
        let targets = settings.targets.clone();
        let mut configs = HashMap::new();
        let trusts = targets.exceptions.iter().filter_map(|exception| exception.trust.as_ref());
        for trust in trusts.chain([&targets.trust]) {
            match client_config(trust) {
                Ok(config) => drop(configs.insert(trust.clone(), Arc::new(config))),
                Err(error @ TrustError::NoAuthorities(_)) => {
                    tracing::warn!(%error, "the proxy cannot verify servers' certificates and will refuse logins");
                }
                Err(error) => return Err(error),
            }
        }
        let shared = Shared {
            targets,
            connect_deadline: settings.connect_deadline,
            login_deadline: settings.login_deadline,
            write_deadline: settings.reply_deadline,
            name: name.to_owned(),
            own,
            configs,
            look_up,
            lookups: Arc::new(Semaphore::new(LOOKUPS_AT_ONCE)),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Which servers, and how.
    pub fn targets(&self) -> &Targets {
        &self.shared.targets
    }

    /// A connection that is logged in over SMTP.
    pub async fn smtp(
        &self,
        target: &Target,
        identity: Option<Identity>,
    ) -> Result<SmtpServer, UpstreamError> {
        let mut login = SmtpLogin::new(&self.shared.name, identity);
        let link = self.log_in(self.connect(target).await?, target, &mut login).await?;
        Ok(SmtpServer { link, extensions: login.into_extensions() })
    }

    /// A connection that is logged in over POP3.
    pub async fn pop3(
        &self,
        target: &Target,
        identity: Option<Identity>,
    ) -> Result<Pop3Server, UpstreamError> {
        let mut login = Pop3Login::new(identity);
        let link = self.log_in(self.connect(target).await?, target, &mut login).await?;
        Ok(Pop3Server { link, capabilities: login.into_capabilities() })
    }

    /// A connection in clear, to an address that the rules allow.
    pub async fn connect(&self, target: &Target) -> Result<Link, UpstreamError> {
        let addresses = self.addresses(target).await?;
        self.connect_to(target, &addresses).await
    }

    /// The addresses of a server that the rules allow, at least one.
    pub async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, UpstreamError> {
        let shared = &self.shared;
        let forbidden = |why| UpstreamError::Forbidden { server: target.to_string(), why };
        shared.targets.judge_host(&target.host).map_err(forbidden)?;
        let found = match &target.host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => self
                .resolve(name)
                .await
                .map_err(|source| UpstreamError::Resolve { server: target.to_string(), source })?,
        };
        let mut refused = None;
        let mut allowed = Vec::new();
        for ip in found {
            let address = SocketAddr::new(ip, target.port);
            match shared.targets.judge_address(&target.host, address, &shared.own) {
                Ok(()) if !allowed.contains(&address) => allowed.push(address),
                Ok(()) => {}
                Err(why) => refused = refused.or(Some(why)),
            }
        }
        allowed.truncate(ADDRESSES_MAX);
        match (allowed.is_empty(), refused) {
            (false, _) => Ok(allowed),
            (true, Some(why)) => Err(forbidden(why)),
            (true, None) => {
                let source = io::Error::new(io::ErrorKind::NotFound, "it has no address");
                Err(UpstreamError::Resolve { server: target.to_string(), source })
            }
        }
    }

    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        timeout(self.shared.connect_deadline, async {
            let lookups = Arc::clone(&self.shared.lookups);
            let place = lookups.acquire_owned().await.map_err(io::Error::other)?;
            let (look_up, name) = (Arc::clone(&self.shared.look_up), name.to_owned());
            let looking = tokio::task::spawn_blocking(move || {
                // Held until the resolver comes back, not until somebody loses patience.
                let _place = place;
                look_up(&name)
            });
            looking.await.map_err(io::Error::other)?
        })
        .await?
    }

    /// Tries one address after the other, each for its part of the time.
    pub async fn connect_to(&self, target: &Target, addresses: &[SocketAddr]) -> Result<Link, UpstreamError> {
        let share = self.shared.connect_deadline / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address");
        for address in addresses {
            match timeout(share, TcpStream::connect(address)).await.map_err(io::Error::from).flatten() {
                Ok(stream) => {
                    return Ok(Link::new(stream, *address, target.to_string(), self.shared.write_deadline));
                }
                Err(error) => {
                    tracing::debug!(server = %target, %address, %error, "cannot connect");
                    last = error;
                }
            }
        }
        Err(UpstreamError::Connect { server: target.to_string(), source: last })
    }

    /// Does what `login` says, to its end. `link` is in clear.
    pub async fn log_in(
        &self,
        mut link: Link,
        target: &Target,
        login: &mut impl Login,
    ) -> Result<Link, UpstreamError> {
        if target.tls == TlsMode::Implicit {
            link = self.secure(link, target).await?;
            login.tls_started();
        }
        let deadline = self.shared.login_deadline;
        match timeout(deadline, self.converse(link, target, login)).await {
            Ok(done) => done,
            Err(late) => Err(broken(target, login, late.into())),
        }
    }

    async fn converse(
        &self,
        mut link: Link,
        target: &Target,
        login: &mut impl Login,
    ) -> Result<Link, UpstreamError> {
        loop {
            let out = login.output();
            if !out.is_empty() {
                link.send(&out).await.map_err(|error| broken(target, login, error))?;
            }
            // The limit on the whole is around all this.
            let more = link.fill(self.shared.login_deadline).await;
            if !more.map_err(|error| broken(target, login, error))? {
                return Err(broken(target, login, io::ErrorKind::UnexpectedEof.into()));
            }
            while !link.unread().is_empty() {
                let at = login.awaits();
                let wrong =
                    |source: LoginError| UpstreamError::Login { server: target.to_string(), at, source };
                let (used, progress) = login.receive(link.unread()).map_err(wrong)?;
                link.consume(used);
                match progress {
                    Progress::GoOn => {}
                    Progress::Ready => return Ok(link),
                    Progress::StartTls => {
                        link = self.secure(link, target).await?;
                        login.tls_started();
                    }
                }
            }
        }
    }

    async fn secure(&self, link: Link, target: &Target) -> Result<Link, UpstreamError> {
        let config = match self.shared.configs.get(&target.trust) {
            Some(config) => Arc::clone(config),
            None => Arc::new(client_config(&target.trust)?),
        };
        let failed = |source| UpstreamError::Tls { server: target.to_string(), source };
        let name = server_name(&target.host).map_err(failed)?;
        link.start_tls(config, name, self.shared.connect_deadline).await.map_err(failed)
    }
}

fn server_name(host: &Host) -> io::Result<ServerName<'static>> {
    match host {
        Host::Name(name) => ServerName::try_from(name.clone()).map_err(io::Error::other),
        Host::Address(address) => Ok(ServerName::from(*address)),
    }
}

fn broken(target: &Target, login: &impl Login, source: io::Error) -> UpstreamError {
    UpstreamError::Broken { server: target.to_string(), at: login.awaits(), source }
}
