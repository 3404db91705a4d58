//! One outbound connection: what carries its octets, and the client machine.

use super::Settings;
use super::transport::Transport;
use crate::config::{SocketName, TlsPolicy};
use crate::dispatch::{ConnectionId, Deliver, Input, Open, Peer, TlsState};
use crate::now::Now;
use crate::shell::stream::{Readiness, Stream};
use crate::shell::timers::Armed;
use crate::shell::turned::Turned;
use crate::tls::Session;
use mio::{Registry, Token};
use smtp::client::{Cause, Config, Event, Login, Outcome, Report, Stage, StartTls, Transaction, Unsupported};
use smtp::sasl::client::Credentials;
use smtp::{Client, MailParameters};
use std::io;
use std::sync::Arc;
use std::time::Instant;

pub(super) struct Connection {
    open: Box<Open>,
    transport: Transport,
    phase: Phase,
    pub armed: Armed,
    pub dirty: bool,
    /// The socket may hold more than one tick's share.
    pub in_backlog: bool,
    /// The peer will send nothing beyond what the socket holds.
    ended: bool,
    closing: bool,
}

enum Phase {
    Connecting {
        deadline: Instant,
    },
    Connected(Box<Client>),
    /// Never came to speak.
    Failed(Cause),
}

impl Connection {
    pub(super) fn open(
        open: Box<Open>,
        settings: &Settings,
        now: Now,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Connection> {
        let Peer::At(peer) = &open.peer else { return Err(io::ErrorKind::NotConnected.into()) };
        let transport = Transport::new(Stream::connect(peer, open.source)?, None, registry, token)?;
        let phase = Phase::Connecting { deadline: now.mono + settings.connect_timeout };
        Ok(Connection::new(open, transport, phase))
    }

    /// A connection that the peer has opened, and turned round: it will greet us.
    pub(super) fn adopt(
        open: Box<Open>,
        turned: Turned,
        settings: &Settings,
        now: Now,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Connection> {
        let transport = Transport::new(turned.stream, turned.tls, registry, token)?;
        let mut connection = Connection::new(open, transport, Phase::Failed(Cause::Done));
        connection.begin(settings, now);
        if let (Some(tls), Phase::Connected(client)) = (connection.transport.tls(), &mut connection.phase) {
            client.handle_tls(tls.info(), now.mono);
        }
        Ok(connection)
    }

    fn new(open: Box<Open>, transport: Transport, phase: Phase) -> Connection {
        let armed = Armed::default();
        Connection { open, transport, phase, armed, dirty: false, in_backlog: false, ended: false, closing: false }
    }

    pub(super) fn id(&self) -> ConnectionId {
        self.open.connection
    }

    /// Its end was told.
    pub(super) fn is_over(&self) -> bool {
        self.closing
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Connecting { deadline } => Some(*deadline),
            Phase::Connected(client) => client.poll_timeout(),
            Phase::Failed(_) => None,
        }
    }

    pub(super) fn deliver(&mut self, deliver: &Deliver, settings: &Settings, now: Now, news: &mut Vec<Input>) {
        let id = deliver.transaction;
        let envelope = &deliver.content.envelope;
        let unproven = envelope.parameters.require_tls && !self.is_proven(settings);
        let not_sent = |outcome| Input::Report(deliver.connection, Report { id, outcome, exceptions: Vec::new() });
        let Phase::Connected(client) = &mut self.phase else { return };
        if client.credit() == 0 {
            // It is about to be told closed, or has no room: nothing was sent, dispatch places it elsewhere.
            news.push(not_sent(Outcome::NotSent));
            return;
        }
        if unproven && !envelope.reverse_path.is_null() {
            return news.push(not_sent(Outcome::Unsupported(Unsupported::RequireTls)));
        }
        // A notice goes all the same (RFC 8689 §5), only that nothing is asked of a host that may be anybody.
        let asking_nothing = unproven.then(|| MailParameters { require_tls: false, ..envelope.parameters.clone() });
        let mut recipients = deliver.recipients.iter().filter_map(|n| envelope.recipients.get(n as usize));
        let transaction = Transaction {
            id,
            reverse_path: &envelope.reverse_path,
            recipients: &mut recipients,
            body: &deliver.content.body,
            parameters: asking_nothing.as_ref().unwrap_or(&envelope.parameters),
            age_seconds: envelope.age_seconds(now.wall_us),
        };
        if let Err(unsupported) = client.submit(transaction, now.mono) {
            news.push(not_sent(Outcome::Unsupported(unsupported)));
        }
    }

    pub(super) fn quit(&mut self, now: Now) {
        match &mut self.phase {
            Phase::Connected(client) => client.quit(now.mono),
            Phase::Connecting { .. } => self.phase = Phase::Failed(Cause::Done),
            Phase::Failed(_) => {}
        }
    }

    /// Says whether there may be more to read, of which no event will tell.
    pub(super) fn handle_ready(
        &mut self,
        ready: Readiness,
        settings: &Settings,
        buffer: &mut [u8],
        now: Now,
        news: &mut Vec<Input>,
    ) -> bool {
        if let Phase::Connecting { .. } = self.phase {
            match self.transport.stream.finish_connect() {
                Ok(false) => return false,
                Ok(true) => {
                    self.begin(settings, now);
                    if let Peer::At(peer) = &self.open.peer
                        && settings.ourselves.listen_at(peer, self.transport.stream.local_ip())
                    {
                        // Dispatch closes it.
                        news.push(Input::Ourselves(self.id()));
                    }
                }
                Err(e) => {
                    self.fail(Cause::Io(e.kind()));
                    return false;
                }
            }
        }
        self.ended |= ready.ended;
        ready.readable && self.read(settings, buffer, now)
    }

    fn begin(&mut self, settings: &Settings, now: Now) {
        self.transport.stream.set_nodelay();
        let login = match self.open.policy.as_ref().and_then(|policy| policy.login.as_ref()) {
            None => None,
            Some(login) => match settings.passwords.get(&login.password_file) {
                Some(password) => Some(Login {
                    credentials: Credentials { user: (*login.user).into(), password: (*password).into() },
                    nonce: crate::tls::nonce().into(),
                    in_clear: login.in_clear || self.stays_here(),
                }),
                // A route is known to dispatch only after its password was read.
                None => return self.fail(Cause::Protocol("the password of the route is not known")),
            },
        };
        let starttls = match self.open.tls {
            _ if self.open.implicit_tls => StartTls::Off,
            TlsPolicy::Off => StartTls::Off,
            TlsPolicy::Opportunistic => StartTls::Opportunistic,
            TlsPolicy::Required | TlsPolicy::Verified => StartTls::Required,
        };
        let config = Config {
            hello_name: settings.ourselves.name.clone(),
            protocol: self.open.protocol,
            starttls,
            extended: self.open.manner.extended,
            pipelining: self.open.manner.pipelining,
            window: self.open.window,
            chunking: self.open.manner.chunking,
            careful: self.open.careful,
            login,
            timeouts: settings.timeouts.clone(),
        };
        self.phase = Phase::Connected(Box::new(Client::new(Arc::new(config), now.mono)));
        if self.open.implicit_tls {
            self.start_tls(settings);
        }
    }

    /// Nothing of the connection leaves the machine.
    fn stays_here(&self) -> bool {
        match &self.open.peer {
            Peer::At(SocketName::Unix(_)) => true,
            Peer::At(SocketName::Tcp(peer)) => peer.ip().is_loopback(),
            Peer::Caller(_) => false,
        }
    }

    /// The connection is lost: its machine reports what that means for each transaction.
    fn fail(&mut self, cause: Cause) {
        match &mut self.phase {
            Phase::Connected(client) => client.handle_error(cause),
            Phase::Connecting { .. } => self.phase = Phase::Failed(cause),
            Phase::Failed(_) => {}
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Now) {
        match &mut self.phase {
            Phase::Connecting { deadline } if *deadline <= now.mono => self.phase = Phase::Failed(Cause::Timeout),
            Phase::Connected(client) if client.poll_timeout().is_some_and(|at| at <= now.mono) => {
                client.handle_timeout(now.mono);
            }
            _ => {}
        }
    }

    /// Hears the machine out.
    pub(super) fn drain_events(&mut self, settings: &Settings, now: Now, news: &mut Vec<Input>) {
        let id = self.id();
        if let Phase::Failed(cause) = &self.phase {
            if !self.closing {
                self.closing = true;
                news.push(Input::Closed(id, Stage::Connect, cause.clone()));
            }
            return;
        }
        while let Phase::Connected(client) = &mut self.phase {
            match client.poll_event() {
                None => break,
                Some(Event::StartTls) => self.start_tls(settings),
                // Whom a route names may call itself as it likes: a proxy repeats what the server behind it says.
                Some(Event::Ready(features))
                    if self.open.by_mx && settings.ourselves.are_called(&features.peer_name) =>
                {
                    news.push(Input::Ourselves(id));
                }
                Some(Event::Ready(features)) => news.push(Input::Ready(id, self.tls_state(), features)),
                Some(Event::Report(report)) => news.push(Input::Report(id, report)),
                Some(Event::Closed { stage, cause }) => {
                    let stage = if self.is_shaking_hands() { Stage::Tls } else { stage };
                    if stage == Stage::Tls && cause != Cause::Done {
                        settings.handshakes.failed.increment(1);
                    }
                    self.closing = true;
                    // Before it is told: whoever hears of it may open another one at once, and the peer counts.
                    self.hang_up(now);
                    news.push(Input::Closed(id, stage, cause));
                }
            }
        }
    }

    fn start_tls(&mut self, settings: &Settings) {
        match settings.tls.connect(self.open.tls, server_name(&self.open)) {
            Ok(session) => self.transport.begin_tls(session),
            Err(error) => self.fail(Cause::Tls(error.to_string().into())),
        }
    }

    /// See below.
    fn is_proven(&self, settings: &Settings) -> bool {
        self.transport.tls().is_some_and(|tls| is_proven(&self.open, tls, settings))
    }

    fn is_shaking_hands(&self) -> bool {
        self.transport.tls().is_some_and(Session::is_shaking_hands)
    }

    fn tls_state(&self) -> Option<TlsState> {
        let Phase::Connected(client) = &self.phase else { return None };
        client.tls().map(|info| TlsState {
            info: info.clone(),
            verified: self.open.tls == TlsPolicy::Verified,
            resumed: self.transport.tls().is_some_and(Session::is_resumed),
        })
    }

    /// Reads what the socket holds, at most one tick's share. Says whether there may be more.
    pub(super) fn read(&mut self, settings: &Settings, buffer: &mut [u8], now: Now) -> bool {
        let Connection { open, transport, phase, ended, .. } = self;
        let Phase::Connected(client) = phase else { return false };
        let has_login = open.policy.as_ref().is_some_and(|policy| policy.login.is_some());
        let secured = |tls: &Session, client: &mut Client| {
            let handshakes = &settings.handshakes;
            if tls.is_resumed() { &handshakes.resumed } else { &handshakes.full }.increment(1);
            if has_login && is_proven(open, tls, settings) {
                client.trust();
            }
            client.handle_tls(tls.info(), now.mono);
        };
        match transport.read(client, *ended, buffer, now.mono, secured) {
            Ok(more) => return more,
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => client.handle_eof(),
            Err(e) => client.handle_error(cause_of(e)),
        }
        false
    }

    /// Writes what there is until the socket takes no more.
    pub(super) fn flush(&mut self, settings: &Settings, buffer: &mut [u8], now: Now) {
        let Phase::Connected(client) = &mut self.phase else { return };
        match self.transport.flush(client, now.mono) {
            Err(e) if e.kind() != io::ErrorKind::WouldBlock => {
                // The replies that came before it broke are still there: a 250 that nobody hears is a second copy.
                self.read(settings, buffer, now);
                self.fail(cause_of(e));
            }
            _ => {}
        }
    }

    /// Says what is left to say, if the socket takes it, and ends the stream.
    fn hang_up(&mut self, now: Now) {
        if let Phase::Connected(client) = &mut self.phase {
            // It is closed: whatever comes of this concerns nobody.
            let _ = self.transport.flush(client, now.mono);
        }
        self.transport.end();
    }

    pub(super) fn farewell(&mut self, registry: &Registry) {
        self.transport.deregister(registry);
    }
}

/// Whom the certificate has to name.
fn server_name(open: &Open) -> &str {
    let name = open.policy.as_ref().and_then(|policy| policy.tls_server_name.as_ref());
    name.unwrap_or(&open.host)
}

/// The peer has proven over TLS who it is, whether the policy asked for that or not (RFC 8689 §4.2.1, RFC 4954 §14).
fn is_proven(open: &Open, tls: &Session, settings: &Settings) -> bool {
    open.tls == TlsPolicy::Verified || settings.tls.prove(tls.peer_certificates(), server_name(open))
}

fn cause_of(error: io::Error) -> Cause {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(error) => Cause::Tls(super::tls::describe(error).into()),
        None => Cause::Io(error.kind()),
    }
}
