// One call of a turn: what it saw, what it said, and what became of it.

const LONG = 1400;

const roleOf = (call) => {
  if (call.kind === "aggregator") return "aggregator";
  if (call.role_source === "unknown") return "role unknown";
  return call.ref === null ? call.role || "call" : `ref ${call.ref}`;
};

const dot = (call) => el("span", { class: `dot ${colour(call)}`, "aria-hidden": "true" },
  call.ref === null ? (call.kind === "aggregator" ? "A" : "") : String(call.ref));

// A text of others; a long one is cut for the eye until it is asked for.
const prose = (text, names) => {
  const block = el("div", { class: "prose", dir: "auto", ...names }, text);
  if (text.length <= LONG) return block;
  block.classList.add("cut");
  const more = button(`Show all ${count(text.length)} characters`, () => {
    const cut = block.classList.toggle("cut");
    more.setAttribute("aria-expanded", String(!cut));
    more.textContent = cut ? `Show all ${count(text.length)} characters` : "Show less";
  }, { class: "more", "aria-expanded": "false" });
  return el("div", { class: "long" }, block, more);
};

// Details that are built when they are opened.
const folded = (words, build, names) => {
  const body = el("div", { class: "inside" });
  const made = el("details", names, el("summary", null, words), body);
  const open = () => {
    if (!body.hasChildNodes()) body.append(...[build()].flat());
  };
  made.addEventListener("toggle", () => made.open && open());
  made.build = open;
  return made;
};

const code = (words, text) => el("div", { class: "tool" }, el("p", null, name(words, { class: "mono" })),
  text === null || text === undefined ? withheld("its arguments") : el("pre", { dir: "auto" }, text));

const withheld = (what) => el("p", { class: "withheld" }, `${what}: not in this report`);

const message = (one) =>
  el("li", { class: "message" },
    el("p", { class: "role" }, name(one.role || "message")),
    one.text ? prose(one.text) : null,
    one.more.map(([kind, text]) => code(kind, text)));

const messages = (told, places) => el("ol", { class: "messages" }, places.map((place) => message(told.messages[place])));

const REASONS = new Map([["metadata", "sizes only were recorded"], ["limit", "cut when it was recorded"], ["redactor_failed", "its redaction failed"]]);
const omittedOf = (one) => one.omitted.map(([path, reason, size]) =>
  el("p", { class: "withheld" }, name(path, { class: "mono" }), ": withheld, ", REASONS.get(reason) || name(reason),
    size === null ? null : ` (${count(size)} bytes)`));

const pairs = (rows) => el("dl", { class: "pairs" }, rows.filter((row) => row[1] !== null && row[1] !== undefined && row[1] !== "")
  .map(([key, value]) => el("div", null, el("dt", null, key), el("dd", null, value))));

const tokens = (usage) => {
  const { input_tokens: read, output_tokens: said, cache_read_tokens: cached, reasoning_tokens: thought } = usage;
  if (read === null && said === null) return "unknown";
  const also = [cached ? `${count(cached)} cached` : null, thought ? `${count(thought)} reasoning` : null].filter(Boolean);
  return `${count(read)} in, ${count(said)} out${also.length ? ` (${also.join(", ")})` : ""}`;
};

const STANDINGS = { verbatim: ["good", "✓"], truncated: ["warn", "✂"], altered: ["warn", "≈"], absent: ["bad", "∅"] };

const standingOf = (call) => {
  if (call.kind !== "reference") return null;
  const [kind, mark] = STANDINGS[call.standing] || ["none", "?"];
  return badge(kind, mark, call.fidelity);
};

const priceOf = (call) => {
  if (call.source !== null && call.source !== "provider") return `answered by ${call.source}`;
  const part = call.share === null ? "" : ` · ${percent(call.share)} of the turn`;
  return call.cost === null ? "unknown" : `${call.cost}${part}`;
};

