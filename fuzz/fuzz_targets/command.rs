//! One command line: it gets one reply, and what a server understands of MAIL and RCPT, a client says again, and the next server
//! understands the same.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use smtp::client::{self, Client, Pipelining, Protocol, StartTls, Timeouts, Transaction};
use smtp::reply::ReplyParser;
use smtp::server::{Config, Event, Server, TlsInfo};
use smtp::{Body, EnhancedCode, MailParameters, Recipient, Reply, ReversePath};
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

const OK: Reply = Reply::fixed(250, EnhancedCode(2, 0, 0), "Ok");

/// What a server was asked.
#[derive(Debug, Default, PartialEq)]
struct Asked {
    mail: Option<(ReversePath, MailParameters)>,
    recipient: Option<Recipient>,
}

/// A server that announces all there is, behind TLS.
fn server(now: Instant) -> Server {
    let config = Config {
        hostname: "server.test".into(),
        binary_mime: true,
        dsn: true,
        require_tls: true,
        mt_priority: true,
        deliver_by: true,
        xclient: true,
        ..Config::default()
    };
    let mut server = Server::new(Arc::new(config), now);
    server.handle_tls(TlsInfo { version: "TLSv1.3", cipher: "any".into() });
    server
}

/// Says yes to everything. Whether the conversation goes on.
fn listen(server: &mut Server, asked: &mut Asked) -> bool {
    while let Some(event) = server.poll_event() {
        match event {
            Event::Mail { reverse_path, parameters, .. } => {
                asked.mail = Some((reverse_path, parameters));
                server.answer(OK);
            }
            Event::Recipient(recipient) => {
                asked.recipient = Some(recipient);
                server.answer(OK);
            }
            Event::XClient(_) | Event::Etrn(_) => server.answer(OK),
            Event::Message(message) => server.complete(message.ticket, OK),
            Event::Closed(_) => return false,
            _ => {}
        }
    }
    true
}

/// Says the line, and hears so many replies.
fn say(server: &mut Server, line: &[u8], asked: &mut Asked, now: Instant) -> usize {
    server.handle_bytes(Bytes::copy_from_slice(line), now);
    listen(server, asked);
    let said = server.poll_transmit().split();
    let (mut parser, mut rest, mut replies) = (ReplyParser::default(), &said[..], 0);
    while parser.parse(&mut rest).expect("replies are well-formed").is_some() {
        replies += 1;
    }
    replies
}

/// What a server is asked when a client passes on what was asked of another one; nothing where it cannot.
fn passed_on(mail: &(ReversePath, MailParameters), recipient: &Recipient, now: Instant) -> Option<Asked> {
    let config = client::Config {
        hello_name: "client.test".into(),
        protocol: Protocol::Smtp,
        extended: true,
        starttls: StartTls::Off,
        pipelining: Pipelining::Transaction,
        window: 1,
        chunking: true,
        login: None,
        careful: false,
        timeouts: Timeouts::default(),
    };
    let (mut client, mut server, mut asked) = (Client::new(Arc::new(config), now), server(now), Asked::default());
    let mut submitted = false;
    loop {
        client.handle_bytes(&server.poll_transmit().split(), now);
        while client.poll_event().is_some() {}
        if client.credit() > 0 && !submitted {
            submitted = true;
            let transaction = Transaction {
                id: 0,
                reverse_path: &mail.0,
                recipients: &mut std::iter::once(recipient),
                body: &Body::new("Subject: s\r\n\r\n"),
                parameters: &mail.1,
                age_seconds: 0,
            };
            client.submit(transaction, now).ok()?;
        }
        let mut slices = [IoSlice::new(&[]); 8];
        let count = client.transmit(&mut slices);
        let flight: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
        if flight.is_empty() && server.poll_transmit().is_empty() {
            return Some(asked);
        }
        client.advance(flight.len(), now);
        server.handle_bytes(flight.into(), now);
        listen(&mut server, &mut asked);
    }
}

fuzz_target!(|data: &[u8]| {
    let [choice, text @ ..] = data else { return };
    if text.contains(&b'\n') {
        return;
    }
    let now = Instant::now();
    let (mut server, mut asked) = (server(now), Asked::default());
    let opening = ["", "EHLO c.test\r\n", "EHLO c.test\r\nMAIL FROM:<a@c.test> SMTPUTF8\r\n"][usize::from(*choice) % 3];
    say(&mut server, opening.as_bytes(), &mut asked, now);
    let before = std::mem::take(&mut asked);
    let replies = say(&mut server, &[text, b"\r\n"].concat(), &mut asked, now);
    let is_chunk = text.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"BDAT"));
    assert!(replies == 1 || (replies == 0 && is_chunk), "{replies} replies");
    let Some(mail) = asked.mail.take().or(before.mail) else { return };
    let anybody = || Recipient::new(smtp::Mailbox::parse("a@s.test").expect("a constant"));
    let recipient = asked.recipient.take().unwrap_or_else(anybody);
    if let Some(again) = passed_on(&mail, &recipient, now) {
        let (reverse_path, parameters) = again.mail.expect("what a client says is understood");
        assert_eq!(reverse_path, mail.0);
        // A time that is over, or an address that is not ASCII, may add to what was said.
        assert_eq!((parameters.ret, &parameters.envid), (mail.1.ret, &mail.1.envid));
        assert_eq!((parameters.require_tls, parameters.priority), (mail.1.require_tls, mail.1.priority));
        assert_eq!(parameters.deliver_by, mail.1.deliver_by);
        assert!(parameters.smtputf8 || !mail.1.smtputf8);
        assert_eq!(again.recipient.as_ref(), Some(&recipient));
    }
});
