//! The end: every recipient ended in one way, was given no copy too many, and its sender knows.

use super::Checker;
use super::book::{Attempt, Book, Fate, Mail, Person, State};
use crate::clock::Micros;
use crate::summary::Summary;
use engine::dispatch::Kind;
use smtp::parameters::ByMode;

impl Checker {
    pub fn heal(&mut self, now: Micros) {
        self.now = now;
        for book in self.mails.values_mut().flat_map(|mail| &mut mail.books) {
            book.survived = matches!(book.state, State::Open | State::Submitted);
        }
    }

    /// Every recipient ended in one way, and its sender knows.
    pub fn judge(&self) -> Summary {
        self.limits.judge();
        let mut summary = Summary { messages: self.mails.len() as u64, ..self.summary };
        for (id, mail) in &self.mails {
            for position in 0..mail.books.len() {
                summary.recipients += 1;
                self.judge_person(mail, (*id, position as u32), &mut summary);
            }
        }
        summary
    }

    fn judge_person(&self, mail: &Mail, person: Person, summary: &mut Summary) {
        let (book, address) = (&mail.books[person.1 as usize], &mail.addresses[person.1 as usize]);
        match book.state {
            State::Done(Kind::Delivered) => summary.delivered += 1,
            State::Done(Kind::Bounced) => summary.bounced += 1,
            State::Done(Kind::Expired) => summary.expired += 1,
            State::Done(Kind::Removed) => summary.removed += 1,
            State::Lost => {}
            _ => panic!("no end: {}", self.name(person)),
        }
        summary.delayed += u64::from(book.notices.delayed);
        summary.succeeded += u64::from(book.notices.succeeded);
        self.judge_notices(mail, person);
        let good = !address.local_part().starts_with("bad") && !self.dead_domains.contains(address.domain());
        if good && book.survived && !matches!(book.state, State::Lost) {
            let fine = matches!(book.state, State::Done(Kind::Delivered | Kind::Expired));
            // A refusal may have been on its way when the faults ended.
            let refused = book.attempts.last().is_some_and(|attempt| self.refused.contains(&attempt.connection));
            // Not to hosts that do not care for the sender's time.
            let returned = mail.deliver_by.is_some_and(|by| by.mode == ByMode::Return);
            assert!(fine || refused || returned, "the world healed, but not: {}", self.name(person));
        }
        self.judge_copies(book, person, summary);
    }

    /// The sender was told what it wanted to hear, once.
    fn judge_notices(&self, mail: &Mail, person: Person) {
        let book = &mail.books[person.1 as usize];
        let (notify, notices) = (book.notify, book.notices);
        let told = mail.sender.is_some();
        let failed = told && notify.on_failure() && matches!(book.state, State::Done(Kind::Bounced | Kind::Expired));
        assert_eq!(notices.failed, failed.into(), "notices of failure: {}", self.name(person));
        let delivered = matches!(book.state, State::Done(Kind::Delivered));
        let taken = book.attempts.iter().rev().find(|attempt| attempt.fate == Some(Fate::Delivered));
        // Who sent BY may hear of a relay without having asked for it.
        let asked = mail.deliver_by.is_some() || (notify.on_success() && taken.is_some_and(|a| !a.knows_dsn));
        let least = u32::from(told && delivered && mail.deliver_by.is_none() && asked);
        let most = u32::from(told && delivered && asked && !notify.is_never());
        assert!((least..=most).contains(&notices.succeeded), "notices of success: {}", self.name(person));
        assert!(notices.delayed <= u32::from(told && notify.on_delay()), "notices of delay: {}", self.name(person));
    }

    /// Every copy but the last is one whose outcome could not be known.
    fn judge_copies(&self, book: &Book, person: Person, summary: &mut Summary) {
        let copies: Vec<&Attempt> = book.attempts.iter().filter(|attempt| attempt.copied).collect();
        let Some((_, earlier)) = copies.split_last() else { return };
        for copy in earlier {
            match copy.fate {
                Some(Fate::InDoubt) => summary.doubled_in_doubt += 1,
                Some(Fate::Delivered) | None => summary.doubled_by_crash += 1,
                Some(Fate::NotTaken) => panic!("a copy too many: {}", self.name(person)),
            }
            let known = copy.fate == Some(Fate::Delivered) || copy.fate.is_none();
            assert!(!known || copy.connection.0 < book.attempts.last().expect("one at least").connection.0);
        }
    }
}
