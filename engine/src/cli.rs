//! The command line: one binary, one subcommand a file.
//! In: arguments. Out: exit code 0 ok, 1 failed work, 2 usage, 65 bad data, 69 service unavailable, 78 bad config.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is where the program speaks")]

mod beats;
mod broker;
mod check;
mod demo;
mod docs;
mod feed;
mod list;
mod logging;
mod replay;
mod run;
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
    /// The watchdog: says when an instance is dead, stuck or lagging.
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
    let cli = Cli::parse();
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
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tell(&e, cli.error_format);
            ExitCode::from(e.exit_code())
        }
    }
}

fn tell(e: &RunError, format: Format) {
    if format == Format::Text {
        eprintln!("error: {e}");
        return;
    }
    let faults = if let RunError::Config(f) = e { f.list.clone() } else { Vec::new() };
    let body = serde_json::json!({"code": e.code(), "message": e.to_string(), "exit": e.exit_code(), "faults": faults});
    eprintln!("{body}");
}
