"""Trains models/zoo/sepsis_vitals from PhysioNet/CinC Challenge 2019 and measures it on held-out patients.

In:  --data, the folder of training_setA_dev.tar.gz and training_setB_dev.tar.gz (hourly .psv, NaN = not measured).
Out: --out, model.onnx (float32 [N, 7] -> probability [N, 1]) and measured.json (the numbers that CARD.md quotes).
"""

import argparse
import hashlib
import json
import math
import os
import tarfile
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: one thread, one order of sums
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score, roc_auc_score

SEED = 2019
OPSET, ML_OPSET, IR_VERSION = 17, 3, 8
HELD_OUT = 0.3
THRESHOLDS = (0.03, 0.06)

# Input, column of the files, plausible range (operators/src/signal/channel.rs), hours that a charted value is held.
# A monitor's rate is seconds old at run time, so only the hour's own entry counts; temperature is held for 4 h.
INPUTS = [
    ("heart_rate", "HR", 0.0, 350.0, 0),
    ("spo2", "O2Sat", 20.0, 100.0, 0),
    ("temperature", "Temp", 20.0, 45.0, 4),
    ("nibp_sys", "SBP", 20.0, 350.0, 0),
    ("nibp_mean", "MAP", 10.0, 300.0, 0),
    ("resp_rate", "Resp", 0.0, 150.0, 0),
    ("age", "Age", 0.0, 130.0, 0),
]
ICU_HOURS = ("icu_hours", "ICULOS", 0.0, 100_000.0, 0)  # tried, not shipped: see --icu-hours
LEAST_VITALS = 3  # rows with fewer vitals are refused at run time, so they are neither trained on nor scored


def held_out(patient):
    """Whether a patient is kept out of training: decided by a hash of the id, so that no order or seed matters."""
    return int(hashlib.sha256(patient.encode()).hexdigest()[:8], 16) / 2**32 < HELD_OUT


def clean(column, low, high, hold):
    """Implausible values become NaN, as they do in the engine; a value is held for `hold` hours."""
    out = np.where((column >= low) & (column <= high), column, np.nan)
    age = 0
    for i in range(1, len(out)):
        if math.isnan(out[i]):
            age += 1
            if age <= hold and not math.isnan(out[i - 1]):
                out[i] = out[i - 1]
        else:
            age = 0
    return out


def read(path, inputs):
    """All hours of one hospital: inputs, labels, patient number of each hour, held-out flag of each patient."""
    x, y, who, kept = [], [], [], []
    with tarfile.open(path) as tar:
        members = sorted((m for m in tar if m.name.endswith(".psv")), key=lambda m: m.name)
        for member in members:
            head, *rows = tar.extractfile(member).read().decode().splitlines()
            names = head.split("|")
            columns = [names.index(i[1]) for i in inputs] + [names.index("SepsisLabel")]
            cells = [r.split("|") for r in rows]
            table = np.array([[float(c[k]) for k in columns] for c in cells])
            x.append(np.column_stack([clean(table[:, k], *i[2:]) for k, i in enumerate(inputs)]))
            y.append(table[:, -1].astype(np.int8))
            who.append(np.full(len(table), len(kept), dtype=np.int32))
            kept.append(held_out(os.path.basename(member.name).removesuffix(".psv")))
    x, y, who, kept = np.concatenate(x).astype(np.float32), np.concatenate(y), np.concatenate(who), np.array(kept)
    enough = np.isfinite(x[:, :6]).sum(axis=1) >= LEAST_VITALS
    return x[enough], y[enough], who[enough], kept


def news2_points(x):
    """NEWS2 points (RCP 2017) of the five vitals at hand; oxygen and consciousness are not in the data, and a missing
    vital gives no points. The plain score to compare with."""
    def band(v, edges, points):
        return np.where(np.isnan(v), 0, np.array(points)[np.searchsorted(edges, np.nan_to_num(v), side="right")])

    hr, spo2, temp, sbp, _, rr = (x[:, i].astype(float) for i in range(6))
    total = band(rr, [8.5, 11.5, 20.5, 24.5], [3, 1, 0, 2, 3])
    total = total + band(spo2, [91.5, 93.5, 95.5], [3, 2, 1, 0])
    total = total + band(temp, [35.05, 36.05, 38.05, 39.05], [3, 1, 0, 1, 2])
    total = total + band(sbp, [90.5, 100.5, 110.5, 219.5], [3, 2, 1, 0, 3])
    return total + band(hr, [40.5, 50.5, 90.5, 110.5, 130.5], [3, 1, 0, 1, 2, 3])


