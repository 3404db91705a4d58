//! `posthaste --help`: the commands in groups, a line each, taken from the commands themselves.

use crate::exit;
use clap::Command;

/// What belongs together, in the order in which a newcomer meets it.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Try it", &["demo"]),
    ("Run it", &["serve", "check", "user", "send"]),
    ("Look at it, act on it", &["queue", "explain"]),
    ("Measure it", &["load", "sink"]),
];

/// Gives the top-level command its help page.
pub fn grouped(command: Command) -> Command {
    let title = *command.get_styles().get_header();
    let mut page = String::from("{about}\n\nStart with: posthaste demo\n\n{usage-heading} {usage}\n");
    for (name, members) in GROUPS {
        let about = |member: &&str| {
            let about = command.find_subcommand(member)?.get_about()?;
            Some(format!("  {member:<8} {about}\n"))
        };
        let lines: String = members.iter().filter_map(about).collect();
        if !lines.is_empty() {
            page += &format!("\n{title}{name}:{title:#}\n{lines}");
        }
    }
    page += &format!("\n{title}Options:{title:#}\n{{options}}\n\n");
    page += "'posthaste COMMAND --help' has the options with their units, and examples.\n";
    page += exit::HELP;
    command.help_template(page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Arguments;
    use clap::CommandFactory;

    #[test]
    fn every_command_has_its_line() {
        let command = Arguments::command();
        let help = grouped(command.clone()).render_help().to_string();
        for subcommand in command.get_subcommands().filter(|command| command.get_name() != "help") {
            let line = format!("  {:<8} {}", subcommand.get_name(), subcommand.get_about().expect("each has one"));
            assert!(help.contains(&line), "{line}\n{help}");
        }
    }

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
