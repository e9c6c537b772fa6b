//! promtool, the checker of Prometheus metrics and rules.
//! In: its arguments and standard input. Out: its status and output.
//! From `PATH`, else from the Debian package `prometheus`, unpacked into the cache without installing it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::{binary, cache};

/// Path of promtool.
pub fn path() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let in_path = std::env::var_os("PATH").and_then(|path| {
            std::env::split_paths(&path).map(|dir| dir.join("promtool")).find(|file| file.is_file())
        });
        in_path.unwrap_or_else(|| {
            cache::folder(&format!("promtool-{}", std::env::consts::ARCH), unpack).join("promtool")
        })
    })
}

/// Runs promtool to its end, `input` on its standard input.
pub fn run(args: &[&str], input: &str) -> Output {
    binary::finish(Command::new(path()).args(args), input.as_bytes())
}

/// What `promtool check metrics` has against a Prometheus exposition; nothing when it is clean.
pub fn check_metrics(exposition: &str) -> Result<(), String> {
    complaints(run(&["check", "metrics"], exposition))
}

/// What `promtool check rules` has against a rule file; nothing when it is clean.
pub fn check_rules(file: &Path) -> Result<(), String> {
    complaints(run(&["check", "rules", &file.to_string_lossy()], ""))
}

fn complaints(output: Output) -> Result<(), String> {
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(()) } else { Err(text) }
}

fn unpack(aside: &Path) {
    let attempt = |program: &str, args: &[&str]| -> Result<(), String> {
        let mut command = Command::new(program);
        command.args(args).current_dir(aside).env("DEBIAN_FRONTEND", "noninteractive");
        let output = command.output().map_err(|e| format!("{program}: {e}"))?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(()) } else { Err(format!("{program} {args:?}: {stderr}")) }
    };
    let fetch = || attempt("apt-get", &["download", "prometheus"]);
    let fetched = fetch().or_else(|_| attempt("apt-get", &["update"]).and_then(|()| fetch()));
    let unpacked = fetched.and_then(|()| {
        let package = std::fs::read_dir(aside)
            .map_err(|e| e.to_string())?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .find(|name| name.ends_with(".deb"))
            .ok_or("apt-get download left no package")?;
        attempt("dpkg", &["-x", &package, "unpacked"])?;
        std::fs::rename(aside.join("unpacked/usr/bin/promtool"), aside.join("promtool"))
            .and_then(|()| std::fs::remove_dir_all(aside.join("unpacked")))
            .and_then(|()| std::fs::remove_file(aside.join(&package)))
            .map_err(|e| format!("no promtool in {package}: {e}"))
    });
    if let Err(error) = unpacked {
        panic!(
            "promtool is not in PATH and the Debian package cannot be fetched ({error}); \
             install it: `apt-get install prometheus`, or unpack a release of Prometheus into PATH"
        );
    }
}
