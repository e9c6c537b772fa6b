//! A proxy between a client and one broker that holds, cuts, resets, slows, and swallows chosen answers.
//! In: the broker's address; orders at any time. Out: a port for the client, and counts of what was done.
//! It takes the stream apart into Kafka's frames, so that one answer to one kind of request can be swallowed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// How often a thread looks whether its orders have changed.
const LOOK: Duration = Duration::from_millis(20);
/// No frame of a test is larger.
const FRAME_MOST: usize = 200 << 20;
/// Kafka's number of the request that ends a transaction.
pub const END_TXN: i16 = 26;

/// What is done to the traffic.
#[derive(Debug, Clone, Copy, Default)]
struct Orders {
    hold_up: bool,
    hold_down: bool,
    refuse: bool,
    latency: Duration,
    bytes_per_s: Option<u64>,
    /// Swallow the answer to so many more requests of this kind.
    swallow: Option<(i16, u64)>,
}

/// What was done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections taken.
    pub connections: u64,
    /// Connections refused.
    pub refused: u64,
    /// Connections reset.
    pub resets: u64,
    /// Frames that had to wait for [`Proxy::flow`].
    pub held: u64,
    /// Frames delayed by latency or bandwidth.
    pub slowed: u64,
    /// Answers swallowed.
    pub swallowed: u64,
    /// Requests by their kind.
    pub requests: BTreeMap<i16, u64>,
}

#[derive(Debug, Default)]
struct Shared {
    orders: Mutex<Orders>,
    counts: Mutex<Counts>,
    connections: Mutex<Vec<Weak<Connection>>>,
    stop: AtomicBool,
}

#[derive(Debug)]
struct Connection {
    client: TcpStream,
    broker: TcpStream,
    /// Set when both ends are to be closed.
    dead: AtomicBool,
    /// Answers that never reach the client, by correlation id.
    swallow: Mutex<BTreeSet<i32>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// A running proxy; dropping it ends it.
#[derive(Debug)]
pub struct Proxy {
    host: String,
    port: u16,
    shared: Arc<Shared>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proxy {
    /// Starts before the broker at `upstream`; the broker need not be there yet.
    pub fn start(upstream: &str) -> Self {
        Self::start_at("127.0.0.1", upstream)
    }

    /// As [`Proxy::start`], at another address of this machine.
    pub fn start_at(host: &str, upstream: &str) -> Self {
        let port = crate::process::free_ports(1)[0];
        let listener = TcpListener::bind((host, port)).expect("a port for the proxy");
        listener.set_nonblocking(true).expect("a listener that can be asked");
        let shared = Arc::new(Shared::default());
        let (inner, upstream) = (shared.clone(), upstream.to_owned());
        thread::spawn(move || accept(&listener, &upstream, &inner));
        Self { host: host.to_owned(), port, shared }
    }

    /// `host:port` of the proxy.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Nothing passes any more in the given ways, and nobody is told: as if a cable were cut.
    pub fn hold(&self, up: bool, down: bool) {
        let mut orders = lock(&self.shared.orders);
        (orders.hold_up, orders.hold_down) = (up, down);
    }

    /// Closes all connections and takes no new ones: as if the broker's port were closed.
    pub fn refuse(&self) {
        lock(&self.shared.orders).refuse = true;
        self.reset();
    }

    /// Every frame comes later by `latency`, and each connection carries so many bytes a second.
    pub fn slow(&self, latency: Duration, bytes_per_s: Option<u64>) {
        let mut orders = lock(&self.shared.orders);
        (orders.latency, orders.bytes_per_s) = (latency, bytes_per_s);
    }

    /// The answers to the next `count` requests of this kind are swallowed.
    pub fn swallow(&self, api_key: i16, count: u64) {
        lock(&self.shared.orders).swallow = Some((api_key, count));
    }

    /// Everything passes again.
    pub fn flow(&self) {
        *lock(&self.shared.orders) = Orders::default();
    }

    /// Resets all connections.
    pub fn reset(&self) {
        let mut count = 0;
        for connection in lock(&self.shared.connections).drain(..).filter_map(|c| c.upgrade()) {
            for end in [&connection.client, &connection.broker] {
                let _ = socket2::SockRef::from(end).set_linger(Some(Duration::ZERO));
            }
            count += u64::from(!connection.dead.swap(true, Ordering::Relaxed));
        }
        lock(&self.shared.counts).resets += count;
    }

    /// What was done so far.
    pub fn counts(&self) -> Counts {
        lock(&self.shared.counts).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.reset();
    }
}

impl Shared {
    fn orders(&self) -> Orders {
        *lock(&self.orders)
    }

