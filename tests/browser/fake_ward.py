#!/usr/bin/env python3
"""A stand-in for the engine's HTTP side, for working on the dashboard without the engine.

In: the files of engine/src/http/assets and a number of beds. Out: /, /assets/*, /api/ward, /api/stream (one
synthetic ward message a second) and POST /api/command, as the engine speaks them. Standard library only.

    python3 tests/browser/fake_ward.py --port 8899 --beds 32
"""

import argparse
import json
import math
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ASSETS = Path(__file__).resolve().parents[2] / "engine" / "src" / "http" / "assets"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
RATE_HZ = 125
TABLE = 512
NUMBERS = {
    "heart_rate": ("/min", "derived"),
    "pulse_rate": ("/min", "derived"),
    "spo2": ("%", "reported"),
    "resp_rate": ("/min", "derived"),
    "blood_pressure_sys": ("mm[Hg]", "reported"),
    "blood_pressure_mean": ("mm[Hg]", "reported"),
    "blood_pressure_dia": ("mm[Hg]", "reported"),
    "temperature": ("Cel", "reported"),
}
HOSTILE = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>'


def bump(phase, centre, width, height):
    return height * math.exp(-(((phase - centre) / width) ** 2))


def ecg_beat(phase):
    parts = (
        (0.18, 0.025, 0.12),
        (0.285, 0.009, -0.12),
        (0.30, 0.013, 1.15),
        (0.325, 0.011, -0.26),
        (0.52, 0.05, 0.28),
    )
    return sum(bump(phase, *part) for part in parts)


def ppg_beat(phase):
    return bump(phase, 0.42, 0.13, 0.9) + bump(phase, 0.70, 0.14, 0.38)


def abp_beat(phase):
    return bump(phase, 0.40, 0.12, 1.0) + bump(phase, 0.64, 0.16, 0.5)


BEATS = {
    name: [shape(i / TABLE) for i in range(TABLE)]
    for name, shape in (("ecg_ii", ecg_beat), ("ppg", ppg_beat), ("abp", abp_beat))
}


