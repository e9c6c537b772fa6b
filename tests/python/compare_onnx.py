"""Compares our outputs of an ONNX model with those of onnxruntime's own Python package, value by value.

In: --model FILE, --rows FILE (JSON: a list of rows for a model of one input, or {"input name": [...]}; null is NaN),
--ours FILE (JSON: a list for one output, or {"output name": [...]}; with --output NAME for a list), --atol (1e-5).
Out: one JSON line with the largest deviation of each output. A model of fixed batch is fed padded batches.
"""

import argparse
import json
import pathlib
import tempfile

import numpy as np
import onnxruntime as ort

from findings import SelfTest, finish

KINDS = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}


def nan_for_null(value):
    if isinstance(value, list):
        return [nan_for_null(v) for v in value]
    return np.nan if value is None else value


def run(model, rows):
    """Outputs by name for all rows; rows go in together, or in padded batches where the model fixes their number."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    if isinstance(rows, list):
        if len(inputs) != 1:
            raise ValueError(f"rows are a list, the model has inputs {[i.name for i in inputs]}")
        rows = {inputs[0].name: rows}
    feed = {i.name: np.asarray(nan_for_null(rows[i.name]), dtype=KINDS[i.type]) for i in inputs}
    count = len(next(iter(feed.values())))
    fixed = {i.shape[0] for i in inputs if i.shape and isinstance(i.shape[0], int)}
    batch = fixed.pop() if fixed else count
    parts = []
    for start in range(0, count, batch):
        index = np.minimum(np.arange(start, start + batch), count - 1)
        answer = session.run(None, {name: values[index] for name, values in feed.items()})
        parts.append([np.asarray(a)[: count - start] for a in answer])
    names = [o.name for o in session.get_outputs()]
    return {name: np.concatenate([part[i] for part in parts]) for i, name in enumerate(names)}


def compare(model, rows, ours, atol, output=None):
    expected = run(model, rows)
    if isinstance(ours, list):
        ours = {output or next(iter(expected)): ours}
    faults, worst = [], {}
    if not ours:
        faults.append("no output to compare")
    for name, values in ours.items():
        if name not in expected:
            faults.append(f"{name}: the model has outputs {sorted(expected)}")
            continue
        found = np.asarray(nan_for_null(values), dtype=np.float64)
        reference = expected[name].astype(np.float64)
        if found.size != reference.size or not found.size:
            faults.append(f"{name}: shape {found.shape}, onnxruntime has {reference.shape}")
            continue
        found = found.reshape(reference.shape)
        both_nan = np.isnan(found) & np.isnan(reference)
        off = np.where(both_nan | (found == reference), 0.0, np.abs(found - reference))
        # A comparison with NaN is false, so that a NaN on one side only is a fault too.
        if not np.all(off <= atol):
            at = np.unravel_index(int(np.argmax(~(off <= atol))), off.shape)
            faults.append(f"{name}: row {at[0]}: {found[at]}, onnxruntime has {reference[at]}, allowed {atol}")
        worst[name] = None if np.isnan(off).any() else float(off.max())
    return {"rows": len(next(iter(expected.values()))), "worst": worst}, faults


def self_test():
    import onnx
    from onnx import TensorProto, helper

    def write(path, batch):
        weights = helper.make_tensor("w", TensorProto.FLOAT, [3, 1], [0.5, -1.0, 2.0])
        nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Sigmoid", ["z"], ["p"])]
        graph = helper.make_graph(
            nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3])],
            [helper.make_tensor_value_info("p", TensorProto.FLOAT, [batch, 1])], [weights],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.save(model, str(path))
        return path

    test = SelfTest()
    rows = [[0.1, 0.2, 0.3], [1.0, -1.0, 0.5], [2.0, 2.0, 2.0], [-1.0, 0.0, None], [0.0, 0.0, 0.0]]
    right = [None if None in r else 1 / (1 + np.exp(-(0.5 * r[0] - r[1] + 2 * r[2]))) for r in rows]
    with tempfile.TemporaryDirectory() as folder:
        model = write(pathlib.Path(folder) / "m.onnx", "n")
        fixed = write(pathlib.Path(folder) / "f.onnx", 2)

        def faults(ours, output=None, file=model):
            return compare(file, rows, ours, 1e-5, output)[1]

        test.passes("right", faults(right))
        test.passes("by name", faults({"p": [[v] for v in right]}))
        test.passes("fixed batch", faults(right, file=fixed))
        test.flags("one value off", faults([right[0] + 2e-5] + right[1:]), "p: row 0")
        test.flags("in the last, padded batch", faults(right[:-1] + [right[-1] + 2e-5], file=fixed), "p: row 4")
        test.flags("zero for NaN", faults([0.0 if v is None else v for v in right]), "p: row 3")
        test.flags("NaN for a value", faults([None] + right[1:]), "p: row 0")
        test.flags("a row lost", faults(right[1:]), "shape")
        test.flags("rows in another order", faults(right[::-1]), "p: row")
        test.flags("unknown output", faults(right, output="q"), "q: the model has")
        test.flags("nothing", faults({}), "no output")
    test.finish()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model")
    parser.add_argument("--rows")
    parser.add_argument("--ours")
    parser.add_argument("--output")
    parser.add_argument("--atol", type=float, default=1e-5)
    parser.add_argument("--self-test", action="store_true")
    args = parser.parse_args()
    if args.self_test:
        self_test()
    if not (args.model and args.rows and args.ours):
        parser.error("--model, --rows and --ours are needed")
    rows, ours = (json.loads(pathlib.Path(f).read_text()) for f in (args.rows, args.ours))
    finish(*compare(args.model, rows, ours, args.atol, args.output))


if __name__ == "__main__":
    main()
