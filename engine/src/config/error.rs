//! What is wrong with a configuration: every mistake at once, each where it stands, shown as rustc shows its own.
//!
//! The renderer is forty lines of our own: one label under one line is all that a configuration needs, and none of the
//! crates for it is small.

use std::fmt;
use std::ops::Range;

/// Everything that is wrong with one configuration file, in the order of the file. Never empty.
///
/// `Display` is the rendering without colour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file, as it was named by whoever asked for it.
    pub file: String,
    /// The mistakes.
    pub mistakes: Vec<Mistake>,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where; `None` when it is about the file as a whole.
    pub place: Option<Place>,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What is wrong with the text at the place; may be empty.
    pub label: String,
    /// What is allowed.
    pub help: Option<String>,
}

/// A stretch of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// Characters; at least 1.
    pub width: usize,
    /// The whole line, for the excerpt.
    pub excerpt: String,
}

impl Place {
    /// The place of a byte range of `text`; cut at the end of its first line.
    pub fn new(text: &str, span: Range<usize>) -> Place {
        let start = floor_char_boundary(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = floor_char_boundary(text, span.end).clamp(start, line_end);
        Place {
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            width: text[start..end].chars().count().max(1),
            excerpt: text[line_start..line_end].trim_end_matches('\r').replace('\t', " "),
        }
    }
    /// The text that is wrong.
    pub fn wrong_text(&self) -> String {
        self.excerpt.chars().skip(self.column - 1).take(self.width).collect()
    }
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl ConfigErrors {
    /// As a terminal shows it; with colours where it can.
    pub fn render(&self, colour: bool) -> String {
        let [red, blue, bold, plain] =
            if colour { ["\x1b[1;31m", "\x1b[1;34m", "\x1b[1m", "\x1b[0m"] } else { [""; 4] };
        let mut out = String::new();
        for mistake in &self.mistakes {
            out += &format!("{red}error{plain}{bold}: {}{plain}\n", mistake.message);
            let gutter = mistake.place.as_ref().map_or(1, |place| place.line.to_string().len());
            let bar = format!("{blue}{:gutter$} |{plain}", "");
            match &mistake.place {
                Some(place) => {
                    let (indent, carets) = (" ".repeat(place.column - 1), "^".repeat(place.width));
                    out += &format!("{:gutter$}{blue}-->{plain} {}:{}:{}\n", "", self.file, place.line, place.column);
                    out += &format!("{bar}\n{blue}{} |{plain} {}\n", place.line, place.excerpt);
                    out += format!("{bar} {indent}{red}{carets} {}{plain}", mistake.label).trim_end();
                    out.push('\n');
                }
                None => out += &format!("{:gutter$}{blue}-->{plain} {}\n", "", self.file),
            }
            if let Some(help) = &mistake.help {
                out += &format!("{:gutter$} {blue}={plain} {bold}allowed{plain}: {help}\n", "");
            }
            out.push('\n');
        }
        let count = self.mistakes.len();
        out + &format!("{red}error{plain}{bold}: {} has {count} mistake{}{plain}\n", self.file, plural(count))
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for ConfigErrors {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, wrong: &str, line: usize, column: usize) {
        let start = text.find(wrong).unwrap();
        let place = Place::new(text, start..start + wrong.len());
        assert_eq!((place.line, place.column), (line, column), "{text:?}");
        assert_eq!(place.wrong_text(), wrong.split('\n').next().unwrap().replace('\t', " "));
    }

    #[test]
    fn places_count_lines_and_characters() {
        check("a = 1", "a", 1, 1);
        check("a = 1\nb = 2\r\nc = x", "x", 3, 5);
        check("# höhe\nµ = \"ß\" # x", "\"ß\"", 2, 5);
        check("a = [\n 1,\n 2]", "[\n 1", 1, 5);
        check("a = \"x\ty\"", "\"x\ty\"", 1, 5);
    }

    #[test]
    fn a_place_beyond_the_text_is_its_end() {
        assert_eq!(Place::new("a = ", 90..99).column, 5);
        assert_eq!(Place::new("", 0..0), Place { line: 1, column: 1, width: 1, excerpt: String::new() });
    }

    #[test]
    fn rendering_shows_file_line_column_text_and_what_is_allowed() {
        let place = Place::new("x = 1\nrate = \"fast\"\n", 13..19);
        let errors = ConfigErrors {
            file: "p.toml".into(),
            mistakes: vec![Mistake {
                place: Some(place),
                message: "`rate` must be a rate".into(),
                label: "no number".into(),
                help: Some("\"100/s\"".into()),
            }],
        };
        let expected = "error: `rate` must be a rate\n --> p.toml:2:8\n  |\n2 | rate = \"fast\"\n  |        ^^^^^^ no number\n  \
                        = allowed: \"100/s\"\n\nerror: p.toml has 1 mistake\n";
        assert_eq!(errors.to_string(), expected);
        assert!(errors.render(true).contains("\x1b[1;31merror"));
    }
}
