//! Authorization code with PKCE and state (RFC 6749 §4.1, RFC 7636), for a browser that may run here or elsewhere.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, REFERRER_POLICY};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use postern_shared::crypto::equal_constant_time;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use url::{Host, Url, form_urlencoded};

use super::{ConsentError, Prompt};
use crate::proxy::oauth::link::Link;
use crate::proxy::oauth::protocol::{Binds, Grant, Tokens, plain};
use crate::proxy::oauth::provider::Redirect;

/// How long a person may take.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
const CONNECTIONS_MAX: usize = 8;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const CONNECTION_DEADLINE: Duration = Duration::from_secs(10);
const HEADER_BYTES_MAX: usize = 32 * 1024;
const CODE_BYTES_MAX: usize = 8192;

pub(super) async fn tokens(
    link: &Link,
    tell: &mut (dyn FnMut(Prompt) + Send),
    pasted: &mut mpsc::Receiver<SecretString>,
) -> Result<Tokens, ConsentError> {
    let binds = Arc::new(Binds::new());
    let (came, mut comes) = mpsc::channel(CONNECTIONS_MAX);
    let mut listening = JoinSet::new();
    let redirect_uri = match &link.provider.redirect {
        Redirect::Loopback { url, bare } => {
            let (listeners, port) = listen(url).await?;
            for listener in listeners {
                listening.spawn(serve(listener, url.path().to_owned(), Arc::clone(&binds), came.clone()));
            }
            with_port(url, *bare, port)
        }
        Redirect::Elsewhere(url) => url.to_string(),
    };
    let no_endpoint = || ConsentError::NoEndpoint(link.provider.name.clone(), "authorization_endpoint");
    let address = binds.authorization_url(&link.provider, &redirect_uri).ok_or_else(no_endpoint)?;
    tell(Prompt::Link { link: address, comes_back: !listening.is_empty() });
    let waiting = async {
        let mut can_paste = true;
        loop {
            tokio::select! {
                Some(outcome) = comes.recv() => return outcome,
                line = pasted.recv(), if can_paste => match line {
                    None => can_paste = false,
                    Some(line) => match outcome_in(line.expose_secret(), &binds) {
                        Some(outcome) => return outcome,
                        None => tell(Prompt::NotThat),
                    },
                },
            }
        }
    };
    let code = timeout(PATIENCE, waiting).await.map_err(|_| ConsentError::Expired)??;
    let grant = Grant::Code { code: &code, redirect_uri: &redirect_uri, verifier: &binds.verifier };
    Ok(link.tokens(grant).await?)
}

type Outcome = Result<SecretString, ConsentError>;

/// What a redirect says (RFC 6749 §4.1.2), given as the whole address, its query, or what stands in a request's line.
/// `None` when it is not the answer to our question.
fn outcome_in(text: &str, binds: &Binds) -> Option<Outcome> {
    let text = text.trim();
    let query = text.split_once('?').map_or(text, |(_, query)| query);
    let query = query.split_once('#').map_or(query, |(query, _)| query);
    let value = |name: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    };
    let state = value("state")?;
    if !equal_constant_time(state.as_bytes(), binds.state.expose_secret().as_bytes()) {
        return None;
    }
    if let Some(error) = value("error") {
        let words = value("error_description").unwrap_or_default();
        let words = plain(&format!("{error} {words}"));
        return Some(Err(match error.as_str() {
            "access_denied" => ConsentError::Denied(words),
            _ => ConsentError::Refused(words),
        }));
    }
    let code = value("code").filter(|code| (1..=CODE_BYTES_MAX).contains(&code.len()))?;
    Some(Ok(SecretString::from(code)))
}

/// `localhost` is both of its addresses, where the machine has both.
async fn listen(url: &Url) -> Result<(Vec<TcpListener>, u16), ConsentError> {
    let port = url.port().unwrap_or(0);
    let (first, second) = match url.host() {
        Some(Host::Ipv4(address)) => (IpAddr::V4(address), None),
        Some(Host::Ipv6(address)) => (IpAddr::V6(address), None),
        _ => (IpAddr::V4(Ipv4Addr::LOCALHOST), Some(IpAddr::V6(Ipv6Addr::LOCALHOST))),
    };
    let cannot = |error| ConsentError::CannotListen(url.to_string(), error);
    let listener = TcpListener::bind(SocketAddr::new(first, port)).await.map_err(cannot)?;
    let port = listener.local_addr().map_err(cannot)?.port();
    let mut listeners = vec![listener];
    if let Some(second) = second {
        listeners.extend(TcpListener::bind(SocketAddr::new(second, port)).await);
    }
    Ok((listeners, port))
}

