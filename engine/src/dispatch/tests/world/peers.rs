//! Exchangers: how they behave before mail, and what they say to it.

use super::*;
use crate::dispatch::{OwnFault, TlsState};
use smtp::server::TlsInfo;

/// How a host behaves before mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Door {
    #[default]
    Open,
    /// Connection refused.
    Refused,
    /// Nothing answers.
    Silent,
    /// We have no file descriptor left for it.
    NoDescriptor,
    /// This source address of ours is away.
    SourceAway(IpAddr),
    /// 554 as greeting.
    Unwelcome,
    /// The same for the next connection only.
    UnwelcomeOnce,
    /// 421 as greeting to whoever comes while so many are there.
    Takes(usize),
    /// It is this server.
    Ourselves,
    /// The handshake fails.
    BadTls,
    /// Takes no mail in clear text (530); TLS, where peers announce it, works or not.
    TlsFirst { works: bool },
    /// Ends every connection at the first MAIL.
    Slams,
    /// Ends every connection as soon as it has answered EHLO.
    Vanishes,
}

pub struct Peer {
    pub open: Open,
    pub in_flight: VecDeque<Deliver>,
    pub handed: u32,
    pub(super) closing: bool,
    pub(super) greeted: bool,
    /// Inputs about one connection keep their order.
    pub(super) last: Instant,
}

impl World {
    pub(super) fn open(&mut self, open: Open) {
        let id = open.connection;
        let limit = |limits: &Limits| limits.connections as usize;
        let most =
            self.config.sites.iter().map(|s| limit(&s.limits)).chain([limit(&self.config.limits)]).max().unwrap();
        let same = self.peers.values().filter(|p| p.open.site == open.site).count();
        assert!(same < most, "{} connections to {}", same + 1, open.site);
        self.opens.push((self.now.mono, open.clone()));
        let door = match &open.peer {
            To::At(SocketName::Tcp(peer)) => self.doors.get(&peer.ip()).copied().unwrap_or_default(),
            To::At(SocketName::Unix(_)) | To::Caller(_) => Door::Open,
        };
        if let (Door::UnwelcomeOnce, To::At(SocketName::Tcp(peer))) = (door, &open.peer) {
            self.doors.insert(peer.ip(), Door::Open);
        }
        let is_here = |p: &&Peer| p.open.peer == open.peer && p.greeted;
        self.left.retain(|(at, _)| *at + self.counting > self.now.mono);
        let left = self.left.iter().filter(|(_, peer)| *peer == open.peer).count();
        let guests = self.peers.values().filter(is_here).count() + left;
        let greeted = !matches!(door, Door::Takes(most) if guests >= most);
        let (tls, source) = (open.tls != TlsPolicy::Off, open.source);
        let offered = tls && self.features.starttls;
        let peer = Peer { open, in_flight: VecDeque::new(), handed: 0, closing: false, greeted, last: self.now.mono };
        self.peers.insert(id, peer);
        let refused = Reply::fixed(554, EnhancedCode(5, 7, 1), "no");
        let enough = Reply::fixed(421, EnhancedCode(4, 7, 0), "too many connections");
        let not_opened = |is_source_away, why: &str| Input::NotOpened(id, OwnFault { is_source_away, why: why.into() });
        let input = match door {
            Door::NoDescriptor => not_opened(false, "too many open files"),
            Door::SourceAway(away) if source == Some(away) => not_opened(true, "cannot assign requested address"),
            Door::Takes(_) if !greeted => Input::Closed(id, Stage::Greeting, Cause::Replied(enough)),
            Door::Silent => Input::Closed(id, Stage::Connect, Cause::Timeout),
            Door::Refused => Input::Closed(id, Stage::Connect, Cause::Io(std::io::ErrorKind::ConnectionRefused)),
            Door::Unwelcome | Door::UnwelcomeOnce => Input::Closed(id, Stage::Greeting, Cause::Replied(refused)),
            Door::BadTls if tls => Input::Closed(id, Stage::Tls, Cause::Tls("bad".into())),
            Door::TlsFirst { works: false } if offered => Input::Closed(id, Stage::Tls, Cause::Tls("bad".into())),
            Door::Ourselves => Input::Ourselves(id),
            Door::TlsFirst { works: true } if offered => {
                let info = TlsInfo { version: "TLSv1.3", cipher: "TLS_AES_256_GCM_SHA384".into() };
                Input::Ready(id, Some(TlsState { info, verified: false, resumed: false }), self.features.clone())
            }
            Door::Open
            | Door::SourceAway(_)
            | Door::Takes(_)
            | Door::BadTls
            | Door::Slams
            | Door::Vanishes
            | Door::TlsFirst { .. } => Input::Ready(id, None, self.features.clone()),
        };
        if door == Door::Silent {
            return self.push(self.now.mono + self.config.delivery.connect_timeout, Event::Input(input));
        }
        self.push_peer(id, Event::Input(input));
        if door == Door::Vanishes {
            self.push_peer(id, Event::Input(Input::Closed(id, Stage::Idle, Cause::Done)));
        }
    }

