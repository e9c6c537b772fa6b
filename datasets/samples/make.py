"""Makes the samples of this folder. Run inside it: python make.py (needs wfdb 4 and numpy).

Everything is computed from formulas; nothing comes from a patient. The signal of channel c at sample i is
count = ((37 * i + 11 * c) % 201) - 100 (times 1000 in ramp24 and ramp32), with the format's "no sample" count at i = 5.
The files are written by wfdb-python, so that the reader is tested against another writer.
"""
import numpy as np
import wfdb

N = 61
MADE = "made by samples/make.py with wfdb-python: count = ((37*i + 11*c) % 201) - 100, no sample at i = 5"
MISSING = {"16": -32768, "212": -2048, "80": -128, "24": -(2**23), "32": -(2**31)}
i = np.arange(N)
for fmt, missing in MISSING.items():
    factor = 1000 if fmt in ("24", "32") else 1
    counts = np.stack([((37 * i + 11 * c) % 201 - 100) * factor for c in range(2)], axis=1)
    counts[5, :] = missing
    wfdb.wrsamp(f"ramp{fmt}", fs=250, units=["mV", "mmHg"], sig_name=["II", "ABP"], d_signal=counts,
                fmt=[fmt, fmt], adc_gain=[200.0 * factor, 1.25 * factor], baseline=[0, -100 * factor], comments=[MADE])

# Every symbol once, long intervals, subtypes, channels, numbers and texts.
symbols = [a.symbol for a in wfdb.io.annotation.ann_labels if a.label_store]
n = len(symbols)
sample = np.cumsum([1 + (k * 331) % 1500 for k in range(n)])
sample[-1] += 70000
wfdb.wrann("ramp16", "atr", sample, symbol=symbols, subtype=np.array([k % 5 - 2 for k in range(n)]),
           chan=np.array([k // 7 for k in range(n)]), num=np.array([k // 5 % 3 for k in range(n)]),
           aux_note=["(AFIB" if s == "+" else "note" if s == '"' else "" for s in symbols])

# A record of variable layout with a gap, another gain after it, and a signal that comes later.
open("parts.hea", "w").write("parts/4 2 250 142\nparts_layout 0\nramp212 61\n~ 20\nparts_b 61\n# " + MADE + "\n")
open("parts_layout.hea", "w").write("parts_layout 2 250 0\n~ 0 200/mV 12 0 -2048 0 0 II\n~ 0 1.25(-100)/mmHg 12 0 -2048 0 0 ABP\n")
head = open("ramp16.hea").read().splitlines()
head = ["parts_b 2 250 61"] + [h.replace(" 200.0", " 100.0").replace(" 200(", " 100(") for h in head[1:3]] + ["# " + MADE]
open("parts_b.hea", "w").write("\n".join(head) + "\n")

# Two seconds of a bed as BIDMC writes them: five significant digits, so late times are rounded.
with open("bed_Signals.csv", "w") as f:
    f.write("Time [s], RESP, PLETH, II, ABP, X\n")
    for k in range(250):
        cells = [f"{np.sin(k / 40):.5g}", f"{np.sin(k / 16):.5g}", "" if k == 7 else f"{np.cos(k / 9):.5g}", f"{90 + 20 * np.sin(k / 16):.5g}", "0"]
        f.write(",".join([f"{k / 125:.4g}"] + cells) + "\n")
with open("bed_Numerics.csv", "w") as f:
    f.write("Time [s], HR, PULSE, RESP, SpO2, Mood\n-0,80,81,16,97,1\n1,82,NaN,16,96,1\n")

with open("stay.psv", "w") as f:
    f.write("HR|O2Sat|Temp|SBP|MAP|DBP|Resp|FiO2|Lactate|Age|Gender|Unit1|Unit2|HospAdmTime|ICULOS|SepsisLabel\n")
    f.write("88|97|36.8|121|88|71|16|NaN|NaN|61.5|1|0|1|-3.2|4|0\n")
    f.write("96|NaN|NaN|112|80|65|19|0.4|NaN|61.5|1|0|1|-3.2|5|0\n")
    f.write("109|93|38.4|96|64|52|24|0.4|3.1|61.5|1|0|1|-3.2|7|1\n")
