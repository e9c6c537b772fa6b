//! Dashboard, metrics and health over HTTP, on loopback.
//! In: what the processing loop shares. Out: pages, JSON, text; commands go into the log and nowhere else.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::BroadcastStream;

use crate::error::RunError;
use crate::shared::{DEAD, STUCK, Shared, WardCommand};
use crate::{clock, metrics};

/// Pages and scripts, in the binary: nothing is loaded from elsewhere.
const ASSETS: &[(&str, &str, &str)] = &[
    ("/", "text/html; charset=utf-8", include_str!("http/assets/index.html")),
    ("/assets/style.css", "text/css; charset=utf-8", include_str!("http/assets/style.css")),
    ("/assets/ward.js", JS, include_str!("http/assets/ward.js")),
    ("/assets/card.js", JS, include_str!("http/assets/card.js")),
    ("/assets/bed.js", JS, include_str!("http/assets/bed.js")),
    ("/assets/feed.js", JS, include_str!("http/assets/feed.js")),
    ("/assets/strips.js", JS, include_str!("http/assets/strips.js")),
];
const JS: &str = "text/javascript; charset=utf-8";
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                   base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(Clone)]
struct Server {
    shared: Arc<Shared>,
    stream: broadcast::Sender<Arc<str>>,
}

/// Starts the server on a thread of its own and says where it listens.
///
/// # Errors
/// [`RunError::NotLoopback`] for other addresses, [`RunError::Listen`] if the port is taken.
pub fn serve(listen: &str, shared: Arc<Shared>) -> Result<SocketAddr, RunError> {
    open(listen, move || {
        let (stream, _) = broadcast::channel(4);
        let server = Server { shared, stream };
        tokio::spawn(publish(server.clone()));
        router(server)
    })
}

/// Starts a server of any pages; `pages` is called on its thread.
pub(crate) fn open(
    listen: &str,
    pages: impl FnOnce() -> Router + Send + 'static,
) -> Result<SocketAddr, RunError> {
    let refused = || RunError::NotLoopback { found: listen.into() };
    let address: SocketAddr = listen.parse().map_err(|_| refused())?;
    if !address.ip().is_loopback() {
        return Err(refused());
    }
    let failed = |source| RunError::Listen { listen: listen.into(), source };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    thread::Builder::new()
        .name("http".into())
        .spawn(move || {
            runtime.block_on(async move {
                let pages = pages().layer(axum::middleware::map_response(harden));
                if let Ok(listener) = tokio::net::TcpListener::from_std(listener) {
                    let _ = axum::serve(listener, pages).await;
                }
            });
        })
        .map_err(failed)?;
    Ok(bound)
}

fn router(server: Server) -> Router {
    let mut router = Router::new()
        .route("/api/ward", get(ward))
        .route("/api/stream", get(stream))
        .route("/api/command", post(command))
        .route("/metrics", get(metrics_page))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz));
    for (path, kind, body) in ASSETS {
        let answer = move || async move { ([(header::CONTENT_TYPE, *kind)], *body) };
        router = router.route(path, get(answer));
    }
    router.with_state(server)
}

async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        ("content-security-policy", CSP),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Makes one message a second for all pages, from the loop's own state; a loop that does not turn makes none.
async fn publish(server: Server) {
    let mut beat = tokio::time::interval(Duration::from_millis(1000));
    loop {
        beat.tick().await;
        if server.shared.since_turn() > STUCK || server.stream.receiver_count() == 0 {
            continue;
        }
        let message = server.shared.ward().message(clock::now().millis(), server.shared.log_time());
        let _ = server.stream.send(message.into());
    }
}

async fn stream(State(server): State<Server>) -> impl IntoResponse {
    let messages = BroadcastStream::new(server.stream.subscribe())
        .filter_map(Result::ok)
        .map(|m| Ok::<_, Infallible>(Event::default().event("ward").data(&*m)));
    Sse::new(messages).keep_alive(KeepAlive::default())
}

async fn ward(State(server): State<Server>) -> Json<Value> {
    Json(server.shared.about.clone())
}

async fn command(
    State(server): State<Server>,
    headers: HeaderMap,
    body: Result<Json<WardCommand>, axum::extract::rejection::JsonRejection>,
) -> Response {
    let refuse = |status: StatusCode, why: &str| (status, Json(json!({"error": why}))).into_response();
    // A page of another site cannot set this header without asking, and is never allowed to.
    if headers.get("x-auscult-csrf").is_none_or(|v| v != "1") {
        return refuse(StatusCode::FORBIDDEN, "the header x-auscult-csrf is missing");
    }
    let Ok(Json(command)) = body else {
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, "expected patient, rule and action");
    };
    if !matches!(command.action.as_str(), "acknowledge" | "pause") {
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, "action is neither acknowledge nor pause");
    }
    if server.shared.ward().event_time(&command.patient).is_none() {
        return refuse(StatusCode::NOT_FOUND, "no such bed on show");
    }
    if !server.shared.ask(command) {
        return refuse(StatusCode::TOO_MANY_REQUESTS, "too many commands wait");
    }
    (StatusCode::ACCEPTED, Json(json!({"status": "accepted"}))).into_response()
}

async fn metrics_page(State(server): State<Server>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics::page(&server.shared.status()))
}

async fn livez(State(server): State<Server>) -> Response {
    alive(server.shared.since_turn())
}

/// The answer to `/livez`, by the age of the last turn of whatever loop there is.
pub(crate) fn alive(since: Duration) -> Response {
    let stuck = since > DEAD;
    let (since_turn_s, dead_after_s) = (since.as_secs_f64(), DEAD.as_secs_f64());
    let reason = match stuck {
        true => format!(
            "the processing loop has not turned for {since_turn_s:.1} s, at most {dead_after_s} s are allowed"
        ),
        false => String::new(),
    };
    let status = if stuck { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let body = json!({
        "alive": !stuck, "reason": reason, "since_turn_s": since_turn_s, "dead_after_s": dead_after_s,
    });
    (status, Json(body)).into_response()
}

async fn readyz(State(server): State<Server>) -> Response {
    let status = server.shared.status();
    let stuck = server.shared.since_turn() > STUCK;
    let reason = if stuck { "the processing loop stands still" } else { status.why_not_ready.as_str() };
    let code = if status.ready && !stuck { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({"ready": code == StatusCode::OK, "reason": reason}))).into_response()
}
