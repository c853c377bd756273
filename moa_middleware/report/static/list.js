// The list of turns: search, filters, and rows that are built as they come into view.

const PIECE = 100;
const FILTERS = ["q", "session", "preset", "model", "state", "cost", "sort"];
const list = { filters: new Map(), found: [], built: 0, at: 0, scroll: 0, body: null, more: null, told: null, sight: null };

const STATES = [
  ["", "Any outcome"],
  ["failed", "With a failure"],
  ["late", "With a late call"],
  ["clean", "Without either"],
];
const SORTS = [
  ["", "As recorded"],
  ["new", "Newest first"],
  ["slow", "Slowest first"],
  ["dear", "Dearest first"],
];

const KEYS_OF_SORTS = new Map([["new", (row) => row.at], ["slow", (row) => row.ms], ["dear", (row) => row.usd]]);

const matches = () => {
  const wanted = (key) => list.filters.get(key) || "";
  const words = wanted("q").toLowerCase().split(/\s+/).filter(Boolean);
  const place = (key, table) => (wanted(key) === "" ? -1 : table.findIndex((one) => `=${one === null ? "" : one}` === wanted(key)));
  const session = place("session", RUN.sessions);
  const preset = place("preset", RUN.presets);
  const model = place("model", RUN.models);
  const state = wanted("state");
  const least = parseFloat(wanted("cost"));
  const fits = (row) => {
    if (wanted("session") !== "" && row.s !== session) return false;
    if (wanted("preset") !== "" && row.p !== preset) return false;
    if (wanted("model") !== "" && !row.m.includes(model)) return false;
    const failed = Boolean(row.bad || row.f);
    const late = Boolean(row.l || row.w);
    if (state === "failed" && !failed) return false;
    if (state === "late" && !late) return false;
    if (state === "clean" && (failed || late)) return false;
    if (least > 0 && !(row.usd >= least)) return false;
    return words.every((word) => hay(row).includes(word));
  };
  const found = [];
  ROWS.forEach((row, at) => {
    if (fits(row)) found.push(at);
  });
  const key = KEYS_OF_SORTS.get(wanted("sort"));
  if (key) found.sort((one, other) => (key(ROWS[other]) ?? -1) - (key(ROWS[one]) ?? -1) || one - other);
  return found;
};

const rowState = (row) => {
  if (row.bad) return ["bad", "✗", row.o || "failed"];
  if (row.f) return ["bad", "✗", countedOf(row.f, row.c, "failed") + handled(row.h)];
  if (row.l) return ["warn", "~", countedOf(row.l, row.c, "late")];
  if (row.w) return ["warn", "…", countedOf(row.w, row.c, "never ended")];
  if (row.o === null || row.o === "completed") return ["good", "✓", row.o || "ended"];
  return ["warn", "!", row.o];
};

const rowOf = (at) => {
  const row = ROWS[at];
  const state = rowState(row);
  const line = el("tr", { "data-place": at, class: state[0] },
    el("td", { class: "what" },
      link(hrefOf(row), name(nameOf(row))),
      row.up === undefined ? null : el("span", { class: "chip" }, "nested"),
      el("span", { class: "ask" }, name(RUN.content ? row.q || "–" : RUN.models.length ? row.m.map((one) => RUN.models[one]).join(" · ") : ""))),
    el("td", { class: "wide" }, RUN.presets[row.p] === null ? el("span", { class: "dim" }, "–") : name(RUN.presets[row.p])),
    el("td", { class: "wide nowrap" }, moment(row.at, true)),
    el("td", { class: "mid" }, badge(...state)),
    el("td", { class: "wide num" }, datum(row.c, count(row.c))),
    el("td", { class: "num nowrap" }, datum(row.ms, span(row.ms))),
    el("td", { class: "num cost" }, datum(row.usd, price(row.cost))));
  return on(line, "click", (event) => {
    if (event.target.closest("a") || String(window.getSelection())) return;
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    line.querySelector("a").click();
  });
};

const buildMore = (upTo) => {
  const rows = [];
  const end = Math.min(list.found.length, Math.max(upTo || 0, list.built + PIECE));
  for (; list.built < end; list.built += 1) rows.push(rowOf(list.found[list.built]));
  list.body.append(...rows);
  list.more.hidden = list.built >= list.found.length;
};

const refill = () => {
  list.found = matches();
  list.built = 0;
  list.body.replaceChildren();
  buildMore();
  const all = ROWS.length;
  const some = list.found.length;
  fill(list.told, some === all ? counted(all, "turn") : `${count(some)} of ${counted(all, "turn")}`);
  list.empty.hidden = some > 0;
  if (list.at >= some) list.at = 0;
};

const listHash = () => {
  const kept = FILTERS.filter((key) => list.filters.get(key)).map((key) => [key, list.filters.get(key)]);
  return kept.length ? query(kept) : "#";
};

// Not a step of the history for each letter that is typed; who leaves before finds the filters when coming back.
let typed = 0;
const remember = () => {
  if (!typed) return;
  window.clearTimeout(typed);
  typed = 0;
  if (view === "list") window.location.replace(listHash());
};

const change = (key, value) => {
  list.filters.set(key, value);
  list.at = 0;
  list.moved = false;
  refill();
  window.clearTimeout(typed);
  typed = window.setTimeout(remember, 250);
};

const choice = (key, label, options) =>
  el("label", { class: "field" }, el("span", null, label),
    on(put(el("select", { name: key }), null, options.map(([value, words]) => {
      const one = el("option", null, words);
      one.selected = value === (list.filters.get(key) || "");
      return one;
    })), "change", (event) => change(key, options[event.target.selectedIndex][0])));

