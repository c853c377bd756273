// The page of one turn.

const crumb = (place) => {
  const at = list.found.indexOf(place);
  const step = (to, words, key) => {
    const target = at < 0 ? undefined : list.found[to];
    return target === undefined ? el("span", { class: "step off" }, words)
      : el("a", { class: "step", href: hrefOf(ROWS[target]), "aria-keyshortcuts": key }, words);
  };
  return el("nav", { class: "crumb", "aria-label": "Turns" },
    el("a", { href: listHash(), class: "step" }, "← All turns"),
    el("span", { class: "grow" }),
    step(at - 1, "Previous", "k"), step(at + 1, "Next", "j"));
};

const turnHead = (row, told) => {
  const kin = familyOf(row);
  const state = rowState(row);
  const permalink = button("Copy link", async () => {
    try {
      await navigator.clipboard.writeText(window.location.href);
      permalink.textContent = "Copied";
    } catch {
      permalink.textContent = "Copy it from the address bar";
    }
    window.setTimeout(() => { permalink.textContent = "Copy link"; }, 2000);
  }, { class: "quiet" });
  return [
    el("div", { class: "headline" }, el("h1", { tabindex: "-1" }, name(nameOf(row))), badge(state[0], state[1], name(state[2])), permalink),
    el("p", { class: "context" }, el("span", null, moment(row.at)),
      RUN.presets[row.p] === null ? null : el("span", null, "preset ", name(RUN.presets[row.p])),
      el("span", { class: "mono" }, name(row.id))),
    kin.parent ? el("p", { class: "kin" }, "Inside ", kin.parent) : null,
    kin.children.length ? el("p", { class: "kin" }, "Around ", kin.children.map((one, at) => [at ? ", " : "", one])) : null,
    told.error ? el("p", { class: "error" }, name(told.error[0], { class: "mono" }), told.error[1] === null ? null : [": ", name(told.error[1])]) : null,
    omittedOf(told),
    el("dl", { class: "strip" },
      [["Time", datum(told.ms, span(told.ms))], ["Calls", [count(row.c), row.f ? el("small", null, failures(row.f, row.h)) : null]],
        ["Tokens in", datum(told.usage.input_tokens, count(told.usage.input_tokens))], ["Tokens out", datum(told.usage.output_tokens, count(told.usage.output_tokens))],
        ["Cost", datum(told.cost.usd, price(told.cost.text))]].map(([key, value]) => el("div", null, el("dt", null, key), el("dd", null, value)))),
  ];
};

const question = (told) => {
  if (told.asked === null || !told.asked.length) return null;
  const last = told.asked[told.asked.length - 1];
  const before = told.asked.slice(0, -1);
  return section("Question",
    before.length ? folded(`${counted(before.length, "message")} before`, () => messages(told, before)) : null,
    el("ol", { class: "messages" }, message(told.messages[last])));
};

