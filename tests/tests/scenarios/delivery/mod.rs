//! Mail going out, to destinations good and bad.

mod closes_after_the_final_dot;
mod closes_while_idle;
mod connection_limits;
mod corpus_over_tls;
mod dns_outage;
mod domains_without_mail;
mod drops_mid_body;
mod expiry;
mod garbage_in_replies;
mod greylisting;
mod lmtp_route;
mod manners;
mod many_recipients;
mod next_mx_host;
mod null_sender_bounces;
mod one_provider_many_domains;
mod partial_refusals;
mod priorities;
mod refused_at_every_stage;
mod says_421;
mod seven_bit_hosts;
mod smart_host;
mod stalls;
mod suspend_and_resume;
mod tls_policies;
mod unreachable;
