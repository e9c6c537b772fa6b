"""Compares the archive of a run with faults with that of an uninterrupted run over the same log, row by row.

In: FOUND_DIR and EXPECTED_DIR, each waveforms|numerics|scores|events/date=*/TOPIC-PARTITION-FIRST-LAST.parquet. Out: one
JSON line. Flagged: a file left aside or without a footer, stretches that overlap, a row lost, doubled, altered or
invented. The name of the topic is not compared.
"""

import argparse
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
    """Files by table and partition, and the faults of the files themselves."""
    files, reach, faults = {}, {}, []
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
        first, last, folder = int(match["first"]), int(match["last"]), inside.parent
        for other in reach.setdefault(place, []):
            if other[2] == folder and other[0] <= last and first <= other[1]:
                faults.append(f"overlap: {inside} with {other[0]}-{other[1]}")
        reach[place].append((first, last, folder))
        try:
            pq.read_metadata(path)
        except (pa.ArrowInvalid, OSError) as e:
            faults.append(f"footer: {inside}: {e}")
            continue
        files.setdefault(place, []).append(str(path))
    return files, faults


def rows_of(files, mark):
    """A query over the rows of files: what each says but for the name of its topic, and whose it is."""
    if not files:
        return None
    names = [n for n in pq.read_schema(files[0]).names if n not in ("topic", "input_topic")]
    columns = ", ".join(f'"{n}"' for n in names)
    source = f"read_parquet({files!r}, hive_partitioning = false)"
    return f"SELECT hash(r) AS h, '{mark}' AS mark, r FROM (SELECT {columns} FROM {source}) AS r"


def compare(found_root, expected_root):
    found, faults = read(found_root)
    expected, other = read(expected_root)
    faults += [f"in the uninterrupted run: {f}" for f in other]
    total = 0
    for place in sorted(set(found) | set(expected)):
        name = f"{place[0]} of partition {place[1]}"
        parts = [rows_of(found.get(place), "f"), rows_of(expected.get(place), "e")]
        union = " UNION ALL ".join(p for p in parts if p)
        counts = f"""SELECT count(*) FILTER (mark = 'f') AS f, count(*) FILTER (mark = 'e') AS e, any_value(r)::VARCHAR AS r
            FROM ({union}) GROUP BY h"""
        total += duckdb.sql(f"SELECT coalesce(sum(f), 0) FROM ({counts})").fetchall()[0][0]
        for f, e, row in duckdb.sql(f"SELECT * FROM ({counts}) WHERE f <> e ORDER BY r LIMIT 20").fetchall():
            kind = "invented" if e == 0 else "doubled" if f > e else "lost"
            faults.append(f"{kind}: {name}: {f} times instead of {e}: {row[:200]}")
    if not total:
        faults.append("nothing to compare")
    return {"rows": int(total), "files": sum(len(f) for f in found.values())}, faults


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
