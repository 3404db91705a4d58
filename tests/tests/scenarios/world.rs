//! The world of a scenario: the real engine on loopback with a temporary queue, a DNS server that says what the scenario
//! wants, and sinks that play the destinations.
//!
//! Every domain has an MX host of its own, `mx.DOMAIN`, at 127.0.0.1, unless the scenario's zone says otherwise. All hosts
//! listen on the port of the first sink; further sinks have other loopback addresses.

use super::account;
use super::certificates::Made;
use super::injector::{Injector, queued_as};
use bench::Address;
use bench::dns::{LocalDns, Zone};
use bench::sink::{Keep, Received, Sink, SinkHandle, SinkOptions};
use crossbeam_channel::{Receiver, unbounded};
use engine::config::{Config, SocketName};
use engine::shell::{Engine, StartError, Wish};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take on a slow machine before it counts as never.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks.
const GLANCE: Duration = Duration::from_millis(5);
/// Who sends, unless it matters. Its domain is a destination like all others, so notices arrive.
pub const SENDER: &str = "sender@home.test";
/// A retry soon after the first attempt: due times are rounded up to whole seconds.
pub const RETRY_SOON: &str = "[retry]\nschedule = [\"100ms\"]\njitter = 0.0\n";

/// What a world is made of, before it starts.
pub struct Plan {
    listeners: Vec<String>,
    delivery: String,
    dns: String,
    config: String,
    zone: Zone,
    sinks: Vec<SinkOptions>,
    files: Vec<(String, String)>,
}

/// A running world. Dropping it ends everything.
pub struct World {
    engine: Option<Engine>,
    config_text: String,
    pub dns: LocalDns,
    pub sinks: Vec<Site>,
    dir: TempDir,
}

/// A sink and what it has received so far.
pub struct Site {
    pub handle: SinkHandle,
    inbox: Receiver<Received>,
    received: Mutex<Vec<Received>>,
}

impl World {
    /// A sink that takes everything, and the defaults of the configuration.
    pub fn plan() -> Plan {
        Plan {
            listeners: Vec::new(),
            delivery: String::new(),
            dns: String::new(),
            config: String::new(),
            zone: Zone::everything_at(Ipv4Addr::LOCALHOST.into()),
            sinks: vec![SinkOptions { hostname: "mx.test".into(), ..SinkOptions::default() }],
            files: Vec::new(),
        }
    }
}

impl Plan {
    /// Tables for the end of the configuration: `[limits]`, `[retry]`, `[queue]`, `[[site]]`, `[[route]]`.
    pub fn config(mut self, text: &str) -> Plan {
        self.config.push_str(text);
        self.config.push('\n');
        self
    }
    /// Keys of `[delivery]`.
    pub fn delivery(mut self, text: &str) -> Plan {
        self.delivery.push_str(text);
        self.delivery.push('\n');
        self
    }
    /// Keys of `[dns]`.
    pub fn dns(mut self, text: &str) -> Plan {
        self.dns.push_str(text);
        self.dns.push('\n');
        self
    }
    /// A `[[listener]]` with these keys; without `bind` on a free port of 127.0.0.1.
    pub fn listener(mut self, text: &str) -> Plan {
        let bind = if text.contains("bind") { "" } else { "bind = \"127.0.0.1:0\"\n" };
        self.listeners.push(format!("[[listener]]\n{bind}{text}\n"));
        self
    }
    /// A file in the world's directory, `DIR` in the configuration.
    pub fn file(mut self, name: &str, text: &str) -> Plan {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }
    /// What DNS says.
    pub fn zone(mut self, zone: Zone) -> Plan {
        self.zone = zone;
        self
    }
    /// Misbehaviour of the first sink; see [`bench::sink::RULE_HELP`].
    pub fn sink(self, rules: &[&str]) -> Plan {
        let rules = rules.iter().map(|r| r.parse().unwrap_or_else(|e| panic!("{r}: {e}"))).collect();
        self.sink_options(|options| options.rules = rules)
    }
    /// Changes the first sink.
    pub fn sink_options(mut self, change: impl FnOnce(&mut SinkOptions)) -> Plan {
        change(&mut self.sinks[0]);
        self
    }
    /// One more sink, at this loopback address and the port of the first.
    pub fn sink_at(mut self, ip: [u8; 4], change: impl FnOnce(&mut SinkOptions)) -> Plan {
        let bind = vec![Address::Tcp(SocketAddr::new(ip.into(), 0))];
        let mut options = SinkOptions { hostname: "mx.test".into(), bind, ..SinkOptions::default() };
        change(&mut options);
        self.sinks.push(options);
        self
    }

    /// Starts everything.
    #[track_caller]
    pub fn start(self) -> World {
        let (world, error) = self.try_start();
        match error {
            None => world,
            Some(error) => panic!("the engine does not start: {error}"),
        }
    }

