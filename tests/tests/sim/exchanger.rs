//! Remote mail exchangers: the real server, and the bad manners of real hosts.

use crate::clock::{MILLISECOND, MINUTE, Micros, SECOND};
use crate::link::Link;
use crate::network::{End, NetworkEvent};
use crate::scenario::{Faults, HostPlan};
use crate::world::{Event, World};
use bytes::Bytes;
use smtp::reply::{EnhancedCode, Reply};
use smtp::server::{self, Message, RECIPIENT_OK, SENDER_OK, Server, Ticket, TlsInfo};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

const BUSY: Reply = Reply::fixed(421, EnhancedCode(4, 3, 2), "too busy");
const GO_AWAY: Reply = Reply::fixed(554, EnhancedCode(5, 7, 1), "no service for you");
const LATER: Reply = Reply::fixed(451, EnhancedCode(4, 7, 1), "greylisted");
const NEVER: Reply = Reply::fixed(550, EnhancedCode(5, 7, 1), "refused");
const UNKNOWN: Reply = Reply::fixed(550, EnhancedCode(5, 1, 1), "no such user");
const TAKEN: Reply = Reply::fixed(250, EnhancedCode(2, 0, 0), "taken");

/// How many octets a connection carries at most before it breaks, where it is to break.
const BREAKS_WITHIN: usize = 3000;

pub struct Exchanger {
    config: Arc<server::Config>,
    faults: Faults,
    calm: bool,
    max_connections: usize,
    max_messages: usize,
    connections: usize,
    is_down: bool,
    is_healed: bool,
}

/// One connection's far end.
pub struct ServerEnd {
    server: Server,
    /// What arrived while the server did not want more.
    inbox: VecDeque<Bytes>,
    armed: Option<Micros>,
    received: usize,
    cut_after: usize,
    stall_after: usize,
    messages: usize,
    /// EHLO was said: the client knows what is announced.
    extended: bool,
}

impl Exchanger {
    pub fn new(plan: &HostPlan) -> Exchanger {
        let config = server::Config {
            hostname: plan.name.clone(),
            max_recipients: plan.max_recipients,
            idle_timeout: Duration::from_micros(plan.idle_timeout),
            starttls: plan.starttls,
            pipelining: plan.pipelining,
            chunking: plan.chunking,
            dsn: plan.dsn,
            deliver_by: plan.deliver_by,
            limits: plan.limits,
            ..server::Config::default()
        };
        Exchanger {
            config: Arc::new(config),
            faults: plan.faults,
            calm: plan.calm,
            max_connections: plan.max_connections,
            max_messages: plan.max_messages,
            connections: 0,
            is_down: false,
            is_healed: false,
        }
    }

    pub fn heal(&mut self) {
        self.faults = Faults::default();
        // Who waits a second only, over a slow network, may never hear a whole conversation (RFC 5321 §4.5.3.2.7).
        let patient = server::Config { idle_timeout: Duration::from_secs(300), ..server::Config::clone(&self.config) };
        self.config = Arc::new(patient);
        self.is_down = false;
        self.is_healed = true;
    }
}

/// What becomes of a message that has come to its end.
enum Verdict {
    Taken(std::ops::Range<Micros>),
    Refused(Reply),
    Shutdown,
    /// No reply: the connection ends. The message was taken, or not.
    Mute(bool),
}

impl World {
    /// Whether a host takes a connection at all.
    pub fn answer_connect(&mut self, host: usize) -> Result<(), ErrorKind> {
        let exchanger = &self.exchangers[host];
        let (faults, is_down) = (exchanger.faults, exchanger.is_down);
        if is_down || self.chance(faults.refuse) {
            return Err(ErrorKind::ConnectionRefused);
        }
        // No port is left for us, or the like.
        if self.chance(faults.refuse) {
            return Err(ErrorKind::AddrNotAvailable);
        }
        if self.chance(faults.swallow) { Err(ErrorKind::TimedOut) } else { Ok(()) }
    }

    pub fn tls_fails(&mut self, host: usize) -> bool {
        self.chance(self.exchangers[host].faults.tls_fails)
    }

    /// Hosts go down for some minutes, and come back.
    pub fn change_weather(&mut self, host: usize) {
        let outages = self.exchangers[host].faults.outages;
        if self.exchangers[host].is_healed || outages == 0.0 {
            return;
        }
        let is_down = self.chance(outages.sqrt());
        self.exchangers[host].is_down = is_down;
        self.note("weather", &[host as u64, u64::from(is_down)]);
        self.in_a_while(MINUTE..40 * MINUTE, Event::Weather(host));
    }

