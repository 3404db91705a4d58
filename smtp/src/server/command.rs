//! Command lines (RFC 5321 §4.1). Parsing knows the grammar only; order, limits and what was announced are judged later.

use super::answers;
use crate::Reply;

/// One command, borrowing from its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    Hello {
        verb: Hello,
        name: &'a str,
    },
    Mail {
        path: &'a str,
        parameters: Parameters<'a>,
    },
    Rcpt {
        path: &'a str,
        parameters: Parameters<'a>,
    },
    Data,
    Bdat {
        octets: u64,
        last: bool,
    },
    /// How many octets follow it can't be known.
    MalformedBdat,
    Rset,
    Noop,
    Verify,
    Expand,
    Help,
    StartTls,
    /// Its attributes.
    XClient(&'a str),
    /// The node.
    Etrn(&'a str),
    /// The domains, if any are named.
    Atrn(&'a str),
    Turn,
    /// `mechanism [initial-response]`.
    Auth(&'a str),
    Quit,
    /// Known to be a command, and not taken.
    NotImplemented,
    /// A web client has lost its way, or someone makes it attack us.
    Http,
    /// What a proxy says before its client may speak, and this is no place for it.
    Proxy,
}

/// How a client introduces itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hello {
    Ehlo,
    Helo,
    Lhlo,
}

/// The rest of a MAIL or RCPT line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parameters<'a>(&'a str);

impl<'a> Parameters<'a> {
    /// Keywords with their values, if they have one.
    pub(super) fn iter(self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        self.0.split(' ').filter(|word| !word.is_empty()).map(|word| match word.split_once('=') {
            Some((keyword, value)) => (keyword, Some(value)),
            None => (word, None),
        })
    }
}

impl<'a> Command<'a> {
    /// Reads a line that ends with LF. The error is the reply that it gets.
    pub(super) fn parse(line: &'a [u8]) -> Result<Command<'a>, Reply> {
        let (verb, argument) = match split(line) {
            // The third line of the binary PROXY header, after two empty ones. None of its other lines is a command either.
            Err(_) if line == b"\0\r\n" => return Ok(Command::Proxy),
            parts => parts?,
        };
        let is = |name: &str| verb.eq_ignore_ascii_case(name);
        if is("MAIL") {
            let (path, parameters) = path(argument, "FROM:").ok_or(answers::MAIL_SYNTAX)?;
            Ok(Command::Mail { path, parameters })
        } else if is("RCPT") {
            let (path, parameters) = path(argument, "TO:").ok_or(answers::RCPT_SYNTAX)?;
            Ok(Command::Rcpt { path, parameters })
        } else if is("BDAT") {
            Ok(chunk(argument).unwrap_or(Command::MalformedBdat))
        } else if is("DATA") {
            without(argument, Command::Data)
        } else if is("RSET") {
            without(argument, Command::Rset)
        } else if is("QUIT") {
            without(argument, Command::Quit)
        } else if is("STARTTLS") {
            without(argument, Command::StartTls)
        } else if is("EHLO") {
            hello(Hello::Ehlo, argument)
        } else if is("HELO") {
            hello(Hello::Helo, argument)
        } else if is("LHLO") {
            hello(Hello::Lhlo, argument)
        } else {
            rare(verb, argument)
        }
    }
}

/// Verb and argument of a line, which must be free of anything but text.
fn split(line: &[u8]) -> Result<(&str, &str), Reply> {
    let text = line.strip_suffix(b"\r\n").ok_or(answers::BARE_LINE_FEED)?;
    if text.iter().any(u8::is_ascii_control) {
        return Err(answers::CONTROL_CHARACTER);
    }
    let text = std::str::from_utf8(text).map_err(|_| answers::NOT_UTF8)?.trim_end_matches(' ');
    let (verb, argument) = text.split_once(' ').unwrap_or((text, ""));
    Ok((verb, argument.trim_start_matches(' ')))
}

fn without<'a>(argument: &str, command: Command<'a>) -> Result<Command<'a>, Reply> {
    if argument.is_empty() { Ok(command) } else { Err(answers::NO_ARGUMENT) }
}

fn rare<'a>(verb: &str, argument: &'a str) -> Result<Command<'a>, Reply> {
    const OTHERS: [&str; 3] = ["SEND", "SOML", "SAML"];
    const HTTP: [&str; 8] = ["GET", "POST", "HEAD", "PUT", "DELETE", "CONNECT", "OPTIONS", "PATCH"];
    let is = |name: &&str| verb.eq_ignore_ascii_case(name);
    if is(&"NOOP") {
        Ok(Command::Noop)
    } else if is(&"HELP") {
        Ok(Command::Help)
    } else if is(&"VRFY") {
        if argument.is_empty() { Err(answers::ARGUMENT_MISSING) } else { Ok(Command::Verify) }
    } else if is(&"EXPN") {
        Ok(Command::Expand)
    } else if is(&"ETRN") {
        Ok(Command::Etrn(argument))
    } else if is(&"ATRN") {
        Ok(Command::Atrn(argument))
    } else if is(&"XCLIENT") {
        Ok(Command::XClient(argument))
    } else if is(&"AUTH") {
        Ok(Command::Auth(argument))
    } else if is(&"TURN") {
        Ok(Command::Turn)
    } else if OTHERS.iter().any(is) {
        Ok(Command::NotImplemented)
    } else if HTTP.iter().any(is) {
        Ok(Command::Http)
    } else if is(&"PROXY") {
        Ok(Command::Proxy)
    } else {
        Err(answers::UNKNOWN)
    }
}

