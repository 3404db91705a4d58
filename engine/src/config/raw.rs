//! The configuration as it is written: TOML tables whose keys are asked for one by one.
//!
//! This walks toml's tree with places instead of deriving serde's `Deserialize`: serde stops at the first mistake, and an
//! operator wants to see all of them, each where it stands. Asking for a key is what declares it; what nobody asked for is
//! unknown, and that is a mistake too ([`Table::finish`]).

use super::error::{ConfigErrors, Mistake, Place};
use std::cell::RefCell;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// The text of a file, and what was found wrong with it so far.
pub(super) struct Document<'a> {
    pub(super) file: &'a str,
    text: &'a str,
    mistakes: RefCell<Vec<(usize, Mistake)>>,
}

/// A value and where it is written.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// What a key may hold.
pub(super) struct Kind<T> {
    /// `a duration`: for "must be …".
    pub(super) what: &'static str,
    /// How it is written, with examples.
    pub(super) allowed: &'static str,
    /// The value, or what is wrong with it.
    pub(super) read: fn(&DeValue<'_>) -> Result<T, String>,
}

impl<'a> Document<'a> {
    /// Nothing wrong yet.
    pub(super) fn new(text: &'a str, file: &'a str) -> Document<'a> {
        Document { file, text, mistakes: RefCell::default() }
    }
    /// The root table; `None` when the text is no TOML. Then what the parser recovered is not looked at: half of it would
    /// only bring mistakes that nobody made.
    pub(super) fn parse(&self) -> Option<Spanned<DeTable<'a>>> {
        let (root, errors) = DeTable::parse_recoverable(self.text);
        let mut last_line = 0;
        for error in &errors {
            let span = error.span().unwrap_or(self.text.len()..self.text.len());
            // What follows the first error of a line is mostly its consequence.
            if std::mem::replace(&mut last_line, self.line(span.start)) != self.line(span.start) {
                let label = error.message().trim_end_matches(", expected nothing");
                self.note(span, "this is not TOML", label, None);
            }
        }
        errors.is_empty().then_some(root)
    }
    /// Notes a mistake.
    pub(super) fn note(
        &self,
        span: Range<usize>,
        message: impl Into<String>,
        label: impl Into<String>,
        help: Option<String>,
    ) {
        let place = Some(Place::new(self.text, span.clone()));
        let mistake = Mistake { place, message: message.into(), label: label.into(), help };
        self.mistakes.borrow_mut().push((span.start, mistake));
    }
    /// Notes a mistake that has no place: something is missing.
    pub(super) fn note_missing(&self, message: impl Into<String>, help: impl Into<String>) {
        let mistake = Mistake { place: None, message: message.into(), label: String::new(), help: Some(help.into()) };
        self.mistakes.borrow_mut().push((0, mistake));
    }
    /// A file that the text names, relative to the file that the text is in.
    pub(super) fn beside(&self, path: &Path) -> PathBuf {
        Path::new(self.file).parent().map_or_else(|| path.to_owned(), |directory| directory.join(path))
    }
    /// The line of a byte, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        Place::new(self.text, at..at).line
    }
    /// All mistakes, in the order of the text; `Ok` when there are none.
    pub(super) fn finish(self) -> Result<(), ConfigErrors> {
        let mut mistakes = self.mistakes.into_inner();
        mistakes.sort_by_key(|(at, _)| *at);
        let mistakes: Vec<Mistake> = mistakes.into_iter().map(|(_, mistake)| mistake).collect();
        if mistakes.is_empty() { Ok(()) } else { Err(ConfigErrors { file: self.file.to_string(), mistakes }) }
    }
}

/// One table; an absent one answers `None` to every question.
pub(super) struct Table<'a> {
    document: &'a Document<'a>,
    /// `[dns]`; empty for the root.
    title: &'static str,
    /// Its header.
    pub(super) span: Range<usize>,
    entries: Option<&'a DeTable<'a>>,
    known: Vec<&'static str>,
}

