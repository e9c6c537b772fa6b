"""The job bands10: its data, its reference answer, and the check of an answer against it.

In: a folder to fill, or files of answers. Out: `part-*.bin`, and their count beside the folder; JSON lines; a verdict.

A record is `[u16 key length][key][u32 value length][value]`, little-endian; the key is `pNNNNN/ecg` or `pNNNNN/ppg`,
the value `u64 ms | u16 rate | u16 n | n * i16`, one second of one channel at 250 Hz, 0.005 mV a count. For each key, in
order: band-pass (Butterworth, order 4, 0.5 to 40 Hz, from zero), tumbling windows of 10 s of event time, then of each
whole window the root mean square, the sums of |rfft(y * hann)|^2 over four bands, and a logistic function of their
logarithms.
"""

import glob
import json
import math
import os
import struct
import sys
import time
import zlib

import numpy as np
from scipy.signal import butter, get_window, sosfilt

RATE, SAMPLES, WINDOW_S, SCALE = 250, 250, 10, 0.005
BANDS_HZ = ((0.5, 4), (4, 8), (8, 15), (15, 40))
WEIGHTS, BIAS = np.array([0.8, -0.3, 0.25, 0.15, -0.2]), -0.4
START_MS = 1_700_000_000_000
SOS = butter(4, [0.5, 40], "bandpass", fs=RATE, output="sos")
HANN = get_window("hann", RATE * WINDOW_S)
_HZ = np.fft.rfftfreq(RATE * WINDOW_S, 1 / RATE)
BINS = [(int(np.searchsorted(_HZ, low - 1e-9)), int(np.searchsorted(_HZ, high - 1e-9))) for low, high in BANDS_HZ]
TOLERANCE = 1e-6


def encode(ms, x):
    """One value."""
    return struct.pack("<QHH", ms, RATE, len(x)) + x.astype("<i2").tobytes()


def decode(value):
    """Start in milliseconds and counts of a value."""
    ms, _, n = struct.unpack_from("<QHH", value)
    return ms, np.frombuffer(value, "<i2", n, 12)


def fresh():
    """State of the filter before the first sample."""
    return np.zeros((4, 2))


def band_pass(counts, state):
    """Filtered samples and the state after."""
    return sosfilt(SOS, counts * SCALE, zi=state)


def answer(key, start_ms, y):
    """The line of one whole window."""
    rms = math.sqrt(float(np.dot(y, y)) / len(y))
    x = np.fft.rfft(y * HANN)
    power = x.real**2 + x.imag**2
    bands = [float(power[a:b].sum()) for a, b in BINS]
    z = float(np.dot(WEIGHTS, [math.log(v + 1e-9) for v in [rms, *bands]])) + BIAS
    p = 1 / (1 + math.exp(-z))
    return json.dumps({"k": key, "w": start_ms, "n": len(y), "rms": rms, "bands": bands, "p": p})


def frames(patients, seconds):
    """Keys and values, second by second: shifted templates with noise, so that making them costs little."""
    rng, t = np.random.default_rng(1), np.arange(RATE * 60) / RATE
    qrs, wave = np.exp(-(((t % 0.8 - 0.3) / 0.015) ** 2)), np.exp(-(((t % 0.8 - 0.55) / 0.05) ** 2))
    pulse = 80 * np.sin(2 * np.pi * 1.25 * t) + 25 * np.sin(2 * np.pi * 2.5 * t + 1)
    base, noise = {"ecg": qrs * 200 + wave * 50, "ppg": pulse}, rng.normal(0, 6, RATE * 64)
    for s in range(seconds):
        for p in range(patients):
            at = (s * RATE + p * 37) % (RATE * 60) + np.arange(SAMPLES)
            extra = noise[(p * 13 + s * 101) % (RATE * 62) :][:SAMPLES]
            for channel in ("ecg", "ppg"):
                x = np.take(base[channel], at, mode="wrap") + extra
                yield f"p{p:05d}/{channel}", encode(START_MS + s * 1000, x.astype(np.int16))


def generate(folder, patients, seconds, parts):
    """Fills a folder: one file a partition, by the hash of the patient."""
    os.makedirs(folder, exist_ok=True)
    files, count = [open(f"{folder}/part-{i}.bin", "wb") for i in range(parts)], 0
    for key, value in frames(patients, seconds):
        key, count = key.encode(), count + 1
        file = files[zlib.crc32(key.split(b"/")[0]) % parts]
        file.write(struct.pack("<H", len(key)) + key + struct.pack("<I", len(value)) + value)
    for file in files:
        file.close()
    # Beside the folder: Flink reads every file in it.
    with open(f"{folder}.json", "w") as f:
        json.dump({"patients": patients, "seconds": seconds, "messages": count, "samples": count * SAMPLES}, f)


def read(path):
    """Keys and values of one file."""
    with open(path, "rb") as f:
        data = f.read()
    at = 0
    while at < len(data):
        key_len = struct.unpack_from("<H", data, at)[0]
        key, at = data[at + 2 : at + 2 + key_len], at + 2 + key_len
        value_len = struct.unpack_from("<I", data, at)[0]
        yield key, data[at + 4 : at + 4 + value_len]
        at += 4 + value_len


def reference(records):
    """The answer, by numpy and scipy alone; also what a loop written in Python costs."""
    state = {}
    for key, value in records:
        ms, counts = decode(value)
        s = state.setdefault(key, [fresh(), None, []])
        y, s[0] = band_pass(counts, s[0])
        window = ms // 10_000 * 10_000
        if s[1] is not None and window != s[1]:
            yield from whole(key, s[1], s[2])
            s[2] = []
        s[1] = window
        s[2].append(y)
    for key, s in state.items():
        yield from whole(key, s[1], s[2])


def whole(key, start_ms, parts):
    """The line of a window, if it is whole."""
    y = np.concatenate(parts)
    if len(y) == RATE * WINDOW_S:
        yield answer(key.decode(), start_ms, y)


def load(paths):
    """Lines by key and window, and how many stood twice."""
    lines, twice = {}, 0
    for path in paths:
        for line in open(path):
            if line.strip():
                row = json.loads(line)
                twice += (row["k"], row["w"]) in lines
                lines[row["k"], row["w"]] = row
    return lines, twice


def check(expected, found):
    """Compares files of answers: missing, extra, doubled, and wrong by more than the tolerance."""
    a, (b, twice) = load([expected])[0], load(found)
    bad, worst = 0, 0.0
    for key in a.keys() & b.keys():
        one, other = ([r["n"], r["rms"], r["p"], *r["bands"]] for r in (a[key], b[key]))
        off = max(abs(x - y) / (abs(x) + 1e-12) for x, y in zip(one, other, strict=True))
        bad, worst = bad + (off > TOLERANCE), max(worst, off)
    missing, extra = len(a.keys() - b.keys()), len(b.keys() - a.keys())
    return {"expected": len(a), "missing": missing, "extra": extra, "twice": twice, "wrong": bad, "worst": worst}


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["generate", folder, patients, seconds, parts]:
            generate(folder, int(patients), int(seconds), int(parts))
        case ["reference", folder, out]:
            with open(out, "w") as f:
                for path in sorted(glob.glob(f"{folder}/part-*.bin")):
                    f.writelines(line + "\n" for line in reference(read(path)))
        case ["check", expected, *found]:
            verdict = check(expected, found)
            print(json.dumps(verdict))
            sys.exit(any(verdict[k] for k in ("missing", "extra", "twice", "wrong")))
        case _:
            sys.exit(__doc__)
