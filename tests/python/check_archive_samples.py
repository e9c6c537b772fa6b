"""Compares an archive of waveforms with the WFDB records it was made from, sample for sample.

In: ARCHIVE_DIR with waveforms/date=*/*.parquet, a folder of WFDB records, and --map patients.json:
{"patient": "record"} or {"patient": {"record": "100", "channels": {"archive channel": "WFDB signal"}}}; null for a
patient who plays no record. With --seconds only so much of each record was sent; rows doubled are flagged for all.
Out: one JSON line. Read with pyarrow, and again with DuckDB; both must agree on rows, samples and records.
"""

import argparse
import json
import pathlib
import tempfile

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import wfdb

from findings import SelfTest, finish

COLUMNS = {
    "patient": [pa.string(), pa.large_string()],
    "source": [pa.string(), pa.large_string()],
    "session": [pa.uint64()],
    "sequence": [pa.uint64()],
    "channel": [pa.string(), pa.large_string()],
    "unit": [pa.string(), pa.large_string()],
    "rate_hz": [pa.float64()],
    "start_us": [pa.int64()],
    "scale": [pa.float64()],
    "offset": [pa.float64()],
    "missing_count": [pa.int32()],
    "counts": "list of int16",
    "samples": "list of float",
    "topic": [pa.string(), pa.large_string()],
    "partition": [pa.int32()],
    "record_offset": [pa.int64()],
    "status": [pa.string(), pa.large_string()],
}
ELEMENT = {"counts": pa.int16(), "samples": pa.float32()}


def plain(kind):
    """A column's type without dictionary encoding, which changes how it is stored and not what it says."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def schema_faults(schema):
    faults = []
    for name, allowed in COLUMNS.items():
        if name not in schema.names:
            faults.append(f"schema: column {name} is absent")
            continue
        kind = plain(schema.field(name).type)
        if name in ELEMENT:
            is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
            right = is_list and kind.value_type == ELEMENT[name]
        else:
            right = kind in allowed
        if not right:
            faults.append(f"schema: column {name} is {kind}, expected {allowed}")
    return faults


def flat(column):
    """All elements of a list column, end to end (empty lists and nulls yield nothing)."""
    return column.combine_chunks().flatten().to_numpy(zero_copy_only=False)


def series_faults(where, table):
    """Faults of one channel's rows in themselves: time without holes, constants constant, known status."""
    faults = []
    if pc.any(pc.is_null(table["counts"])).as_py():
        faults.append(f"{where}: rows without counts")
    if not set(pc.unique(table["status"]).to_pylist()) <= {"processed", "late"}:
        faults.append(f"{where}: unknown status {pc.unique(table['status']).to_pylist()}")
    for name in ("unit", "rate_hz", "scale", "offset", "missing_count"):
        if len(pc.unique(table[name])) != 1:
            faults.append(f"{where}: {name} changes: {pc.unique(table[name]).to_pylist()[:4]}")
    rate_hz = table["rate_hz"][0].as_py()
    start_us = table["start_us"].to_numpy()
    lengths = pc.list_value_length(table["counts"]).to_numpy(zero_copy_only=False)
    expected = start_us[0] + np.concatenate([[0], np.cumsum(lengths[:-1])]) * 1e6 / rate_hz
    off = np.abs(start_us - expected)
    if off.max() > 0.5e6 / rate_hz:
        at = int(np.argmax(off > 0.5e6 / rate_hz))
        faults.append(f"{where}: row {at} starts {start_us[at] - expected[at]:.0f} us off")
    return faults


def compare(where, table, record, signal, seconds=None):
    """Faults of one channel's rows against the WFDB signal they were made from."""
    faults = series_faults(where, table)
    counts = flat(table["counts"])
    expected = record.d_signal[: None if seconds is None else round(seconds * record.fs), signal]
    if len(counts) != len(expected):
        faults.append(f"{where}: length {len(counts)}, the record has {len(expected)}")
        return faults
    different = np.flatnonzero(counts != expected)
    if len(different):
        at = int(different[0])
        faults.append(f"{where}: {len(different)} samples differ, first {at}: {counts[at]} for {expected[at]}")
    if abs(table["rate_hz"][0].as_py() - record.fs) > 1e-9 * record.fs:
        faults.append(f"{where}: rate {table['rate_hz'][0].as_py()} Hz, the record has {record.fs}")
    if table["unit"][0].as_py() == record.units[signal]:
        scale, offset = table["scale"][0].as_py(), table["offset"][0].as_py()
        physical = (expected - float(record.baseline[signal])) / record.adc_gain[signal]
        worst = float(np.max(np.abs(expected * scale + offset - physical), initial=0.0))
        # A thousandth of a count: scale and offset may have been rounded, a value may not.
        if not worst <= 1e-3 / abs(record.adc_gain[signal]):
            faults.append(f"{where}: value differs by up to {worst} {record.units[signal]}")
    return faults


