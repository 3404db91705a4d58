//! What MAIL and RCPT say beside the addresses, as far as it goes with the message to its next host: DSN (RFC 3461),
//! SMTPUTF8 (RFC 6531), REQUIRETLS (RFC 8689), MT-PRIORITY (RFC 6710), DELIVERBY (RFC 2852); and FUTURERELEASE (RFC 4865),
//! which ends here.

pub(crate) mod hold;

pub use hold::Hold;

use crate::Mailbox;

/// RFC 3461 §4.4: an ENVID has at most 100 characters.
const MAX_ENVID_BYTES: usize = 100;
/// RFC 3461 §4.2: an ORCPT has at most 500 characters.
const MAX_ORCPT_BYTES: usize = 500;
/// RFC 2852 §4: nine digits.
const MAX_BY_SECONDS: i64 = 999_999_999;

/// What MAIL said of the message.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct MailParameters {
    /// SMTPUTF8: an address or the header is internationalised (RFC 6531).
    pub smtputf8: bool,
    /// REQUIRETLS: only over verified TLS, to hosts that promise the same (RFC 8689).
    pub require_tls: bool,
    /// RET: how much of the message a notice of failure returns.
    pub ret: Option<Return>,
    /// ENVID: the sender's name for this transaction, in xtext.
    pub envid: Option<Box<str>>,
    /// MT-PRIORITY: -9 to 9, the higher the sooner.
    pub priority: i8,
    /// BY: when delivery is of no use any more.
    pub deliver_by: Option<DeliverBy>,
    /// HOLDFOR or HOLDUNTIL: not to be sent before (RFC 4865). The next host is not told.
    pub hold: Option<Hold>,
}

/// RET (RFC 3461 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Return {
    /// The whole message.
    Full,
    /// Its header.
    Headers,
}

/// BY (RFC 2852 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeliverBy {
    /// From when MAIL was said; 0 or less only under `Notify`.
    pub seconds: i32,
    /// What to do when they are over.
    pub mode: ByMode,
    /// Each host on the way reports that it relayed the message (RFC 2852 §5).
    pub trace: bool,
}

/// By-mode (RFC 2852 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByMode {
    /// `N`: tell the sender of the delay, and go on.
    Notify,
    /// `R`: return the message.
    Return,
}

impl DeliverBy {
    /// Parses `by-time;by-mode[by-trace]`.
    pub fn parse(value: &str) -> Option<DeliverBy> {
        let (seconds, mode) = value.split_once(';')?;
        let digits = seconds.strip_prefix(['+', '-']).unwrap_or(seconds);
        if digits.len() > 9 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let seconds: i32 = seconds.parse().ok()?;
        let (mode, trace) = match mode.to_ascii_uppercase().as_str() {
            "N" => (ByMode::Notify, false),
            "NT" => (ByMode::Notify, true),
            "R" => (ByMode::Return, false),
            "RT" => (ByMode::Return, true),
            _ => return None,
        };
        // RFC 2852 §4.1: with "R" the time is positive.
        (mode == ByMode::Notify || seconds > 0).then_some(DeliverBy { seconds, mode, trace })
    }

    /// What the next host is to be told after so many seconds here: `None` when a message to be returned is too late.
    pub fn after(self, elapsed_seconds: i64) -> Option<DeliverBy> {
        let left = (i64::from(self.seconds) - elapsed_seconds.max(0)).clamp(-MAX_BY_SECONDS, MAX_BY_SECONDS);
        (self.mode == ByMode::Notify || left > 0).then_some(DeliverBy { seconds: left as i32, ..self })
    }

    /// As it stands in the command.
    pub fn mode_keyword(self) -> &'static str {
        match (self.mode, self.trace) {
            (ByMode::Notify, false) => "N",
            (ByMode::Notify, true) => "NT",
            (ByMode::Return, false) => "R",
            (ByMode::Return, true) => "RT",
        }
    }
}

