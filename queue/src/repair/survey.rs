//! What a segment holds: whole groups, damaged ones and what can be made of them, and where it ends.

use super::LostMessage;
use super::salvage::{Piece, Salvaged};
use crate::checkpoint::Checkpoint;
use crate::group::{self, GROUP_HEADER, Header, PAGE, Place};
use crate::record::Record;
use crate::scan::{Found, Here, Scanner};
use crate::service::secret_seed;
use crate::{Domain, EntryKey, MessageId, QueueError};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// What is known of a segment before it is read.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Where it ends, as the next one says.
    pub end: Option<u64>,
    /// It certainly reaches to here.
    pub at_least: u64,
    /// Of the group before it.
    pub sequence: u64,
    /// Of the last group of all, at least.
    pub last_sequence: u64,
}

impl Bounds {
    /// Of the last segment there is: the index knows how far it reached.
    pub(super) fn of_last(found: &Found, base: &Checkpoint, sequence: u64) -> Bounds {
        let at_least = if base.segment == found.number { base.offset } else { 0 };
        Bounds { end: None, at_least, sequence, last_sequence: base.sequence }
    }
}

#[derive(Default)]
pub(super) struct Survey {
    pub generation: u64,
    /// Damaged ranges, and what becomes of them.
    pub damaged: Vec<(Range<u64>, Salvaged)>,
    /// What earlier repairs gave up.
    pub voids: Vec<Range<u64>>,
    /// Whole groups.
    pub groups: u64,
    /// Of the last group.
    pub sequence: u64,
    pub end: u64,
}

/// Messages that were lost, and what outcomes after them say.
#[derive(Clone, Default)]
pub(super) struct Watch {
    pub lost: Vec<LostMessage>,
    ids: BTreeSet<MessageId>,
    later: BTreeSet<(MessageId, Domain)>,
    /// Outcomes were lost, perhaps.
    is_unsure: bool,
    /// After those: whose recipients are under a key to which they went, and perhaps still under the one before.
    pub moved: BTreeSet<MessageId>,
}

/// The key, and whether something is under it.
type Outcome<'a> = (&'a EntryKey, bool);

impl Watch {
    fn lose(&mut self, lost: &[LostMessage]) {
        self.ids.extend(lost.iter().map(|message| message.id));
        self.lost.extend_from_slice(lost);
    }

    fn note(&mut self, outcome: Outcome<'_>) {
        let (key, is_put) = outcome;
        if self.ids.contains(&key.id) {
            self.later.insert((key.id, key.domain.clone()));
        }
        if self.is_unsure && is_put {
            self.moved.insert(key.id);
        }
    }

    fn is_idle(&self) -> bool {
        self.ids.is_empty() && !self.is_unsure
    }

    /// Those recipients of lost messages of which nothing was said after them.
    pub(super) fn never_mentioned(self) -> impl Iterator<Item = LostMessage> {
        let Watch { lost, later, .. } = self;
        lost.into_iter().filter_map(move |mut message| {
            let id = message.id;
            message.recipients.retain(|(domain, _)| !later.contains(&(id, domain.clone())));
            (!message.recipients.is_empty()).then_some(message)
        })
    }
}

