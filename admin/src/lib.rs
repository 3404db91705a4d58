//! HTTP for machines and operators: metrics, health, and the queue API that `posthaste queue` and `explain` use.
//!
//! | | |
//! |---|---|
//! | `GET /metrics` | Prometheus text: the engine's metrics, the process's, `posthaste_build_info`, `posthaste_ready` |
//! | `GET /healthz` | 200 as long as the process answers at all |
//! | `GET /readyz` | 200 when mail is taken; 503 with the reason while it drains, cannot write or has no room |
//! | `GET /api/queue/summary` | [`control::Summary`] |
//! | `GET /api/queue?domain=&sender=&tenant=&campaign=&id=&after=&limit=` | [`control::Page`] |
//! | `GET /api/queue/ID` | [`control::Message`] |
//! | `POST /api/queue/{retry,hold,release,remove}?after=&limit=` | [`control::Selection`] in, [`control::Acted`] out: one step |
//! | `GET /api/explain?address=` | [`control::Explanation`] |
//!
//! One thread with a current-thread runtime serves it all; questions to the engine, which may read the disk, go to at most
//! two helper threads so that a long list never delays a health check. Errors are `{"error": …, "hint": …}`.
//!
//! There are no passwords: bind it to loopback. A web page must not reach it through a visitor's browser, so the API takes
//! JSON bodies only, and only with a `Host` that is an address or `localhost` (against DNS rebinding).
//!
//! What the engine can be asked is the trait [`Control`]; its shell implements it.

mod api;
pub mod control;
mod process;
mod recorder;
mod server;

pub use control::Control;
pub use recorder::{RecorderError, install_recorder};
pub use server::{Admin, AdminError, AdminHandle};
