//! Connections: octets on their way between the real client and the real server, in pieces, late, or never.
//!
//! The client's side is what a delivery worker does; what the server's side does is in `exchanger`.

use crate::clock::{MILLISECOND, Micros, SECOND};
use crate::link::{ClientEnd, Link, LinkId, Pipe};
use crate::world::{Event, World};
use bytes::Bytes;
use engine::config::{SocketName, TlsPolicy};
use engine::dispatch::{ConnectionId, Deliver, Input, Open, OwnFault, Peer, TlsState};
use smtp::client::{self, Cause, Client, Outcome, Report, Stage, StartTls, Transaction};
use smtp::reply::Reply;
use smtp::server::{Ticket, TlsInfo};
use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;

/// Between dispatch and a worker, each way.
const HANDOVER: Micros = MILLISECOND / 4;
/// A peer learns so late at most that the other side's machine died.
const ORPHAN: Micros = 30 * SECOND;

/// What dispatch wants of a connection.
pub enum Order {
    Deliver(Deliver),
    Close,
}

/// How a side of a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Fin,
    Reset,
}

pub enum NetworkEvent {
    Order(Order),
    ConnectEnds(Result<(), Cause>),
    /// Octets, and the end, for the server.
    Up(Bytes),
    UpEnds(End),
    /// For the client.
    Down(Bytes),
    DownEnds(End),
    TlsEnds,
    ClientTimer,
    ServerTimer,
    /// The server knows what to answer to a message.
    Complete(Ticket, Reply),
}

impl World {
    pub fn open(&mut self, open: Box<Open>) {
        let Peer::At(SocketName::Tcp(peer)) = open.peer else { unreachable!("all mail goes to exchangers here") };
        let hosts = &self.scenario.hosts;
        let host = hosts.iter().position(|host| host.addresses.contains(&peer.ip())).expect("an address of the zone");
        assert_eq!(hosts[host].name, *open.host, "the address belongs to the host");
        let network = &self.scenario.network;
        let (splits, narrow, latency) = (network.splits, network.narrow, network.latency.clone());
        let link = Link {
            id: 0,
            life: self.life,
            connection: open.connection,
            host,
            open,
            client: ClientEnd::Connecting,
            client_armed: None,
            server: None,
            up: Pipe::default(),
            down: Pipe::default(),
            latency: self.rng.u64(latency),
            piece: if self.chance(splits) { self.rng.usize(1..40) } else { 1460 },
            window: if self.chance(narrow) { self.rng.usize(50..2000) } else { 64 << 10 },
            black_hole: false,
            orders_until: 0,
            reports_until: 0,
        };
        let latency = link.latency;
        let id = self.links.add(|id| Link { id, ..link });
        let (result, after) = match self.answer_connect(host) {
            Ok(()) => (Ok(()), 2 * latency),
            Err(ErrorKind::TimedOut) => (Err(Cause::Timeout), self.config.delivery.connect_timeout.as_micros() as u64),
            Err(kind) => (Err(Cause::Io(kind)), 2 * latency),
        };
        self.calendar.add(self.clock.now + after, Event::Network(id, NetworkEvent::ConnectEnds(result)));
    }

    /// Hands an order to the worker that has the connection; they arrive in order.
    pub fn order(&mut self, connection: ConnectionId, order: Order) {
        let id = *self.links.by_connection.get(&(self.life, connection)).expect("dispatch opened it");
        let Some(link) = &mut self.links.list[id as usize] else { return };
        link.orders_until = link.orders_until.max(self.clock.now + self.rng.u64(0..HANDOVER));
        self.calendar.add(link.orders_until, Event::Network(id, NetworkEvent::Order(order)));
    }

    pub fn handle_network(&mut self, id: LinkId, event: NetworkEvent) {
        let Some(mut link) = self.links.list[id as usize].take() else { return };
        self.handle_link(&mut link, event);
        if matches!(link.client, ClientEnd::Gone) && link.server.is_none() {
            self.links.open -= 1;
        } else {
            self.links.list[id as usize] = Some(link);
        }
    }

