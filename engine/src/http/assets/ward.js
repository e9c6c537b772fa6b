// The ward page: takes messages to the beds, orders the wall, counts, and says when the engine is silent.
// In: ward messages (feed.js), mouse, keyboard. Out: the header, the cards (card.js), the bed view (bed.js).
// One animation loop draws all strips; it stops when the engine is silent.

import { BedView } from "./bed.js";
import { Card, clockText, levelOf, openAlerts, put, mark, show } from "./card.js";
import { Feed, Siren } from "./feed.js";
import { Signals } from "./strips.js";

const MAX_BEDS = 256; // most urgent first; more than anybody can watch on one page
const SILENT_S = 4; // a bed that sends waveforms is silent after this
const SILENT_NUMERIC_S = 90; // a bed that never sent any may send numbers only now and then
const RANK_MS = 5000; // cards change places at most this often,
const HANDS_OFF_MS = 6000; // and not while somebody is pointing at them,
const HOLD_MS = 30000; // though never held for longer than this
const FORGET_MS = 600000; // a bed that left the ward stays, greyed, for this long
const WALL_FRAME_MS = 30; // a strip on the wall moves less than a pixel in this time
const LEAST_PX = 14; // a card's letters are never smaller than this; rather the wall scrolls
const CARD = { width: 14.2, height: 15.6, gap: 0.45, most: 2.4 }; // in rem at scale 1

const at = (id) => document.getElementById(id);
const wall = at("wall");
const beds = new Map(); // patient -> { bed, card, signals, heardAt }
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const view = { filter: "all", order: "urgency", patient: "", columns: 1, rankedAt: -Infinity, touchedAt: 0 };
let serverMs = NaN;
let linkState = "connecting";
let spoken = new Set();
let toastTimer = 0;

// The wall is drawn only where it is seen; a card that comes back is drawn anew.
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const row = beds.get(entry.target.dataset.patient);
    if (!row) continue;
    row.card.visible = entry.isIntersecting;
    if (!entry.isIntersecting) row.card.screen.drawnMs = NaN;
  }
});

const bedView = new BedView(at("bed"), { onClose: leave, onStep: step, onProblem: toast });
const siren = new Siren(() => {
  put(at("sound").firstElementChild, siren.says());
  at("sound").setAttribute("aria-pressed", String(siren.ready()));
});

// ---- messages ----

function onWard(message, restarted) {
  const now = performance.now();
  serverMs = Number(message.server_ms);
  put(at("clock"), clockText(serverMs));
  if (restarted) for (const row of beds.values()) row.signals.channels.clear();
  for (const bed of mostUrgent(message.beds)) {
    const row = beds.get(bed.patient) ?? admit(bed.patient);
    row.bed = bed;
    row.heardAt = now;
    if (restarted) row.signals.clock = new row.signals.clock.constructor();
    row.signals.take(Array.isArray(bed.strips) ? bed.strips : [], now);
    refresh(row);
  }
  dismissLost(now);
  count();
  speak();
  reveal();
  if (now - view.rankedAt > RANK_MS) rank(now);
  choose();
}

function mostUrgent(list) {
  const named = list.filter((bed) => typeof bed?.patient === "string");
  return named.length <= MAX_BEDS ? named : named.sort((a, b) => b.urgency - a.urgency).slice(0, MAX_BEDS);
}

function isSilent(bed, signals) {
  return !(bed.silent_s <= (signals.channels.size > 0 ? SILENT_S : SILENT_NUMERIC_S));
}

function refresh(row) {
  row.silent = isSilent(row.bed, row.signals);
  row.card.update(row.bed, row.silent);
  if (bedView.patient === row.bed.patient) bedView.update(row.bed, row.silent, serverMs);
}

function admit(patient) {
  const signals = new Signals();
  const card = new Card(patient, signals, { onOpen: enter, onProblem: toast });
  card.root.dataset.patient = patient;
  const row = { card, signals, bed: null, heardAt: 0, silent: false };
  beds.set(patient, row);
  wall.append(card.root);
  seen.observe(card.root);
  view.rankedAt = -Infinity;
  return row;
}

/** A bed that is no longer in the messages is shown as silent, then, much later, let go. */
function dismissLost(now) {
  for (const [patient, row] of beds) {
    const gone = now - row.heardAt;
    if (gone < 1500) continue;
    row.bed = { ...row.bed, silent_s: Math.max(SILENT_NUMERIC_S + 1, gone / 1000) };
    refresh(row);
    if (gone > FORGET_MS && bedView.patient !== patient) {
      seen.unobserve(row.card.root);
      row.card.close();
      beds.delete(patient);
    }
  }
}

