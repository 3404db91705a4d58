//! A real client and a real server, driven against each other: the fuzzer submits, moves octets in any portions, answers,
//! completes, lets time pass and cuts. Whatever happens,
//!
//! - every submitted transaction is reported exactly once, in order;
//! - what the server takes is what the client was given: sender, recipients, parameters, content;
//! - a success that the client reports was said by the server's owner, of that recipient of that message;
//! - what the owner accepted is reported as a success, or as in doubt: never as something that may be sent again unasked.
#![no_main]

mod account;
mod stage;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use posthaste_fuzz::mail::Mail;
use posthaste_fuzz::settings::{ClientSettings, ServerSettings};
use stage::Stage;

#[derive(Arbitrary, Debug)]
struct Play {
    lmtp: bool,
    client: ClientSettings,
    server: ServerSettings,
    /// To MAIL and RCPT, in turn.
    answers: Vec<Answer>,
    acts: Vec<Act>,
}

/// What an owner says.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Answer {
    Yes,
    /// More of this than of the others.
    Indeed,
    NotNow,
    No,
}

#[derive(Arbitrary, Debug)]
enum Act {
    Submit(Mail),
    /// So many octets are written by the client, then by the server.
    Write(u16, u16),
    /// So many of those that were written arrive at the server, then at the client.
    Arrive(u16, u16),
    /// All that can be written and arrive.
    Flow,
    /// One of the messages that wait for it; under LMTP each recipient has its own answer.
    Complete(u8, Vec<Answer>),
    /// Seconds pass.
    Wait(u16),
    Quit,
    /// The server's owner ends the conversation.
    Dismiss,
    /// The client's side of the stream ends, behind what was written.
    EndOfClient,
    /// The server's side likewise.
    EndOfServer,
    /// What was written and has not arrived is gone, and both notice.
    Reset,
}

fuzz_target!(|play: Play| {
    let mut stage = Stage::new(&play);
    for act in &play.acts {
        stage.act(act);
    }
    stage.finish();
});
