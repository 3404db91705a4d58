//! The load generator against the sink, in one process over loopback: what is promised arrives once and unchanged,
//! however it travels and whatever the sink does on the way.

use posthaste_bench::Address;
use posthaste_bench::load::{Domains, Load, LoadError, LoadOptions, LoadReport, normalise};
use posthaste_bench::proof::Proof;
use posthaste_bench::sink::{Keep, Sink, SinkHandle, SinkOptions, SinkReport};
use smtp::client::Pipelining;
use smtp::server::Protocol;
use socket2::SockRef;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

fn sink(rules: &[&str]) -> SinkOptions {
    SinkOptions {
        keep: Keep { numbers: true, check: true, ..Keep::default() },
        rules: rules.iter().map(|text| text.parse().unwrap()).collect(),
        ..SinkOptions::default()
    }
}

fn load(messages: u64) -> LoadOptions {
    LoadOptions {
        messages,
        connections: 4,
        size: 3000,
        domains: Domains::Pattern { pattern: "d%N.test".into(), count: 7 },
        timeout: Some(Duration::from_secs(60)),
        ..LoadOptions::default()
    }
}

struct Outcome {
    load: LoadReport,
    sink: SinkReport,
    proof: Proof,
}

fn run(sink: SinkOptions, load: LoadOptions) -> Outcome {
    let sink = Sink::start(sink).unwrap();
    run_with(sink, load)
}

fn run_with(sink: SinkHandle, load: LoadOptions) -> Outcome {
    let asked = load.messages * load.recipients_per_message;
    let to = sink.addresses()[0].clone();
    let report = Load::run(LoadOptions { to, ..load }, |_| {}).unwrap();
    let proof = sink.tally().unwrap().prove(&report.acknowledged, asked);
    Outcome { load: report, sink: sink.stop().unwrap(), proof }
}

impl Outcome {
    /// Everything was acknowledged and arrived exactly once.
    #[track_caller]
    fn assert_perfect(&self, messages: u64, recipients: u64) {
        assert_eq!((self.load.messages, self.load.recipients), (messages, recipients), "{:?}", self.load);
        let all = Proof { expected: recipients, received: recipients, ..Proof::default() };
        assert_eq!(self.proof, all, "{:?}", self.load);
        assert_eq!((self.sink.counters.corrupted, self.sink.counters.unstamped), (0, 0));
        assert_eq!((self.load.in_doubt, self.load.unfinished), (0, 0), "{:?}", self.load);
        assert!(self.load.refused.is_empty(), "{:?}", self.load);
    }
}

#[test]
fn every_way_of_speaking_delivers_once_and_unchanged() {
    for pipelining in [Pipelining::Off, Pipelining::Transaction, Pipelining::Stream] {
        for chunking in [false, true] {
            for recipients_per_message in [1, 3] {
                let options = LoadOptions { pipelining, chunking, recipients_per_message, ..load(60) };
                run(sink(&[]), options).assert_perfect(60, 60 * recipients_per_message);
            }
        }
    }
}

#[test]
fn the_reports_add_up() {
    let result = run(sink(&[]), load(50));
    assert_eq!(result.sink.counters.bytes, 50 * 3000);
    assert_eq!(result.load.bytes, 50 * 3000);
    assert_eq!(result.sink.counters.connections_opened, 4);
    assert_eq!(result.sink.counters.messages, 50);
    assert!(result.load.latency_ms.p50 > 0.0 && result.load.latency_ms.max >= result.load.latency_ms.p99);
    assert!(result.sink.latency_ms.unwrap().max > 0.0);
    // Both ends tell the time by the same clock, so that a stretch can be measured from one to the other.
    let (first, last) = (result.sink.counters.first_received, result.sink.counters.last_received);
    assert!(result.load.started > 1.7e9 && result.load.started - 0.01 <= first && first <= last);
    assert!(result.load.seconds > 0.0 && result.load.cpu_seconds > 0.0 && result.sink.cpu_seconds > 0.0);
    let json = serde_json::to_value(&result.load).unwrap();
    for key in ["messages", "recipients", "seconds", "messages_per_second", "latency_ms", "cpu_ms_per_message"] {
        assert!(json.get(key).is_some(), "{key}");
    }
    assert!(json["latency_ms"].get("p999").is_some());
}

