// Waveform strips: what is kept of each channel, when it is played out, and how it is swept over a canvas.
// In: the `strips` of each ward message (integers times scale, event time in ms). Out: pixels.
// Bounded: one ring per channel; a frame draws only the samples that became due since the last.

const KEPT_S = 40; // seconds held per channel: one sweep, the play-out delay, and room for fast replays
const MAX_CHANNELS = 12;
const MAX_RATE_HZ = 4000;
const DELAY_MS = 1800; // play-out delay: messages come each second, so 0.8 s is left for jitter
const MAX_DELAY_MS = 3500;
const SILENT_MS = 3000; // past this the sweep runs on and leaves the strip empty, as a monitor does
const BAR_S = 0.35; // erased ahead of the pen

const COLOURS = [
  [/ecg|^i{1,3}$|^v\d?$/i, "#6fdc9c"],
  [/ppg|pleth|spo2/i, "#86b7ff"],
  [/abp|art|pressure|icp|cvp|pap/i, "#f09ab0"],
  [/resp|imped|co2|airway/i, "#d9d2ff"],
];
const PLAIN = "#c8d3da";

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** Colour of a channel: by what it measures; never one of the alarm colours red, yellow and cyan. */
export function colourOf(channel) {
  const row = COLOURS.find(([pattern]) => pattern.test(channel));
  return row ? row[1] : PLAIN;
}

/** The newest seconds of one channel, addressed by sample index since the epoch; NaN is missing. */
export class Ring {
  constructor(rateHz) {
    this.rateHz = rateHz;
    this.size = Math.ceil(rateHz * KEPT_S);
    this.data = new Float32Array(this.size).fill(NaN);
    this.head = -1; // index one past the newest sample
    this.endMs = NaN;
    this.rewritten = 0; // grows when what was already readable has changed, so that screens draw anew
  }

  write(startMs, samples, scale) {
    const step = 1000 / this.rateHz;
    const count = Math.min(samples.length, this.size);
    if (!Number.isFinite(startMs) || count === 0) return;
    let at = Math.round(startMs / step);
    // Rounding of a rate that does not divide a second is no gap; anything from a whole sample on is.
    const follows = Math.abs(startMs - this.endMs) < 0.9 * step && Math.abs(at - this.head) * step < 100;
    if (follows) at = this.head;
    if (this.head < 0 || Math.abs(at - this.head) > this.size) {
      this.data.fill(NaN);
      this.rewritten += 1;
    } else {
      for (let i = this.head; i < at; i += 1) this.data[i % this.size] = NaN;
      if (at < this.head) this.rewritten += 1;
    }
    for (let k = 0; k < count; k += 1) {
      const raw = samples[k];
      this.data[(at + k) % this.size] = typeof raw === "number" ? raw * scale : NaN;
    }
    if (at + count > this.head || Math.abs(at - this.head) > this.size) {
      this.head = at + count;
      this.endMs = startMs + count * step;
    }
  }

  at(index) {
    return index < this.head && index >= this.head - this.size && index >= 0
      ? this.data[index % this.size]
      : NaN;
  }
}

/** Turns the steps of messages into a steady flow: which event time is under the pen now. */
export class PlayClock {
  constructor() {
    this.nowMs = NaN;
    this.headMs = NaN;
    this.heardAt = 0;
    this.pace = 1; // event seconds per second of the wall clock; not 1 in a replay
    this.delayMs = DELAY_MS;
    this.starved = false;
  }

  heard(headMs, at) {
    const elapsed = at - this.heardAt;
    if (headMs > this.headMs && elapsed > 200 && elapsed < 2500) {
      this.pace += 0.2 * (clamp((headMs - this.headMs) / elapsed, 0.2, 20) - this.pace);
    }
    if (headMs === this.headMs) return;
    if (this.starved) this.delayMs = Math.min(MAX_DELAY_MS, this.delayMs + 250);
    else this.delayMs = Math.max(DELAY_MS, this.delayMs - 10);
    this.starved = false;
    this.headMs = headMs;
    this.heardAt = at;
    if (Number.isNaN(this.nowMs)) this.nowMs = headMs - this.delayMs;
  }

  advance(elapsedMs, at) {
    if (Number.isNaN(this.nowMs)) return;
    const pace = Math.abs(this.pace - 1) < 0.15 ? 1 : this.pace;
    const aim = this.headMs - this.delayMs * pace + (at - this.heardAt) * pace;
    const off = aim - this.nowMs;
    if (Math.abs(off) > 2500 * Math.max(1, pace)) {
      this.nowMs = aim;
      return;
    }
    let next = this.nowMs + elapsedMs * pace * (1 + clamp(off / 3000, -0.15, 0.15));
    if (next > this.headMs && at - this.heardAt < SILENT_MS) {
      // Nothing to draw yet: wait for it rather than sweep past what is about to come.
      next = Math.max(this.nowMs, this.headMs);
      this.starved = true;
    }
    this.nowMs = next;
  }
}

/** All channels of one bed and their common play-out clock. */
export class Signals {
  constructor() {
    this.channels = new Map();
    this.clock = new PlayClock();
    this.version = 0; // grows when channels come or change their scale
  }

  take(strips, at) {
    let headMs = -Infinity;
    for (const strip of strips) {
      const channel = this.channel(strip);
      if (!channel || !Array.isArray(strip.samples)) continue;
      channel.ring.write(Number(strip.start_ms), strip.samples, Number(strip.scale) || 0);
      headMs = Math.max(headMs, channel.ring.endMs);
    }
    if (Number.isFinite(headMs)) this.clock.heard(headMs, at);
  }