const section = (title, ...children) => {
  const id = `s-${title.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  return el("section", { "aria-labelledby": id }, el("h2", { id }, title), children);
};

// The answer, each piece marked by the references in which its words stand.
const answer = (told) => {
  if (told.answer === null) {
    return section("Answer", el("p", { class: "withheld" }, "the answer: not in this report"), coverage(told));
  }
  if (!told.answer.length) return null;
  const pieces = told.answer.map(([text, refs]) => {
    if (!refs.length) return text;
    const kind = refs.length > 1 ? "several" : `r${refs[0] % 6}`;
    return el("mark", { class: kind }, el("span", { class: "tag" }, hidden("[ref "), refs.join(" "), hidden("] ")), text);
  });
  return section("Answer", el("div", { class: "prose answer", dir: "auto" }, pieces), coverage(told));
};

const coverage = (told) => {
  const references = told.calls.filter((call) => call.ref !== null && call.covered !== null);
  if (told.overlap.novel === null || !references.length) return null;
  const { novel, shared, unit, size } = told.overlap;
  const parts = percents([...references.map((call) => call.unique), shared, novel]);
  return el("div", { class: "legend" },
    el("p", { class: "dim" }, `Of the ${unit} of the answer, those that stand`),
    el("ul", null,
      references.map((call, at) => el("li", null, "only in ", el("mark", { class: `r${call.ref % 6}` }, el("span", { class: "tag" }, String(call.ref)), name(call.name)), ` ${parts[at]}`)),
      references.length < 2 ? null : el("li", null, "in ", el("mark", { class: "several" }, el("span", { class: "tag" }, "n n"), "several"), ` ${parts[references.length]}`),
      el("li", null, "in no reference ", parts[references.length + 1])),
    el("p", { class: "dim" }, `In runs of ${size} ${unit}, and lexical: the same words say nothing of influence.`));
};

const timeline = (told) => {
  const calls = told.calls.filter((call) => call.row !== null).sort((one, other) => one.row - other.row);
  if (!calls.length) return section("Timeline", el("p", { class: "withheld" }, "no calls are told"));
  if (calls.every((call) => call.start === null)) return section("Timeline", el("p", { class: "withheld" }, "this trace tells no times"));
  const end = Math.max(told.ms || 0, ...calls.map((call) => call.end ?? 0)) || 1;
  const aggregator = calls.find((call) => call.kind === "aggregator");
  const marks = [];
  if (aggregator && aggregator.start !== null) marks.push(["ready", aggregator.start]);
  if (told.ms !== null && told.ms < 0.995 * end) marks.push(["closed", told.ms]);
  const line = (call) => {
    const state = stateOf(call);
    const notes = [call.critical ? "critical path" : null, state[0] === "good" ? null : state[2]].filter(Boolean).join(", ");
    return el("tr", null,
      el("th", { scope: "row" }, "\u21b3 ".repeat(call.depth), dot(call), name(call.name), notes ? el("span", { class: `narrow notes ${state[0]}` }, name(notes)) : null),
      el("td", { class: "bars" }, bar(call, end, marks)),
      el("td", { class: "num nowrap" }, hidden("began after "), el("span", { class: "vh" }, `${span(call.start)}, took `), span(call.ms)),
      el("td", { class: `notes ${state[0]}` }, name(notes)));
  };
  return section("Timeline",
    el("table", { class: "timeline" },
      el("caption", { class: "vh" }, `When each call ran, on a scale of ${span(end)}`),
      el("thead", null, el("tr", null, el("th", { scope: "col" }, "Call"),
        el("th", { scope: "col" }, el("span", { class: "scale" }, el("span", null, "0"), el("span", null, span(end)))),
        el("th", { scope: "col", class: "num" }, "Time"), el("th", { scope: "col" }, hidden("Notes")))),
      el("tbody", null, calls.map(line))),
    el("ul", { class: "keys", "aria-hidden": "true" },
      [["wait", "until the first chunk"], ["critical", "critical path"], ["failed", "failed"], ["late", "late or never ended"], ["ready", "aggregator begins"],
        marks.some(([kind]) => kind === "closed") ? ["closed", "turn closed"] : null].filter(Boolean)
        .map(([kind, words]) => el("li", null, el("span", { class: `key ${kind}` }), words))));
};

const shares = (told) => {
  const calls = told.calls.filter((call) => call.asked && (call.source === null || call.source === "provider"));
  if (!calls.length) return null;
  const sum = (of) => calls.reduce((total, call) => total + (of(call) || 0), 0);
  const used = (call) => Number(call.usage.input_tokens || 0) + Number(call.usage.cache_read_tokens || 0) + Number(call.usage.output_tokens || 0);
  const all = sum(used);
  const tells = (call) => call.usage.input_tokens !== null || call.usage.output_tokens !== null;
  const part = (call) => (all && tells(call) ? used(call) / all : null);
  const silent = calls.filter((call) => !tells(call)).length;
  const row = (words, of) => el("tr", null, el("th", { scope: "row" }, words),
    el("td", { class: "bars" }, stacked(calls.map((call) => [colour(call), of(call) || 0]))));
  const unknown = told.cost.unpriced ? ` The prices of ${counted(told.cost.unpriced, "call")} are not known; shares are of what is.` : "";
  const untold = all && silent ? ` ${counted(silent, "call")} told no tokens.` : "";
  return section("Shares",
    el("table", { class: "stack" }, el("caption", { class: "vh" }, "Cost and tokens by call"), el("tbody", null,
      told.cost.usd ? row("Cost", (call) => call.share) : null, all ? row("Tokens", part) : null)),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Cost and tokens of each call" },
      el("table", { class: "figures" },
        el("caption", { class: "vh" }, "Cost and tokens of each call"),
        el("thead", null, el("tr", null, ["Call", "In", "Cached", "Out", "Reasoning", "Tokens", "Cost", "Share"].map((head, at) => el("th", { scope: "col", class: at ? "num" : null }, head)))),
        el("tbody", null, calls.map((call) => el("tr", null, el("th", { scope: "row" }, dot(call), name(call.name)),
          [count(call.usage.input_tokens), count(call.usage.cache_read_tokens), count(call.usage.output_tokens), count(call.usage.reasoning_tokens), percent(part(call)),
            call.cost === null ? "unknown" : call.cost, percent(call.share)].map((cell) => el("td", { class: "num" }, cell))))))),
    unknown || untold ? el("p", { class: "dim" }, `${unknown}${untold}`.trim()) : null);
};

const likeness = (told) => {
  const references = told.calls.filter((call) => call.ref !== null).sort((one, other) => one.ref - other.ref);
  if (references.length < 2) return null;
  const more = references.length - told.alike.length;
  return section("How alike the references are",
    gridOf("Pairs of neighbouring words that two references share", references.slice(0, told.alike.length).map((call) => `${call.ref} ${call.name}`),
      told.alike.map((row) => row.map((cell) => (cell === null ? null : [cell, null])))),
    more > 0 ? el("p", { class: "dim" }, `${counted(more, "further reference")} left out.`) : null);
};

const turnView = (place) => {
  const row = ROWS[place];
  const told = turnAt(place);
  if (told === null) return el("div", { class: "view" }, el("h1", { tabindex: "-1" }, name(nameOf(row))), el("p", { class: "note", role: "status" }, "This turn is still being loaded."));
  const references = told.calls.filter((call) => call.kind === "reference");
  const others = told.calls.filter((call) => call.kind === "call");
  const aggregators = told.calls.filter((call) => call.kind === "aggregator");
  return el("div", { class: "view turn" },
    crumb(place), turnHead(row, told), question(told), answer(told), timeline(told),
    references.length + aggregators.length ? section(references.length ? "References and aggregator" : "Aggregator",
      el("div", { class: references.length && aggregators.length ? "beside both" : "beside" },
        references.length ? el("div", { class: "columns" }, references.map((call) => callCard(told, call))) : null,
        aggregators.map((call) => callCard(told, call)))) : null,
    others.length ? section("Further calls", el("div", { class: "columns" }, others.map((call) => callCard(told, call)))) : null,
    shares(told), likeness(told),
    section("Record", pairs([
      ["File", [name(told.place[0], { class: "mono" }), `, line ${count(told.place[1])}`]],
      ["Schema", told.schema === null ? "none" : name(told.schema)],
      ["Opened by a single call", told.implicit ? "yes" : null],
      ["Faults of the tracing", told.faults ? count(told.faults) : null],
      ...told.tags.map(([key, value]) => [["tag ", name(key)], value === null ? "not in this report" : name(value)]),
      ...told.notes.map(([key, value]) => [["note ", name(key)], value === null ? "not in this report" : name(value, { class: "mono" })]),
      ...told.params.map(([key, value]) => [name(key, { class: "mono" }), value === null ? "not in this report" : name(value, { class: "mono" })]),
      ...told.writer.filter(([, value]) => value !== "null").map(([key, value]) => [`Writer's ${key}`, name(value)]),
      ...told.trace.map(([key, value]) => [name(key), name(value, { class: "mono" })]),
    ])));
};
