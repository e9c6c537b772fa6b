"""Makes the golden values of operators/tests/filter_reference.rs: filter_reference.json,
ripple_reference.json and spectrum_reference.json.

In: nothing; the signals are computed here and, to the bit, in the test. Out: the files beside this one,
with what scipy says of designs, filtered samples, transforms and densities, in the unit of the signal.

    python make_filter_reference.py        # made with scipy 1.17.1, numpy 2.4.6
"""

import json
import os

import numpy as np
import scipy
import scipy.signal as ss

HERE = os.path.dirname(os.path.abspath(__file__))
MADE = (
    "by make_filter_reference.py with scipy %s and numpy %s from synthetic signals; do not edit, run it again"
    % (scipy.__version__, np.__version__)
)


def signal(n, rate, period_s, level):
    """Triangular pulses on a rising level with noise: exact in 64 bits, then rounded to 32."""
    period = int(period_s * rate)
    width = period // 8 + 1
    out = np.empty(n, dtype="<f4")
    state = 12345
    for i in range(n):
        state = (1664525 * state + 1013904223) % 2**32
        noise = (state >> 16) / 65536.0 - 0.5
        away = abs(i % period - period // 2)
        pulse = (width - away) / width if away < width else 0.0
        out[i] = 1.5 * pulse + 0.125 * noise + level + i / n
    return out


def chain(kind, rate, mains):
    """The conditioning chain of operators/src/filter/conditioning.rs with its default edges."""
    top = 0.45 * rate
    if kind == "ecg":
        parts = [ss.butter(2, 0.5, "highpass", fs=rate, output="sos")]
        if mains <= top:
            b, a = ss.iirnotch(mains, 30.0, fs=rate)
            parts.append(np.concatenate([b, a])[None])
        parts.append(ss.butter(4, min(40.0, top), "lowpass", fs=rate, output="sos"))
        return np.vstack(parts)
    if kind == "pressure":
        return ss.butter(4, min(20.0, top), "lowpass", fs=rate, output="sos")
    low, high = {"ppg": (0.5, 8.0), "respiration": (0.05, 1.5), "eeg": (0.5, 45.0)}[kind]
    return ss.butter(2, [low, min(high, top)], "bandpass", fs=rate, output="sos")


def digits(values, n):
    return [float("%.*g" % (n, v)) for v in values]


def designs():
    rows = []
    shapes = [
        ("lowpass", [40.0], 250.0), ("lowpass", [20.0], 125.0), ("lowpass", [3.0], 62.5),
        ("lowpass", [100.0], 360.0),
        ("highpass", [0.5], 360.0), ("highpass", [0.05], 500.0), ("highpass", [100.0], 250.0),
        ("bandpass", [0.5, 8.0], 125.0), ("bandpass", [0.05, 1.5], 62.5), ("bandpass", [0.5, 45.0], 256.0),
        ("bandpass", [5.0, 15.0], 200.0), ("bandpass", [2.0, 110.0], 250.0),
        ("bandstop", [48.0, 52.0], 250.0), ("bandstop", [1.0, 100.0], 360.0),
    ]
    for kind, edges, rate in shapes:
        for order in (1, 2, 3, 4, 5, 6, 8):
            # Narrow and slow filters of high order are ill-conditioned in any arithmetic.
            if order > 4 and min(edges) / rate < 0.01:
                continue
            edge = edges[0] if len(edges) == 1 else edges
            sos = ss.butter(order, edge, kind, fs=rate, output="sos")
            sos = [list(map(float, r)) for r in sos]
            rows.append(dict(kind=kind, order=order, edges=edges, rate=rate, sos=sos))
    for f, q, rate in [(50.0, 30.0, 250.0), (60.0, 30.0, 360.0), (50.0, 30.0, 500.0), (50.0, 5.0, 125.0)]:
        b, a = ss.iirnotch(f, q, fs=rate)
        sos = [list(map(float, [*b, *a]))]
        rows.append(dict(kind="notch", order=1, edges=[f], quality=q, rate=rate, sos=sos))
    return rows


def ripple_designs():
    """Chebyshev and elliptic designs. Left out: narrow bands of high order, ill-conditioned in any arithmetic, and
    bands whose two halves lie equally near the unit circle, where the order of sections is open."""
    rows = []
    shapes = [
        ("lowpass", [40.0], 250.0), ("lowpass", [8.0], 125.0), ("lowpass", [150.0], 500.0), ("lowpass", [3.0], 62.5),
        ("highpass", [0.5], 360.0), ("highpass", [5.0], 250.0), ("highpass", [100.0], 256.0),
        ("bandpass", [0.5, 8.0], 125.0), ("bandpass", [0.5, 40.0], 250.0), ("bandpass", [5.0, 15.0], 200.0),
        ("bandpass", [20.0, 45.0], 360.0),
        ("bandstop", [45.0, 55.0], 250.0), ("bandstop", [1.0, 100.0], 360.0), ("bandstop", [5.0, 30.0], 500.0),
    ]
    for kind, edges, rate in shapes:
        for order in (1, 2, 3, 4, 5, 7, 8, 12, 16):
            if order > 5 and min(edges) / rate < 0.01:
                continue
            edge = edges[0] if len(edges) == 1 else edges
            for ripple, attenuation in ((0.1, 40.0), (1.0, 60.0), (3.0, 100.0)):
                for family, sos in (
                    ("chebyshev1", ss.cheby1(order, ripple, edge, kind, fs=rate, output="sos")),
                    ("chebyshev2", ss.cheby2(order, attenuation, edge, kind, fs=rate, output="sos")),
                    ("elliptic", ss.ellip(order, ripple, attenuation, edge, kind, fs=rate, output="sos")),
                ):
                    row = dict(family=family, kind=kind, order=order, ripple=ripple, attenuation=attenuation)
                    # Each family with only some pairs: the file stays small.
                    if (order + len(edges) + len(family)) % 3 == (0.1, 1.0, 3.0).index(ripple):
                        sos = [digits([*r[:3], *r[4:]], 14) for r in sos]
                        rows.append(dict(row, edges=edges, rate=rate, sos=sos))
    return rows


def filters():
    rows = []
    for kind, rate, mains, period_s, level in [
        ("ecg", 360.0, 60.0, 0.8, 0.25), ("ecg", 500.0, 50.0, 0.8, -4.0), ("ecg", 62.5, 50.0, 0.8, 0.0),
        ("ppg", 125.0, 50.0, 0.9, 2000.0), ("pressure", 125.0, 50.0, 0.9, 90.0),
        ("pressure", 500.0, 50.0, 0.9, 90.0),
        ("respiration", 62.5, 50.0, 4.0, 150.0), ("eeg", 256.0, 50.0, 0.1, 10.0),
    ]:
        n = min(int(8 * rate), 1600)
        x = signal(n, rate, period_s, level).astype(float)
        sos = chain(kind, rate, mains)
        y, _ = ss.sosfilt(sos, x, zi=ss.sosfilt_zi(sos) * x[0])
        row = dict(kind=kind, rate=rate, mains_hz=mains, period_s=period_s, level=level)
        rows.append(dict(row, output=digits(y, 9)))
    return rows


def spectra():
    transforms = []
    for n in (2, 6, 64, 250, 2500):
        bins = np.fft.rfft(signal(n, 250.0, 0.8, 0.0).astype(float))
        transforms.append(dict(len=n, re=digits(bins.real, 12), im=digits(bins.imag, 12)))
    densities = []
    for n, segment, rate in [(3600, 1440, 360.0), (625, 250, 62.5), (1250, 500, 125.0)]:
        _, p = ss.welch(signal(n, rate, 0.8, 0.5).astype(float), fs=rate, nperseg=segment)
        densities.append(dict(len=n, segment=segment, rate=rate, density=digits(p, 12)))
    return dict(made=MADE, transforms=transforms, densities=densities)


def write(name, value):
    with open(os.path.join(HERE, name), "w") as f:
        json.dump(value, f, separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    write("filter_reference.json", dict(made=MADE, designs=designs(), filters=filters()))
    write("ripple_reference.json", dict(made=MADE, designs=ripple_designs()))
    write("spectrum_reference.json", spectra())
