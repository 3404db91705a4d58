//! Saving what can be saved of a damaged journal: what `posthaste queue repair` does.
//!
//! Every intact group stays where it is, so that places within the journal remain true. A damaged range becomes one *filler*: a
//! group without records that recovery steps over. Before a segment is touched, it is copied to `damaged-<time>/`. What the
//! index, which is kept when it can be, knows of messages in such a range is looked at one by one: those that can be read are
//! copied to the journal's end, the others are given up and named. What a damaged range said of messages elsewhere is
//! forgotten, so some of those may be delivered a second time. Run twice, the second finds nothing to do; interrupted, it
//! is to be run again.

use crate::disk::{Disk, RealDisk};
use crate::group::{self, PAGE, Place};
use crate::index::SledIndex;
use crate::lock::Lock;
use crate::scan::{Found, Here, Scanner, io_error};
use crate::segment::{self, Header, JOURNAL};
use crate::service::secret_seed;
use crate::store::{Limits, Store};
use crate::{Options, QueueError, Recovery};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

/// What a repair did.
#[derive(Clone, Debug, Default)]
pub struct Repaired {
    /// Ranges given up: segment file, first octet, octets.
    pub ranges: Vec<(String, u64, u64)>,
    /// Groups kept.
    pub groups: u64,
    /// The queue as it now is, with the entries that were lost.
    pub recovery: Recovery,
}

/// What a segment holds: intact stretches between damaged ones.
#[derive(Default)]
struct Survey {
    generation: u64,
    /// Damaged ranges.
    holes: Vec<(u64, u64)>,
    /// Those of earlier repairs.
    fillers: Vec<(u64, u64)>,
    groups: u64,
    /// Sequence of the last intact group.
    last: Option<u64>,
    end: u64,
}

/// Repairs the queue in `options.dir`, which no server has open. `report` gets what was lost, in words; it is also kept
/// as `report.txt` beside the damaged originals.
pub fn repair(options: &Options, report: &mut dyn std::io::Write) -> Result<Repaired, QueueError> {
    let _lock = Lock::take(&options.dir)?;
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut work = Work {
        disk: Arc::new(RealDisk::new(&options.dir)),
        aside: format!("damaged-{time}"),
        fillers: Vec::new(),
        repaired: Repaired::default(),
    };
    let first = work.mend()?;
    let home = SledIndex { path: options.dir.join("index"), cache_bytes: options.index_cache_bytes };
    let limits = Limits::of(options, secret_seed());
    let (store, mut recovery) = match (Store::open(work.disk.clone(), &home, limits.clone()), first) {
        // What came before the first segment is needed and gone.
        (Err(QueueError::Damaged { segment, .. }), Some((first, previous_end)))
            if first > 1 && segment == segment::file_name(first - 1) =>
        {
            work.stand_in(first - 1, 0, previous_end, 0)?;
            Store::open(work.disk.clone(), &home, limits)?
        }
        (opened, _) => opened?,
    };
    if !work.fillers.is_empty() {
        let (rescued, lost) = store.clear(&work.fillers)?;
        recovery.rescued += rescued;
        recovery.lost.extend(lost);
        let stats = store.stats();
        (recovery.entries, recovery.recipients) = (stats.entries, stats.recipients);
    }
    store.checkpoint()?;
    work.repaired.recovery = recovery;
    let text = work.text();
    let told = report.write_all(text.as_bytes());
    told.map_err(|e| io_error("writing", "the report", e))?;
    if !work.repaired.ranges.is_empty() {
        let path = format!("{}/report.txt", work.aside);
        crate::disk::write_small(&*work.disk, &path, text.as_bytes()).map_err(|e| io_error("writing", &path, e))?;
    }
    Ok(work.repaired)
}

struct Work {
    disk: Arc<dyn Disk>,
    aside: String,
    /// Where fillers lie: segment and range.
    fillers: Vec<(u64, Range<u64>)>,
    repaired: Repaired,
}

