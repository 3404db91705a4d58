//! Set-up: from the greeting to the moment when mail can be sent. Each phase owns what may be known in it, so nothing
//! that was heard in clear text can survive STARTTLS (RFC 3207 §4.2): there is nowhere to keep it.

use super::auth::{self, Dialogue};
use super::{Cause, Config, Features, Protocol, Stage, StartTls};
use crate::reply::ReplyRef;

/// What is awaited.
#[derive(Debug)]
pub(super) enum Setup {
    /// The 220.
    Greeting(Channel),
    /// The reply to EHLO or LHLO (`extended`), or to HELO.
    Hello { channel: Channel, extended: bool },
    /// The reply to STARTTLS; the features are for going on without it.
    StartTls(Features),
    /// The shell is at the handshake. Nothing is known.
    Handshake,
    /// What the server says in an AUTH exchange.
    Auth(Box<Dialogue>),
}

/// What the conversation runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    Clear,
    /// TLS, with whoever it may be.
    Encrypted,
    /// TLS, and the server has proven who it is.
    Proven,
}

/// What a reply leads to.
#[derive(Debug)]
pub(super) enum Step {
    /// Say this and await that.
    Say(Command, Setup),
    /// Give the stream to TLS.
    Handshake,
    /// Set-up is done.
    Ready(Features),
    /// The connection is of no use.
    Close(Stage, Cause),
}

/// What set-up has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// EHLO, HELO or LHLO; the name follows.
    Hello(&'static str),
    StartTls,
    /// AUTH, or a response in its exchange.
    Line(String),
}

impl Setup {
    pub(super) fn stage(&self) -> Stage {
        match self {
            Setup::Greeting(_) => Stage::Greeting,
            Setup::Hello { .. } => Stage::Hello,
            Setup::StartTls(_) => Stage::StartTls,
            Setup::Handshake => Stage::Tls,
            Setup::Auth(_) => Stage::Auth,
        }
    }

    /// EHLO or LHLO: at the start, and again after STARTTLS.
    pub(super) fn hello(channel: Channel, config: &Config) -> Step {
        let verb = match config.protocol {
            Protocol::Smtp if !config.extended => {
                return Step::Say(Command::Hello("HELO "), Setup::Hello { channel, extended: false });
            }
            Protocol::Smtp => "EHLO ",
            Protocol::Lmtp => "LHLO ",
        };
        Step::Say(Command::Hello(verb), Setup::Hello { channel, extended: true })
    }

    /// The reply that was awaited. `more`: octets came behind it.
    pub(super) fn reply(self, reply: ReplyRef<'_>, more: bool, config: &Config) -> Step {
        let stage = self.stage();
        let refused = || Step::Close(stage, Cause::Replied(reply.to_reply()));
        if reply.code / 100 == 3 && !matches!(self, Setup::Auth(_)) {
            return Step::Close(stage, Cause::Protocol("an intermediate reply came where none is allowed"));
        }
        match self {
            _ if reply.code == 421 => refused(),
            Setup::Greeting(channel) if reply.code / 100 == 2 => Setup::hello(channel, config),
            Setup::Hello { channel, extended } if reply.code / 100 == 2 => {
                Setup::features(Features::parse(reply.text, extended), channel, config)
            }
            // RFC 5321 §3.2: a server that does not know EHLO gets HELO. LMTP has no older form.
            Setup::Hello { channel, extended: true } if reply.code / 100 == 5 && config.protocol == Protocol::Smtp => {
                Step::Say(Command::Hello("HELO "), Setup::Hello { channel, extended: false })
            }
            Setup::StartTls(_) if reply.code / 100 == 2 && more => {
                Step::Close(stage, Cause::Protocol("clear text came behind the reply to STARTTLS"))
            }
            Setup::StartTls(_) if reply.code / 100 == 2 => Step::Handshake,
            Setup::StartTls(features) if config.starttls != StartTls::Required => {
                Setup::log_in(features, Channel::Clear, config)
            }
            Setup::Auth(dialogue) => dialogue.handle_reply(reply),
            Setup::Handshake => Step::Close(stage, Cause::Protocol("clear text came where TLS was to begin")),
            _ => refused(),
        }
    }

    fn features(features: Features, channel: Channel, config: &Config) -> Step {
        match (channel, config.starttls) {
            (Channel::Encrypted | Channel::Proven, _) | (_, StartTls::Off) => Setup::log_in(features, channel, config),
            _ if features.starttls => Step::Say(Command::StartTls, Setup::StartTls(features)),
            (_, StartTls::Opportunistic) => Setup::log_in(features, channel, config),
            (_, StartTls::Required) => {
                Step::Close(Stage::StartTls, Cause::Tls("STARTTLS is required and the server does not offer it".into()))
            }
        }
    }

    /// The last step: the login, where there is one.
    fn log_in(features: Features, channel: Channel, config: &Config) -> Step {
        match &config.login {
            Some(login) => auth::begin(login, features, channel),
            None => Step::Ready(features),
        }
    }
}
