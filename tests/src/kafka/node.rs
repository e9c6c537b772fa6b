//! One broker process: its properties, format, start, and the faults a test may do to it.
//! In: node number and ports of the whole quorum. Out: a handle; its data stay over kill and restart.
//! Data, log and settings lie in a temporary folder that goes with the handle.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tempfile::TempDir;

use super::{Client, START_LIMIT, jars};
use crate::poll;
use crate::process::{Running, Start, free_ports, random_bytes};
use crate::proxy::Proxy;

const LOG4J: &str = "\
rootLogger.level = WARN
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %m (%c{1})%n%throwable
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = INFO
logger.group.name = org.apache.kafka.coordinator.group
logger.group.level = INFO
";

/// One broker (and controller) process with its data. Dropping it kills it and removes its data.
#[derive(Debug)]
pub struct Broker {
    // Before the folder, so that the process is gone when its folder is removed.
    running: Option<Running>,
    dir: TempDir,
    jars: PathBuf,
    port: u16,
    heap_mib: u32,
    long_lived: bool,
    nodes: usize,
    proxy: Option<Proxy>,
}

impl Broker {
    /// Starts one broker with 512 MiB of heap and waits until it answers.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// As [`Broker::start`] with further lines of `server.properties`; they win over the harness's own.
    pub fn start_with(properties: &[(&str, &str)]) -> Self {
        start(1, properties).pop().expect("one broker was asked for")
    }

    /// As [`Broker::start`], with a proxy that clients who bootstrap at [`Broker::proxy`] stay behind.
    pub fn start_proxied() -> Self {
        Self::start_proxied_at("127.0.0.1")
    }

    /// As [`Broker::start_proxied`], the proxy at another address of this machine.
    pub fn start_proxied_at(host: &str) -> Self {
        let kind = Kind { long_lived: false, proxied: Some(host) };
        start_with(1, &[], kind).pop().expect("one broker was asked for")
    }

    /// As [`Broker::start_with`], compiled as well as a broker in production is, for measurements that take minutes.
    pub fn start_long_lived(properties: &[(&str, &str)]) -> Self {
        let kind = Kind { long_lived: true, proxied: None };
        start_with(1, properties, kind).pop().expect("one broker was asked for")
    }

