//! Mail coming in, well or badly.

mod auth;
mod backlog_limits;
mod bare_newlines;
mod certificates;
mod disk_guard;
mod etrn;
mod garbage;
mod half_closed;
mod held_messages;
mod hostile_clients;
mod hundreds_of_injectors;
mod lmtp_listener;
mod mail_loops;
mod messages_too_large;
mod odd_splits;
mod proxy_protocol;
mod resets_mid_body;
mod slow_injector;
mod smuggling;
mod submission;
mod tls;
mod too_many_connections;
mod too_many_recipients;
mod unix_socket;
mod who_may_relay;
mod xclient;
