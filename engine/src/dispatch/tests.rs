//! Dispatch against a played world.

mod chance;
mod connections;
mod expiry;
mod fairness;
mod host_limits;
mod memory;
mod on_demand;
mod operators;
mod outcomes;
mod own_faults;
mod routes;
mod settling;
mod strict;
mod tidings;
mod world;

use super::*;
use crate::config::{Pattern, Rate, RouteRule, SiteRule, SocketName, TlsPolicy, Via};
use dns::MxFailure;
use queue::{Domain, Entry, EntryKey};
use smtp::client::{Features, Pipelining, Protocol};
use std::collections::HashMap;
use std::time::Duration;
use world::{Door, World, address_of, config, limits};

const S: fn(u64) -> Duration = Duration::from_secs;

/// A configuration for the tests of neighbours.
pub(crate) fn test_config() -> Arc<Config> {
    Arc::new(config())
}

fn world() -> World {
    World::new(config(), 1)
}

/// Everything in memory is gone, and after a while the domains and sites, too.
fn check_empty(world: &mut World) {
    world.run(S(4 * 3600));
    assert!(world.disk.is_empty(), "left on disk: {:?}", world.disk.keys().next());
    let d = &world.dispatch;
    assert_eq!(d.counts(), Counts::default());
    assert_eq!((d.kept, d.messages.held.len(), d.messages.slab.len(), d.messages.deliveries.len()), (0, 0, 0, 0));
    assert_eq!((d.messages.body_bytes, d.messages.loading_bytes), (0, 0));
    assert_eq!((d.fetching, d.asked, d.transactions.len(), d.connections.len()), (0, 0, 0, 0));
    assert_eq!(d.known(), (0, 0), "domains and sites are forgotten");
    assert!(d.poll_timeout().is_none(), "nothing left to wait for");
    assert!(d.is_quiet());
}

fn fastest_window(times: &[Instant], per: Duration) -> usize {
    let inside = |i: usize| times[i..].iter().take_while(|t| **t < times[i] + per).count();
    (0..times.len()).map(inside).max().unwrap_or(0)
}
