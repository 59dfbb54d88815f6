//! HTTP/1.1: accepts, reads a request whole within its bounds, has it answered, writes the answer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answer::Answer;
use super::request::{Head, Request};
use super::{Limits, access, route};
use crate::server::Broker;

/// Of a request's body, in bytes.
const LARGEST: usize = 1 << 20;

/// What every request needs.
#[derive(Debug)]
pub(super) struct Served {
    pub broker: Arc<Broker>,
    pub addr: SocketAddr,
    pub limits: Limits,
}

/// Accepts until it is over.
pub(super) async fn accept(
    listener: TcpListener,
    served: Arc<Served>,
    tasks: TaskTracker,
    over: CancellationToken,
) {
    let seats = Arc::new(Semaphore::new(served.limits.connections));
    loop {
        let next = async {
            let seat = seats.clone().acquire_owned().await;
            (listener.accept().await, seat)
        };
        let (accepted, seat) = tokio::select! {
            next = next => next,
            () = over.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let (served, over) = (served.clone(), over.clone());
                tasks.spawn(async move {
                    let _seat = seat;
                    tokio::select! {
                        () = serve(stream, served) => {}
                        () = over.cancelled() => {}
                    }
                });
            }
            // A peer that is gone already, or a lack of descriptors that others will end.
            Err(error) => tracing::debug!(%error, "a connection was not accepted"),
        }
    }
}

async fn serve(stream: TcpStream, served: Arc<Served>) {
    let _ = stream.set_nodelay(true);
    let limits = served.limits;
    let service = service_fn(move |request| {
        let served = served.clone();
        async move { Ok::<_, Infallible>(respond(&served, request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head).half_close(true);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    let end = Instant::now() + limits.life;
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = sleep_until(end) => {
            connection.as_mut().graceful_shutdown();
            match timeout(limits.head, connection).await {
                Ok(ended) => ended,
                // It does not read what it asked for: dropping the connection closes it.
                Err(_) => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a management connection ended");
    }
}

async fn respond(served: &Served, request: hyper::Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let answer = answer(served, &Head::of(&parts), body).await.unwrap_or_else(|refusal| refusal);
    into_http(answer)
}

async fn answer(served: &Served, head: &Head, body: Incoming) -> Result<Answer, Answer> {
    if served.broker.with(|core| core.is_down()) {
        return Err(Answer::error(503, "service_unavailable", "the node is down"));
    }
    let found = route::find(head)?;
    // Strangers are turned away before they can send a body.
    served.broker.with(|core| access::log_in(core, head))?;
    let too_large = || {
        let reason = format!("the body exceeds the limit of {LARGEST} bytes");
        Answer::error(413, "payload_too_large", reason)
    };
    if body.size_hint().lower() > LARGEST as u64 {
        return Err(too_large());
    }
    let body = Limited::new(body, LARGEST).collect();
    let body = match timeout(served.limits.body, body).await {
        Err(_) => return Err(Answer::error(408, "request_timeout", "the body took too long")),
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large()),
        Ok(Err(_)) => return Err(Answer::bad("the body is incomplete")),
    };
    let request = Request { head, body };
    served.broker.with(|core| found.call(core, &request, served.addr))
}

fn into_http(answer: Answer) -> Response<Full<Bytes>> {
    let body = answer.body.map(|body| Bytes::from(body.to_string()));
    let is_json = body.is_some();
    let mut response = Response::new(Full::new(body.unwrap_or_default()));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if is_json {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if answer.challenge {
        let realm = HeaderValue::from_static("Basic realm=\"RabbitMQ Management\"");
        headers.insert(WWW_AUTHENTICATE, realm);
    }
    for (name, value) in [(LOCATION, answer.location), (ALLOW, answer.allow)] {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            headers.insert(name, value);
        }
    }
    response
}
