//! The `torpor` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    torpor::cli::run()
}
