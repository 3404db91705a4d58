//! What `posthaste send` can ask for beside the addresses.

use smtp::Mailbox;
use smtp::parameters::{DeliverBy, MailParameters, Notify, Recipient, Return, is_envid};

/// Options of `send`; a server that does not announce what they need is told nothing of them, or gets no message.
#[derive(Debug, Default, clap::Args)]
pub struct Wishes {
    /// Which notices to send: NEVER, or a list of SUCCESS, FAILURE, DELAY (RFC 3461)
    #[arg(long, value_name = "LIST", value_parser = |text: &str| Notify::parse(text).ok_or("NEVER, or SUCCESS,FAILURE,DELAY"))]
    notify: Option<Notify>,
    /// How much of the message a notice of failure returns (RFC 3461)
    #[arg(long, value_name = "full|hdrs", value_parser = |text: &str| Return::parse(text).ok_or("full or hdrs"))]
    ret: Option<Return>,
    /// What notices call this message, in xtext (RFC 3461)
    #[arg(long, value_name = "TEXT", value_parser = parse_envid)]
    envid: Option<Box<str>>,
    /// -9 to 9, the higher the sooner (RFC 6710)
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true, value_parser = clap::value_parser!(i8).range(-9..=9))]
    priority: i8,
    /// When delivery is of no use any more: seconds, and R to have it returned then or N to be told (RFC 2852)
    #[arg(long, value_name = "SECONDS;R|N", value_parser = |text: &str| DeliverBy::parse(text).ok_or("like 3600;R or 3600;N"))]
    deliver_by: Option<DeliverBy>,
    /// Only over verified TLS, all the way (RFC 8689)
    #[arg(long)]
    require_tls: bool,
}

fn parse_envid(text: &str) -> Result<Box<str>, &'static str> {
    if is_envid(text) { Ok(text.into()) } else { Err("at most 100 printable ASCII characters; + and = as +2B and +3D") }
}

impl Wishes {
    /// For MAIL.
    pub fn parameters(&self) -> MailParameters {
        MailParameters {
            smtputf8: false,
            require_tls: self.require_tls,
            ret: self.ret,
            envid: self.envid.clone(),
            priority: self.priority,
            deliver_by: self.deliver_by,
            hold: None,
        }
    }

    /// For RCPT.
    pub fn recipient(&self, mailbox: Mailbox) -> Recipient {
        Recipient { notify: self.notify.unwrap_or_default(), ..Recipient::new(mailbox) }
    }
}
