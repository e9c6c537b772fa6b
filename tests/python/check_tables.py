"""Reads the four tables of an archive with pyarrow and with DuckDB and compares what they say with each other.

In: ARCHIVE_DIR with waveforms/, numerics/, scores/, events/, each date=YYYY-MM-DD/*.parquet. Out: one JSON line: rows of
each table. Flagged: readers that disagree, a row under another date, a body that its columns contradict, an id twice.
"""

import argparse
import datetime
import json
import pathlib
import tempfile

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from findings import SelfTest, finish

TIME = {"waveforms": "start_us", "numerics": "observed_at_us", "scores": "event_time_us", "events": "event_time_us"}
# What is observed may be older than the frame that tells it; only the others lie under their own date.
DATED = {"waveforms", "scores", "events"}
BODIES = {"scores", "events"}


def date_of(time_us):
    return datetime.datetime.fromtimestamp(time_us / 1e6, datetime.timezone.utc).strftime("%Y-%m-%d")


def table_faults(folder, name):
    files = sorted(folder.glob("date=*/*.parquet"))
    if not files:
        return 0, [f"{name}: no files"]
    faults = []
    table = ds.dataset(files, format="parquet").to_table()
    source = f"read_parquet('{folder}/date=*/*.parquet', hive_partitioning = true)"
    column = TIME[name]
    seen = duckdb.sql(f"SELECT count(*), count(DISTINCT patient), min({column}), max({column}) FROM {source}").fetchall()[0]
    times = pc.min_max(table[column]).as_py()
    here = (table.num_rows, len(pc.unique(table["patient"])), times["min"], times["max"])
    if tuple(seen) != here:
        faults.append(f"{name}: duckdb reads {seen}, pyarrow {here}")
    if name in DATED:
        for file in files:
            date = file.parent.name.removeprefix("date=")
            strange = {date_of(t) for t in pq.read_table(file)[column].to_pylist()} - {date}
            if strange:
                faults.append(f"{name}: rows of {sorted(strange)} under date={date}")
    if name in BODIES:
        faults += body_faults(name, table)
    return table.num_rows, faults


def body_faults(name, table):
    faults = []
    if len(pc.unique(table["id"])) != table.num_rows:
        faults.append(f"{name}: {table.num_rows} rows, {len(pc.unique(table['id']))} ids: an id stands twice")
    for row in table.select(["id", "patient", "event_time_us", "body"]).to_pylist():
        body = json.loads(row["body"])
        for key in ("id", "patient", "event_time_us"):
            if body.get(key) != row[key]:
                faults.append(f"{name}: {key} is {row[key]}, its body says {body.get(key)}")
    return faults


def check(archive, only=None):
    rows, faults = {}, []
    for name in [only] if only else TIME:
        rows[name], found = table_faults(pathlib.Path(archive) / name, name)
        faults += found
    return {"rows": rows}, faults


def write_example(folder, change=lambda tables: tables):
    noon = 1_700_049_600_000_000
    tables = {name: [{"patient": f"p{i}", TIME[name]: noon + i} for i in range(3)] for name in TIME}
    for name in BODIES:
        for i, row in enumerate(tables[name]):
            row.update(id=f"{name}-{i}", body=json.dumps(dict(row, id=f"{name}-{i}")))
    for name, rows in change(tables).items():
        target = folder / name / f"date={date_of(noon)}"
        target.mkdir(parents=True)
        if rows:
            pq.write_table(pa.Table.from_pylist(rows), target / "a.parquet")


def self_test():
    test = SelfTest()

    def faults(change=lambda tables: tables):
        with tempfile.TemporaryDirectory() as folder:
            write_example(pathlib.Path(folder), change)
            return check(folder)[1]

    def spoil(name, at, **fields):
        def change(tables):
            tables[name][at].update(fields)
            return tables

        return change

    def twice(tables):
        tables["events"].append(tables["events"][0])
        return tables

    test.passes("right", faults())
    test.passes("an old observation", faults(spoil("numerics", 0, observed_at_us=1_600_000_000_000_000)))
    test.flags("a table empty", faults(lambda tables: dict(tables, scores=[])), "scores: no files")
    test.flags("an event twice", faults(twice), "an id stands twice")
    test.flags("another body", faults(spoil("scores", 1, body=json.dumps({"id": "x"}))), "its body says")
    test.flags("another patient", faults(spoil("events", 1, patient="p9")), "patient is p9")
    test.flags("under a wrong date", faults(spoil("waveforms", 1, start_us=1_600_000_000_000_000)), "under date=")
    test.finish()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", nargs="?")
    parser.add_argument("--only", choices=list(TIME), help="one table")
    parser.add_argument("--self-test", action="store_true")
    args = parser.parse_args()
    if args.self_test:
        self_test()
    if not args.archive:
        parser.error("ARCHIVE_DIR is needed")
    finish(*check(args.archive, args.only))


if __name__ == "__main__":
    main()
