//! Replies (RFC 5321 §4.2) and enhanced status codes (RFC 3463, RFC 2034).

use std::borrow::Cow;

/// `class.subject.detail` of RFC 3463.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EnhancedCode(pub u8, pub u16, pub u16);

/// One reply: its code, the enhanced code when there was one, and the text without either.
/// The lines of a multi-line reply are joined by `\n`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599.
    pub code: u16,
    /// RFC 2034; `None` where the peer gave none.
    pub enhanced: Option<EnhancedCode>,
    /// Without the codes. Not trusted: may hold anything but CR and LF inside a line.
    pub text: Cow<'static, str>,
}

impl Reply {
    /// A reply with an enhanced code and a text known at compile time: no allocation.
    pub const fn fixed(code: u16, enhanced: EnhancedCode, text: &'static str) -> Reply {
        Reply { code, enhanced: Some(enhanced), text: Cow::Borrowed(text) }
    }
    /// A reply with a text made at run time.
    pub fn new(code: u16, enhanced: EnhancedCode, text: impl Into<Cow<'static, str>>) -> Reply {
        Reply { code, enhanced: Some(enhanced), text: text.into() }
    }
    /// 2xx.
    pub fn is_success(&self) -> bool {
        self.code / 100 == 2
    }
    /// 4xx.
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }
    /// 5xx.
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }
    /// Appends the wire form, multi-line where the text has several lines, each line at most 512 octets.
    pub fn encode(&self, out: &mut bytes::BytesMut) {
        let _ = out;
        todo!()
    }
}