impl Return {
    /// Parses `FULL` or `HDRS`.
    pub fn parse(value: &str) -> Option<Return> {
        match value {
            _ if value.eq_ignore_ascii_case("FULL") => Some(Return::Full),
            _ if value.eq_ignore_ascii_case("HDRS") => Some(Return::Headers),
            _ => None,
        }
    }
}

/// One RCPT.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recipient {
    /// The address.
    pub mailbox: Mailbox,
    /// NOTIFY.
    pub notify: Notify,
    /// ORCPT: `type;address` as the sender first named the recipient, the address in xtext (RFC 3461 §4.2) or, where the
    /// type is `utf-8`, in the encodings of RFC 6533 §3.
    pub orcpt: Option<Box<str>>,
}

impl Recipient {
    /// Without parameters.
    pub fn new(mailbox: Mailbox) -> Recipient {
        Recipient { mailbox, notify: Notify::default(), orcpt: None }
    }

    /// Whether it has parameters that only a host with DSN can be told.
    pub fn needs_dsn(&self) -> bool {
        self.notify != Notify::default() || self.orcpt.is_some()
    }
}

/// Which notices the sender wants of a recipient (RFC 3461 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Notify(u8);

const NEVER: u8 = 1;
const SUCCESS: u8 = 2;
const FAILURE: u8 = 4;
const DELAY: u8 = 8;
/// In the order in which they are written.
const WORDS: [(u8, &str); 4] = [(NEVER, "NEVER"), (SUCCESS, "SUCCESS"), (FAILURE, "FAILURE"), (DELAY, "DELAY")];

impl Notify {
    /// Parses `NEVER`, or a list of `SUCCESS`, `FAILURE` and `DELAY`.
    pub fn parse(value: &str) -> Option<Notify> {
        let mut bits = 0;
        for word in value.split(',') {
            bits |= WORDS.iter().find(|(_, name)| word.eq_ignore_ascii_case(name))?.0;
        }
        Notify::from_bits(bits).filter(|_| bits != 0)
    }

    /// As [`Notify::bits`] gave it.
    pub fn from_bits(bits: u8) -> Option<Notify> {
        let lawful = bits == NEVER || bits & !(SUCCESS | FAILURE | DELAY) == 0;
        lawful.then_some(Notify(bits))
    }

    /// For storing it; 0 where nothing was said.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// A notice of success is wanted.
    pub fn on_success(self) -> bool {
        self.0 & SUCCESS != 0
    }

    /// A notice of failure is wanted; so it is when nothing was said.
    pub fn on_failure(self) -> bool {
        self.0 == 0 || self.0 & FAILURE != 0
    }

    /// A notice of delay is wanted. When nothing was said, that is ours to choose (RFC 3461 §4.1), and we tell.
    pub fn on_delay(self) -> bool {
        self.0 == 0 || self.0 & DELAY != 0
    }

    /// A notice of delay was asked for.
    pub fn asks_delay(self) -> bool {
        self.0 & DELAY != 0
    }

    /// The same and notices of delay, unless none at all are wanted.
    pub fn with_delay(self) -> Notify {
        match self.0 {
            0 => Notify(FAILURE | DELAY),
            NEVER => self,
            bits => Notify(bits | DELAY),
        }
    }

    /// No notice at all is wanted.
    pub fn is_never(self) -> bool {
        self.0 == NEVER
    }

    /// The words, in the order and form of the command.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        WORDS.into_iter().filter(move |(bit, _)| self.0 & bit != 0).map(|(_, word)| word)
    }
}

/// Whether a text is an ENVID (RFC 3461 §4.4).
pub fn is_envid(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_ENVID_BYTES && is_xtext(text)
}

