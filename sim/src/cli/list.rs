//! `sim list`.

use std::process::ExitCode;

use sim::Scenario;
use sim::scenario::LIBRARY;

use super::Done;

pub(super) fn run() -> Done {
    for (name, text) in LIBRARY {
        println!("{name:<20}{}", Scenario::parse(text)?.about);
    }
    Ok(ExitCode::SUCCESS)
}