    /// The proxy before this broker; the broker advertises it to whoever comes through it.
    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("the broker was started with a proxy")
    }

    /// `host:port` of this broker.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A client of this broker.
    pub fn client(&self) -> Client {
        Client::new(&self.address())
    }

    /// Clean stop (SIGTERM), at most 60 s.
    pub fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.terminate(Duration::from_secs(60));
        }
    }

    /// SIGKILL; what the broker had not yet written to its log folder is lost to it.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.kill();
        }
    }

    /// SIGSTOP: the broker keeps its sockets and answers nothing.
    pub fn pause(&mut self) {
        self.process().signal("STOP");
    }

    /// SIGCONT after [`Broker::pause`].
    pub fn resume(&mut self) {
        self.process().signal("CONT");
    }

    /// Starts it again on the same port and data after [`Broker::stop`] or [`Broker::kill`]; waits until it answers.
    pub fn restart(&mut self) {
        assert!(self.running.is_none(), "the broker at {} still runs", self.address());
        self.launch();
        // The rest of the quorum may be down on purpose: this broker has only to answer for itself.
        if let Err(why) = self.ready(1) {
            panic!("{why}");
        }
    }

    /// Whether its process runs (a paused one does).
    pub fn is_running(&mut self) -> bool {
        self.running.as_mut().is_some_and(|running| running.exit_code().is_none())
    }

    /// The last `lines` lines of its log.
    pub fn log(&self, lines: usize) -> String {
        self.running.as_ref().map_or_else(|| "(not running)".into(), |running| running.tail(lines))
    }

    /// How often a line of the log, over all its starts, contains `text`.
    pub fn log_count(&self, text: &str) -> usize {
        let log = std::fs::read_to_string(self.dir.path().join("broker.out")).unwrap_or_default();
        log.lines().filter(|line| line.contains(text)).count()
    }

    /// Process id; 0 while it does not run.
    pub fn pid(&self) -> u32 {
        self.running.as_ref().map_or(0, Running::pid)
    }

    fn process(&mut self) -> &mut Running {
        self.running.as_mut().expect("the broker was stopped or killed by the test")
    }

    fn java(&self, heap_mib: u32) -> Start {
        let log4j =
            format!("-Dlog4j2.configurationFile={}", self.dir.path().join("log4j2.properties").display());
        let heap = [format!("-Xms{}m", heap_mib.min(256)), format!("-Xmx{heap_mib}m")];
        // The first compiler only: a short-lived broker on a busy machine never earns back the second one's work.
        let level = if self.long_lived { 4 } else { 1 };
        let start = Start::new("java").args(heap).args([format!("-XX:TieredStopAtLevel={level}")]);
        let start = start.args(["-XX:+UseSerialGC"]);
        start.args([log4j, "-cp".into(), format!("{}/*", self.jars.display())])
    }

    fn format(&self, cluster_id: &str) {
        let properties = self.dir.path().join("server.properties");
        let start = self.java(128).args(["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c"]);
        let mut tool = start.args([properties]).spawn(self.dir.path(), "format");
        let code = tool.wait(START_LIMIT);
        assert!(code == 0, "cannot format the broker's storage\n{}", tool.tail(40));
    }

    fn launch(&mut self) {
        let properties = self.dir.path().join("server.properties");
        let start = self.java(self.heap_mib).args(["kafka.Kafka"]).args([properties]);
        let start = if crate::keep() { start } else { start.remove_when_orphaned(self.dir.path()) };
        self.running = Some(start.spawn(self.dir.path(), "broker"));
    }

    /// Waits until the broker answers a metadata request that lists `nodes` brokers.
    fn ready(&mut self, nodes: usize) -> Result<(), String> {
        let address = self.address();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &address).set("reconnect.backoff.max.ms", "200");
        let consumer: BaseConsumer = config.create().map_err(|e| format!("cannot make a client: {e}"))?;
        let answered = poll(START_LIMIT, || {
            if !self.is_running() {
                return Some(false);
            }
            // No client talks before somebody listens, so that its own backing off costs nothing.
            std::net::TcpStream::connect(&address).ok()?;
            let metadata = consumer.fetch_metadata(None, Duration::from_secs(2)).ok()?;
            (metadata.brokers().len() >= nodes).then_some(true)
        });
        match answered {
            Some(true) => Ok(()),
            Some(false) => Err(format!("the broker at {address} ended at its start\n{}", self.log(40))),
            None => Err(format!("no answer of {address} within {START_LIMIT:?}\n{}", self.log(40))),
        }
    }
}

/// What brokers are started for.
#[derive(Clone, Copy, Default)]
pub(super) struct Kind<'a> {
    /// For minutes, so that compiling them well pays.
    pub long_lived: bool,
    /// Each behind a proxy of its own at this address.
    pub proxied: Option<&'a str>,
}

/// Starts a quorum of `nodes`; a port that somebody else took meanwhile is worth two further tries.
pub(super) fn start(nodes: usize, extra: &[(&str, &str)]) -> Vec<Broker> {
    start_with(nodes, extra, Kind::default())
}

/// As [`start`], brokers of this kind.
pub(super) fn start_with(nodes: usize, extra: &[(&str, &str)], kind: Kind<'_>) -> Vec<Broker> {
    let mut last = String::new();
    for _ in 0..3 {
        match try_start(nodes, extra, kind) {
            Ok(brokers) => return brokers,
            Err(why) => last = why,
        }
        if !last.contains("Address already in use") {
            break;
        }
    }
    panic!("{last}");
}

