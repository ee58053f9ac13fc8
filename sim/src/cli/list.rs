//! `sim list`.

use std::process::ExitCode;

use sim::Scenario;
use sim::scenario::LIBRARY;

use super::{Done, say};

pub(super) fn run() -> Done {
    for (name, text) in LIBRARY {
        say(format_args!("{name:<20}{}", Scenario::parse(text)?.about));
    }
    Ok(ExitCode::SUCCESS)
}
