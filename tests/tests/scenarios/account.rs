//! The account at the end of a scenario: promises 2 and 3 of the design, told by the event log and the sinks.

use super::world::Site;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// The event log of a `data_dir`, whole lines only.
pub fn events(data_dir: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(data_dir.join("events.jsonl")).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// What happened to one recipient of one message.
#[derive(Debug, Default)]
struct Fate {
    accepted: u32,
    delivered: u32,
    ended: u32,
    in_doubt: u32,
}

/// Every recipient of the log was accepted once and ended at most once; those that did not end are the queued ones; and
/// the sinks have what was delivered, once each but for copies in doubt.
#[track_caller]
pub fn check(events: &[Value], sinks: &[Site], queued: u64) {
    let mut fates: BTreeMap<(String, String), Fate> = BTreeMap::new();
    for event in events {
        let word = |key: &str| event[key].as_str().unwrap_or_else(|| panic!("no {key}: {event}")).to_owned();
        let fate = fates.entry((word("id"), word("recipient"))).or_default();
        fate.in_doubt += u32::from(event["in_doubt"] == true);
        match event["event"].as_str() {
            Some("accepted") => fate.accepted += 1,
            Some("delivered") => {
                fate.delivered += 1;
                fate.ended += 1;
            }
            Some("bounced" | "expired" | "removed") => fate.ended += 1,
            _ => {}
        }
    }
    let mut open = 0;
    for (who, fate) in &fates {
        assert_eq!(fate.accepted, 1, "{who:?}: {fate:?}");
        assert!(fate.ended <= 1, "{who:?}: {fate:?}");
        open += u64::from(fate.ended == 0);
    }
    assert_eq!(open, queued, "what has not ended is still queued");
    for (recipient, (least, most)) in expected_copies(&fates) {
        let copies = sinks.iter().map(|site| site.copies(&recipient)).sum::<usize>() as u32;
        assert!((least..=most).contains(&copies), "{recipient} has {copies} copies, not {least} to {most}");
    }
}

/// By recipient, over all messages.
fn expected_copies(fates: &BTreeMap<(String, String), Fate>) -> BTreeMap<String, (u32, u32)> {
    let mut expected: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    for ((_, recipient), fate) in fates {
        let (least, most) = expected.entry(recipient.clone()).or_default();
        *least += fate.delivered;
        *most += fate.delivered + fate.in_doubt;
    }
    expected
}