def duck_faults(waveforms, rows, samples):
    """Faults seen by DuckDB: counts that disagree with pyarrow's, one message's samples stored twice."""
    faults = []
    source = f"read_parquet('{waveforms}/date=*/*.parquet', hive_partitioning = true)"
    seen = duckdb.sql(f"SELECT count(*), coalesce(sum(len(counts)), 0) FROM {source}").fetchall()[0]
    if tuple(int(v) for v in seen) != (rows, samples):
        faults.append(f"duckdb: {seen} rows and samples, pyarrow {(rows, samples)}")
    partitions = duckdb.sql(
        "SELECT topic, partition, max(record_offset) - min(record_offset) + 1, count(DISTINCT record_offset), "
        f"min(record_offset) FROM {source} GROUP BY ALL"
    ).fetchall()
    for topic, partition, span, distinct, first in partitions:
        if span < distinct or first < 0:
            faults.append(f"duckdb: {topic}/{partition}: {distinct} offsets within {span}, first {first}")
    twice = duckdb.sql(
        "SELECT count(*) FROM (SELECT 1 FROM "
        f"{source} GROUP BY topic, partition, record_offset, channel, start_us HAVING count(*) > 1)"
    ).fetchall()[0][0]
    twice_seq = duckdb.sql(
        "SELECT count(*) FROM (SELECT 1 FROM "
        f"{source} GROUP BY patient, source, session, sequence, channel, start_us HAVING count(*) > 1)"
    ).fetchall()[0][0]
    if twice or twice_seq:
        faults.append(f"duckdb: duplicates: {twice} by record offset, {twice_seq} by sequence")
    return faults, {f"{t}/{p}": {"span": int(s), "records": int(d)} for t, p, s, d, _ in partitions}


def check(archive, records, mapping, partial=False, seconds=None):
    waveforms = pathlib.Path(archive) / "waveforms"
    files = sorted(waveforms.glob("date=*/*.parquet"))
    if not files:
        return {}, [f"no files match {waveforms}/date=*/*.parquet"]
    faults = [fault for file in files for fault in schema_faults(pq.read_schema(file))]
    if faults:
        return {"files": len(files)}, sorted(set(faults))
    dataset = ds.dataset(files, format="parquet")
    rows, samples, late, compared = 0, 0, 0, 0
    for name in sorted(set(dataset.to_table(columns=["patient"])["patient"].unique().to_pylist()) - set(mapping)):
        faults.append(f"{name}: a patient of the archive is not in the map")
    for patient, target in mapping.items():
        if target is None:
            part = dataset.to_table(filter=pc.field("patient") == patient, columns=["counts", "samples"])
            # What was sent as 32-bit values has no counts.
            rows, samples = rows + part.num_rows, samples + len(flat(part["counts"]))
            continue
        target = {"record": target} if isinstance(target, str) else target
        record = wfdb.rdrecord(str(pathlib.Path(records) / target["record"]), physical=False)
        table = dataset.to_table(filter=pc.field("patient") == patient, columns=list(COLUMNS))
        names = target.get("channels", {})
        seen = set()
        for channel in sorted(table["channel"].unique().to_pylist()):
            where = f"{patient}/{channel}"
            part = table.filter(pc.equal(table["channel"], channel)).sort_by("start_us")
            rows += part.num_rows
            samples += len(flat(part["counts"]))
            late += pc.sum(pc.equal(part["status"], "late")).as_py()
            signal = names.get(channel, channel)
            if signal not in record.sig_name:
                faults.append(f"{where}: no signal {signal!r} in record {target['record']} ({record.sig_name})")
                continue
            seen.add(signal)
            compared += 1
            faults += compare(where, part, record, record.sig_name.index(signal), seconds)
        if not partial and seen != set(record.sig_name):
            faults.append(f"{patient}: signals absent: {sorted(set(record.sig_name) - seen)}")
    duck, partitions = duck_faults(waveforms, rows, samples)
    findings = {"files": len(files), "rows": rows, "samples": samples, "late_rows": late}
    return dict(findings, channels=compared, partitions=partitions), faults + duck


