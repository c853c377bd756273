// The run, the rows of its list, and each turn when it is asked for.

const RUN = JSON.parse(byId("run").textContent);
const ROWS = RUN.rows;
// An address cannot hold half a character, which an id may have.
const wellFormed = (text) => text.replace(/[\ud800-\udfff]/gu, "\ufffd");
const PLACES = new Map(ROWS.map((row, place) => [wellFormed(row.id), place]));
const placeOf = (id) => PLACES.get(wellFormed(id));
const INSIDE = new Map();
ROWS.forEach((row, place) => {
  if (row.up === undefined) return;
  if (!INSIDE.has(row.up)) INSIDE.set(row.up, []);
  INSIDE.get(row.up).push(place);
});
const ELSEWHERE = new Map(Object.entries(RUN.elsewhere || {}));

const query = (pairs) => `#${new URLSearchParams(pairs)}`;
const sessionOf = (row) => RUN.sessions[row.s];
const titled = (session, number) => `${session === null ? "unknown-session" : session}#${number}`;
const nameOf = (row) => titled(sessionOf(row), row.n);
const fileOf = (file) => encodeURIComponent(file);
const hrefOf = (row) => (row.pg === undefined ? "" : fileOf(RUN.pages[row.pg])) + query({ t: row.id });

const hay = (row) => {
  if (row.hay === undefined) {
    const models = row.m.map((place) => RUN.models[place]);
    const words = [nameOf(row), row.id, RUN.presets[row.p] || "", row.o || "", ...models, row.q || "", row.a || ""];
    row.hay = words.join("\n").toLowerCase();
  }
  return row.hay;
};

// An element is whole when something stands behind it, or nothing comes any more.
const hasCome = (place) => {
  const node = byId(`turn-${place}`);
  return node !== null && (node.nextSibling !== null || document.readyState !== "loading");
};

// The turn at a place; null while its element has not arrived yet.
let last = [-1, null];
const turnAt = (place) => {
  if (last[0] !== place) {
    if (!hasCome(place)) return null;
    const node = byId(`turn-${place}`);
    last = [place, JSON.parse(node.textContent)];
  }
  return last[1];
};

// Turns around and inside one, as links: on this page or on another one of a split report.
const familyOf = (row) => {
  const here = (id) => {
    const place = placeOf(id);
    if (place !== undefined) return link(hrefOf(ROWS[place]), name(nameOf(ROWS[place])));
    const there = ELSEWHERE.get(id);
    return there === undefined ? null : link(fileOf(there[0]) + query({ t: id }), name(titled(there[1], there[2])));
  };
  const ids = new Set(row.in || []);
  for (const place of INSIDE.get(row.id) || []) ids.add(ROWS[place].id);
  for (const [id, there] of ELSEWHERE) if (there[3] === row.id) ids.add(id);
  return { parent: row.up === undefined ? null : here(row.up) || el("span", null, "not in this report"),
    children: [...ids].map(here).filter((one) => one !== null) };
};