#[test]
fn many_threads_share_the_work() {
    let options = LoadOptions { threads: 2, connections: 5, ..load(200) };
    run(SinkOptions { threads: 3, ..sink(&[]) }, options).assert_perfect(200, 200);
}

#[test]
fn unix_sockets_work_and_leave_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sink.sock");
    let bind = vec![posthaste_bench::Address::Unix(path.clone())];
    run(SinkOptions { bind, ..sink(&[]) }, load(60)).assert_perfect(60, 60);
    assert!(!path.exists());
}

#[test]
fn lmtp_answers_for_each_recipient() {
    let rules = ["final to=u*1@* reply 550 5.1.1 no such mailbox"];
    let options = SinkOptions { protocol: Protocol::Lmtp, ..sink(&rules) };
    let load = LoadOptions { protocol: Protocol::Lmtp, recipients_per_message: 10, ..load(6) };
    let result = run(options, load);
    assert_eq!(result.load.refused[&550], 6);
    assert_eq!((result.load.recipients, result.proof.received, result.proof.lost), (54, 54, 0));
}

#[test]
fn a_rate_is_kept() {
    let start = std::time::Instant::now();
    run(sink(&[]), LoadOptions { rate: Some(200.0), ..load(30) }).assert_perfect(30, 30);
    // 30 messages at 5 ms each cannot be through before the last is due.
    assert!(start.elapsed() >= Duration::from_millis(29 * 5));
}

#[test]
fn a_corpus_is_sent_in_turn_octet_by_octet() {
    let directory = tempfile::tempdir().unwrap();
    let texts = ["Subject: a\n\n.dot\n..two\n", "Subject: b\r\n\r\nno end", ".\r\n.\r\n"];
    for (index, text) in texts.iter().enumerate() {
        std::fs::write(directory.path().join(format!("{index}.eml")), text).unwrap();
    }
    for chunking in [false, true] {
        let (sender, received) = crossbeam_channel::unbounded();
        let keep = Keep { channel: Some(sender), numbers: true, ..Keep::default() };
        let corpus = Some(directory.path().to_owned());
        let options = LoadOptions { corpus, stamp: false, connections: 1, chunking, ..load(6) };
        run(SinkOptions { keep, ..sink(&[]) }, options);
        let bodies: Vec<_> = received.try_iter().map(|message| message.body.to_vec()).collect();
        let expected: Vec<_> = texts.iter().chain(&texts).map(|text| normalise(text.as_bytes())).collect();
        assert_eq!(bodies, expected, "chunking {chunking}");
    }
}

#[test]
fn messages_can_be_kept_in_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let keep = Keep { directory: Some(directory.path().to_owned()), numbers: true, ..Keep::default() };
    run(SinkOptions { keep, ..sink(&[]) }, load(3));
    let envelope = std::fs::read_to_string(directory.path().join("00000002.json")).unwrap();
    let envelope: serde_json::Value = serde_json::from_str(&envelope).unwrap();
    assert_eq!(envelope["reverse_path"], "load@posthaste.test");
    assert_eq!(envelope["hello"], "load.posthaste.test");
    assert_eq!(std::fs::read(directory.path().join("00000000.eml")).unwrap().len(), 3000);
}

