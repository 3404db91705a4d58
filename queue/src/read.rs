//! Reading the queue: memtables over the index, and messages from the journal.

use crate::disk::{File, read_exactly};
use crate::index::IndexError;
use crate::record;
use crate::scan::damaged;
use crate::segment;
use crate::store::{Store, lock};
use crate::{Content, Domain, Entry, EntryKey, Envelope, Flow, Location, MessageId, QueueError};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Entries are merged so many at a time.
const CHUNK: usize = 512;
/// Read of a record for its envelope; few are longer.
const HEAD_BYTES: usize = 4096;
/// Segments kept open for reading.
const OPEN_FILES: usize = 64;

/// What of a flow is due at a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// From the oldest due.
    pub entries: Vec<(EntryKey, Entry)>,
    /// There are more of them.
    pub more: bool,
    /// When the next thing is due (unix ms), where there are no more; what is held never is.
    pub next_due_ms: Option<u64>,
}

/// Live entries in order, and where to go on (`None`: that was all).
type Chunk = (Vec<(EntryKey, Entry)>, Option<EntryKey>);

impl Store {
    /// Merges what memtables and index hold within the bounds, about `limit` entries.
    fn chunk(&self, from: Bound<&EntryKey>, to: Bound<&EntryKey>, limit: usize) -> Result<Chunk, IndexError> {
        let owned = |(key, entry): (&EntryKey, Option<&Entry>)| (key.clone(), entry.cloned());
        let (active, frozen) = {
            let state = lock(&self.state);
            let active: Vec<_> = state.active.range(from, to).take(limit).map(owned).collect();
            (active, state.frozen.as_ref().map(|frozen| frozen.table.clone()))
        };
        // After the memtables: what a checkpoint moves to the index meanwhile is then seen in one of them at least.
        let frozen: Vec<_> = frozen.iter().flat_map(|table| table.range(from, to).take(limit)).map(owned).collect();
        let index = self.index.range(from, to, limit)?;

        let last_of = |len: usize, last: Option<EntryKey>| if len < limit { None } else { last };
        let horizon = [
            last_of(active.len(), active.last().map(|(key, _)| key.clone())),
            last_of(frozen.len(), frozen.last().map(|(key, _)| key.clone())),
            last_of(index.len(), index.last().map(|(key, _)| key.clone())),
        ];
        let horizon = horizon.into_iter().flatten().min();
        if active.is_empty() && frozen.is_empty() {
            return Ok((index, horizon));
        }
        let mut merged: BTreeMap<EntryKey, Option<Entry>> = index.into_iter().map(|(k, e)| (k, Some(e))).collect();
        merged.extend(frozen);
        merged.extend(active);
        let within = merged.into_iter().take_while(|(key, _)| horizon.as_ref().is_none_or(|horizon| key <= horizon));
        let live = within.filter_map(|(key, entry)| Some((key, entry?))).collect();
        Ok((live, horizon))
    }

    /// Calls `each` with entries in key order within the bounds until it says false. Says whether the end was reached.
    pub(crate) fn walk(
        &self,
        from: Bound<EntryKey>,
        to: Bound<&EntryKey>,
        chunk: usize,
        mut each: impl FnMut(EntryKey, Entry) -> bool,
    ) -> Result<bool, QueueError> {
        let mut from = from;
        loop {
            let (entries, next) = self.chunk(from.as_ref(), to, chunk).map_err(|error| self.index_error(&error))?;
            for (key, entry) in entries {
                if !each(key, entry) {
                    return Ok(false);
                }
            }
            match next {
                Some(key) => from = Bound::Excluded(key),
                None => return Ok(true),
            }
        }
    }

    /// Entries of a flow to a domain with `due_ms <= until_ms`, from the oldest due, at most `limit`.
    pub fn fetch(&self, domain: &Domain, flow: Flow, until_ms: u64, limit: usize) -> Result<Due, QueueError> {
        let from = Bound::Included(EntryKey::first_of(domain.clone(), flow));
        let last = EntryKey::last_of(domain.clone(), flow);
        let mut due = Due::default();
        self.walk(from, Bound::Included(&last), limit.clamp(16, CHUNK), |key, entry| {
            if key.due_ms > until_ms {
                due.next_due_ms = Some(key.due_ms).filter(|due_ms| *due_ms != EntryKey::HELD);
                return false;
            }
            due.more = due.entries.len() == limit;
            if !due.more {
                due.entries.push((key, entry));
            }
            !due.more
        })?;
        Ok(due)
    }

    /// Every domain's flows with something queued, with the earliest due time (unix ms); one seek each.
    pub fn backlog(&self) -> Result<Vec<(Domain, Flow, u64)>, QueueError> {
        let mut found: Vec<(Domain, Flow, u64)> = Vec::new();
        let mut from = Bound::Unbounded;
        loop {
            let before = found.len();
            self.walk(from, Bound::Unbounded, 4, |key, _| {
                found.push((key.domain, key.flow, key.due_ms));
                false
            })?;
            match found.last() {
                Some((domain, flow, _)) if found.len() > before => {
                    from = Bound::Excluded(EntryKey::last_of(domain.clone(), *flow));
                }
                _ => return Ok(found),
            }
        }
    }

    /// Walks all entries in key order from `after` (exclusive), at most `limit`.
    pub fn list(&self, after: Option<EntryKey>, limit: usize) -> Result<Vec<(EntryKey, Entry)>, QueueError> {
        self.take(after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded, limit)
    }

