//! How long a broker that says nothing is waited for: a cluster of librdkafka's own mock brokers, which answer late.
//! Only times are looked at here: the mock knows nothing of exactly-once.

use rdkafka::mocking::{MockCluster, MockCoordinator};
use rdkafka::producer::DefaultProducerContext;

use super::*;
use crate::source::kafka::KafkaSource;

type Cluster = MockCluster<'static, DefaultProducerContext>;

/// Later than anything that is waited for.
const NEVER: Duration = Duration::from_secs(60);

fn cluster() -> (Cluster, Transactions, KafkaSource) {
    let cluster = MockCluster::new(3).unwrap();
    for topic in ["auscult.frames", "auscult.events"] {
        cluster.create_topic(topic, 1, 3).unwrap();
        // What is told must get through while a coordinator says nothing.
        cluster.partition_leader(topic, 0, Some(3)).unwrap();
    }
    let kafka = config::Kafka { brokers: cluster.bootstrap_servers(), ..Default::default() };
    let source = KafkaSource::join(&kafka, &|| true).unwrap();
    let transactions = Transactions::new(&kafka, source.group()).unwrap();
    (cluster, transactions, source)
}

fn coordinator(cluster: &Cluster, transactions: &Transactions, broker: i32) {
    let id = transactions.config.get("transactional.id").unwrap().to_owned();
    cluster.coordinator(MockCoordinator::Transaction(id), broker).unwrap();
}

fn connected(transactions: &mut Transactions) -> Duration {
    let began = clock::instant();
    while transactions.connect().is_err() {
        assert!(began.elapsed() < NEVER, "no id");
    }
    began.elapsed()
}

fn output() -> Output {
    let topic = "auscult.events".into();
    Output { topic, key: b"p".to_vec(), partition: None, value: Some(b"{}".to_vec()), headers: vec![] }
}

#[test]
fn offsets_that_hang_are_not_waited_for_longer_than_anything_else() {
    let (cluster, mut transactions, _source) = cluster();
    coordinator(&cluster, &transactions, 1);
    connected(&mut transactions);
    transactions.begin().unwrap();
    transactions.tell(&output()).unwrap();
    cluster.broker_round_trip_time(1, NEVER).unwrap();
    let began = clock::instant();
    let told = transactions.deliver(&BTreeMap::from([(0, 1)]), &|| true);
    let took = began.elapsed();
    assert!(matches!(told, Err(Failure::Heals(_))), "{told:?}");
    assert!(took < PATIENCE + SLICE, "{took:?}");
    transactions.let_go();
    assert!(began.elapsed() < PATIENCE + 3 * SLICE, "letting go of it hangs as well");
}

#[test]
fn a_coordinator_that_has_moved_away_from_a_silent_broker_is_found_soon() {
    let (cluster, mut transactions, _source) = cluster();
    coordinator(&cluster, &transactions, 1);
    cluster.broker_round_trip_time(1, NEVER).unwrap();
    let began = clock::instant();
    // By then the client itself has asked for the second time, and does not ask again soon.
    while began.elapsed() < GET_ID.0 * 4 / 5 {
        assert!(transactions.connect().is_err(), "a silent broker has answered");
    }
    coordinator(&cluster, &transactions, 2);
    let took = connected(&mut transactions);
    assert!(took < GET_ID.0 + 2 * SLICE, "{took:?}");
    assert_eq!(transactions.get_id, GET_ID.0, "what was waited for longer is forgotten");
}

#[test]
fn a_producer_that_has_never_committed_is_followed_by_a_more_patient_one() {
    let (cluster, mut transactions, _source) = cluster();
    coordinator(&cluster, &transactions, 1);
    let socket =
        |t: &Transactions| patient(&t.config, t.patience).get("socket.timeout.ms").map(str::to_owned);
    let mut seen = Vec::new();
    for commits in [true, false, false, true, false] {
        connected(&mut transactions);
        seen.push((transactions.patience, socket(&transactions).unwrap()));
        transactions.begin().unwrap();
        if commits {
            transactions.tell(&output()).unwrap();
            transactions.commit(&|| true).unwrap();
        }
        transactions.let_go();
    }
    let (short, long) = ((PATIENCE, "5500".to_owned()), (LONG_PATIENCE, "7500".to_owned()));
    assert_eq!(seen, [short.clone(), short, long.clone(), long, (PATIENCE, "5500".into())]);
    // Its requests outlive the wait for a commit, and its transactions its requests.
    transactions.config.set("socket.timeout.ms", "4000");
    assert_eq!(socket(&transactions).unwrap(), "4000");
}