impl Work {
    /// Returns the first segment's number, and where the one before it ended.
    fn mend(&mut self) -> Result<Option<(u64, u64)>, QueueError> {
        let names = self.disk.list(JOURNAL).map_err(|e| io_error("reading", JOURNAL, e))?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment::number_of(name)).collect();
        numbers.sort_unstable();
        let mut found: BTreeMap<u64, Found> = BTreeMap::new();
        for number in &numbers {
            found.insert(*number, Found::open(&*self.disk, *number)?);
        }
        let (mut sequence, mut end) = (0, 0);
        let mut expected = numbers.first().copied();
        for number in numbers {
            while let Some(missing) = expected.filter(|expected| *expected < number) {
                let next = if missing + 1 == number { found[&number].header } else { None };
                end = self.stand_in(missing, end, next.map_or(2 * PAGE, |next| next.previous_end), sequence)?;
                expected = Some(missing + 1);
            }
            expected = Some(number + 1);
            let known_end = found.get(&(number + 1)).and_then(|next| next.header).map(|header| header.previous_end);
            let is_last = found.keys().next_back() == Some(&number);
            let survey = survey(&found[&number], known_end)?;
            if is_last && found[&number].header.is_none() && survey.groups == 0 {
                // Never written; recovery drops it.
                break;
            }
            self.patch(&found[&number], &survey, end, sequence)?;
            let ranges = survey.holes.iter().chain(&survey.fillers);
            self.fillers.extend(ranges.map(|(from, to)| (number, *from..*to)));
            self.repaired.groups += survey.groups;
            sequence = survey.last.unwrap_or(sequence);
            end = survey.end;
        }
        let first = found.first_key_value();
        Ok(first.map(|(number, found)| (*number, found.header.map_or(2 * PAGE, |header| header.previous_end))))
    }

    /// A copy of a segment before it is changed.
    fn keep(&self, found: &Found) -> Result<(), QueueError> {
        let path = format!("{}/{}", self.aside, segment::file_name(found.number));
        let copy = || -> std::io::Result<()> {
            self.disk.create_dir(&self.aside)?;
            let copy = self.disk.create(&path)?;
            let mut buffer = vec![0; 1 << 20];
            let mut at = 0;
            loop {
                let read = found.file.read_at(at, &mut buffer)?;
                if read == 0 {
                    break;
                }
                copy.write_at(at, &mut [IoSlice::new(&buffer[..read])])?;
                at += read as u64;
            }
            copy.sync()?;
            self.disk.sync_dir(&self.aside)
        };
        copy().map_err(|e| io_error("copying to", &path, e))
    }

    /// Fillers over what is damaged, and a header where that is lost or no longer true.
    fn patch(&mut self, found: &Found, survey: &Survey, previous_end: u64, sequence: u64) -> Result<(), QueueError> {
        let first = previous_end == 0;
        let header = found.header.unwrap_or(Header {
            number: found.number,
            generation: survey.generation,
            previous_end,
            written: false,
        });
        let previous_end = if first { header.previous_end } else { previous_end };
        let header = Header { previous_end, ..header };
        if survey.holes.is_empty() && found.header == Some(header) {
            return Ok(());
        }
        self.keep(found)?;
        let path = segment::path(found.number);
        let failed = |e| io_error("repairing", &path, e);
        if found.header != Some(header) {
            self.repaired.ranges.push((segment::file_name(found.number), 0, PAGE));
            found.file.write_at(0, &mut [IoSlice::new(&header.encode())]).map_err(failed)?;
        }
        for (from, to) in &survey.holes {
            self.repaired.ranges.push((segment::file_name(found.number), *from, to - from));
            let place = Place { segment: found.number, generation: survey.generation, offset: *from };
            let filler = group::filler(place, to - from, sequence);
            found.file.write_at(*from, &mut [IoSlice::new(&filler)]).map_err(failed)?;
        }
        found.file.sync().map_err(failed)
    }

    /// A segment of one filler in place of one that is missing. Returns its end.
    fn stand_in(&mut self, number: u64, previous_end: u64, end: u64, sequence: u64) -> Result<u64, QueueError> {
        let path = segment::path(number);
        let generation = secret_seed();
        let end = end.max(2 * PAGE);
        let header = Header { number, generation, previous_end, written: false };
        let filler = group::filler(Place { segment: number, generation, offset: PAGE }, end - PAGE, sequence);
        let make = || -> std::io::Result<()> {
            self.disk.create_dir(&self.aside)?;
            let file = self.disk.create(&path)?;
            file.allocate(end)?;
            file.write_at(0, &mut [IoSlice::new(&header.encode()), IoSlice::new(&filler)])?;
            file.sync()?;
            self.disk.sync_dir(JOURNAL)
        };
        make().map_err(|e| io_error("making", &path, e))?;
        self.repaired.ranges.push((segment::file_name(number), 0, 0));
        self.fillers.push((number, PAGE..end));
        Ok(end)
    }

    fn text(&self) -> String {
        let Repaired { ranges, groups, recovery } = &self.repaired;
        let counted = |count: u64, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
        let mut text = counted(*groups, "intact group", "intact groups") + " kept, ";
        text += &(counted(ranges.len() as u64, "damaged range", "damaged ranges") + " given up\n");
        for (file, from, bytes) in ranges {
            let _ = match bytes {
                0 => writeln!(text, "{file}: missing"),
                _ => writeln!(text, "{file}: bytes {from} to {}", from + bytes),
            };
        }
        if recovery.rescued > 0 {
            let _ = writeln!(
                text,
                "{} read all the same and kept",
                counted(recovery.rescued, "message there was", "messages there were")
            );
        }
        if !recovery.lost.is_empty() {
            text += &counted(recovery.lost.len() as u64, "entry", "entries");
            text += " lost because their message was damaged:\n";
        }
        for key in &recovery.lost {
            let _ = writeln!(text, "{} {}", key.id, key.domain.as_str());
        }
        let recipients = counted(recovery.recipients, "recipient", "recipients");
        let is = if recovery.entries == 1 { "is" } else { "are" };
        text += &counted(recovery.entries, "entry", "entries");
        let _ = writeln!(text, " with {recipients} {is} in the queue");
        if !ranges.is_empty() {
            text.push_str(
                "messages accepted there in the second before a crash are not listed, and some may be delivered again\n",
            );
        }
        text
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

fn survey(found: &Found, known_end: Option<u64>) -> Result<Survey, QueueError> {
    let mut survey = Survey { generation: generation_of(found)?, end: PAGE, ..Survey::default() };
    let scanner = &mut Scanner::new(found.clone());
    let mut hole = None;
    let mut at = PAGE;
    while known_end.is_none_or(|end| at < end) {
        if let Here::Group(header, _) = scanner.at(at, survey.generation)? {
            if let Some(from) = hole.take() {
                survey.holes.push((from, at));
            }
            let end = at + header.bytes_on_disk();
            match header.is_filler {
                true => survey.fillers.push((at, end)),
                false => survey.groups += 1,
            }
            survey.last = Some(header.sequence);
            at = end;
            survey.end = at;
            continue;
        }
        hole.get_or_insert(at);
        let generation = Some(survey.generation);
        match scanner.next_header(at + PAGE, generation)?.filter(|next| known_end.is_none_or(|end| *next < end)) {
            Some(next) => at = next,
            None => break,
        }
    }
    // A hole to the end of a segment that others follow; at the very end of the journal it is a torn tail or nothing.
    if let (Some(end), true) = (known_end, hole.is_some() || known_end.is_some_and(|end| survey.end < end)) {
        let from = hole.unwrap_or(survey.end);
        survey.holes.push((from, end));
        survey.end = end;
    }
    Ok(survey)
}