    fn handle_link(&mut self, link: &mut Link, event: NetworkEvent) {
        match event {
            NetworkEvent::Order(order) => self.obey(link, order),
            NetworkEvent::ConnectEnds(result) => self.connected(link, result),
            NetworkEvent::Up(bytes) if !link.black_hole => {
                link.up.in_flight -= bytes.len();
                self.serve(link, bytes);
                self.flush_client(link);
            }
            NetworkEvent::UpEnds(end) if !link.black_hole => self.serve_end(link, end),
            NetworkEvent::Down(bytes) if !link.black_hole => {
                link.down.in_flight -= bytes.len();
                let now = self.clock.mono();
                if let ClientEnd::Up(client) = &mut link.client {
                    client.handle_bytes(&bytes, now);
                }
                self.pump_client(link);
                self.flush_server(link);
            }
            NetworkEvent::DownEnds(end) if !link.black_hole => {
                match (&mut link.client, end) {
                    (ClientEnd::Up(client), End::Fin) => client.handle_eof(),
                    (ClientEnd::Up(client), End::Reset) => client.handle_error(Cause::Io(ErrorKind::ConnectionReset)),
                    _ => {}
                }
                self.pump_client(link);
            }
            NetworkEvent::TlsEnds if !link.black_hole => self.end_handshake(link),
            NetworkEvent::Up(_)
            | NetworkEvent::UpEnds(_)
            | NetworkEvent::Down(_)
            | NetworkEvent::DownEnds(_)
            | NetworkEvent::TlsEnds => {}
            NetworkEvent::ClientTimer => {
                link.client_armed = None;
                let now = self.clock.mono();
                if let ClientEnd::Up(client) = &mut link.client {
                    client.handle_timeout(now);
                }
                self.pump_client(link);
            }
            NetworkEvent::ServerTimer => self.serve_timeout(link),
            NetworkEvent::Complete(ticket, reply) => self.serve_completion(link, ticket, reply),
        }
    }

    fn connected(&mut self, link: &mut Link, result: Result<(), Cause>) {
        if !matches!(link.client, ClientEnd::Connecting) {
            return;
        }
        match result {
            Ok(()) => {
                link.client = ClientEnd::Up(Box::new(Client::new(self.client_config(&link.open), self.clock.mono())));
                self.accept(link);
                self.pump_client(link);
            }
            Err(Cause::Io(kind @ ErrorKind::AddrNotAvailable)) => {
                link.client = ClientEnd::Gone;
                let fault = OwnFault { is_source_away: false, why: kind.to_string().into() };
                self.report(link, Input::NotOpened(link.connection, fault));
            }
            Err(cause) => {
                link.client = ClientEnd::Gone;
                self.report(link, Input::Closed(link.connection, Stage::Connect, cause));
            }
        }
    }

    fn client_config(&self, open: &Open) -> Arc<client::Config> {
        Arc::new(client::Config {
            hello_name: self.config.hostname.clone(),
            protocol: open.protocol,
            extended: open.manner.extended,
            starttls: match open.tls {
                TlsPolicy::Off => StartTls::Off,
                TlsPolicy::Opportunistic => StartTls::Opportunistic,
                TlsPolicy::Required | TlsPolicy::Verified => StartTls::Required,
            },
            pipelining: open.manner.pipelining,
            window: open.window,
            chunking: open.manner.chunking,
            login: None,
            careful: false,
            timeouts: client::Timeouts::default(),
        })
    }

    fn obey(&mut self, link: &mut Link, order: Order) {
        let now = self.clock.mono();
        match (&mut link.client, order) {
            (ClientEnd::Up(client), Order::Deliver(deliver)) => {
                let envelope = &deliver.content.envelope;
                let recipient = |position: u32| &envelope.recipients[position as usize];
                let transaction = Transaction {
                    id: deliver.transaction,
                    reverse_path: &envelope.reverse_path,
                    recipients: &mut deliver.recipients.iter().map(recipient),
                    body: &deliver.content.body,
                    parameters: &envelope.parameters,
                    age_seconds: envelope.age_seconds(self.clock.read().wall_us),
                };
                assert!(client.credit() > 0, "more was handed over than the connection takes");
                if let Err(lack) = client.submit(transaction, now) {
                    let outcome = Outcome::Unsupported(lack);
                    let report = Report { id: deliver.transaction, outcome, exceptions: Vec::new() };
                    self.report(link, Input::Report(link.connection, report));
                }
            }
            (ClientEnd::Up(client), Order::Close) => client.quit(now),
            (ClientEnd::Connecting, Order::Close) => {
                link.client = ClientEnd::Gone;
                self.report(link, Input::Closed(link.connection, Stage::Connect, Cause::Done));
            }
            (ClientEnd::Connecting, Order::Deliver(_)) => panic!("a transaction for a connection that is not ready"),
            (ClientEnd::Gone, _) => {}
        }
        self.pump_client(link);
    }

