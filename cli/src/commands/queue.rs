//! `posthaste queue`.

mod act;
mod repair;

use crate::exit::{Exit, Failure};
use crate::http::Server;
use crate::{daemon, http, terminal, units};
use admin::control::{Act, Item, Message, Page, Summary};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Look at and act on what is queued, through the running daemon
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Queue {
    #[command(subcommand)]
    command: Command,
    /// The daemon's admin server; default: as its configuration says
    #[arg(long, global = true, value_name = "ADDRESS:PORT", value_parser = daemon::parse_address)]
    admin: Option<SocketAddr>,
    /// The daemon's configuration, to find its admin server
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How long the daemon may be silent; what takes longer is asked for in steps, and each counts by itself
    #[arg(long, global = true, value_name = "TIME", value_parser = units::interval, default_value = "5m")]
    timeout: Duration,
    /// JSON instead of tables
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Totals, and the domains with the most recipients
    Summary,
    /// What is queued
    List {
        #[command(flatten)]
        filter: Filter,
        /// Entries to show at most
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
        limit: u64,
    },
    /// One message: what is still queued of it, and its header
    Show {
        /// As in "queued as ID"
        id: String,
    },
    /// Try now
    ///
    /// What waits for its next attempt becomes due; what is held stays held. So does what its sender holds back (HOLDFOR),
    /// unless the message is named.
    #[command(override_usage = usage("retry"))]
    Retry(Acting),
    /// Keep, but try nothing until released
    ///
    /// What is queued now; mail that comes later is not held. To stop a whole destination, set `suspend = true` in a `[[site]]`
    /// and reload.
    #[command(override_usage = usage("hold"))]
    Hold(Acting),
    /// End a hold: due now
    ///
    /// Or when its sender wants it, where that is later (HOLDFOR).
    #[command(override_usage = usage("release"))]
    Release(Acting),
    /// Drop, without a notice to the sender
    #[command(override_usage = usage("remove"))]
    Remove {
        #[command(flatten)]
        acting: Acting,
        /// Do not ask first (it is asked on a terminal only)
        #[arg(long, short)]
        yes: bool,
    },
    /// Save what can be saved of a damaged journal; while no daemon runs
    ///
    /// Run it when `posthaste serve` says that the journal is damaged. Every intact group is kept; what is damaged is
    /// copied to damaged-TIME/ within the queue's directory, given up and named. A sound queue is left as it is.
    Repair(repair::Repair),
}

/// Of what acts on a selection. (What clap makes of the group is one line, wider than a terminal.)
fn usage(act: &str) -> String {
    format!(
        "posthaste queue {act} [OPTIONS] <ID>...
       posthaste queue {act} [OPTIONS] --domain D | --sender S | --tenant T | --campaign C | --all"
    )
}

const EXAMPLES: &str = "\
Examples:
  posthaste queue summary
  posthaste queue list --domain example.com --limit 20
  posthaste queue show 01HZX5W3K9QRT
  posthaste queue retry --domain example.com
  posthaste queue hold --campaign spring && posthaste queue release --campaign spring
  posthaste queue remove --sender news@example.net --yes
  posthaste queue repair --data-dir /var/lib/posthaste

What is selected by several options fits all of them. What takes long shows its progress on a
terminal. After Ctrl-C no more is changed, and what was changed until then is told; it stays so. The
same command again does the rest.

With --json, what was done is printed also where a message is not there, or after Ctrl-C.

Exit codes: 0 done, 64 wrong usage, or not confirmed, 65 no such message or domain,
            69 the daemon cannot be reached (of repair: it runs), 75 it cannot answer now, or
            interrupted; of repair: 65 it cannot be repaired, 66 no queue there, 74 a file cannot
            be read or written";

/// Which; what is named must all be so.
#[derive(Debug, clap::Args)]
#[group(skip)]
struct Filter {
    /// Recipients of this domain: bücher.example is the same as xn--bcher-kva.example
    #[arg(long)]
    domain: Option<String>,
    /// Messages of this reverse-path; "" for notices
    #[arg(long)]
    sender: Option<String>,
    /// Messages of this tenant
    #[arg(long)]
    tenant: Option<String>,
    /// Messages of this campaign
    #[arg(long)]
    campaign: Option<String>,
}

#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true).args(["id", "domain", "sender", "tenant", "campaign", "all"]))]
struct Acting {
    /// Message ids
    id: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// Everything that is queued
    #[arg(long, conflicts_with_all = ["id", "domain", "sender", "tenant", "campaign"])]
    all: bool,
}