fn try_start(nodes: usize, extra: &[(&str, &str)], kind: Kind<'_>) -> Result<Vec<Broker>, String> {
    let Kind { long_lived, proxied } = kind;
    assert!(nodes > 0, "a cluster has at least one broker");
    let jars = jars::folder();
    let ports = free_ports(3 * nodes);
    let (brokers, rest) = ports.split_at(nodes);
    let (controllers, behind) = rest.split_at(nodes);
    let cluster_id = cluster_id();
    let heap_mib = if nodes == 1 { 512 } else { 256 };
    let mut started = Vec::with_capacity(nodes);
    for id in 1..=nodes {
        let dir = crate::scratch("auscult-kafka-");
        let proxy = proxied.map(|host| Proxy::start_at(host, &format!("127.0.0.1:{}", behind[id - 1])));
        let through = proxy.as_ref().map(|p| (behind[id - 1], p.address()));
        let text = properties(id, brokers[id - 1], controllers, through, dir.path(), extra);
        std::fs::write(dir.path().join("server.properties"), text).map_err(|e| e.to_string())?;
        std::fs::write(dir.path().join("log4j2.properties"), LOG4J).map_err(|e| e.to_string())?;
        let (port, jars) = (brokers[id - 1], jars.clone());
        started.push(Broker { running: None, dir, jars, port, heap_mib, long_lived, nodes, proxy });
    }
    for broker in &mut started {
        broker.format(&cluster_id);
        broker.launch();
    }
    for broker in &mut started {
        broker.ready(broker.nodes)?;
    }
    Ok(started)
}

fn properties(
    id: usize,
    port: u16,
    controllers: &[u16],
    through: Option<(u16, String)>,
    dir: &Path,
    extra: &[(&str, &str)],
) -> String {
    let behind = through.as_ref().map_or(String::new(), |t| format!(",PROXIED://127.0.0.1:{}", t.0));
    let before = through.map_or(String::new(), |t| format!(",PROXIED://{}", t.1));
    let nodes = controllers.len();
    let voters: Vec<String> =
        controllers.iter().enumerate().map(|(i, p)| format!("{}@127.0.0.1:{p}", i + 1)).collect();
    let (replicas, min_isr) = (nodes.min(3), if nodes >= 3 { 2 } else { 1 });
    let mut text = format!(
        "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{behind}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{before}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
default.replication.factor={replicas}
min.insync.replicas={min_isr}
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions=8
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={min_isr}
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={min_isr}
group.initial.rebalance.delay.ms=0
log.cleaner.backoff.ms=1000
log.cleaner.dedupe.buffer.size=16777216
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
",
        voters = voters.join(","),
        controller = controllers[id - 1],
        data = dir.join("data").display(),
    );
    // Of a key that stands twice the properties format takes the last, so the caller's lines win.
    extra.iter().for_each(|(key, value)| text.push_str(&format!("{key}={value}\n")));
    text
}

/// Sixteen random bytes as Kafka writes an id: URL-safe base64 without padding.
fn cluster_id() -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let value = u128::from_be_bytes(random_bytes());
    // The first digit is forced to a letter: the tools take a leading dash for an option.
    let digits = (0..22).map(|i| {
        let bits = if i < 21 { (value >> (122 - 6 * i)) & 63 } else { (value << 4) & 63 };
        DIGITS[if i == 0 { (bits % 26) as usize } else { bits as usize }] as char
    });
    digits.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_22_digits_and_differ() {
        let (a, b) = (cluster_id(), cluster_id());
        assert_eq!((a.len(), b.len()), (22, 22));
        assert_ne!(a, b);
        assert!(a.starts_with(|c: char| c.is_ascii_uppercase()));
    }

    #[test]
    fn later_properties_win_and_three_nodes_replicate() {
        let text = properties(2, 100, &[1, 2, 3], None, Path::new("d"), &[("min.insync.replicas", "3")]);
        assert!(text.contains("controller.quorum.voters=1@127.0.0.1:1,2@127.0.0.1:2,3@127.0.0.1:3\n"));
        assert!(text.contains("listeners=PLAINTEXT://127.0.0.1:100,CONTROLLER://127.0.0.1:2\n"));
        assert!(text.contains("default.replication.factor=3\n"));
        assert_eq!(text.lines().last(), Some("min.insync.replicas=3"));
        let text = properties(1, 100, &[1], Some((7, "10.0.0.1:8".into())), Path::new("d"), &[]);
        assert!(text.contains(
            "\nlisteners=PLAINTEXT://127.0.0.1:100,CONTROLLER://127.0.0.1:1,PROXIED://127.0.0.1:7\n"
        ));
        assert!(text.contains("advertised.listeners=PLAINTEXT://127.0.0.1:100,PROXIED://10.0.0.1:8\n"));
    }
}
