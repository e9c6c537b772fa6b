"""bands10 on Bytewax, with its own event-time windows. In: DATA, a folder. Out: OUT-*.jsonl.

Run by `python -m bytewax.run bytewax_job:flow`.
"""

import glob
import os
from datetime import UTC, datetime, timedelta

import bytewax.operators as op
import bytewax.operators.windowing as win
import numpy as np
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition

import common

DATA, OUT, BATCH = os.environ["DATA"], os.environ["OUT"], 200
ALIGN = datetime(2023, 11, 14, tzinfo=UTC)


class Part(StatefulSourcePartition):
    def __init__(self, path, state):
        self.records, self.taken = common.read(path), state or 0
        for _ in range(self.taken):
            next(self.records)

    def next_batch(self):
        batch = [(k.decode(), v) for _, (k, v) in zip(range(BATCH), self.records)]
        if not batch:
            raise StopIteration
        self.taken += len(batch)
        return batch

    def snapshot(self):
        return self.taken


class Source(FixedPartitionedSource):
    def list_parts(self):
        return sorted(glob.glob(f"{DATA}/part-*.bin"))

    def build_part(self, step, part, state):
        return Part(part, state)


class Lines(StatelessSinkPartition):
    def __init__(self, worker):
        self.file = open(f"{OUT}-{worker}.jsonl", "w")

    def write_batch(self, items):
        self.file.writelines(line + "\n" for line in items)

    def close(self):
        self.file.close()


class Sink(DynamicSink):
    def build(self, step, worker, workers):
        return Lines(worker)


def band_pass(state, value):
    ms, counts = common.decode(value)
    y, state = common.band_pass(counts, common.fresh() if state is None else state)
    return state, (ms, y)


def answer(item):
    key, (window, parts) = item
    y = np.concatenate([y for _, y in sorted(parts, key=lambda p: p[0])])
    start = int(ALIGN.timestamp() * 1000) + window * 10_000
    return [common.answer(key, start, y)] if len(y) == 2500 else []


flow = Dataflow("bands10")
clean = op.stateful_map("band_pass", op.input("in", flow, Source()), band_pass)
clock = win.EventClock(lambda e: datetime.fromtimestamp(e[0] / 1000, UTC), wait_for_system_duration=timedelta(0))
windows = win.collect_window("window", clean, clock, win.TumblingWindower(length=timedelta(seconds=10), align_to=ALIGN))
op.output("out", op.flat_map("answer", windows.down, answer), Sink())