    /// As [`Store::list`], of one domain.
    pub fn list_domain(
        &self,
        domain: &Domain,
        after: Option<EntryKey>,
        limit: usize,
    ) -> Result<Vec<(EntryKey, Entry)>, QueueError> {
        let first = EntryKey::first_of_domain(domain.clone());
        let from = match after {
            Some(after) if after >= first => Bound::Excluded(after),
            _ => Bound::Included(first),
        };
        let last = EntryKey::last_of_domain(domain.clone());
        if from.as_ref() == Bound::Excluded(&last) || matches!(&from, Bound::Excluded(after) if *after > last) {
            return Ok(Vec::new());
        }
        self.take(from, Bound::Included(&last), limit)
    }

    fn take(
        &self,
        from: Bound<EntryKey>,
        to: Bound<&EntryKey>,
        limit: usize,
    ) -> Result<Vec<(EntryKey, Entry)>, QueueError> {
        let mut found = Vec::new();
        if limit > 0 {
            self.walk(from, to, limit.min(CHUNK), |key, entry| {
                found.push((key, entry));
                found.len() < limit
            })?;
        }
        Ok(found)
    }

    /// All entries of a message. Reads the whole index: for operators.
    pub fn find(&self, id: MessageId) -> Result<Vec<(EntryKey, Entry)>, QueueError> {
        let mut found = Vec::new();
        self.walk(Bound::Unbounded, Bound::Unbounded, CHUNK, |key, entry| {
            if key.id == id {
                found.push((key, entry));
            }
            true
        })?;
        Ok(found)
    }

    /// Reads a message back, one `pread`. A place that the message has left since is followed: through the recent moves,
    /// else by looking the message up, which reads the whole index.
    pub fn load(&self, id: MessageId, location: Location) -> Result<Arc<Content>, QueueError> {
        self.follow(id, location, &|location| {
            let Some(record) = self.read_record(location)? else { return Ok(None) };
            let content = record::decode_content(&record).map_err(|error| damaged_at(location, error))?;
            Ok(Some((content.id, Arc::new(content))))
        })
    }

    /// As [`Store::load`], without the body: however large that is, a page or two are read.
    pub fn load_envelope(&self, id: MessageId, location: Location) -> Result<Envelope, QueueError> {
        self.follow(id, location, &|location| {
            let start = |len: usize| self.read_start(location, len.min(location.len as usize));
            let Some(mut head) = start(HEAD_BYTES)? else { return Ok(None) };
            let head_bytes = record::head_bytes(&head).map_err(|error| damaged_at(location, error))?;
            if head.len() < head_bytes {
                let Some(whole) = start(head_bytes)? else { return Ok(None) };
                head = whole;
            }
            record::decode_envelope(&head).map(Some).map_err(|error| damaged_at(location, error))
        })
    }

    /// What `read` makes of the message's record, wherever that is by now. It answers whose record it is, and with `None`
    /// when the segment was freed.
    fn follow<T>(
        &self,
        id: MessageId,
        location: Location,
        read: &dyn Fn(Location) -> Result<Option<(MessageId, T)>, QueueError>,
    ) -> Result<T, QueueError> {
        let read_own = |location| match read(location)? {
            Some((found, _)) if found != id => Err(holds_another(location, found)),
            read => Ok(read.map(|(_, read)| read)),
        };
        let location = lock(&self.state).moved.get(id).filter(|to| *to > location).unwrap_or(location);
        if let Some(found) = read_own(location)? {
            return Ok(found);
        }
        let entries = self.find(id)?;
        let Some(location) = entries.iter().map(|(_, entry)| entry.location).max() else {
            return Err(QueueError::NoSuchMessage(id));
        };
        read_own(location)?.ok_or(QueueError::NoSuchMessage(id))
    }

    /// The bytes of a record. `None` when the segment was freed.
    pub(crate) fn read_record(&self, location: Location) -> Result<Option<Bytes>, QueueError> {
        self.read_start(location, location.len as usize)
    }

    /// The first bytes of a record.
    fn read_start(&self, location: Location, len: usize) -> Result<Option<Bytes>, QueueError> {
        let Some(file) = self.segment_file(location.segment)? else { return Ok(None) };
        let read = read_exactly(&*file, u64::from(location.offset), len);
        // Only now: a segment is taken off the list before its file is used again, so what was read is the record's.
        if !lock(&self.state).segments.contains_key(&location.segment) {
            return Ok(None);
        }
        read.map(|bytes| Some(bytes.into())).map_err(|error| damaged_at(location, error))
    }

    fn segment_file(&self, number: u64) -> Result<Option<Arc<dyn File>>, QueueError> {
        if !lock(&self.state).segments.contains_key(&number) {
            return Ok(None);
        }
        let mut files = lock(&self.files);
        if let Some(file) = files.get(&number) {
            return Ok(Some(file.clone()));
        }
        let path = segment::path(number);
        match self.disk.open(&path) {
            Ok(file) => {
                if files.len() >= OPEN_FILES {
                    files.clear();
                }
                files.insert(number, file.clone());
                Ok(Some(file))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(QueueError::Io { action: "opening", path: path.into(), source }),
        }
    }
}

/// What lies there cannot be read.
pub(crate) fn damaged_at(location: Location, error: impl std::error::Error) -> QueueError {
    damaged(location.segment, u64::from(location.offset), error.to_string())
}

/// There lies another message than the index says.
pub(crate) fn holds_another(location: Location, id: MessageId) -> QueueError {
    damaged(location.segment, u64::from(location.offset), format!("holds {id}"))
}
