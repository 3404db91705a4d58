//! Every reply that the machine gives of its own accord. Codes follow RFC 5321 §4.2 and RFC 5248; the texts tell the
//! sender what to change.

use crate::reply::{EnhancedCode, Reply};

const fn reply(code: u16, class: u8, subject: u16, detail: u16, text: &'static str) -> Reply {
    Reply::fixed(code, EnhancedCode(class, subject, detail), text)
}

pub(super) const OK: Reply = reply(250, 2, 0, 0, "Ok");
pub(super) const BYE: Reply = reply(221, 2, 0, 0, "Bye");
pub(super) const CANNOT_VERIFY: Reply = reply(252, 2, 5, 0, "Cannot verify, but will take mail for it and try");
pub(super) const START_TLS: Reply = reply(220, 2, 0, 0, "Ready to start TLS");
/// Carries no enhanced code (RFC 2034 §4).
pub(super) const SEND_DATA: Reply =
    Reply { code: 354, enhanced: None, text: std::borrow::Cow::Borrowed("End data with <CR><LF>.<CR><LF>") };

pub(super) const TOO_MANY_ERRORS: Reply = reply(421, 4, 7, 0, "Too many errors, closing the connection");
pub(super) const NOT_HTTP: Reply = reply(421, 4, 7, 0, "This is SMTP, not HTTP; closing the connection");
pub(super) const PROXY_HEADER: Reply = reply(
    421,
    4,
    7,
    0,
    "PROXY headers are taken from addresses in `proxy_protocol` of this listener; closing the connection",
);
pub(super) const FAR_TOO_LARGE: Reply =
    reply(421, 4, 7, 0, "The message goes on far beyond the announced SIZE; closing the connection");
pub(super) const IDLE: Reply = reply(421, 4, 4, 2, "Nothing came for too long; closing the connection");
pub(super) const TOO_SLOW: Reply = reply(421, 4, 4, 2, "The transaction takes too long; closing the connection");
pub(super) const TOO_MANY_RECIPIENTS: Reply =
    reply(452, 4, 5, 3, "Too many recipients, send the rest in another transaction");

pub(super) const LINE_TOO_LONG: Reply = reply(500, 5, 5, 2, "Command line is too long");
pub(super) const BARE_LINE_FEED: Reply =
    reply(500, 5, 5, 2, "Command lines must end with CR LF, this one ended with LF alone");
pub(super) const CONTROL_CHARACTER: Reply = reply(500, 5, 5, 2, "Command line holds a control character");
pub(super) const NOT_UTF8: Reply = reply(500, 5, 5, 2, "Command line is neither ASCII nor UTF-8");
pub(super) const UNKNOWN: Reply = reply(500, 5, 5, 1, "Command not recognized");
pub(super) const LHLO_HERE: Reply = reply(500, 5, 5, 1, "This is LMTP, send LHLO");
pub(super) const NO_LHLO_HERE: Reply = reply(500, 5, 5, 1, "This is SMTP, send EHLO");
pub(super) const NOT_IMPLEMENTED: Reply = reply(502, 5, 5, 1, "Command not implemented");
pub(super) const NO_LISTS: Reply = reply(502, 5, 5, 1, "There are no lists here that could be expanded");
/// RFC 5321 appendix F.1.
pub(super) const NO_TURN: Reply = reply(502, 5, 5, 1, "TURN would hand mail to whoever asks for it; use ATRN or ETRN");
pub(super) const XCLIENT_NOT_TRUSTED: Reply =
    reply(550, 5, 7, 1, "Your address may not use XCLIENT; add it to `xclient` of this listener");
pub(super) const NO_NAMED_QUEUES: Reply =
    reply(459, 4, 7, 1, "Node not allowed: queues have no names here, give a domain");

pub(super) const NO_ARGUMENT: Reply = reply(501, 5, 5, 4, "This command takes no argument");
pub(super) const ARGUMENT_MISSING: Reply = reply(501, 5, 5, 4, "This command needs an argument");
pub(super) const BAD_HELLO: Reply = reply(501, 5, 5, 4, "Give one host name or address literal");
pub(super) const BAD_XCLIENT: Reply =
    reply(501, 5, 5, 4, "Syntax: XCLIENT attribute=value ..., attributes as announced, values in xtext");
pub(super) const BAD_NODE: Reply = reply(501, 5, 5, 4, "Syntax: ETRN domain, or ETRN @domain for those below it too");
pub(super) const BAD_DOMAINS: Reply = reply(501, 5, 5, 4, "Syntax: ATRN [domain{,domain}]");
pub(super) const MAIL_SYNTAX: Reply = reply(501, 5, 5, 2, "Syntax: MAIL FROM:<address> [parameters]");
pub(super) const RCPT_SYNTAX: Reply = reply(501, 5, 5, 2, "Syntax: RCPT TO:<address> [parameters]");
pub(super) const BAD_SENDER: Reply =
    reply(501, 5, 1, 7, "Bad sender address syntax, it has the form <local-part@domain>");
pub(super) const BAD_RECIPIENT: Reply =
    reply(501, 5, 1, 3, "Bad recipient address syntax, it has the form <local-part@domain>");
pub(super) const BAD_PARAMETER: Reply = reply(501, 5, 5, 4, "Bad parameter value, or a parameter given twice");
pub(super) const UNKNOWN_PARAMETER: Reply =
    reply(555, 5, 5, 4, "Parameter not recognized: it was not announced in the reply to EHLO");
/// The connection ends with it: how many octets follow can't be known, and none may be taken for a command.
pub(super) const BAD_CHUNK: Reply = reply(421, 4, 5, 4, "Syntax: BDAT octets [LAST]; closing the connection");

