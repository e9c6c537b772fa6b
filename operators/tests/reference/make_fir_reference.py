"""Makes the golden values of operators/tests/fir_reference.rs: fir_reference.json.

In: nothing; the signals are computed here and, to the bit, in the test. Out: the file beside this one, with what
scipy says of filters of finite length and of samples resampled, in the unit of the signal.

    python make_fir_reference.py        # made with scipy 1.17.1, numpy 2.4.6
"""

import json
import os

import numpy as np
import scipy
import scipy.signal as ss

HERE = os.path.dirname(os.path.abspath(__file__))
MADE = (
    "by make_fir_reference.py with scipy %s and numpy %s from synthetic signals; do not edit, run it again"
    % (scipy.__version__, np.__version__)
)


def digits(values, n=13):
    return [float("%.*g" % (n, v)) for v in values]


def windows():
    rows = []
    shapes = [
        ("lowpass", [40.0], 250.0), ("highpass", [5.0], 250.0),
        ("bandpass", [5.0, 15.0], 200.0), ("bandstop", [45.0, 55.0], 500.0),
    ]
    for kind, edges, rate in shapes:
        for taps in (1, 2, 5, 24, 51, 101):
            if taps % 2 == 0 and kind in ("highpass", "bandstop") or taps == 1 and kind == "bandpass":
                continue
            for name in ("boxcar", "hann", "hamming", "blackman", ("kaiser", 6.5)):
                # One point of Hann's or Blackman's window is zero at both ends: nothing is left of two.
                if taps == 2 and name in ("hann", "blackman"):
                    continue
                edge = edges[0] if len(edges) == 1 else edges
                h = ss.firwin(taps, edge, window=name, pass_zero=kind, fs=rate)
                window, beta = (name, 0.0) if isinstance(name, str) else name
                rows.append(dict(kind=kind, edges=edges, rate=rate, window=window, beta=beta, taps=digits(h)))
    return rows


def equiripple():
    rows = []

    def row(taps, bands, gains, weights, kind, rate):
        try:
            h = ss.remez(taps, bands, gains, weight=weights, type=kind, fs=rate, maxiter=100)
        except ValueError as e:
            print("left out, as scipy finds none:", taps, bands, kind, e)
            return
        rows.append(dict(bands=bands, gains=gains, weights=weights, kind=kind, rate=rate, taps=digits(h)))

    for taps in (11, 24, 41, 72, 101):
        row(taps, [0, 30, 40, 125], [1, 0], [1, 1], "bandpass", 250.0)
        row(taps, [0, 15, 25, 100], [1, 0], [1, 20], "bandpass", 200.0)
        row(taps, [0, 2, 8, 25, 35, 125], [0, 1, 0], [5, 1, 10], "bandpass", 250.0)
        if taps % 2:
            row(taps, [0, 5, 15, 125], [0, 1], [1, 1], "bandpass", 250.0)
        if taps in (41, 101):
            row(taps, [0, 40, 47, 53, 60, 125], [1, 0, 1], [1, 1, 1], "bandpass", 250.0)
    for taps in (11, 24, 31, 64):
        row(taps, [10, 115], [1], [1], "hilbert", 250.0)
        # Not where the least error is next to nothing, as over [0, 60]: what is left there is rounding.
        row(taps, [0, 100], [1], [1], "differentiator", 250.0)
        row(taps, [5, 100], [1], [1], "differentiator", 250.0)
    row(31, [0, 30, 60, 125], [1, 0], [1, 1], "differentiator", 250.0)
    return rows


def smoothers():
    rows = []
    for window in (3, 5, 11, 25, 101):
        for degree in (0, 1, 2, 3, 5):
            for derivative in (0, 1, 2):
                # Of the longest window and highest degree scipy's own error, against exact fractions, is up to 5e-7.
                if degree >= window or derivative > degree or (window, degree) == (101, 5):
                    continue
                for position in sorted({window // 2, window - 1, 0, window // 3}):
                    h = ss.savgol_coeffs(window, degree, derivative, delta=0.004, pos=position)
                    row = dict(degree=degree, derivative=derivative, position=position, step_s=0.004)
                    rows.append(dict(row, taps=digits(h)))
    return rows


def signal(n):
    """Noise and a wave of whole numbers: exact in 64 bits, then rounded to 32."""
    out = np.empty(n, dtype="<f4")
    state = 12345
    for i in range(n):
        state = (1664525 * state + 1013904223) % 2**32
        away = abs(i % 80 - 40)
        out[i] = (state >> 16) / 65536.0 - 0.5 + away / 16.0 + 1.0
    return out


def resampled():
    rows = []
    for up, down in ((1, 2), (2, 1), (1, 3), (3, 2), (2, 3), (25, 36), (36, 25), (1, 5), (4, 1), (125, 128)):
        x = signal(600).astype(float)
        rows.append(dict(up=up, down=down, len=600, output=digits(ss.resample_poly(x, up, down), 10)))
    return rows


with open(os.path.join(HERE, "fir_reference.json"), "w") as f:
    made = dict(windows=windows(), equiripple=equiripple(), smoothers=smoothers(), resampled=resampled())
    json.dump(dict(made=MADE, **made), f, separators=(",", ":"))
    f.write("\n")
