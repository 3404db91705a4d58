//! How a client and a server are set up.

use arbitrary::Arbitrary;
use smtp::client::{self, Pipelining, StartTls, Timeouts};
use smtp::server::{self, BareNewline, Protocol, TlsInfo};
use std::sync::Arc;
use std::time::Duration;

/// How the client speaks.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct ClientSettings {
    helo: bool,
    plain: bool,
    pipelining: u8,
    window: u8,
    no_chunking: bool,
}

impl ClientSettings {
    /// EHLO: it hears what the server announces.
    pub fn is_extended(self, protocol: Protocol) -> bool {
        !self.helo || protocol == Protocol::Lmtp
    }

    pub fn config(self, protocol: Protocol) -> Arc<client::Config> {
        Arc::new(client::Config {
            hello_name: "client.test".into(),
            protocol,
            extended: !self.helo,
            starttls: if self.plain { StartTls::Off } else { StartTls::Opportunistic },
            pipelining: [Pipelining::Stream, Pipelining::Transaction, Pipelining::Off]
                [usize::from(self.pipelining) % 3],
            window: usize::from(self.window % 8) + 1,
            chunking: !self.no_chunking,
            login: None,
            careful: self.window & 8 != 0,
            timeouts: Timeouts::default(),
        })
    }
}

/// What the server announces and allows.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct ServerSettings {
    /// One bit each for what is announced.
    announced: u16,
    bare_newline: u8,
    small: bool,
    few: bool,
    max_pending: u8,
}

impl ServerSettings {
    pub fn config(self, protocol: Protocol) -> Arc<server::Config> {
        let without = |bit: u16| self.announced >> bit & 1 == 0;
        Arc::new(server::Config {
            hostname: "server.test".into(),
            protocol,
            max_message_bytes: if self.small { 200 } else { 1 << 20 },
            max_recipients: if self.few { 2 } else { 100 },
            max_errors: 10,
            max_pending_messages: usize::from(self.max_pending % 4) + 1,
            idle_timeout: Duration::from_secs(300),
            starttls: !without(0),
            pipelining: without(1),
            chunking: without(2),
            eight_bit_mime: without(3),
            binary_mime: !without(4),
            smtputf8: without(5),
            dsn: !without(6),
            require_tls: !without(7),
            mt_priority: !without(8),
            deliver_by: !without(9),
            limits: !without(10),
            etrn: !without(12),
            xclient: !without(13),
            enhanced_status_codes: without(11),
            bare_newline: [BareNewline::Reject, BareNewline::Keep, BareNewline::Normalize]
                [usize::from(self.bare_newline) % 3],
            ..server::Config::default()
        })
    }
}

pub fn protocol(lmtp: bool) -> Protocol {
    if lmtp { Protocol::Lmtp } else { Protocol::Smtp }
}

/// As if a handshake had been.
pub fn tls_info() -> TlsInfo {
    TlsInfo { version: "TLSv1.3", cipher: "TLS13_AES_128_GCM_SHA256".into() }
}
