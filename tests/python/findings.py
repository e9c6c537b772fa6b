"""What all checkers share: one JSON line of findings, an exit status, and self-tests that must flag wrong data.

In: findings (a dict) and faults (a list of strings). Out: the line on standard output, status 1 if there is a fault.
"""

import json
import sys


def finish(findings, faults):
    """Prints the findings with the first faults and ends the process: 0 without faults, 1 with."""
    findings = dict(findings, ok=not faults, faults=len(faults), first_faults=faults[:20])
    print(json.dumps(findings, sort_keys=True))
    sys.exit(1 if faults else 0)


class SelfTest:
    """Collects cases: right data must pass, each kind of wrong data must be flagged with the expected word."""

    def __init__(self):
        self.cases = 0
        self.faults = []

    def passes(self, name, faults):
        self.cases += 1
        if faults:
            self.faults.append(f"{name}: right data was flagged: {faults[:3]}")

    def flags(self, name, faults, word):
        self.cases += 1
        if not any(word in fault for fault in faults):
            self.faults.append(f"{name}: wrong data was not flagged with {word!r}: {faults[:3]}")

    def finish(self):
        finish({"self_test": True, "cases": self.cases}, self.faults)
