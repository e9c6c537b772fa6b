#!/usr/bin/env python3
"""Drives a real headless Chromium against the ward dashboard and says, check by check, whether it holds.

In: the URL of a running `auscult demo` (or fake_ward.py). Out: one line per check, screenshots, exit 0 or 1.
Needs Debian's chromium and the Python package playwright (its own browsers are not used).

    python3 tests/browser/check_page.py --url http://127.0.0.1:8899/ --cards 32 --screenshots shots
    ... --kill-pid 4711 [--revive "auscult demo --port 8899"]   also kills the server and watches the page
"""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--enable-precise-memory-info",
]
LOCAL = {"localhost", "127.0.0.1", "::1", None, ""}

# A hash of what each visible strip shows; silent beds are left out, their strips stand still by design.
HASHES = """() => [...document.querySelectorAll('.card:not([data-silent="true"]) canvas')]
  .filter(c => c.offsetParent && c.width > 2)
  .map(c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
              let h = 0, ink = 0;
              for (let i = 3; i < d.length; i += 4) { h = (h * 31 + d[i]) | 0; ink += d[i] > 0; }
              return [h, ink]; })"""
FRAMES = """ms => new Promise(done => { let n = 0, first = 0, last = 0, worst = 0;
  const step = t => { if (!first) first = t; else { n += 1; worst = Math.max(worst, t - last); } last = t;
    if (t - first < ms) requestAnimationFrame(step); else done([n * 1000 / (last - first), worst]); };
  requestAnimationFrame(step); })"""
NUMBERS = "() => [...document.querySelectorAll('.card .num')].map(n => n.textContent)"
SILENT = """() => [...document.querySelectorAll('.card[data-silent="true"] .num')].map(n => n.textContent)"""
MARKUP = (
    """() => window.pwned === undefined && document.querySelectorAll('main img, main script').length === 0"""
)
DEAD = """() => { const banner = document.getElementById('nodata');
  const main = document.querySelector('main');
  const nums = [...document.querySelectorAll('.card .num')].map(n => n.textContent);
  return { grey: getComputedStyle(main).filter.includes('grayscale'),
           banner: !banner.hidden && banner.offsetHeight > 20 && banner.offsetWidth >= innerWidth - 2,
           text: banner.textContent.replace(/\\s+/g, ' ').trim(),
           shown: nums.filter(t => t !== '--').length }; }"""


class Report:
    def __init__(self):
        self.failed = 0

    def check(self, name, holds, detail=""):
        self.failed += not holds
        print(f"{'ok  ' if holds else 'FAIL'} {name}{': ' + detail if detail else ''}", flush=True)
        return holds

    def step(self, act, *rest):
        """Runs one step; a page that does not answer has failed it, and the next steps still run."""
        try:
            act(self, *rest)
        except PlaywrightError as error:
            self.check(f"step '{act.__name__}' finished", False, str(error).splitlines()[0])