  channel(strip) {
    const rateHz = Number(strip.rate_hz);
    if (!(rateHz > 0 && rateHz <= MAX_RATE_HZ)) return null;
    const name = String(strip.channel);
    let channel = this.channels.get(name);
    if (!channel && this.channels.size >= MAX_CHANNELS) return null;
    const low = Number(strip.low);
    const high = Number(strip.high);
    if (!channel || channel.ring.rateHz !== rateHz) {
      channel = { name, colour: colourOf(name), ring: new Ring(rateHz) };
      this.channels.set(name, channel);
      this.version += 1;
    }
    if (channel.low !== low || channel.high !== high) {
      channel.low = low;
      channel.high = high;
      this.version += 1;
    }
    channel.label = String(strip.label ?? name);
    channel.unit = String(strip.unit ?? "");
    return channel;
  }

  /** The two channels for a card: a heart trace and a pulse trace where there are such. */
  chief() {
    const all = [...this.channels.values()];
    const wanted = [COLOURS[0][0], COLOURS[1][0], COLOURS[2][0], COLOURS[3][0]];
    const rank = (channel) => {
      const found = wanted.findIndex((pattern) => pattern.test(channel.name));
      return found < 0 ? wanted.length : found;
    };
    const sorted = all.map((channel, place) => [rank(channel), place, channel]);
    sorted.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    const first = sorted[0];
    if (!first) return [];
    const second = sorted.find((row) => row[0] !== first[0]) ?? sorted[1];
    return second ? [first[2], second[2]] : [first[2]];
  }
}

/** One canvas with one or more lanes, swept from left to right with an erased bar ahead of the pen. */
export class Screen {
  constructor(canvas, sweepS) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    this.sweepMs = sweepS * 1000;
    this.lanes = [];
    this.drawnMs = NaN;
    this.thick = 1.25;
    this.observer = new ResizeObserver(() => this.measure());
    this.observer.observe(canvas);
  }

  setLanes(channels) {
    this.lanes = channels.map((channel) => ({ channel, last: 0, seen: channel.ring.rewritten }));
    this.drawnMs = NaN;
  }

  close() {
    this.observer.disconnect();
  }

  measure() {
    const ratio = window.devicePixelRatio || 1;
    // Pens are as strong as the letters around them, so that they hold on a 4K wall too.
    this.thick = Math.max(1.1, (parseFloat(getComputedStyle(this.canvas).fontSize) * ratio) / 12);
    const width = Math.round(this.canvas.clientWidth * ratio);
    const height = Math.round(this.canvas.clientHeight * ratio);
    if (width === this.canvas.width && height === this.canvas.height) return;
    this.canvas.width = width;
    this.canvas.height = height;
    this.drawnMs = NaN;
  }

  clear() {
    this.pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.drawnMs = NaN;
  }

  draw(nowMs) {
    const { width, height } = this.canvas;
    if (Number.isNaN(nowMs) || width < 2 || height < 2 || this.lanes.length === 0) return;
    const stale = this.lanes.some((lane) => lane.seen !== lane.channel.ring.rewritten);
    const step = nowMs - this.drawnMs;
    const keptMs = this.sweepMs - BAR_S * 1000;
    if (stale || !(step >= 0 && step < keptMs)) {
      this.pen.clearRect(0, 0, width, height);
      for (const lane of this.lanes) {
        lane.last = Math.floor(((nowMs - keptMs) * lane.channel.ring.rateHz) / 1000);
        lane.seen = lane.channel.ring.rewritten;
      }
    } else {
      this.erase(nowMs, step, width, height);
    }
    const each = height / this.lanes.length;
    this.pen.lineWidth = this.thick;
    this.pen.lineJoin = "round";
    this.lanes.forEach((lane, place) => this.trace(lane, nowMs, place * each, each, width));
    this.drawnMs = nowMs;
  }

  erase(nowMs, stepMs, width, height) {
    // The pen stands at most one pixel before the bar, so its own last pixel survives.
    const from = Math.ceil((((nowMs - stepMs) % this.sweepMs) / this.sweepMs) * width) + 1;
    const wide = Math.ceil(((stepMs + BAR_S * 1000) / this.sweepMs) * width);
    this.pen.clearRect(from, 0, wide, height);
    if (from + wide > width) this.pen.clearRect(0, 0, from + wide - width, height);
  }

  trace(lane, nowMs, top, each, width) {
    const { ring, low, high, colour } = lane.channel;
    const until = Math.min(Math.floor((nowMs * ring.rateHz) / 1000), ring.head - 1);
    if (until <= lane.last) return;
    const span = high > low ? high - low : 1;
    const base = high > low ? low : 0;
    const margin = each * 0.06;
    const inner = each - 2 * margin;
    const perSample = 1000 / ring.rateHz;
    const pen = this.pen;
    pen.strokeStyle = colour;
    pen.beginPath();
    let down = false;
    let before = Infinity;
    for (let i = lane.last; i <= until; i += 1) {
      const value = ring.at(i);
      if (Number.isNaN(value)) {
        down = false;
        continue;
      }
      const x = (((i * perSample) % this.sweepMs) / this.sweepMs) * width;
      const y = top + margin + inner * (1 - clamp((value - base) / span, 0, 1));
      if (down && x > before) pen.lineTo(x, y);
      else pen.moveTo(x, y);
      down = true;
      before = x;
    }
    pen.stroke();
    lane.last = until;
  }
}
