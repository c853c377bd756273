// Elements, and the one gate for text: nothing here or elsewhere reads markup out of a string.

const UNSEEN =
  /[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\u{e0000}-\u{e007f}\ud800-\udfff]/gu;
const SVG = "http://www.w3.org/2000/svg";
const SAFE_LINK = /^(#|(index|session-[^/:?#]*)\.html(#|$))/;

const escapeOf = (char) => {
  const code = char.codePointAt(0);
  if (code <= 0xff) return `\\x${code.toString(16).padStart(2, "0")}`;
  return code <= 0xffff ? `\\u${code.toString(16).padStart(4, "0")}` : `\\U${code.toString(16).padStart(8, "0")}`;
};

// What cannot be seen, or turns the reading direction, is shown as an escape.
const plain = (text) => String(text).replace(/\r\n/g, "\n").replace(UNSEEN, escapeOf);

const shown = (text) => {
  const whole = String(text).replace(/\r\n/g, "\n");
  const pieces = document.createDocumentFragment();
  let last = 0;
  for (const found of whole.matchAll(UNSEEN)) {
    if (found.index > last) pieces.append(whole.slice(last, found.index));
    const mark = document.createElement("span");
    mark.className = "unseen";
    mark.textContent = escapeOf(found[0]);
    pieces.append(mark);
    last = found.index + found[0].length;
  }
  pieces.append(whole.slice(last));
  return pieces;
};

const put = (node, names, children) => {
  for (const [name, value] of Object.entries(names || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (/^(on|style$|src)/i.test(name)) throw new Error(`no attribute ${name}`);
    if (name === "href" && !SAFE_LINK.test(value)) continue;
    node.setAttribute(name, value === true ? "" : plain(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : shown(child));
  }
  return node;
};

const el = (tag, names, ...children) => put(document.createElement(tag), names, children);
const svg = (tag, names, ...children) => put(document.createElementNS(SVG, tag), names, children);
const byId = (id) => document.getElementById(id);
const fill = (node, ...children) => put((node.replaceChildren(), node), null, children);

// Text of others beside ours: its reading direction stays inside.
const name = (text, names) => el("bdi", names, text === null || text === undefined ? "?" : text);
const hidden = (text) => el("span", { class: "vh" }, text);

const on = (node, event, run) => {
  node.addEventListener(event, run);
  return node;
};
const button = (label, run, names) => on(el("button", { type: "button", ...names }, label), "click", run);
const link = (href, ...children) => el("a", { href }, ...children);

// A figure, with its exact value for programs that read the page.
const datum = (value, words, key) =>
  el("data", { value: value === null || value === undefined ? "" : String(value), "data-figure": key }, words);

// More than 2^53 comes as a text, since a number would be another one.
const count = (value) => {
  if (value === null || value === undefined) return "?";
  return (typeof value === "string" ? BigInt(value) : Number(value)).toLocaleString("en-US");
};
const counted = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
const percent = (part) => (part === null || part === undefined ? "–" : `${Math.round(100 * part)} %`);

// Parts of one whole, rounded so that they add up to 100 % (largest remainders).
const percents = (parts) => {
  const floors = parts.map((part) => Math.floor(100 * part + 1e-9));
  const missing = Math.round(parts.reduce((sum, part) => sum + 100 * part, 0)) - floors.reduce((sum, one) => sum + one, 0);
  const order = parts.map((part, at) => [100 * part - floors[at], at]).sort((one, other) => other[0] - one[0] || one[1] - other[1]);
  for (const [, at] of order.slice(0, Math.max(0, missing))) floors[at] += 1;
  return floors.map((one) => `${one} %`);
};

// Of calls that failed, those whose function caught the error and went on.
const handled = (some) => (some ? `, ${count(some)} handled` : "");
const failures = (some, caught) => `${count(some)} failed${handled(caught)}`;
// How many of them; refusals by a middleware are failures that asked no model, and part of nothing.
const countedOf = (some, all, words) => (some > all ? `${count(some)} ${words}` : `${count(some)} of ${count(all)} ${words}`);

// `>= $0.0380 (1 unpriced)`: what is known, and below it how much is not.
const price = (words) => {
  const [known, , rest] = words.split(/( \()/);
  return rest === undefined ? words : [el("span", { class: "nowrap" }, known), " ", el("small", null, `(${rest}`)];
};

const two = (value) => String(value).padStart(2, "0");

// A duration in the words of `moa show`.
const span = (ms) => {
  if (ms === null || ms === undefined) return "?";
  const size = Math.abs(ms);
  if (size < 999.5) return size > 0 && size < 1 ? `${Number(ms.toPrecision(1))} ms` : `${Math.round(ms)} ms`;
  if (size < 59950) return `${(ms / 1000).toFixed(1)} s`;
  const sign = ms < 0 ? "-" : "";
  if (size < 3600000 - 500) {
    const seconds = Math.round(size / 1000);
    return `${sign}${Math.floor(seconds / 60)} m ${two(seconds % 60)} s`;
  }
  const minutes = Math.round(size / 60000);
  const hours = Math.floor(minutes / 60);
  if (hours >= 48) return `${sign}${count(Math.floor(hours / 24))} d ${hours % 24} h`;
  return `${sign}${count(hours)} h ${two(minutes % 60)} m`;
};

const moment = (at, short) => {
  const date = new Date(at === null || at === undefined ? NaN : 1000 * at);
  if (Number.isNaN(date.getTime())) return el("span", null, "?");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  const iso = date.toISOString();
  return el("time", { datetime: iso, title: iso }, short ? `${day.slice(5)} ${time}` : `${day} ${time}`);
};

const stateOf = (call) => {
  if (call.failed) return ["bad", "✗", ["failed", call.handled ? "handled" : null, call.late ? "late" : null].filter(Boolean).join(", ")];
  if (call.pending) return ["warn", "…", "never ended"];
  if (call.late) return ["warn", "~", "late"];
  if (call.outcome === null || call.outcome === "completed") return ["good", "✓", call.outcome || "ended"];
  return ["warn", "!", call.outcome];
};

const badge = (kind, mark, words) =>
  el("span", { class: `badge ${kind}` }, el("span", { "aria-hidden": "true" }, mark), " ", words);