    /// Starts everything; if the engine does not, says why.
    #[track_caller]
    pub fn try_start(self) -> (World, Option<StartError>) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let dns = LocalDns::start(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0), self.zone).expect("a DNS server");
        let mut sinks: Vec<Site> = Vec::new();
        for mut options in self.sinks {
            if let (Some(first), [Address::Tcp(address)]) = (sinks.first(), &mut options.bind[..]) {
                address.set_port(first.port());
            }
            sinks.push(Site::start(options));
        }
        let listeners = match self.listeners.is_empty() {
            true => "[[listener]]\nbind = \"127.0.0.1:0\"\n".to_owned(),
            false => self.listeners.concat(),
        };
        let config_text = format!(
            "hostname = \"mta.home.test\"\ndata_dir = \"{data_dir}\"\n{listeners}\
             [admin]\nbind = \"off\"\n[dns]\nnameservers = [\"{nameserver}\"]\n{dns_keys}\
             [delivery]\nport = {port}\nworkers = 2\nip_family = \"ipv4\"\n{delivery}{config}",
            data_dir = dir.path().join("data").display(),
            nameserver = dns.address(),
            dns_keys = self.dns,
            port = sinks[0].port(),
            delivery = self.delivery,
            config = self.config,
        )
        .replace("DIR", &dir.path().display().to_string())
        .replace("PORT", &sinks[0].port().to_string());
        std::fs::create_dir(dir.path().join("data")).expect("a data_dir");
        for (name, text) in self.files {
            std::fs::write(dir.path().join(name), text).expect("a writable directory");
        }
        let mut world = World { engine: None, config_text, dns, sinks, dir };
        let error = world.try_start_engine().err();
        (world, error)
    }
}

impl Site {
    fn start(options: SinkOptions) -> Site {
        let (sender, inbox) = unbounded();
        let keep = Keep { channel: Some(sender), ..options.keep };
        let handle = Sink::start(SinkOptions { keep, ..options }).expect("a sink");
        Site { handle, inbox, received: Mutex::default() }
    }
    /// 0 for a Unix socket.
    pub fn port(&self) -> u16 {
        match &self.handle.addresses()[0] {
            Address::Tcp(address) => address.port(),
            Address::Unix(_) => 0,
        }
    }
    /// Everything received so far.
    pub fn received(&self) -> MutexGuard<'_, Vec<Received>> {
        let mut received = self.received.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        received.extend(self.inbox.try_iter());
        received
    }
    /// Replaces the rules.
    pub fn obey(&self, rules: &[&str]) {
        self.handle.set_rules(rules.iter().map(|r| r.parse().unwrap_or_else(|e| panic!("{r}: {e}"))).collect());
    }
    /// How often this recipient got something.
    pub fn copies(&self, recipient: &str) -> usize {
        self.received().iter().flat_map(|message| &message.recipients).filter(|r| *r == recipient).count()
    }
}

impl World {
    /// The configuration as the engine reads it, with these tables for the first ones of the plan.
    fn config(&self, text: &str) -> Arc<Config> {
        let mut config = Config::parse(text, "test.toml").unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        // The disk has other tests to serve.
        config.queue.prepare_bytes = 0;
        Arc::new(config)
    }

