//! The watchdog's own `/livez` and `/metrics`.
//! In: what it published at its last look. Out: the answers.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::http::header;
use axum::routing::get;

use crate::error::RunError;
use crate::metrics::{self, Watched};
use crate::watch::Watch;
use crate::{clock, http};

/// What the loop shares with the pages.
#[derive(Clone)]
pub(super) struct Board {
    inner: Arc<Mutex<(Instant, Watched)>>,
}

impl Default for Board {
    fn default() -> Self {
        Self { inner: Arc::new(Mutex::new((clock::instant(), Watched::default()))) }
    }
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, (Instant, Watched)> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A heartbeat came.
    pub(super) fn heard(&self) {
        self.lock().1.heartbeats += 1;
    }

    /// The watchdog has looked.
    pub(super) fn publish(&self, watch: &Watch, now: u64) {
        let mut board = self.lock();
        board.0 = clock::instant();
        board.1.looks += 1;
        board.1.alarms = watch.active().map(|a| (a.kind, a.subject.clone())).collect();
        board.1.silence = watch.present(now).map(|(i, ms)| (i.to_string(), ms as f64 / 1e3)).collect();
    }
}

/// Serves them on loopback.
pub(super) fn serve(listen: &str, board: Board) -> Result<SocketAddr, RunError> {
    http::open(listen, move || {
        let page = board.clone();
        let metrics = move || async move {
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics::watch_page(&page.lock().1))
        };
        let live = move || async move { http::alive(board.lock().0.elapsed()) };
        Router::new().route("/metrics", get(metrics)).route("/livez", get(live))
    })
}