    pub(super) fn deliver(&mut self, deliver: Deliver) {
        let id = deliver.connection;
        self.deliveries.push((self.now.mono, id, deliver.content.id, deliver.recipients.clone()));
        assert!(!deliver.recipients.is_empty());
        assert!(deliver.recipients.len() <= self.config.limits.recipients_per_message as usize);
        let Some(peer) = self.peers.get_mut(&id) else { panic!("delivers over a closed connection") };
        peer.handed += 1;
        assert!(peer.handed <= self.config.limits.messages_per_connection);
        assert!(!peer.closing, "delivers after Close");
        peer.in_flight.push_back(deliver);
        assert!(peer.in_flight.len() <= peer.open.window, "more than its credit");
        if !self.manual {
            self.push_peer(id, Event::Answer(id));
        }
    }

    /// Every peer answers all it has (for manual peers).
    pub fn answer_all(&mut self) {
        let waiting: Vec<(ConnectionId, usize)> = self.peers.iter().map(|(id, p)| (*id, p.in_flight.len())).collect();
        for (id, count) in waiting {
            for _ in 0..count {
                self.answer(id);
            }
        }
    }

    pub(super) fn answer(&mut self, id: ConnectionId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(deliver) = peer.in_flight.pop_front() else { return };
        let door = match &peer.open.peer {
            To::At(SocketName::Tcp(peer)) => self.doors.get(&peer.ip()).copied().unwrap_or_default(),
            To::At(SocketName::Unix(_)) | To::Caller(_) => Door::Open,
        };
        let mut exceptions = Vec::new();
        let mut whole = None;
        for (i, position) in deliver.recipients.iter().enumerate() {
            let tries = self.tries.entry((deliver.content.id, position)).or_default();
            *tries += 1;
            let local = deliver.content.envelope.recipients[position as usize].mailbox.local_part();
            let (own, all) = script(local, *tries);
            if let Some(own) = own {
                exceptions.push((i as u32, own));
            }
            whole = whole.or(all);
        }
        let promises = self.promising.as_ref().is_none_or(|hosts| hosts.contains(&&*peer.open.host));
        let envelope = &deliver.content.envelope;
        if envelope.parameters.require_tls && !envelope.reverse_path.is_null() && !promises {
            whole = Some(Outcome::Unsupported(Unsupported::RequireTls));
            exceptions.clear();
        }
        let is_encrypted = self.features.starttls && peer.open.tls != TlsPolicy::Off;
        if matches!(door, Door::TlsFirst { .. }) && !is_encrypted {
            let first = Reply::fixed(530, EnhancedCode(5, 7, 0), "must issue a STARTTLS command first");
            whole = Some(Outcome::Replied(Stage::Mail, first));
        }
        if door == Door::Slams {
            whole = Some(Outcome::Lost { stage: Stage::Mail, cause: Cause::Eof, in_doubt: false });
        }
        let taken = Outcome::Replied(Stage::Final, Reply::fixed(250, EnhancedCode(2, 0, 0), "taken"));
        let outcome = whole.unwrap_or(taken);
        let ends = match &outcome {
            Outcome::Lost { stage, cause, .. } => Some((*stage, cause.clone())),
            Outcome::Replied(stage, reply) if reply.code == 421 => Some((*stage, Cause::Replied(reply.clone()))),
            _ => None,
        };
        if ends.is_some() {
            exceptions.clear();
        }
        let report = Report { id: deliver.transaction, outcome, exceptions };
        let mut inputs = vec![Input::Report(id, report)];
        if let Some((stage, cause)) = ends {
            let rest = std::mem::take(&mut self.peers.get_mut(&id).unwrap().in_flight);
            for other in rest {
                let report = Report { id: other.transaction, outcome: Outcome::NotSent, exceptions: Vec::new() };
                inputs.push(Input::Report(id, report));
            }
            inputs.push(Input::Closed(id, stage, cause));
            self.peers.get_mut(&id).unwrap().closing = true;
        } else {
            let peer = &self.peers[&id];
            if peer.closing && peer.in_flight.is_empty() {
                inputs.push(Input::Closed(id, Stage::Idle, Cause::Done));
            }
        }
        for input in inputs {
            self.hand_in(input);
        }
    }
}

/// What the local part says: this recipient's outcome, or the whole transaction's.
fn script(local: &str, tries: u32) -> (Option<Outcome>, Option<Outcome>) {
    let word = local.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or("");
    let reply = |stage, code: u16, x, y| {
        Some(Outcome::Replied(stage, Reply::fixed(code, EnhancedCode((code / 100) as u8, x, y), "scripted")))
    };
    let lost = |stage, in_doubt| Some(Outcome::Lost { stage, cause: Cause::Eof, in_doubt });
    match word {
        "bounce" => (reply(Stage::Rcpt, 550, 1, 1), None),
        "full" => (reply(Stage::Rcpt, 450, 2, 2), None),
        "later" if tries == 1 => (reply(Stage::Rcpt, 450, 2, 0), None),
        "crowd" if tries == 1 => {
            let plain = Reply { code: 452, enhanced: None, text: "too many recipients".into() };
            (Some(Outcome::Replied(Stage::Rcpt, plain)), None)
        }
        "spam" => (None, reply(Stage::Final, 554, 7, 1)),
        "grey" if tries == 1 => (None, reply(Stage::Final, 451, 7, 1)),
        "doubt" if tries == 1 => (None, lost(Stage::Final, true)),
        "lost" if tries == 1 => (None, lost(Stage::Data, false)),
        "close" if tries == 1 => (None, reply(Stage::Mail, 421, 3, 2)),
        "big" => (None, Some(Outcome::Unsupported(Unsupported::Size { limit: 1 }))),
        _ => (None, None),
    }
}