impl Acting {
    /// For a question.
    fn in_words(&self) -> String {
        let Filter { domain, sender, tenant, campaign } = &self.filter;
        let sender = sender.as_ref().map(|sender| format!("from <{sender}>"));
        let domain = domain.as_ref().map(|domain| format!("to {domain}"));
        let tenant = tenant.as_ref().map(|tenant| format!("of tenant {tenant}"));
        let campaign = campaign.as_ref().map(|campaign| format!("of campaign {campaign}"));
        let what = match &self.id[..] {
            _ if self.all => "everything that is queued".to_owned(),
            [] => "all mail".to_owned(),
            ids => format!("message {}", ids.join(", ")),
        };
        [Some(what), sender, domain, tenant, campaign].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

impl Queue {
    /// Does it.
    pub fn run(self) -> Result<Exit, Failure> {
        let server = || {
            let address = daemon::admin(self.admin, self.config.as_ref())?;
            Ok::<_, Failure>(Server { address, patience: self.timeout })
        };
        match self.command {
            Command::Summary => {
                let summary: Summary = look_through(server()?, "/api/queue/summary")?;
                show(self.json, &summary, summary_text)
            }
            Command::List { filter, limit } => {
                let page = list(server()?, &filter, limit)?;
                show(self.json, &page, list_text)
            }
            Command::Show { id } => {
                let message: Message = look_through(server()?, &format!("/api/queue/{}", http::escape(&id)))?;
                show(self.json, &message, message_text)
            }
            Command::Retry(acting) => act::act(server()?, Act::Retry, acting, self.json),
            Command::Hold(acting) => act::act(server()?, Act::Hold, acting, self.json),
            Command::Release(acting) => act::act(server()?, Act::Release, acting, self.json),
            Command::Remove { acting, yes } => {
                let server = server()?;
                if !yes && !terminal::confirm(&format!("Remove {} for good, without a notice?", acting.in_words()))? {
                    return Err(Failure::new(Exit::Usage, "nothing was removed"));
                }
                act::act(server, Act::Remove, acting, self.json)
            }
            Command::Repair(repair) => repair.run(self.config.as_ref(), self.json),
        }
    }
}

fn show<T: serde::Serialize>(json: bool, value: &T, text: fn(&T) -> String) -> Result<Exit, Failure> {
    if json {
        terminal::print_json(value)?
    } else {
        terminal::print(&text(value))?
    }
    Ok(Exit::Done)
}

/// Asks for what the daemon looks through the whole queue for.
fn look_through<T: serde::de::DeserializeOwned>(server: Server, path: &str) -> Result<T, Failure> {
    let line = terminal::waiting_line("looking through the queue");
    let answer = http::get(server, path);
    line.finish_and_clear();
    answer
}

/// Pages until there are enough; the server answers with as few as it likes.
fn list(server: Server, filter: &Filter, limit: u64) -> Result<Page, Failure> {
    let mut all = Page::default();
    let line = terminal::status_line();
    loop {
        let missing = (limit - all.entries.len() as u64).to_string();
        let query = http::query(&[
            ("domain", filter.domain.as_deref()),
            ("sender", filter.sender.as_deref()),
            ("tenant", filter.tenant.as_deref()),
            ("campaign", filter.campaign.as_deref()),
            ("after", all.next.as_deref()),
            ("limit", Some(&missing)),
        ]);
        let page: Page = http::get(server, &format!("/api/queue{query}"))?;
        all.entries.extend(page.entries);
        all.looked_at += page.looked_at;
        all.next = page.next;
        if all.next.is_none() || all.entries.len() as u64 >= limit {
            line.finish_and_clear();
            return Ok(all);
        }
        line.set_message(format!("{} found among {} entries", all.entries.len(), all.looked_at));
    }
}

fn summary_text(summary: &Summary) -> String {
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let rows = [
        ("recipients", summary.recipients.to_string()),
        ("  ready", summary.ready.to_string()),
        ("  active", summary.active.to_string()),
        ("  deferred", summary.deferred.to_string()),
        ("  held", summary.held.to_string()),
        ("connections", summary.connections.to_string()),
        ("journal", mib(summary.journal_bytes)),
        ("  spare", mib(summary.spare_bytes)),
        ("disk free", mib(summary.free_bytes)),
    ];
    let totals: String = rows.iter().map(|(name, value)| format!("{name:12} {value:>12}\n")).collect();
    if summary.domains.is_empty() {
        return totals;
    }
    let domains: Vec<Vec<String>> =
        summary.domains.iter().map(|count| vec![count.recipients.to_string(), count.domain.clone()]).collect();
    totals + "\n" + &terminal::table(&["RECIPIENTS", "DOMAIN"], &domains)
}

fn list_text(page: &Page) -> String {
    if page.entries.is_empty() {
        return "nothing is queued that matches\n".into();
    }
    let more = if page.next.is_some() { "… and more; --limit shows them\n" } else { "" };
    items_text(&page.entries) + more
}

fn message_text(message: &Message) -> String {
    let header: String = message.header.chars().map(|c| if c == '\n' { c } else { terminal::harmless(c) }).collect();
    let entries = items_text(&message.entries);
    if header.is_empty() { entries } else { format!("{entries}\n{}\n", header.trim_end()) }
}

fn items_text(items: &[Item]) -> String {
    let now_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let row = |item: &Item| {
        vec![
            item.id.clone(),
            item.state.clone(),
            span(now_ms.saturating_sub(item.accepted_ms)),
            item.due_ms.map_or("-".into(), |due_ms| span(due_ms.saturating_sub(now_ms))),
            item.attempts.to_string(),
            if item.has_envelope() { format!("<{}>", item.sender) } else { "?".into() },
            recipient(item),
            reason(item),
        ]
    };
    let rows: Vec<Vec<String>> = items.iter().map(row).collect();
    terminal::table(&["ID", "STATE", "AGE", "DUE IN", "TRIES", "SENDER", "RECIPIENT", "LAST ERROR"], &rows)
}

/// The first one, and how many more there are; where they are unknown, how many of which domain.
fn recipient(item: &Item) -> String {
    match (item.recipients.first(), item.recipient_count) {
        (None, count) => format!("{count} at {}", item.domain),
        (Some(first), 0 | 1) => first.clone(),
        (Some(first), count) => format!("{first} +{}", count - 1),
    }
}

/// What keeps it here now, and what the host said before.
fn reason(item: &Item) -> String {
    if let Some(why) = &item.unreadable {
        return format!("cannot be read: {why}");
    }
    match (&item.waits_for[..], &*item.last_error) {
        ([], said) => said.into(),
        (limits, "") => format!("waits because of {}", limits.join(", ")),
        (limits, said) => format!("waits because of {}; {said}", limits.join(", ")),
    }
}

/// `now`, `12s`, `5m`, `3h`, `2d`.
fn span(ms: u64) -> String {
    match ms / 1000 {
        0 => "now".into(),
        s @ 1..=119 => format!("{s}s"),
        s @ 120..=7199 => format!("{}m", s / 60),
        s @ 7200..=172_799 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Arguments {
        #[command(flatten)]
        queue: Queue,
    }

    fn check(arguments: &str, ok: bool) {
        let parsed = Arguments::try_parse_from(["queue"].into_iter().chain(arguments.split_whitespace()));
        assert_eq!(parsed.is_ok(), ok, "{arguments}: {parsed:?}");
    }

    #[test]
    fn acting_needs_a_selection() {
        for arguments in [
            "retry 7",
            "hold 7 8 --json",
            "remove --domain a.b",
            "release --all",
            "remove 7 --yes",
            "list",
            "list --limit 5 --campaign x",
        ] {
            check(arguments, true);
        }
        for arguments in ["retry", "remove --all 7", "remove --all --domain a.b", "show", "list --limit 0", "eat 7"] {
            check(arguments, false);
        }
    }

    #[test]
    fn what_is_to_be_removed_is_said() {
        for (arguments, expected) in [
            (&["remove", "7", "8"][..], "message 7, 8"),
            (&["remove", "--all"], "everything that is queued"),
            (&["remove", "--domain", "a.b", "--sender", ""], "all mail from <> to a.b"),
            (&["remove", "--campaign", "x", "-y"], "all mail of campaign x"),
        ] {
            let parsed = Arguments::try_parse_from(["queue"].iter().chain(arguments)).unwrap();
            let Command::Remove { acting, .. } = parsed.queue.command else { panic!("{arguments:?}") };
            assert_eq!(acting.in_words(), expected);
        }
    }

    #[test]
    fn spans_are_short() {
        for (ms, expected) in [(999, "now"), (5000, "5s"), (300_000, "5m"), (7_200_000, "2h"), (259_200_000, "3d")] {
            assert_eq!(span(ms), expected);
        }
    }

    #[test]
    fn a_list_names_the_first_recipient_and_how_many_more() {
        let item =
            Item { id: "7".into(), recipients: vec!["a@b.example".into()], recipient_count: 3, ..Item::default() };
        let text = list_text(&Page { entries: vec![item], next: Some("x".into()), ..Page::default() });
        assert!(text.contains("a@b.example +2") && text.ends_with("--limit shows them\n"), "{text}");
        let waiting = |last_error: &str| Item {
            waits_for: vec!["connections".into(), "rate".into()],
            last_error: last_error.into(),
            ..Item::default()
        };
        assert_eq!(reason(&waiting("")), "waits because of connections, rate");
        assert_eq!(reason(&waiting("450 later")), "waits because of connections, rate; 450 later");
        let damaged = Item { unreadable: Some("x is damaged".into()), ..waiting("450 later") };
        assert_eq!(reason(&damaged), "cannot be read: x is damaged");
        let text = list_text(&Page {
            entries: vec![Item { sender: String::new(), domain: "b.example".into(), recipient_count: 2, ..damaged }],
            ..Page::default()
        });
        assert!(text.contains("  ?  ") && text.contains("  2 at b.example  "), "{text}");
        assert_eq!(list_text(&Page::default()), "nothing is queued that matches\n");
    }
}
