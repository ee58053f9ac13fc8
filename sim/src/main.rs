//! `sim`: runs a virtual network from the command line.

mod cli;

use std::process::ExitCode;

/// A thousand nodes are millions of small allocations that live long and die in no order.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