def write_example(folder, change=lambda rows: rows, seconds=None, mapping=None):
    """A record of two signals and the archive of it, 10 messages of 1 s; `change` may spoil the archive's rows."""
    rng = np.random.default_rng(1)
    digital = rng.integers(-1000, 1000, (1000, 2))
    wfdb.wrsamp(
        "r1", fs=100, units=["mV", "mV"], sig_name=["MLII", "V1"], d_signal=digital, fmt=["16", "16"],
        adc_gain=[200, 100], baseline=[5, 0], write_dir=str(folder),
    )
    rows = [
        {
            "patient": "p1", "source": "monitor", "session": 1, "sequence": second, "channel": channel, "unit": "mV",
            "rate_hz": 100.0, "start_us": 1_700_000_000_000_000 + second * 1_000_000, "scale": scale,
            "offset": offset, "missing_count": -32768, "counts": digital[second * 100 : second * 100 + 100, s].tolist(),
            "samples": None, "topic": "frames", "partition": 0, "record_offset": 40 + second, "status": "processed",
        }
        for second in range(10)
        for s, (channel, scale, offset) in enumerate([("ecg.ii", 1 / 200, -5 / 200), ("V1", 1 / 100, 0.0)])
    ]
    rows = change(rows)
    kinds = {"counts": pa.list_(pa.int16()), "samples": pa.list_(pa.float32())}
    schema = pa.schema([(n, kinds.get(n) or COLUMNS[n][0]) for n in COLUMNS])
    target = folder / "waveforms" / "date=2023-11-14"
    target.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), target / "a.parquet")
    mapping = mapping or {"p1": {"record": "r1", "channels": {"ecg.ii": "MLII"}}}
    return check(folder, folder, mapping, seconds=seconds)[1]


def self_test():
    test = SelfTest()

    def example(change=lambda rows: rows, **how):
        with tempfile.TemporaryDirectory() as folder:
            return write_example(pathlib.Path(folder), change, **how)

    def spoil(at, **fields):
        def change(rows):
            rows[at].update(fields)
            return rows

        return change

    def one_sample(rows):
        rows[7]["counts"][3] += 1
        return rows

    def swapped(rows):
        rows[4]["counts"], rows[6]["counts"] = rows[6]["counts"], rows[4]["counts"]
        return rows

    test.passes("right", example())
    test.passes("late rows count as rows", example(spoil(3, status="late")))
    test.flags("one sample off by one", example(one_sample), "samples differ")
    test.flags("two rows swapped", example(swapped), "samples differ")
    test.flags("a row lost", example(lambda rows: rows[:4] + rows[5:]), "length")
    test.flags("a row twice", example(lambda rows: rows + rows[-1:]), "duplicates")
    test.flags("time with a hole", example(spoil(19, start_us=1_700_000_010_000_000)), "us off")
    test.flags("wrong scale", example(lambda rows: [dict(r, scale=0.01) for r in rows]), "value differs")
    test.flags("wrong offset", example(lambda rows: [dict(r, offset=0.1) for r in rows]), "value differs")
    test.flags("scale changes", example(spoil(5, scale=0.5)), "changes")
    test.flags("wrong rate", example(lambda rows: [dict(r, rate_hz=101.0) for r in rows]), "rate")
    test.flags("unknown status", example(spoil(0, status="lost")), "unknown status")
    test.flags("counts absent", example(spoil(0, counts=None)), "without counts")
    test.flags("a channel lost", example(lambda rows: rows[::2]), "absent")
    test.passes("the first seconds", example(lambda rows: rows[:12], seconds=6))
    test.flags("a second too few", example(lambda rows: rows[:12], seconds=7), "length")
    test.flags("a second too many", example(seconds=9), "length")
    test.passes("one who plays no record", example(one_sample, mapping={"p1": None}))
    test.flags("his row twice", example(lambda rows: rows + rows[-1:], mapping={"p1": None}), "duplicates")
    test.flags("a stranger", example(spoil(0, patient="p2")), "not in the map")
    with tempfile.TemporaryDirectory() as folder:
        test.flags("an empty folder", check(folder, folder, {})[1], "no files")
    wrong = pa.schema([(n, pa.int32()) for n in COLUMNS])
    test.flags("wrong types", schema_faults(wrong), "column counts is int32")
    test.finish()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", nargs="?")
    parser.add_argument("records", nargs="?")
    parser.add_argument("--map", help="JSON file: patient to record")
    parser.add_argument("--partial", action="store_true", help="the archive need not have all signals of a record")
    parser.add_argument("--seconds", type=float, help="only so much of each record was sent")
    parser.add_argument("--self-test", action="store_true")
    args = parser.parse_args()
    if args.self_test:
        self_test()
    if not (args.archive and args.records and args.map):
        parser.error("ARCHIVE_DIR, MITDB_DIR and --map are needed")
    mapping = json.loads(pathlib.Path(args.map).read_text())
    finish(*check(args.archive, args.records, mapping, args.partial, args.seconds))


if __name__ == "__main__":
    main()
