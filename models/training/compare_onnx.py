"""What Python's onnxruntime answers, to hold the Rust answers against (models/tests/golden.rs).

rows: --model M --rows R.csv           writes rows: plausible, with absences, and on, just below and just above splits
run:  --model M --rows R.csv --out G   writes each row with the answer, nothing rounded

Rows are CSV without a head line, `nan` where a value is missing, columns in the model's order.
"""

import argparse
import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before onnxruntime

import numpy as np
import onnx
import onnxruntime

SEED = 7
# Low and high of random rows, for the inputs of sepsis_vitals in order; a little wider than common.
RANGES = [(30, 190), (70, 100), (33, 41), (60, 220), (40, 150), (5, 45), (18, 95)]


def splits(model):
    """Thresholds of each input in the trees of a model."""
    found = {}
    for node in model.graph.node:
        has = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        for mode, column, value in zip(has.get("nodes_modes", []), has.get("nodes_featureids", []),
                                       has.get("nodes_values", [])):
            if mode != b"LEAF":
                found.setdefault(column, set()).add(np.float32(value))
    return {k: sorted(v) for k, v in sorted(found.items())}


def make_rows(model, count=160, splits_each=12):
    rng = np.random.default_rng(SEED)
    low, high = np.array(RANGES, dtype=np.float32).T
    rows = rng.uniform(low, high, (count, len(RANGES))).astype(np.float32)
    rows[rng.random(rows.shape) < 0.15] = np.nan
    rows = [*rows, np.full(len(RANGES), np.nan, dtype=np.float32), low, high]
    middle = ((low + high) / 2).astype(np.float32)
    for column, values in splits(model).items():
        for value in rng.choice(values, min(splits_each, len(values)), replace=False):
            for v in (value, np.nextafter(value, np.float32(-np.inf)), np.nextafter(value, np.float32(np.inf))):
                row = middle.copy()
                row[column] = v
                rows.append(row)
        for absent in (np.nan, 0.0, -1e30, 1e30):
            row = middle.copy()
            row[column] = absent
            rows.append(row)
    return np.array(rows, dtype=np.float32)


def text(v):
    """Shortest digits that give the same float32 back."""
    return "nan" if np.isnan(v) else str(np.float32(v))


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("what", choices=["rows", "run"])
    ask.add_argument("--model", required=True)
    ask.add_argument("--rows", required=True)
    ask.add_argument("--out")
    args = ask.parse_args()
    if args.what == "rows":
        rows = make_rows(onnx.load(args.model))
        with open(args.rows, "w") as f:
            f.writelines(",".join(text(v) for v in row) + "\n" for row in rows)
        return
    rows = np.array([[float(c) for c in line.split(",")] for line in open(args.rows)], dtype=np.float32)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(args.model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    with open(args.out, "w") as f:
        f.write(f"# Made by models/training/compare_onnx.py with Python's onnxruntime {onnxruntime.__version__}, seed {SEED}.\n"
                "# Columns of the model, then its answer; one row at a time; float32, nothing rounded.\n")
        for row in rows:
            answer = session.run(None, {name: row[None, :]})[0].ravel()[-1]
            f.write(",".join(text(v) for v in [*row, answer]) + "\n")


if __name__ == "__main__":
    main()
