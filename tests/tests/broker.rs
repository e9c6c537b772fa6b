//! The harness against itself: the broker is a real one, with transactions that hide what was aborted
//! and fence zombies.
//! In: the shared broker. Out: what readers of either kind see.
//! Also the canary of every end-to-end test: if this fails, the others prove nothing.

use std::time::Duration;

use auscult_tests::kafka::{self, Broker, Client, Cluster, Isolation, Record};
use auscult_tests::python;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

const LIMIT: Duration = Duration::from_secs(30);

fn transactional(client: &Client, id: &str) -> BaseProducer {
    let producer: BaseProducer = client.config().set("transactional.id", id).create().expect("producer");
    producer.init_transactions(LIMIT).expect("init transactions");
    producer
}

fn send(producer: &BaseProducer, topic: &str, id: &str) {
    let headers = rdkafka::message::OwnedHeaders::new()
        .insert(rdkafka::message::Header { key: "ce_id", value: Some(id.as_bytes()) });
    let body = format!(r#"{{"id":"{id}"}}"#);
    let record = BaseRecord::to(topic).key("bed-1").payload(&body).headers(headers);
    producer.send(record).map_err(|(e, _)| e).expect("send");
}

#[test]
fn transactions_commit_abort_and_fence() {
    let client = kafka::shared();
    let topic = client.unique("transactions");
    client.create_topic(&topic, 2, &[]);
    let id = client.unique("worker");
    let zombie = transactional(&client, &id);
    for (name, commit) in [("a", true), ("b", false), ("c", true)] {
        zombie.begin_transaction().expect("begin");
        send(&zombie, &topic, name);
        zombie.flush(LIMIT).expect("flush");
        let ended = if commit { zombie.commit_transaction(LIMIT) } else { zombie.abort_transaction(LIMIT) };
        ended.expect("end the transaction");
    }
    let ids = |isolation| -> Vec<String> {
        let all = client.consume_all(&topic, isolation);
        assert!(all.iter().all(|m| m.key_text() == "bed-1" && m.timestamp_ms.is_some()));
        assert!(all.iter().all(|m| m.json()["id"].as_str().map(str::to_owned) == m.header("ce_id")));
        all.iter().filter_map(|m| m.header("ce_id")).collect()
    };
    assert_eq!(ids(Isolation::ReadCommitted), ["a", "c"]);
    assert_eq!(ids(Isolation::ReadUncommitted), ["a", "b", "c"]);

    // A second process with the same transactional id takes over; the first, which had work open, must not get it in.
    zombie.begin_transaction().expect("begin");
    send(&zombie, &topic, "lost");
    zombie.flush(LIMIT).expect("flush");
    let heir = transactional(&client, &id);
    let fenced = zombie.commit_transaction(LIMIT).expect_err("a zombie must not commit");
    let KafkaError::Transaction(error) = &fenced else { panic!("{fenced:?}") };
    assert!(
        error.is_fatal()
            && [RDKafkaErrorCode::Fenced, RDKafkaErrorCode::ProducerFenced].contains(&error.code()),
        "{fenced:?}"
    );
    heir.begin_transaction().expect("begin");
    send(&heir, &topic, "d");
    heir.commit_transaction(LIMIT).expect("commit");
    assert_eq!(ids(Isolation::ReadCommitted), ["a", "c", "d"]);

    // A second opinion from another client library and another process.
    let out = tempfile::tempdir().expect("temporary folder");
    let file = out.path().join("read.jsonl");
    let file = file.to_string_lossy();
    let args = ["--brokers", client.bootstrap(), "--topic", &topic, "--out", &file];
    let findings = python::check("read_committed.py", args);
    assert_eq!(
        (findings["count"].as_u64(), findings["unique_ids"].as_u64()),
        (Some(3), Some(3)),
        "{findings}"
    );
}

#[test]
fn an_open_transaction_holds_back_the_stable_end() {
    let client = kafka::shared();
    let topic = client.unique("stable");
    client.create_topic(&topic, 1, &[]);
    let records: Vec<Record> = (0..1000).map(|i| Record::new("bed", i.to_string())).collect();
    client.produce(&topic, &records);
    assert_eq!(client.end_offsets(&topic, Isolation::ReadCommitted), [1000]);
    let open = transactional(&client, &client.unique("open"));
    open.begin_transaction().expect("begin");
    send(&open, &topic, "unseen");
    open.flush(LIMIT).expect("flush");
    client.produce(&topic, &records[..1]);
    assert_eq!(client.end_offsets(&topic, Isolation::ReadCommitted), [1000]);
    assert_eq!(client.end_offsets(&topic, Isolation::ReadUncommitted), [1002]);
    assert_eq!(client.consume_all(&topic, Isolation::ReadCommitted).len(), 1000);
    let all = client.consume_all(&topic, Isolation::ReadUncommitted);
    assert_eq!(all.iter().map(|m| m.offset).collect::<Vec<_>>(), (0..1002).collect::<Vec<_>>());
    open.abort_transaction(LIMIT).expect("abort");
}

#[test]
fn keys_stay_in_order_and_tombstones_pass() {
    let client = kafka::shared();
    let topic = client.unique("keys");
    client.create_topic(&topic, 4, &[("cleanup.policy", "compact")]);
    let mut records: Vec<Record> =
        (0..40).map(|i| Record::new(format!("bed-{}", i % 5), i.to_string())).collect();
    records.push(Record {
        key: Some(b"bed-0".to_vec()),
        headers: vec![("why".into(), b"discharged".to_vec())],
        timestamp_ms: Some(1_700_000_000_123),
        ..Record::default()
    });
    client.produce(&topic, &records);
    let all = client.consume_all(&topic, Isolation::ReadCommitted);
    assert_eq!(all.len(), 41);
    for bed in 0..5 {
        let key = format!("bed-{bed}");
        let of_bed: Vec<_> = all.iter().filter(|m| m.key_text() == key).collect();
        assert!(of_bed.windows(2).all(|w| w[0].partition == w[1].partition && w[0].offset < w[1].offset));
        let values: Vec<_> = of_bed.iter().filter_map(|m| m.value.clone()).collect();
        let expected: Vec<_> = (0..8).map(|i| (bed + 5 * i).to_string().into_bytes()).collect();
        assert_eq!(values, expected);
    }
    let tombstone = all.iter().find(|m| m.value.is_none()).expect("the tombstone");
    assert_eq!(tombstone.timestamp_ms, Some(1_700_000_000_123));
    assert_eq!(tombstone.header("why").as_deref(), Some("discharged"));
}

#[test]
fn a_broker_of_ones_own_survives_pause_and_kill() {
    let mut broker = Broker::start();
    let client = broker.client();
    client.create_topic("kept", 1, &[]);
    client.produce("kept", &[Record::new("k", "v")]);
    broker.pause();
    let asked: rdkafka::consumer::BaseConsumer = client.config().create().expect("client");
    let answer = rdkafka::consumer::Consumer::fetch_metadata(&asked, None, Duration::from_secs(1));
    assert!(answer.is_err(), "a paused broker answers nothing");
    broker.resume();
    assert_eq!(client.end_offsets("kept", Isolation::ReadCommitted), [1]);
    broker.kill();
    assert!(!broker.is_running());
    broker.restart();
    assert_eq!(client.consume_all("kept", Isolation::ReadCommitted).len(), 1);
    broker.stop();
    assert!(!broker.is_running());
}

#[test]
fn three_brokers_commit_with_one_killed() {
    let mut cluster = Cluster::start(3);
    let client = cluster.client();
    client.create_topic("replicated", 3, &[]);
    let producer = transactional(&client, "worker");
    for (round, name) in ["a", "b", "c"].into_iter().enumerate() {
        if round == 1 {
            cluster[0].kill();
        }
        if round == 2 {
            cluster[0].restart();
        }
        producer.begin_transaction().expect("begin");
        send(&producer, "replicated", name);
        producer.commit_transaction(LIMIT).expect("commit with two of three brokers");
    }
    let all = client.consume_all("replicated", Isolation::ReadCommitted);
    assert_eq!(all.iter().filter_map(|m| m.header("ce_id")).collect::<Vec<_>>(), ["a", "b", "c"]);
}
