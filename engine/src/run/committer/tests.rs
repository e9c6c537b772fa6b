//! The committer against a broker in memory whose commits end badly in every way.
//! In: chunks of some partitions, faults from a seed. Out: each chunk told once and in order, whatever happened.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use auscult_datasets::simulate::Draw;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::*;

/// What a transaction meets.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// Refused at its beginning, at an output, or at the end: nothing went through.
    Begin,
    Tell,
    Deliver,
    Lost,
    /// It went through, and the answer did not come.
    Through,
    Fenced,
}

/// Partitions and offsets.
type Told = Vec<(i32, i64)>;

#[derive(Default)]
struct Broker {
    /// Committed outputs, in order.
    told: Told,
    offsets: BTreeMap<i32, i64>,
    /// Offsets of the open transaction.
    next: BTreeMap<i32, i64>,
    open: Told,
    /// Whether the open transaction has offsets.
    pending: bool,
    /// Whether no abort but one by hand is written: what was open hangs, and goes through with the next commit.
    skips: bool,
    hanging: Told,
    /// Whether offsets hang: nobody is told them.
    unstable: bool,
    aborts: usize,
    connected: bool,
    /// What the next transactions meet.
    faults: VecDeque<Fault>,
    connects_fail: usize,
}

impl Broker {
    /// Ends what is open, and what hangs where it has told something: the hanging and the open.
    fn end(&mut self) -> (Told, Told) {
        let open = std::mem::take(&mut self.open);
        let touched = |t: &(i32, i64)| open.iter().any(|o| o.0 == t.0);
        let (hung, hanging) = std::mem::take(&mut self.hanging).into_iter().partition(touched);
        (self.hanging, self.pending, self.unstable) = (hanging, false, false);
        (hung, open)
    }
}

#[derive(Clone, Default)]
struct Fake {
    broker: Arc<Mutex<Broker>>,
    connects: Arc<AtomicUsize>,
}

fn heals() -> Failure {
    Failure::Heals(KafkaError::MessageProduction(RDKafkaErrorCode::OperationTimedOut))
}

impl Fake {
    fn broker(&self) -> MutexGuard<'_, Broker> {
        self.broker.lock().unwrap()
    }
    fn fault(&self, one: Fault) -> bool {
        self.broker().faults.front() == Some(&one)
    }
    fn fail(&self) -> Failure {
        self.broker().faults.pop_front();
        heals()
    }
}

impl Teller for Fake {
    fn let_go(&mut self) {
        self.broker().connected = false;
    }
    fn connect(&mut self) -> Result<(), Failure> {
        let mut broker = self.broker();
        if broker.connects_fail > 0 {
            broker.connects_fail -= 1;
            return Err(heals());
        }
        self.connects.fetch_add(1, Ordering::Relaxed);
        // Whatever was left open is aborted.
        let open = std::mem::take(&mut broker.open);
        let pending = std::mem::take(&mut broker.pending);
        if broker.skips {
            broker.hanging.extend(open);
            broker.unstable |= pending;
        }
        broker.connected = true;
        Ok(())
    }
    fn begin(&self) -> Result<(), Failure> {
        assert!(self.broker().connected && self.broker().open.is_empty());
        if self.fault(Fault::Begin) { Err(self.fail()) } else { Ok(()) }
    }
    fn tell(&self, output: &Output) -> Result<(), Failure> {
        if self.fault(Fault::Tell) {
            return Err(self.fail());
        }
        let offset = String::from_utf8(output.key.clone()).unwrap().parse().unwrap();
        self.broker().open.push((output.topic.parse().unwrap(), offset));
        Ok(())
    }
    fn poll(&self) {}
    fn deliver(&self, next: &BTreeMap<i32, i64>, _: &dyn Fn() -> bool) -> Result<(), Failure> {
        assert!(self.broker().connected);
        self.broker().pending = true;
        self.broker().next = next.clone();
        if self.fault(Fault::Deliver) { Err(self.fail()) } else { Ok(()) }
    }
    fn commit(&self, _: &dyn Fn() -> bool) -> Result<(), Failure> {
        let mut broker = self.broker();
        let fault = broker.faults.pop_front().unwrap_or(Fault::None);
        if matches!(fault, Fault::None | Fault::Through) {
            let next = std::mem::take(&mut broker.next);
            let (hung, open) = broker.end();
            broker.told.extend(hung.into_iter().chain(open));
            broker.offsets.extend(next);
        }
        match fault {
            Fault::None => Ok(()),
            Fault::Fenced => Err(Failure::Fenced),
            _ => Err(heals()),
        }
    }
    fn abort(&self, _: &BTreeMap<i32, i64>, _: &dyn Fn() -> bool) -> Result<(), Failure> {
        if self.fault(Fault::Deliver) {
            return Err(self.fail());
        }
        let mut broker = self.broker();
        broker.end();
        broker.aborts += 1;
        Ok(())
    }
    fn committed(&self, partitions: &[i32]) -> Result<BTreeMap<i32, i64>, Failure> {
        let broker = self.broker();
        if broker.unstable {
            return Err(heals());
        }
        Ok(partitions.iter().map(|p| (*p, broker.offsets.get(p).copied().unwrap_or(0))).collect())
    }
}

