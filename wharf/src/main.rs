//! `wharf`: the daemon and the command line of a package registry without a server.

mod args;
mod cargo;
mod client;
mod control;
mod daemon;
mod demo;
mod error;
mod home;
mod import;
mod octets;
mod render;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Verb};
use client::Client;
use control::Request;
use error::{CliError, Code};
use home::Home;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(help) => return exit_of_usage(&help),
    };
    let json = args.json;
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            render::error(&error, json);
            ExitCode::from(error.code.exit())
        }
    }
}

/// Help and version are what was asked for; anything else is a mistake, told in the form that was asked for.
fn exit_of_usage(help: &clap::Error) -> ExitCode {
    if help.use_stderr() && std::env::args_os().any(|arg| arg == "--json") {
        let message = help.render().to_string();
        let message = message.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
        let message = message.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        render::error(&CliError::new(Code::Usage, message, "see `wharf --help`"), true);
    } else {
        // Printing help can only fail when nobody reads it.
        let _ = help.print();
    }
    ExitCode::from(if help.use_stderr() { Code::Usage.exit() } else { 0 })
}

fn run(args: Args) -> Result<(), CliError> {
    let json = args.json;
    if let Verb::Demo(demo) = args.verb {
        return demo::run(&demo, json);
    }
    let home = Home::new(args.home)?;
    let request = match args.verb {
        Verb::Init => return home.init(json),
        Verb::Up(up) => return daemon::run(home, up, json),
        Verb::Demo(_) => unreachable!("handled above"),
        Verb::Publish(publish) => Request::publish(publish)?,
        Verb::Import(import) => return import::run(&home, import, json),
        Verb::Yank(yank) => Request::Yank(yank),
        Verb::Deprecate(deprecate) => Request::Deprecate(deprecate),
        Verb::Ls { what } => Request::Ls { what },
        Verb::Follow { publisher } => Request::Follow { publisher, on: true },
        Verb::Unfollow { publisher } => Request::Follow { publisher, on: false },
        Verb::Search(search) => Request::Search(search),
        Verb::Info { spec } => Request::Info { spec },
        Verb::Get(get) => Request::get(get)?,
        Verb::Watch(watch) => Request::Watch(watch),
        Verb::Peers => Request::Peers,
        Verb::Connect { addr } => Request::Connect { addr },
        Verb::Status => Request::Status,
        Verb::Dht(ask) => Request::Dht { ask },
        Verb::Pubsub(ask) => Request::Pubsub { ask },
        Verb::Ping(ping) => Request::Ping(ping),
        Verb::Identify { peer } => Request::Identify { peer },
    };
    let mut view = render::View::new(&request, json);
    Client::connect(&home)?.call(&request, |line| view.line(line))?;
    view.finish();
    Ok(())
}
