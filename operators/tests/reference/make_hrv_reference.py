"""Makes the golden values of operators/tests/hrv_reference.rs: hrv_reference.json.

In: nothing; the intervals between beats are simulated here and stand in the file. Out: the file beside this one, with
what neurokit2 says of five minutes of them, in ms, ms squared, per cent and 1.

    python make_hrv_reference.py        # made with neurokit2 0.2.13, scipy 1.17.1, numpy 2.4.6
"""

import json
import os

import neurokit2 as nk
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))


def intervals(seed, mean, slow, fast, fast_hz, noise):
    """Intervals in hundredths of a ms: a slow and a fast rhythm and a walk on a mean, for just below five minutes."""
    dice = np.random.default_rng(seed)
    t, walk, out = 0.0, 0.0, []
    while True:
        walk = 0.95 * walk + dice.normal(0, noise)
        rr = mean + slow * np.sin(2 * np.pi * 0.1 * t) + fast * np.sin(2 * np.pi * fast_hz * t + 1.0) + walk
        rr = round(float(rr), 2)
        t += rr / 1000
        if t > 299.5:
            return np.array(out)
        out.append(rr)


def whole(rr):
    """The series without the last beats until Welch's three half-overlapping segments fit at both rates: where half of
    the series is an odd number of points, neurokit2 rounds the overlap down and averages only two segments."""
    while True:
        ends = np.cumsum(rr) / 1000
        lengths = [len(np.arange(ends[0], ends[-1] + 1 / rate, 1 / rate)) // 2 for rate in (4, 100)]
        if all(n % 2 == 0 for n in lengths):
            return rr
        rr = rr[:-1]


def row(name, rr):
    rr = whole(rr)
    peaks = {"RRI": rr, "RRI_Time": np.cumsum(rr) / 1000}
    time = nk.hrv_time(peaks).iloc[0]
    plot = nk.hrv_nonlinear(peaks).iloc[0]
    usual = nk.hrv_frequency(peaks, normalize=False).iloc[0]
    same = nk.hrv_frequency(peaks, normalize=False, interpolation_rate=4).iloc[0]
    digits = lambda v: float("%.8g" % v)
    return {
        "name": name,
        "rr_ms": rr.tolist(),
        "mean": digits(time.HRV_MeanNN),
        "sdnn": digits(time.HRV_SDNN),
        "rmssd": digits(time.HRV_RMSSD),
        "pnn50": digits(time.HRV_pNN50),
        "sd1": digits(plot.HRV_SD1),
        "sd2": digits(plot.HRV_SD2),
        "sample_entropy": digits(plot.HRV_SampEn),
        "lf": [digits(usual.HRV_LF), digits(same.HRV_LF)],
        "hf": [digits(usual.HRV_HF), digits(same.HRV_HF)],
        "lf_hf": [digits(usual.HRV_LFHF), digits(same.HRV_LFHF)],
    }


rows = [
    row("rest", intervals(1, 900, 30, 40, 0.25, 6)),
    row("slow breathing", intervals(2, 1000, 20, 60, 0.17, 8)),
    row("standing", intervals(3, 700, 45, 10, 0.3, 4)),
    row("poor variability", intervals(4, 620, 4, 3, 0.33, 1.5)),
    row("tachycardia", intervals(5, 480, 6, 5, 0.38, 2)),
    row("slow heart", intervals(6, 1250, 50, 60, 0.2, 12)),
]
with open(os.path.join(HERE, "hrv_reference.json"), "w") as f:
    made = "by make_hrv_reference.py with neurokit2 %s; do not edit, run it again" % nk.__version__
    json.dump({"made": made, "rows": rows}, f, separators=(",", ":"))
    f.write("\n")