fn chunk(partition: i32, from: i64, to: i64) -> Chunk {
    let output = |offset: i64| Output {
        topic: partition.to_string(),
        key: offset.to_string().into_bytes(),
        partition: None,
        value: Some(vec![0; 100]),
        headers: Vec::new(),
    };
    let outputs = (from..to).map(output).collect();
    Chunk { partition, next: to, outputs, records: usize::try_from(to - from).unwrap(), told: (1, 0) }
}

fn start(fake: &Fake) -> (Arc<Handover>, std::thread::JoinHandle<()>) {
    let handover = Arc::new(Handover::default());
    let short = Duration::from_millis(1);
    let mut committer = Committer::new(fake.clone(), handover.clone(), short, short);
    committer.unstable = short;
    (handover, std::thread::spawn(move || committer.run()))
}

fn far() -> Instant {
    clock::instant() + Duration::from_secs(60)
}

fn settle(handover: &Handover) {
    // While it reconnects it does not settle: asked again, as the next give-up would.
    while !handover.settle(far(), &|| ()) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Commits under these faults; the broker afterwards.
fn committed_under(faults: &[Fault], skips: bool, seed: u64) -> Fake {
    let mut draw = Draw::new(seed, 7);
    let fake = Fake::default();
    fake.broker().skips = skips;
    let (handover, thread) = start(&fake);
    let mut next = [0i64; 3];
    for _ in 0..40 {
        let fault = faults[draw.below(faults.len())];
        fake.broker().faults.push_back(fault);
        let p = draw.below(3);
        let to = next[p] + 1 + draw.below(4) as i64;
        handover.push(chunk(p as i32, next[p], to));
        next[p] = to;
        if draw.happens(0.3) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    settle(&handover);
    handover.stop(far());
    thread.join().unwrap();
    assert_eq!((handover.records(), handover.fill()), (0, 0.0), "seed {seed}");
    assert!(handover.tally().failures > 0 && handover.take_error().is_none());
    for (p, end) in next.into_iter().enumerate() {
        let broker = fake.broker();
        let told: Vec<i64> = broker.told.iter().filter(|t| t.0 == p as i32).map(|t| t.1).collect();
        assert_eq!(told, (0..end).collect::<Vec<_>>(), "seed {seed} partition {p}");
        assert_eq!(broker.offsets.get(&(p as i32)).copied().unwrap_or(0), end);
    }
    fake
}

#[test]
fn whatever_a_commit_meets_each_chunk_is_told_once_in_order() {
    use Fault::{Begin, Deliver, Fenced, Lost, None, Tell, Through};
    for seed in 0..10 {
        committed_under(&[None, None, Begin, Tell, Deliver, Lost, Through, Fenced], false, seed);
    }
}

#[test]
fn what_a_broker_forgets_to_abort_is_taken_back_before_anything_else_is_told() {
    use Fault::{Begin, Deliver, Fenced, Lost, None, Tell};
    for seed in 0..10 {
        // `Lost` leaves offsets hanging of which nobody says whether they were committed.
        let fake = committed_under(&[None, None, Begin, Tell, Deliver, Lost, Fenced], true, seed);
        let broker = fake.broker();
        assert!(broker.aborts > 0 && broker.hanging.is_empty() && !broker.unstable, "seed {seed}");
    }
}

#[test]
fn a_broker_that_is_away_is_waited_for_and_what_is_lost_is_dropped() {
    let fake = Fake::default();
    fake.broker().connects_fail = 3;
    let (handover, thread) = start(&fake);
    handover.push(chunk(0, 0, 5));
    handover.push(chunk(1, 0, 5));
    assert!(!handover.connected());
    assert!(!handover.settle(far(), &|| ()), "it does not wait for a broker that is away");
    handover.forget(1);
    assert_eq!(handover.records(), 5);
    assert!(handover.regain(1), "nothing of it is in an open transaction");
    handover.push(chunk(1, 7, 9));
    settle(&handover);
    assert!(handover.connected());
    assert_eq!(
        fake.broker().told,
        [0, 1, 2, 3, 4].map(|o| (0, o)).into_iter().chain([(1, 7), (1, 8)]).collect::<Vec<_>>()
    );
    handover.stop(far());
    assert!(handover.ended(far()));
    thread.join().unwrap();
}

#[test]
fn a_stop_without_a_broker_ends_in_time() {
    let fake = Fake::default();
    fake.broker().connects_fail = usize::MAX;
    let (handover, thread) = start(&fake);
    handover.push(chunk(0, 0, 5));
    handover.stop(clock::instant() + Duration::from_millis(50));
    assert!(handover.ended(far()));
    thread.join().unwrap();
    assert!(fake.broker().told.is_empty() && handover.records() == 5);
}

#[test]
fn a_partition_is_regained_as_soon_as_the_transaction_that_it_was_lost_in_has_ended() {
    let handover = Handover::default();
    handover.lock().open();
    handover.forget(1);
    assert!(!handover.regain(1));
    // The next one is open already when this is looked at, as always under load.
    handover.lock().open();
    assert!(handover.regain(1));
    handover.forget(1);
    assert!(!handover.regain(1));
    handover.lock().busy = false;
    assert!(handover.regain(1));
}
