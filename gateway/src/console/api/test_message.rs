//! A test message: sent to our own listener over the network, as any sender would, with each step told as it happens.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use postern_shared::clock::Moment;
use postern_shared::id::{MailboxId, MessageId};
use postern_shared::proto::smtp::answer::{Answer, AnswerReader};
use postern_shared::tls::client::{Trust, client_config};
use rustls::pki_types::ServerName;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use utoipa::ToSchema;

use super::extract::Of;
use super::overview::{place, stream};
use crate::console::gate::Caller;
use crate::console::{Console, Problem};

const STEP_DEADLINE: Duration = Duration::from_secs(15);

/// A step of a test message; sent as the server-sent event `step`. The last one is `stored`, or one that failed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TestStep {
    /// Which step.
    step: Step,
    /// It worked.
    ok: bool,
    /// What was said or happened.
    detail: String,
    /// Milliseconds since the beginning.
    at_ms: u64,
}

/// The steps, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Step {
    /// Connecting, and the greeting.
    Connect,
    /// The first EHLO.
    Ehlo,
    /// STARTTLS and the handshake.
    Tls,
    /// Sender.
    Mail,
    /// Recipient: here a policy refuses.
    Rcpt,
    /// The message, and the promise that it is on disk.
    Data,
    /// It was found in the spool.
    Stored,
}

/// Sends a test message to a mailbox and tells each step.
#[utoipa::path(post, path = "/api/v1/mailboxes/{id}/test-message", tag = "mailboxes", operation_id = "sendTestMessage",
    params(("id" = String, Path, description = "The mailbox's id")),
    responses((status = 200, body = TestStep, content_type = "text/event-stream"), (status = 404, body = Problem),
        (status = 429, body = Problem)))]
pub(super) async fn send(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Of(id): Of<MailboxId>,
) -> Result<Response, Problem> {
    let mailbox = console.core.registry.show(id)?;
    let place = place(&console, &caller)?;
    let action = caller.action("mailbox.test-message", id.to_string(), "");
    console.changing(move |_| Ok(((), action))).await?;
    let (sender, receiver) = mpsc::channel(16);
    let began = console.core.clock.moment();
    tokio::spawn(async move {
        let mut told = Told { console: &console, began, sender };
        if let Err(Failed(step, why)) = run(&console, id, &mailbox.address, &mut told).await {
            told.tell(step, false, why).await;
        }
    });
    Ok(stream(receiver, place))
}

/// The step that failed, and why.
struct Failed(Step, String);

struct Told<'c> {
    console: &'c Console,
    began: Moment,
    sender: mpsc::Sender<Event>,
}

impl Told<'_> {
    /// Tells what was said when it was what it should be.
    async fn step(&mut self, step: Step, said: Result<String, String>) -> Result<String, Failed> {
        let said = said.map_err(failed(step))?;
        self.tell(step, true, said.clone()).await;
        Ok(said)
    }

    async fn tell(&mut self, step: Step, ok: bool, detail: impl Into<String>) {
        let passed = self.console.core.clock.moment().since(self.began).as_millis();
        let at_ms = u64::try_from(passed).unwrap_or(u64::MAX);
        let told = TestStep { step, ok, detail: detail.into(), at_ms };
        if let Ok(event) = Event::default().event("step").json_data(told) {
            // Who no longer watches still gets the message.
            let _ = self.sender.send(event).await;
        }
    }
}

async fn run(
    console: &Arc<Console>,
    id: MailboxId,
    address: &str,
    told: &mut Told<'_>,
) -> Result<(), Failed> {
    let name = console.core.settings().host_name.clone();
    let mut client = open(console, &name, told).await?;
    let mail = client.ask(&format!("MAIL FROM:<postern-test@{name}>"), 250).await;
    told.step(Step::Mail, mail).await?;
    let rcpt = client.ask(&format!("RCPT TO:<{address}>"), 250).await;
    told.step(Step::Rcpt, rcpt).await?;
    client.ask("DATA", 354).await.map_err(failed(Step::Data))?;
    let stored = client.ask(&message(console, &name, address), 250).await;
    let stored = told.step(Step::Data, stored).await?;
    let message: Option<MessageId> = stored.rsplit(' ').next().and_then(|id| id.parse().ok());
    let message =
        message.ok_or_else(|| Failed(Step::Stored, format!("the answer names no message: {stored}")))?;
    let found = console.blocking(move |console| {
        let opened = console.core.spool.open(id, message).map(drop);
        opened.map_err(|error| Problem::not_found(error.to_string()))
    });
    let found = found.await.map_err(|problem| problem.detail);
    told.step(Step::Stored, found.map(|()| format!("message {message} waits in the mailbox, sealed")))
        .await?;
    // It has done what it should; how it ends does not matter.
    let _ = client.ask("QUIT", 221).await;
    Ok(())
}

