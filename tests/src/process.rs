//! Children that die with the test process, even when that one is killed by SIGKILL.
//! In: a program, its arguments and environment, a folder for its output files. Out: a handle to signal, wait, read.
//! How: a shell holds the child and a pipe from us; when the pipe closes, it kills the child.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use crate::poll;

/// Argument 1 and 2 are the output files, 3 a folder to remove after an orphan's death (or empty), the rest the
/// program.
/// The watcher blocks in a builtin on the pipe; it is ended first when the child exits by itself, so that it cannot
/// kill a process id that was given to somebody else since.
const GUARD: &str = r#"
out=$1; err=$2; clean=$3; shift 3
exec 3<&0
"$@" </dev/null >>"$out" 2>>"$err" 3<&- &
pid=$!
(read -r _ <&3; trap '' TERM; kill -9 "$pid"; [ -z "$clean" ] || { sleep 0.2; rm -rf "$clean"; }) >/dev/null 2>&1 &
watcher=$!
echo "$pid"
exec >/dev/null
wait "$pid"; code=$?
kill "$watcher" 2>/dev/null
exit "$code"
"#;

/// What to start: a program with arguments, environment and a folder to remove should the test process die.
#[derive(Debug, Default)]
pub struct Start {
    program: OsString,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    current_dir: Option<PathBuf>,
    clean: OsString,
}

impl Start {
    /// A program, found in `PATH` unless it is a path.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self { program: program.as_ref().to_owned(), ..Self::default() }
    }

    /// Appends arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets one environment variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// The working folder.
    pub fn current_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.current_dir = Some(dir.as_ref().to_owned());
        self
    }

    /// A folder to remove when the child is killed because the test process ended without stopping it.
    pub fn remove_when_orphaned(mut self, dir: impl AsRef<Path>) -> Self {
        self.clean = dir.as_ref().as_os_str().to_owned();
        self
    }

    /// Starts it; output is appended to `<name>.out` and `<name>.err` in `dir`.
    pub fn spawn(self, dir: &Path, name: &str) -> Running {
        let (out, err) = (dir.join(format!("{name}.out")), dir.join(format!("{name}.err")));
        let mut command = Command::new("sh");
        command.args(["-c", GUARD, "guard"]).arg(&out).arg(&err).arg(&self.clean);
        command.arg(&self.program).args(&self.args).envs(self.envs);
        if let Some(dir) = &self.current_dir {
            command.current_dir(dir);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let program = self.program.to_string_lossy().into_owned();
        let mut guard = command.spawn().unwrap_or_else(|e| panic!("cannot start a shell for {program}: {e}"));
        let pipe = guard.stdin.take();
        let mut line = String::new();
        if let Some(stdout) = guard.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).expect("read the process id");
        }
        let pid = line.trim().parse().unwrap_or_else(|_| panic!("no process id for {program}: {line:?}"));
        Running { program, guard, pipe, pid, out, err, exit: None }
    }
}

/// A running child and its output files. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    program: String,
    guard: Child,
    pipe: Option<ChildStdin>,
    pid: u32,
    out: PathBuf,
    err: PathBuf,
    exit: Option<i32>,
}

impl Running {
    /// Process id of the child itself.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What it wrote to standard output so far (of all starts with the same name in the same folder).
    pub fn stdout(&self) -> String {
        read_lossy(&self.out)
    }

    /// What it wrote to standard error so far.
    pub fn stderr(&self) -> String {
        read_lossy(&self.err)
    }

    /// The last `lines` lines of both outputs, for a failure message.
    pub fn tail(&self, lines: usize) -> String {
        let tail = |text: String| {
            let all: Vec<&str> = text.lines().collect();
            all[all.len().saturating_sub(lines)..].join("\n")
        };
        format!(
            "--- {} stdout ({})\n{}\n--- stderr ({})\n{}",
            self.program,
            self.out.display(),
            tail(self.stdout()),
            self.err.display(),
            tail(self.stderr())
        )
    }

    /// The exit code once it has ended; 128 + signal number when a signal ended it.
    pub fn exit_code(&mut self) -> Option<i32> {
        if self.exit.is_none() {
            let status = self.guard.try_wait().expect("ask for the exit status");
            self.exit = status.map(|s| s.code().unwrap_or(-1));
        }
        self.exit
    }

    /// Waits for its end; panics with the log's end when it takes longer than `limit`.
    pub fn wait(&mut self, limit: Duration) -> i32 {
        match poll(limit, || self.exit_code()) {
            Some(code) => code,
            None => panic!("{} still runs after {limit:?}\n{}", self.program, self.tail(40)),
        }
    }