    fn count(&self, add: impl FnOnce(&mut Counts)) {
        add(&mut lock(&self.counts));
    }
}

fn accept(listener: &TcpListener, upstream: &str, shared: &Arc<Shared>) {
    while !shared.stop.load(Ordering::Relaxed) {
        let Ok((client, _)) = listener.accept() else {
            thread::sleep(LOOK);
            continue;
        };
        if shared.orders().refuse {
            shared.count(|c| c.refused += 1);
            continue;
        }
        let Ok(broker) = TcpStream::connect(upstream) else { continue };
        if open(client, broker, shared).is_ok() {
            shared.count(|c| c.connections += 1);
        }
    }
}

fn open(client: TcpStream, broker: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    for end in [&client, &broker] {
        end.set_nonblocking(false)?;
        end.set_nodelay(true)?;
        end.set_read_timeout(Some(LOOK))?;
        end.set_write_timeout(Some(LOOK))?;
    }
    let (dead, swallow) = (AtomicBool::new(false), Mutex::default());
    let connection = Arc::new(Connection { client, broker, dead, swallow });
    lock(&shared.connections).push(Arc::downgrade(&connection));
    for way in [Way::Up, Way::Down] {
        // The bound is what a narrow line may keep on its way.
        let (to, from) = sync_channel(1024);
        let (c, s) = (connection.clone(), shared.clone());
        thread::spawn(move || read(&c, way, &s, &to));
        let (c, s) = (connection.clone(), shared.clone());
        thread::spawn(move || write(&c, way, &s, &from));
    }
    Ok(())
}

impl Connection {
    fn ends(&self, way: Way) -> (&TcpStream, &TcpStream) {
        if way == Way::Up { (&self.client, &self.broker) } else { (&self.broker, &self.client) }
    }

    /// Whole bytes, or nothing when an end is closed.
    fn read_exact(&self, mut from: &TcpStream, bytes: &mut [u8]) -> Option<()> {
        let mut at = 0;
        while at < bytes.len() {
            if self.dead.load(Ordering::Relaxed) {
                return None;
            }
            match from.read(&mut bytes[at..]) {
                Ok(0) => return None,
                Ok(n) => at += n,
                Err(e) if waits(&e) => {}
                Err(_) => return None,
            }
        }
        Some(())
    }

