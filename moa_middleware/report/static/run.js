// The page of the run as a whole.

const modelTable = () => {
  const { rows, total } = RUN.figures.stats;
  const most = Math.max(0, ...rows.map((row) => row.call_ms.p95 || 0));
  const line = (row, words, cost, kind) => el("tr", { class: kind, "data-model": kind ? null : row.key === null ? "" : row.key },
    el("th", { scope: "row" }, words),
    el("td", { class: "num" }, datum(row.calls, count(row.calls), "calls")),
    el("td", { class: `num ${row.failed ? "bad" : ""}` }, datum(row.failed, row.failed ? `${count(row.failed)}${row.failed > row.calls ? "" : ` (${percent(row.failed / row.calls)})`}` : "0", "failed"), row.handled ? el("small", null, `${count(row.handled)} handled`) : null),
    el("td", { class: "num" }, datum(row.late, count(row.late), "late")),
    el("td", { class: "num" }, datum(row.usage.input_tokens, count(row.usage.input_tokens), "input_tokens")),
    el("td", { class: "num" }, datum(row.usage.output_tokens, count(row.usage.output_tokens), "output_tokens")),
    el("td", { class: "num" }, datum(row.cost.total_usd, price(cost), "total_usd")),
    el("td", { class: "num nowrap" }, datum(row.call_ms.p50, span(row.call_ms.p50), "p50")),
    el("td", { class: "num nowrap" }, datum(row.call_ms.p95, span(row.call_ms.p95), "p95")),
    el("td", { class: "bars" }, kind ? null : dots(row.call_ms.p50, row.call_ms.p95, most)));
  const heads = ["Model", "Calls", "Failed", "Late", "Tokens in", "Tokens out", "Cost", "P50", "P95"];
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Figures by model" },
    el("table", { class: "figures models" },
      el("caption", { class: "vh" }, "Figures by model"),
      el("thead", null, el("tr", null, heads.map((head, at) => el("th", { scope: "col", class: at ? "num" : null }, head)),
        el("th", { scope: "col", class: "bars" }, el("span", { class: "scale" }, el("span", null, "0"), el("span", null, span(most)))))),
      el("tbody", null, rows.map((row, at) => line(row, name(row.key), RUN.figures.costs[at], null))),
      el("tfoot", null, line(total, "All", RUN.figures.cost, "total"))));
};

const costBars = () => {
  const { rows, total } = RUN.figures.stats;
  if (!total.cost.total_usd) return null;
  const known = rows.filter((row) => row.cost.total_usd).sort((one, other) => other.cost.total_usd - one.cost.total_usd);
  return section("Where the money goes",
    el("table", { class: "stack money" }, el("caption", { class: "vh" }, "Cost by model"), el("tbody", null, known.map((row) => el("tr", null,
      el("th", { scope: "row" }, name(row.key)),
      el("td", { class: "bars" }, stacked([["agg", row.cost.total_usd / total.cost.total_usd]])),
      el("td", { class: "num nowrap" }, percent(row.cost.total_usd / total.cost.total_usd)))))),
    total.cost.unpriced > total.cost.estimated ? el("p", { class: "dim" }, `${counted(total.cost.unpriced - total.cost.estimated, "call")} without a known price: the cost is ${RUN.figures.cost}.`) : null);
};

const problems = () => {
  if (!RUN.problem_counts.length) return section("Problems", el("p", null, badge("good", "✓", "nothing is wrong with the lines")));
  const many = RUN.problem_counts.reduce((sum, [, , one]) => sum + one, 0);
  return section("Problems",
    el("p", null, RUN.problem_counts.map(([id, word, times]) => badge("warn", "!", `${id} ${word}: ${count(times)}`)), " ", RUN.kind === "session" ? "They are of all sessions; the index names them." : null),
    RUN.problems.length ? el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Problems" },
      el("table", { class: "figures" }, el("caption", { class: "vh" }, "Problems"),
        el("thead", null, el("tr", null, ["Code", "Where", "What"].map((head) => el("th", { scope: "col" }, head)))),
        el("tbody", null, RUN.problems.map((one) => el("tr", null,
          el("th", { scope: "row", class: "nowrap" }, `${one.code} ${one.name}`),
          el("td", { class: "mono" }, name(`${one.file.split(/[\\/]/).pop()}${one.line === null ? "" : `:${one.line}`}`)),
          el("td", null, name(one.message), one.turn_id !== null && placeOf(one.turn_id) !== undefined ? [" ", link(hrefOf(ROWS[placeOf(one.turn_id)]), "turn")] : null)))))) : null,
    many > RUN.problems.length && RUN.problems.length ? el("p", { class: "dim" }, `${count(many - RUN.problems.length)} more; moa verify names them.`) : null);
};

const runView = () => {
  const all = RUN.figures.stats.total;
  return el("div", { class: "view run" },
    el("h1", { tabindex: "-1" }, "The run"),
    contextOf(), figureStrip(),
    section("Models", modelTable(), el("p", { class: "dim" }, "Time of a call: ", el("span", { class: "key p50" }), " median, ", el("span", { class: "key p95" }),
      " 95th percentile, both nearest ranks, failed calls among them. Figures are those of moa stats.")),
    costBars(),
    RUN.grid.names.length > 1 ? section("How alike references are",
      gridOf("Pairs of neighbouring words that two references share, mean over turns", RUN.grid.names, RUN.grid.cells),
      el("p", { class: "dim" }, "High where two models say the same in the same words; low where they differ, in words at least.",
        RUN.grid.left_out ? ` ${counted(RUN.grid.left_out, "rarer reference")} left out.` : "")) : null,
    section("Turns", pairs([
      ["Turns", datum(all.turns, count(all.turns), "turns")],
      ["Failed", datum(all.failed_turns, count(all.failed_turns), "failed_turns")],
      ["Never ended", all.pending ? counted(all.pending, "call") : null],
      ["Time, median", datum(all.turn_ms.p50, span(all.turn_ms.p50), "turn_p50")],
      ["Time, 95th percentile", datum(all.turn_ms.p95, span(all.turn_ms.p95), "turn_p95")],
      ["Time, longest", datum(all.turn_ms.longest, span(all.turn_ms.longest), "turn_longest")],
      ["First chunk, median", datum(all.first_chunk_ms.p50, span(all.first_chunk_ms.p50), "first_p50")],
    ])),
    problems(),
    RUN.files.length ? section("Files", el("ul", { class: "files" }, RUN.files.map((one) => el("li", null, name(one, { class: "mono" }))),
      RUN.file_count > RUN.files.length ? el("li", null, `and ${count(RUN.file_count - RUN.files.length)} more`) : null)) : null);
};
