// The link to the engine: event stream with watchdog, identity, commands, and the sound of a dead link.
// In: /api/stream, /api/ward. Out: onWard(message, restarted), onLink(state, sinceMs), onIdentity(ward).
// A link counts as alive only while new ward messages arrive: an open socket that says nothing is dead.

export const DEAD_MS = 3000; // without a new ward message for this long, nothing on the page may look current
const WATCH_MS = 200;
const RETRY_MS = 2000;

/** The engine's stream of ward messages. States: "connecting", "live", "dead". */
export class Feed {
  constructor({ onWard, onLink, onIdentity }) {
    this.onWard = onWard;
    this.onLink = onLink;
    this.onIdentity = onIdentity;
    this.state = "connecting";
    this.sequence = -1;
    this.mark();
    this.retriedAt = performance.now();
  }

  start() {
    this.open();
    this.identify();
    setInterval(() => this.watch(), WATCH_MS);
    // A page that was asleep or hidden must not show old numbers when it comes back.
    document.addEventListener("visibilitychange", () => this.watch());
    window.addEventListener("pageshow", () => this.watch());
  }

  mark() {
    this.heardAt = performance.now();
    this.heardDate = Date.now();
  }

  silentMs() {
    // performance.now() may stand still while a computer sleeps, Date.now() does not.
    return Math.max(performance.now() - this.heardAt, Date.now() - this.heardDate);
  }

  open() {
    this.source?.close();
    this.source = new EventSource("/api/stream");
    this.source.addEventListener("ward", (event) => this.take(event.data));
  }

  take(text) {
    let message = null;
    try {
      message = JSON.parse(text);
    } catch {
      return; // an unreadable message is no message: the watchdog speaks if no better one comes
    }
    if (!message || !Array.isArray(message.beds) || message.sequence === this.sequence) return;
    const restarted = message.sequence < this.sequence;
    this.sequence = message.sequence;
    this.mark();
    if (this.state !== "live") {
      this.state = "live";
      this.onLink("live", this.heardDate);
      this.identify();
    }
    this.onWard(message, restarted);
  }

  watch() {
    if (this.silentMs() < DEAD_MS) return;
    if (this.state !== "dead") {
      this.state = "dead";
      this.onLink("dead", this.heardDate);
    }
    // The browser's own reconnecting gives up after an HTTP error, so do it here too.
    const since = performance.now() - this.retriedAt;
    const open = this.source.readyState === EventSource.OPEN;
    if (since > (open ? 3 * RETRY_MS : RETRY_MS)) {
      this.retriedAt = performance.now();
      this.open();
    }
  }

  async identify() {
    try {
      const answer = await fetch("/api/ward", { cache: "no-store" });
      if (answer.ok) this.onIdentity(await answer.json());
    } catch {
      // Asked again as soon as the stream is live.
    }
  }
}

/** Asks the engine to acknowledge an alert; yields "" or what went wrong. */
export async function acknowledge(patient, rule) {
  try {
    const answer = await fetch("/api/command", {
      method: "POST",
      headers: { "content-type": "application/json", "x-auscult-csrf": "1" },
      body: JSON.stringify({ patient, rule, action: "acknowledge" }),
      signal: AbortSignal.timeout(5000),
    });
    if (answer.ok) return "";
    const body = await answer.json().catch(() => ({}));
    return String(body.error ?? `the engine answered ${answer.status}`);
  } catch {
    return "the engine did not answer";
  }
}

/** Three falling tones every 5 s while the link is dead. Browsers allow sound only after a gesture. */
export class Siren {
  constructor(onChange) {
    this.onChange = onChange;
    this.context = null;
    this.muted = false;
    this.timer = 0;
    const unlock = () => this.unlock();
    window.addEventListener("pointerdown", unlock, { once: true, capture: true });
    window.addEventListener("keydown", unlock, { once: true, capture: true });
  }

  unlock() {
    if (this.context || !window.AudioContext) return;
    this.context = new AudioContext();
    this.unlockedAt = performance.now();
    this.onChange();
  }

  ready() {
    return this.context !== null && !this.muted;
  }

  says() {
    return this.context === null ? "Enable sound" : this.muted ? "Sound muted" : "Sound on";
  }

  toggle() {
    this.unlock();
    // The press that unlocked the sound is a press for sound, not against it.
    if (performance.now() - this.unlockedAt > 500) this.muted = !this.muted;
    this.onChange();
  }

  set(sounding) {
    if (sounding === (this.timer !== 0)) return;
    if (sounding) {
      this.timer = setInterval(() => this.burst(), 5000);
      this.burst();
    } else {
      clearInterval(this.timer);
      this.timer = 0;
    }
  }

  burst() {
    if (!this.ready()) return;
    this.context.resume();
    [784, 659, 523].forEach((hertz, place) => {
      const from = this.context.currentTime + 0.05 + place * 0.32;
      const tone = this.context.createOscillator();
      const level = this.context.createGain();
      tone.frequency.value = hertz;
      level.gain.setValueAtTime(0, from);
      level.gain.linearRampToValueAtTime(0.25, from + 0.03);
      level.gain.setValueAtTime(0.25, from + 0.2);
      level.gain.linearRampToValueAtTime(0, from + 0.26);
      tone.connect(level).connect(this.context.destination);
      tone.start(from);
      tone.stop(from + 0.28);
    });
  }
}