    /// Sends a signal by name (`TERM`, `KILL`, `STOP`, `CONT`, `INT`, `HUP`); nothing if it has ended.
    pub fn signal(&mut self, name: &str) {
        if self.exit_code().is_some() {
            return;
        }
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.pid.to_string()).status();
        let sent = status.unwrap_or_else(|e| panic!("cannot run `kill`: {e}")).success();
        assert!(sent || self.exit_code().is_some(), "cannot send {name} to {} ({})", self.pid, self.program);
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal("KILL");
        self.wait(Duration::from_secs(10));
    }

    /// SIGTERM, and waits for its end at most `limit`; the exit code.
    pub fn terminate(&mut self, limit: Duration) -> i32 {
        self.signal("TERM");
        self.wait(limit)
    }

    /// Waits until a line of either output contains `text`; that line. Panics when it ends or takes too long.
    pub fn wait_for_line(&mut self, text: &str, limit: Duration) -> String {
        let find = |all: String| all.lines().find(|l| l.contains(text)).map(str::to_owned);
        let found = poll(limit, || {
            // The exit is read before the output, so that what was written last is not missed.
            let ended = self.exit_code();
            match find(self.stdout()).or_else(|| find(self.stderr())) {
                Some(line) => Some(Ok(line)),
                None => ended.map(Err),
            }
        });
        match found {
            Some(Ok(line)) => line,
            Some(Err(code)) => {
                panic!("{} ended with {code} before it said {text:?}\n{}", self.program, self.tail(40))
            }
            None => panic!("{} did not say {text:?} within {limit:?}\n{}", self.program, self.tail(40)),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Closing the pipe lets the guard kill the child by its own id. A paused child dies of SIGKILL as well.
        drop(self.pipe.take());
        if self.exit.is_none() {
            let _ = self.guard.wait();
        }
    }
}

fn read_lossy(path: &Path) -> String {
    std::fs::read(path).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
}

/// `count` different loopback ports that nobody listens on, below the range that outgoing connections are given.
pub fn free_ports(count: usize) -> Vec<u16> {
    use std::collections::BTreeSet;
    use std::net::TcpListener;
    use std::sync::{LazyLock, Mutex};
    static TAKEN: LazyLock<Mutex<BTreeSet<u16>>> = LazyLock::new(Mutex::default);
    let mut taken = TAKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut ports = Vec::with_capacity(count);
    for _ in 0..2000 {
        if ports.len() == count {
            return ports;
        }
        let [a, b, ..] = random_bytes();
        let port = 15_000 + u16::from_le_bytes([a, b]) % 17_000;
        if !taken.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            taken.insert(port);
            ports.push(port);
        }
    }
    panic!("no {count} free ports between 15000 and 32000 on 127.0.0.1");
}

/// Sixteen bytes from the system's generator, for names that must not meet those of another run.
pub fn random_bytes() -> [u8; 16] {
    use std::io::Read;
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut f| f.read_exact(&mut bytes))
        .expect("read /dev/urandom");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alive(pid: u32) -> bool {
        // A zombie still has a folder in /proc; its state letter tells.
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
    }

    #[test]
    fn output_and_exit_code() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let start = Start::new("sh").args(["-c", "echo one; echo two >&2; echo $THREE; exit 7"]);
        let mut child = start.env("THREE", "3").spawn(dir.path(), "c");
        assert_eq!(child.wait(Duration::from_secs(10)), 7);
        assert_eq!((child.stdout().as_str(), child.stderr().as_str()), ("one\n3\n", "two\n"));
    }

    #[test]
    fn signals_and_lines() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
        let mut child = Start::new("sh").args(["-c", script]).spawn(dir.path(), "c");
        assert_eq!(child.wait_for_line("ready", Duration::from_secs(10)), "ready");
        assert_eq!(child.terminate(Duration::from_secs(10)), 3);
        assert!(child.stdout().ends_with("bye\n"));
        let mut child = Start::new("sleep").args(["600"]).spawn(dir.path(), "d");
        child.kill();
        assert_eq!(child.exit_code(), Some(128 + 9));
    }

    #[test]
    fn a_line_that_never_comes_is_a_failure() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let mut child = Start::new("sh").args(["-c", "echo other"]).spawn(dir.path(), "c");
        let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            child.wait_for_line("ready", Duration::from_secs(10))
        }));
        assert!(waited.is_err());
    }

    #[test]
    fn dropped_or_orphaned_children_die() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let child = Start::new("sleep").args(["600"]).spawn(dir.path(), "c");
        let pid = child.pid();
        assert!(alive(pid));
        drop(child);
        assert!(!alive(pid));

        // As when the test process is killed: the pipe closes and nobody calls Drop.
        let scratch = dir.path().join("scratch");
        std::fs::create_dir(&scratch).expect("create");
        let start = Start::new("sleep").args(["600"]).remove_when_orphaned(&scratch);
        let mut child = start.spawn(dir.path(), "d");
        let pid = child.pid();
        child.signal("STOP");
        drop(child.pipe.take());
        assert!(poll(Duration::from_secs(10), || (!alive(pid) && !scratch.exists()).then_some(())).is_some());
    }

    #[test]
    fn ports_differ() {
        let mut ports = free_ports(20);
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 20);
    }
}
