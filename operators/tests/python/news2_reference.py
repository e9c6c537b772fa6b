"""NEWS2 from the chart, by comparison, as an independent check of the band tables in Rust.

In: CSV lines on standard input: respiration, spo2, oxygen (A air, O oxygen), scale (1, 2), systolic, pulse,
consciousness (A, C, V, P, U), temperature; numbers in decimal.
Out: one CSV line each: points of respiration, spo2, oxygen, systolic, pulse, consciousness, temperature;
total; level. Decimals are rounded half away from zero, first to a hundred-thousandth, then to the chart.

Written from the Royal College of Physicians' charts 1 and 2 of December 2017. Standard library only.
"""

import functools
import sys
from decimal import ROUND_HALF_UP, Decimal


@functools.lru_cache(maxsize=None)
def charted(text, step):
    """The number as a nurse would write it down; ROUND_HALF_UP in decimal is half away from zero."""
    fine = Decimal(text).quantize(Decimal("0.00001"), rounding=ROUND_HALF_UP)
    return fine.quantize(Decimal(step), rounding=ROUND_HALF_UP)


@functools.lru_cache(maxsize=None)
def respiration(text):
    rate = charted(text, "1")
    if rate < 9 or rate > 24:
        return 3
    if rate > 20:
        return 2
    if rate < 12:
        return 1
    return 0


@functools.lru_cache(maxsize=None)
def saturation(text, oxygen, scale):
    percent = charted(text, "1")
    if scale == "1":
        return 3 if percent < 92 else 2 if percent < 94 else 1 if percent < 96 else 0
    if percent < 84:
        return 3
    if percent < 86:
        return 2
    if percent < 88:
        return 1
    # Above the target range: harmless on air, too much oxygen otherwise.
    if oxygen == "A" or percent < 93:
        return 0
    return 1 if percent < 95 else 2 if percent < 97 else 3


@functools.lru_cache(maxsize=None)
def systolic(text):
    pressure = charted(text, "1")
    if pressure > 219 or pressure < 91:
        return 3
    if pressure < 101:
        return 2
    return 1 if pressure < 111 else 0


@functools.lru_cache(maxsize=None)
def pulse(text):
    beats = charted(text, "1")
    if beats > 130 or beats < 41:
        return 3
    if beats > 110:
        return 2
    return 1 if beats > 90 or beats < 51 else 0


@functools.lru_cache(maxsize=None)
def temperature(text):
    celsius = charted(text, "0.1")
    if celsius < Decimal("35.1"):
        return 3
    if celsius > 39:
        return 2
    return 1 if celsius > 38 or celsius < Decimal("36.1") else 0


def level(total, parts):
    if total > 6:
        return "high"
    if total > 4:
        return "medium"
    if 3 in parts:
        return "low_medium"
    return "low" if total else "none"


def main():
    write = sys.stdout.write
    for line in sys.stdin:
        breaths, spo2, oxygen, scale, pressure, beats, acvpu, celsius = line.rstrip("\n").split(",")
        if oxygen not in ("A", "O") or scale not in ("1", "2") or acvpu not in ("A", "C", "V", "P", "U"):
            sys.exit("not a row: " + line)
        parts = (
            respiration(breaths),
            saturation(spo2, oxygen, scale),
            2 if oxygen == "O" else 0,
            systolic(pressure),
            pulse(beats),
            0 if acvpu == "A" else 3,
            temperature(celsius),
        )
        total = sum(parts)
        write("%d,%d,%d,%d,%d,%d,%d,%d,%s\n" % (*parts, total, level(total, parts)))


if __name__ == "__main__":
    main()
