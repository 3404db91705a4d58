//! Why a connection failed, as a label has it: a stage's or cause's name, never a peer's words.

use smtp::client::{Cause, Stage};

/// `None`: it did not fail.
pub(super) fn reason(stage: Stage, cause: &Cause) -> Option<&'static str> {
    match (stage, cause) {
        (_, Cause::Done) | (Stage::Idle | Stage::Quit, _) => None,
        (Stage::Connect, Cause::Timeout) => Some("connect_timeout"),
        (Stage::Connect, _) => Some("connect"),
        (Stage::Auth, _) => Some("auth"),
        (_, Cause::Tls(_)) | (Stage::Tls | Stage::StartTls, _) => Some("tls"),
        (_, Cause::Replied(_)) => Some("refused"),
        (_, Cause::Timeout) => Some("timeout"),
        (_, Cause::Protocol(_) | Cause::Auth(_)) => Some("protocol"),
        (_, Cause::Eof | Cause::Io(_)) => Some("lost"),
    }
}
