//! Counts the instructions of the walk's parts and holds them against the table that is kept.
//! In: nothing (`--keep` renews the table). Out: a line a part; exit code 1 if one costs over 3 % more than kept.
//!
//! Times on a busy machine say little; instructions are the same from run to run. Counting is valgrind's: this program
//! runs itself under callgrind, once for each part.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool says what it found")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use auscult_benches::kernels;

/// How much more than kept is too much.
const TOLERANCE: f64 = 0.03;

fn table() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("counts.toml")
}

/// Instructions of one part, as callgrind tells them, or why there are none.
fn count(part: &str) -> Result<u64, String> {
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg("--toggle-collect=auscult_benches::kernels::measured*")
        .arg(own)
        .args(["part", part])
        .output()
        .map_err(|e| format!("valgrind does not start, so nothing is counted: {e}"))?;
    let said = String::from_utf8_lossy(&run.stderr);
    let collected = said.lines().find_map(|l| l.split_once("Collected :")).map(|(_, n)| n.trim().parse());
    match (run.status.success(), collected) {
        (true, Some(Ok(n))) if n > 0 => Ok(n),
        _ => Err(format!("callgrind did not count {part}:\n{said}")),
    }
}

/// The kept table; empty where there is none yet.
fn kept() -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(table()).unwrap_or_default();
    let line = |l: &str| {
        let (name, n) = l.split_once('=')?;
        Some((name.trim().trim_matches('"').to_string(), n.trim().replace('_', "").parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

fn keep(counts: &BTreeMap<String, u64>) -> std::io::Result<()> {
    let head = "# Instructions a bed-second (of `filter`: a channel-second), by callgrind; renewed by\n\
                # `cargo run --release -p auscult-benches --bin counts -- --keep`.\n";
    let lines = counts.iter().map(|(name, n)| format!("\"{name}\" = {n}\n"));
    std::fs::write(table(), lines.fold(head.to_string(), |all, l| all + &l))
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [word, part] = args.as_slice()
        && word == "part"
    {
        return match kernels::run(part) {
            Some(_) => ExitCode::SUCCESS,
            None => ExitCode::from(2),
        };
    }
    let only: Vec<&String> = args.iter().filter(|a| !a.starts_with("--")).collect();
    let (kept, mut now, mut worse) = (kept(), BTreeMap::new(), 0);
    for part in kernels::names().into_iter().filter(|n| only.is_empty() || only.contains(&n)) {
        let each = match count(&part) {
            Ok(all) => all / kernels::run(&part).unwrap_or(1).max(1) as u64,
            Err(why) => {
                eprintln!("counts: {why}");
                return ExitCode::FAILURE;
            }
        };
        let before = kept.get(&part).copied();
        let change = before.map(|b| each as f64 / b as f64 - 1.0);
        let verdict = match change {
            None => "not kept yet".into(),
            Some(c) if c > TOLERANCE => format!("{:+.1} %: TOO MUCH", c * 100.0),
            Some(c) => format!("{:+.1} %", c * 100.0),
        };
        worse += usize::from(change.is_none_or(|c| c > TOLERANCE));
        println!("{part:<28} {each:>8} {verdict}");
        now.insert(part, each);
    }
    if args.iter().any(|a| a == "--keep") {
        if let Err(e) = keep(&now) {
            eprintln!("counts: cannot write the table: {e}");
            return ExitCode::FAILURE;
        }
        return ExitCode::SUCCESS;
    }
    ExitCode::from(u8::from(worse > 0))
}
