//! HTTP/1.1: accepts, reads a request whole within its bounds, has it answered, writes the answer.

use std::{
    convert::Infallible,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Response,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue, LOCATION, USER_AGENT, X_CONTENT_TYPE_OPTIONS},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rand::RngExt;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    answer::{Answer, Body},
    collection::Collection,
    route,
};

/// Of a request's body, in bytes.
const LARGEST: usize = 64 << 20;
/// How long a connection may be idle, or take over the head of a request.
const IDLE: Duration = Duration::from_secs(60);
/// How long the body of a request may take.
const BODY: Duration = Duration::from_secs(15);
/// Connections at a time; others wait.
const CONNECTIONS: usize = 1024;
/// After accepting failed, which it may do again at once.
const PAUSE: Duration = Duration::from_millis(50);

/// What every request needs.
pub(super) struct Served {
    pub(super) collection: Arc<Collection>,
    pub(super) tasks: TaskTracker,
}

/// Accepts until it is over.
pub(super) async fn accept(listener: TcpListener, served: Arc<Served>, over: CancellationToken) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let next = async {
            let seat = Arc::clone(&seats).acquire_owned().await;
            (listener.accept().await, seat)
        };
        let (accepted, seat) = tokio::select! {
            next = next => next,
            () = over.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let (served, over) = (Arc::clone(&served), over.clone());
                let tasks = served.tasks.clone();
                tasks.spawn(async move {
                    let _seat = seat;
                    serve(stream, served, over).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to the API was not accepted");
                sleep_until(Instant::now() + PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, served: Arc<Served>, over: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let served = Arc::clone(&served);
        async move { Ok::<_, Infallible>(respond(served, request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(IDLE).half_close(true);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = over.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // A request under way is answered; one that does not read is dropped.
            timeout(Duration::from_secs(1), connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the API ended");
    }
}

async fn respond(served: Arc<Served>, request: hyper::Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let found = match route::find(parts.method.as_str(), parts.uri.path(), &served.collection) {
        Ok(found) => found,
        Err(answer) => return into_http(answer, false),
    };
    let agent = parts.headers.get(USER_AGENT).map(HeaderValue::as_bytes).unwrap_or_default();
    if agent.starts_with(b"Mozilla/") {
        return into_http(Answer::text(403, "User agent not allowed\n"), true);
    }
    let body = match timeout(BODY, Limited::new(body, LARGEST).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) => {
            return into_http(Answer::bad_body(&format!("it could not be read: {error}")), true);
        }
        Err(_) => {
            let why = format!("it was not complete within {BODY:?}");
            return into_http(Answer::bad_body(&why), true);
        }
    };
    let method = parts.method.clone();
    // In a task of its own: a client that goes away leaves no change half done.
    let tasks = served.tasks.clone();
    let called = tasks.spawn(async move { found.call(&served.collection, body).await }).await;
    let answer = called.unwrap_or_else(|error| {
        tracing::error!(%error, "an API request failed");
        Answer::error(500, "the request could not be carried out")
    });
    tracing::debug!(%method, path = parts.uri.path(), status = answer.status, "API request");
    into_http(answer, true)
}

fn into_http(answer: Answer, with_id: bool) -> Response<Full<Bytes>> {
    let (content_type, body, plain) = match answer.body {
        Body::None => (None, Bytes::new(), false),
        Body::Json(body) => (Some("application/json".to_owned()), body.into(), false),
        Body::Typed(content_type, body) => (Some(content_type.to_owned()), body.into(), false),
        Body::Plain(body) => (Some("text/plain; charset=utf-8".to_owned()), body.into(), true),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() =
        hyper::StatusCode::from_u16(answer.status).unwrap_or(hyper::StatusCode::OK);
    let headers = response.headers_mut();
    if let Some(value) = content_type.and_then(|value| HeaderValue::try_from(value).ok()) {
        headers.insert(CONTENT_TYPE, value);
    }
    if plain {
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    if let Some(value) = answer.location.and_then(|value| HeaderValue::try_from(value).ok()) {
        headers.insert(LOCATION, value);
    }
    if with_id && let Ok(value) = HeaderValue::try_from(request_id()) {
        headers.insert("x-toxiproxy-request-id", value);
    }
    response
}

/// Twenty characters, sortable by time: seconds, this process, a count.
fn request_id() -> String {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| rand::rng().random());
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let count = u128::from(COUNT.fetch_add(1, Relaxed) & 0xff_ffff);
    let id = u128::from(since.as_secs() & 0xffff_ffff) << 64
        | u128::from(*PROCESS & 0xff_ffff_ffff) << 24
        | count;
    // 96 bits, and 4 of padding.
    let digit =
        |n: u32| char::from(b"0123456789abcdefghijklmnopqrstuv"[(id << 4 >> n) as usize & 31]);
    (0..20).rev().map(|n| digit(n * 5)).collect()
}
