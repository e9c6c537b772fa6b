"""Makes the golden values of operators/tests/transform_reference.rs: transform_reference.json.

In: nothing; the signals are computed here and, to the bit, in the test. Out: the file beside this one, with what scipy
says of uneven series, tapers, tapered periodograms, short-time transforms and spline wavelets, in the unit of the signal.

    python make_transform_reference.py        # made with scipy 1.17.1, numpy 2.4.6
"""

import json
import os

import numpy as np
import scipy
import scipy.signal as ss

from make_filter_reference import digits, signal

HERE = os.path.dirname(os.path.abspath(__file__))
MADE = (
    "by make_transform_reference.py with scipy %s and numpy %s from synthetic signals; do not edit, run it again"
    % (scipy.__version__, np.__version__)
)


def uneven(n):
    """Times with steps from 0.6 to 1.1 s, exact in 64 bits."""
    state, t, times = 99, 0.0, []
    for _ in range(n):
        state = (1664525 * state + 1013904223) % 2**32
        t += 0.6 + (state >> 16) / 131072.0
        times.append(t)
    return np.array(times)


def uneven_series():
    rows = []
    for n, step, count in [(7, 0.05, 6), (120, 0.01, 45), (400, 0.005, 90)]:
        times = uneven(n)
        values = signal(n, 4.0, 9.0, 0.25).astype(float)
        values -= values.mean()
        angular = 2 * np.pi * step * np.arange(1, count + 1)
        power = ss.lombscargle(times, values, angular)
        rows.append({"n": n, "step_hz": step, "power": digits(power, 14)})
    return rows


def tapers():
    rows = []
    for n, nw, count in [(33, 2.0, 3), (64, 2.5, 4), (250, 4.0, 7), (1250, 3.0, 5)]:
        every = 1 if n < 1000 else 25
        windows = ss.windows.dpss(n, nw, count)
        rows.append(
            {"n": n, "nw": nw, "count": count, "every": every, "tapers": [digits(w[::every], 10) for w in windows]}
        )
    return rows


def densities():
    rows = []
    for n, nw, count, rate in [(256, 3.0, 5, 64.0), (500, 4.0, 7, 125.0), (1250, 2.5, 4, 250.0)]:
        x = signal(n, rate, 0.8, 0.5).astype(float)
        each = [ss.periodogram(x, rate, window=w, detrend="constant")[1] for w in ss.windows.dpss(n, nw, count)]
        rows.append({"n": n, "nw": nw, "count": count, "rate": rate, "density": digits(np.mean(each, axis=0), 10)})
    return rows


def pieces():
    rows = []
    for n, length, hop, rate in [(300, 64, 16, 64.0), (500, 100, 50, 125.0), (260, 250, 7, 250.0)]:
        x = signal(n, rate, 0.8, 0.5).astype(float)
        _, _, z = ss.stft(x, rate, "hann", length, length - hop, boundary=None, padded=False)
        rows.append({"n": n, "len": length, "hop": hop, "rate": rate, "magnitudes": digits(np.abs(z).T.ravel(), 9)})
    return rows


def wavelets():
    """Every scale by filtering with zeros put between the coefficients, after a level past."""
    x = signal(400, 250.0, 0.8, 0.5).astype(float)
    level = np.concatenate([np.full(200, x[0]), x])
    scales = []
    for k in range(5):
        step = 2**k
        low, high = np.zeros(3 * step + 1), np.zeros(step + 1)
        low[::step] = np.array([1, 3, 3, 1]) / 8
        high[0], high[-1] = 2, -2
        scales.append(digits(ss.lfilter(high, 1, level)[200:], 9))
        level = ss.lfilter(low, 1, level - x[0]) + x[0]
    return {"n": 400, "rate": 250.0, "scales": scales}


with open(os.path.join(HERE, "transform_reference.json"), "w") as f:
    rows = {
        "made": MADE,
        "uneven": uneven_series(),
        "tapers": tapers(),
        "densities": densities(),
        "pieces": pieces(),
        "wavelets": wavelets(),
    }
    json.dump(rows, f, separators=(",", ":"))
    f.write("\n")
