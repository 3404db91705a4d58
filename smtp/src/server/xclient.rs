//! XCLIENT (Postfix's XCLIENT_README): a proxy or filter that is trusted says for whom it speaks. The session begins anew
//! with that client, the greeting included.

use super::{CloseReason, Event, Server, answers, command, session::Question};
use crate::Reply;
use crate::sasl::prepare;
use std::net::IpAddr;

/// The keyword in the reply to EHLO: all attributes that are taken.
pub(super) const KEYWORD: &str = "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT";

/// What one XCLIENT said. `None`: nothing, what was said before holds.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Introduction {
    /// NAME: what the client's address resolves to.
    pub name: Option<Told<Box<str>>>,
    /// ADDR.
    pub address: Option<Told<IpAddr>>,
    /// PORT.
    pub port: Option<Told<u16>>,
    /// PROTO: whether the client said EHLO.
    pub extended: Option<bool>,
    /// HELO: its argument.
    pub hello: Option<Told<Box<str>>>,
    /// LOGIN: as whom the client has authenticated, prepared (SASLprep). Where there is AUTH, it is the user from now on.
    pub login: Option<Told<Box<str>>>,
    /// DESTADDR: where the client connected to.
    pub destination: Option<Told<IpAddr>>,
    /// DESTPORT.
    pub destination_port: Option<Told<u16>>,
}

/// What the machine itself takes from it.
#[derive(Debug)]
pub(super) struct Claims {
    hello: Option<Told<Box<str>>>,
    login: Option<Told<Box<str>>>,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told<T> {
    /// `[UNAVAILABLE]`, `[TEMPUNAVAIL]`: whoever says it does not know.
    Unknown,
    /// This.
    Known(T),
}

impl<T> Told<T> {
    /// The value, if it is known.
    pub fn known(self) -> Option<T> {
        match self {
            Told::Unknown => None,
            Told::Known(value) => Some(value),
        }
    }
}

impl Introduction {
    /// Reads the attributes. `None`: there is none, or one that is unknown or malformed.
    fn parse(argument: &str) -> Option<Introduction> {
        let mut said = Introduction::default();
        let attributes = argument.split(' ').filter(|word| !word.is_empty());
        for (name, value) in attributes.map(|word| word.split_once('=').unwrap_or((word, ""))) {
            said.take(name, &decode(value)?)?;
        }
        (said != Introduction::default()).then_some(said)
    }

