//! The command line: one binary, one subcommand a file.
//! In: arguments. Out: exit code 0 ok, 1 failed work, 2 usage, 65 bad data, 69 service unavailable, 78 bad config, 141
//! nobody reads standard output any more.

mod beats;
mod broker;
mod check;
mod demo;
mod docs;
mod feed;
mod list;
mod logging;
mod memory;
mod replay;
mod run;
mod say;
mod schema;
mod send;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::error::RunError;

/// Auscult listens to every bed at once: physiological streams in, risk events out.
///
/// Decision support for research and integration; not a medical device.
#[derive(Debug, Parser)]
#[command(name = "auscult", version, propagate_version = true)]
struct Cli {
    /// How errors are written.
    #[arg(long, global = true, value_enum, default_value = "text")]
    error_format: Format,
    /// How logs are written.
    #[arg(long, global = true, value_enum, default_value = "text")]
    log_format: Format,
    /// More log: -v debug, -vv trace.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A simulated ward through the very same walk, with a live dashboard; no Kafka, no configuration, no network.
    Demo(demo::Args),
    /// The service: Kafka in, Kafka and Parquet out.
    Run(run::Args),
    /// The watchdog: says when an instance is dead, stuck, lagging or held back.
    Watch(watch::Args),
    /// Check a configuration: parse, resolve, connect, dry-run.
    Check(check::Args),
    /// Write a commented configuration to start from.
    Init(check::InitArgs),
    /// Publish recordings or simulated beds as frames.
    Send(send::Args),
    /// The same walk over recordings, as fast as it goes.
    Replay(replay::Args),
    /// Beat annotations of recordings, as WFDB files that any EC57 scorer reads.
    Beats(beats::Args),
    /// What there is: operators, scores, models, rules, channels, limits, metrics, codes.
    List(list::Args),
    /// JSON Schemas of configuration and outputs.
    Schema(schema::Args),
    /// The reference pages and schemas, for whoever changes Auscult.
    #[command(hide = true)]
    Docs(docs::Args),
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let printed = e.print();
            // Help and version are no errors, and are read on standard output as all else.
            let said = if e.use_stderr() { Ok(()) } else { say::written(printed) };
            return exit(said, u8::try_from(e.exit_code()).unwrap_or(2));
        }
    };
    logging::start(cli.log_format == Format::Json, cli.verbose);
    let result = match &cli.command {
        Command::Demo(args) => demo::run(args),
        Command::Run(args) => run::run(args),
        Command::Watch(args) => watch::run(args),
        Command::Check(args) => check::run(args),
        Command::Init(args) => check::init(args),
        Command::Send(args) => send::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Beats(args) => beats::run(args),
        Command::List(args) => list::run(args),
        Command::Schema(args) => schema::run(args),
        Command::Docs(args) => docs::run(args),
    };
    if let Err(e) = &result {
        tell(e, cli.error_format);
    }
    exit(result, 0)
}

/// The exit code of a failure, or else this one.
fn exit(result: Result<(), RunError>, otherwise: u8) -> ExitCode {
    ExitCode::from(result.err().map_or(otherwise, |e| e.exit_code()))
}

fn tell(e: &RunError, format: Format) {
    if matches!(e, RunError::Unread) {
        // `auscult list | head` is no failure to speak of.
        return;
    }
    if format == Format::Text {
        return say::complaint(format_args!("error: {e}"));
    }
    let faults = if let RunError::Config(f) = e { f.list.clone() } else { Vec::new() };
    let body = serde_json::json!({"code": e.code(), "message": e.to_string(), "exit": e.exit_code(), "faults": faults});
    say::complaint(format_args!("{body}"));
}
