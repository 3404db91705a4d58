//! Colour and progress: on a terminal only, and `NO_COLOR` (no-color.org) is respected.

use crate::exit::{Exit, Failure};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::io::{ErrorKind, IsTerminal, Write};
use std::time::Duration;

/// Whether standard error takes colours.
pub fn has_colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// For standard error.
pub fn red(text: &str) -> String {
    if has_colour() { format!("\x1b[1;31m{text}\x1b[0m") } else { text.to_string() }
}

/// A bar on standard error; an invisible one when that is no terminal.
pub fn progress_bar(total: u64) -> ProgressBar {
    let template = "{elapsed_precise} [{bar:40}] {human_pos}/{human_len} {msg}";
    // A template that indicatif refuses costs the looks only.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr_with_hz(10)
    } else {
        ProgressDrawTarget::hidden()
    };
    ProgressBar::with_draw_target(Some(total), target).with_style(style.progress_chars("=> "))
}

/// One line on standard error that is redrawn; an invisible one when that is no terminal.
pub fn status_line() -> ProgressBar {
    let bar = progress_bar(0);
    bar.set_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// One line on standard error that says what is waited for, and how long already.
pub fn waiting_line(what: &'static str) -> ProgressBar {
    let bar = progress_bar(0);
    let style = ProgressStyle::with_template("{msg} {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_secs(1));
    bar
}

/// A line on standard error. Nobody is left to hear that it cannot be written.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Asks on the terminal; where standard input is none, nobody can be asked and it is taken as wanted.
///
/// # Errors
/// The terminal cannot be read.
pub fn confirm(question: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Ok(true);
    }
    let mut errors = std::io::stderr();
    write!(errors, "{question} [y/N] ").and_then(|()| errors.flush())?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Prints to standard output. A reader that has seen enough (`| head`) is no failure.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Io, format!("cannot write the output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints one object on one line.
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(std::io::Error::from)?;
    print(&(text + "\n"))
}

/// A character of peers' words, as a terminal may have it: nothing that moves the cursor, or turns what follows round
/// (Unicode's controls of direction).
pub fn harmless(c: char) -> char {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if c.is_control() || turns { ' ' } else { c }
}

/// Columns, as wide as their widest cell; the last one as wide as it likes. Peers' words stand in here, made harmless.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let clean = |cell: &str| cell.chars().map(harmless).collect::<String>();
    let mut lines: Vec<Vec<String>> = vec![header.iter().map(|cell| cell.to_string()).collect()];
    lines.extend(rows.iter().map(|row| row.iter().map(|cell| clean(cell)).collect()));
    let width = |column: usize| lines.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..header.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for line in &lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        out += cells.join("  ").trim_end();
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_straight_columns_and_no_control_characters() {
        let rows = [
            vec!["a".to_string(), "ü".to_string(), "1\u{1b}[2J\n".to_string()],
            vec!["long".into(), "x".into(), "2\u{202e}3".into()],
        ];
        assert_eq!(table(&["ID", "TO", "ERROR"], &rows), "ID    TO  ERROR\na     ü   1 [2J\nlong  x   2 3\n");
    }
}