    /// Takes all that the client has to say and to send.
    fn pump_client(&mut self, link: &mut Link) {
        let ClientEnd::Up(client) = &mut link.client else { return };
        let (mut inputs, mut is_closed, mut starttls) = (Vec::new(), false, false);
        let connection = link.connection;
        while let Some(event) = client.poll_event() {
            match event {
                client::Event::StartTls => starttls = true,
                client::Event::Ready(features) => {
                    let tls = client.tls().map(|info| TlsState { info: info.clone(), verified: false, resumed: false });
                    inputs.push(Input::Ready(connection, tls, features));
                }
                client::Event::Report(report) => inputs.push(Input::Report(connection, report)),
                client::Event::Closed { stage, cause } => {
                    is_closed = true;
                    inputs.push(Input::Closed(connection, stage, cause));
                }
            }
        }
        inputs.into_iter().for_each(|input| self.report(link, input));
        if starttls {
            self.calendar.add(self.clock.now + 4 * link.latency, Event::Network(link.id, NetworkEvent::TlsEnds));
        }
        self.flush_client(link);
        if is_closed {
            link.client = ClientEnd::Gone;
            self.send_end(link, true, End::Fin);
        }
    }

    fn flush_client(&mut self, link: &mut Link) {
        loop {
            let ClientEnd::Up(client) = &mut link.client else { return };
            let room = link.piece.min(link.window.saturating_sub(link.up.in_flight));
            let mut slices = [IoSlice::new(&[]); 16];
            let filled = client.transmit(&mut slices);
            let mut piece = Vec::with_capacity(room);
            for slice in &slices[..filled] {
                piece.extend_from_slice(&slice[..slice.len().min(room - piece.len())]);
            }
            if piece.is_empty() {
                break;
            }
            client.advance(piece.len(), self.clock.mono());
            self.send(link, true, piece.into());
        }
        self.arm_client(link);
    }

    fn arm_client(&mut self, link: &mut Link) {
        let ClientEnd::Up(client) = &link.client else { return };
        let Some(at) = client.poll_timeout().map(|at| self.clock.tick_of(at).max(self.clock.now)) else { return };
        if link.client_armed.is_none_or(|armed| armed > at) {
            link.client_armed = Some(at);
            self.calendar.add(at, Event::Network(link.id, NetworkEvent::ClientTimer));
        }
    }

    fn end_handshake(&mut self, link: &mut Link) {
        let fails = self.tls_fails(link.host);
        let info = TlsInfo { version: "TLSv1.3", cipher: "TLS_AES_128_GCM_SHA256".into() };
        let now = self.clock.mono();
        if let ClientEnd::Up(client) = &mut link.client {
            match fails {
                true => client.handle_error(Cause::Tls("the certificate is of wood".into())),
                false => client.handle_tls(info.clone(), now),
            }
        }
        if !fails {
            self.serve_tls(link, info);
        }
        self.pump_client(link);
    }

    /// What a connection has to tell dispatch arrives in order.
    fn report(&mut self, link: &mut Link, input: Input) {
        link.reports_until = link.reports_until.max(self.clock.now + self.rng.u64(0..HANDOVER));
        self.calendar.add(link.reports_until, Event::Engine(link.life, input));
    }

    pub fn send(&mut self, link: &mut Link, up: bool, bytes: Bytes) {
        let pipe = if up { &mut link.up } else { &mut link.down };
        pipe.in_flight += bytes.len();
        pipe.last = pipe.last.max(self.clock.now + link.latency);
        let event = if up { NetworkEvent::Up(bytes) } else { NetworkEvent::Down(bytes) };
        self.calendar.add(pipe.last, Event::Network(link.id, event));
    }

    /// A FIN comes behind everything that was sent; so does a reset, as seen by this side's peer.
    pub fn send_end(&mut self, link: &mut Link, up: bool, end: End) {
        let pipe = if up { &mut link.up } else { &mut link.down };
        pipe.last = pipe.last.max(self.clock.now + link.latency);
        let event = if up { NetworkEvent::UpEnds(end) } else { NetworkEvent::DownEnds(end) };
        self.calendar.add(pipe.last, Event::Network(link.id, event));
    }

    /// The engine's machine died: what is on the wire still arrives, then the servers learn of it.
    pub fn orphan_links(&mut self) {
        for id in 0..self.links.list.len() {
            let Some(mut link) = self.links.list[id].take() else { continue };
            link.client = ClientEnd::Gone;
            if link.server.is_none() {
                self.links.open -= 1;
                continue;
            }
            let delay = self.rng.u64(0..ORPHAN);
            link.up.last = link.up.last.max(self.clock.now + delay);
            self.send_end(&mut link, true, End::Reset);
            self.links.list[id] = Some(link);
        }
    }

    pub fn client_is_up(link: &Link) -> bool {
        matches!(link.client, ClientEnd::Up(_))
    }
}