/// The name goes into trace fields, so nothing that would be a comment or a quotation there gets in.
fn hello(verb: Hello, name: &str) -> Result<Command<'_>, Reply> {
    if is_host_name(name) { Ok(Command::Hello { verb, name }) } else { Err(answers::BAD_HELLO) }
}

/// As far as we need to know: no more than what may stand in a trace field.
pub(super) fn is_host_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_graphic() && !br#"()<>,;"\@"#.contains(&byte);
    !name.is_empty() && name.len() <= 255 && name.bytes().all(allowed)
}

/// `octets [LAST]` (RFC 3030 §2).
fn chunk<'a>(argument: &str) -> Option<Command<'a>> {
    let (octets, rest) = argument.split_once(' ').unwrap_or((argument, ""));
    let last = match rest.trim_start_matches(' ') {
        "" => false,
        word if word.eq_ignore_ascii_case("LAST") => true,
        _ => return None,
    };
    Some(Command::Bdat { octets: number(octets)?, last })
}

/// Digits only: no sign.
pub(super) fn number(digits: &str) -> Option<u64> {
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// What stands between the angle brackets behind `keyword`, without a source route, and what follows them.
fn path<'a>(argument: &'a str, keyword: &str) -> Option<(&'a str, Parameters<'a>)> {
    let (head, rest) = argument.split_at_checked(keyword.len())?;
    let rest = rest.trim_start_matches(' ').strip_prefix('<')?;
    let end = closing_bracket(rest)?;
    let (path, behind) = (&rest[..end], &rest[end + 1..]);
    if !head.eq_ignore_ascii_case(keyword) || !(behind.is_empty() || behind.starts_with(' ')) {
        return None;
    }
    Some((without_route(path), Parameters(behind)))
}

/// The first `>` outside quotation marks.
fn closing_bracket(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.bytes().position(|byte| {
        let was_escaped = std::mem::take(&mut escaped);
        match byte {
            b'\\' if quoted && !was_escaped => escaped = true,
            b'"' if !was_escaped => quoted = !quoted,
            b'>' => return !quoted,
            _ => {}
        }
        false
    })
}

