//! "How to connect": what senders, archivers and mail clients have to be told of a mailbox.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use postern_shared::id::MailboxId;
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::Of;
use crate::console::{Console, Problem};
use crate::listen::Entrance;

/// What to tell others of a mailbox.
#[derive(Serialize, ToSchema)]
pub(super) struct Connect {
    /// Where journal reports are sent.
    address: String,
    /// The domain of the address: its MX record names `host_name`.
    email_domain: String,
    /// The name to connect to; the certificate should be for it.
    host_name: String,
    /// Where senders connect.
    smtp: Vec<Entry>,
    /// Where archivers connect.
    pop3: Vec<Entry>,
    /// The archivers' user name; the password was shown when the mailbox was created.
    user_name: String,
    /// SHA-256 of the certificate, to be pinned where no authority vouches for it.
    certificate_fingerprint: String,
    /// Why clients may not trust the certificate; nothing when this machine does.
    certificate_distrusted: Option<String>,
    /// Mail is taken under TLS only.
    require_tls: bool,
    /// Who may send; everybody when there are none.
    networks: Vec<String>,
    /// The user name of mail clients that go through the proxy, with `remote_user` and `target_server` to be replaced;
    /// nothing when the proxy is off.
    proxy_user_name: Option<String>,
}

/// A port and how it is secured.
#[derive(Serialize, ToSchema)]
pub(super) struct Entry {
    /// The listener, as in `[listen]`.
    listener: &'static str,
    /// The port that the gateway itself listens on. A firewall may show another one outside.
    port: u16,
    /// The port that this service has by convention.
    usual_port: u16,
    /// How TLS begins there.
    tls: TlsBegins,
}

/// How TLS begins.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum TlsBegins {
    /// With the first octet.
    Implicit,
    /// With a command, `STARTTLS` or `STLS`.
    Starttls,
}

/// What senders, archivers and mail clients have to be told of a mailbox.
#[utoipa::path(get, path = "/api/v1/mailboxes/{id}/connect", tag = "mailboxes", operation_id = "connectFacts",
    params(("id" = String, Path, description = "The mailbox's id")),
    responses((status = 200, body = Connect), (status = 404, body = Problem)))]
pub(super) async fn connect(
    State(console): State<Arc<Console>>,
    Of(id): Of<MailboxId>,
) -> Result<Json<Connect>, Problem> {
    let mailbox = console.core.registry.show(id)?;
    let entries = |pop3: bool| {
        let doors = Entrance::ALL.into_iter().filter(|door| door.is_pop3() == pop3);
        doors.filter_map(|door| Some(Entry::of(door, console.open_at(door.name())?))).collect()
    };
    let certificate = console.certificate();
    let settings = console.core.settings();
    let (policy, divider) = (&mailbox.policy, settings.proxy.divider);
    let networks = policy.presets.values().chain([&policy.networks]).flatten();
    Ok(Json(Connect {
        address: mailbox.address.clone(),
        email_domain: settings.email_domain.clone(),
        host_name: settings.host_name.clone(),
        smtp: entries(false),
        pop3: entries(true),
        user_name: id.to_string(),
        certificate_fingerprint: certificate.fingerprint,
        certificate_distrusted: certificate.trusted.err(),
        require_tls: policy.require_tls,
        networks: networks.map(ToString::to_string).collect(),
        proxy_user_name: settings
            .proxy
            .enabled
            .then(|| format!("remote_user{divider}target_server{divider}{id}")),
    }))
}

impl Entry {
    fn of(door: Entrance, address: SocketAddr) -> Self {
        let tls = if door.has_implicit_tls() { TlsBegins::Implicit } else { TlsBegins::Starttls };
        Self { listener: door.name(), port: address.port(), usual_port: door.port(), tls }
    }
}

impl Console {
    /// The first address on which a listener is open.
    pub(super) fn open_at(&self, listener: &str) -> Option<SocketAddr> {
        self.core.listening.get()?[listener][0].as_str()?.parse().ok()
    }
}
