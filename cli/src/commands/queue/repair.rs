//! `posthaste queue repair`.

use crate::exit::{Exit, Failure};
use crate::{daemon, terminal};
use queue::{EntryKey, LostMessage, Options, QueueError, Repaired};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Repair {
    /// The daemon's data directory; default: as its configuration says
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Repair {
    pub(super) fn run(self, config: Option<&PathBuf>, json: bool) -> Result<Exit, Failure> {
        let data_dir = daemon::data_dir(self.data_dir, config)?;
        let mut report = Vec::new();
        let repaired = queue::repair(&Options::new(data_dir.join("queue")), &mut report)
            .map_err(|error| failure(&data_dir, &error))?;
        if json {
            terminal::print_json(&summary(&repaired))?;
        } else {
            terminal::print(&String::from_utf8_lossy(&report))?;
        }
        Ok(Exit::Done)
    }
}

fn failure(data_dir: &Path, error: &QueueError) -> Failure {
    match error {
        QueueError::Locked { .. } => Failure::new(Exit::Unavailable, format!("{error}: stop it first")),
        QueueError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            let message = format!("there is no queue in {}; --data-dir names another place", data_dir.display());
            Failure::new(Exit::NoInput, message)
        }
        QueueError::Io { .. } => Failure::new(Exit::Io, error.to_string()),
        _ => Failure::new(Exit::Data, error.to_string()),
    }
}

fn summary(repaired: &Repaired) -> Value {
    let range = |(file, from, bytes): &(String, u64, u64)| json!({ "file": file, "from": from, "bytes": bytes });
    let lost = |key: &EntryKey| json!({ "id": key.id.to_string(), "domain": key.domain.as_str() });
    json!({
        "groups": repaired.groups,
        "mended": repaired.mended,
        "ranges": repaired.ranges.iter().map(range).collect::<Vec<Value>>(),
        "unknown": repaired.unknown.iter().map(range).collect::<Vec<Value>>(),
        "lost_messages": repaired.lost.iter().map(lost_message).collect::<Vec<Value>>(),
        "rescued": repaired.recovery.rescued,
        "lost": repaired.recovery.lost.iter().map(lost).collect::<Vec<Value>>(),
        "entries": repaired.recovery.entries,
        "recipients": repaired.recovery.recipients,
    })
}

fn lost_message(message: &LostMessage) -> Value {
    let recipients: Vec<&str> = message.recipients.iter().map(|(_, recipient)| recipient.as_str()).collect();
    json!({
        "id": message.id.to_string(),
        "sender": message.sender,
        "recipients": recipients,
        "file": message.segment,
        "from": message.offset,
        "certain": message.is_certain,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use queue::Queue;

    #[test]
    fn a_queue_in_use_is_left_alone_and_a_sound_one_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let repair = || Repair { data_dir: Some(dir.path().into()) }.run(None, true);
        assert_eq!(repair().unwrap_err().exit, Exit::NoInput);
        let (queue, _) = Queue::open(Options::new(dir.path().join("queue"))).unwrap();
        let refused = repair().unwrap_err();
        assert!(refused.exit == Exit::Unavailable && refused.message.ends_with("stop it first"), "{refused:?}");
        queue.close().unwrap();
        assert_eq!(repair(), Ok(Exit::Done));
    }

    #[test]
    fn what_was_given_up_is_told() {
        let key = EntryKey {
            domain: queue::Domain::new("a.example"),
            flow: queue::Flow::default(),
            due_ms: 1,
            id: queue::MessageId(32),
        };
        let mut repaired =
            Repaired { ranges: vec![("0000000001.seg".into(), 4096, 512)], groups: 3, ..Repaired::default() };
        repaired.recovery.lost.push(key);
        repaired.lost.push(LostMessage {
            segment: "0000000001.seg".into(),
            offset: 4136,
            id: queue::MessageId(33),
            sender: "s@b.example".into(),
            recipients: vec![(queue::Domain::new("c.example"), "r@c.example".into())],
            is_certain: true,
        });
        let expected = concat!(
            r#"{"entries":0,"groups":3,"lost":[{"domain":"a.example","id":"0000000000010"}],"#,
            r#""lost_messages":[{"certain":true,"file":"0000000001.seg","from":4136,"id":"0000000000011","#,
            r#""recipients":["r@c.example"],"sender":"s@b.example"}],"mended":0,"#,
            r#""ranges":[{"bytes":512,"file":"0000000001.seg","from":4096}],"recipients":0,"rescued":0,"unknown":[]}"#
        );
        assert_eq!(summary(&repaired).to_string(), expected);
    }
}