function count() {
  const levels = { high: 0, medium: 0, low: 0, unknown: 0, silent: 0 };
  const alerts = { high: 0, medium: 0, low: 0, technical: 0 };
  for (const { bed, silent } of beds.values()) {
    levels[silent ? "silent" : levelOf(bed)] += 1;
    for (const alert of bed.alerts ?? []) {
      if (alert.state === "acknowledged") continue;
      const kind = alert.category === "technical" ? "technical" : alert.priority;
      if (kind in alerts) alerts[kind] += 1;
    }
  }
  for (const [name, number] of Object.entries(levels)) put(at(`n-${name}`), String(number));
  for (const [name, number] of Object.entries(alerts)) put(at(`a-${name}`), String(number));
  if (linkState === "live") {
    const all = beds.size > 0 && levels.silent === beds.size;
    put(at("link-text"), all ? "live, but every bed is silent" : `live · ${beds.size} beds`);
  }
}

/** New high-priority alerts are read out by screen readers; each once. */
function speak() {
  const open = new Set();
  const fresh = [];
  for (const { bed } of beds.values()) {
    for (const alert of bed.alerts ?? []) {
      if (alert.priority !== "high" || alert.state === "acknowledged") continue;
      open.add(alert.alert_id);
      if (!spoken.has(alert.alert_id)) fresh.push(`${bed.patient}: ${alert.text ?? alert.rule}`);
    }
  }
  spoken = open;
  if (fresh.length > 0) put(at("say-high"), `High priority. ${fresh.slice(0, 5).join(". ")}`);
}

// ---- the order of the wall ----

const isWanted = (row) => view.filter === "all" || row.silent || (row.bed.alerts ?? []).length > 0;

/** Leaving the wall waits for the next ranking; appearing on it does not. */
function reveal() {
  const late = [...beds.values()].filter((row) => row.card.root.hidden && isWanted(row));
  for (const row of late) show(row.card.root, true);
  if (late.length > 0) layOut();
}

function rank(now) {
  const held = now - view.touchedAt < HANDS_OFF_MS && now - view.rankedAt < HOLD_MS;
  if (held || beds.size === 0) return;
  view.rankedAt = now;
  const before = [...wall.children];
  const byName = (a, b) => a.patient.localeCompare(b.patient, "en", { numeric: true });
  const byUrgency = (a, b) => b.urgency - a.urgency || byName(a, b);
  const order = view.order === "bed" ? byName : byUrgency;
  const after = [...beds.values()].sort((a, b) => order(a.bed, b.bed)).map((row) => row.card.root);
  for (const row of beds.values()) show(row.card.root, isWanted(row));
  if (after.some((root, place) => root !== before[place])) move(after);
  layOut();
}

/** Puts the cards into their new places and lets them glide there. */
function move(order) {
  const glide = !calm.matches && !wall.hidden && !document.hidden;
  const from = glide ? new Map(order.map((root) => [root, root.getBoundingClientRect()])) : null;
  const focused = wall.contains(document.activeElement) ? document.activeElement : null;
  order.forEach((root, place) => {
    if (wall.children[place] !== root) wall.insertBefore(root, wall.children[place] ?? null);
  });
  if (focused !== document.activeElement) focused?.focus({ preventScroll: true });
  if (!glide) return;
  for (const [root, old] of from) {
    const now = root.getBoundingClientRect();
    const [x, y] = [old.left - now.left, old.top - now.top];
    if (old.width === 0 || (x === 0 && y === 0)) continue;
    const path = [{ transform: `translate(${x}px, ${y}px)` }, { transform: "none" }];
    root.animate(path, { duration: 350, easing: "ease-out" });
  }
}

/** The number of columns that makes the cards as large as the window allows. */
function layOut() {
  const shown = cards().length;
  show(at("empty"), shown === 0 && beds.size > 0);
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const width = wall.clientWidth / rem;
  const height = at("main").clientHeight / rem;
  if (width <= 0 || shown === 0) return;
  const least = LEAST_PX / rem;
  let best = { columns: 1, scale: 0, fits: false };
  for (let columns = 1; columns <= Math.min(shown, 24); columns += 1) {
    const rows = Math.ceil(shown / columns);
    const wide = (width - CARD.gap * (columns + 1)) / columns / CARD.width;
    const tall = (height - CARD.gap * (rows + 1)) / rows / CARD.height;
    const scale = Math.min(wide, Math.max(tall, least), CARD.most);
    const fits = tall >= least;
    // Of equals: the widest cards if all rows are in sight, otherwise the most cards in sight.
    const better = scale > best.scale + 0.001 || (scale > best.scale - 0.001 && !best.fits);
    if (wide >= least && better) best = { columns, scale, fits };
  }
  if (best.scale === 0) best = { columns: 1, scale: least };
  view.columns = best.columns;
  wall.style.setProperty("--columns", String(best.columns));
  wall.style.setProperty("--scale", best.scale.toFixed(3));
}

// ---- moving about ----

const cards = () => [...wall.children].filter((root) => !root.hidden);

function choose() {
  const all = cards();
  const chosen = all.find((root) => root.dataset.patient === view.patient) ?? all[0];
  for (const { card } of beds.values()) {
    const index = card.root === chosen ? 0 : -1;
    if (card.name.tabIndex !== index) card.name.tabIndex = index;
  }
}

