//! From the bytes of a question to the bytes of its answer. No sockets.

use super::zone::{Answer, DEFAULT_TTL, Zone};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::time::Duration;

/// Aliases followed within the zone before giving up on the chain.
const MAX_ALIASES: usize = 8;
/// What a client that says nothing takes over UDP (RFC 1035 §2.3.4).
const PLAIN_UDP_BYTES: u16 = 512;
/// What we say that we take.
const OUR_UDP_BYTES: u16 = 1232;

/// How a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// A question that was understood.
pub(super) struct Answered {
    pub(super) kind: RecordType,
    /// `None`: silence.
    pub(super) bytes: Option<Vec<u8>>,
    pub(super) delay: Duration,
}

/// Answers a question. `None`: it is none.
pub(super) fn answer(question: &[u8], zone: &Zone, transport: Transport) -> Option<Answered> {
    let question = Message::from_vec(question).ok()?;
    if question.metadata.message_type != MessageType::Query {
        return None;
    }
    let mut reply = Message::response(question.metadata.id, question.metadata.op_code);
    reply.metadata.recursion_desired = question.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    let limit = question.edns.as_ref().map_or(PLAIN_UDP_BYTES, Edns::max_payload);
    if question.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(OUR_UDP_BYTES);
        reply.set_edns(edns);
    }
    let query = question.queries.first()?.clone();
    let kind = query.query_type();
    reply.add_query(query.clone());
    let (speaks, delay) = if question.metadata.op_code == OpCode::Query {
        fill(&mut reply, &query, zone)
    } else {
        reply.metadata.response_code = ResponseCode::NotImp;
        (true, Duration::ZERO)
    };
    let bytes = if speaks { Some(encode(&reply, limit, transport)?) } else { None };
    Some(Answered { kind, bytes, delay })
}

/// Puts in what the zone says; whether to speak at all, and after how long.
fn fill(reply: &mut Message, query: &Query, zone: &Zone) -> (bool, Duration) {
    let kind = query.query_type();
    let mut asked = query.name().clone();
    let mut ttl = ttl_seconds(DEFAULT_TTL);
    let mut delay = Duration::ZERO;
    reply.metadata.authoritative = true;
    for _ in 0..MAX_ALIASES {
        let Some(rule) = zone.rule(&asked) else {
            reply.metadata.response_code = ResponseCode::NXDomain;
            break;
        };
        ttl = ttl_seconds(rule.ttl);
        delay = delay.max(rule.delay);
        reply.metadata.response_code = match rule.answer {
            Answer::Records(_) => ResponseCode::NoError,
            Answer::NxDomain => ResponseCode::NXDomain,
            Answer::ServFail => ResponseCode::ServFail,
            Answer::Refused => ResponseCode::Refused,
            Answer::Silence => return (false, delay),
        };
        let records = rule.matching(&asked, kind);
        let alias = records.iter().find_map(|data| match data {
            RData::CNAME(alias) if kind != RecordType::CNAME => Some(alias.0.clone()),
            _ => None,
        });
        reply.add_answers(records.into_iter().map(|data| Record::from_rdata(asked.clone(), ttl, data)));
        match alias {
            Some(alias) => asked = alias,
            None => break,
        }
    }
    let says_no = matches!(reply.metadata.response_code, ResponseCode::NXDomain | ResponseCode::NoError);
    if says_no && !reply.answers.iter().any(|record| record.record_type() == kind) {
        reply.add_authority(start_of_authority(ttl));
    }
    (true, delay)
}

fn ttl_seconds(ttl: Duration) -> u32 {
    u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX)
}

/// How long a "no" holds (RFC 2308 §5).
fn start_of_authority(ttl: u32) -> Record {
    let soa = SOA::new(Name::root(), Name::root(), 1, 3600, 600, 86_400, ttl);
    Record::from_rdata(Name::root(), ttl, RData::SOA(soa))
}

fn encode(reply: &Message, limit: u16, transport: Transport) -> Option<Vec<u8>> {
    let bytes = reply.to_vec().ok()?;
    if transport == Transport::Udp && bytes.len() > usize::from(limit) {
        return reply.truncate().to_vec().ok();
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Rule;

    fn ask(zone: &Zone, asked: &str, kind: RecordType, transport: Transport) -> Option<Message> {
        let mut question = Message::query();
        question.add_query(Query::query(Name::from_ascii(asked).unwrap(), kind));
        let answered = answer(&question.to_vec().unwrap(), zone, transport).unwrap();
        let reply = Message::from_vec(&answered.bytes?).unwrap();
        assert_eq!(reply.metadata.id, question.metadata.id);
        assert_eq!(reply.queries, question.queries);
        Some(reply)
    }

    #[test]
    fn rules_become_messages() {
        let zone = Zone::default()
            .with("a.example", Rule::records().address([192, 0, 2, 1].into()).mx(5, "a.example"))
            .with("alias.example", Rule::records().cname("a.example"))
            .with("dangling.example", Rule::records().cname("nowhere.example"))
            .with("circle.example", Rule::records().cname("circle.example"))
            .with("null.example", Rule::records().mx(0, "."))
            .with("broken.example", Rule::servfail())
            .with("shut.example", Rule::refused())
            .with("gone.example", Rule::nxdomain());
        use ResponseCode::*;
        let cases = [
            ("a.example.", RecordType::A, NoError, 1, 0),
            ("A.EXAMPLE.", RecordType::MX, NoError, 1, 0),
            ("a.example.", RecordType::AAAA, NoError, 0, 1),
            ("alias.example.", RecordType::MX, NoError, 2, 0),
            ("alias.example.", RecordType::AAAA, NoError, 1, 1),
            ("dangling.example.", RecordType::A, NXDomain, 1, 1),
            ("circle.example.", RecordType::A, NoError, MAX_ALIASES, 1),
            ("null.example.", RecordType::MX, NoError, 1, 0),
            ("broken.example.", RecordType::MX, ServFail, 0, 0),
            ("shut.example.", RecordType::MX, Refused, 0, 0),
            ("gone.example.", RecordType::MX, NXDomain, 0, 1),
            ("unknown.example.", RecordType::MX, NXDomain, 0, 1),
        ];
        for (asked, kind, code, answers, authorities) in cases {
            let reply = ask(&zone, asked, kind, Transport::Udp).unwrap();
            let got = (reply.metadata.response_code, reply.answers.len(), reply.authorities.len());
            assert_eq!(got, (code, answers, authorities), "{asked} {kind}");
        }
    }

    #[test]
    fn silence_is_silent_and_garbage_is_ignored() {
        let zone = Zone::default().with("*", Rule::silence());
        assert!(ask(&zone, "a.example.", RecordType::A, Transport::Udp).is_none());
        for garbage in [&b""[..], b"x", &[0xff; 40]] {
            assert!(answer(garbage, &zone, Transport::Udp).is_none());
        }
    }

    #[test]
    fn what_does_not_fit_a_datagram_is_truncated() {
        let many =
            (0..40).fold(Rule::records(), |rule, n| rule.mx(n, &format!("a-rather-long-host-name-{n}.example.net")));
        let zone = Zone::default().with("big.example", many);
        let udp = ask(&zone, "big.example.", RecordType::MX, Transport::Udp).unwrap();
        assert!(udp.metadata.truncation && udp.answers.is_empty());
        let tcp = ask(&zone, "big.example.", RecordType::MX, Transport::Tcp).unwrap();
        assert_eq!((tcp.metadata.truncation, tcp.answers.len()), (false, 40));
    }
}