/// Whatever goes wrong before the content was taken, the generator tries again and nothing is lost or doubled.
#[test]
fn trouble_is_overcome() {
    for rule in [
        "connect first=3 close",
        "connect every=2 first=4 reset",
        "greeting first=2 reply 421 4.3.2 not now",
        "greeting first=2 reply 554 5.3.2 never",
        "greeting first=1 garbage",
        "hello first=1 reply 502 5.5.1 what is EHLO",
        "hello first=1 close",
        "mail every=5 reply 452 4.3.1 full",
        "mail every=9 reply 421 4.3.0 going down",
        "rcpt to=*@d3.test first=4 reply 451 4.7.1 greylisted",
        "data every=6 reply 451 4.3.0 not now",
        "final every=5 reply 452 4.3.1 full after all",
        "final every=4 delay=5ms ok",
        "mail every=4 delay=5ms ok",
        "hello delay=5ms ok",
        "body bytes=500 every=4 delay=5ms ok",
        "idle messages=3 close",
        "idle messages=3 reset",
        "idle messages=2 reply 421 4.7.0 enough",
    ] {
        for (pipelining, chunking) in
            [(Pipelining::Off, false), (Pipelining::Transaction, false), (Pipelining::Transaction, true)]
        {
            if chunking && rule.starts_with("idle") {
                // The next message may be on its way whole: then it is in doubt, and rightly so.
                continue;
            }
            let options = LoadOptions { pipelining, chunking, ..load(60) };
            // Shown when it fails.
            eprintln!("{rule}, {pipelining:?}, chunking {chunking}");
            run(sink(&[rule]), options).assert_perfect(60, 60);
        }
    }
}

/// A connection that breaks when all content is on its way leaves a message in doubt; it is not sent twice.
#[test]
fn what_may_have_arrived_is_not_sent_again() {
    for rule in [
        "rcpt every=7 close",
        "data every=8 reset",
        "body bytes=1000 every=6 first=5 close",
        "body bytes=1000 every=6 first=5 reset",
    ] {
        for chunking in [false, true] {
            eprintln!("{rule}, chunking {chunking}");
            let Outcome { load, proof, .. } = run(sink(&[rule]), LoadOptions { chunking, ..load(60) });
            assert_eq!((load.messages + load.in_doubt, load.unfinished), (60, 0), "{load:?}");
            assert_eq!(proof, Proof { expected: load.messages, received: load.messages, ..Proof::default() });
            let content_sent = chunking || rule.starts_with("body");
            assert_eq!(load.in_doubt > 0, content_sent, "{load:?}");
        }
    }
}

#[test]
fn what_is_refused_for_good_is_counted_and_never_arrives() {
    for (rule, code) in [
        ("mail every=3 reply 550 5.7.1 no", 550),
        ("rcpt every=3 reply 553 5.1.1 no", 553),
        ("data every=3 reply 554 5.0.0 no", 554),
        ("final every=3 reply 552 5.2.2 no", 552),
    ] {
        let result = run(sink(&[rule]), load(30));
        assert_eq!(result.load.refused.get(&code), Some(&10), "{rule}: {:?}", result.load);
        assert_eq!((result.load.messages, result.proof.received, result.proof.lost), (20, 20, 0), "{rule}");
        assert_eq!(result.sink.counters.refused.values().sum::<u64>(), 10, "{rule}");
    }
}

#[test]
fn a_sink_that_takes_mail_and_dies_leaves_doubt() {
    for rule in ["final every=4 keep close", "final every=4 keep reset"] {
        let result = run(sink(&[rule]), load(20));
        assert_eq!((result.load.messages, result.load.in_doubt), (15, 5), "{rule}: {:?}", result.load);
        assert_eq!((result.proof.received, result.proof.unpromised, result.proof.lost), (20, 5, 0), "{rule}");
    }
}

#[test]
fn a_sink_that_lies_is_found_out() {
    let result = run(sink(&["final every=4 lose"]), load(20));
    assert_eq!((result.load.messages, result.proof.lost, result.proof.received), (20, 5, 15));
}

