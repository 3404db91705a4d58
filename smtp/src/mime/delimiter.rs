//! Delimiter lines (RFC 2046 §5.1.1): what separates the parts of a multipart.
//!
//! The RFC lets a line be a delimiter that merely begins like one, which nested multiparts with boundaries like `a` and
//! `a1` make ambiguous, and readers differ. Here a delimiter is the whole line; a line that only begins like one, and is
//! none, makes the structure a matter of taste, and is refused.

use super::Refusal;
use memchr::memmem;

/// Where something that is looked through ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    /// The start of the delimiter line, or the end of the content.
    pub(super) at: usize,
    /// Behind the delimiter line.
    pub(super) next: usize,
    /// Of which multipart, the outermost being 0, and whether it closes it.
    pub(super) delimiter: Option<(usize, bool)>,
}

impl Stop {
    /// The line end before a delimiter belongs to the delimiter.
    pub(super) fn body_end(&self, body_start: usize) -> usize {
        if self.delimiter.is_some() { self.at.saturating_sub(2).max(body_start) } else { self.at }
    }
}

/// The boundaries of the multiparts that are open.
#[derive(Default)]
pub(super) struct Boundaries(Vec<Box<[u8]>>);

impl Boundaries {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Opens a multipart within those that are open.
    pub(super) fn push(&mut self, boundary: &[u8]) -> Result<(), Refusal> {
        let closes = |a: &[u8], b: &[u8]| a.strip_prefix(b).is_some_and(|rest| rest.is_empty() || rest == b"--");
        if self.0.iter().any(|open| closes(open, boundary) || closes(boundary, open)) {
            return Err(Refusal::Malformed("two multiparts within each other have the same boundary"));
        }
        self.0.push(boundary.into());
        Ok(())
    }

    pub(super) fn truncate(&mut self, level: usize) {
        self.0.truncate(level);
    }

    /// The first delimiter at or behind `line`, which is the start of a line.
    pub(super) fn next(&self, content: &[u8], mut line: usize) -> Result<Stop, Refusal> {
        let end = Stop { at: content.len(), next: content.len(), delimiter: None };
        if self.0.is_empty() {
            return Ok(end);
        }
        loop {
            if let Some(stop) = self.at(content, line)? {
                return Ok(stop);
            }
            match memmem::find(&content[line..], b"\r\n--") {
                Some(found) => line += found + 2,
                None => return Ok(end),
            }
        }
    }

    /// The delimiter that the line which starts here is, if it is one.
    pub(super) fn at(&self, content: &[u8], line: usize) -> Result<Option<Stop>, Refusal> {
        let Some(rest) = content[line..].strip_prefix(b"--") else { return Ok(None) };
        let mut alike = false;
        for (level, boundary) in self.0.iter().enumerate().rev() {
            let Some(tail) = rest.strip_prefix(&**boundary) else { continue };
            let tail = &tail[..memmem::find(tail, b"\r\n").unwrap_or(tail.len())];
            let (closes, padding) = tail.strip_prefix(b"--").map_or((false, tail), |padding| (true, padding));
            if padding.iter().all(|byte| matches!(byte, b' ' | b'\t')) {
                let end = line + 2 + boundary.len() + tail.len();
                let next = (end + 2).min(content.len());
                return Ok(Some(Stop { at: line, next, delimiter: Some((level, closes)) }));
            }
            alike = true;
        }
        if alike { Err(Refusal::Malformed("a line begins like a boundary and is none")) } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(open: &[&str], line: &str, expected: Result<Option<(usize, bool)>, ()>) {
        let mut boundaries = Boundaries::default();
        open.iter().for_each(|boundary| boundaries.push(boundary.as_bytes()).unwrap());
        for (before, behind) in [("", ""), ("x\r\n", "\r\nx"), ("--x\r\n", "\r\n--x")] {
            let content = [before, line, behind].concat();
            let found = boundaries.next(content.as_bytes(), 0).map(|stop| {
                if stop.delimiter.is_some() {
                    assert_eq!((stop.at, stop.next), (before.len(), before.len() + line.len() + behind.len().min(2)));
                }
                stop.delimiter
            });
            assert_eq!(found.map_err(|_| ()), expected, "{content:?}");
        }
    }

    #[test]
    fn delimiters_are_whole_lines() {
        check(&["a"], "--a", Ok(Some((0, false))));
        check(&["a"], "--a \t", Ok(Some((0, false))));
        check(&["a"], "--a--", Ok(Some((0, true))));
        check(&["a"], "--a-- ", Ok(Some((0, true))));
        check(&["a"], "-a", Ok(None));
        check(&["a"], " --a", Ok(None));
        check(&["a"], "--b", Ok(None));
        check(&["a"], "--ab", Err(()));
        check(&["a"], "--a-", Err(()));
        check(&["a"], "--a\n", Err(()));
        check(&["a", "ab"], "--ab", Ok(Some((1, false))));
        check(&["ab", "a"], "--ab", Ok(Some((0, false))));
        check(&["a", "ab"], "--a--", Ok(Some((0, true))));
        check(&["a", "ab"], "--abc", Err(()));
        check(&[], "--a", Ok(None));
    }

    #[test]
    fn the_same_boundary_twice_is_refused() {
        for (first, second) in [("a", "a"), ("a", "a--"), ("a--", "a")] {
            let mut boundaries = Boundaries::default();
            boundaries.push(first.as_bytes()).unwrap();
            assert!(boundaries.push(second.as_bytes()).is_err(), "{first} {second}");
        }
    }
}