/// Some providers compare paths to the letter: what was registered without a slash is sent without one.
fn with_port(url: &Url, bare: bool, port: u16) -> String {
    let mut url = url.clone();
    // An http address with a host takes a port.
    let _ = url.set_port(Some(port));
    let mut text = url.to_string();
    if bare && text.ends_with('/') {
        text.pop();
    }
    text
}

async fn serve(listener: TcpListener, path: String, binds: Arc<Binds>, came: mpsc::Sender<Outcome>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let (stream, _) = taken(|| listener.accept()).await;
        let (path, binds, came) = (path.clone(), Arc::clone(&binds), came.clone());
        connections.spawn(async move {
            let _place = place;
            // Whoever dawdles gets no answer; the person can still paste the address.
            let _ = timeout(CONNECTION_DEADLINE, connection(stream, path, binds, came)).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// The next connection. Where none can be taken, for want of descriptors say, it is not tried again at once: that would fail
/// again, and again.
async fn taken<T, F: Future<Output = io::Result<T>>>(mut accept: impl FnMut() -> F) -> T {
    loop {
        match accept().await {
            Ok(one) => return one,
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connection(
    stream: TcpStream,
    path: String,
    binds: Arc<Binds>,
    came: mpsc::Sender<Outcome>,
) -> Result<(), hyper::Error> {
    let service = service_fn(|request: Request<Incoming>| {
        let here = request.uri().path() == path;
        let query = request.uri().query().filter(|_| here);
        let outcome = query.and_then(|query| outcome_in(query, &binds));
        let (status, text) = match &outcome {
            None => (StatusCode::NOT_FOUND, "This is not the answer that Postern waits for.\n"),
            Some(Ok(_)) => {
                (StatusCode::OK, "Done here. Go back to where you began; this window can be closed.\n")
            }
            Some(Err(_)) => {
                (StatusCode::OK, "The provider says no. Go back to where you began; it says why.\n")
            }
        };
        if let Some(outcome) = outcome {
            // The first one counts; there is room for those that come meanwhile.
            let _ = came.try_send(outcome);
        }
        async move { Ok::<_, Infallible>(page(status, text)) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_DEADLINE)
        .max_buf_size(HEADER_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn page(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let fields = [
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in fields {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_with_our_state_only() {
        let binds = Binds::new();
        let state = binds.state.expose_secret().to_owned();
        let code = |text: String| {
            outcome_in(&text, &binds).map(|outcome| outcome.map(|code| code.expose_secret().to_owned()))
        };
        for good in [
            format!("http://127.0.0.1:8400/?code=a%2Fb&state={state}"),
            format!("  https://gateway.example.com/cb?state={state}&code=a/b#_=_\n"),
            format!("code=a%2Fb&state={state}&session_state=1"),
        ] {
            assert_eq!(code(good).unwrap().unwrap(), "a/b");
        }
        for passed_over in [
            "",
            "code=a",
            "http://x/?code=a&state=other",
            &format!("state={state}"),
            &format!("code=&state={state}"),
        ] {
            assert!(code(passed_over.to_owned()).is_none(), "{passed_over}");
        }
        let denied = code(format!("error=access_denied&error_description=no+way%0d%0a&state={state}"));
        assert!(denied.unwrap().unwrap_err().to_string().contains("access_denied no way"));
        assert!(code("error=access_denied&state=other".to_owned()).is_none(), "nobody else can say no");
    }

    /// Goal: a port that gives no connections does not take all computing time.
    #[tokio::test]
    async fn a_port_that_fails_is_not_asked_at_once_again() {
        let mut tries = 0;
        let failing = taken(|| {
            tries += 1;
            assert!(tries < 1000, "without a pause");
            std::future::ready(io::Result::<()>::Err(io::ErrorKind::QuotaExceeded.into()))
        });
        assert!(timeout(ACCEPT_PAUSE * 3, failing).await.is_err());
        assert!(tries > 1);
        let mut answers = [Ok("a connection"), Err(io::ErrorKind::QuotaExceeded.into())].into_iter().rev();
        assert_eq!(taken(|| std::future::ready(answers.next().unwrap())).await, "a connection");
    }

    #[test]
    fn the_port_is_put_in_and_nothing_else_changes() {
        for (text, expected) in [
            ("http://localhost", "http://localhost:81"),
            ("http://127.0.0.1/", "http://127.0.0.1:81/"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:81/cb"),
        ] {
            let Ok(Redirect::Loopback { url, bare }) = Redirect::parse(text) else { panic!("{text}") };
            assert_eq!(with_port(&url, bare, 81), expected);
        }
    }
}
