// What a bed says in words, and its card: numbers with age, score, model risk, the foremost alert.
// In: one bed of a ward message. Out: text nodes, changed where the text differs; nothing is parsed as HTML.
// A number is shown only while it is valid; otherwise "--" with the reason, never the old number.

import { acknowledge } from "./feed.js";
import { Screen } from "./strips.js";

const SWEEP_S = 8;
const NONE = "--";
const REASONS = {
  no_data: "no data",
  stale: "stale",
  low_quality: "poor signal",
  implausible: "implausible",
  learning: "learning",
  too_few: "too few beats",
};
const UNITS = { "mm[Hg]": "mmHg", Cel: "°C", degC: "°C", celsius: "°C", "{beats}/min": "/min" };
const SHORT = {
  heart_rate: "HR",
  pulse_rate: "PR",
  spo2: "SpO₂",
  resp_rate: "RR",
  respiratory_rate: "RR",
  temperature: "Temp",
  blood_pressure_sys: "BP sys",
  blood_pressure_mean: "BP mean",
  blood_pressure_dia: "BP dia",
  systolic: "BP sys",
  consciousness: "consciousness",
  supplemental_oxygen: "oxygen",
};
const PRIORITY = { high: "HIGH", medium: "MED", low: "LOW", advisory: "ADV" };
const PRIORITY_RANK = ["high", "medium", "low", "advisory"];
const LEVELS = ["high", "medium", "low"];

/** A new element with a class and, if wanted, text that will change or children. */
export function element(tag, name, content = []) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (typeof content === "string") node.append(document.createTextNode(content));
  else node.append(...content);
  return node;
}

/** Writes text where it differs. */
export function put(node, text) {
  const first = node.firstChild;
  if (!first) node.append(document.createTextNode(text));
  else if (first.nodeValue !== text) first.nodeValue = text;
}

/** Sets a data attribute where it differs; style sheets read these. */
export function mark(node, key, value) {
  if (node.dataset[key] !== value) node.dataset[key] = value;
}

/** Shows or hides. */
export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

export const shortName = (name) => SHORT[name] ?? String(name).replaceAll("_", " ");
export const reasonText = (reason) =>
  REASONS[reason] ?? String(reason || "no reason given").replaceAll("_", " ");
export const unitText = (unit) => UNITS[unit] ?? String(unit ?? "");

