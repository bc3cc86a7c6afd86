"use strict";
(async () => {
  const byId = (id) => document.getElementById(id);
  if (typeof DecompressionStream === "undefined") { byId("old").hidden = false; return; }
  const data = JSON.parse(byId("data").textContent);

  const unpack = async (text) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
  };
  const weights = new Uint16Array(await unpack(data.weights));
  const rolled = data.rollout ? new Uint16Array(await unpack(data.rollout)) : null;
  const hidden = new Uint8Array(await unpack(data.unseen));
  const square = !data.keys;
  const Q = data.queries, K = data.keys || data.queries;
  const T = Q.pieces.length, S = K.pieces.length, L = data.layers, H = data.heads;

  const state = { layer: data.start[0], head: data.start[1], direction: "out", words: data.words, bare: false, pinned: 0, hover: null };
  let view = null;

  // numbers: averages, words, marks left out

  const range = (n) => Array.from({ length: n }, (_, i) => i);

  function plane(layer, head) {
    const size = T * S, out = new Float32Array(size);
    if (layer === "rollout") { for (let i = 0; i < size; i++) out[i] = rolled[i] / data.unit; return out; }
    const layers = layer === "mean" ? range(L) : [layer], heads = head === "mean" ? range(H) : [head];
    for (const l of layers) for (const h of heads) {
      const at = (l * H + h) * size;
      for (let i = 0; i < size; i++) out[i] += weights[at + i];
    }
    const scale = 1 / (data.unit * layers.length * heads.length);
    for (let i = 0; i < size; i++) out[i] *= scale;
    return out;
  }

  function side(s) {
    const marks = new Set(s.marks);
    if (!state.words) {
      const glued = new Set(s.words.flatMap(([, start, stop]) => range(stop - start - 1).map((i) => start + 1 + i)));
      return s.pieces.map((text, i) => ({ text, start: i, stop: i + 1, mark: marks.has(i), glued: glued.has(i) }));
    }
    return s.words.map(([text, start, stop]) => ({ text, start, stop, mark: marks.has(start), glued: false }));
  }

  function look() {
    const w = plane(state.layer, state.head), q = side(Q), k = square ? q : side(K);
    const t = q.length, s = k.length, out = new Float32Array(t * s), blank = new Uint8Array(t * s);
    q.forEach((row, i) => k.forEach((column, j) => {
      let sum = 0, empty = 1;
      for (let a = row.start; a < row.stop; a++) for (let b = column.start; b < column.stop; b++) {
        sum += w[a * S + b];
        empty &= hidden[a * S + b];
      }
      out[i * s + j] = sum / (row.stop - row.start);
      blank[i * s + j] = empty;
    }));
    if (state.bare) for (let i = 0; i < t; i++) {
      let rest = 0;
      for (let j = 0; j < s; j++) { if (k[j].mark) out[i * s + j] = 0; else rest += out[i * s + j]; }
      for (let j = 0; rest > 0 && j < s; j++) out[i * s + j] /= rest;
    }
    return { w: out, blank, q, k, t, s };
  }

  const acting = () => (state.direction === "out" ? view.q : view.k);
  const active = () => Math.min(state.hover ?? state.pinned, acting().length - 1);

  function shares(index) {
    const { w, t, s } = view;
    return state.direction === "out" ? w.subarray(index * s, (index + 1) * s) : Float32Array.from(range(t), (i) => w[i * s + index]);
  }

  function sharpest() {
    let best = -1, at = 0;
    for (let i = 0; i < view.t; i++) for (let j = 0; j < view.s; j++) {
      const own = square && i === j;
      if (!own && !view.q[i].mark && !view.k[j].mark && view.w[i * view.s + j] > best) { best = view.w[i * view.s + j]; at = i; }
    }
    return at;
  }

  // words for people

  const percent = (x, digits = 0) => (x > 0 && x < 0.5 * 10 ** (-2 - digits) ? `< ${10 ** -digits}` : (100 * x).toFixed(digits)) + "\u2009%";
  const tint = (x) => 100 * Math.sqrt(Math.min(1, x));

  function element(name, className, text) {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  // the text

  const buttons = { q: [], k: [] };

  function drawTexts() {
    const [first, second] = [byId("queries-text"), byId("keys-text")];
    first.replaceChildren(); second.replaceChildren();
    buttons.q = texts(first, view.q, square ? null : "what looks", "q");
    buttons.k = square ? buttons.q : texts(second, view.k, "what is looked at", "k");
  }

  function texts(box, tokens, title, name) {
    if (title) box.append(element("p", "side-title", title));
    const line = element("div", "side");
    line.setAttribute("role", "group");
    line.setAttribute("aria-label", title || "pieces of the text");
    const made = tokens.map((token, i) => {
      const button = element("button", "tok" + (token.glued ? " glued" : "") + (token.mark ? " mark" : ""), token.text);
      button.type = "button";
      button.append(element("small"));
      button.addEventListener("pointerenter", (event) => { if (event.pointerType !== "touch" && acts(name)) hover(i); });
      button.addEventListener("pointerleave", () => hover(null));
      button.addEventListener("focus", () => { if (acts(name)) pin(i, "text"); });
      button.addEventListener("click", () => { if (acts(name)) pin(i, "text"); });
      button.addEventListener("keydown", (event) => step(event, made));
      return button;
    });
    line.append(...made);
    box.append(line);
    return made;
  }

  const acts = (name) => square || name === (state.direction === "out" ? "q" : "k");

  function step(event, row) {
    const at = row.indexOf(event.currentTarget);
    const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: row.length - 1 }[event.key];
    if (to === undefined || !row[to]) return;
    event.preventDefault();
    row[to].focus();
  }

  function colorTexts() {
    const index = active(), shown = shares(index);
    const [from, to] = state.direction === "out" ? [buttons.q, buttons.k] : [buttons.k, buttons.q];
    if (!square) from.forEach((button) => paint(button, null));
    to.forEach((button, i) => paint(button, shown[i], blankAt(index, i)));
    from.forEach((button, i) => {
      button.classList.toggle("active", i === index);
      button.tabIndex = i === Math.min(state.pinned, from.length - 1) ? 0 : -1;
    });
    if (!square) to.forEach((button) => { button.classList.remove("active"); button.tabIndex = -1; });
  }

  const blankAt = (index, other) => (state.direction === "out" ? view.blank[index * view.s + other] : view.blank[other * view.s + index]);

  function paint(button, share, blank) {
    const strong = share !== null && tint(share) > 62;
    button.style.setProperty("--share", `${tint(share || 0)}%`);
    button.classList.toggle("strong", strong);
    button.classList.toggle("blind", Boolean(blank));
    if (button.lastChild && button.tagName === "BUTTON") button.lastChild.textContent = share !== null && share >= 0.01 ? percent(share) : "";
  }

  function drawRanks() {
    const index = active(), shown = shares(index), other = state.direction === "out" ? view.k : view.q;
    const order = range(shown.length).filter((i) => shown[i] > 0).sort((a, b) => shown[b] - shown[a] || a - b).slice(0, 8);
    const heading = byId("sentence"), twins = new Map();
    for (const { text } of other) twins.set(text, (twins.get(text) || 0) + 1);
    heading.replaceChildren(element("b", "", acting()[index].text), state.direction === "out" ? " looks at" : " is looked at by");
    byId("ranks").replaceChildren(...order.map((i) => {
      const row = element("li"), bar = element("i");
      bar.style.setProperty("--share", `${Math.max(1, 100 * shown[i])}%`);
      const name = element("span", "", other[i].text);
      if (twins.get(other[i].text) > 1) name.append(element("small", "", `\u2009${i + 1}`));
      row.append(name, bar, element("em", "", percent(shown[i], 1)));
      row.firstChild.title = other[i].text;
      return row;
    }));
    const left = shown.reduce((sum, x) => sum + x, 0) - order.reduce((sum, i) => sum + shown[i], 0);
    const rest = shown.length - order.length;
    byId("rest").textContent = !order.length ? "nothing" : state.direction === "in" ? "Each share is of what the looking one spreads; they need not add up to 100 %."
      : left > 0.0005 && rest > 0 ? `${percent(left, 1)} on ${rest} others` : "";
    return `${acting()[index].text}${heading.lastChild.textContent} ${order.slice(0, 3).map((i) => `${other[i].text} ${percent(shown[i])}`).join(", ")}`;
  }

  // lines

  const ROW = 23, SVG = "http://www.w3.org/2000/svg";
  let threads = null;

  function drawLines() {
    const box = byId("lines"), height = ROW * Math.max(view.t, view.s);
    const grid = element("div", "threads");
    const lists = [["q", view.q], ["k", view.k]].map(([name, tokens]) => {
      const list = element("ol");
      list.append(...tokens.map((token, i) => {
        const item = element("li", "", token.text);
        item.title = token.text;
        item.addEventListener("pointerenter", (event) => { if (event.pointerType !== "touch" && acting() === (name === "q" ? view.q : view.k)) hover(i); });
        item.addEventListener("pointerleave", () => hover(null));
        item.addEventListener("click", () => { if (acts(name)) pin(i, "lines"); });
        return item;
      }));
      return list;
    });
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 100 ${height}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    svg.style.height = `${height}px`;
    const all = group(svg, "all"), lit = group(svg, "lit");
    for (let i = 0; i < view.t; i++) {
      const row = view.w.subarray(i * view.s, (i + 1) * view.s);
      const top = range(view.s).filter((j) => row[j] >= 0.04).sort((a, b) => row[b] - row[a]).slice(0, 4);
      for (const j of top) line(all, i, j, row[j]);
    }
    grid.append(lists[0], svg, lists[1]);
    box.replaceChildren(grid);
    threads = { lists, all, lit };
    byId("lines-note").textContent = "At most four lines a piece, of 4 % and more; all lines of the chosen one.";
  }

  function group(svg, name) {
    const made = document.createElementNS(SVG, "g");
    made.setAttribute("class", name);
    svg.append(made);
    return made;
  }

  function line(into, i, j, share) {
    const made = document.createElementNS(SVG, "line");
    const set = { x1: 1, x2: 99, y1: (i + 0.5) * ROW, y2: (j + 0.5) * ROW, "stroke-width": 0.8 + 4.5 * share, "stroke-opacity": Math.min(1, 0.12 + share) };
    for (const [name, value] of Object.entries(set)) made.setAttribute(name, value);
    into.append(made);
  }

  function colorLines() {
    const index = active(), shown = shares(index), out = state.direction === "out";
    const [from, to] = out ? threads.lists : [...threads.lists].reverse();
    threads.all.classList.add("dim");
    threads.lit.replaceChildren();
    shown.forEach((share, i) => { if (share >= 0.005) line(threads.lit, out ? index : i, out ? i : index, share); });
    [...from.children].forEach((item, i) => { paint(item, null); item.classList.toggle("active", i === index); });
    [...to.children].forEach((item, i) => { paint(item, shown[i]); item.classList.remove("active"); });
  }

  // heat map

  const LARGEST = 4096;  // pixels of a canvas side that every browser draws
  let heat = null;

  function palette() {
    const style = getComputedStyle(document.documentElement);
    const named = (name) => {
      const hex = style.getPropertyValue(name).trim();
      return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    };
    return { paper: named("--paper"), full: named("--c0"), soft: named("--soft"), ink: style.getPropertyValue("--ink").trim(), muted: style.getPropertyValue("--muted").trim(), mark: style.getPropertyValue("--c1").trim() };
  }

  function pixels(w, blank, t, s, colors) {
    const image = new ImageData(s, t);
    for (let i = 0; i < t * s; i++) {
      const x = Math.sqrt(Math.min(1, w[i])), base = blank && blank[i] ? colors.soft : colors.paper;
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = base[c] + (colors.full[c] - base[c]) * x;
      image.data[4 * i + 3] = 255;
    }
    return image;
  }

  function canvas(width, height, className) {
    const made = element("canvas", className), ratio = Math.max(1, Math.min(devicePixelRatio || 1, LARGEST / width, LARGEST / height));
    made.width = Math.round(width * ratio); made.height = Math.round(height * ratio);
    made.style.width = `${width}px`; made.style.height = `${height}px`;
    const brush = made.getContext("2d");
    brush.scale(ratio, ratio);
    return [made, brush];
  }

  function drawHeat() {
    const box = byId("map"), colors = palette(), { t, s } = view;
    const face = "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', 'Noto Sans CJK SC', sans-serif";
    const ruler = element("canvas").getContext("2d");
    ruler.font = "12px " + face;
    const span = (tokens) => Math.min(104, 10 + Math.max(...tokens.map((token) => ruler.measureText(token.text).width)));
    const left = span(view.q), top = span(view.k);
    const room = Math.max(160, box.clientWidth - left - 16);
    const whole = Math.floor(Math.min(room / s, (540 - top) / t));  // both sides in sight, where cells stay large enough
    let cell = Math.max(13, Math.min(34, whole >= 16 ? whole : Math.floor(room / s)));
    cell = Math.max(3, Math.min(cell, Math.floor(LARGEST / Math.max(t, s))));
    const font = `${cell < 16 ? 11 : 12}px ${face}`;
    const grid = element("div", "grid"), [corner] = canvas(left, top, "corner");
    const [upper, upperBrush] = canvas(s * cell, top, "top"), [beside, besideBrush] = canvas(left, t * cell, "left");
    const [cells, brush] = canvas(s * cell, t * cell, "cells");
    const small = new OffscreenCanvas(s, t);
    small.getContext("2d").putImageData(pixels(view.w, view.blank, t, s, colors), 0, 0);
    const every = Math.ceil(12 / cell);
    ruler.font = font;
    const short = { q: view.q.map((token) => fit(ruler, token.text, left - 8)), k: view.k.map((token) => fit(ruler, token.text, top - 8)) };
    const paintAll = () => {
      const index = active(), out = state.direction === "out";
      brush.imageSmoothingEnabled = false;
      brush.drawImage(small, 0, 0, s * cell, t * cell);
      if (cell >= 8) { brush.strokeStyle = `rgb(${colors.soft})`; brush.lineWidth = 1; brush.beginPath();
        for (let j = 1; j < s; j++) { brush.moveTo(j * cell, 0); brush.lineTo(j * cell, t * cell); }
        for (let i = 1; i < t; i++) { brush.moveTo(0, i * cell); brush.lineTo(s * cell, i * cell); }
        brush.stroke(); }
      brush.strokeStyle = colors.mark; brush.lineWidth = 1.5;
      if (out) brush.strokeRect(0.75, index * cell + 0.5, s * cell - 1.5, cell - 1); else brush.strokeRect(index * cell + 0.5, 0.75, cell - 1, t * cell - 1.5);
      names(besideBrush, view.q, left, t * cell, false, out ? index : -1);
      names(upperBrush, view.k, s * cell, top, true, out ? -1 : index);
    };
    const names = (into, tokens, width, height, upright, marked) => {
      into.clearRect(0, 0, width, height);
      into.font = font; into.textBaseline = "middle";
      tokens.forEach((token, i) => {
        if (i % every && i !== marked) return;
        if (every > 1 && marked >= 0 && i !== marked && Math.abs(i - marked) < every) return;
        into.fillStyle = i === marked ? colors.mark : token.mark ? colors.muted : colors.ink;
        into.save();
        if (upright) { into.translate((i + 0.5) * cell, top - 5); into.rotate(-Math.PI / 2); into.textAlign = "left"; }
        else { into.translate(left - 5, (i + 0.5) * cell); into.textAlign = "right"; }
        into.fillText(short[upright ? "k" : "q"][i], 0, 0);
        into.restore();
      });
    };
    cells.addEventListener("pointermove", (event) => {
      const i = Math.min(t - 1, Math.max(0, Math.floor(event.offsetY / cell))), j = Math.min(s - 1, Math.max(0, Math.floor(event.offsetX / cell)));
      byId("readout").textContent = `${view.q[i].text} → ${view.k[j].text}: ${view.blank[i * s + j] ? "may not look" : percent(view.w[i * s + j], 1)}`;
      if (event.pointerType !== "touch") hover(state.direction === "out" ? i : j);
    });
    cells.addEventListener("pointerleave", () => { byId("readout").textContent = ""; hover(null); });
    cells.addEventListener("click", (event) => pin(Math.floor((state.direction === "out" ? event.offsetY : event.offsetX) / cell), "map"));
    cells.setAttribute("role", "img");
    cells.setAttribute("aria-label", `heat map, ${t} rows that look, ${s} columns that are looked at`);
    grid.append(corner, upper, beside, cells);
    box.replaceChildren(grid);
    heat = { paint: paintAll, cell, left, top };
    const staircase = data.causal ? " The gray stairs are what comes later: a causal model may not look there." : view.blank.some(Boolean) ? " Gray: no head may look there." : "";
    byId("map-note").textContent = `A row looks, a column is looked at; the stronger the color, the more.${staircase}`;
  }

  function fit(brush, text, width) {
    if (brush.measureText(text).width <= width) return text;
    let cut = [...text];
    while (cut.length > 1 && brush.measureText(cut.join("") + "…").width > width) cut.pop();
    return cut.join("") + "…";
  }

  // all heads

  const thumbs = [];

  function drawThumbs() {
    if (L * H === 1) { byId("overview").hidden = true; return; }
    const table = element("table"), head = element("tr");
    head.append(element("th"), ...range(H).map((h) => element("th", "", h + 1)));
    table.append(head);
    for (const l of range(L)) {
      const row = element("tr");
      row.append(element("th", "", l + 1));
      for (const h of range(H)) {
        const cell = element("td"), button = element("button"), made = element("canvas");
        button.type = "button";
        button.setAttribute("aria-label", `layer ${l + 1}, head ${h + 1}`);
        button.addEventListener("click", () => { choose("layer", l); choose("head", h); change(); });
        button.append(made); cell.append(button); row.append(cell);
        thumbs.push({ l, h, button, made });
      }
      table.append(row);
    }
    byId("thumbs").replaceChildren(table);
    colorThumbs();
  }

  function colorThumbs() {
    const colors = palette(), rows = Math.min(T, 52), columns = Math.min(S, 52);
    const up = range(T).map((i) => Math.floor(i * rows / T)), across = range(S).map((j) => Math.floor(j * columns / S));
    for (const { l, h, made } of thumbs) {
      const w = new Float32Array(rows * columns), at = (l * H + h) * T * S;
      for (let i = 0; i < T; i++) for (let j = 0; j < S; j++) {
        const to = up[i] * columns + across[j], x = weights[at + i * S + j] / data.unit;
        if (x > w[to]) w[to] = x;
      }
      const small = new OffscreenCanvas(columns, rows);
      small.getContext("2d").putImageData(pixels(w, null, rows, columns, colors), 0, 0);
      made.width = made.height = 104;
      const brush = made.getContext("2d");
      brush.imageSmoothingEnabled = false;
      brush.drawImage(small, 0, 0, 104, 104);
    }
  }

  // choosing

  function radios(name, choices) {
    for (const [value, text] of choices) {
      const label = element("label"), input = element("input");
      input.type = "radio"; input.name = name; input.value = value;
      label.append(input, element("span", "", text));
      byId(name + "s").append(label);
    }
  }

  const form = byId("controls");

  function choose(name, value) {
    state[name] = value;
    for (const input of form.elements[name].length ? form.elements[name] : [form.elements[name]]) input.checked = input.value === String(value);
  }

  function hover(index) {
    if (index === state.hover) return;
    state.hover = index;
    color();
  }

  function pin(index, from) {
    state.pinned = index; state.hover = null;
    const said = color();
    byId("said").textContent = said;
    reveal(from);
  }

  function reveal(from) {
    const index = Math.min(state.pinned, acting().length - 1), out = state.direction === "out";
    const center = (box, place) => { box.scrollTop = place - box.clientHeight / 2; };
    if (from !== "lines") center(byId("lines"), (index + 0.5) * ROW);
    const map = byId("map");
    if (from !== "map") { if (out) center(map, heat.top + index * heat.cell); else map.scrollLeft = heat.left + index * heat.cell - map.clientWidth / 2; }
    if (from !== "text") {
      const box = document.querySelector(".texts"), button = (out ? buttons.q : buttons.k)[index];
      center(box, button.offsetTop - box.offsetTop);
    }
  }

  function color() {
    colorTexts();
    colorLines();
    heat.paint();
    return drawRanks();
  }

  function change() {
    view = look();
    for (const input of form.elements.head.length ? form.elements.head : [form.elements.head]) input.disabled = state.layer === "rollout";
    drawTexts(); drawLines(); drawHeat(); color();
    for (const { l, h, button } of thumbs) button.setAttribute("aria-pressed", l === state.layer && h === state.head);
  }

  radios("layer", [...range(L).map((i) => [i, i + 1]), ...(L > 1 ? [["mean", "mean"]] : []), ...(rolled ? [["rollout", "rollout"]] : [])]);
  radios("head", [...range(H).map((i) => [i, i + 1]), ...(H > 1 ? [["mean", "mean"]] : [])]);
  choose("layer", state.layer); choose("head", state.head);
  const several = (s) => s.words.length < s.pieces.length, marked = (s) => s.marks.length > 0 && s.marks.length < s.pieces.length;
  byId("words-switch").hidden = !(several(Q) || several(K));
  byId("marks-switch").hidden = !(marked(Q) || marked(K));
  byId("switches").hidden = byId("words-switch").hidden && byId("marks-switch").hidden;
  form.elements.words.checked = state.words;
  byId("left-end").textContent = "looks"; byId("right-end").textContent = "is looked at";

  form.addEventListener("change", (event) => {
    const { name, value, checked } = event.target;
    if (name === "layer") { state.layer = /^\d+$/.test(value) ? Number(value) : value; if (state.layer === "rollout" && H > 1) choose("head", "mean"); }
    if (name === "head") state.head = /^\d+$/.test(value) ? Number(value) : value;
    if (name === "direction") state.direction = value;
    if (name === "marks") state.bare = checked;
    if (name === "words") {
      const from = acting()[active()].start;
      state.words = checked; state.hover = null;
      view = look();
      state.pinned = Math.max(0, acting().findIndex((token) => token.start <= from && from < token.stop));
    }
    change();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { colorThumbs(); change(); });
  let wait = 0;
  addEventListener("resize", () => { clearTimeout(wait); wait = setTimeout(change, 150); });

  view = look();
  state.pinned = sharpest();
  drawThumbs();
  change();
  reveal();
  document.documentElement.dataset.ready = "yes";
})();
