// Pictures: SVG made element by element. Each stands beside its figures as text, and is hidden from screen readers.

const colour = (call) => (call.kind === "aggregator" ? "agg" : call.ref === null ? "other" : `r${call.ref % 6}`);
const pct = (part) => `${(100 * Math.max(0, Math.min(1, part))).toFixed(3)}%`;
const picture = (height, label, ...children) =>
  svg("svg", { class: "chart", width: "100%", height, "aria-hidden": "true", focusable: "false", "data-chart": label },
    ...children);

// One bar of the waterfall. `end` is the end of the scale, `marks` are moments that matter to all bars.
const bar = (call, end, marks) => {
  const parts = marks.map(([kind, at]) =>
    svg("line", { class: `mark ${kind}`, x1: pct(at / end), x2: pct(at / end), y1: 0, y2: 24 }));
  if (call.start !== null) {
    const stop = call.end === null ? end : call.end;
    const start = Math.max(0, call.start); // a clock may have been set back
    const whole = Math.max(stop - start, 0.003 * end);
    const kind = call.failed ? "failed" : call.late || call.pending ? "late" : "run";
    const wait = call.first === null || call.failed ? 0 : Math.min(call.first, whole);
    if (call.critical) {
      parts.push(svg("rect", { class: "critical", x: pct(start / end), width: pct(whole / end), y: 19, height: 3 }));
    }
    parts.push(svg("rect", { class: `span ${kind} ${colour(call)}`, x: pct(start / end), width: pct(whole / end), y: 5,
      height: 12, rx: 2 }));
    if (wait > 0) {
      parts.push(svg("rect", { class: "wait", x: pct(start / end), width: pct(wait / end), y: 5, height: 12, rx: 2 }));
    }
  }
  return picture(24, "bar", ...parts);
};

// Parts of a whole in one row: [[class, part]].
const stacked = (parts) => {
  let at = 0;
  const made = parts.map(([kind, part]) => {
    const one = svg("rect", { class: `span run ${kind}`, x: pct(at), width: pct(part), y: 0, height: 14 });
    at += part;
    return one;
  });
  return picture(14, "shares", ...made);
};

// Median and 95th percentile of a model on the scale of the slowest.
const dots = (p50, p95, most) => {
  if (p50 === null || !most) return picture(18, "latency");
  return picture(18, "latency",
    svg("line", { class: "axis", x1: "0%", x2: "100%", y1: 9, y2: 9 }),
    svg("line", { class: "range", x1: pct(0.97 * p50 / most + 0.015), x2: pct(0.97 * p95 / most + 0.015), y1: 9, y2: 9 }),
    svg("circle", { class: "p50", cx: pct(0.97 * p50 / most + 0.015), cy: 9, r: 5 }),
    svg("circle", { class: "p95", cx: pct(0.97 * p95 / most + 0.015), cy: 9, r: 4 }));
};

// How alike names are: cells are [value, turns] or null.
const gridOf = (caption, names, cells, classes) =>
  el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", { class: "grid" },
      el("caption", null, caption),
      el("thead", null, el("tr", null, el("td"), names.map((one) => el("th", { scope: "col" }, name(one))))),
      el("tbody", null, names.map((one, row) => el("tr", null,
        el("th", { scope: "row", class: classes ? classes[row] : null }, name(one)),
        names.map((other, column) => {
          const cell = cells[row][column];
          if (row === column) return el("td", { class: "same" }, "·", hidden("the same"));
          if (cell === null) return el("td", null, "–");
          const made = el("td", { title: `${one} and ${other}: ${percent(cell[0])}${cell[1] === null ? "" : `, ${counted(cell[1], "turn")}`}` },
            datum(cell[0], percent(cell[0])));
          made.style.setProperty("--part", `${Math.round(55 * cell[0])}%`);
          return made;
        }))))));