    pub fn accept(&mut self, link: &mut Link) {
        let now = self.clock.mono();
        let exchanger = &mut self.exchangers[link.host];
        exchanger.connections += 1;
        let (config, faults) = (exchanger.config.clone(), exchanger.faults);
        let crowded = exchanger.connections > exchanger.max_connections;
        let refusal = if crowded || self.chance(faults.greet_421) {
            Some(BUSY)
        } else if self.chance(faults.greet_554) {
            Some(GO_AWAY)
        } else {
            None
        };
        let server = match refusal {
            Some(reply) => Server::refuse(config, reply, now),
            None => Server::new(config, now),
        };
        let mut breaks =
            |probability| if self.chance(probability) { self.rng.usize(..BREAKS_WITHIN) } else { usize::MAX };
        link.server = Some(Box::new(ServerEnd {
            server,
            inbox: VecDeque::new(),
            armed: None,
            received: 0,
            cut_after: breaks(faults.cut),
            stall_after: breaks(faults.stall),
            messages: 0,
            extended: false,
        }));
        self.pump_server(link);
    }

    /// Octets from the client.
    pub fn serve(&mut self, link: &mut Link, bytes: Bytes) {
        let Some(end) = &mut link.server else {
            if World::client_is_up(link) {
                self.send_end(link, false, End::Reset);
            }
            return;
        };
        end.received += bytes.len();
        if end.received > end.stall_after {
            self.note("stall", &[u64::from(link.id)]);
            link.black_hole = true;
            return self.arm_server(link);
        }
        if end.received > end.cut_after {
            return self.abort(link);
        }
        end.inbox.push_back(bytes);
        self.pump_server(link);
    }

    pub fn serve_end(&mut self, link: &mut Link, how: End) {
        let Some(end) = &mut link.server else { return };
        if how == End::Reset {
            return self.drop_server(link);
        }
        end.server.handle_eof();
        self.pump_server(link);
    }

    pub fn serve_tls(&mut self, link: &mut Link, info: TlsInfo) {
        if let Some(end) = &mut link.server {
            end.server.handle_tls(info);
        }
        self.pump_server(link);
    }

    pub fn serve_timeout(&mut self, link: &mut Link) {
        let now = self.clock.mono();
        if let Some(end) = &mut link.server {
            end.armed = None;
            end.server.handle_timeout(now);
        }
        self.pump_server(link);
    }

    pub fn serve_completion(&mut self, link: &mut Link, ticket: Ticket, reply: Reply) {
        if let Some(end) = &mut link.server {
            end.server.complete(ticket, reply);
        }
        self.pump_server(link);
    }

    /// Lets the server do what it can, and sends what it says.
    fn pump_server(&mut self, link: &mut Link) {
        let now = self.clock.mono();
        let mut is_over = false;
        while let Some(end) = &mut link.server {
            if let Some(event) = end.server.poll_event() {
                is_over |= matches!(event, server::Event::Closed(_));
                self.handle_server(link, event);
            } else if !end.inbox.is_empty() && end.server.wants_bytes() {
                end.inbox.pop_front().into_iter().for_each(|bytes| end.server.handle_bytes(bytes, now));
            } else {
                break;
            }
        }
        self.flush_server(link);
        if is_over && link.server.is_some() {
            self.drop_server(link);
            self.send_end(link, false, End::Fin);
        }
        self.arm_server(link);
    }

    pub fn flush_server(&mut self, link: &mut Link) {
        let Some(end) = &mut link.server else { return };
        let transmit = end.server.poll_transmit();
        let bytes = transmit.split().freeze();
        if !bytes.is_empty() {
            self.send(link, false, bytes);
        }
    }

    fn arm_server(&mut self, link: &mut Link) {
        let Some(end) = &mut link.server else { return };
        let Some(at) = end.server.poll_timeout().map(|at| self.clock.tick_of(at).max(self.clock.now)) else { return };
        if end.armed.is_none_or(|armed| armed > at) {
            end.armed = Some(at);
            self.calendar.add(at, Event::Network(link.id, NetworkEvent::ServerTimer));
        }
    }

    fn drop_server(&mut self, link: &mut Link) {
        if link.server.take().is_some() {
            self.exchangers[link.host].connections -= 1;
        }
    }

    /// The connection breaks, politely or not.
    fn abort(&mut self, link: &mut Link) {
        self.note("abort", &[u64::from(link.id)]);
        self.drop_server(link);
        let how = if self.rng.bool() { End::Fin } else { End::Reset };
        self.send_end(link, false, how);
    }

