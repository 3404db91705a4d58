//! ETRN (RFC 1985): a host that was away asks for its mail. It is sent as always, to where its domain's mail goes; this
//! only starts it, so whoever asks gains nothing by it but our attention. (TURN sends it back over the same connection, to
//! whoever asked: it is refused.)

use super::{Event, Protocol, Server, answers, session::Question};
use crate::{Mailbox, Reply};
use std::fmt;

/// Whose mail is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// In lower case.
    pub domain: Box<str>,
    /// `@domain`: also of all domains below it (RFC 1985).
    pub and_below: bool,
}

impl Node {
    /// Whether mail for `domain` (lower case) is meant.
    pub fn covers(&self, domain: &str) -> bool {
        match domain.strip_suffix(&*self.domain) {
            Some("") => true,
            Some(below) => self.and_below && below.ends_with('.'),
            None => false,
        }
    }

    /// The error is the reply.
    fn parse(argument: &str) -> Result<Node, Reply> {
        let (and_below, domain) = match argument.strip_prefix('@') {
            Some(domain) => (true, domain),
            None => (false, argument),
        };
        match Mailbox::parse(&format!("node@{domain}")) {
            _ if argument.is_empty() => Err(answers::ARGUMENT_MISSING),
            _ if argument.starts_with('#') => Err(answers::NO_NAMED_QUEUES),
            Ok(mailbox) if !domain.starts_with('[') => Ok(Node { domain: mailbox.domain_key().into(), and_below }),
            _ => Err(answers::BAD_NODE),
        }
    }
}

impl fmt::Display for Node {
    /// As it is written behind ETRN.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.and_below { "@" } else { "" }, self.domain)
    }
}

impl Server {
    /// The error is the reply.
    pub(super) fn etrn(&mut self, argument: &str) -> Result<(), Reply> {
        if !self.config.etrn || self.config.protocol == Protocol::Lmtp {
            return Err(answers::NOT_IMPLEMENTED);
        }
        self.must_have_said_hello()?;
        self.must_know_who()?;
        if self.transaction.is_some() {
            return Err(answers::IN_TRANSACTION);
        }
        let node = Node::parse(argument)?;
        self.question = Some(Question::Etrn);
        self.events.push_back(Event::Etrn(node));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes() {
        let node = |argument| Node::parse(argument).map(|node| node.to_string());
        assert_eq!(node("Example.COM"), Ok("example.com".into()));
        assert_eq!(node("@example.com"), Ok("@example.com".into()));
        assert_eq!(node(""), Err(answers::ARGUMENT_MISSING));
        assert_eq!(node("#queue"), Err(answers::NO_NAMED_QUEUES));
        for argument in ["@", "a b", "a..b", "-", "[192.0.2.1]", "@[192.0.2.1]", "@@a", "a@b", "<a.example>"] {
            assert_eq!(node(argument), Err(answers::BAD_NODE), "{argument}");
        }
    }

    #[test]
    fn what_a_node_covers() {
        for (argument, domain, covered) in [
            ("b.example", "b.example", true),
            ("b.example", "a.b.example", false),
            ("@b.example", "b.example", true),
            ("@b.example", "a.b.example", true),
            ("@b.example", "x.a.b.example", true),
            ("@b.example", "ab.example", false),
            ("@b.example", "example", false),
        ] {
            assert_eq!(Node::parse(argument).unwrap().covers(domain), covered, "{argument} {domain}");
        }
    }
}
