//! A server and an owner who says yes to everything and makes messages durable at once.

use bytes::{Buf, Bytes};
use smtp::server::{Config, Event, RECIPIENT_OK, SENDER_OK, Server};
use smtp::{EnhancedCode, Reply};
use std::sync::Arc;
use std::time::Instant;

const QUEUED: Reply = Reply::fixed(250, EnhancedCode(2, 0, 0), "Ok");

pub struct Conversation {
    server: Server,
    now: Instant,
}

impl Conversation {
    /// EHLO has been said.
    pub fn new() -> Conversation {
        let now = Instant::now();
        let config = Config { max_errors: u32::MAX, ..Config::default() };
        let mut conversation = Conversation { server: Server::new(Arc::new(config), now), now };
        conversation.take(Bytes::from_static(b"EHLO client.example\r\n"));
        conversation
    }

    /// Hands over a pipelined flight and settles all that comes of it. Octets of content in it.
    pub fn take(&mut self, flight: Bytes) -> usize {
        self.server.handle_bytes(flight, self.now);
        let mut content = 0;
        while let Some(event) = self.server.poll_event() {
            match event {
                Event::Mail { .. } => self.server.answer(SENDER_OK),
                Event::Recipient(_) => self.server.answer(RECIPIENT_OK),
                Event::Message(message) => {
                    content += message.body.len();
                    self.server.complete(message.ticket, QUEUED);
                }
                _ => {}
            }
        }
        let out = self.server.poll_transmit();
        out.advance(out.len());
        content
    }
}