/// Whether a text is an ORCPT: `atom;xtext` (RFC 3461 §4.2), or with type `utf-8` also UTF-8 and `\x{...}` (RFC 6533 §3).
pub fn is_orcpt(text: &str, smtputf8: bool) -> bool {
    let Some((kind, address)) = text.split_once(';') else { return false };
    let is_type = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_fine = match kind {
        _ if kind.eq_ignore_ascii_case("utf-8") => is_utf8_address(address, smtputf8),
        _ => is_xtext(address),
    };
    !kind.is_empty() && kind.bytes().all(is_type) && !address.is_empty() && text.len() <= MAX_ORCPT_BYTES && is_fine
}

/// RFC 6533 §3: xtext, `\x{HEXPOINT}`, and under SMTPUTF8 other characters as they are.
fn is_utf8_address(text: &str, smtputf8: bool) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find("\\x{") {
        let (before, behind) = (&rest[..at], &rest[at + 3..]);
        let Some((point, after)) = behind.split_once('}') else { return false };
        let is_point = u32::from_str_radix(point, 16).ok().and_then(char::from_u32).is_some();
        if !is_point || point.len() > 6 || point.starts_with('+') || !is_plain(before, smtputf8) {
            return false;
        }
        rest = after;
    }
    is_plain(rest, smtputf8)
}

/// What an ORCPT of type utf-8 stands for: `\x{HEXPOINT}` and xtext decoded (RFC 6533 §3). One that stands for what no field
/// may hold stays as it is.
pub fn decode_utf8_address(text: &str) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, (point, after))) =
        rest.split_once("\\x{").and_then(|(before, behind)| Some((before, behind.split_once('}')?)))
    {
        decoded += &decode_xtext(before);
        match u32::from_str_radix(point, 16).ok().and_then(char::from_u32).filter(|c| !c.is_control()) {
            Some(c) => decoded.push(c),
            None => decoded += &rest[before.len()..rest.len() - after.len()],
        }
        rest = after;
    }
    decoded + &decode_xtext(rest)
}

fn is_plain(text: &str, smtputf8: bool) -> bool {
    text.split(|c: char| smtputf8 && !c.is_ascii() && !c.is_control() && !c.is_whitespace()).all(is_xtext)
}

