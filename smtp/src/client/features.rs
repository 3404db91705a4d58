//! What the peer announced (RFC 5321 §4.1.1.1). Whatever it sent, what is kept of it is bounded.

/// Mechanisms kept of AUTH; there are fewer in use.
const MAX_AUTH_MECHANISMS: usize = 16;
/// RFC 4422 §3.1: a mechanism's name has at most 20 characters.
const MAX_MECHANISM_BYTES: usize = 20;
/// RFC 5321 §4.5.3.1.2.
const MAX_NAME_BYTES: usize = 255;

/// What the peer announced in EHLO.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// PIPELINING.
    pub pipelining: bool,
    /// CHUNKING.
    pub chunking: bool,
    /// BINARYMIME (RFC 3030); of use only with CHUNKING.
    pub binary_mime: bool,
    /// 8BITMIME.
    pub eight_bit_mime: bool,
    /// SMTPUTF8.
    pub smtputf8: bool,
    /// STARTTLS.
    pub starttls: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// REQUIRETLS (RFC 8689).
    pub require_tls: bool,
    /// MT-PRIORITY (RFC 6710).
    pub mt_priority: bool,
    /// DELIVERBY (RFC 2852): the least by-time it takes under `R`, in seconds; 0 where it names none.
    pub deliver_by: Option<i32>,
    /// LIMITS.
    pub limits: Limits,
    /// ENHANCEDSTATUSCODES.
    pub enhanced_status_codes: bool,
    /// SIZE: `Some(0)` where it names no limit.
    pub size: Option<u64>,
    /// AUTH mechanisms, upper case; at most 16.
    pub auth: Vec<Box<str>>,
    /// The name in the peer's EHLO reply, unverified; at most 255 octets.
    pub peer_name: Box<str>,
}

/// LIMITS (RFC 9422 §4). `None`: not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// MAILMAX: transactions in a connection.
    pub mails: Option<u32>,
    /// RCPTMAX: recipients of a transaction.
    pub recipients: Option<u32>,
    /// RCPTDOMAINMAX: domains of recipients of a connection.
    pub recipient_domains: Option<u32>,
}

impl Limits {
    /// Takes `NAME=value`; others than these, and what is no number from 1 on, are ignored (RFC 9422 §4).
    fn learn(&mut self, parameter: &str) {
        let Some((name, value)) = parameter.split_once('=') else { return };
        let value = value.parse().ok().filter(|&limit: &u32| limit > 0);
        match name.to_ascii_uppercase().as_str() {
            "MAILMAX" => self.mails = value,
            "RCPTMAX" => self.recipients = value,
            "RCPTDOMAINMAX" => self.recipient_domains = value,
            _ => {}
        }
    }
}

impl Features {
    /// Reads the text of a reply to EHLO or LHLO: first the peer's name, then a keyword a line. With HELO (`extended` is
    /// false) a peer has no features, whatever it says.
    pub(super) fn parse(text: &str, extended: bool) -> Features {
        let mut lines = text.split('\n');
        let name = lines.next().and_then(|line| line.split_ascii_whitespace().next()).unwrap_or("");
        let name = &name[..name.floor_char_boundary(MAX_NAME_BYTES)];
        let mut features = Features { peer_name: name.into(), ..Features::default() };
        if extended {
            lines.for_each(|line| features.learn(line));
        }
        features
    }

    fn learn(&mut self, line: &str) {
        // "AUTH=LOGIN" is how servers before RFC 2554 said it; some still say both.
        let mut words = line.split(|c: char| c.is_ascii_whitespace() || c == '=').filter(|word| !word.is_empty());
        let keyword = words.next().unwrap_or("");
        let is = |name: &str| keyword.eq_ignore_ascii_case(name);
        match keyword.len() {
            3 if is("DSN") => self.dsn = true,
            6 if is("LIMITS") => {
                line.split_ascii_whitespace().skip(1).for_each(|parameter| self.limits.learn(parameter));
            }
            9 if is("DELIVERBY") => {
                self.deliver_by = Some(words.next().and_then(|least| least.parse().ok()).unwrap_or(0).max(0));
            }
            10 if is("REQUIRETLS") => self.require_tls = true,
            11 if is("MT-PRIORITY") => self.mt_priority = true,
            4 if is("SIZE") => self.size = Some(words.next().and_then(|limit| limit.parse().ok()).unwrap_or(0)),
            4 if is("AUTH") => words.for_each(|mechanism| self.learn_mechanism(mechanism)),
            8 if is("CHUNKING") => self.chunking = true,
            8 if is("8BITMIME") => self.eight_bit_mime = true,
            8 if is("SMTPUTF8") => self.smtputf8 = true,
            8 if is("STARTTLS") => self.starttls = true,
            10 if is("PIPELINING") => self.pipelining = true,
            10 if is("BINARYMIME") => self.binary_mime = true,
            19 if is("ENHANCEDSTATUSCODES") => self.enhanced_status_codes = true,
            _ => {}
        }
    }

    fn learn_mechanism(&mut self, name: &str) {
        let proper = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let known = self.auth.iter().any(|known| known.eq_ignore_ascii_case(name));
        if !known
            && self.auth.len() < MAX_AUTH_MECHANISMS
            && name.len() <= MAX_MECHANISM_BYTES
            && name.bytes().all(proper)
        {
            self.auth.push(name.to_ascii_uppercase().into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_keywords() {
        let text =
            "mx.example Hello [192.0.2.1]\npipelining\nSIZE 1000\nAUTH PLAIN login\nAUTH=LOGIN x@y\nChunking\n\nXFOO";
        let features = Features::parse(text, true);
        let wanted = Features {
            pipelining: true,
            chunking: true,
            size: Some(1000),
            auth: vec!["PLAIN".into(), "LOGIN".into()],
            peer_name: "mx.example".into(),
            ..Features::default()
        };
        assert_eq!(features, wanted);
        assert!(Features::parse("mx\nSMTPUTF8 some=thing else", true).smtputf8, "RFC 6531 §3.1");
        assert_eq!(Features::parse("mx\nSIZE\nDSN\n8BITMIME\nBINARYMIME", true).size, Some(0));
        assert_eq!(Features::parse("mx\nSIZE 99999999999999999999999", true).size, Some(0));
    }

    #[test]
    fn reads_limits_and_times() {
        let features = Features::parse(
            "mx\nDSN\nREQUIRETLS\nMT-PRIORITY MIXER\nDELIVERBY 240\nLIMITS MAILMAX=5 rcptmax=100 X=1 RCPTDOMAINMAX=0",
            true,
        );
        assert!(features.dsn && features.require_tls && features.mt_priority);
        assert_eq!(features.deliver_by, Some(240));
        assert_eq!(features.limits, Limits { mails: Some(5), recipients: Some(100), recipient_domains: None });
        assert_eq!(Features::parse("mx\ndeliverby", true).deliver_by, Some(0));
    }

    #[test]
    fn helo_has_no_features() {
        let wanted = Features { peer_name: "mx".into(), ..Features::default() };
        assert_eq!(Features::parse("mx\nPIPELINING", false), wanted);
    }

    #[test]
    fn keeps_a_bounded_amount() {
        let many: String = (0..100).map(|n| format!(" M{n}")).collect();
        let features = Features::parse(&format!("{}\nAUTH{many} {}", "ü".repeat(500), "A".repeat(50)), true);
        assert_eq!((features.auth.len(), features.peer_name.len()), (16, 254));
    }
}