pub(super) const AUTH_OK: Reply = reply(235, 2, 7, 0, "Authentication succeeded");
pub(super) const AUTH_UNAVAILABLE: Reply = reply(454, 4, 7, 0, "Cannot look at this now; try again later");
pub(super) const AUTH_FAILED: Reply = reply(535, 5, 7, 8, "User name or password is wrong");
pub(super) const TOO_MANY_AUTH_FAILURES: Reply =
    reply(421, 4, 7, 0, "User name or password is wrong, too many times; closing the connection");
pub(super) const AUTH_FIRST: Reply = reply(530, 5, 7, 0, "Authentication required, send AUTH first");
pub(super) const TLS_FIRST: Reply = reply(530, 5, 7, 0, "Authentication required, send STARTTLS and then AUTH first");
pub(super) const ENCRYPT_FIRST: Reply = reply(538, 5, 7, 11, "No authentication in clear text, send STARTTLS first");
pub(super) const AUTHENTICATED: Reply = reply(503, 5, 5, 1, "Authenticated already");
pub(super) const AUTH_SYNTAX: Reply = reply(501, 5, 5, 4, "Syntax: AUTH mechanism [initial-response]");
pub(super) const NO_SUCH_MECHANISM: Reply =
    reply(504, 5, 5, 4, "Mechanism not recognized: it was not announced in the reply to EHLO");
pub(super) const NOT_BASE64: Reply = reply(501, 5, 5, 2, "Authentication ended: this is not base64");
pub(super) const BAD_EXCHANGE: Reply =
    reply(501, 5, 5, 2, "Authentication ended: this is nothing that the mechanism has");
/// RFC 4954 §4.
pub(super) const NO_INITIAL_RESPONSE: Reply =
    reply(501, 5, 7, 0, "This mechanism begins with a challenge, send AUTH without an initial response");
pub(super) const AUTH_CANCELLED: Reply = reply(501, 5, 7, 0, "Authentication cancelled");
pub(super) const AUTH_LINE_TOO_LONG: Reply = reply(500, 5, 5, 6, "Authentication ended: the line is too long");

pub(super) const HELLO_FIRST: Reply = reply(503, 5, 5, 1, "Send EHLO first");
pub(super) const LHLO_FIRST: Reply = reply(503, 5, 5, 1, "Send LHLO first");
pub(super) const MAIL_FIRST: Reply = reply(503, 5, 5, 1, "Send MAIL first");
pub(super) const RCPT_FIRST: Reply = reply(503, 5, 5, 1, "Send RCPT first");
pub(super) const NESTED_MAIL: Reply = reply(503, 5, 5, 1, "MAIL was already given, send RSET to begin anew");
pub(super) const CHUNKS_BEGUN: Reply = reply(503, 5, 5, 1, "BDAT has begun, send BDAT LAST or RSET");
/// RFC 3030 §3.
pub(super) const BINARY_NEEDS_BDAT: Reply = reply(503, 5, 5, 1, "BODY=BINARYMIME needs BDAT, not DATA");
pub(super) const IN_TRANSACTION: Reply = reply(503, 5, 5, 1, "Not inside a mail transaction");
/// RFC 5321 §3.1: to all but QUIT, behind a greeting that is a refusal.
pub(super) const TURNED_AWAY: Reply = reply(503, 5, 5, 1, "No mail is taken from you, as the greeting says; send QUIT");
/// RFC 3207 §4.
pub(super) const STARTTLS_FIRST: Reply = reply(530, 5, 7, 0, "Must issue a STARTTLS command first");
pub(super) const TLS_IS_UP: Reply = reply(503, 5, 5, 1, "TLS is up already");

pub(super) const NEEDS_SMTPUTF8: Reply =
    reply(553, 5, 6, 7, "An address that is not ASCII needs the SMTPUTF8 parameter of MAIL");
pub(super) const TOO_LARGE: Reply = reply(552, 5, 3, 4, "Message is larger than the announced SIZE");
pub(super) const BARE_NEWLINE: Reply = reply(550, 5, 6, 11, "Message holds a CR or LF that is not part of CR LF");
pub(super) const NO_VALID_RECIPIENTS: Reply = reply(554, 5, 5, 1, "No valid recipients");
pub(super) const NO_VALID_RECIPIENTS_LMTP: Reply = reply(503, 5, 5, 1, "No valid recipients");

/// In a word, for counters, why no mail is taken. `None`: it is not about mail.
pub(super) fn reason(reply: &Reply) -> Option<&'static str> {
    let EnhancedCode(_, subject, detail) = reply.enhanced?;
    Some(match (reply.code, subject, detail) {
        (421 | 552, ..) if *reply == FAR_TOO_LARGE || *reply == TOO_LARGE => "too_large",
        (421, 4, 2) => "timeout",
        (421, 7, 0) if *reply == TOO_MANY_AUTH_FAILURES => "auth_failures",
        (421, ..) => "too_many_errors",
        (452, 5, 3) => "too_many_recipients",
        (501, 1, 7) => "bad_sender",
        (501, 1, 3) => "bad_recipient",
        (530, ..) if *reply == STARTTLS_FIRST => "tls_required",
        (530, ..) => "auth_required",
        (550, 6, 11) => "bare_newline",
        (553, 6, 7) => "needs_smtputf8",
        (555, ..) => "unknown_parameter",
        _ if *reply == NO_VALID_RECIPIENTS || *reply == NO_VALID_RECIPIENTS_LMTP => "no_valid_recipients",
        _ => return None,
    })
}
