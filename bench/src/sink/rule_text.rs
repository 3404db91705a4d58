//! Reads rules as they are written: see [`RULE_HELP`].

use super::glob::Glob;
use super::rule::{Action, Rule, Stage};
use smtp::{EnhancedCode, Reply};
use std::str::FromStr;
use std::time::Duration;

/// How rules are written and what they mean, for people at a terminal.
pub const RULE_HELP: &str = "\
STAGE [WHEN...] [delay=DURATION] [keep] ACTION

STAGE   connect greeting hello starttls tls mail rcpt data body final idle
WHEN    to=GLOB  from=GLOB     recipient, sender (from mail, rcpt on)
        p=0.1                  with this probability
        every=N                every Nth time only
        skip=N  first=N        not the first N times; at most N times
        messages=N             idle: after so many messages on the connection (1)
        bytes=N                body: when so many octets of content have come (0)
ACTION  reply CODE [X.Y.Z] TEXT   this reply; after a 421 the connection is closed
        ok                     as if there were no rule (after the delay)
        stall                  no answer any more, nothing is read; the connection stays
        close                  an orderly close (FIN) without a reply
        reset                  a reset (RST)
        garbage                octets that are no SMTP in place of the reply, then silence
        lose                   final: says 250 and throws the message away

The first rule that applies wins. At `final`, `keep` counts the message as received whatever is
answered, so that `final keep close` is the server that takes the mail and dies before it says so.
`delay` holds the answer back, and the conversation with it; at `final` later commands go on being
read; at `idle` it is how long the silence lasts first. At `connect` nothing has been said yet (and
no TLS been spoken), so `reply` and `garbage` stand at `greeting`.

rcpt to=*@full.test reply 452 4.2.2 mailbox full        rcpt every=10 reply 550 5.1.1 no such user
body bytes=4096 p=0.01 reset                            final delay=200ms ok
idle messages=10 reply 421 4.7.0 enough                 idle delay=2s close
";

/// Why a text is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// The first word.
    #[error("{0:?} is no stage (connect, greeting, hello, starttls, tls, mail, rcpt, data, body, final, idle)")]
    Stage(String),
    /// A word that is neither a condition nor an action.
    #[error("{0:?} is neither a condition nor an action (ok, reply, stall, close, reset, garbage, lose)")]
    Word(String),
    /// A condition's value.
    #[error("{value:?} is no value for {key}=")]
    Value {
        /// The word before the equals sign.
        key: String,
        /// The word after it.
        value: String,
    },
    /// The rest of a `reply`.
    #[error("a reply is CODE [X.Y.Z] TEXT with a code from 200 to 599, not {0:?}")]
    Reply(String),
    /// The action is not for this stage.
    #[error("{action} is not possible at {stage}")]
    Misplaced {
        /// Or the condition.
        action: &'static str,
        /// The stage.
        stage: &'static str,
    },
    /// Words after the action.
    #[error("{0:?} after the action")]
    Trailing(String),
    /// A rule with neither delay nor action.
    #[error("the rule has no action")]
    NoAction,
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Rule, RuleError> {
        let (word, mut rest) = split_word(text);
        let stage = Stage::ALL.iter().find(|(name, _)| *name == word).ok_or_else(|| RuleError::Stage(word.into()))?.1;
        let mut rule = Rule::new(stage, Action::Proceed);
        loop {
            let (word, after) = split_word(rest);
            if let Some((key, value)) = word.split_once('=') {
                rule.set(key, value)?;
            } else if word == "keep" {
                rule.keep = true;
            } else {
                rule.set_action(word, after)?;
                break;
            }
            rest = after;
        }
        rule.validate()?;
        Ok(rule)
    }
}

impl Rule {
    fn set(&mut self, key: &str, value: &str) -> Result<(), RuleError> {
        let wrong = || RuleError::Value { key: key.into(), value: value.into() };
        let number = || value.parse::<u64>().map_err(|_| wrong());
        let only_at = |stage, action| match self.stage == stage {
            true => Ok(()),
            false => Err(RuleError::Misplaced { action, stage: self.stage.name() }),
        };
        match key {
            "to" => self.recipient = Some(Glob::new(value)),
            "from" => self.sender = Some(Glob::new(value)),
            "p" => {
                self.chance = value.parse().ok().filter(|p| (0.0..=1.0).contains(p)).ok_or_else(wrong)?;
            }
            "every" => self.every = Some(number()?).filter(|n| *n > 0).ok_or_else(wrong)?,
            "skip" => self.skip = number()?,
            "first" => self.first = Some(number()?),
            "messages" => {
                only_at(Stage::Idle, "messages=")?;
                self.messages = number()?;
            }
            "bytes" => {
                only_at(Stage::Body, "bytes=")?;
                self.body_bytes = number()?;
            }
            "delay" => self.delay = parse_duration(value).ok_or_else(wrong)?,
            _ => return Err(RuleError::Word(format!("{key}={value}"))),
        }
        Ok(())
    }