/// `@a.example,@b.example:user@c.example` must be taken and its route should be ignored (RFC 5321 §4.1.1.3, appendix C).
fn without_route(path: &str) -> &str {
    match path.split_once(':') {
        Some((_, mailbox)) if path.starts_with('@') => mailbox,
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Result<Command<'_>, Reply>) {
        assert_eq!(Command::parse(format!("{line}\r\n").as_bytes()), expected, "{line}");
    }

    #[test]
    fn commands_in_any_case() {
        check("ehlo a.example", Ok(Command::Hello { verb: Hello::Ehlo, name: "a.example" }));
        check("HELO [192.0.2.1] ", Ok(Command::Hello { verb: Hello::Helo, name: "[192.0.2.1]" }));
        check("LhLo  my_pc", Ok(Command::Hello { verb: Hello::Lhlo, name: "my_pc" }));
        check("data", Ok(Command::Data));
        for argument in ["", " x", " -1", " +1", " 1 FIRST", " 1 LAST LAST", " 99999999999999999999"] {
            check(&format!("BDAT{argument}"), Ok(Command::MalformedBdat));
        }
        check("Bdat 10", Ok(Command::Bdat { octets: 10, last: false }));
        check("BDAT 0 last", Ok(Command::Bdat { octets: 0, last: true }));
        check("RSET  ", Ok(Command::Rset));
        check("NOOP at all", Ok(Command::Noop));
        check("VRFY ann", Ok(Command::Verify));
        check("EXPN list", Ok(Command::Expand));
        check("etrn @b.example", Ok(Command::Etrn("@b.example")));
        check("atrn", Ok(Command::Atrn("")));
        check("Atrn a.example,b.example", Ok(Command::Atrn("a.example,b.example")));
        check("XClient NAME=a ADDR=b", Ok(Command::XClient("NAME=a ADDR=b")));
        check("PROXY TCP4 192.0.2.7 10.0.0.1 49152 25", Ok(Command::Proxy));
        check("\0", Ok(Command::Proxy));
        check("turn", Ok(Command::Turn));
        check("SOML FROM:<a@b>", Ok(Command::NotImplemented));
        check("HELP mail", Ok(Command::Help));
        check("StartTLS", Ok(Command::StartTls));
        check("quit", Ok(Command::Quit));
        check("GET / HTTP/1.1", Ok(Command::Http));
    }

    #[test]
    fn bad_syntax_is_refused() {
        for (line, reply) in [
            ("", answers::UNKNOWN),
            (" NOOP", answers::UNKNOWN),
            ("XYZZY", answers::UNKNOWN),
            ("MAILFROM:<a@b>", answers::UNKNOWN),
            ("EHLO", answers::BAD_HELLO),
            ("EHLO a b", answers::BAD_HELLO),
            ("EHLO a(b)", answers::BAD_HELLO),
            ("EHLO ä", answers::BAD_HELLO),
            ("DATA now", answers::NO_ARGUMENT),
            ("RSET now", answers::NO_ARGUMENT),
            ("STARTTLS now", answers::NO_ARGUMENT),
            ("VRFY", answers::ARGUMENT_MISSING),
            ("NO\u{0}OP", answers::CONTROL_CHARACTER),
            ("NOOP\rQUIT", answers::CONTROL_CHARACTER),
            ("NOOP\r", answers::CONTROL_CHARACTER),
            ("MAIL", answers::MAIL_SYNTAX),
            ("MAIL <a@b>", answers::MAIL_SYNTAX),
            ("MAIL FROM:a@b", answers::MAIL_SYNTAX),
            ("MAIL FROM:<a@b", answers::MAIL_SYNTAX),
            ("MAIL FROM:<\"a>@b", answers::MAIL_SYNTAX),
            ("MAIL FROM:<a@b>SIZE=1", answers::MAIL_SYNTAX),
            ("MAIL TO:<a@b>", answers::MAIL_SYNTAX),
            ("MAIL FRÖM:<a@b>", answers::MAIL_SYNTAX),
            ("RCPT FROM:<a@b>", answers::RCPT_SYNTAX),
        ] {
            check(line, Err(reply));
        }
        assert_eq!(Command::parse(b"NOOP\n"), Err(answers::BARE_LINE_FEED));
        assert_eq!(Command::parse(b"\xff\r\n"), Err(answers::NOT_UTF8));
    }

    #[test]
    fn paths_and_parameters() {
        for (argument, path, parameters) in [
            ("<>", "", vec![]),
            ("<a@b>", "a@b", vec![]),
            ("  <a@b>  SIZE=10  smtputf8 ", "a@b", vec![("SIZE", Some("10")), ("smtputf8", None)]),
            ("<\"a>\\\" b\"@c> X=<y>", "\"a>\\\" b\"@c", vec![("X", Some("<y>"))]),
            ("<@r.example,@s.example:a@b>", "a@b", vec![]),
            ("<a:b@c>", "a:b@c", vec![]),
            ("<ä@b> A==", "ä@b", vec![("A", Some("="))]),
        ] {
            for (line, mail) in
                [(format!("mail from:{argument}\r\n"), true), (format!("RCPT To:{argument}\r\n"), false)]
            {
                let (got, list) = match Command::parse(line.as_bytes()) {
                    Ok(Command::Mail { path, parameters }) if mail => (path, parameters),
                    Ok(Command::Rcpt { path, parameters }) if !mail => (path, parameters),
                    other => panic!("{line}: {other:?}"),
                };
                assert_eq!((got, list.iter().collect::<Vec<_>>()), (path, parameters.clone()), "{line}");
            }
        }
    }
}