    fn take(&mut self, name: &str, value: &str) -> Option<()> {
        let is = |attribute: &str| name.eq_ignore_ascii_case(attribute);
        if is("NAME") {
            self.name = Some(told(value, host_name)?);
        } else if is("ADDR") {
            self.address = Some(told(value, address)?);
        } else if is("PORT") {
            self.port = Some(told(value, port)?);
        } else if is("PROTO") {
            self.extended = Some(is_extended(value)?);
        } else if is("HELO") {
            self.hello = Some(told(value, host_name)?);
        } else if is("LOGIN") {
            self.login = Some(told(value, login)?);
        } else if is("DESTADDR") {
            self.destination = Some(told(value, address)?);
        } else if is("DESTPORT") {
            self.destination_port = Some(told(value, port)?);
        } else {
            return None;
        }
        Some(())
    }
}

fn told<T>(value: &str, read: fn(&str) -> Option<T>) -> Option<Told<T>> {
    if value.eq_ignore_ascii_case("[UNAVAILABLE]") || value.eq_ignore_ascii_case("[TEMPUNAVAIL]") {
        return Some(Told::Unknown);
    }
    read(value).map(Told::Known)
}

/// It goes into trace fields, as the argument of EHLO does.
fn host_name(value: &str) -> Option<Box<str>> {
    command::is_host_name(value).then(|| value.into())
}

fn address(value: &str) -> Option<IpAddr> {
    let bare = value.get(..5).filter(|prefix| prefix.eq_ignore_ascii_case("IPV6:")).map_or(value, |_| &value[5..]);
    bare.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

fn port(value: &str) -> Option<u16> {
    command::number(value).and_then(|number| u16::try_from(number).ok())
}

fn is_extended(value: &str) -> Option<bool> {
    match value {
        _ if value.eq_ignore_ascii_case("ESMTP") => Some(true),
        _ if value.eq_ignore_ascii_case("SMTP") => Some(false),
        _ => None,
    }
}

fn login(value: &str) -> Option<Box<str>> {
    prepare(value).map(Into::into)
}

/// What xtext (RFC 3461 §4) stands for. `None`: it is none, or stands for what no value can be: control characters, or no
/// UTF-8.
fn decode(xtext: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(xtext.len());
    let mut rest = xtext.bytes();
    while let Some(byte) = rest.next() {
        octets.push(match byte {
            b'+' => 16 * digit(rest.next()?)? + digit(rest.next()?)?,
            b'!'..=b'~' if byte != b'=' => byte,
            _ => return None,
        });
    }
    String::from_utf8(octets).ok().filter(|text| !text.contains(char::is_control))
}

/// Hexadecimal, in upper case.
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

impl Server {
    /// The error is the reply.
    pub(super) fn xclient(&mut self, argument: &str) -> Result<(), Reply> {
        if !self.config.xclient {
            return Err(answers::XCLIENT_NOT_TRUSTED);
        }
        if self.transaction.is_some() {
            return Err(answers::IN_TRANSACTION);
        }
        let said = Introduction::parse(argument).ok_or(answers::BAD_XCLIENT)?;
        self.question = Some(Question::XClient(Claims { hello: said.hello.clone(), login: said.login.clone() }));
        self.events.push_back(Event::XClient(Box::new(said)));
        Ok(())
    }

    /// The owner has judged the client: greets it, or says goodbye.
    pub(super) fn introduced(&mut self, claims: Claims, judgement: Reply) {
        if judgement.is_success() {
            self.hello = claims.hello.and_then(Told::known);
            // What the one before has proven is not this one's.
            self.authentication.forget();
            if let (Some(user), true) = (claims.login.and_then(Told::known), self.config.auth.is_some()) {
                self.authentication.vouch(user);
            }
            let greeting = self.config.greeting();
            self.say(greeting);
        } else {
            self.end(CloseReason::Shutdown, Some(judgement));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(text: &str) -> Option<Told<Box<str>>> {
        Some(Told::Known(text.into()))
    }
    fn at(ip: &str) -> Option<Told<IpAddr>> {
        Some(Told::Known(ip.parse().unwrap()))
    }

    #[test]
    fn attributes_in_any_case() {
        let nothing = Introduction::default();
        for (argument, expected) in [
            (
                "NAME=spike.example ADDR=192.0.2.7",
                Introduction { name: known("spike.example"), address: at("192.0.2.7"), ..nothing.clone() },
            ),
            ("addr=IPV6:2001:db8::7", Introduction { address: at("2001:db8::7"), ..nothing.clone() }),
            ("ADDR=ipv6:::ffff:192.0.2.7", Introduction { address: at("192.0.2.7"), ..nothing.clone() }),
            (
                "NAME=[unavailable]  ADDR=[TEMPUNAVAIL]",
                Introduction { name: Some(Told::Unknown), address: Some(Told::Unknown), ..nothing.clone() },
            ),
            ("proto=smtp HELO=my_pc", Introduction { extended: Some(false), hello: known("my_pc"), ..nothing.clone() }),
            (
                "PROTO=ESMTP HELO=+5B192.0.2.7+5D",
                Introduction { extended: Some(true), hello: known("[192.0.2.7]"), ..nothing.clone() },
            ),
            (
                "LOGIN=ann+2Bnews@b.example PORT=49152",
                Introduction { login: known("ann+news@b.example"), port: Some(Told::Known(49152)), ..nothing.clone() },
            ),
            ("LOGIN=j+C3+B6rg+20b", Introduction { login: known("jörg b"), ..nothing.clone() }),
            (
                "DESTADDR=192.0.2.1 DESTPORT=25 PORT=[UNAVAILABLE]",
                Introduction {
                    destination: at("192.0.2.1"),
                    destination_port: Some(Told::Known(25)),
                    port: Some(Told::Unknown),
                    ..nothing.clone()
                },
            ),
        ] {
            assert_eq!(Introduction::parse(argument), Some(expected), "{argument}");
        }
    }

    #[test]
    fn malformed_ones_are_refused() {
        for argument in [
            "",
            "NAME",
            "NAME=",
            "NAME=a(b)",
            "LOGIN=a+00b",
            "LOGIN=a+C3",
            "LOGIN=a+c3+b6",
            "NAME=a+0D+0AX",
            "NAME=a+",
            "NAME=a+2",
            "NAME=a+zz",
            "NAME=a=b",
            "ADDR=192.0.2",
            "ADDR=a.example",
            "ADDR=[192.0.2.7]",
            "ADDR=IPV6:192.0.2",
            "PORT=65536",
            "PORT=-1",
            "PORT=",
            "PROTO=LMTP",
            "HELO=ä",
            "LOGIN=",
            "COLOUR=red",
        ] {
            assert_eq!(Introduction::parse(argument), None, "{argument}");
        }
        assert_eq!(Introduction::parse(&format!("NAME={}", "x".repeat(256))), None);
    }
}