class Bed:
    """One synthetic patient; what is wrong with it follows from its number."""

    def __init__(self, number, hostile):
        self.patient = f"bed-{number:02d}"
        self.number = number
        self.hostile = hostile
        self.random = random.Random(number)
        self.heart_rate = self.random.uniform(58, 96) + (44 if number % 11 == 3 else 0)
        self.resp_rate = self.random.uniform(12, 19) + (9 if number % 11 == 3 else 0)
        self.spo2 = self.random.uniform(95, 99) - (6 if number % 11 == 3 else 0)
        self.systolic = self.random.uniform(108, 142)
        self.temperature = self.random.uniform(36.3, 37.6) + (1.4 if number % 11 == 3 else 0)
        self.phase = 0.0
        self.breath = 0.0
        self.silent_from = None
        self.acknowledged = set()

    def strips(self, start_ms):
        names = ["ecg_ii", "ppg"] + (["abp"] if self.number % 4 == 3 else [])
        columns = {name: [] for name in names}
        resp = []
        for i in range(RATE_HZ):
            self.breath = (self.breath + self.resp_rate / 60 / RATE_HZ) % 1
            swing = math.sin(2 * math.pi * self.breath)
            self.phase = (self.phase + self.heart_rate * (1 + 0.03 * swing) / 60 / RATE_HZ) % 1
            place = int(self.phase * TABLE)
            for name in names:
                value = BEATS[name][place] + 0.06 * swing * (name != "ecg_ii") + 0.03 * swing
                columns[name].append(round((value + self.random.gauss(0, 0.008)) * 200))
            if i % 2 == 0:
                resp.append(round((swing + self.random.gauss(0, 0.01)) * 200))
        if self.number % 9 == 5 and start_ms // 1000 % 12 < 4:
            columns["ppg"] = [None] * RATE_HZ
        if self.number % 7 == 2 and start_ms // 1000 % 9 == 0:
            columns["ecg_ii"][40:85] = [None] * 45
        looks = {
            "ecg_ii": ("II", "mV", -0.5, 1.4),
            "ppg": ("Pleth", "a.u.", -0.1, 1.1),
            "abp": ("ABP", "a.u.", -0.1, 1.3),
        }
        out = [strip(name, *looks[name], RATE_HZ, start_ms, columns[name]) for name in names]
        if self.number % 2 == 1:
            out.append(strip("resp", "Resp", "a.u.", -1.3, 1.3, RATE_HZ / 2, start_ms, resp))
        return out

    def drift(self):
        self.heart_rate += self.random.gauss(0, 0.6) + 0.02 * (78 - self.heart_rate) * (self.number % 11 != 3)
        self.resp_rate = min(34, max(9, self.resp_rate + self.random.gauss(0, 0.15)))
        self.spo2 = min(100, max(84, self.spo2 + self.random.gauss(0, 0.12)))
        self.systolic += self.random.gauss(0, 0.4)

    def values(self, tick):
        cuff_age = (tick + self.number * 53) % 1500
        known = {
            "heart_rate": (self.heart_rate, 1.0),
            "pulse_rate": (self.heart_rate + 0.4, 1.0),
            "spo2": (self.spo2, 2.0),
            "resp_rate": (self.resp_rate, 1.0),
            "blood_pressure_sys": (self.systolic, cuff_age),
            "blood_pressure_mean": (self.systolic * 0.72, cuff_age),
            "blood_pressure_dia": (self.systolic * 0.6, cuff_age),
            "temperature": (self.temperature, (tick + self.number * 311) % 5400),
        }
        out = {}
        for name, (value, age) in known.items():
            unit, origin = NUMBERS[name]
            out[name] = {
                "value": round(value, 2),
                "unit": unit,
                "age_s": float(age),
                "state": "valid",
                "reason": "",
                "origin": origin,
                "quality": round(0.9 + 0.09 * self.random.random(), 2),
            }
        spoil = {
            1: ("temperature", "absent", "no_data"),
            4: ("blood_pressure_sys", "stale", "stale"),
            6: ("resp_rate", "absent", "low_quality"),
            8: ("heart_rate", "absent", "learning"),
        }
        name, state, reason = spoil.get(self.number % 10, (None, "", ""))
        if name:
            out[name].update(
                state=state, reason=reason, value=None if state == "absent" else out[name]["value"]
            )
            if name == "blood_pressure_sys":
                for part in ("mean", "dia"):
                    out[f"blood_pressure_{part}"].update(state=state, reason=reason)
        return out

    def news2(self, values):
        missing = [
            name
            for name in ("resp_rate", "spo2", "blood_pressure_sys", "heart_rate", "temperature")
            if values[name]["state"] != "valid"
        ]
        bad = self.number % 11 == 3
        if self.number == 17:
            return {
                "status": "invalid",
                "total": None,
                "low": 0,
                "high": 20,
                "level": None,
                "missing": [],
                "reason": "age below 16",
            }
        low = 8 if bad else (5 if self.number % 11 == 7 else self.number % 4)
        if missing:
            low = min(low, 4)
            return {
                "status": "partial",
                "total": None,
                "low": low,
                "high": low + 3 * len(missing),
                "level": None,
                "missing": missing,
                "reason": "missing input",
            }
        level = "high" if low >= 7 else "medium" if low >= 5 else "low"
        return {
            "status": "complete",
            "total": low,
            "low": low,
            "high": low,
            "level": level,
            "missing": [],
            "reason": "",
        }

    def alerts(self, news2, now_ms):
        rows = []
        if news2["level"] == "high":
            rows.append(
                ("news2_high", "news2.high", "high", "physiological", "NEWS2 at least 7: emergency review")
            )
        if news2["level"] == "medium":
            rows.append(
                ("news2_medium", "news2.medium", "medium", "physiological", "NEWS2 5 or 6: urgent review")
            )
        if self.number % 9 == 5:
            rows.append(("ppg_lead_off", "signal.ppg", "low", "technical", "PPG probe off or no pulse"))
        if self.number % 11 == 3:
            rows.append(
                ("tachycardia", "hr.high", "medium", "physiological", "Heart rate above 130 /min for 60 s")
            )
        if self.number == 12:
            rows.append(
                ("sepsis", "model.sepsis", "low", "physiological", "Sepsis model above its threshold")
            )
        if self.number == 20:
            rows.append(("drift", "model.drift", "advisory", "advisory", "Input distribution has drifted"))
        if self.hostile and self.number == 1:
            rows.append(("hostile", "test.hostile", "low", "technical", HOSTILE))
        out = []
        for place, (rule, kind, priority, category, text) in enumerate(rows):
            state = (
                "acknowledged"
                if rule in self.acknowledged
                else "latched"
                if rule == "tachycardia"
                else "active"
            )
            out.append(
                {
                    "alert_id": f"{self.patient}-{rule}",
                    "rule": rule,
                    "kind": kind,
                    "priority": priority,
                    "category": category,
                    "since_ms": now_ms - 95_000 * (place + 1),
                    "text": text,
                    "state": state,
                }
            )
        return out

    def message(self, tick, start_ms, now_ms, silent):
        self.drift()
        strips = self.strips(start_ms)
        values = self.values(tick)
        news2 = self.news2(values)
        if silent:
            self.silent_from = self.silent_from or now_ms
            strips = []
        else:
            self.silent_from = None
        model = {
            "name": "sepsis_vitals",
            "probability": 0.02 + 0.5 * (self.number % 11 == 3) + 0.004 * self.number,
            "state": "ok",
            "reason": "",
        }
        if news2["status"] == "partial":
            model.update(probability=None, state="refused", reason="missing input")
        if self.number == 22:
            model.update(probability=None, state="unavailable", reason="no model file")
        alerts = self.alerts(news2, now_ms)
        urgency = (
            {"high": 800, "medium": 500, "low": 100, None: 200}[news2["level"]]
            + news2["low"] * 10
            + len(alerts) * 20
        )
        if self.number % 5 == 0:
            urgency += round(40 * math.sin(tick / 9 + self.number))
        silent_s = (now_ms - self.silent_from) / 1000 if self.silent_from else 0.4
        return {
            "patient": self.patient,
            "urgency": urgency,
            "event_ms": start_ms + 1000,
            "silent_s": silent_s,
            "values": values,
            "news2": news2,
            "model": model,
            "alerts": alerts,
            "strips": strips,
        }


