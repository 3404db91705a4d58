//! The thread that serves.

use crate::api::{Rooms, router};
use crate::control::Control;
use crate::recorder::UPKEEP_INTERVAL;
use metrics_exporter_prometheus::PrometheusHandle;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// Threads for questions that may read the disk.
const MAX_BLOCKING_THREADS: usize = 2;
/// How long requests under way may take at the end.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// The admin server. See [`Admin::start`].
pub struct Admin;

/// The running server; dropping it stops it.
pub struct AdminHandle {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Why it cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address is taken, or not ours.
    #[error("[admin] cannot listen on {address}: {source}; choose another `bind`, or \"off\"")]
    Bind {
        /// As configured.
        address: SocketAddr,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// No thread or no event loop is to be had.
    #[error("[admin] cannot start: {0}")]
    Start(#[from] io::Error),
}

impl Admin {
    /// Binds, and serves from a thread of its own until the handle is stopped or dropped.
    ///
    /// # Errors
    /// The address cannot be bound, or there are no threads.
    pub fn start(
        bind: SocketAddr,
        control: Arc<dyn Control>,
        prometheus: PrometheusHandle,
    ) -> Result<AdminHandle, AdminError> {
        let listener = TcpListener::bind(bind).map_err(|source| AdminError::Bind { address: bind, source })?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "[admin] is not on loopback: whoever reaches it can read and remove queued mail");
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(MAX_BLOCKING_THREADS)
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("admin".into()).spawn(move || {
            runtime.block_on(serve(listener, Rooms { control, prometheus }, stopped));
            runtime.shutdown_timeout(STOP_TIMEOUT);
        })?;
        Ok(AdminHandle { address, stop: Some(stop), thread: Some(thread) })
    }
}

async fn serve(listener: TcpListener, rooms: Rooms, stopped: oneshot::Receiver<()>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "[admin] cannot serve"),
    };
    let upkeep = tokio::spawn(upkeep(rooms.prometheus.clone()));
    let (begin, begun) = oneshot::channel();
    let server = axum::serve(listener, router(rooms)).with_graceful_shutdown(async {
        // An error is a dropped handle: the same wish.
        let _ = stopped.await;
        let _ = begin.send(());
    });
    let out_of_time = async {
        let _ = begun.await;
        tokio::time::sleep(STOP_TIMEOUT).await;
    };
    tokio::select! {
        result = server => if let Err(error) = result {
            tracing::error!(%error, "[admin] stopped serving");
        },
        () = out_of_time => {}
    }
    upkeep.abort();
}

async fn upkeep(prometheus: PrometheusHandle) {
    let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        ticks.tick().await;
        prometheus.run_upkeep();
    }
}

impl AdminHandle {
    /// Where it listens; tells the port where `bind` left it open.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
    /// Answers what is under way, for at most a second, and ends the thread.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for AdminHandle {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // An error: the thread has ended already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // A panic in there has been printed; there is nothing left to end.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