#[test]
fn a_sink_that_keeps_what_it_defers_makes_doubles() {
    let result = run(sink(&["final first=5 keep reply 451 4.3.0 again"]), load(20));
    assert_eq!((result.load.messages, result.proof.doubled, result.proof.copies), (20, 5, 5));
}

#[test]
fn a_longer_wire_does_not_hold_pipelined_transactions_up() {
    let options = |pipelining| LoadOptions { pipelining, window: 32, connections: 1, ..load(32) };
    let far = || SinkOptions { reply_delay: Duration::from_millis(20), ..sink(&[]) };
    let stream = run(far(), options(Pipelining::Stream));
    stream.assert_perfect(32, 32);
    let turns = run(far(), options(Pipelining::Transaction));
    turns.assert_perfect(32, 32);
    // One after the other needs 32 round trips by construction.
    assert!(turns.load.seconds > 32.0 * 0.02 && stream.load.seconds < turns.load.seconds);
}

#[test]
fn a_run_ends_at_its_timeout_and_says_what_it_does_not_know() {
    let options = LoadOptions { timeout: Some(Duration::from_millis(200)), ..load(20) };
    let result = run(sink(&["final stall"]), options);
    assert_eq!((result.load.messages, result.load.in_doubt, result.load.unfinished), (0, 4, 16));
}

#[test]
fn a_run_can_be_stopped() {
    let options = load(u64::MAX / 1000);
    let sink = Sink::start(sink(&[])).unwrap();
    let (to, stop) = (sink.addresses()[0].clone(), options.stop.clone());
    let report = Load::run(LoadOptions { to, ..options }, |progress| {
        if progress.messages > 0 {
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    });
    let report = report.unwrap();
    assert!(report.messages > 0 && report.in_doubt == 0);
    assert_eq!(report.messages, sink.stop().unwrap().counters.messages);
}

/// Its last reply and its end come together; it is not there any more for another connection.
#[test]
fn a_server_that_leaves_with_the_last_message_has_taken_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = Address::Tcp(listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        drop(listener);
        let say = |replies: &str| (&stream).write_all(replies.as_bytes()).unwrap();
        let hear_until = |end: &str| {
            let (mut heard, mut octet) = (Vec::new(), [0]);
            while !heard.ends_with(end.as_bytes()) {
                (&stream).read_exact(&mut octet).unwrap();
                heard.push(octet[0]);
            }
        };
        say("220 x.test ESMTP\r\n");
        hear_until("\r\n");
        say("250 x.test\r\n");
        for reply in ["250 Ok\r\n", "250 Ok\r\n", "354 Go ahead\r\n"] {
            hear_until("\r\n");
            say(reply);
        }
        hear_until("\r\n.\r\n");
        SockRef::from(&stream).set_tcp_cork(true).unwrap();
        say("250 Ok\r\n");
    });
    let report = Load::run(LoadOptions { to, connections: 1, patience: Duration::from_secs(1), ..load(1) }, |_| {});
    server.join().unwrap();
    assert_eq!(report.unwrap().messages, 1);
}

#[test]
fn nobody_there_is_an_error() {
    // A listener that has gone leaves a port where nobody is.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = LoadOptions { to: address.into(), patience: Duration::from_millis(100), ..load(1) };
    let error = Load::run(options, |_| {}).unwrap_err();
    assert!(matches!(error, LoadError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[test]
fn rules_change_while_it_runs() {
    let sink = Sink::start(sink(&["mail reply 451 4.3.0 not now"])).unwrap();
    let to = sink.addresses()[0].clone();
    let mut healed = false;
    let report = Load::run(LoadOptions { to, ..load(20) }, |progress| {
        if progress.deferred > 0 && !healed {
            healed = true;
            sink.set_rules(vec!["rcpt every=2 reply 452 4.2.2 slow".parse().unwrap()]);
        }
    });
    let report = report.unwrap();
    assert_eq!(report.messages, 20);
    assert!(report.deferred[&451] > 0 && report.deferred[&452] > 0);
}