    fn handle_server(&mut self, link: &mut Link, event: server::Event) {
        match event {
            server::Event::Mail { .. } => self.answer_mail(link),
            server::Event::Recipient(recipient) => {
                let reply = match self.refusal(link) {
                    _ if recipient.mailbox.local_part().starts_with("bad") => UNKNOWN,
                    Some(reply) => reply,
                    None => RECIPIENT_OK,
                };
                self.answer_server(link, reply);
            }
            server::Event::Message(message) => self.judge_message(link, *message),
            server::Event::Hello { extended, .. } => self.greet(link, extended),
            server::Event::Aborted
            | server::Event::StartTls
            | server::Event::XClient(_)
            | server::Event::Etrn(_)
            | server::Event::Atrn(_)
            | server::Event::Turned
            | server::Event::Auth { .. }
            | server::Event::Closed(_) => {}
        }
    }

    fn greet(&mut self, link: &mut Link, extended: bool) {
        if let Some(end) = &mut link.server {
            end.extended = extended;
        }
        if self.chance(self.exchangers[link.host].faults.hang_up) {
            self.note("hang up", &[u64::from(link.id)]);
            self.flush_server(link);
            self.drop_server(link);
            self.send_end(link, false, End::Fin);
        }
    }

    fn answer_mail(&mut self, link: &mut Link) {
        let exchanger = &self.exchangers[link.host];
        let (faults, max_messages) = (exchanger.faults, exchanger.max_messages);
        let Some(end) = &mut link.server else { return };
        end.messages += 1;
        let too_many = end.messages > max_messages;
        if too_many || self.chance(faults.shutdown) {
            let Some(end) = &mut link.server else { return };
            return end.server.close(BUSY);
        }
        let reply = self.refusal(link).unwrap_or(SENDER_OK);
        self.answer_server(link, reply);
    }

    fn answer_server(&mut self, link: &mut Link, reply: Reply) {
        if reply.is_permanent() {
            self.checker.refused(link.connection, link.life);
        }
        let Some(end) = &mut link.server else { return };
        end.server.answer(reply);
    }

    fn refusal(&mut self, link: &Link) -> Option<Reply> {
        let faults = self.exchangers[link.host].faults;
        if self.chance(faults.transient) {
            return Some(LATER);
        }
        self.chance(faults.permanent).then_some(NEVER)
    }

    fn verdict(&mut self, link: &Link) -> Verdict {
        let faults = self.exchangers[link.host].faults;
        if let Some(reply) = self.refusal(link) {
            return Verdict::Refused(reply);
        }
        if self.chance(faults.shutdown) {
            return Verdict::Shutdown;
        }
        if self.chance(faults.mute) {
            return Verdict::Mute(self.rng.bool());
        }
        if self.chance(faults.late) {
            return Verdict::Taken(11 * MINUTE..20 * MINUTE);
        }
        if self.chance(faults.slow) {
            return Verdict::Taken(100 * MILLISECOND..30 * SECOND);
        }
        Verdict::Taken(0..if self.exchangers[link.host].calm { MILLISECOND } else { 50 * MILLISECOND })
    }

    fn judge_message(&mut self, link: &mut Link, message: Message) {
        let ticket = message.ticket;
        let (life, connection) = (link.life, link.connection);
        match self.verdict(link) {
            Verdict::Taken(delay) => {
                self.take_copy(link, &message);
                self.in_a_while(delay, Event::Network(link.id, NetworkEvent::Complete(ticket, TAKEN)));
            }
            Verdict::Refused(reply) => {
                if reply.is_permanent() {
                    self.checker.refused(connection, life);
                }
                let Some(end) = &mut link.server else { return };
                end.server.complete(ticket, reply);
            }
            Verdict::Shutdown => {
                let Some(end) = &mut link.server else { return };
                end.server.complete(ticket, BUSY);
                end.server.close(BUSY);
            }
            Verdict::Mute(taken) => {
                if taken {
                    self.take_copy(link, &message);
                }
                self.abort(link);
            }
        }
    }

    fn take_copy(&mut self, link: &Link, message: &Message) {
        let text = message.body.to_bytes();
        self.note("copy", &[link.connection.0, message.recipients.len() as u64, text.len() as u64]);
        let extended = link.server.as_ref().is_some_and(|end| end.extended);
        let config = &self.exchangers[link.host].config;
        let knows = (extended && config.dsn, extended && config.deliver_by);
        self.checker.copied(link.life, link.connection, knows, &message.recipients, &text, self.clock.now);
    }
}