impl<'a> Table<'a> {
    /// The root.
    pub(super) fn root(document: &'a Document<'a>, root: &'a DeTable<'a>) -> Table<'a> {
        Table { document, title: "", span: 0..0, entries: Some(root), known: Vec::new() }
    }
    /// Whether it is written at all.
    pub(super) fn is_present(&self) -> bool {
        self.entries.is_some()
    }
    /// Whether the key is written, rightly or wrongly.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.is_some_and(|entries| entries.contains_key(key))
    }
    /// Where the key is written: the octet at which it begins.
    pub(super) fn place_of(&self, key: &str) -> Option<usize> {
        self.entries?.get_key_value(key).map(|(written, _)| written.span().start)
    }
    /// Whether the key holds a list.
    pub(super) fn is_list(&self, key: &str) -> bool {
        self.elements(key).is_some()
    }
    /// Whether the key holds a list of nothing.
    pub(super) fn is_empty_list(&self, key: &str) -> bool {
        self.elements(key).is_some_and(|elements| elements.is_empty())
    }
    fn elements(&self, key: &str) -> Option<&'a DeArray<'a>> {
        self.entries?.get(key)?.get_ref().as_array()
    }
    /// What the key holds; `None` when it is absent or wrong (then that is noted).
    pub(super) fn read<T>(&mut self, key: &'static str, kind: &Kind<T>) -> Option<At<T>> {
        let written = self.entry(key)?;
        self.read_as(key, written, kind)
    }
    /// What the key holds, or the default.
    pub(super) fn read_or<T>(&mut self, key: &'static str, kind: &Kind<T>, default: T) -> T {
        self.read(key, kind).map_or(default, |at| at.value)
    }
    /// The elements of a list; wrong ones are noted and left out.
    pub(super) fn list<T>(&mut self, key: &'static str, kind: &Kind<T>) -> Option<At<Vec<At<T>>>> {
        let written = self.entry(key)?;
        let DeValue::Array(elements) = written.get_ref() else {
            let message = format!("{} must be a list", self.path(key));
            let help = format!("[…, …], each {}: {}", kind.what, kind.allowed);
            self.document.note(written.span(), message, found(written.get_ref()), Some(help));
            return None;
        };
        let value = elements.iter().filter_map(|element| self.read_as(key, element, kind)).collect();
        Some(At { value, span: written.span() })
    }
    /// A table in this one, `[key]`.
    pub(super) fn table(&mut self, key: &'static str, title: &'static str) -> Table<'a> {
        let written = self.entry(key);
        let entries = written.and_then(|written| self.as_table(written, key, title));
        let span = written.map_or(0..0, Spanned::span);
        Table { document: self.document, title, span, entries, known: Vec::new() }
    }
    /// All of `[[key]]`; `None` when there is none.
    pub(super) fn tables(&mut self, key: &'static str, title: &'static str) -> Option<Vec<Table<'a>>> {
        let written = self.entry(key)?;
        let DeValue::Array(elements) = written.get_ref() else {
            let message = format!("{} is a list of tables", self.path(key));
            self.document.note(written.span(), message, format!("write {title}"), None);
            return None;
        };
        let table = |element: &'a Spanned<DeValue<'a>>| Table {
            document: self.document,
            title,
            span: element.span(),
            entries: self.as_table(element, key, title),
            known: Vec::new(),
        };
        Some(elements.iter().map(table).collect())
    }
    /// Notes every key that nobody asked for.
    pub(super) fn finish(self) {
        for (key, _) in self.entries.into_iter().flatten() {
            let name = key.get_ref().as_ref();
            if self.known.contains(&name) {
                continue;
            }
            let place = if self.title.is_empty() { String::new() } else { format!(" in {}", self.title) };
            let label = closest(name, &self.known).map(|known| format!("did you mean `{known}`?")).unwrap_or_default();
            self.document.note(key.span(), format!("unknown key `{name}`{place}"), label, Some(self.known.join(", ")));
        }
    }
    /// How a key of this table is named in a message.
    pub(super) fn path(&self, key: &str) -> String {
        if self.title.is_empty() { format!("`{key}`") } else { format!("`{key}` in {}", self.title) }
    }

    fn entry(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.push(key);
        self.entries?.get(key)
    }
    fn read_as<T>(&self, key: &str, written: &Spanned<DeValue<'_>>, kind: &Kind<T>) -> Option<At<T>> {
        match (kind.read)(written.get_ref()) {
            Ok(value) => Some(At { value, span: written.span() }),
            Err(label) => {
                let message = format!("{} must be {}", self.path(key), kind.what);
                self.document.note(written.span(), message, label, Some(kind.allowed.to_string()));
                None
            }
        }
    }
    fn as_table(&self, written: &'a Spanned<DeValue<'a>>, key: &str, title: &str) -> Option<&'a DeTable<'a>> {
        let table = written.get_ref().as_table();
        if table.is_none() {
            let message = format!("{} must be a table", self.path(key));
            let label = format!("{}; write {title}", found(written.get_ref()));
            self.document.note(written.span(), message, label, None);
        }
        table
    }
}

/// The type that was found, for a label.
pub(super) fn found(value: &DeValue<'_>) -> String {
    let what = match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    format!("this is {what}")
}

/// The word that was probably meant.
pub(super) fn closest<'w>(written: &str, words: &[&'w str]) -> Option<&'w str> {
    let score = |word: &&&str| (strsim::jaro_winkler(written, word) * 1000.0) as u32;
    words.iter().max_by_key(score).filter(|word| score(word) >= 800).copied()
}