/// A session under TLS with one of our own listeners.
async fn open(console: &Console, name: &str, told: &mut Told<'_>) -> Result<Client<Secured>, Failed> {
    let (target, implicit) = target(console)
        .ok_or_else(|| Failed(Step::Connect, "no SMTP listener is open; switch one on in [listen]".into()))?;
    let connecting = timeout(STEP_DEADLINE, TcpStream::connect(target)).await;
    let stream = connecting.map_err(|_| "it takes too long".to_owned());
    let stream = stream.and_then(|made| made.map_err(|error| error.to_string()));
    let stream = stream.map_err(|why| Failed(Step::Connect, format!("cannot connect to {target}: {why}")))?;
    let mut plain = Client::new(stream);
    let ehlo = format!("EHLO {name}");
    if !implicit {
        let greeting = plain.answer(220).await;
        told.step(Step::Connect, greeting.map(|said| format!("connected to {target}: {said}"))).await?;
        let said = plain.ask(&ehlo, 250).await;
        told.step(Step::Ehlo, said).await?;
        plain.ask("STARTTLS", 220).await.map_err(failed(Step::Tls))?;
    }
    let mut secured = Client::new(secure(console, plain.stream, name).await.map_err(failed(Step::Tls))?);
    let version = secured.stream.get_ref().1.protocol_version();
    let version = version.and_then(|version| version.as_str()).unwrap_or("TLS");
    let by = Ok(format!("secured by {version}"));
    if implicit {
        let greeting = secured.answer(220).await;
        told.step(Step::Connect, greeting.map(|said| format!("connected to {target}: {said}"))).await?;
    }
    told.step(Step::Tls, by).await?;
    let said = secured.ask(&ehlo, 250).await;
    if implicit {
        told.step(Step::Ehlo, said).await?;
    } else {
        said.map_err(failed(Step::Ehlo))?;
    }
    Ok(secured)
}

type Secured = tokio_rustls::client::TlsStream<TcpStream>;

fn failed(step: Step) -> impl FnOnce(String) -> Failed {
    move |why| Failed(step, why)
}

/// Where to connect, and whether TLS begins at once.
fn target(console: &Console) -> Option<(SocketAddr, bool)> {
    let doors = [("smtp", false), ("submission", false), ("smtps", true)];
    let (address, implicit) =
        doors.into_iter().find_map(|(name, tls)| Some((console.open_at(name)?, tls)))?;
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    Some((SocketAddr::new(ip, address.port()), implicit))
}

/// TLS with whoever has our own certificate.
async fn secure(console: &Console, stream: TcpStream, name: &str) -> Result<Secured, String> {
    let trust: Trust = console.certificate().fingerprint.parse().unwrap_or(Trust::System);
    let config = client_config(&trust).map_err(|error| error.to_string())?;
    let server = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
    let handshake = TlsConnector::from(Arc::new(config)).connect(server, stream);
    match timeout(STEP_DEADLINE, handshake).await {
        Ok(secured) => secured.map_err(|error| format!("the TLS handshake failed: {error}")),
        Err(_) => Err("the TLS handshake takes too long".into()),
    }
}

fn message(console: &Console, name: &str, address: &str) -> String {
    let now = console.core.clock.wall();
    let id = hex::encode(postern_shared::crypto::random::<8>());
    format!(
        "From: Postern test <postern-test@{name}>\r\nTo: <{address}>\r\nSubject: Test message\r\nDate: {}\r\n\
         Message-ID: <{id}@{name}>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
         This message was sent by the gateway's console to see whether mail arrives.\r\n.",
        now.rfc5322()
    )
}

/// One side of an SMTP conversation.
struct Client<S> {
    stream: S,
    reader: AnswerReader,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    fn new(stream: S) -> Self {
        Self { stream, reader: AnswerReader::default() }
    }

    /// Says something and awaits an answer of that code; its text.
    async fn ask(&mut self, line: &str, code: u16) -> Result<String, String> {
        let sent = timeout(STEP_DEADLINE, async {
            self.stream.write_all(format!("{line}\r\n").as_bytes()).await?;
            self.stream.flush().await
        });
        sent.await.map_err(|_| "it takes too long".to_owned())?.map_err(|error| error.to_string())?;
        self.answer(code).await
    }

    async fn answer(&mut self, code: u16) -> Result<String, String> {
        let answer =
            timeout(STEP_DEADLINE, self.read()).await.map_err(|_| "no answer comes".to_owned())??;
        let text = format!("{} {}", answer.code, answer.lines.join(" / "));
        if answer.code == code { Ok(text) } else { Err(text) }
    }

    async fn read(&mut self) -> Result<Answer, String> {
        let mut octets = [0; 1024];
        loop {
            let count = self.stream.read(&mut octets).await.map_err(|error| error.to_string())?;
            if count == 0 {
                return Err("the connection was closed".into());
            }
            // We ask one thing after the other, so nothing follows an answer.
            let (_, answer) = self.reader.read(&octets[..count]).map_err(|error| error.to_string())?;
            if let Some(answer) = answer {
                return Ok(answer);
            }
        }
    }
}