/** "12 s", "4 min", "3 h", "2 d". */
export function ageText(seconds) {
  if (!Number.isFinite(seconds)) return "";
  const s = Math.max(0, seconds);
  if (s < 59.5) return `${Math.round(s)} s`;
  if (s < 3570) return `${Math.round(s / 60)} min`;
  if (s < 48 * 3600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} d`;
}

/** Time of day as the viewer's clock writes it, from milliseconds. */
export function clockText(ms) {
  if (!Number.isFinite(ms)) return "--:--:--";
  const at = new Date(ms);
  return [at.getHours(), at.getMinutes(), at.getSeconds()]
    .map((part) => String(part).padStart(2, "0"))
    .join(":");
}

export const isValid = (entry) => entry?.state === "valid" && Number.isFinite(entry.value);

/** The number of a value, or "--". */
export function numberText(name, entry) {
  if (!isValid(entry)) return NONE;
  const fine = name === "temperature" || /kpa/i.test(entry.unit ?? "");
  return entry.value.toFixed(fine ? 1 : 0);
}

/** Why there is no number, or "" where there is one. */
export function absenceText(entry) {
  if (isValid(entry)) return "";
  if (!entry) return reasonText("no_data");
  const reason = reasonText(entry.reason || (entry.state === "stale" ? "stale" : "no_data"));
  return entry.state === "stale" && Number.isFinite(entry.age_s)
    ? `${reason} ${ageText(entry.age_s)}`
    : reason;
}

/** NEWS2 in words: the number, the level for the colour, the line beside it, and a long form. */
export function news2Words(news2) {
  const level = news2?.level ? String(news2.level).replaceAll("-", "_") : "";
  const word = level ? level.replaceAll("_", "-") : "";
  if (news2?.status === "complete" && Number.isFinite(news2.total)) {
    return { number: String(news2.total), level: level || "low", note: word || "low" };
  }
  if (news2?.status === "partial") {
    const missing = (news2.missing ?? []).map(shortName).join(", ");
    const note = [word, missing ? `missing ${missing}` : "incomplete"].filter(Boolean).join(" · ");
    return { number: `${news2.low}–${news2.high} ?`, level: level || "unknown", note };
  }
  const said = news2?.reason ? reasonText(news2.reason) : "";
  if (news2?.status === "invalid")
    return { number: NONE, level: "unknown", note: `invalid: ${said || "unknown"}` };
  return { number: NONE, level: "unknown", note: said ? `no score: ${said}` : "no score yet" };
}

/** Where a bed counts in the header. */
export function levelOf(bed) {
  const { level } = news2Words(bed.news2);
  if (level === "unknown") return "unknown";
  return LEVELS.includes(level) ? level : "low";
}

/** Model risk in words. */
export function modelWords(model) {
  const name = String(model?.name ?? "model").replaceAll("_", " ");
  if (model?.state === "ok" && Number.isFinite(model.probability)) {
    const percent = model.probability * 100;
    const number = percent < 1 ? "<1" : percent > 99 ? ">99" : percent.toFixed(0);
    return { name, number, note: "" };
  }
  const state = { refused: "refused", failed: "failed", waiting: "waiting" }[model?.state] ?? "not available";
  const reason = model?.reason ? `: ${reasonText(model.reason)}` : "";
  return { name, number: NONE, note: `${state}${reason}` };
}

/** Open alerts, the foremost first: unacknowledged before acknowledged, then priority, then the older. */
export function openAlerts(bed) {
  const rank = (alert) => {
    const place = PRIORITY_RANK.indexOf(alert.priority);
    const late = alert.state === "acknowledged" ? 100 : 0;
    return late + (place < 0 ? 9 : place) * 2 + (alert.category === "technical" ? 1 : 0);
  };
  return [...(bed.alerts ?? [])].sort((a, b) => rank(a) - rank(b) || a.since_ms - b.since_ms);
}

/** One line of an alert: shape, priority in letters, text, state, and the button that acknowledges it. */
export class AlertLine {
  constructor(onProblem) {
    this.shape = element("i", "shape");
    this.word = element("b", "priority", "");
    this.text = element("span", "text", "");
    this.more = element("span", "more", "");
    this.button = element("button", "ack", "Ack");
    this.button.type = "button";
    this.root = element("div", "alert", [this.shape, this.word, this.text, this.more, this.button]);
    this.button.addEventListener("click", (event) => {
      event.stopPropagation();
      this.send(onProblem);
    });
  }

  update(patient, alert, others, detail = "") {
    this.patient = patient;
    if (this.alert?.alert_id !== alert.alert_id) this.waiting = false;
    this.alert = alert;
    const technical = alert.category === "technical";
    mark(this.root, "priority", PRIORITY[alert.priority] ? alert.priority : "advisory");
    mark(this.root, "category", technical ? "technical" : "physiological");
    mark(this.root, "state", String(alert.state));
    mark(this.shape, "priority", this.root.dataset.priority);
    mark(this.shape, "category", this.root.dataset.category);
    put(this.word, (PRIORITY[alert.priority] ?? "ADV") + (technical ? " TECH" : ""));
    const state = alert.state === "latched" ? " (latched)" : "";
    put(this.text, String(alert.text ?? alert.rule) + state + detail);
    if (this.root.title !== this.text.textContent) this.root.title = this.text.textContent;
    put(this.more, others > 0 ? `+${others}` : "");
    const done = alert.state === "acknowledged";
    put(this.button, done ? "✓ ack" : this.waiting ? "…" : "Ack");
    if (this.button.disabled !== (done || this.waiting)) this.button.disabled = done || this.waiting;
    const label = `acknowledge ${alert.text ?? alert.rule} of ${patient}`;
    if (this.button.ariaLabel !== label) this.button.ariaLabel = label;
  }

  async send(onProblem) {
    if (!this.alert || this.waiting) return;
    const { alert, patient } = this;
    this.waiting = true;
    this.button.disabled = true;
    put(this.button, "…");
    const problem = await acknowledge(patient, alert.rule);
    if (problem) onProblem(`${patient}: not acknowledged, ${problem}`);
    // Only the stream says that it is acknowledged; if it does not soon, the button comes back.
    setTimeout(
      () => {
        this.waiting = false;
      },
      problem ? 0 : 4000,
    );
  }
}

/** A number with label, origin, age, unit and, where it is missing, the reason; larger in the bed view. */
export class Tile {
  constructor(name, label) {
    this.label = element("span", "label", label);
    this.origin = element("b", "origin", "");
    this.age = element("span", "age", "");
    this.number = element("span", "num", NONE);
    this.unit = element("span", "unit", "");
    this.note = element("span", "note", "");
    const head = element("div", "head", [this.label, this.origin, this.age]);
    const line = element("div", "line", [this.number, this.unit, this.note]);
    this.root = element("div", "tile", [head, line]);
    mark(this.root, "name", name);
  }

  set({ label, number = NONE, unit = "", age = "", note = "", origin = "" }) {
    if (label !== undefined) put(this.label, label);
    put(this.number, number);
    put(this.unit, number === NONE ? "" : unit);
    put(this.age, age);
    put(this.note, note);
    if (this.root.title !== note) this.root.title = note;
    put(this.origin, origin === "derived" ? "D" : origin === "reported" ? "R" : "");
    mark(this.origin, "origin", origin);
    mark(this.root, "valid", String(number !== NONE));
  }

  value(name, entry, silent, label = shortName(name)) {
    if (silent) this.set({ label, note: "bed silent" });
    else if (!isValid(entry)) this.set({ label, note: absenceText(entry) });
    else {
      const [number, unit, age] = [numberText(name, entry), unitText(entry.unit), ageText(entry.age_s)];
      this.set({ label, number, unit, age, origin: entry.origin });
    }
  }

  /** Systolic over diastolic with the mean in brackets; the age is that of the oldest of the three. */
  pressure(values, silent) {
    const [sys, mean, dia] = ["sys", "mean", "dia"].map((part) => values?.[`blood_pressure_${part}`]);
    const known = [sys, dia, mean].filter(isValid);
    if (silent || known.length === 0) {
      this.value("blood_pressure_sys", sys, silent, "BP");
      return;
    }
    const oldest = known.reduce((a, b) => (b.age_s > a.age_s ? b : a));
    const label = `BP ${unitText(oldest.unit)}`;
    const [high, middle, low] = [sys, mean, dia].map((entry) => numberText("", entry));
    const pair = isValid(sys) || isValid(dia);
    const number = pair ? `${high}/${low}` : middle;
    const unit = pair ? (isValid(mean) ? `(${middle})` : "") : "mean";
    this.set({ label, number, unit, age: ageText(oldest.age_s), origin: oldest.origin });
  }

  model(model, silent) {
    const { name, number, note } = modelWords(model);
    if (silent) this.set({ label: name, note: "bed silent" });
    else this.set({ label: name, number, unit: "% risk", note });
  }
}

/** The card of one bed on the ward wall. */
export class Card {
  constructor(patient, signals, { onOpen, onProblem }) {
    this.patient = patient;
    this.signals = signals;
    this.build(onOpen, onProblem);
    this.screen = new Screen(this.canvas, SWEEP_S);
    this.version = -1;
    this.visible = true;
  }

  build(onOpen, onProblem) {
    this.name = element("button", "name", this.patient);
    this.name.type = "button";
    this.name.tabIndex = -1;
    this.words = element("span", "words", "");
    this.model = new Tile("model", "model");
    this.score = element("b", "score num", NONE);
    this.canvas = element("canvas", "strips");
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", "waveforms");
    this.labels = [element("span", "lane", ""), element("span", "lane", "")];
    this.veil = element("span", "veil", "");
    this.tiles = {
      rate: new Tile("heart_rate", "HR"),
      spo2: new Tile("spo2", "SpO₂"),
      resp: new Tile("resp_rate", "RR"),
      bp: new Tile("blood_pressure", "BP"),
      temp: new Tile("temperature", "Temp"),
    };
    this.line = new AlertLine(onProblem);
    const scope = element("div", "scope", [this.canvas, ...this.labels, this.veil]);
    const top = element("div", "top", [
      element("div", "who", [this.name, this.words]),
      this.score,
      this.model.root,
    ]);
    const roots = Object.values(this.tiles).map((tile) => tile.root);
    const tiles = element("div", "tiles", [
      element("div", "main", roots.slice(0, 3)),
      element("div", "other", roots.slice(3)),
    ]);
    this.root = element("article", "card", [top, this.line.root, scope, tiles]);
    this.root.setAttribute("role", "listitem");
    this.root.addEventListener("click", () => onOpen(this.patient));
  }

  /** Shows the bed as it is now; `silent` turns every number into "--". */
  update(bed, silent) {
    const values = bed.values ?? {};
    const news2 = silent ? { number: NONE, level: "unknown", note: "bed silent" } : news2Words(bed.news2);
    put(this.score, news2.number);
    put(this.words, `NEWS2 ${news2.note}`);
    if (this.words.title !== news2.note) this.words.title = news2.note;
    mark(this.root, "level", news2.level);
    mark(this.root, "silent", String(silent));
    put(this.veil, silent ? `NO DATA ${ageText(bed.silent_s)}` : "");
    const pulse = !isValid(values.heart_rate) && isValid(values.pulse_rate);
    mark(this.tiles.rate.root, "name", pulse ? "pulse_rate" : "heart_rate");
    if (pulse) this.tiles.rate.value("pulse_rate", values.pulse_rate, silent);
    else this.tiles.rate.value("heart_rate", values.heart_rate, silent);
    this.tiles.spo2.value("spo2", values.spo2, silent);
    this.tiles.resp.value("resp_rate", values.resp_rate, silent);
    this.tiles.bp.pressure(values, silent);
    this.tiles.temp.value("temperature", values.temperature, silent);
    this.model.model(bed.model, silent);
    this.alerts(bed);
    this.lanes();
  }

  alerts(bed) {
    const open = openAlerts(bed);
    show(this.line.root, open.length > 0); // the strips give way to it; no number moves
    if (open.length > 0) this.line.update(this.patient, open[0], open.length - 1);
    const waiting = open.find((alert) => alert.state !== "acknowledged");
    mark(this.root, "alarm", waiting ? waiting.priority : "none");
    mark(this.root, "alarmCategory", waiting?.category === "technical" ? "technical" : "physiological");
  }

  lanes() {
    if (this.version === this.signals.version) return;
    this.version = this.signals.version;
    const chief = this.signals.chief();
    this.screen.setLanes(chief);
    this.labels.forEach((label, place) => {
      put(label, chief[place]?.label ?? "");
      label.style.color = chief[place]?.colour ?? "";
    });
    mark(this.root, "lanes", String(chief.length));
  }

  /** Nothing is known any more: the engine is silent. */
  blank() {
    for (const tile of [this.model, ...Object.values(this.tiles)]) tile.set({});
    put(this.score, NONE);
    put(this.words, "engine silent");
    put(this.veil, "NO DATA");
    mark(this.root, "level", "unknown");
    this.screen.clear(); // a trace that stands still could be taken for a living one
  }

  close() {
    this.screen.close();
    this.root.remove();
  }
}
