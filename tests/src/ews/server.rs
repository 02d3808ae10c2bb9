//! HTTP over TLS: EWS, Autodiscover, a token endpoint, and faults on order.

use std::collections::VecDeque;
use std::future::Future as _;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result};
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep};
use tokio_rustls::TlsAcceptor;

use super::login::{Shown, check};
use super::store::Refusal;
use super::tree::Node;
use super::{CLIENT_SECRET, Fault, Shared, answers};

/// An answer's octets, the last of which may never come.
#[derive(Default)]
pub(super) struct Octets {
    pieces: VecDeque<Bytes>,
    /// Groups of base64 that come before the last piece.
    groups: u64,
    cut: bool,
    /// Until the next octet of a body that only drips.
    drip: Option<Pin<Box<Sleep>>>,
    /// How often one looked: what came before shall be on the line when it is cut.
    looked: u8,
}

impl Octets {
    fn next(&mut self) -> Option<Bytes> {
        static BLOCK: [u8; 64 * 1024] = {
            let (mut all, mut at) = ([0; 64 * 1024], 0);
            while at < all.len() {
                all[at] = b"QUJD"[at % 4];
                at += 1;
            }
            all
        };
        if self.pieces.len() == 1 && self.groups > 0 {
            let groups = self.groups.min(BLOCK.len() as u64 / 4);
            self.groups -= groups;
            return Some(Bytes::from_static(&BLOCK[..usize::try_from(groups * 4).unwrap_or_default()]));
        }
        self.pieces.pop_front()
    }
}

impl Body for Octets {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if let Some(pause) = &mut self.drip {
            std::task::ready!(pause.as_mut().poll(context));
            *pause = Box::pin(sleep(Duration::from_millis(20)));
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b" ")))));
        }
        match self.next() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None if self.cut && self.looked < 3 => {
                self.looked += 1;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            None if self.cut => Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionAborted.into()))),
            None => Poll::Ready(None),
        }
    }
}

type Answer = Response<Octets>;

/// The certificate, as it is shown.
pub(super) fn certificate(dir: &Path) -> Result<Vec<u8>> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let file = postern_shared::tls::server::self_signed_files(dir).0;
    Ok(CertificateDer::from_pem_file(file)?.as_ref().to_vec())
}

