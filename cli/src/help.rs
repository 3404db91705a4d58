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

/// Of help pages, at most.
const COLUMNS: usize = 100;

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
    // For all commands. Wider lines are hard to read, and what is written in lines here fits into it.
    command.help_template(page).max_term_width(COLUMNS)
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
    fn no_page_is_wider_than_a_terminal() {
        fn check(command: &mut Command) {
            for page in [command.render_help(), command.render_long_help()] {
                for line in page.to_string().lines() {
                    assert!(line.chars().count() <= COLUMNS, "{}: {line}", command.get_name());
                }
            }
            command.get_subcommands_mut().for_each(check);
        }
        // As it is where nothing tells how wide the terminal is.
        let mut command = grouped(Arguments::command()).term_width(COLUMNS);
        command.build();
        check(&mut command);
    }

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
