"""Compares the archive of a run with faults with that of an uninterrupted run over the same log, row by row.

In: FOUND_DIR and EXPECTED_DIR, each waveforms|numerics|scores|events/date=*/TOPIC-PARTITION-FIRST-LAST.parquet. Out: one
JSON line. Flagged: a file left aside or without a footer, stretches that overlap, a row lost, doubled, altered or
invented. The name of the topic is not compared.
"""

import argparse
import collections
import json
import pathlib
import re
import tempfile

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from findings import SelfTest, finish

TABLES = ("waveforms", "numerics", "scores", "events")
NAME = re.compile(r"^(?P<topic>.+)-(?P<partition>\d+)-(?P<first>\d+)-(?P<last>\d+)\.parquet$")


def read(root):
    """Rows by table and partition, each with how often it stands, and the faults of the files themselves."""
    rows, reach, faults = {}, {}, []
    for path in sorted(p for p in pathlib.Path(root).rglob("*") if p.is_file()):
        inside = path.relative_to(root)
        if ".tmp" in path.name or ".open" in path.name:
            faults.append(f"left aside: {inside}")
        if path.suffix != ".parquet":
            continue
        table = inside.parts[0]
        match = NAME.match(path.name)
        if table not in TABLES or not match:
            faults.append(f"no name of an archive: {inside}")
            continue
        place = (table, int(match["partition"]))
        stretch = (int(match["first"]), int(match["last"]), str(inside.parent))
        for other in reach.setdefault(place, []):
            same_date = other[2] == stretch[2]
            if same_date and other[0] <= stretch[1] and stretch[0] <= other[1]:
                faults.append(f"overlap: {inside} with {other[0]}-{other[1]}")
        reach[place].append(stretch)
        try:
            content = pq.read_table(path, partitioning=None)
        except (pa.ArrowInvalid, OSError) as e:
            faults.append(f"footer: {inside}: {e}")
            continue
        if content.num_rows != duckdb.sql(f"SELECT count(*) FROM read_parquet('{path}')").fetchall()[0][0]:
            faults.append(f"readers disagree: {inside}")
        counted = rows.setdefault(place, collections.Counter())
        names = [n for n in content.column_names if n != "topic" and n != "input_topic"]
        for row in content.select(names).to_pylist():
            counted[json.dumps(row, sort_keys=True, default=str)] += 1
    return rows, reach, faults


def compare(found_root, expected_root):
    found, reach, faults = read(found_root)
    expected, _, other = read(expected_root)
    faults += [f"in the uninterrupted run: {f}" for f in other]
    total = 0
    for place in sorted(set(found) | set(expected)):
        here, there = found.get(place, collections.Counter()), expected.get(place, collections.Counter())
        total += sum(here.values())
        name = f"{place[0]} of partition {place[1]}"
        for row in sorted(here.keys() - there.keys()):
            faults.append(f"invented: {name}: {row[:200]}")
        for row, n in here.items():
            if n > there.get(row, n):
                faults.append(f"doubled: {name}: {n} times {row[:200]}")
        for row, n in there.items():
            if n > here.get(row, 0):
                faults.append(f"lost: {name}: {row[:200]}")
    files = sum(len(s) for s in reach.values())
    if not total:
        faults.append("nothing to compare")
    return {"rows": total, "files": files}, faults


def write_example(root, change=lambda rows: rows, stretches=((0, 9), (10, 19)), table="waveforms"):
    for first, last in stretches:
        folder = root / table / "date=2026-01-01"
        folder.mkdir(parents=True, exist_ok=True)
        rows = [{"patient": f"p{o % 3}", "record_offset": o, "counts": [o, o + 1], "topic": str(root)} for o in range(first, last + 1)]
        pq.write_table(pa.Table.from_pylist(change(rows)), folder / f"t-0-{first:05}-{last:05}.parquet")


def self_test():
    test = SelfTest()

    def case(name, word, spoil=lambda root: None, **example):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            write_example(folder / "b")
            write_example(folder / "a", **example)
            spoil(folder / "a")
            _, faults = compare(folder / "a", folder / "b")
            test.flags(name, faults, word) if word else test.passes(name, faults)

    def put(name, content=b""):
        def spoil(root):
            path = root / "waveforms" / "date=2026-01-01" / name
            path.write_bytes(content)

        return spoil

    case("the same", None)
    case("cut in other stretches", None, stretches=((0, 4), (5, 12), (13, 19)))
    case("ends earlier", "lost", stretches=((0, 9), (10, 15)))
    case("a hole", "lost", stretches=((0, 9), (12, 19)))
    case("a row lost", "lost", change=lambda rows: [r for r in rows if r["record_offset"] != 13])
    case("a row doubled", "doubled", change=lambda rows: rows + [r for r in rows if r["record_offset"] == 13])
    case("stretches overlap", "overlap", stretches=((0, 10), (10, 19)))
    case("a row altered", "invented", change=lambda rows: [dict(r, counts=[0]) if r["record_offset"] == 3 else r for r in rows])
    case("left aside", "left aside", spoil=put(".t-0-00020.open.tmp"))
    case("no footer", "footer", spoil=put("t-0-00020-00029.parquet", b"PAR1 cut"))
    case("nothing", "nothing", stretches=())
    test.finish()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("found", nargs="?", type=pathlib.Path)
    parser.add_argument("expected", nargs="?", type=pathlib.Path)
    parser.add_argument("--self-test", action="store_true")
    args = parser.parse_args()
    if args.self_test:
        self_test()
    if not args.found or not args.expected:
        parser.error("two archives are needed")
    finish(*compare(args.found, args.expected))


if __name__ == "__main__":
    main()
