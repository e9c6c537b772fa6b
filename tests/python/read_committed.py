"""Reads a topic as a downstream consumer would: read_committed, from the beginning to the end as it is at the start.

In: --brokers, --topic, --out FILE. Out: FILE with one JSON object a message (partition, offset, key, headers, value,
timestamp_ms), and one JSON line: count, unique ids (header ce_id, else id of the value), duplicates, ids absent.
"""

import argparse
import json
import time

from confluent_kafka import Consumer, KafkaError, TopicPartition

from findings import SelfTest, finish


def identity(message):
    if "ce_id" in message["headers"]:
        return message["headers"]["ce_id"]
    value = message["value"]
    return value.get("id") if isinstance(value, dict) else None


def judge(messages, allow_duplicates=False):
    """Findings and faults of messages in the order of their partition and offset."""
    ids = [identity(m) for m in messages]
    named = [i for i in ids if i is not None]
    places, faults = {}, []
    for message in messages:
        place = (message["partition"], message["offset"])
        if place in places:
            faults.append(f"offset read twice: {place}")
        places[place] = True
    seen, duplicates = set(), []
    for name in named:
        (duplicates.append(name) if name in seen else seen.add(name))
    if duplicates and not allow_duplicates:
        faults.append(f"{len(duplicates)} duplicates, first {duplicates[0]}")
    for message in messages:
        value = message["value"]
        header = message["headers"].get("ce_id")
        if header is not None and isinstance(value, dict) and value.get("id", header) != header:
            faults.append(f"id {value['id']} under header {header}")
    findings = {"count": len(messages), "unique_ids": len(seen), "duplicates": len(duplicates)}
    return dict(findings, without_id=len(ids) - len(named)), faults


def decode(value):
    if value is None:
        return None
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return {"hex": value.hex()}
    try:
        return json.loads(text)
    except ValueError:
        return text


def read(brokers, topic, timeout_s):
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "read-committed-check",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    deadline = time.monotonic() + timeout_s
    partitions = sorted(consumer.list_topics(topic, timeout=timeout_s).topics[topic].partitions)
    # With read_committed the high end is the last stable offset: nothing of an open transaction counts.
    ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=timeout_s)[1] for p in partitions}
    consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
    open_partitions = {p for p, end in ends.items() if end > 0}
    messages, faults = [], []
    while open_partitions:
        if time.monotonic() > deadline:
            faults.append(f"partitions {sorted(open_partitions)} not read to the end in {timeout_s} s")
            break
        found = consumer.poll(0.2)
        if found is None:
            continue
        if found.error() is not None:
            if found.error().code() == KafkaError._PARTITION_EOF:
                open_partitions.discard(found.partition())
                continue
            faults.append(f"read: {found.error()}")
            break
        p, offset = found.partition(), found.offset()
        if offset < ends[p]:
            headers = {k: (v or b"").decode("utf-8", "replace") for k, v in found.headers() or []}
            key = found.key().decode("utf-8", "replace") if found.key() is not None else None
            messages.append(
                {
                    "partition": p, "offset": offset, "key": key, "headers": headers,
                    "value": decode(found.value()), "timestamp_ms": found.timestamp()[1],
                }
            )
        if offset + 1 >= ends[p]:
            open_partitions.discard(p)
    consumer.close()
    messages.sort(key=lambda m: (m["partition"], m["offset"]))
    return messages, faults, ends


def self_test():
    def message(offset, name, header=True, value=None):
        headers = {"ce_id": name} if header else {}
        return {"partition": 0, "offset": offset, "key": "p", "headers": headers, "value": value or {"id": name}}

    test = SelfTest()
    right = [message(0, "a"), message(1, "b", header=False), message(3, "c")]
    test.passes("right", judge(right)[1])
    test.flags("doubled id", judge(right + [message(4, "a")])[1], "duplicates")
    test.flags("doubled id without header", judge(right + [message(4, "b", header=False)])[1], "duplicates")
    test.flags("doubled offset", judge(right + [message(3, "d")])[1], "read twice")
    test.flags("two names", judge([message(0, "a", value={"id": "z"})])[1], "under header")
    test.passes("doubled id where that is allowed", judge(right + [message(4, "a")], allow_duplicates=True)[1])
    findings = judge(right + [message(4, "a"), {"partition": 0, "offset": 5, "key": None, "headers": {}, "value": None}])[0]
    expected = {"count": 5, "unique_ids": 3, "duplicates": 1, "without_id": 1}
    test.passes("findings", [] if findings == expected else [str(findings)])
    test.finish()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brokers")
    parser.add_argument("--topic")
    parser.add_argument("--out")
    parser.add_argument("--timeout-s", type=float, default=60.0)
    parser.add_argument("--allow-duplicates", action="store_true")
    parser.add_argument("--self-test", action="store_true")
    args = parser.parse_args()
    if args.self_test:
        self_test()
    if not (args.brokers and args.topic and args.out):
        parser.error("--brokers, --topic and --out are needed")
    messages, unread, ends = read(args.brokers, args.topic, args.timeout_s)
    with open(args.out, "w", encoding="utf-8") as out:
        out.writelines(json.dumps(m, ensure_ascii=False) + "\n" for m in messages)
    findings, faults = judge(messages, args.allow_duplicates)
    finish(dict(findings, ends={str(p): end for p, end in ends.items()}), unread + faults)


if __name__ == "__main__":
    main()
