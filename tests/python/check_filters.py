"""Recomputes filters and spectra with scipy and numpy in double precision and compares the worst sample.

In: a JSON file {"cases": [{"name", KIND, "input": [...], "output": [...], "rtol_peak": 1e-5}]}, where KIND is one of
  "sos": [[b0,b1,b2,a0,a1,a2],...]   scipy.signal.sosfilt; with "zi": true it starts settled at the first input
  "welch": {"fs","nperseg","noverlap"?,"window"?,"detrend"?,"scaling"?}   scipy.signal.welch; output is the density
  "rfft": {"n"?}                     numpy.fft.rfft; output is [[re, im],...]
Out: one JSON line. Allowed: rtol_peak times the largest absolute value of the reference, at every single sample.
"""

import argparse
import json
import pathlib

import numpy as np
from scipy import signal

from findings import SelfTest, finish

KINDS = ("sos", "welch", "rfft")


def reference(case):
    x = np.asarray(case["input"], dtype=np.float64)
    if "sos" in case:
        sos = np.asarray(case["sos"], dtype=np.float64)
        if case.get("zi", False):
            return signal.sosfilt(sos, x, zi=signal.sosfilt_zi(sos) * x[0])[0]
        return signal.sosfilt(sos, x)
    if "welch" in case:
        return signal.welch(x, **case["welch"])[1]
    return np.fft.rfft(x, n=case["rfft"].get("n"))


def case_fault(case):
    """The deviation at the worst sample over the reference's peak, and what is wrong (None if nothing)."""
    name = case.get("name", "?")
    if sum(kind in case for kind in KINDS) != 1:
        return None, f"{name}: one of {KINDS} is needed"
    expected = reference(case)
    # `null` stands for a value the caller could not compute; it can never agree.
    found = np.array([np.nan if v is None else v for v in case["output"]], dtype=np.float64)
    if np.iscomplexobj(expected):
        found = found[:, 0] + 1j * found[:, 1] if found.ndim == 2 and found.shape[1] == 2 else found
    if found.shape != expected.shape:
        return None, f"{name}: shape {found.shape}, the reference has {expected.shape}"
    if not np.all(np.isfinite(found)):
        return None, f"{name}: not finite at {int(np.argmin(np.isfinite(found)))}"
    peak = float(np.max(np.abs(expected)))
    off = np.abs(found - expected)
    worst = float(np.max(off)) / peak if peak > 0 else float(np.max(off))
    if not worst <= case["rtol_peak"]:
        at = int(np.argmax(off))
        return worst, f"{name}: sample {at} is {found[at]}, reference {expected[at]}, off by {worst:.3e} of the peak"
    return worst, None


def check(cases):
    results = {case.get("name", str(i)): case_fault(case) for i, case in enumerate(cases)}
    faults = [fault for _, fault in results.values() if fault]
    if len(results) != len(cases):
        faults.append("two cases bear one name")
    if not cases:
        faults.append("no case to check")
    return {"cases": len(cases), "worst": {name: worst for name, (worst, _) in results.items()}}, faults


def self_test():
    test = SelfTest()
    x = (np.sin(np.arange(1000) / 7.0) + 3.0).tolist()
    sos = signal.butter(2, [0.5, 40], "bandpass", fs=250, output="sos").tolist()
    base = {"name": "n", "input": x, "rtol_peak": 1e-6}
    cold = dict(base, sos=sos)
    cold["output"] = reference(cold).tolist()
    warm = dict(base, sos=sos, zi=True)
    warm["output"] = reference(warm).tolist()
    density = dict(base, welch={"fs": 250, "nperseg": 256})
    density["output"] = reference(density).tolist()
    spectrum = dict(base, rfft={})
    spectrum["output"] = [[v.real, v.imag] for v in reference(spectrum)]

    def faults(case, **change):
        return check([dict(case, **change)])[1]

    for case in (cold, warm, density, spectrum):
        test.passes("right", faults(case))
        spoiled = json.loads(json.dumps(case["output"]))
        if isinstance(spoiled[5], list):
            spoiled[5][1] += 1.0
        else:
            spoiled[5] += 1e-4
        test.flags("one sample off", faults(case, output=spoiled), "off by")
        test.flags("one sample short", faults(case, output=case["output"][:-1]), "shape")
    # Opposite errors at two samples cancel in a mean; they must not here.
    cancel = list(cold["output"])
    cancel[10], cancel[11] = cancel[10] + 1e-3, cancel[11] - 1e-3
    test.flags("errors that cancel", faults(cold, output=cancel), "off by")
    test.flags("settled for cold", faults(cold, zi=True), "off by")
    test.flags("not a number", faults(cold, output=[None] + cold["output"][1:]), "not finite")
    test.flags("another window", faults(density, welch={"fs": 250, "nperseg": 256, "window": "hamming"}), "off by")
    test.flags("no kind", faults(base, output=x), "is needed")
    test.flags("no case", check([])[1], "no case")
    test.flags("one name twice", check([cold, cold])[1], "one name")
    test.finish()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?")
    parser.add_argument("--self-test", action="store_true")
    args = parser.parse_args()
    if args.self_test:
        self_test()
    if not args.file:
        parser.error("a file of cases is needed")
    finish(*check(json.loads(pathlib.Path(args.file).read_text())["cases"]))


if __name__ == "__main__":
    main()