def strip(channel, label, unit, low, high, rate_hz, start_ms, samples):
    return {
        "channel": channel,
        "label": label,
        "unit": unit,
        "rate_hz": float(rate_hz),
        "start_ms": float(start_ms),
        "low": low,
        "high": high,
        "samples": samples,
        "scale": 0.005,
    }


class Ward:
    """Makes one message a second and hands the newest to every stream."""

    def __init__(self, args):
        self.beds = [Bed(number + 1, args.hostile) for number in range(args.beds)]
        self.silent_bed = args.silent_bed
        self.news = threading.Condition()
        self.sequence = 0
        self.text = b""

    def run(self):
        due = time.time()
        start_ms = (int(due) - 2) * 1000
        while True:
            now_ms = int(time.time() * 1000)
            if now_ms - start_ms > 5000:  # the process was stopped for a while: leave a gap, do not catch up
                due, start_ms = time.time(), (now_ms // 1000 - 2) * 1000
            with self.news:
                self.sequence += 1
                beds = [
                    bed.message(self.sequence, start_ms, now_ms, self.is_silent(bed)) for bed in self.beds
                ]
                body = {"sequence": self.sequence, "server_ms": now_ms, "beds": beds}
                self.text = (
                    b"event: ward\ndata: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"
                )
                self.news.notify_all()
            due += 1
            start_ms += 1000
            time.sleep(max(0, due - time.time() + random.uniform(-0.08, 0.08)))

    def is_silent(self, bed):
        return bed.number == self.silent_bed and self.sequence % 60 > 8

    def acknowledge(self, patient, rule):
        for bed in self.beds:
            if bed.patient == patient:
                with self.news:
                    bed.acknowledged.add(rule)
                return True
        return False


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    ward = None
    assets = ASSETS

    def log_message(self, *_):
        pass

    def answer(self, status, kind, body):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("content-security-policy", POLICY)
        self.send_header("x-content-type-options", "nosniff")
        self.send_header("cache-control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def json(self, status, value):
        self.answer(status, "application/json", json.dumps(value).encode())

    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/api/stream":
            self.stream()
        elif path == "/api/ward":
            self.json(
                200,
                {
                    "instance": "fake-1",
                    "build": "0.0.0+fake",
                    "config_hash": "9f2c51d0aa73be14",
                    "runtime": "onnxruntime 1.31.1",
                    "simulated": True,
                    "disclaimer": "Decision support for research and integration. Not a medical device",
                },
            )
        elif path == "/" or path.startswith("/assets/"):
            file = self.assets / ("index.html" if path == "/" else Path(path).name)
            if file.is_file() and file.suffix in TYPES:
                self.answer(200, TYPES[file.suffix], file.read_bytes())
            else:
                self.json(404, {"error": "no such file"})
        else:
            self.json(404, {"error": "no such path"})

    def do_POST(self):
        length = min(int(self.headers.get("content-length") or 0), 65536)
        body = self.rfile.read(length)
        if self.path != "/api/command" or self.headers.get("x-auscult-csrf") != "1":
            self.json(403, {"error": "the header x-auscult-csrf is missing"})
            return
        try:
            command = json.loads(body)
        except ValueError:
            self.json(400, {"error": "not JSON"})
            return
        if self.ward.acknowledge(command.get("patient"), command.get("rule")):
            self.json(202, {"accepted": True})
        else:
            self.json(404, {"error": "no such patient"})

    def stream(self):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("cache-control", "no-store")
        self.send_header("connection", "close")
        self.end_headers()
        seen = 0
        try:
            while True:
                with self.ward.news:
                    self.ward.news.wait_for(lambda last=seen: self.ward.sequence > last, timeout=15)
                    seen, text = self.ward.sequence, self.ward.text
                self.wfile.write(text)
                self.wfile.flush()
        except OSError:
            pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8899)
    parser.add_argument("--beds", type=int, default=32)
    parser.add_argument("--silent-bed", type=int, default=9, help="mute most of each minute; 0: none")
    parser.add_argument(
        "--hostile", action="store_true", help="put markup into an alert text; it must stay text"
    )
    parser.add_argument("--assets", type=Path, default=ASSETS)
    args = parser.parse_args()
    Handler.assets = args.assets
    Handler.ward = Ward(args)
    threading.Thread(target=Handler.ward.run, daemon=True).start()
    server = ThreadingHTTPServer(("127.0.0.1", args.port), Handler)
    server.daemon_threads = True
    print(f"http://127.0.0.1:{args.port}/", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
