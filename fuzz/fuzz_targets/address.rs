//! Mailboxes as hostile clients write them: what parses is one line, and parses again to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use smtp::Mailbox;

fuzz_target!(|text: &str| {
    if let Ok(mailbox) = Mailbox::parse(text) {
        let written = mailbox.as_str();
        assert!(!written.bytes().any(|octet| octet.is_ascii_control()), "{written:?}");
        assert_eq!(Mailbox::parse(written).as_ref(), Ok(&mailbox));
        assert_eq!(format!("{}@{}", mailbox.local_part(), mailbox.domain()), written);
    }
});