class Page:
    """The page under test with all it said on its console and asked of the network."""

    def __init__(self, browser, args):
        width, height = (int(part) for part in args.size.split("x"))
        self.context = browser.new_context(viewport={"width": width, "height": height})
        self.page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.errors, self.strange = [], []
        self.page.on("console", lambda said: said.type == "error" and self.errors.append(said.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.look(request.url))
        self.folder = Path(args.screenshots) if args.screenshots else None
        if self.folder:
            self.folder.mkdir(parents=True, exist_ok=True)

    def look(self, url):
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.hostname not in LOCAL:
            self.strange.append(url)

    def shot(self, name):
        if self.folder:
            self.page.screenshot(path=str(self.folder / f"{name}.png"))


def draws(report, tab, args):
    started = time.monotonic()
    tab.page.goto(args.url, wait_until="domcontentloaded")
    inked = 0
    while time.monotonic() - started < 10:
        cards = tab.page.locator(".card").count()
        inked = sum(1 for _, ink in tab.page.evaluate(HASHES) if ink > 30) if cards >= args.cards else 0
        if inked >= args.cards * 0.8:
            break
        time.sleep(0.2)
    took = time.monotonic() - started
    report.check(
        "page draws within 10 s", inked >= args.cards * 0.8, f"{inked} strips drawn after {took:.1f} s"
    )
    cards = tab.page.locator(".card").count()
    report.check(f"at least {args.cards} cards", cards >= args.cards, str(cards))


def moves(report, tab):
    before = tab.page.evaluate(HASHES)
    time.sleep(1.2)
    after = tab.page.evaluate(HASHES)
    moved = sum(a[0] != b[0] for a, b in zip(before, after, strict=False))
    report.check(
        "strips move", moved > 0 and moved >= 0.8 * len(before), f"{moved} of {len(before)} in 1.2 s"
    )
    numbers = tab.page.evaluate(NUMBERS)
    changed = 0
    until = time.monotonic() + 15
    while time.monotonic() < until and changed == 0:
        time.sleep(1)
        changed = sum(a != b for a, b in zip(numbers, tab.page.evaluate(NUMBERS), strict=False))
    report.check("values change", changed > 0, f"{changed} numbers")


def frames(report, tab, args, where):
    fps, worst = tab.page.evaluate(FRAMES, 6000)
    detail = f"{fps:.1f} fps, longest frame {worst:.0f} ms"
    report.check(f"frame rate in the {where} at least {args.fps:g} fps", fps >= args.fps, detail)


def bed_view(report, tab, args):
    page = tab.page
    page.keyboard.press("ArrowRight")
    first = page.evaluate("document.activeElement?.closest('.card')?.dataset.patient ?? ''")
    page.keyboard.press("Enter")
    page.wait_for_selector("#bed:not([hidden])", timeout=3000)
    title = page.locator("#bed h2").inner_text()
    report.check(
        "Enter opens the bed under the keyboard", first != "" and title == first, f"{first} opened {title}"
    )
    time.sleep(11)
    tab.shot("bed")
    frames(report, tab, args, "bed view")
    page.keyboard.press("ArrowRight")
    time.sleep(0.3)
    report.check("arrow keys step through beds", page.locator("#bed h2").inner_text() != title)
    page.keyboard.press("Escape")
    time.sleep(0.3)
    report.check(
        "Escape returns to the wall", page.locator("#wall").is_visible() and page.locator("#bed").is_hidden()
    )


def acknowledges(report, tab):
    # The button is held by its alert, since cards may change places meanwhile.
    button = tab.page.locator(".alert:visible .ack:enabled").first
    if button.count() == 0:
        print("note no open alert to acknowledge")
        return
    answers = []
    tab.page.on(
        "response", lambda answer: answer.url.endswith("/api/command") and answers.append(answer.status)
    )
    label = button.get_attribute("aria-label")
    button.click()
    until = time.monotonic() + 8
    gone = f'.ack:enabled[aria-label="{label}"]'
    while time.monotonic() < until and (not answers or tab.page.locator(gone).count() > 0):
        time.sleep(0.2)
    report.check("acknowledging is accepted", answers == [202], f"{label}: {answers}")
    report.check("the acknowledged alert says so", tab.page.locator(gone).count() == 0)


def memory(report, tab, args):
    session = tab.context.new_cdp_session(tab.page)
    session.send("Performance.enable")
    rows = []
    started = time.monotonic()
    while True:
        session.send("HeapProfiler.collectGarbage")
        metrics = {row["name"]: row["value"] for row in session.send("Performance.getMetrics")["metrics"]}
        rows.append((time.monotonic() - started, metrics["JSHeapUsedSize"], metrics["Nodes"]))
        if time.monotonic() - started >= args.seconds:
            break
        time.sleep(min(5, args.seconds / 4))
    settled = rows[1:] if len(rows) > 3 else rows
    mean_t = sum(row[0] for row in settled) / len(settled)
    mean_h = sum(row[1] for row in settled) / len(settled)
    spread = sum((row[0] - mean_t) ** 2 for row in settled) or 1
    slope = sum((row[0] - mean_t) * (row[1] - mean_h) for row in settled) / spread * 60 / 1e6
    detail = f"{slope:+.3f} MB/min over {rows[-1][0]:.0f} s, {rows[-1][1] / 1e6:.1f} MB in use"
    report.check("heap slope under 1 MB/min", slope < 1.0, detail)
    grown = rows[-1][2] / max(1, settled[0][2])
    report.check("document does not grow", grown < 1.1, f"{settled[0][2]:.0f} to {rows[-1][2]:.0f} nodes")
    return slope


def honest(report, tab):
    quiet = tab.page.evaluate(SILENT)
    report.check("silent beds show no number", all(text == "--" for text in quiet), f"{len(quiet)} fields")
    report.check("no markup of the data became an element", tab.page.evaluate(MARKUP))
    report.check("no console errors", not tab.errors, "; ".join(tab.errors[:3]))
    report.check("no request off this machine", not tab.strange, "; ".join(tab.strange[:3]))


def dies(report, tab, args):
    """Kills the server with a signal it cannot catch and times the page's answer."""
    os.kill(args.kill_pid, signal.SIGKILL)
    killed = time.monotonic()
    state = {}
    took = None
    while time.monotonic() - killed < 8:
        state = tab.page.evaluate(DEAD)
        if state["grey"] and state["banner"] and state["shown"] == 0:
            took = time.monotonic() - killed
            break
        time.sleep(0.05)
    said = f'{took:.2f} s; "{state["text"][:60]}"' if took is not None else str(state)
    report.check("grey, banner and no numbers within 4 s of the kill", took is not None and took <= 4.0, said)
    report.check(
        "banner names the engine and the time",
        "NO DATA FROM AUSCULT since" in state["text"],
        state["text"][:50],
    )
    still = tab.page.evaluate(HASHES)
    time.sleep(1)
    report.check("strips stand still", still == tab.page.evaluate(HASHES))
    time.sleep(0.4)
    tab.shot("dead")


def revives(report, tab, args):
    child = subprocess.Popen(shlex.split(args.revive), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        started = time.monotonic()
        live = False
        while time.monotonic() - started < 30 and not live:
            time.sleep(0.2)
            live = tab.page.evaluate("document.documentElement.dataset.link") == "live"
        took = time.monotonic() - started
        report.check("recovers by itself", live, f"{took:.1f} s after the restart")
        time.sleep(5)
        report.check("numbers are back", any(text != "--" for text in tab.page.evaluate(NUMBERS)))
        tab.shot("revived")
    finally:
        child.terminate()
        child.wait(timeout=15)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:8899/")
    parser.add_argument("--cards", type=int, default=8, help="least number of beds")
    parser.add_argument("--seconds", type=float, default=60, help="how long memory is watched")
    parser.add_argument("--fps", type=float, default=20)
    parser.add_argument("--size", default="1920x1080")
    parser.add_argument("--screenshots", metavar="DIR")
    parser.add_argument("--kill-pid", type=int, help="process to kill at the end")
    parser.add_argument(
        "--revive", help="command that starts the server again after the kill; stopped at the end"
    )
    parser.add_argument(
        "--no-acknowledge", action="store_true", help="press no button that the engine would record"
    )
    parser.add_argument("--chromium", default=shutil.which("chromium") or "/usr/bin/chromium")
    return parser.parse_args()


def main():
    args = arguments()
    report = Report()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=args.chromium, headless=True, args=FLAGS)
        tab = Page(browser, args)
        report.step(draws, tab, args)
        time.sleep(9)
        tab.shot("wall")
        report.step(moves, tab)
        report.step(frames, tab, args, "wall")
        if not args.no_acknowledge:
            report.step(acknowledges, tab)
        report.step(memory, tab, args)
        report.step(bed_view, tab, args)
        report.step(honest, tab)
        if args.kill_pid:
            report.step(dies, tab, args)
            if args.revive:
                report.step(revives, tab, args)
            report.check("still no request off this machine", not tab.strange, "; ".join(tab.strange[:3]))
        browser.close()
    print(f"{report.failed} checks failed" if report.failed else "all checks hold")
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main()
