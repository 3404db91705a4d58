//! A hostile server: no panic, and every transaction is reported exactly once, whatever it answers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use smtp::client::{Client, Config, Event, Pipelining, Protocol, StartTls, Timeouts, Transaction};
use smtp::{Body, MailParameters, Mailbox, Recipient, ReversePath};
use std::collections::HashSet;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

/// The first octet chooses how to speak, the second how the rest, which is what the server says, is split.
fn config(choice: u8) -> Config {
    Config {
        hello_name: "client.test".into(),
        protocol: if choice & 1 == 0 { Protocol::Smtp } else { Protocol::Lmtp },
        extended: choice & 0x40 == 0,
        starttls: if choice & 2 == 0 { StartTls::Opportunistic } else { StartTls::Off },
        pipelining: [Pipelining::Off, Pipelining::Transaction, Pipelining::Stream][usize::from(choice >> 2) % 3],
        window: 4,
        chunking: choice & 0x80 == 0,
        login: None,
        careful: false,
        timeouts: Timeouts::default(),
    }
}

#[derive(Default)]
struct Seen {
    submitted: u64,
    reported: HashSet<u64>,
    over: bool,
}

fn drain(client: &mut Client, seen: &mut Seen, mail: &(ReversePath, Vec<Recipient>, Body), now: Instant) {
    loop {
        while let Some(event) = client.poll_event() {
            match event {
                Event::Report(report) => {
                    assert!(report.id < seen.submitted && seen.reported.insert(report.id), "reported twice or unasked");
                }
                Event::Closed { .. } => seen.over = true,
                _ => {}
            }
        }
        let mut slices = [IoSlice::new(&[]); 16];
        let count = client.transmit(&mut slices);
        let written: usize = slices[..count].iter().map(|slice| slice.len()).sum();
        if written > 0 {
            client.advance(written, now);
            continue;
        }
        if seen.over || client.credit() == 0 || seen.submitted == 64 {
            return;
        }
        let (reverse_path, recipients, body) = mail;
        let transaction = Transaction {
            id: seen.submitted,
            reverse_path,
            recipients: &mut recipients.iter(),
            body,
            parameters: &MailParameters::default(),
            age_seconds: 0,
        };
        if client.submit(transaction, now).is_err() {
            return;
        }
        seen.submitted += 1;
    }
}

fuzz_target!(|data: &[u8]| {
    let [choice, piece, said @ ..] = data else { return };
    let now = Instant::now();
    let mut client = Client::new(Arc::new(config(*choice)), now);
    let recipients =
        ["a@b.test", "c@b.test"].map(|text| Recipient::new(Mailbox::parse(text).expect("constants"))).to_vec();
    let mail = (ReversePath(None), recipients, Body::new(&b"Subject: s\r\n\r\n.dot\r\n"[..]));
    let mut seen = Seen::default();
    for input in said.chunks(usize::from(*piece).max(1)) {
        client.handle_bytes(input, now);
        drain(&mut client, &mut seen, &mail, now);
        if seen.over {
            break;
        }
    }
    if !seen.over {
        client.handle_eof();
        drain(&mut client, &mut seen, &mail, now);
    }
    assert!(seen.over, "the end of the connection is the end of the conversation");
    assert_eq!(seen.reported.len() as u64, seen.submitted, "a transaction without a report");
});
