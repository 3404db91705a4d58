//! Names and descriptions.

use metrics::{describe_counter, describe_gauge, describe_histogram};

pub(super) const ACCEPTED: &str = "posthaste_messages_accepted_total";
pub(super) const ACCEPTED_RECIPIENTS: &str = "posthaste_recipients_accepted_total";
pub(super) const CLIENTS: &str = "posthaste_listener_connections";
pub(super) const REJECTED: &str = "posthaste_messages_rejected_total";
pub(super) const ETRN: &str = "posthaste_etrn_total";
pub(super) const ATRN: &str = "posthaste_atrn_total";
pub(super) const DELIVERIES: &str = "posthaste_deliveries_total";
pub(super) const IN_DOUBT: &str = "posthaste_deliveries_in_doubt_total";
pub(super) const REMOVED: &str = "posthaste_recipients_removed_total";
pub(super) const DISCARDED: &str = "posthaste_recipients_discarded_total";
pub(super) const NOTICES: &str = "posthaste_notices_total";
pub(super) const DELIVERY_LATENCY: &str = "posthaste_delivery_latency_seconds";
pub(super) const ATTEMPT: &str = "posthaste_attempt_seconds";
pub(super) const INGEST_COMMIT: &str = "posthaste_ingest_commit_seconds";
pub(super) const QUEUE_RECIPIENTS: &str = "posthaste_queue_recipients";
pub(super) const CONNECTIONS: &str = "posthaste_connections";
pub(super) const OPENED: &str = "posthaste_connections_opened_total";
pub(super) const FAILURES: &str = "posthaste_connection_failures_total";
pub(super) const THROTTLED: &str = "posthaste_throttled_seconds_total";
pub(super) const TLS_HANDSHAKES: &str = "posthaste_tls_handshakes_total";
pub(super) const DNS_LOOKUPS: &str = "posthaste_dns_lookups_total";
pub(super) const DNS_LOOKUP_SECONDS: &str = "posthaste_dns_lookup_seconds";
pub(super) const COMMITS: &str = "posthaste_queue_commits_total";
pub(super) const COMMIT_BATCH: &str = "posthaste_queue_commit_batch_size";
pub(super) const SYNCS: &str = "posthaste_queue_syncs_total";
pub(super) const JOURNAL_BYTES: &str = "posthaste_queue_journal_bytes";
pub(super) const SPARE_BYTES: &str = "posthaste_queue_spare_bytes";
pub(super) const AUTH_ATTEMPTS: &str = "posthaste_auth_attempts_total";
pub(super) const CERTIFICATE_EXPIRY: &str = "posthaste_tls_certificate_expiry_timestamp_seconds";
pub(super) const EVENTS_LOST: &str = "posthaste_events_lost_total";

/// Tells the recorder what each is.
pub(super) fn describe() {
    for (name, what) in [
        (ACCEPTED, "Messages that were made durable"),
        (ACCEPTED_RECIPIENTS, "Recipients of messages that were made durable"),
        (REJECTED, "Messages and connections that a listener refused"),
        (ETRN, "Times that a client asked for a queue to be started"),
        (ATRN, "Times that a customer came for its mail"),
        (DELIVERIES, "Recipients by outcome of an attempt"),
        (IN_DOUBT, "Recipients whose final reply never came: a second copy may be sent"),
        (REMOVED, "Recipients that an operator removed"),
        (DISCARDED, "Recipients whose mail a route threw away; they count as delivered, too"),
        (NOTICES, "Notices to senders"),
        (OPENED, "Connections opened"),
        (FAILURES, "Connections that failed"),
        (THROTTLED, "Time that a limit kept a site waiting"),
        (TLS_HANDSHAKES, "TLS handshakes with hosts that mail is delivered to"),
        (DNS_LOOKUPS, "Questions sent to name servers"),
        (COMMITS, "Groups written to the journal and synced"),
        (SYNCS, "Syncs of any queue file"),
        (AUTH_ATTEMPTS, "Logins by result"),
        (EVENTS_LOST, "Lines that the event log could not write"),
    ] {
        describe_counter!(name, what);
    }
    for (name, what) in [
        (DELIVERY_LATENCY, "From accepted to delivered, per recipient"),
        (ATTEMPT, "One SMTP transaction"),
        (INGEST_COMMIT, "From end of data to durable, per message"),
        (DNS_LOOKUP_SECONDS, "One question to a name server"),
        (COMMIT_BATCH, "Messages that were made durable together"),
    ] {
        describe_histogram!(name, what);
    }
    for (name, what) in [
        (QUEUE_RECIPIENTS, "Recipients queued; what is due and on disk counts as deferred"),
        (CONNECTIONS, "Open connections to sites"),
        (CLIENTS, "Open connections of clients"),
        (JOURNAL_BYTES, "Size of the journal on disk"),
        (SPARE_BYTES, "Of it, what is kept ready for new mail and holds nothing"),
        (CERTIFICATE_EXPIRY, "When a listener's certificate expires, since 1970"),
    ] {
        describe_gauge!(name, what);
    }
}