def interval(y, scores, who, rounds=200):
    """95 % interval of the AUROC: patients drawn again with replacement."""
    rng = np.random.default_rng(SEED)
    patients, start = np.unique(who, return_index=True)
    stop = np.append(start[1:], len(who))
    found = []
    for _ in range(rounds):
        picks = rng.integers(0, len(patients), len(patients))
        rows = np.concatenate([np.arange(start[p], stop[p]) for p in picks])
        found.append(roc_auc_score(y[rows], scores[rows]))
    return [round(float(v), 3) for v in np.percentile(found, [2.5, 97.5])]


def figures(y, p, x, who, rounds=200):
    """What the card says of one hospital."""
    news = news2_points(x)
    logit = np.log(np.clip(p, 1e-6, 1 - 1e-6) / (1 - np.clip(p, 1e-6, 1 - 1e-6)))
    slope, offset = platt(logit, y)
    top = np.argsort(-p, kind="stable")[: max(1, len(p) // 20)]
    out = {
        "patients": int(len(np.unique(who))), "hours": int(len(y)), "prevalence": round(float(y.mean()), 4),
        "auroc": round(float(roc_auc_score(y, p)), 3), "auprc": round(float(average_precision_score(y, p)), 3),
        "news2_auroc": round(float(roc_auc_score(y, news)), 3),
        "news2_auprc": round(float(average_precision_score(y, news)), 3),
        "mean_predicted": round(float(p.mean()), 4),
        "calibration_slope": round(slope, 3), "calibration_offset": round(offset, 3),
        "precision_of_top_5_percent": round(float(y[top].mean()), 4),
        "recall_of_top_5_percent": round(float(y[top].sum() / y.sum()), 4),
    }
    out["at_probability"] = {str(t): {
        "hours_flagged": round(float((p >= t).mean()), 4), "precision": round(float(y[p >= t].mean()), 4),
        "recall": round(float((p[y == 1] >= t).mean()), 4)} for t in THRESHOLDS}
    if rounds:
        out["auroc_95"] = interval(y, p, who, rounds)
        out["news2_auroc_95"] = interval(y, news, who, rounds)
    return out


def platt(logit, y, steps=25):
    """Slope and offset of label against logit, by Newton's method."""
    a, b = 1.0, 0.0
    for _ in range(steps):
        q = 1 / (1 + np.exp(-(a * logit + b)))
        w = q * (1 - q)
        g = np.array([((q - y) * logit).sum(), (q - y).sum()])
        h = np.array([[(w * logit * logit).sum(), (w * logit).sum()], [(w * logit).sum(), w.sum()]])
        a, b = np.array([a, b]) - np.linalg.solve(h, g)
    return float(a), float(b)


def fit(x, y):
    model = HistGradientBoostingClassifier(
        loss="log_loss", learning_rate=0.08, max_iter=100, max_depth=4, max_leaf_nodes=16, min_samples_leaf=400,
        l2_regularization=10.0, max_bins=255, early_stopping=False, random_state=SEED)
    return model.fit(x, y)


def export(model, width):
    """ONNX with one float32 input "inputs" [N, width] and one output "probability" [N, 1].

    Written node by node: the trees are then exactly those that were fitted. A split is `x <= t` with t in float64 and
    x in float32, so t rounded *down* to float32 decides the same for every x; NaN goes where the tree sends it.
    """
    keys = ["treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids",
            "missing_value_tracks_true"]
    nodes = {k: [] for k in keys}
    leaves = {"treeids": [], "nodeids": [], "ids": [], "weights": []}
    for tree, (predictor,) in enumerate(model._predictors):
        for number, node in enumerate(predictor.nodes):
            leaf = bool(node["is_leaf"])
            threshold = np.float32(0.0 if leaf else node["num_threshold"])
            if not leaf and float(threshold) > float(node["num_threshold"]):
                threshold = np.nextafter(threshold, np.float32(-np.inf))
            row = [tree, number, 0 if leaf else int(node["feature_idx"]), "LEAF" if leaf else "BRANCH_LEQ",
                   float(threshold), 0 if leaf else int(node["left"]), 0 if leaf else int(node["right"]),
                   0 if leaf else int(node["missing_go_to_left"])]
            for key, value in zip(keys, row):
                nodes[key].append(value)
            if leaf:
                for key, value in zip(leaves, [tree, number, 0, float(np.float32(node["value"]))]):
                    leaves[key].append(value)
    ensemble = helper.make_node(
        "TreeEnsembleRegressor", ["inputs"], ["log_odds"], domain="ai.onnx.ml", n_targets=1,
        aggregate_function="SUM", base_values=[float(model._baseline_prediction[0, 0])],
        **{f"nodes_{k}": v for k, v in nodes.items()}, **{f"target_{k}": v for k, v in leaves.items()})
    graph = helper.make_graph(
        [ensemble, helper.make_node("Sigmoid", ["log_odds"], ["probability"])], "sepsis_vitals", [helper.make_tensor_value_info("inputs", TensorProto.FLOAT, ["N", width])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N", 1])])
    made = helper.make_model(graph, ir_version=IR_VERSION, producer_name="sepsis_vitals.py",
                             opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)])
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString(deterministic=True)


def main():
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--data", required=True)
    ask.add_argument("--out", required=True)
    ask.add_argument("--icu-hours", action="store_true", help="add hours since admission, to see what it would give")
    args = ask.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)

    inputs = INPUTS + ([ICU_HOURS] if args.icu_hours else [])
    sets = {h: read(os.path.join(args.data, f"training_set{h}_dev.tar.gz"), inputs) for h in "AB"}
    part = {h: (x, y, who, kept[who]) for h, (x, y, who, kept) in sets.items()}
    train = {h: (x[~out], y[~out]) for h, (x, y, _, out) in part.items()}
    test = {h: (x[out], y[out], who[out]) for h, (x, y, who, out) in part.items()}

    model = fit(np.concatenate([train[h][0] for h in "AB"]), np.concatenate([train[h][1] for h in "AB"]))
    weights = export(model, len(inputs))
    session = onnxruntime.InferenceSession(weights, providers=["CPUExecutionProvider"])
    measured = {"seed": SEED, "held_out": HELD_OUT, "inputs": [i[0] for i in inputs], "bytes": len(weights),
                "sha256": hashlib.sha256(weights).hexdigest(),
                "train_patients": {h: int(len(np.unique(who[~out]))) for h, (_, _, who, out) in part.items()},
                "train_hours": {h: int(len(train[h][1])) for h in "AB"}, "hospital": {}}
    for h, (x, y, who) in test.items():
        p = session.run(None, {"inputs": x})[0][:, 0].astype(float)
        measured["hospital"][h] = figures(y, p, x, who)
        worst = float(np.abs(p - model.predict_proba(x)[:, 1]).max())
        measured["hospital"][h]["worst_difference_onnx_sklearn"] = float(f"{worst:.1e}")
    for source, target in ("AB", "BA"):
        x, y, who = test[target]
        p = fit(*train[source]).predict_proba(x)[:, 1]
        measured[f"trained_on_{source}_tested_on_{target}_auroc"] = round(float(roc_auc_score(y, p)), 3)
    every = np.concatenate([train[h][0] for h in "AB"])
    measured["median_of_input"] = {i[0]: round(float(np.nanmedian(every[:, k])), 2) for k, i in enumerate(inputs)}
    measured["absent_fraction"] = {i[0]: round(float(np.isnan(every[:, k]).mean()), 3) for k, i in enumerate(inputs)}

    os.makedirs(args.out, exist_ok=True)
    with open(os.path.join(args.out, "model.onnx"), "wb") as f:
        f.write(weights)
    with open(os.path.join(args.out, "measured.json"), "w") as f:
        f.write(json.dumps(measured, indent=2) + "\n")
    print(json.dumps(measured, indent=2))


if __name__ == "__main__":
    main()
