//! The `auscult` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    auscult::cli::main()
}