    pub fn try_start_engine(&mut self) -> Result<(), StartError> {
        self.engine = Some(Engine::start(self.config(&self.config_text))?);
        Ok(())
    }
    /// Another engine, on this `data_dir`; expected to fail.
    pub fn start_another(&self, data_dir: &Path) -> Result<Engine, StartError> {
        let here = self.data_dir().display().to_string();
        Engine::start(self.config(&self.config_text.replace(&here, &data_dir.display().to_string())))
    }
    /// Starts the engine again, on the same `data_dir`.
    #[track_caller]
    pub fn start_engine(&mut self) {
        assert!(self.engine.is_none(), "it runs");
        self.try_start_engine().unwrap_or_else(|error| panic!("the engine does not start again: {error}"));
    }
    /// Stops the engine, in good order.
    #[track_caller]
    pub fn stop_engine(&mut self) {
        self.engine.take().expect("it runs").shut_down(PATIENCE).expect("an orderly end");
    }
    /// SIGHUP, with a part of the configuration replaced.
    #[track_caller]
    pub fn reload(&mut self, old: &str, new: &str) {
        assert!(self.config_text.contains(old), "{old} is not in the configuration");
        self.config_text = self.config_text.replace(old, new);
        self.engine().handle().reload(self.config(&self.config_text)).expect("passwords that can be read");
    }
    /// An operator's `posthaste queue retry`, for everything.
    pub fn retry(&self) {
        self.engine().handle().operate(Wish::Retry, None, |_, _| true).expect("a queue that can be read");
    }
    /// Starts one more sink, at this loopback address and the port of the first.
    pub fn open_sink_at(&mut self, ip: IpAddr) {
        let bind = vec![Address::Tcp(SocketAddr::new(ip, self.sink().port()))];
        self.sinks.push(Site::start(SinkOptions { bind, ..SinkOptions::default() }));
    }
    pub fn take_engine(&mut self) -> Engine {
        self.engine.take().expect("it runs")
    }
    pub fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("it runs")
    }
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
    /// The first sink.
    pub fn sink(&self) -> &Site {
        &self.sinks[0]
    }

    /// Connects to the first listener.
    #[track_caller]
    pub fn connect(&self) -> Injector {
        self.connect_to(0)
    }
    /// Connects to the n-th listener.
    #[track_caller]
    pub fn connect_to(&self, n: usize) -> Injector {
        Injector::connect(&self.address(n)).expect("the listener is bound")
    }
    /// Where the n-th listener is bound.
    pub fn address(&self, n: usize) -> SocketName {
        self.engine().addresses()[n].clone()
    }

    /// Sends a message over a connection of its own; returns its id.
    #[track_caller]
    pub fn inject(&self, from: &str, to: &[&str], body: &str) -> String {
        let mut injector = self.connect().greet();
        let id = queued_as(&injector.send(from, to, body.as_bytes()));
        injector.expect("QUIT", "221 ");
        id
    }
    /// Sends a short message from [`SENDER`].
    #[track_caller]
    pub fn send(&self, to: &[&str]) -> String {
        self.inject(SENDER, to, "Subject: hello\r\n\r\nHello.\r\n")
    }

    /// The same, over a listener with implicit TLS that shows this certificate.
    #[track_caller]
    pub fn send_with_tls(&self, made: &Made, to: &[&str]) -> String {
        let mut injector = self.connect().encrypt(made.client()).expect("a handshake").greet();
        queued_as(&injector.send(SENDER, to, b"Subject: hello\r\n\r\nHello.\r\n"))
    }

    /// Waits until something holds.
    #[track_caller]
    pub fn until(&self, what: &str, mut holds: impl FnMut(&World) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds(self) {
            let shown = || self.events().iter().map(|event| format!("{event}\n")).collect::<String>();
            assert!(Instant::now() < end, "it never came true: {what}\nevents:\n{}", shown());
            std::thread::sleep(GLANCE);
        }
    }
    /// Waits for a message to this recipient, at any sink.
    #[track_caller]
    pub fn expect_delivered(&self, recipient: &str) -> Received {
        self.until(&format!("{recipient} gets a message"), |world| world.copies(recipient) > 0);
        let found = |site: &Site| {
            let received = site.received();
            received.iter().find(|message| message.recipients.iter().any(|r| r == recipient)).cloned()
        };
        self.sinks.iter().find_map(found).expect("it was there just now")
    }
    /// Waits until all of these have one message each.
    #[track_caller]
    pub fn expect_all_delivered(&self, recipients: &[&str]) {
        for recipient in recipients {
            self.expect_delivered(recipient);
        }
    }
    /// How often this recipient got something, over all sinks.
    pub fn copies(&self, recipient: &str) -> usize {
        self.sinks.iter().map(|site| site.copies(recipient)).sum()
    }
    /// Waits for a failure notice to [`SENDER`]; returns its text.
    #[track_caller]
    pub fn expect_notice(&self) -> String {
        let notice = self.expect_delivered(SENDER);
        assert_eq!(notice.reverse_path, "", "notices have the null reverse-path");
        let text = String::from_utf8_lossy(&notice.body).into_owned();
        assert!(text.contains("multipart/report"), "{text}");
        text
    }

    /// The event log so far, whole lines only. Written twice a second.
    pub fn events(&self) -> Vec<Value> {
        account::events(&self.data_dir())
    }
    /// Waits for an event of this kind about this recipient.
    #[track_caller]
    pub fn expect_event(&self, kind: &str, recipient: &str) -> Value {
        let find = |world: &World| {
            world.events().into_iter().find(|event| event["event"] == kind && event["recipient"] == recipient)
        };
        let mut found = None;
        self.until(&format!("{recipient} is {kind}"), |world| {
            found = find(world);
            found.is_some()
        });
        found.expect("it was there just now")
    }
    /// How many events of this kind there are about this recipient.
    pub fn count_events(&self, kind: &str, recipient: &str) -> usize {
        let is_it = |event: &&Value| event["event"] == kind && event["recipient"] == recipient;
        self.events().iter().filter(is_it).count()
    }
    /// The queue's counts.
    pub fn stats(&self) -> queue::Stats {
        self.engine().handle().queue().stats()
    }
    /// Waits until nothing is queued.
    #[track_caller]
    pub fn expect_empty(&self) {
        self.until("the queue is empty", |world| world.stats().recipients == 0);
    }

    /// Ends the scenario: the engine stops in good order, and what it said adds up: every accepted recipient ended once or
    /// is still queued; what was delivered arrived, and arrived once unless a copy was in doubt.
    #[track_caller]
    pub fn finish(mut self) {
        let queue = self.engine().handle().queue().clone();
        self.stop_engine();
        account::check(&self.events(), &self.sinks, queue.stats().recipients);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.take() {
            // A scenario that failed or that wants no more; nobody asks how it ends.
            let _ = engine.shut_down(Duration::ZERO);
        }
    }
}

/// An address of the loopback network.
pub fn loopback(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}
