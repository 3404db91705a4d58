//! Which connections are open, towards whom, and how busy: for the gauges.

use crate::dispatch::ConnectionId;
use crate::metrics::SiteConnections;
use smtp::client::{Cause, Stage};
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Default)]
pub(crate) struct Roster {
    open: HashMap<ConnectionId, Member>,
}

struct Member {
    site: Arc<str>,
    ready: bool,
    in_flight: u32,
}

impl Roster {
    pub(crate) fn opened(&mut self, connection: ConnectionId, site: Arc<str>) {
        self.open.insert(connection, Member { site, ready: false, in_flight: 0 });
    }

    pub(crate) fn ready(&mut self, connection: ConnectionId) {
        if let Some(member) = self.open.get_mut(&connection) {
            member.ready = true;
        }
    }

    pub(crate) fn handed(&mut self, connection: ConnectionId) {
        if let Some(member) = self.open.get_mut(&connection) {
            member.in_flight += 1;
        }
    }

    pub(crate) fn reported(&mut self, connection: ConnectionId) {
        if let Some(member) = self.open.get_mut(&connection) {
            member.in_flight = member.in_flight.saturating_sub(1);
        }
    }

    /// Its site, and why it failed, if it did.
    pub(crate) fn closed(
        &mut self,
        connection: ConnectionId,
        stage: Stage,
        cause: &Cause,
    ) -> Option<(Arc<str>, Option<&'static str>)> {
        let member = self.open.remove(&connection)?;
        Some((member.site, failure(stage, cause)))
    }

    /// By site.
    pub(crate) fn census(&self) -> HashMap<&str, SiteConnections> {
        let mut sites: HashMap<&str, SiteConnections> = HashMap::new();
        for member in self.open.values() {
            let site = sites.entry(&member.site).or_default();
            match (member.ready, member.in_flight) {
                (false, _) => site.connecting += 1,
                (true, 0) => site.idle += 1,
                (true, _) => site.busy += 1,
            }
        }
        sites
    }
}

/// The metric's `reason`.
fn failure(stage: Stage, cause: &Cause) -> Option<&'static str> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_counted_where_it_is_until_it_closes() {
        let (mut roster, id) = (Roster::default(), ConnectionId(7));
        let count = |connecting, idle, busy| SiteConnections { connecting, idle, busy };
        roster.opened(id, "mx.test".into());
        assert_eq!(roster.census()["mx.test"], count(1, 0, 0));
        roster.ready(id);
        roster.handed(id);
        assert_eq!(roster.census()["mx.test"], count(0, 0, 1));
        roster.reported(id);
        assert_eq!(roster.census()["mx.test"], count(0, 1, 0));
        assert_eq!(roster.closed(id, Stage::Final, &Cause::Eof), Some(("mx.test".into(), Some("lost"))));
        assert!(roster.census().is_empty());
        assert_eq!(roster.closed(id, Stage::Idle, &Cause::Done), None);
    }
}
