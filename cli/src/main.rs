//! `posthaste`: an outbound SMTP delivery engine. One binary, a subcommand for everything.

mod commands;
mod control;
mod daemon;
mod demo;
mod exit;
mod help;
mod http;
mod logging;
mod signals;
mod submit;
mod terminal;
mod units;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use exit::Exit;
use std::process::ExitCode;

/// Messages cross threads: they are allocated on one and freed on another, which is what mimalloc is good at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Delivers mail, bulk and transactional: durable before it is acknowledged, as fast as receivers allow.
#[derive(Debug, Parser)]
#[command(name = "posthaste", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(commands::demo::Demo),
    Serve(commands::serve::Serve),
    Check(commands::check::Check),
    Send(commands::send::Send),
    Queue(commands::queue::Queue),
    User(commands::user::User),
    Explain(commands::explain::Explain),
    Sink(commands::sink::Sink),
    Load(Box<commands::load::Load>),
}

fn main() -> ExitCode {
    let matches = help::grouped(Arguments::command()).try_get_matches();
    let arguments = match matches.and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => arguments,
        Err(error) => {
            // When the terminal is gone there is nobody to tell.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    let result = match arguments.command {
        Command::Demo(demo) => demo.run(),
        Command::Serve(serve) => serve.run(),
        Command::Check(check) => check.run(),
        Command::Send(send) => send.run(),
        Command::Queue(queue) => queue.run(),
        Command::User(user) => user.run(),
        Command::Explain(explain) => explain.run(),
        Command::Sink(sink) => sink.run(),
        Command::Load(load) => load.run(),
    };
    result.unwrap_or_else(|failure| failure.report()).into()
}