function focusCard(place) {
  const all = cards();
  const root = all[Math.min(all.length - 1, Math.max(0, place))];
  if (!root) return;
  view.patient = root.dataset.patient;
  choose();
  const { name } = beds.get(view.patient).card;
  name.focus({ preventScroll: true });
  root.scrollIntoView({ block: "nearest" });
}

function enter(patient) {
  location.hash = encodeURIComponent(patient);
}

function leave() {
  location.hash = "";
}

function step(by) {
  const all = cards().map((root) => root.dataset.patient);
  const next = all[(all.indexOf(bedView.patient) + by + all.length) % all.length];
  if (next !== undefined) enter(next);
}

/** The address says what is open, so that Back works and a bed can be bookmarked. */
function follow() {
  let patient = "";
  try {
    patient = decodeURIComponent(location.hash.slice(1));
  } catch {
    // A mangled address opens the ward.
  }
  const row = beds.get(patient);
  const was = bedView.patient;
  if (row) {
    show(wall, false);
    mark(document.documentElement, "view", "bed");
    bedView.open(patient, row.signals);
    if (linkState === "live") refresh(row);
    else bedView.blank();
    view.patient = patient;
  } else {
    bedView.close();
    mark(document.documentElement, "view", "wall");
    show(wall, true);
    layOut();
    if (was) focusCard(cards().findIndex((root) => root.dataset.patient === was));
  }
}

function onKey(event) {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -view.columns, ArrowDown: view.columns };
  const by = moves[event.key];
  if (bedView.patient) {
    if (event.key === "Escape") leave();
    else if (event.key === "ArrowLeft" || event.key === "ArrowRight") step(by);
    return;
  }
  if (by === undefined) return;
  event.preventDefault();
  view.touchedAt = performance.now();
  const place = cards().findIndex((root) => root.contains(document.activeElement));
  focusCard(place < 0 ? 0 : place + by);
}

function press(group, key, value) {
  view[key] = value;
  for (const [id, own] of group) at(id).setAttribute("aria-pressed", String(own === value));
  view.touchedAt = -Infinity;
  rank(performance.now());
  choose();
}

function toast(text) {
  put(at("toast"), text);
  show(at("toast"), true);
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => show(at("toast"), false), 6000);
}

// ---- the link ----

function onLink(state, sinceMs) {
  linkState = state;
  mark(document.documentElement, "link", state);
  const dead = state === "dead";
  show(at("nodata"), dead);
  siren.set(dead);
  layOut();
  if (!dead) return;
  put(at("nodata-head"), `NO DATA FROM AUSCULT since ${clockText(sinceMs)}`);
  put(at("link-text"), "no data, reconnecting");
  put(at("clock"), "--:--:--");
  for (const id of ["high", "medium", "low", "unknown", "silent"]) put(at(`n-${id}`), "--");
  for (const id of ["high", "medium", "low", "technical"]) put(at(`a-${id}`), "--");
  for (const { card } of beds.values()) card.blank();
  if (bedView.patient) bedView.blank();
}

function onIdentity(ward) {
  const hash = String(ward.config_hash ?? "").slice(0, 12);
  const parts = [ward.instance, ward.build, hash && `config ${hash}`, ward.runtime];
  put(at("identity"), parts.filter(Boolean).join(" · "));
  show(at("simulated"), ward.simulated === true);
  const own = String(ward.disclaimer ?? "");
  const said = document.querySelector("#foot strong").textContent;
  put(at("disclaimer"), own);
  show(at("disclaimer"), own !== "" && !said.toLowerCase().replace(". not", "; not").includes(own.toLowerCase()));
}

// ---- the loop ----

let frameAt = performance.now();
let wallAt = 0;

function frame(now) {
  requestAnimationFrame(frame);
  const elapsed = Math.min(now - frameAt, 500);
  if (linkState !== "live") {
    frameAt = now;
    return;
  }
  if (!bedView.patient && now - wallAt < WALL_FRAME_MS) return;
  frameAt = now;
  wallAt = now;
  for (const { signals } of beds.values()) signals.clock.advance(elapsed, now);
  if (bedView.patient) bedView.draw();
  else for (const { card, signals } of beds.values()) if (card.visible) card.screen.draw(signals.clock.nowMs);
}

const touched = () => { view.touchedAt = performance.now(); };
wall.addEventListener("pointermove", touched, { passive: true });
wall.addEventListener("pointerdown", touched, { passive: true });
window.addEventListener("resize", layOut);
window.addEventListener("hashchange", follow);
document.addEventListener("keydown", onKey);
at("sound").addEventListener("click", () => siren.toggle());
for (const [group, key] of [
  [[["show-all", "all"], ["show-alerts", "alerts"]], "filter"],
  [[["by-urgency", "urgency"], ["by-bed", "bed"]], "order"],
]) {
  for (const [id, value] of group) at(id).addEventListener("click", () => press(group, key, value));
}

const feed = new Feed({
  onLink,
  onIdentity,
  onWard: (message, restarted) => {
    const first = beds.size === 0;
    onWard(message, restarted);
    if (first && beds.size > 0 && location.hash.length > 1) follow();
  },
});
feed.start();
requestAnimationFrame(frame);