/// RFC 3461 §4: printable ASCII but `+` and `=`, and `+` with two upper-case hexadecimal digits.
pub fn is_xtext(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let fine = match byte {
            b'+' => (0..2).all(|_| bytes.next().is_some_and(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F'))),
            _ => byte.is_ascii_graphic() && byte != b'=',
        };
        if !fine {
            return false;
        }
    }
    true
}

/// What xtext stands for; what is no xtext is taken as it is, and control characters, which no field may hold, are left out.
pub fn decode_xtext(text: &str) -> String {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let coded = || u8::from_str_radix(std::str::from_utf8(behind.get(..2)?).ok()?, 16).ok();
        rest = match if byte == b'+' { coded() } else { None } {
            Some(octet) => {
                octets.push(octet);
                &behind[2..]
            }
            None => {
                octets.push(byte);
                behind
            }
        };
    }
    octets.retain(|octet| !octet.is_ascii_control());
    String::from_utf8_lossy(&octets).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notify_is_a_list_or_never() {
        for (text, words) in [
            ("NEVER", "NEVER"),
            ("success", "SUCCESS"),
            ("DELAY,FAILURE", "FAILURE,DELAY"),
            ("SUCCESS,FAILURE,DELAY,SUCCESS", "SUCCESS,FAILURE,DELAY"),
        ] {
            let notify = Notify::parse(text).expect(text);
            assert_eq!(notify.words().collect::<Vec<_>>().join(","), words);
            assert_eq!(Notify::from_bits(notify.bits()), Some(notify));
        }
        for text in ["", "NEVER,SUCCESS", "NONE", "SUCCESS,", "SUCCESS DELAY"] {
            assert_eq!(Notify::parse(text), None, "{text}");
        }
        assert_eq!((Notify::from_bits(3), Notify::from_bits(16)), (None, None));
    }

    #[test]
    fn unsaid_is_failure_and_delay() {
        let wants = |notify: Notify| (notify.on_success(), notify.on_failure(), notify.on_delay());
        assert_eq!(wants(Notify::default()), (false, true, true));
        assert_eq!(wants(Notify::parse("NEVER").unwrap()), (false, false, false));
        assert_eq!(wants(Notify::parse("SUCCESS").unwrap()), (true, false, false));
        assert_eq!(wants(Notify::parse("FAILURE").unwrap()), (false, true, false));
        assert_eq!(wants(Notify::parse("DELAY").unwrap()), (false, false, true));
    }

    #[test]
    fn deliver_by_counts_down() {
        let by = |text: &str| DeliverBy::parse(text);
        assert_eq!(by("120;R"), Some(DeliverBy { seconds: 120, mode: ByMode::Return, trace: false }));
        assert_eq!(by("-5;nt"), Some(DeliverBy { seconds: -5, mode: ByMode::Notify, trace: true }));
        assert_eq!(by("+7;N").map(|by| by.seconds), Some(7));
        for text in ["", "5", "0;R", "-1;R", ";R", "1;X", "1;T", "1234567890;N", "1;R;T", "--1;N", "1 ;R"] {
            assert_eq!(by(text), None, "{text}");
        }
        let left = |text: &str, elapsed| by(text).unwrap().after(elapsed).map(|by| by.seconds);
        assert_eq!((left("120;R", 20), left("120;R", 120), left("120;N", 121)), (Some(100), None, Some(-1)));
        assert_eq!((left("120;R", -50), left("-999999999;N", 10)), (Some(120), Some(-999_999_999)));
    }

    #[test]
    fn xtext_is_told_from_text() {
        for text in ["", "a", "rfc822;ann@a.example", "a+2Bb+3D"] {
            assert!(is_xtext(text), "{text}");
        }
        for text in ["a b", "a=b", "a+", "a+2", "a+2b", "a+ZZ", "ä", "a\0"] {
            assert!(!is_xtext(text), "{text}");
        }
        assert_eq!(decode_xtext("a+2Bb+3D+0D+0A+C3+A4+x+"), "a+b=ä+x+");
        assert!(is_envid("QQ314159") && !is_envid("") && !is_envid(&"x".repeat(101)));
    }

    #[test]
    fn addresses_beyond_ascii_are_decoded() {
        for (text, decoded) in [
            ("gr\\x{FC}n@a.example", "gr\u{fc}n@a.example"),
            ("\\x{5C}\\x{1F600}a+2Bb", "\\\u{1f600}a+b"),
            ("gr\u{fc}n+20x", "gr\u{fc}n x"),
            ("a\\x{0A}b\\x{D800}c\\x{", "a\\x{0A}b\\x{D800}c\\x{"),
        ] {
            assert_eq!(decode_utf8_address(text), decoded, "{text}");
        }
    }

    #[test]
    fn original_recipients_have_a_type() {
        for text in
            ["rfc822;ann@a.example", "x400;+2FS=".trim_end_matches('='), "utf-8;\\x{E4}nn@a.example", "UTF-8;a+2B"]
        {
            assert!(is_orcpt(text, false), "{text}");
        }
        for text in [
            "",
            ";a",
            "rfc822;",
            "ann@a.example",
            "rfc 822;a",
            "rfc822;a=b",
            "utf-8;\\x{D800}",
            "utf-8;\\x{}",
            "utf-8;\\x{+1}",
        ] {
            assert!(!is_orcpt(text, false), "{text}");
        }
        assert!(is_orcpt("utf-8;änn@a.example", true) && !is_orcpt("utf-8;änn@a.example", false));
        assert!(!is_orcpt("rfc822;änn@a.example", true));
        assert!(!is_orcpt(&format!("rfc822;{}", "x".repeat(500)), true));
    }
}