pub(super) fn serve(
    runtime: &Handle,
    config: &ServerConfig,
    shared: Arc<Mutex<Shared>>,
) -> Result<SocketAddr> {
    let mut config = config.clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    runtime.spawn(async move {
        let Ok(listener) = TcpListener::from_std(listener) else { return };
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
            tokio::spawn(async move {
                // Clients that do not trust us go.
                let Ok(stream) = acceptor.accept(stream).await else { return };
                lock(&shared).connections += 1;
                if lock(&shared).hangs_up {
                    return;
                }
                let shown = Arc::new(Mutex::new(Shown::default()));
                let service = service_fn(move |request| {
                    let (shared, shown) = (Arc::clone(&shared), Arc::clone(&shown));
                    async move {
                        let answer = respond(request, &shared, &shown).await;
                        match answer.extensions().get() {
                            Some(Refusal::Silent) => std::future::pending().await,
                            Some(Refusal::HangUp) => Err(std::io::ErrorKind::ConnectionAborted),
                            _ => Ok(answer),
                        }
                        .map_err(std::io::Error::from)
                    }
                });
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Ok(address)
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn respond(request: Request<Incoming>, shared: &Mutex<Shared>, shown: &Mutex<Shown>) -> Answer {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await.map(|body| body.to_bytes()) else { return plain(400, "") };
    let field = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut shared = lock(shared);
    match head.uri.path() {
        "/token" => return token(&mut shared, &body),
        "/autodiscover/autodiscover.xml" => shared.brought.push(field(AUTHORIZATION.as_str()).is_some()),
        path if path.starts_with("/autodiscover/autodiscover.json/") => {
            return match &shared.autodiscover.1 {
                Some(json) => plain(200, json),
                None => plain(404, ""),
            };
        }
        _ => {}
    }
    if let Err(offers) = check(&shared, &mut lock(shown), field(AUTHORIZATION.as_str()).as_deref()) {
        let mut answer = plain(401, "");
        for offer in offers.iter().filter_map(|offer| HeaderValue::from_str(offer).ok()) {
            answer.headers_mut().append(WWW_AUTHENTICATE, offer);
        }
        return answer;
    }
    if head.uri.path() == "/autodiscover/autodiscover.xml" {
        *shared.asked.entry("Autodiscover".into()).or_default() += 1;
        return match &shared.autodiscover.0 {
            Some(account) => xml(
                200,
                format!(
                    "<?xml version=\"1.0\" encoding=\"utf-8\"?><Autodiscover xmlns=\"http://schemas.microsoft.com/exchange/\
                 autodiscover/responseschema/2006\"><Response xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/\
                 outlook/responseschema/2006a\"><Account>{account}</Account></Response></Autodiscover>"
                ),
                None,
            ),
            None => plain(404, ""),
        };
    }
    if head.uri.path() != "/EWS/Exchange.asmx" {
        return plain(404, "");
    }
    shared.anchor = field("x-anchormailbox").unwrap_or_default();
    ews(&mut shared, &body).unwrap_or_else(|error| plain(400, &format!("{error:#}")))
}

fn ews(shared: &mut Shared, body: &[u8]) -> Result<Answer> {
    let envelope = Node::parse(body)?;
    let name = answers::name(&envelope);
    shared.spoken.push(String::from_utf8(body.to_vec())?);
    *shared.asked.entry(name.clone()).or_default() += 1;
    let due = shared.faults.iter().position(|(request, _)| *request == name);
    let fault = due.and_then(|at| shared.faults.remove(at)).map(|(_, fault)| fault);
    match &fault {
        Some(Fault::Soap(code, text, back_off)) => return Ok(soap_fault(shared, code, text, *back_off)),
        Some(Fault::Status(status, retry)) => {
            let mut answer = plain(*status, "");
            if let Some(seconds) = retry {
                answer.headers_mut().insert("retry-after", HeaderValue::from(*seconds));
            }
            return Ok(answer);
        }
        Some(Fault::StatusField(status, name, value)) => {
            let mut answer = plain(*status, "");
            answer.headers_mut().insert(*name, HeaderValue::from_static(value));
            return Ok(answer);
        }
        Some(Fault::Drip) => {
            let mut answer = plain(500, "");
            answer.body_mut().drip = Some(Box::pin(sleep(Duration::ZERO)));
            return Ok(answer);
        }
        Some(Fault::Text(text)) => return Ok(xml(200, (*text).to_owned(), None)),
        _ => {}
    }
    match answers::refusal(shared, &envelope) {
        Some(Refusal::Status(status)) => return Ok(plain(status, "")),
        Some(Refusal::Bent) => return Ok(xml(200, "<s:Envelope xmlns:s='x'><s:Body></m:x>".into(), None)),
        Some(refusal) => {
            let mut answer = plain(200, "");
            answer.extensions_mut().insert(refusal);
            return Ok(answer);
        }
        None => {}
    }
    let cut = match &fault {
        Some(Fault::Cut(octets)) => Some(*octets),
        _ => None,
    };
    match answers::answer(shared, &envelope, fault.as_ref()).context(name)? {
        Ok(body) => {
            let text = enveloped(shared, &body);
            // What is put in later is no text yet.
            if !text.contains(answers::LONG) {
                shared.spoken.push(text.clone());
            }
            Ok(xml(200, text, cut))
        }
        Err((code, text)) => Ok(soap_fault(shared, code, text, None)),
    }
}

fn enveloped(shared: &Shared, body: &str) -> String {
    let (major, minor) = shared.version;
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:t=\"http://schemas.microsoft.com/exchange/services/2006/types\" \
         xmlns:m=\"http://schemas.microsoft.com/exchange/services/2006/messages\"><s:Header><t:ServerVersionInfo \
         MajorVersion=\"{major}\" MinorVersion=\"{minor}\" MajorBuildNumber=\"1748\" MinorBuildNumber=\"10\"/></s:Header>\
         <s:Body>{body}</s:Body></s:Envelope>"
    )
}

fn soap_fault(shared: &Shared, code: &str, text: &str, back_off: Option<u64>) -> Answer {
    let pause = back_off.map(|pause| {
        format!("<t:MessageXml><t:Value Name=\"BackOffMilliseconds\">{pause}</t:Value></t:MessageXml>")
    });
    let body = format!(
        "<s:Fault><faultcode xmlns:a=\"http://schemas.microsoft.com/exchange/services/2006/types\">a:{code}</faultcode>\
         <faultstring xml:lang=\"en-US\">{text}</faultstring><detail><e:ResponseCode \
         xmlns:e=\"http://schemas.microsoft.com/exchange/services/2006/errors\">{code}</e:ResponseCode><e:Message \
         xmlns:e=\"http://schemas.microsoft.com/exchange/services/2006/errors\">{text}</e:Message>{}</detail></s:Fault>",
        pause.unwrap_or_default()
    );
    xml(500, enveloped(shared, &body), None)
}

fn token(shared: &mut Shared, form: &[u8]) -> Answer {
    let form = String::from_utf8_lossy(form);
    let secret = CLIENT_SECRET.replace('&', "%26");
    let right = form.contains("grant_type=client_credentials")
        && form.contains("client_id=archive")
        && form.contains(&format!("client_secret={secret}"));
    if !right {
        return plain(
            401,
            "{\"error\":\"invalid_client\",\"error_description\":\"AADSTS7000215: Invalid client secret.\"}",
        );
    }
    let token = format!("token-{}", shared.asked.values().sum::<usize>() + shared.tokens.len() + 1);
    shared.tokens.push(token.clone());
    *shared.asked.entry("token".into()).or_default() += 1;
    plain(200, &format!("{{\"token_type\":\"Bearer\",\"expires_in\":3599,\"access_token\":\"{token}\"}}"))
}

fn plain(status: u16, text: &str) -> Answer {
    let piece = Some(Bytes::copy_from_slice(text.as_bytes())).filter(|piece| !piece.is_empty());
    let mut answer = Response::new(Octets { pieces: piece.into_iter().collect(), ..Octets::default() });
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    answer
}

fn xml(status: u16, text: String, cut: Option<usize>) -> Answer {
    let mut octets = Octets { cut: cut.is_some(), ..Octets::default() };
    match text.split(answers::LONG).collect::<Vec<_>>().as_slice() {
        [before, groups, after] => {
            octets.groups = groups.parse().unwrap_or_default();
            octets.pieces.extend([before, after].map(|piece| Bytes::copy_from_slice(piece.as_bytes())));
        }
        _ => {
            let mut whole = text.into_bytes();
            whole.truncate(cut.unwrap_or(usize::MAX));
            octets.pieces.push_back(Bytes::from(whole));
        }
    }
    let mut answer = Response::new(octets);
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/xml; charset=utf-8"));
    answer
}