    fn set_action(&mut self, word: &str, rest: &str) -> Result<(), RuleError> {
        self.action = match word {
            "ok" => Action::Proceed,
            "" if !self.delay.is_zero() => Action::Proceed,
            "" => return Err(RuleError::NoAction),
            "reply" => {
                self.action = Action::Reply(parse_reply(rest).ok_or_else(|| RuleError::Reply(rest.into()))?);
                return Ok(());
            }
            "stall" => Action::Stall,
            "close" => Action::Close,
            "reset" => Action::Reset,
            "garbage" => Action::Garbage,
            "lose" => Action::Lose,
            _ => return Err(RuleError::Word(word.into())),
        };
        if rest.is_empty() { Ok(()) } else { Err(RuleError::Trailing(rest.into())) }
    }

    fn validate(&self) -> Result<(), RuleError> {
        let misplaced = |action| Err(RuleError::Misplaced { action, stage: self.stage.name() });
        match (&self.action, self.stage) {
            (Action::Lose, stage) if stage != Stage::Final => misplaced("lose"),
            (Action::Reply(_), Stage::Connect | Stage::Tls) => misplaced("reply"),
            (Action::Garbage, Stage::Connect) => misplaced("garbage"),
            _ if self.keep && self.stage != Stage::Final => misplaced("keep"),
            _ => Ok(()),
        }
    }
}

fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let (word, rest) = text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()));
    (word, rest.trim_start())
}

/// `451 4.3.0 try later` or `451 try later`.
fn parse_reply(text: &str) -> Option<Reply> {
    let (code, rest) = split_word(text);
    let code = code.parse().ok().filter(|code| (200..600).contains(code))?;
    let (word, after) = split_word(rest);
    let (enhanced, text) = match parse_enhanced(word) {
        Some(enhanced) => (Some(enhanced), after),
        None => (None, rest),
    };
    Some(Reply { code, enhanced, text: text.trim_end().to_owned().into() })
}

fn parse_enhanced(word: &str) -> Option<EnhancedCode> {
    let mut parts = word.split('.');
    let code = EnhancedCode(parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some(code)
}

/// `200ms`, `5s`, `2m`.
fn parse_duration(text: &str) -> Option<Duration> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    let number: f64 = text[..unit].parse().ok()?;
    let factor = match &text[unit..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * factor).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read() {
        let rule: Rule = "rcpt to=*@full.test p=0.5 every=3 skip=1 first=9 delay=250ms reply 452 4.2.2 mailbox  full "
            .parse()
            .unwrap();
        let expected = Rule {
            recipient: Some(Glob::new("*@full.test")),
            chance: 0.5,
            every: 3,
            skip: 1,
            first: Some(9),
            delay: Duration::from_millis(250),
            ..Rule::new(Stage::Rcpt, Action::Reply(Reply::new(452, EnhancedCode(4, 2, 2), "mailbox  full")))
        };
        assert_eq!(rule, expected);
        assert_eq!("final delay=1s".parse::<Rule>().unwrap().action, Action::Proceed);
        assert!("final keep close".parse::<Rule>().unwrap().keep);
        let plain = "mail reply 451 4.5 try".parse::<Rule>().unwrap().action;
        assert_eq!(plain, Action::Reply(Reply { code: 451, enhanced: None, text: "4.5 try".into() }));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, says) in [
            ("", "is no stage"),
            ("quit close", "is no stage"),
            ("mail", "no action"),
            ("mail explode", "neither a condition nor an action"),
            ("mail color=red close", "neither a condition nor an action"),
            ("mail p=2 close", "no value for p="),
            ("mail every=0 close", "no value for every="),
            ("mail delay=5 close", "no value for delay="),
            ("mail reply 99 x", "a reply is"),
            ("mail close now", "after the action"),
            ("mail lose", "not possible at mail"),
            ("mail keep close", "not possible at mail"),
            ("connect reply 554 go", "not possible at connect"),
            ("final messages=1 close", "messages= is not possible at final"),
            ("idle bytes=1 close", "bytes= is not possible at idle"),
        ] {
            let error = text.parse::<Rule>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn the_examples_in_the_help_are_rules() {
        let (_, examples) = RULE_HELP.rsplit_once("\n\n").unwrap();
        let rules: Vec<&str> =
            examples.lines().flat_map(|line| line.split("   ")).filter(|text| !text.is_empty()).collect();
        assert_eq!(rules.len(), 6);
        rules.iter().for_each(|text| assert!(text.parse::<Rule>().is_ok(), "{text}"));
    }
}
