// One bed, large: its strips with their scale, all values with age, origin and quality, score, model, alerts.
// In: the bed of the newest ward message and its signals. Out: DOM and one canvas.
// The rules of card.js hold here too: no number without validity, no text parsed as HTML.

import {
  AlertLine,
  Tile,
  ageText,
  clockText,
  element,
  isValid,
  mark,
  news2Words,
  openAlerts,
  put,
  shortName,
  show,
} from "./card.js";
import { Screen } from "./strips.js";

const SWEEP_S = 10;
const MAX_ALERTS = 24;
const NAMES = [
  "heart_rate",
  "pulse_rate",
  "spo2",
  "resp_rate",
  "blood_pressure_sys",
  "blood_pressure_mean",
  "blood_pressure_dia",
  "temperature",
];
const ORIGINS = { derived: "from the waveform", reported: "by the device" };

/** The bed view; empty until `open`. */
export class BedView {
  constructor(root, { onClose, onStep, onProblem }) {
    this.root = root;
    this.onProblem = onProblem;
    this.patient = null;
    this.build(onClose, onStep);
  }

  build(onClose, onStep) {
    const button = (text, label, act) => {
      const node = element("button", "step", text);
      node.type = "button";
      node.ariaLabel = label;
      node.addEventListener("click", act);
      return node;
    };
    this.back = button("← Ward (Esc)", "back to the ward", onClose);
    this.name = element("h2", "", "");
    this.state = element("span", "lag", "");
    this.bar = element("div", "bar", [
      this.back,
      this.name,
      this.state,
      button("‹ previous", "previous bed", () => onStep(-1)),
      button("next ›", "next bed", () => onStep(1)),
    ]);
    this.canvas = element("canvas", "strips");
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", "waveforms");
    this.lanes = element("div", "lanes");
    this.veil = element("span", "veil", "");
    const scope = element("div", "scope", [this.canvas, this.lanes, this.veil]);
    this.tiles = new Map(NAMES.map((name) => [name, this.tile(name)]));
    this.score = new Tile("news2", "NEWS2");
    this.model = new Tile("model", "model");
    const tiles = element(
      "div",
      "tiles",
      [...this.tiles.values()].map((row) => row.tile.root),
    );
    const risks = element("div", "risks", [this.score.root, this.model.root]);
    this.none = element("p", "none", "No open alerts.");
    this.list = element("div", "alerts");
    this.list.setAttribute("role", "list");
    const side = element("div", "side", [
      risks,
      tiles,
      element("h3", "", "Open alerts"),
      this.none,
      this.list,
    ]);
    this.root.append(this.bar, element("div", "body", [scope, side]));
    this.screen = new Screen(this.canvas, SWEEP_S);
    this.lines = [];
  }

  tile(name) {
    const tile = new Tile(name, shortName(name));
    const said = element("span", "said", "");
    const quality = element("meter", "quality");
    quality.max = 1;
    quality.low = 0.5;
    quality.high = 0.8;
    quality.optimum = 1;
    quality.ariaLabel = "signal quality";
    tile.root.append(said, quality);
    return { tile, said, quality };
  }

  open(patient, signals) {
    this.patient = patient;
    this.signals = signals;
    this.version = -1;
    this.screen.clear();
    put(this.name, patient);
    show(this.root, true);
    this.back.focus({ preventScroll: true });
  }

  close() {
    this.patient = null;
    this.signals = null;
    show(this.root, false);
  }

  draw() {
    if (this.signals) this.screen.draw(this.signals.clock.nowMs);
  }

  /** Shows the bed as it is now; `silent` turns every number into "--". */
  update(bed, silent, serverMs) {
    mark(this.root, "silent", String(silent));
    put(this.veil, silent ? `NO DATA ${ageText(bed.silent_s)}` : "");
    const behind = (serverMs - bed.event_ms) / 1000;
    const lag =
      Number.isFinite(behind) && Math.abs(behind) < 3600 ? ` · evaluated ${behind.toFixed(1)} s behind` : "";
    put(
      this.state,
      silent ? `bed silent for ${ageText(bed.silent_s)}` : `data to ${clockText(bed.event_ms)}${lag}`,
    );
    for (const [name, { tile, said, quality }] of this.tiles) {
      const entry = bed.values?.[name];
      const valid = isValid(entry) && !silent;
      tile.value(name, entry, silent);
      put(said, valid ? (ORIGINS[entry.origin] ?? "") : "");
      show(quality, valid && Number.isFinite(entry.quality));
      if (valid && quality.value !== entry.quality) quality.value = entry.quality ?? 0;
    }
    this.risks(bed, silent);
    this.alerts(bed, serverMs);
    this.layLanes();
  }

  risks(bed, silent) {
    const news2 = silent ? { number: "--", level: "unknown", note: "bed silent" } : news2Words(bed.news2);
    this.score.set({ number: news2.number, note: news2.note });
    mark(this.score.root, "level", news2.level);
    this.model.model(bed.model, silent);
  }

  alerts(bed, serverMs) {
    const open = openAlerts(bed).slice(0, MAX_ALERTS);
    show(this.none, open.length === 0);
    while (this.lines.length < open.length) {
      const line = new AlertLine(this.onProblem);
      line.root.setAttribute("role", "listitem");
      this.lines.push(line);
      this.list.append(line.root);
    }
    this.lines.forEach((line, place) => {
      const alert = open[place];
      show(line.root, Boolean(alert));
      if (!alert) return;
      const age = ageText((serverMs - alert.since_ms) / 1000);
      line.update(bed.patient, alert, 0, ` · ${alert.kind} · since ${clockText(alert.since_ms)} (${age})`);
    });
  }

  layLanes() {
    if (this.version === this.signals.version) return;
    this.version = this.signals.version;
    const channels = [...this.signals.channels.values()];
    this.screen.setLanes(channels);
    const rows = channels.map((channel) => {
      const scale =
        channel.high > channel.low ? `${channel.low} to ${channel.high} ${channel.unit}` : channel.unit;
      const label = element("b", "", channel.label);
      label.style.color = channel.colour;
      return element("div", "row", [label, element("span", "", `${scale} · ${channel.ring.rateHz} Hz`)]);
    });
    this.lanes.replaceChildren(...rows);
  }

  /** Nothing is known any more: the engine is silent. */
  blank() {
    const tiles = [...this.tiles.values()].map((row) => row.tile).concat(this.score, this.model);
    for (const tile of tiles) tile.set({});
    for (const { said, quality } of this.tiles.values()) {
      put(said, "");
      show(quality, false);
    }
    mark(this.score.root, "level", "unknown");
    put(this.state, "engine silent");
    put(this.veil, "NO DATA");
    this.screen.clear();
  }
}
