//! What a load consists of: message `n` has recipients number `n × r` to `n × r + r - 1` and content that is all shared
//! but for two fields on top.

use super::{Domains, LoadError, LoadOptions};
use crate::stamp::{LINE_LEN, Stamp, decimal};
use bytes::{Bytes, BytesMut};
use smtp::{Body, Mailbox, ReversePath};
use std::path::Path;

const ID_PREFIX: &[u8] = b"Message-ID: <";
const ID_SUFFIX: &[u8] = b".load@posthaste.test>\r\n";
const ID_LEN: usize = ID_PREFIX.len() + 12 + ID_SUFFIX.len();
/// Heads are cut from blocks of this size.
const POOL_BYTES: usize = 64 << 10;

/// What all threads send from.
#[derive(Debug)]
pub(super) struct Plan {
    pub sender: ReversePath,
    pub recipients_per_message: u64,
    prefix: String,
    domains: Domains,
    same_domain: bool,
    contents: Vec<Content>,
    /// Fields on top: for generated content always an id; the stamp where wanted.
    with_id: bool,
    with_stamp: bool,
}

#[derive(Debug)]
struct Content {
    body: Body,
    crc: u32,
}

impl Plan {
    pub(super) fn new(options: &LoadOptions) -> Result<Plan, LoadError> {
        if matches!(&options.domains, Domains::List(list) if list.is_empty())
            || matches!(&options.domains, Domains::Pattern { count: 0, .. })
        {
            return Err(LoadError::NoDomains);
        }
        if options.hello_name.is_empty() || options.hello_name.bytes().any(|b| !b.is_ascii_graphic()) {
            return Err(LoadError::HelloName(options.hello_name.clone()));
        }
        let parse =
            |text: &str| Mailbox::parse(text).map_err(|source| LoadError::Address { text: text.to_owned(), source });
        let sender = match options.sender.as_str() {
            "" | "<>" => ReversePath(None),
            text => ReversePath(Some(parse(text)?)),
        };
        let contents = match &options.corpus {
            Some(directory) => read_corpus(directory)?,
            None => vec![generate(options.size, options.stamp, options.seed)],
        };
        let plan = Plan {
            sender,
            recipients_per_message: options.recipients_per_message.max(1),
            prefix: options.prefix.clone(),
            domains: options.domains.clone(),
            same_domain: options.same_domain,
            contents: contents.into_iter().map(Content::new).collect(),
            with_id: options.corpus.is_none(),
            with_stamp: options.stamp,
        };
        // If the longest recipient of each domain is well formed, all are: they differ in digits only.
        let longest = plan.number(options.messages, 0);
        for index in 0..plan.domains.len() {
            parse(&plan.address(longest, index))?;
        }
        Ok(plan)
    }

    fn address(&self, number: u64, domain: u64) -> String {
        match &self.domains {
            Domains::List(list) => format!("{}{number}@{}", self.prefix, list[domain as usize]),
            Domains::Pattern { pattern, .. } => {
                format!("{}{number}@{}", self.prefix, pattern.replace("%N", &domain.to_string()))
            }
        }
    }

    /// The recipient at this place of a message.
    pub(super) fn recipient(&self, message: u64, position: u32) -> Option<Mailbox> {
        let number = self.number(message, position);
        let turn = if self.same_domain { message } else { number };
        Mailbox::parse(&self.address(number, turn % self.domains.len())).ok()
    }

    /// The number that proves where a recipient went.
    pub(super) fn number(&self, message: u64, position: u32) -> u64 {
        message * self.recipients_per_message + u64::from(position)
    }

    /// The content of a message; its head is cut from `pool`.
    pub(super) fn body(&self, message: u64, submitted_us: u64, pool: &mut BytesMut) -> Body {
        let content = &self.contents[(message % self.contents.len() as u64) as usize];
        if !self.with_id && !self.with_stamp {
            return content.body.clone();
        }
        if pool.capacity() < ID_LEN + LINE_LEN {
            *pool = BytesMut::with_capacity(POOL_BYTES);
        }
        if self.with_id {
            let mut digits = [0; 12];
            decimal(message, &mut digits);
            pool.extend_from_slice(ID_PREFIX);
            pool.extend_from_slice(&digits);
            pool.extend_from_slice(ID_SUFFIX);
        }
        if self.with_stamp {
            pool.extend_from_slice(&Stamp { number: message, submitted_us, crc: content.crc }.line());
        }
        content.body.with_prefix(pool.split().freeze())
    }
}

impl Domains {
    fn len(&self) -> u64 {
        match self {
            Domains::List(list) => list.len() as u64,
            Domains::Pattern { count, .. } => *count,
        }
    }
}

impl Content {
    fn new(content: Vec<u8>) -> Content {
        let content = Bytes::from(content);
        Content { crc: crc32fast::hash(&content), body: Body::new(content) }
    }
}