/// Reads a segment from its beginning to its end.
pub(super) fn survey(found: &Found, bounds: Bounds, watch: &mut Watch) -> Result<Survey, QueueError> {
    let generation = generation_of(found)?;
    let mut survey = Survey { generation, sequence: bounds.sequence, end: PAGE, ..Survey::default() };
    let scanner = &mut Scanner::new(found.clone());
    while bounds.end.is_none_or(|end| survey.end < end) {
        let at = survey.end;
        let place = Place { segment: found.number, generation, offset: at };
        let next = match scanner.at(at, generation)? {
            Here::Group(header, payload) => {
                survey.note(&header, place, payload, watch);
                continue;
            }
            Here::Broken(header, _) => Some((at + header.bytes_on_disk(), Some(header), false)),
            Here::Nothing => end_of_nothing(scanner, at, generation, &bounds)?,
        };
        let Some((to, header, is_header_damaged)) = next else { break };
        let to = to.min(bounds.end.unwrap_or(found.size.max(bounds.at_least))).max(at + GROUP_HEADER as u64);
        let is_last = bounds.end.is_none() && scanner.next_header(to, Some(generation))?.is_none();
        let floor = if is_last { bounds.last_sequence } else { 0 };
        let sequence = floor.max(survey.sequence + 1);
        let len = (to - at) as usize;
        let mut bytes = Cow::Borrowed(scanner.bytes(at, len)?);
        if to <= bounds.at_least {
            // What the file ends before.
            bytes.to_mut().resize(len, 0);
        } else if bytes.len() < GROUP_HEADER {
            break;
        }
        let salvaged = Piece { place, bytes: &bytes, header, is_header_damaged, sequence }.salvage();
        if is_last && salvaged.saved == 0 && at >= bounds.at_least {
            // Most likely the power went while it was written; recovery cuts it.
            break;
        }
        watch.lose(&salvaged.lost);
        watch.is_unsure |= !salvaged.unknown.is_empty();
        salvaged.outcomes.iter().for_each(|(key, is_put)| watch.note((key, *is_put)));
        survey.sequence = salvaged.sequence;
        survey.end = to.next_multiple_of(PAGE);
        survey.damaged.push((at..survey.end, salvaged));
    }
    Ok(survey)
}

/// Where what begins at `at`, without a header, ends; with that, where it can be put right. `None`: at the journal's end.
type Unheaded = Option<(u64, Option<Header>, bool)>;

fn end_of_nothing(scanner: &mut Scanner, at: u64, generation: u64, bounds: &Bounds) -> Result<Unheaded, QueueError> {
    if let Some(header) = scanner.header_put_right(at, generation)? {
        return Ok(Some((at + header.bytes_on_disk(), Some(header), true)));
    }
    let next = scanner.next_header(at + PAGE, Some(generation))?;
    let next = next.filter(|next| bounds.end.is_none_or(|end| *next < end));
    let end = next.or(bounds.end).or((at < bounds.at_least).then_some(bounds.at_least));
    Ok(end.map(|end| (end, None, true)))
}

impl Survey {
    fn note(&mut self, header: &Header, place: Place, payload: &[u8], watch: &mut Watch) {
        self.end = place.offset + header.bytes_on_disk();
        self.sequence = header.sequence;
        if header.is_filler {
            self.voids.push(place.offset..self.end);
            return;
        }
        self.groups += 1;
        if header.is_mended || !watch.is_idle() {
            // Verified, so it can be read.
            let _ = group::read_records(header, place, payload, |location, record| match record {
                Record::Void => {
                    let from = u64::from(location.offset);
                    self.voids.push(from..from + u64::from(location.len));
                }
                Record::Put { key, .. } => watch.note((&key, true)),
                Record::Gone { key, .. } => watch.note((&key, false)),
                Record::Accept(_) | Record::Moved(_) | Record::Checkpoint(_) => {}
            });
        }
    }
}

/// The generation of a segment that lost its header: the one of most of its groups.
fn generation_of(found: &Found) -> Result<u64, QueueError> {
    if let Some(header) = found.header {
        return Ok(header.generation);
    }
    let scanner = &mut Scanner::new(found.clone());
    let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
    let mut at = PAGE;
    while let Some(next) = scanner.next_header(at, None)? {
        if let Some(header) = scanner.header_at(next)? {
            *seen.entry(header.generation).or_default() += 1;
        }
        at = next + PAGE;
    }
    let most = seen.into_iter().max_by_key(|(_, count)| *count);
    Ok(most.map_or_else(secret_seed, |(generation, _)| generation))
}
