//! Recipients that a client names twice: each is answered, and gets one copy.
//!
//! As Postfix's duplicate filter has it, those are the same whose address, NOTIFY and ORCPT are: where the parameters differ, the
//! sender wants to hear of each by itself. Here the local part counts as it is written, since only its own host knows
//! whether case matters (RFC 5321 §2.4).

use smtp::Recipient;
use std::collections::HashSet;

/// Leaves the first of each. One lookup for each recipient, and nothing for a single one.
pub(super) fn leave_out_repeated(recipients: &mut Vec<Recipient>) {
    if recipients.len() < 2 {
        return;
    }
    let mut seen = HashSet::with_capacity(recipients.len());
    let is_first: Vec<bool> = recipients
        .iter()
        .map(|recipient| {
            let Recipient { mailbox, notify, orcpt } = recipient;
            seen.insert((mailbox.local_part(), mailbox.domain_key(), *notify, orcpt.as_deref()))
        })
        .collect();
    if is_first.contains(&false) {
        let mut is_first = is_first.into_iter();
        recipients.retain(|_| is_first.next() != Some(false));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smtp::Mailbox;
    use smtp::parameters::Notify;

    /// `address`, `address NOTIFY` or `address NOTIFY ORCPT`.
    fn recipient(text: &str) -> Recipient {
        let mut words = text.split(' ');
        let mailbox = Mailbox::parse(words.next().unwrap()).unwrap();
        let notify = words.next().map_or(Notify::default(), |word| Notify::parse(word).unwrap());
        Recipient { mailbox, notify, orcpt: words.next().map(Into::into) }
    }

    #[track_caller]
    fn check(named: &[&str], left: &[&str]) {
        let mut recipients = named.iter().map(|text| recipient(text)).collect();
        leave_out_repeated(&mut recipients);
        assert_eq!(recipients, left.iter().map(|text| recipient(text)).collect::<Vec<_>>());
    }

    #[test]
    fn the_first_of_those_that_are_the_same_is_left() {
        check(&["a@b.test"], &["a@b.test"]);
        check(&["a@b.test", "c@b.test"], &["a@b.test", "c@b.test"]);
        check(&["a@b.test", "c@b.test", "a@b.test", "a@b.test", "c@b.test"], &["a@b.test", "c@b.test"]);
        check(&["a@B.test", "a@b.TEST", "A@b.test"], &["a@B.test", "A@b.test"]);
        check(&["a@d\u{e4}.test", "a@D\u{c4}.test"], &["a@d\u{e4}.test"]);
    }

    #[test]
    fn those_with_other_parameters_are_others() {
        let all = ["a@b.test", "a@b.test NEVER", "a@b.test NEVER rfc822;x@y", "a@b.test NEVER rfc822;z@y"];
        check(&all, &all);
        check(&[all, all].concat(), &all);
    }
}