    fn write_all(&self, mut to: &TcpStream, bytes: &[u8]) -> Option<()> {
        let mut at = 0;
        while at < bytes.len() {
            if self.dead.load(Ordering::Relaxed) {
                return None;
            }
            match to.write(&bytes[at..]) {
                Ok(n) => at += n,
                Err(e) if waits(&e) => {}
                Err(_) => return None,
            }
        }
        Some(())
    }
}

fn waits(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Reads frame by frame: four bytes of length, then as many.
fn read(connection: &Connection, way: Way, shared: &Shared, to: &SyncSender<(Instant, Vec<u8>)>) {
    let (from, _) = connection.ends(way);
    loop {
        let mut frame = vec![0; 4];
        let Some(()) = connection.read_exact(from, &mut frame) else { break };
        let length = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
        if length > FRAME_MOST {
            break;
        }
        frame.resize(4 + length, 0);
        let Some(()) = connection.read_exact(from, &mut frame[4..]) else { break };
        let passes =
            if way == Way::Up { request(connection, shared, &frame) } else { answer(connection, &frame) };
        if !passes {
            shared.count(|c| c.swallowed += 1);
        } else if to.send((Instant::now(), frame)).is_err() {
            break;
        }
    }
}

/// Notes a request, and whether its answer is to be swallowed. Requests always pass.
fn request(connection: &Connection, shared: &Shared, frame: &[u8]) -> bool {
    let Some(head) = frame.get(4..12) else { return true };
    let api_key = i16::from_be_bytes([head[0], head[1]]);
    let correlation = i32::from_be_bytes([head[4], head[5], head[6], head[7]]);
    shared.count(|c| *c.requests.entry(api_key).or_default() += 1);
    let mut orders = lock(&shared.orders);
    if let Some((key, left)) = &mut orders.swallow
        && *key == api_key
        && *left > 0
    {
        *left -= 1;
        lock(&connection.swallow).insert(correlation);
    }
    true
}

fn answer(connection: &Connection, frame: &[u8]) -> bool {
    let Some(head) = frame.get(4..8) else { return true };
    !lock(&connection.swallow).remove(&i32::from_be_bytes([head[0], head[1], head[2], head[3]]))
}

fn write(connection: &Connection, way: Way, shared: &Shared, from: &Receiver<(Instant, Vec<u8>)>) {
    let (_, to) = connection.ends(way);
    for (arrived, frame) in from {
        let orders = shared.orders();
        let narrow = orders.bytes_per_s.map(|b| Duration::from_secs_f64(frame.len() as f64 / b as f64));
        if !orders.latency.is_zero() || narrow.is_some() {
            shared.count(|c| c.slowed += 1);
        }
        let due = (arrived + orders.latency).max(Instant::now() + narrow.unwrap_or_default());
        while Instant::now() < due && !connection.dead.load(Ordering::Relaxed) {
            thread::sleep(LOOK.min(due.saturating_duration_since(Instant::now())));
        }
        let held = |o: Orders| if way == Way::Up { o.hold_up } else { o.hold_down };
        if held(shared.orders()) {
            shared.count(|c| c.held += 1);
        }
        while held(shared.orders()) && !connection.dead.load(Ordering::Relaxed) {
            thread::sleep(LOOK);
        }
        if connection.write_all(to, &frame).is_none() {
            break;
        }
    }
    // The reader of this way has ended, or the writer could not go on: both ends learn of it, unless it is a reset.
    if !connection.dead.load(Ordering::Relaxed) {
        let _ = to.shutdown(Shutdown::Write);
        if way == Way::Down {
            connection.dead.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers every request with its correlation id.
    fn echo() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("address").to_string();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || {
                    let mut stream = stream;
                    let mut frame = [0; 12];
                    while stream.read_exact(&mut frame).is_ok() {
                        let answer = [&[0, 0, 0, 4], &frame[8..12]].concat();
                        if stream.write_all(&answer).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        address
    }

    fn ask(stream: &mut TcpStream, api_key: i16, correlation: u8) {
        let [high, low] = api_key.to_be_bytes();
        stream.write_all(&[0, 0, 0, 8, high, low, 0, 0, 0, 0, 0, correlation]).expect("write");
    }

    fn hear(stream: &mut TcpStream, wait: Duration) -> io::Result<u8> {
        stream.set_read_timeout(Some(wait)).expect("timeout");
        let mut answer = [0; 8];
        stream.read_exact(&mut answer).map(|()| answer[7])
    }

    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(200);

    #[test]
    fn frames_pass_wait_and_vanish_as_ordered() {
        let proxy = Proxy::start(&echo());
        let mut client = TcpStream::connect(proxy.address()).expect("connect");
        ask(&mut client, 3, 1);
        assert_eq!(hear(&mut client, LONG).expect("an answer"), 1);
        for (up, down) in [(true, false), (false, true), (true, true)] {
            proxy.hold(up, down);
            ask(&mut client, 3, 2);
            assert!(hear(&mut client, SHORT).is_err(), "held");
            proxy.flow();
            assert_eq!(hear(&mut client, LONG).expect("an answer"), 2);
        }
        proxy.swallow(END_TXN, 1);
        ask(&mut client, END_TXN, 3);
        ask(&mut client, 3, 4);
        ask(&mut client, END_TXN, 5);
        assert_eq!(hear(&mut client, LONG).expect("an answer"), 4);
        assert_eq!(hear(&mut client, LONG).expect("an answer"), 5);
        let counts = proxy.counts();
        assert_eq!((counts.swallowed, counts.requests[&END_TXN], counts.connections), (1, 2, 1));
        assert!(counts.held >= 3 && counts.slowed == 0);
    }

    #[test]
    fn slow_means_later_and_reset_means_reset() {
        let proxy = Proxy::start(&echo());
        let mut client = TcpStream::connect(proxy.address()).expect("connect");
        proxy.slow(Duration::from_millis(150), Some(100));
        ask(&mut client, 3, 1);
        assert!(hear(&mut client, SHORT).is_err(), "twice 150 ms have not passed");
        assert_eq!(hear(&mut client, LONG).expect("an answer"), 1);
        assert!(proxy.counts().slowed >= 2);
        proxy.flow();
        proxy.reset();
        let error = hear(&mut client, LONG).expect_err("the connection is gone");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(proxy.counts().resets, 1);
        proxy.refuse();
        let mut client = TcpStream::connect(proxy.address()).expect("the port is open");
        assert!(hear(&mut client, LONG).is_err());
        assert!(crate::poll(LONG, || (proxy.counts().refused == 1).then_some(())).is_some());
    }

    #[test]
    fn a_closed_end_closes_the_other() {
        let proxy = Proxy::start(&echo());
        let mut client = TcpStream::connect(proxy.address()).expect("connect");
        ask(&mut client, 3, 1);
        assert_eq!(hear(&mut client, LONG).expect("an answer"), 1);
        client.shutdown(Shutdown::Write).expect("shutdown");
        assert!(hear(&mut client, LONG).is_err_and(|e| e.kind() == ErrorKind::UnexpectedEof));
    }
}
