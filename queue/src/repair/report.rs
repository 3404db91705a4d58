//! What a repair did, in words.

use super::Repaired;
use std::fmt::Write;

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

pub(super) fn text(repaired: &Repaired) -> String {
    let Repaired { ranges, unknown, groups, mended, lost, recovery } = repaired;
    let mut text = counted(*groups, "intact group", "intact groups") + " kept, ";
    if *mended > 0 {
        text += &format!("{mended} mended, ");
    }
    text += &(counted(ranges.len() as u64, "damaged range", "damaged ranges") + " given up\n");
    for (file, from, bytes) in ranges {
        let _ = match bytes {
            0 => writeln!(text, "{file}: missing"),
            _ => writeln!(text, "{file}: bytes {from} to {}", from + bytes),
        };
    }
    if recovery.rescued > 0 {
        let rescued = counted(recovery.rescued, "message there was", "messages there were");
        let _ = writeln!(text, "{rescued} read all the same and kept");
    }
    if !lost.is_empty() {
        let _ = writeln!(text, "{} lost:", counted(lost.len() as u64, "message", "messages"));
    }
    for message in lost {
        let perhaps = if message.is_certain { "" } else { "perhaps " };
        let recipients: Vec<_> = message.recipients.iter().map(|(_, recipient)| format!("<{recipient}>")).collect();
        let (id, sender, recipients) = (message.id, &message.sender, recipients.join(", "));
        let at = format!("{} byte {}", message.segment, message.offset);
        let _ = writeln!(text, "{at}: {perhaps}{id} from <{sender}> to {recipients}");
    }
    if !recovery.lost.is_empty() {
        let entries = counted(recovery.lost.len() as u64, "entry lost because its", "entries lost because their");
        let _ = writeln!(text, "{entries} message was damaged:");
    }
    for key in &recovery.lost {
        let _ = writeln!(text, "{} {}", key.id, key.domain.as_str());
    }
    let recipients = counted(recovery.recipients, "recipient", "recipients");
    let is = if recovery.entries == 1 { "is" } else { "are" };
    let _ = writeln!(text, "{} with {recipients} {is} in the queue", counted(recovery.entries, "entry", "entries"));
    if !unknown.is_empty() {
        let ranges = counted(unknown.len() as u64, "range", "ranges");
        let _ = writeln!(
            text,
            "what {ranges} held cannot be told: messages that are not listed, or outcomes, so that some may be delivered again"
        );
    }
    text
}
