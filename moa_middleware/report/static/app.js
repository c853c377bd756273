// Addresses, keys, theme: which view is shown, and what moves it.

const THEMES = ["auto", "light", "dark"];
const STORED = "moa-report-theme";
const main = byId("main");
let view = "";
let wanted = null;

const goTo = (hash) => {
  remember();
  window.location.hash = hash;
};

const show = (kind, node, title, focus) => {
  if (view === "list") list.scroll = window.scrollY;
  view = kind;
  main.replaceChildren(node);
  document.title = plain(title);
  for (const one of byId("views").querySelectorAll("a")) {
    if (one.dataset.view === kind) one.setAttribute("aria-current", "page");
    else one.removeAttribute("aria-current");
  }
  if (focus) {
    window.scrollTo(0, 0);
    const head = node.querySelector("h1");
    if (head) head.focus({ preventScroll: true });
  }
};

const missing = (id) => el("div", { class: "view" }, el("h1", { tabindex: "-1" }, "No such turn"),
  el("p", null, "This report has no turn ", name(id, { class: "mono" }), "."), el("p", null, link("#", "All turns")));

const listFrom = (params) => {
  const same = FILTERS.every((key) => (params.get(key) || "") === (list.filters.get(key) || ""));
  if (view === "list" && same) return;
  const back = view !== "" && view !== "list" && same;
  for (const key of FILTERS) list.filters.set(key, params.get(key) || "");
  const open = list.open;
  const top = list.scroll;
  const built = list.built;
  show("list", listView(), RUN.title, view !== "" && !back);
  if (back) {
    if (built > list.built) buildMore(built);
    window.scrollTo(0, top);
    const at = list.found.indexOf(open);
    if (at >= 0 && at < list.built) list.body.rows[at].querySelector("a").focus({ preventScroll: true });
    if (at >= 0) list.at = at;
  }
};

const route = () => {
  const hash = window.location.hash.slice(1);
  const params = new URLSearchParams(hash);
  const first = view === "";
  wanted = null;
  if (hash === "main" && !first) return;
  if (params.has("t")) {
    const id = params.get("t");
    const place = placeOf(id);
    if (place === undefined && document.readyState === "complete") list.open = -1;
    if (place !== undefined && ROWS[place].pg !== undefined) {
      window.location.replace(hrefOf(ROWS[place]));
      return;
    }
    if (first) list.found = matches();
    list.open = place;
    if (place !== undefined && !hasCome(place)) wanted = place;
    show("turn", place === undefined ? missing(id) : turnView(place), place === undefined ? RUN.title : `${nameOf(ROWS[place])} · ${RUN.title}`, !first);
  } else if (hash === "run") {
    show("run", runView(), `The run · ${RUN.title}`, !first);
  } else listFrom(params);
};

const arrived = () => {
  if (wanted !== null) route();
};

// Theme ----------------------------------------------------------------------------------------

const stored = () => {
  try {
    return window.localStorage.getItem(STORED);
  } catch {
    return null; // a page from a disk, or in a frame, may have no storage
  }
};

const themeButton = button("", () => setTheme(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]), { class: "quiet", id: "theme", "aria-keyshortcuts": "t" });
let theme = "auto";

const setTheme = (to) => {
  theme = THEMES.includes(to) ? to : "auto";
  if (theme === "auto") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.setAttribute("data-theme", theme);
  fill(themeButton, el("span", { class: "more-words" }, "Theme: "), theme);
  try {
    window.localStorage.setItem(STORED, theme);
  } catch {
    // it holds for this page
  }
};

// Keys -----------------------------------------------------------------------------------------

const KEYS = [
  ["j, k", "next and previous turn, in the list and on a turn's page"],
  ["↓, ↑", "the same, while a turn of the list has the focus"],
  ["Enter", "open the turn"],
  ["/", "search"],
  ["r", "the run as a whole"],
  ["l, Esc", "back to the list"],
  ["t", "theme: auto, light, dark"],
  ["?", "this help"],
];

const help = el("dialog", { id: "help", "aria-labelledby": "help-title" },
  el("h2", { id: "help-title" }, "Keys"),
  el("dl", { class: "pairs" }, KEYS.map(([key, words]) => el("div", null, el("dt", null, key.split(", ").map((one, at) => [at ? " " : "", el("kbd", null, one)])), el("dd", null, words)))),
  button("Close", () => help.close(), { class: "more" }));

const step = (by) => {
  if (view === "list") {
    const inside = list.body.contains(document.activeElement);
    const row = inside ? document.activeElement.closest("tr") : null;
    moveTo(row ? row.sectionRowIndex + by : list.at + (list.moved ? by : 0));
    list.moved = true;
    return;
  }
  if (view !== "turn") return;
  const target = list.found[list.found.indexOf(list.open) + by];
  if (target !== undefined && list.found.includes(list.open)) goTo(hrefOf(ROWS[target]));
};

const toSearch = () => {
  if (view !== "list") goTo(listHash());
  window.setTimeout(() => byId("search") && byId("search").focus(), 0);
};

const ACTIONS = new Map([
  ["j", () => step(1)], ["k", () => step(-1)], ["/", toSearch], ["r", () => goTo("#run")], ["l", () => goTo(listHash())],
  ["t", () => themeButton.click()], ["?", () => help.showModal()],
]);

const pressed = (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  const typing = event.target.closest("input, select, textarea");
  if (event.key === "Escape") {
    if (typing) typing.blur();
    else if (view !== "list") goTo(listHash());
    return;
  }
  if (typing) return;
  const arrow = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (arrow && view === "list" && list.body.contains(document.activeElement)) {
    event.preventDefault();
    step(arrow);
    return;
  }
  const act = ACTIONS.get(event.key);
  if (act) {
    event.preventDefault();
    act();
  }
};

// Printing shows what is folded.
let unfolded = [];
const unfold = () => {
  for (const one of main.querySelectorAll("details")) if (one.build) one.build();
  unfolded = [...main.querySelectorAll("details:not([open])")];
  for (const one of unfolded) one.open = true;
};

const start = () => {
  fill(byId("brand"), RUN.kind === "session" ? link("index.html", "All sessions") : null, el("a", { href: "#", class: "home" }, name(RUN.title)));
  const tab = (href, words, kind) => el("a", { href, "data-view": kind }, words);
  fill(byId("views"), tab("#", "Turns", "list"), tab("#run", "Run", "run"));
  fill(byId("tools"), themeButton, button("?", () => help.showModal(), { class: "quiet", "aria-label": "Keys and help", id: "help-button" }));
  fill(byId("foot"), el("p", null, "Made by moa_middleware, ", moment(RUN.made), ". The data stands in this file; nothing is loaded from elsewhere."));
  document.body.append(help);
  setTheme(stored());
  on(byId("skip"), "click", (event) => {
    event.preventDefault();
    main.focus();
  });
  on(window, "hashchange", route);
  document.addEventListener("click", remember, true); // before a link is followed
  on(window, "keydown", pressed);
  on(window, "beforeprint", unfold);
  on(window, "afterprint", () => {
    for (const one of unfolded) one.open = false;
  });
  on(document, "DOMContentLoaded", arrived);
  window.history.scrollRestoration = "manual";
  route();
};

start();
