//! Every bound of dispatch, in one place. What operators may want to set is in the configuration instead.

use std::time::Duration;

/// Deliveries that one site keeps in memory at most; the rest stays on disk.
pub const READY_PER_SITE: usize = 2_000;
/// Deliveries in memory over all sites. A site may fill a quarter of what is still free, so that no number of slow sites
/// shuts the others out (the dynamic threshold of Choudhury and Hahne, 1998).
pub const READY_TOTAL: usize = 50_000;
/// Contents in memory of which each may keep the buffer that it was read into, of which it may be a small part. Beyond it they
/// are copied into buffers of their own, unless they are so large that it makes no difference. Mail that leaves as fast as it comes
/// is never so much.
pub const UNCOPIED: usize = 512;
pub const COPIED_OCTETS: usize = 64 << 10;
/// What a site may always keep, however full the memory is.
pub const READY_MIN: usize = 2;
/// What each flow of a site may always keep beside others, however much of the site's share they fill: so little of one gets
/// its turn beside much of another.
pub const READY_OF_FLOW: usize = 8;
/// What a flow may send before it is another's turn: octets of messages, each with so many on top.
pub const TURN_OCTETS: i64 = 64 << 10;
pub const TRANSACTION_COST: i64 = 4 << 10;
/// Recipients whose outcome is decided and not yet durable. Beyond it nothing is handed over or fetched until half of them are:
/// a disk that hangs must neither fill the memory nor have all that is delivered meanwhile delivered again after a crash.
/// It is half a second of 50,000 recipients a second, where a group takes a few milliseconds.
pub const SETTLING: usize = 25_000;
/// Entries read from the queue at a time.
pub const FETCH_BATCH: usize = 500;
/// Reads of the queue under way at once.
pub const MAX_FETCHES: usize = 64;
/// MX questions under way at once.
pub const MAX_LOOKUPS: usize = 1_000;
/// Messages of one site being read back ahead of their turn.
pub const LOAD_AHEAD: usize = 32;
/// Loaded deliveries beyond which reading ahead slows to one at a time.
pub const LOADED_ENOUGH: usize = 64;
/// While contents are being read, connections without work are kept, and looked at again after this time.
pub const LOADING_LOOK: Duration = Duration::from_secs(1);
/// Connections being set up at once towards a site that has not answered yet.
pub const CONNECTING_UNPROVEN: usize = 5;
/// Transactions handed to a connection and not yet reported: level `stream`.
pub const WINDOW_STREAM: usize = 16;
/// Transactions handed to a connection and not yet reported: other levels. The second is there when the first ends.
pub const WINDOW: usize = 2;
/// Octets of content handed to one connection beyond its first transaction.
pub const BYTES_AHEAD: usize = 1 << 20;
/// Connections without work, over all sites; beyond it the longest idle is closed.
pub const MAX_IDLE: usize = 2_000;
/// How long a customer that came for its mail is kept waiting for it, while the queue is being walked through. When there
/// is nothing left, it is not kept waiting.
pub const ON_DEMAND_IDLE: Duration = Duration::from_secs(300);
/// Connections over all sites, in any state.
pub const MAX_CONNECTIONS: usize = 10_000;
/// When that is reached, a site looks again after this time.
pub const FULL_PAUSE: Duration = Duration::from_secs(1);
/// How often a recipient is tried again at once after a lost connection before that counts as an attempt.
pub const MAX_LOSSES: u8 = 2;
/// How long an address that failed is left alone: first, doubled each time, at most.
pub const HOST_PAUSE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(600));
/// Hosts of a site are tried for so long without success before its mail is deferred, although some may be left. Where one takes half
/// a minute to fail, it is five that do at once: this is for sites of a hundred addresses, which would never be all left alone.
pub const ROUND: Duration = Duration::from_secs(600);
/// A connection that ends so soon after it was set up, before it was of use, was not wanted: nobody's patience is that short.
pub const AT_ONCE: Duration = Duration::from_millis(500);
/// How long an address is passed over after a connection could not be opened for a fault of our own; and how long a site's mail
/// waits for that to pass before it is deferred.
pub const OWN_FAULT: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// How long the same fault of our own is not told again.
pub const OWN_FAULT_TOLD: Duration = Duration::from_secs(3600);
/// Where connections worked and no other is let in, it is tried once more after this time: a host that takes few at once may
/// count those that ended for a moment.
pub const COUNTED_STILL: Duration = Duration::from_secs(1);
/// How long a host is spoken to in clear text after TLS failed with it.
pub const CLEAR_TEXT: Duration = Duration::from_secs(3600);
/// How long a host that misbehaved is spoken to in a plainer manner: without CHUNKING, without pipelining, with HELO.
pub const MANNER: Duration = Duration::from_secs(3600);
/// How long a site that refused recipients as too many for one transaction gets no more in one than it took then. It may have meant
/// something else (452 is also a disk that is full), and each transaction beyond asks anew.
pub const CROWDED: Duration = Duration::from_secs(3600);
/// How long mail that requires TLS passes over a host that did not promise it (RFC 8689), where there are others.
pub const NO_PROMISE: Duration = Duration::from_secs(300);
/// How long a host that turned out to be this server is taken for that.
pub const OURSELVES: Duration = Duration::from_secs(60);
/// How long a failure to route a domain is believed: for good, for now.
pub const ROUTE_FAILURE: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(60));
/// However far off its due time is, a domain's mail on disk is looked at again after this time, or up to twice that (not all of
/// it at once): the clock may be set forward, and stands still while the machine is suspended.
pub const DUE_LOOK: Duration = Duration::from_secs(600);
/// How long a route with nothing to look up is kept before it is looked at again.
pub const ROUTE_KEEP: Duration = Duration::from_secs(600);
/// How long a site without domains is remembered.
pub const SITE_KEEP: Duration = Duration::from_secs(60);
/// Throttled time is reported in portions of at least, and at most.
pub const THROTTLED: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// How much one site (or one domain without a route) may keep in memory when `kept` are kept by all.
pub(super) fn share(kept: usize) -> usize {
    (READY_TOTAL.saturating_sub(kept) / 4).clamp(READY_MIN, READY_PER_SITE)
}
