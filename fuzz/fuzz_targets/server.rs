//! A hostile client: no panic, bounded output, and the same conversation however its octets are split.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use smtp::sasl::scram::Keys;
use smtp::sasl::server::{Finding, Inquiry};
use smtp::sasl::{Mechanism, Nonces};
use smtp::server::{Auth, Config, Event, Server};
use smtp::{EnhancedCode, Reply};
use std::sync::Arc;
use std::time::Instant;

const OK: Reply = Reply::fixed(250, EnhancedCode(2, 0, 0), "Ok");

/// Everything that the server said, and the messages that it took.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    replies: Vec<u8>,
    messages: Vec<(Vec<String>, Bytes)>,
}

fn converse(octets: &[u8], piece: usize) -> Heard {
    let now = Instant::now();
    let nonces = Arc::new(Nonces::new([0; 32]));
    let auth = Auth { mechanisms: Mechanism::ALL.to_vec(), without_tls: true, max_failures: 3, nonces };
    let limits = Config { max_message_bytes: 4096, max_recipients: 5, ..Config::default() };
    let config = Config { etrn: true, atrn: true, xclient: true, auth: Some(auth), ..limits };
    let mut server = Server::new(Arc::new(config), now);
    let mut heard = Heard::default();
    for input in octets.chunks(piece) {
        server.handle_bytes(Bytes::copy_from_slice(input), now);
        if drain(&mut server, &mut heard) {
            return heard;
        }
    }
    server.handle_eof();
    drain(&mut server, &mut heard);
    heard
}

/// True when the conversation is over.
fn drain(server: &mut Server, heard: &mut Heard) -> bool {
    let mut over = false;
    loop {
        let event = server.poll_event();
        heard.replies.extend_from_slice(&server.poll_transmit().split());
        match event {
            Some(Event::Mail { .. } | Event::Recipient(_) | Event::XClient(_) | Event::Etrn(_) | Event::Atrn(_)) => {
                server.answer(OK)
            }
            Some(Event::Auth { inquiry, .. }) => server.answer_auth(finding(&inquiry)),
            Some(Event::Message(message)) => {
                let recipients =
                    message.recipients.iter().map(|recipient| recipient.mailbox.as_str().to_owned()).collect();
                heard.messages.push((recipients, message.body.to_bytes()));
                server.complete(message.ticket, OK);
            }
            // Turned round, what comes is for another machine.
            Some(Event::Closed(_) | Event::Turned) => over = true,
            Some(_) => {}
            None => return over,
        }
    }
}

/// An owner of many minds, who is always of the same one about the same user.
fn finding(inquiry: &Inquiry) -> Finding {
    match (inquiry, inquiry.user().len() % 3) {
        (_, 0) => Finding::Unavailable,
        (Inquiry::Keys { .. }, _) => {
            Finding::Keys(Keys { salt: vec![1; 16], iterations: 4096, stored_key: [2; 32], server_key: [3; 32] })
        }
        (_, 1) => Finding::Accepted,
        _ => Finding::Refused,
    }
}

fuzz_target!(|data: &[u8]| {
    let whole = converse(data, usize::MAX);
    assert_eq!(whole, converse(data, 1));
    assert_eq!(whole, converse(data, 13));
    for (recipients, body) in &whole.messages {
        assert!((1..=5).contains(&recipients.len()) && body.len() <= 4096);
    }
});
