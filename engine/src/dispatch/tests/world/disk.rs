//! The queue: what is accepted, settled, fetched.

use super::*;

impl World {
    /// A message enters the queue; dispatch is told.
    pub fn accept(&mut self, sender: &str, recipients: &[&str]) -> MessageId {
        self.accept_body(sender, recipients, "Subject: hello\r\nFrom: a@b\r\n\r\nHi.\r\n")
    }

    pub fn accept_body(&mut self, sender: &str, recipients: &[&str], body: &str) -> MessageId {
        let recipients = recipients.iter().map(|r| Recipient::new(Mailbox::parse(r).unwrap())).collect();
        self.accept_envelope(sender, recipients, MailParameters::default(), body)
    }

    pub fn accept_envelope(
        &mut self,
        sender: &str,
        recipients: Vec<Recipient>,
        parameters: MailParameters,
        body: &str,
    ) -> MessageId {
        self.serial += 1;
        let id = MessageId(self.serial);
        let content = Content {
            id,
            envelope: Envelope {
                reverse_path: ReversePath((!sender.is_empty()).then(|| Mailbox::parse(sender).unwrap())),
                recipients,
                accepted_us: self.now.wall_us,
                parameters,
                tenant: self.tenant.map(Into::into),
                campaign: self.campaign.map(Into::into),
            },
            body: Body::new(body.to_owned()),
        };
        let committed = self.commit(Arc::new(content));
        self.handle(Input::Committed(vec![committed]));
        id
    }

    pub(super) fn commit(&mut self, content: Arc<Content>) -> Committed {
        let mut domains: BTreeMap<Domain, RecipientSet> = BTreeMap::new();
        for (i, r) in content.envelope.recipients.iter().enumerate() {
            domains.entry(Domain::new(&r.mailbox.domain_key())).or_default().insert(i as u32);
        }
        let mut entries = smallvec::SmallVec::new();
        for (domain, open) in domains {
            let flow = Flow::of(&content.envelope);
            let key = EntryKey { domain, flow, due_ms: self.now.wall_ms(), id: content.id };
            let entry = Entry {
                location: Location { segment: 1, offset: 0, len: 1 },
                open,
                attempts: 0,
                accepted_ms: self.now.wall_ms(),
                body_bytes: content.body.len() as u32,
                last_error: "".into(),
                terms: Terms::of(&content.envelope),
                delay_told: false,
            };
            self.disk.insert(key.clone(), entry.clone());
            entries.push((key, entry));
        }
        self.accepted.insert(content.id, content.envelope.recipients.len() as u32);
        self.contents.insert(content.id, content.clone());
        Committed { content, entries }
    }

    pub(super) fn apply(&mut self, token: u64, group: Group) {
        for settle in group.settles {
            let Some(entry) = self.disk.get_mut(&settle.key) else { continue };
            entry.open.subtract(&settle.done);
            let mut moved = None;
            if let Some(retry) = settle.retry {
                entry.open.subtract(&retry.recipients);
                let to = EntryKey { due_ms: retry.due_ms, ..settle.key.clone() };
                let queue::Retry { attempts, last_error, delay_told, .. } = retry;
                let entry = Entry { attempts, last_error, delay_told, ..entry.clone() };
                moved = Some((to, retry.recipients, entry));
            }
            if entry.open.is_empty() {
                self.disk.remove(&settle.key);
            }
            if let Some((to, recipients, entry)) = moved {
                let target = self.disk.entry(to).or_insert(Entry { open: RecipientSet::new(), ..entry });
                target.open.union(&recipients);
            }
        }
        let mut committed = Vec::new();
        for notice in group.accepts {
            self.notices.push(notice.content.clone());
            committed.push(self.commit(notice.content));
        }
        self.dispatch.handle(self.now, Input::Settled(token));
        if !committed.is_empty() {
            self.dispatch.handle(self.now, Input::Committed(committed));
        }
    }

    /// Outcomes are written again, first those that waited.
    pub fn go_on_writing(&mut self) {
        for (token, group) in self.stalled.take().into_iter().flatten() {
            self.push(self.now.mono, Event::Apply(token, group));
        }
    }

    /// What the shell does once a minute, of all that is on disk.
    pub fn look_for_expired(&mut self) {
        let all = self.disk.iter().map(|(key, entry)| (key.clone(), entry.clone())).collect();
        self.operate(Operation::Expire(all));
        self.settle_down();
    }

    pub(super) fn fetch(&mut self, domain: Domain, flow: Flow, until_ms: u64, limit: usize) {
        let first = EntryKey { domain: domain.clone(), flow, due_ms: 0, id: MessageId(0) };
        let all = self.disk.range(first..).take_while(|(k, _)| k.domain == domain && k.flow == flow);
        let due: Vec<(EntryKey, Entry)> = all
            .clone()
            .take_while(|(k, _)| k.due_ms <= until_ms)
            .take(limit + 1)
            .map(|(k, e)| (k.clone(), e.clone()))
            .collect();
        let more = due.len() > limit;
        let next_due_ms = all.map(|(k, _)| k.due_ms).find(|due| *due > until_ms && *due != EntryKey::HELD);
        let entries = due.into_iter().take(limit).collect();
        self.push_soon(Event::Input(Input::Fetched { domain, flow, entries, more, next_due_ms }));
    }
}
