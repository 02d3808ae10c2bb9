//! HTTP/1.1 in clear for what asks one short question: a connection is for one request, and bounded in everything.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use postern_shared::shutdown::Shutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Connections at once, at each address; those beyond wait in the system's queue.
const CONNECTIONS_MAX: usize = 32;
/// The least that hyper takes.
const HEADER_BYTES_MAX: usize = 8192;
const HEADER_DEADLINE: Duration = Duration::from_secs(5);
/// One request and its answer.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(30);
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Answers what `asks` until `stop` says so. An error in accepting is waited out.
pub async fn serve_http<A, F>(listener: TcpListener, asks: &'static str, answer: A, mut stop: Shutdown)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            (place, accepted) = accepted => match accepted {
                Ok((stream, _)) => {
                    let answer = answer.clone();
                    tokio::spawn(async move {
                        let _place = place;
                        // Whoever dawdles or breaks off gets no answer, and nothing else depends on it.
                        let _ = timeout(CONNECTION_DEADLINE, connection(stream, answer)).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, asks, "cannot accept a connection; trying again");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            () = stop.requested() => return,
        }
    }
}

async fn connection<A, F>(stream: TcpStream, answer: A) -> Result<(), hyper::Error>
where
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Full<Bytes>>>,
{
    let service = service_fn(|request| {
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .max_buf_size(HEADER_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}
