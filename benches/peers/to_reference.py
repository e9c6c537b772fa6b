"""Lines of `auscult replay --features` in the form that `common.py check` reads. In: a folder. Out: JSON lines."""

import json
import sys

NAMES = {"ecg_ii": "ecg", "ppg": "ppg"}
BANDS = [f"window_band_{i}" for i in range(1, 5)]


def lines(folder):
    """Joins features and predictions by patient, channel and end of window."""
    said = {}
    for line in open(f"{folder}/predictions.jsonl"):
        p = json.loads(line)
        channel = {"bands10_ecg": "ecg_ii", "bands10_ppg": "ppg"}[p["model"]]
        said[p["patient"], channel, p["event_time_us"]] = p["outcome"]
    for line in open(f"{folder}/features.jsonl"):
        f = json.loads(line)
        for group in f["features"]:
            values = group.get("values", {})
            if "window_rms" not in values:
                continue
            channel, end, window = group["channel"], group["time_us"], group["window_s"]
            p = said[f["patient"], channel, f["event_time_us"]]["probability"]["value"]
            yield {
                "k": f"{f['patient']}/{NAMES[channel]}", "w": end // 1000 - round(window * 1000),
                "n": values["window_samples"], "rms": values["window_rms"], "bands": [values[b] for b in BANDS], "p": p,
            }


if __name__ == "__main__":
    with open(sys.argv[2], "w") as out:
        for line in lines(sys.argv[1]):
            out.write(json.dumps(line) + "\n")
