//! A real Apache Kafka in KRaft mode on loopback: brokers to stop, kill, pause and restart, and a client of them.
//! In: java and maven (the jars come from Maven Central once). Out: a bootstrap address and handles on the processes.
//! A broker dies with the test process, whatever ends that one.

mod client;
mod jars;
mod node;
pub mod raw;

pub(crate) use client::own;
pub use client::{Client, Isolation, Message, Record, Topic};
pub use node::Broker;

use std::ops::{Index, IndexMut};
use std::sync::OnceLock;
use std::time::Duration;

/// How long a broker may take until it answers. Two busy cores start one in about six seconds.
pub const START_LIMIT: Duration = Duration::from_secs(120);

/// Several brokers with one metadata quorum; topics are replicated to three of them by default.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Broker>,
}

impl Cluster {
    /// Starts `nodes` brokers with 256 MiB of heap each and waits until each knows all the others.
    pub fn start(nodes: usize) -> Self {
        Self { nodes: node::start(nodes, &[]) }
    }

    /// As [`Cluster::start`] with further lines of `server.properties`; they win over the harness's own.
    pub fn start_with(nodes: usize, properties: &[(&str, &str)]) -> Self {
        Self { nodes: node::start(nodes, properties) }
    }

    /// As [`Cluster::start`], each broker behind a proxy of its own.
    pub fn start_proxied(nodes: usize) -> Self {
        Self {
            nodes: node::start_with(
                nodes,
                &[],
                node::Kind { proxied: Some("127.0.0.1"), ..node::Kind::default() },
            ),
        }
    }

    /// Addresses of all proxies, as `bootstrap.servers` takes them.
    pub fn proxied(&self) -> String {
        self.nodes.iter().map(|n| n.proxy().address()).collect::<Vec<_>>().join(",")
    }

    /// Addresses of all brokers, as `bootstrap.servers` takes them.
    pub fn bootstrap(&self) -> String {
        self.nodes.iter().map(Broker::address).collect::<Vec<_>>().join(",")
    }

    /// A client of the cluster.
    pub fn client(&self) -> Client {
        Client::new(&self.bootstrap())
    }

    /// Number of brokers, running or not.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no broker at all.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

impl Index<usize> for Cluster {
    type Output = Broker;

    fn index(&self, index: usize) -> &Broker {
        &self.nodes[index]
    }
}

impl IndexMut<usize> for Cluster {
    fn index_mut(&mut self, index: usize) -> &mut Broker {
        &mut self.nodes[index]
    }
}

/// The broker that the tests of one process share: `AUSCULT_TEST_BROKERS`, or one started at the first call.
/// Take names from [`Client::unique`], so that tests do not meet; start your own [`Broker`] to stop or kill it.
pub fn shared() -> Client {
    static SHARED: OnceLock<(String, Option<Broker>)> = OnceLock::new();
    let (bootstrap, _) = SHARED.get_or_init(|| match std::env::var("AUSCULT_TEST_BROKERS") {
        Ok(brokers) if !brokers.is_empty() => (brokers, None),
        _ => {
            let broker = Broker::start();
            (broker.address(), Some(broker))
        }
    });
    Client::new(bootstrap)
}