/// Content that, with its head, is `size` octets long (but never shorter than its header): words in lines of at most 76.
fn generate(size: usize, with_stamp: bool, seed: u64) -> Vec<u8> {
    // A relay that adds missing fields (Postfix, for its own clients) must find none missing.
    let mut content = b"From: Posthaste Load <load@posthaste.test>\r\n\
        To: undisclosed-recipients:;\r\n\
        Subject: A message of the load generator\r\n\
        Date: Thu, 01 Jan 2026 00:00:00 +0000\r\n\
        MIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=us-ascii\r\n\r\n"
        .to_vec();
    let size = size.saturating_sub(ID_LEN + if with_stamp { LINE_LEN } else { 0 });
    let mut random = fastrand::Rng::with_seed(seed);
    let mut column = 0;
    while content.len() + 2 < size {
        if column == 76 {
            content.extend_from_slice(b"\r\n");
            column = 0;
        } else {
            // A line neither begins nor ends with a space, so nothing on the way is tempted to change it.
            let edge = column == 0 || column == 75 || content.len() + 3 >= size;
            content.push(if !edge && random.u8(..6) == 0 { b' ' } else { random.lowercase() as u8 });
            column += 1;
        }
    }
    content.extend_from_slice(b"\r\n");
    content
}

/// Every file of the directory that ends in `.eml`, in order of name, with CRLF line ends and one at its end.
fn read_corpus(directory: &Path) -> Result<Vec<Vec<u8>>, LoadError> {
    let error = |source| LoadError::Corpus { path: directory.to_owned(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(error)? {
        let path = entry.map_err(error)?.path();
        if path.extension().is_some_and(|extension| extension == "eml") {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.is_empty() {
        return Err(error(std::io::Error::new(std::io::ErrorKind::NotFound, "no file ends in .eml")));
    }
    let read = |path: &std::path::PathBuf| std::fs::read(path).map(|text| normalise(&text));
    paths.iter().map(read).collect::<Result<_, _>>().map_err(error)
}

/// The form in which a text travels over SMTP: every line end, however written, is CRLF, and there is one at the end.
pub fn normalise(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 32 + 2);
    let mut at = 0;
    while at < text.len() {
        let Some(end) = memchr::memchr2(b'\r', b'\n', &text[at..]) else {
            out.extend_from_slice(&text[at..]);
            break;
        };
        out.extend_from_slice(&text[at..at + end]);
        out.extend_from_slice(b"\r\n");
        at += end + if text[at + end..].starts_with(b"\r\n") { 2 } else { 1 };
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::Checked;

    #[test]
    fn line_ends_become_crlf() {
        for (text, normal) in
            [("", "\r\n"), ("a", "a\r\n"), ("a\nb\r\nc\rd", "a\r\nb\r\nc\r\nd\r\n"), ("a\r\r\n\n", "a\r\n\r\n\r\n")]
        {
            assert_eq!(normalise(text.as_bytes()), normal.as_bytes(), "{text:?}");
        }
    }

    #[test]
    fn generated_messages_have_the_size_asked_for_and_prove_themselves() {
        for (size, stamp) in [(10_240, true), (10_240, false), (2_000, true), (1_001, true)] {
            let plan = Plan::new(&LoadOptions { size, stamp, ..LoadOptions::default() }).unwrap();
            let body = plan.body(7, 1_700_000_000_000_000, &mut BytesMut::new());
            assert_eq!(body.len(), size);
            assert!(body.facts().ends_with_crlf && !body.facts().dot_lines && body.facts().longest_line <= 76);
            let checked = Stamp::check(body.segments());
            match stamp {
                true => assert!(matches!(checked, Checked::Intact(s) if s.number == 7), "{checked:?}"),
                false => assert_eq!(checked, Checked::Unstamped),
            }
        }
    }

    #[test]
    fn recipients_go_round_the_domains() {
        let options = LoadOptions {
            domains: Domains::Pattern { pattern: "d%N.test".into(), count: 3 },
            recipients_per_message: 2,
            ..LoadOptions::default()
        };
        let address = |same_domain, message, position| {
            let plan = Plan::new(&LoadOptions { same_domain, ..options.clone() }).unwrap();
            plan.recipient(message, position).unwrap().as_str().to_owned()
        };
        assert_eq!([address(false, 4, 0), address(false, 4, 1)], ["u8@d2.test", "u9@d0.test"]);
        assert_eq!([address(true, 4, 0), address(true, 4, 1)], ["u8@d1.test", "u9@d1.test"]);
    }

    #[test]
    fn impossible_loads_are_refused() {
        let none = Domains::List(vec![]);
        assert!(matches!(
            Plan::new(&LoadOptions { domains: none, ..LoadOptions::default() }),
            Err(LoadError::NoDomains)
        ));
        let named = LoadOptions { hello_name: "a\r\nRSET".into(), ..LoadOptions::default() };
        assert!(matches!(Plan::new(&named), Err(LoadError::HelloName(_))));
        let bad = Domains::List(vec!["a b".into()]);
        let bad = Plan::new(&LoadOptions { domains: bad, ..LoadOptions::default() });
        assert!(bad.unwrap_err().to_string().contains("u10000@a b"));
    }
}
