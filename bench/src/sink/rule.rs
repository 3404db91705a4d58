//! Rules: how a sink misbehaves. Their written form, with what everything means, is [`super::RULE_HELP`].

use super::glob::Glob;
use smtp::Reply;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Where in the conversation a rule applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// A connection was made.
    Connect,
    /// The 220 greeting is due.
    Greeting,
    /// EHLO, HELO or LHLO.
    Hello,
    /// STARTTLS.
    StartTls,
    /// The TLS handshake is to begin.
    Tls,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA, or the first BDAT of a message.
    Data,
    /// Content is arriving.
    Body,
    /// The content is complete, its reply is due.
    Final,
    /// A message was answered and nothing else is going on.
    Idle,
}

impl Stage {
    pub(super) const ALL: [(&'static str, Stage); 11] = [
        ("connect", Stage::Connect),
        ("greeting", Stage::Greeting),
        ("hello", Stage::Hello),
        ("starttls", Stage::StartTls),
        ("tls", Stage::Tls),
        ("mail", Stage::Mail),
        ("rcpt", Stage::Rcpt),
        ("data", Stage::Data),
        ("body", Stage::Body),
        ("final", Stage::Final),
        ("idle", Stage::Idle),
    ];

    /// As it is written in rules.
    pub fn name(self) -> &'static str {
        Stage::ALL[self as usize].0
    }
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// As if there were no rule.
    Proceed,
    /// This reply. After a 421 the connection is closed.
    Reply(Reply),
    /// No answer any more; nothing is read; the connection stays open.
    Stall,
    /// An orderly close (FIN) without a reply.
    Close,
    /// RST; on Unix sockets a plain close.
    Reset,
    /// Octets that are no SMTP, then silence.
    Garbage,
    /// At `Final`: 250, and the message is thrown away.
    Lose,
}

/// One rule; [`super::RULE_HELP`] says what the fields mean together.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Where.
    pub stage: Stage,
    /// Only for these reverse-paths.
    pub sender: Option<Glob>,
    /// Only for these recipients (at `Data`, `Body` and `Final`: when one of them matches).
    pub recipient: Option<Glob>,
    /// 0 to 1.
    pub chance: f64,
    /// Every so many times; 1 is always.
    pub every: u64,
    /// Not the first so many times.
    pub skip: u64,
    /// At most so many times.
    pub first: Option<u64>,
    /// At `Idle`: only after so many messages on this connection.
    pub messages: u64,
    /// At `Body`: when so many octets of content have come.
    pub body_bytes: u64,
    /// Before the action.
    pub delay: Duration,
    /// At `Final`: the message counts as received whatever is answered.
    pub keep: bool,
    /// What happens.
    pub action: Action,
}

impl Rule {
    /// A rule that always applies at this stage.
    pub fn new(stage: Stage, action: Action) -> Rule {
        Rule {
            stage,
            sender: None,
            recipient: None,
            chance: 1.0,
            every: 1,
            skip: 0,
            first: None,
            messages: 1,
            body_bytes: 0,
            delay: Duration::ZERO,
            keep: false,
            action,
        }
    }
}

/// The rules in force, with how often each was met.
#[derive(Debug, Default)]
pub(super) struct RuleSet(Vec<Counted>);

#[derive(Debug)]
struct Counted {
    rule: Rule,
    met: AtomicU64,
    applied: AtomicU64,
}

/// What is known at a stage.
#[derive(Clone, Copy)]
pub(super) struct Circumstances<'a> {
    pub sender: Option<&'a str>,
    pub recipients: &'a [smtp::Mailbox],
    pub messages: u64,
}

impl RuleSet {
    pub(super) fn new(rules: Vec<Rule>) -> RuleSet {
        let counted = |rule| Counted { rule, met: AtomicU64::new(0), applied: AtomicU64::new(0) };
        RuleSet(rules.into_iter().map(counted).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rule that applies now, if any. Asking counts as meeting it.
    pub(super) fn decide(&self, stage: Stage, met: Circumstances<'_>, random: &mut fastrand::Rng) -> Option<&Rule> {
        let mut found = self.0.iter().filter(|c| c.rule.stage == stage && c.rule.fits(met));
        found.find(|c| c.takes_turn(random)).map(|c| &c.rule)
    }
}

impl Rule {
    fn fits(&self, met: Circumstances<'_>) -> bool {
        self.sender.as_ref().is_none_or(|glob| met.sender.is_some_and(|s| glob.matches(s)))
            && self.recipient.as_ref().is_none_or(|glob| met.recipients.iter().any(|r| glob.matches(r.as_str())))
            && (self.stage != Stage::Idle || met.messages >= self.messages)
    }
}

impl Counted {
    fn takes_turn(&self, random: &mut fastrand::Rng) -> bool {
        let Some(turn) = self.met.fetch_add(1, Ordering::Relaxed).checked_sub(self.rule.skip) else { return false };
        (turn + 1).is_multiple_of(self.rule.every)
            && (self.rule.chance >= 1.0 || random.f64() < self.rule.chance)
            && self.rule.first.is_none_or(|n| self.applied.fetch_add(1, Ordering::Relaxed) < n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_name_themselves() {
        for (name, stage) in Stage::ALL {
            assert_eq!(stage.name(), name);
        }
    }

    /// Which of ten meetings each rule takes.
    #[test]
    fn turns_are_counted() {
        for (text, taken) in [
            ("mail close", vec![0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
            ("mail every=3 close", vec![2, 5, 8]),
            ("mail skip=2 every=3 close", vec![4, 7]),
            ("mail first=2 close", vec![0, 1]),
            ("mail skip=8 close", vec![8, 9]),
            ("mail p=0 close", vec![]),
            ("mail from=b* close", vec![]),
            ("mail from=A* first=1 close", vec![0]),
        ] {
            let rules = RuleSet::new(vec![text.parse().unwrap()]);
            let mut random = fastrand::Rng::with_seed(1);
            let met = Circumstances { sender: Some("a@b"), recipients: &[], messages: 0 };
            let turns = (0..10).filter(|_| rules.decide(Stage::Mail, met, &mut random).is_some());
            assert_eq!(turns.collect::<Vec<_>>(), taken, "{text}");
        }
    }
}
