//! `[limits]` and `[[site]]`: the same keys; what a site leaves out it takes from `[limits]`.

use super::raw::{At, Document, Table};
use super::{Limits, Pattern, SiteRule, defaults, kinds};
use std::sync::Arc;

/// Reads the keys that `[limits]` and `[[site]]` share.
pub(super) fn limits(document: &Document<'_>, table: &mut Table<'_>, base: &Limits) -> Limits {
    const KEYS: [&str; 9] = [
        "connections",
        "connection_rate",
        "messages_per_connection",
        "rate",
        "recipients_per_message",
        "idle_timeout",
        "tls",
        "pipelining",
        "suspend",
    ];
    let own = KEYS.iter().filter_map(|key| Some((*key, place(document, table.place_of(key)?))));
    let lines = base.lines.clone().into_iter().chain(own).collect();
    Limits {
        connections: table.read_or("connections", &kinds::COUNT, base.connections),
        connection_rate: table.read_or("connection_rate", &kinds::RATE, base.connection_rate),
        messages_per_connection: table.read_or("messages_per_connection", &kinds::COUNT, base.messages_per_connection),
        rate: table.read_or("rate", &kinds::RATE, base.rate),
        recipients_per_message: table.read_or("recipients_per_message", &kinds::COUNT, base.recipients_per_message),
        idle_timeout: table.read_or("idle_timeout", &kinds::DURATION_OR_ZERO, base.idle_timeout),
        tls: table.read_or("tls", &kinds::TLS, base.tls),
        pipelining: table.read_or("pipelining", &kinds::PIPELINING, base.pipelining),
        suspend: table.read_or("suspend", &kinds::FLAG, base.suspend),
        origin: if table.is_present() { origin(document, table) } else { base.origin.clone() },
        lines,
    }
}

/// `[limits]`.
pub(super) fn global(document: &Document<'_>, root: &mut Table<'_>) -> Arc<Limits> {
    let mut table = root.table("limits", "[limits]");
    let limits = limits(document, &mut table, &defaults::limits());
    table.finish();
    Arc::new(limits)
}

/// All of `[[site]]`.
pub(super) fn sites(document: &Document<'_>, root: &mut Table<'_>, base: &Limits) -> Vec<SiteRule> {
    let (mut domains_seen, mut mx_seen) = (Seen::default(), Seen::default());
    let tables = root.tables("site", "[[site]]").unwrap_or_default();
    let read = |mut table: Table<'_>| {
        let mut matcher = table.table("match", "`match` of [[site]]");
        let (domains, mx) = (matcher.list("domain", &kinds::PATTERN), matcher.list("mx", &kinds::PATTERN));
        let is_complained_about = table.has("match") && !matcher.is_present();
        if !is_complained_about && names_nothing(&matcher, "domain") && names_nothing(&matcher, "mx") {
            let span = if matcher.is_present() { matcher.span.clone() } else { table.span.clone() };
            let help =
                "match = { domain = [\"example.com\"] }, match = { mx = [\"*.google.com\"] }, or both".to_string();
            document.note(span, "this [[site]] matches nothing", "it names no domain and no mx", Some(help));
        }
        matcher.finish();
        let limits = limits(document, &mut table, base);
        table.finish();
        SiteRule {
            domains: domains_seen.add(document, "[[site]]", domains),
            mx: mx_seen.add(document, "[[site]]", mx),
            limits: Arc::new(limits),
        }
    };
    tables.into_iter().map(read).collect()
}

/// Whether the key of a rule is absent, or holds an empty list. What is wrong there has been complained about already.
pub(super) fn names_nothing(table: &Table<'_>, key: &str) -> bool {
    !table.has(key) || table.is_empty_list(key)
}

/// `posthaste.toml:41`, of a table's header.
pub(super) fn origin(document: &Document<'_>, table: &Table<'_>) -> Arc<str> {
    place(document, table.span.start)
}

/// `posthaste.toml:43`, of what begins at this octet.
fn place(document: &Document<'_>, at: usize) -> Arc<str> {
    let file = document.file.rsplit('/').next().unwrap_or(document.file);
    format!("{file}:{}", document.line(at)).into()
}

/// The patterns of earlier rules. The first match wins, so what an earlier rule covers is never reached: a mistake.
#[derive(Default)]
pub(super) struct Seen(Vec<(Pattern, usize)>);

impl Seen {
    /// Notes what is hidden, and remembers this rule's patterns.
    pub(super) fn add(
        &mut self,
        document: &Document<'_>,
        rule: &str,
        patterns: Option<At<Vec<At<Pattern>>>>,
    ) -> Vec<Pattern> {
        let patterns = patterns.map(|list| list.value).unwrap_or_default();
        for At { value, span } in &patterns {
            if let Some((earlier, line)) = self.0.iter().find(|(earlier, _)| covers(earlier, value)) {
                let label = format!("\"{}\" in line {line} matches first", earlier.0);
                let help = format!("the first {rule} that matches is used: put the narrower one before the wider one");
                document.note(
                    span.clone(),
                    format!("this {rule} is never used for \"{}\"", value.0),
                    label,
                    Some(help),
                );
            }
        }
        self.0.extend(patterns.iter().map(|at| (at.value.clone(), document.line(at.span.start))));
        patterns.into_iter().map(|at| at.value).collect()
    }
}

/// Whether `wide` matches everything that `narrow` does.
fn covers(wide: &Pattern, narrow: &Pattern) -> bool {
    wide == narrow || wide.0.strip_prefix('*').is_some_and(|suffix| narrow.0.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_patterns_cover_narrow_ones() {
        for (wide, narrow, expected) in [
            ("*", "a.b", true),
            ("*", "*.b", true),
            ("*.b", "a.b", true),
            ("*.b", "*.a.b", true),
            ("*.b", "b", false),
            ("*.a.b", "*.b", false),
            ("a.b", "a.b", true),
            ("a.b", "*.b", false),
        ] {
            let pattern = |text: &str| Pattern(text.into());
            assert_eq!(covers(&pattern(wide), &pattern(narrow)), expected, "{wide} {narrow}");
        }
    }
}
