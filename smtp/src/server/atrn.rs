//! ATRN (RFC 2645): a customer without an address of its own comes for its mail, and gets it over the very connection on
//! which it has proven who it is. Client and server change places.

use super::session::{Phase, Question};
use super::{Event, Server, answers};
use crate::{Mailbox, Reply};

impl Server {
    /// `[domain{,domain}]`. The error is the reply.
    pub(super) fn atrn(&mut self, argument: &str) -> Result<(), Reply> {
        if !self.config.offers_atrn() {
            return Err(answers::NOT_IMPLEMENTED);
        }
        self.must_have_said_hello()?;
        // RFC 2645 §5.2.1; also where mail is taken without.
        self.must_have_logged_in()?;
        if self.transaction.is_some() {
            return Err(answers::IN_TRANSACTION);
        }
        let domains = parse(argument)?;
        self.question = Some(Question::Atrn);
        self.events.push_back(Event::Atrn(domains));
        Ok(())
    }

    /// The 250 is about to be said. What came with the command is no part of the reversed conversation, whoever wrote it.
    pub(super) fn turn(&mut self) {
        self.input.clear();
        self.phase = Phase::Turned { announced: false };
    }
}

/// In lower case.
fn parse(argument: &str) -> Result<Vec<Box<str>>, Reply> {
    if argument.is_empty() {
        return Ok(Vec::new());
    }
    let domain = |domain: &str| match Mailbox::parse(&format!("any@{domain}")) {
        Ok(mailbox) if !domain.starts_with('[') => Ok(mailbox.domain_key().into()),
        _ => Err(answers::BAD_DOMAINS),
    };
    argument.split(',').map(domain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains() {
        assert_eq!(parse(""), Ok(vec![]));
        assert_eq!(parse("A.example"), Ok(vec!["a.example".into()]));
        assert_eq!(parse("a.example,B.Example"), Ok(vec!["a.example".into(), "b.example".into()]));
        for argument in
            [",", "a.example,", "a.example, b.example", "a b", "a..b", "[192.0.2.1]", "@a.example", "u@a.example"]
        {
            assert_eq!(parse(argument), Err(answers::BAD_DOMAINS), "{argument}");
        }
    }
}