const saidOf = (call) => {
  if (!RUN.content) return call.length === null ? null : el("p", { class: "withheld" }, `said: ${counted(call.length, "character")}, not in this report`);
  const parts = [];
  if (call.refusal) parts.push(el("p", { class: "role" }, "refusal"), prose(call.refusal));
  if (call.said) parts.push(prose(call.said));
  else if (!call.refusal && !call.tools.length && !call.error) parts.push(el("p", { class: "withheld" }, "no text"));
  if (call.cites.length) parts.push(el("p", { class: "role" }, "citations"), prose(call.cites.join("\n")));
  return parts;
};

const factsOf = (call) => pairs([
  ["Model", call.model === call.name && (call.answered_by || call.model) === call.model ? null
    : [name(call.model), call.answered_by && call.answered_by !== call.model ? [" → ", name(call.answered_by)] : null]],
  ["Time", [datum(call.ms, span(call.ms)), call.first === null ? null : `, first chunk after ${span(call.first)}`]],
  ["Tokens", tokens(call.usage)],
  ["Cost", name(priceOf(call))],
  ["Ended", call.finish === null ? null : name(call.finish)],
  ["Error", call.fault.length ? name(call.fault.join(" ")) : null],
  ["Served by", call.served.length ? name(call.served.join(" · ")) : null],
  ["Reached the aggregator", standingOf(call)],
  ["In the answer", call.covered === null || call.covered === undefined ? null : `${percent(call.covered)}, ${percent(call.unique)} only here`],
]);

const restOf = (call) => pairs([
  ["Call", call.id === null ? null : name(call.id, { class: "mono" })],
  ["Inside call", call.parent === null ? null : name(call.parent, { class: "mono" })],
  ["Role", [name(call.role), call.role_source === null ? null : [", ", name(call.role_source)]]],
  ["Layer", call.layer],
  ["Attempt", call.attempt],
  ["Provider", call.provider === null ? null : name(call.provider)],
  ["Endpoint", call.endpoint === null ? null : name(call.endpoint, { class: "mono" })],
  ["Chunks", call.chunks === null ? null : count(call.chunks)],
  ["Waited for", call.slack === null ? null : call.slack < 1 ? "yes" : `could have taken ${span(call.slack)} longer`],
  ...call.params.map(([key, value]) => [name(key, { class: "mono" }), value === null ? "not in this report" : name(value, { class: "mono" })]),
  ["Not recorded", call.params_omitted.length ? name(call.params_omitted.join(", "), { class: "mono" }) : null],
]);

const callCard = (told, call) => {
  const state = stateOf(call);
  const id = `call-${told.calls.indexOf(call)}`;
  return el("article", { class: `call ${colour(call)}`, "aria-labelledby": id },
    el("header", null,
      el("h3", { id }, dot(call), el("span", { class: "kind" }, name(roleOf(call))), " ", name(call.name)),
      badge(state[0], state[1], name(state[2]))),
    call.error ? el("p", { class: "error" }, name(call.error[0], { class: "mono" }), call.error[1] === null ? null : [": ", name(call.error[1])]) : null,
    factsOf(call),
    saidOf(call),
    omittedOf(call),
    call.reasoning ? folded("Reasoning", () => prose(call.reasoning)) : null,
    call.tools.length ? folded(counted(call.tools.length, "tool call"), () => call.tools.map(([what, given]) => code(what, given)), { open: call.tools.length < 4 }) : null,
    call.choices.length > 1 ? folded(counted(call.choices.length, "choice"), () => call.choices.map((one, at) => code(`choice ${at}`, one))) : null,
    call.parts.length ? folded(counted(call.parts.length, "part"), () => call.parts.map((one, at) => code(`part ${at}`, one))) : null,
    call.raw ? folded("Reply as it came", () => el("pre", { dir: "auto" }, call.raw)) : null,
    call.saw && call.saw.length ? folded(`Saw ${counted(call.saw.length, "message")}`, () => messages(told, call.saw)) : null,
    folded("More of this call", () => restOf(call)));
};