const named = (table, any, none) => [["", any], ...[...table].sort((one, other) => (one === null) - (other === null) || (one < other ? -1 : 1))
  .map((one) => [`=${one === null ? "" : one}`, one === null ? none : one])];

const figureStrip = () => {
  const all = RUN.figures.stats.total;
  const fact = (label, value, note) => el("div", null, el("dt", null, label), el("dd", null, value, note ? el("small", null, note) : null));
  const { input_tokens: read, output_tokens: said } = all.usage;
  return el("dl", { class: "strip" },
    fact("Turns", datum(all.turns, count(all.turns), "turns"), all.failed_turns ? `${count(all.failed_turns)} failed` : null),
    fact("Calls", datum(all.calls, count(all.calls), "calls"), [all.failed ? failures(all.failed, all.handled) : null, all.late ? `${count(all.late)} late` : null].filter(Boolean).join(", ")),
    fact("Tokens in", datum(read, count(read), "input_tokens")),
    fact("Tokens out", datum(said, count(said), "output_tokens")),
    fact("Cost", datum(all.cost.total_usd, price(RUN.figures.cost), "total_usd")),
    fact("Turn, median", datum(all.turn_ms.p50, span(all.turn_ms.p50), "turn_p50"), `95 %: ${span(all.turn_ms.p95)}`));
};

const problemLine = () => {
  if (!RUN.problem_counts.length) return null;
  const words = RUN.problem_counts.map(([code, word, many]) => `${code} ${word} (${count(many)})`).join(", ");
  return el("p", { class: "note warn" }, el("strong", null, "Not all could be read: "), words, " ", link("#run", "More"));
};

const contextOf = () => {
  const parts = [];
  if (RUN.begin !== null) parts.push(el("span", null, moment(RUN.begin), RUN.end !== null && RUN.end - RUN.begin > 1 ? [" to ", moment(RUN.end)] : null));
  parts.push(el("span", null, RUN.file_count === 1 && RUN.files.length ? name(RUN.files[0]) : counted(RUN.file_count, "file")));
  if (RUN.part && RUN.part[1] > 1) parts.push(el("span", null, `part ${RUN.part[0]} of ${RUN.part[1]} of its session; figures are of all parts`));
  if (!RUN.content) parts.push(el("span", { class: "chip" }, "without content"));
  if (RUN.redacted.length) parts.push(el("span", { class: "chip" }, `redacted: ${RUN.redacted.join(", ")}`));
  return el("p", { class: "context" }, parts);
};

const listView = () => {
  list.body = el("tbody");
  list.told = el("p", { class: "told", role: "status" });
  list.empty = el("p", { class: "note", hidden: true }, ROWS.length ? "No turn fits these filters." : "There are no turns in these traces.");
  list.more = button("Show more turns", () => buildMore(), { class: "more" });
  const search = on(el("input", { type: "search", id: "search", name: "q", placeholder: RUN.content ? "Name, model, beginning of question or answer" : "Name or model",
    autocomplete: "off", spellcheck: "false", "aria-keyshortcuts": "/" }), "input", (event) => change("q", event.target.value));
  search.value = list.filters.get("q") || "";
  const least = on(el("input", { type: "number", name: "cost", min: "0", step: "any", inputmode: "decimal", placeholder: "any" }), "input",
    (event) => change("cost", event.target.value));
  least.value = list.filters.get("cost") || "";
  const view = el("div", { class: "view list" },
    el("h1", { tabindex: "-1" }, name(RUN.title)),
    contextOf(), problemLine(), figureStrip(),
    el("form", { class: "filters", role: "search", "aria-label": "Turns" },
      el("label", { class: "field grow" }, el("span", null, "Search"), search),
      RUN.sessions.length > 1 ? choice("session", "Session", named(RUN.sessions, "All", "(none)")) : null,
      RUN.presets.length > 1 ? choice("preset", "Preset", named(RUN.presets, "All", "(none)")) : null,
      RUN.models.length > 1 ? choice("model", "Model", named(RUN.models, "All", "(none)")) : null,
      choice("state", "Outcome", STATES),
      el("label", { class: "field short" }, el("span", null, "Cost from, $"), least),
      choice("sort", "Order", SORTS)),
    list.told,
    el("table", { class: "turns" },
      el("caption", { class: "vh" }, "Turns; j and k move through them"),
      el("thead", null, el("tr", null, el("th", { scope: "col" }, "Turn"), el("th", { scope: "col", class: "wide" }, "Preset"),
        el("th", { scope: "col", class: "wide" }, "Began"), el("th", { scope: "col", class: "mid" }, "Outcome"), el("th", { scope: "col", class: "wide num" }, "Calls"),
        el("th", { scope: "col", class: "num" }, "Time"), el("th", { scope: "col", class: "num" }, "Cost"))),
      list.body),
    list.empty, list.more);
  on(view.querySelector("form"), "submit", (event) => event.preventDefault());
  refill();
  if (list.sight) list.sight.disconnect();
  list.sight = new IntersectionObserver((seen) => {
    if (seen.some((one) => one.isIntersecting) && !list.more.hidden) buildMore();
  }, { rootMargin: "600px" });
  list.sight.observe(list.more);
  return view;
};

const moveTo = (at) => {
  if (!list.found.length) return;
  list.at = Math.max(0, Math.min(list.found.length - 1, at));
  if (list.at >= list.built) buildMore(list.at + 1);
  const row = list.body.rows[list.at];
  row.querySelector("a").focus();
  row.scrollIntoView({ block: "nearest" });
};
