"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const shares = new Set(data.shares);
  const STEP = 40;
  let shown = STEP;

  // every text goes in as text: nothing of a case is ever read as markup
  const make = (tag, className, text) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined && text !== null) node.textContent = text;
    return node;
  };
  const fails = (value) => shares.has(value[0]) && value[1] !== null && value[1] < 1;
  const number = (metric, value) =>
    value === null ? "–" : shares.has(metric) ? (100 * value).toFixed(value === 1 || value === 0 ? 0 : 1) : Number(value.toPrecision(3)).toString();

  for (const one of data.cases) {
    one.of = data.cells[one.cell];
    const values = one.tests.flatMap((test) => test.values);
    const counted = values.filter(([metric, value]) => shares.has(metric) && value !== null);
    one.right = counted.filter((value) => !fails(value)).length;
    one.counted = counted.length;
    one.mean = (metric) => {
      const some = values.filter(([name, value]) => name === metric && value !== null).map(([, value]) => value);
      return some.length ? some.reduce((a, b) => a + b, 0) / some.length : null;
    };
    one.failed = new Set(values.filter(fails).map(([metric]) => metric));
    one.words = [one.prompt, one.new, one.true, one.id, ...one.tests.flatMap((test) => [test.prompt, test.before, test.after])]
      .join("\n").toLowerCase();
  }

  const form = document.getElementById("filters");
  const choose = (name, options) => {
    const select = form.elements[name];
    for (const [value, text] of options) {
      const option = make("option", "", text);
      option.value = value;
      select.append(option);
    }
    select.parentElement.hidden = options.length < 2;
  };
  const every = (name) => {
    const values = [...new Set(data.cells.map((cell) => cell[name]))];
    choose(name, values.length > 1 ? [["", "all"], ...values.map((value) => [value, value])] : [["", values[0] ?? ""]]);
  };
  ["method", "protocol", "dataset", "model"].forEach(every);
  choose("fails", [
    ["", "every case"], ["any", "with a failure"], ["none", "without a failure"],
    ...data.shares.map((metric) => [metric, `that fails ${metric}`]),
  ]);
  choose("order", [
    ["", "as in the data"], ["worst", "most failures first"], ["subject", "by text"],
    ...data.metrics.flatMap((metric) => [[`+${metric}`, `lowest ${metric} first`], [`-${metric}`, `highest ${metric} first`]]),
  ]);

  const passes = (one, want) =>
    ["method", "protocol", "dataset", "model"].every((name) => !want[name] || one.of[name] === want[name]) &&
    (!want.fails || (want.fails === "any" ? one.failed.size > 0 : want.fails === "none" ? one.failed.size === 0 : one.failed.has(want.fails))) &&
    (!want.find || one.words.includes(want.find.toLowerCase()));

  const ordered = (some, order) => {
    if (!order) return some;
    if (order === "subject") return some.sort((a, b) => a.prompt.localeCompare(b.prompt));
    if (order === "worst") return some.sort((a, b) => b.counted - b.right - (a.counted - a.right));
    const sign = order[0] === "+" ? 1 : -1;
    const metric = order.slice(1);
    const key = (one) => one.mean(metric);
    // a case that the metric asks nothing of comes last, whichever way it is ordered
    return some.sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      return x === null || y === null ? (x === null) - (y === null) : sign * (x - y);
    });
  };

  const field = (label, className, text) => {
    const node = make("div", className, text);
    node.dataset.label = label;
    return node;
  };

  const tests = (one) => {
    const box = make("div", "tests");
    let moment = null;
    for (const test of one.tests) {
      if (test.when !== moment) {
        moment = test.when;
        box.append(make("h4", "", moment));
      }
      const row = make("div", "test");
      const chips = make("div", "chips");
      for (const value of test.values) {
        const state = shares.has(value[0]) && value[1] !== null ? (fails(value) ? " bad" : " good") : "";
        const chip = make("span", `chip${state}`, `${value[0].split("@")[0]} ${number(value[0], value[1])}`);
        if (value[2]) chip.title = value[2];
        chips.append(chip);
      }
      row.append(
        make("div", "about", test.about.replaceAll("_", " ")),
        field("prompt", "said", test.prompt + (test.target ? ` … ${test.target}` : "")),
        field("before", "", test.before ?? "–"),
        field("after", "", test.after ?? "–"),
        chips,
      );
      box.append(row);
    }
    box.append(make("p", "note", one.patch ? `${one.id}, patch ${one.patch}` : one.id));
    return box;
  };

  const card = (one) => {
    const node = make("details", "case");
    const head = make("summary");
    const said = make("span", "", `${one.prompt} `);
    said.append(make("ins", "", one.new));
    if (one.true) said.append(" ", make("del", "", one.true));
    const score = make("span", "score");
    const bad = one.counted - one.right;
    score.append(make("span", bad ? "bad" : "good", bad ? `${bad} of ${one.counted} fail` : `all ${one.counted} right`));
    const seed = one.of.seed ? `, seed ${one.of.seed}` : "";
    const where = [one.of.method, one.of.protocol, ...(data.cells.some((cell) => cell.dataset !== data.cells[0].dataset) ? [one.of.dataset] : [])];
    head.append(said, score, make("span", "of", where.join(", ") + seed));
    node.append(head);
    node.addEventListener("toggle", () => { if (node.open && !node.querySelector(".tests")) node.append(tests(one)); });
    return node;
  };

  const list = document.getElementById("list");
  const more = document.getElementById("more");
  const show = () => {
    const want = Object.fromEntries(new FormData(form));
    const found = ordered(data.cases.filter((one) => passes(one, want)), want.order);
    list.replaceChildren(...found.slice(0, shown).map(card));
    const word = found.length === 1 ? "case" : "cases";
    document.getElementById("count").textContent =
      found.length > shown ? `${shown} of ${found.length} ${word}` : `${found.length} ${word}`;
    more.hidden = found.length <= shown;
  };
  const again = () => { shown = STEP; show(); };
  form.addEventListener("input", again);
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", () => { shown += STEP; show(); });
  show();

  // a click on a heading orders the lines of its table
  for (const table of document.querySelectorAll("table.summary")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
      const down = column > 0 ? head.ariaSort !== "descending" : head.ariaSort === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (row) => row.cells[column].dataset.value;
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        const way = column > 0 ? Number(x) - Number(y) : x.localeCompare(y);
        return down ? -way : way;
      });
      table.tBodies[0].append(...rows);
    }));
  }
})();
