"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const uses = JSON.parse(byId("data").textContent);
  const map = byId("map"), ring = byId("ring"), dots = [...byId("points").children];
  const senses = [...document.querySelectorAll("#senses .sense")];
  const lines = new Map([...document.querySelectorAll(".kwic")].map((line) => [Number(line.dataset.use), line]));
  const order = [...lines.keys()];  // by group, the most central use first
  const NEAR = 28;  // pixels from the pointer within which a point is meant
  let current = order[0], pinned = order[0];

  dots.forEach((dot) => dot.replaceChildren());  // the sentence stands beside the map; no second tooltip

  function element(name, text) {
    const made = document.createElement(name);
    made.textContent = text;
    return made;
  }

  function show(index, ringed = true) {
    const [left, word, right, sense] = uses[index], box = byId("sentence"), of = byId("of");
    const card = senses[sense], tint = `t${sense % 8}`;
    box.className = tint;
    box.replaceChildren(left, element("mark", word), right);
    of.className = `of ${tint}`;
    byId("reader").style.borderLeftColor = `var(--c${sense % 8})`;
    of.replaceChildren(card.querySelector(".key").cloneNode(true), element("span", card.querySelector(".words").textContent.split(", ").slice(0, 3).join(", ")));
    ring.setAttribute("x", dots[index].getAttribute("x"));
    ring.setAttribute("y", dots[index].getAttribute("y"));
    ring.setAttribute("visibility", ringed ? "visible" : "hidden");
    lines.get(current)?.classList.remove("here");
    lines.get(index)?.classList.add("here");
    current = index;
  }

  function light(sense) {
    map.classList.toggle("dim", sense !== null);
    dots.forEach((dot, i) => dot.classList.toggle("lit", uses[i][3] === sense));
    map.querySelectorAll("[data-sense]").forEach((part) => part.classList.toggle("lit", Number(part.dataset.sense) === sense));
  }

  function nearest(event) {
    const box = map.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    let best = null, distance = NEAR;
    dots.forEach((dot, i) => {
      const far = Math.hypot(parseFloat(dot.getAttribute("x")) / 100 * box.width - x, parseFloat(dot.getAttribute("y")) / 100 * box.height - y);
      if (far < distance) { distance = far; best = i; }
    });
    return best;
  }

  map.addEventListener("pointermove", (event) => { const i = nearest(event); if (i !== null) show(i); });
  map.addEventListener("pointerdown", (event) => { const i = nearest(event); if (i !== null) { pinned = i; show(i); } });
  map.addEventListener("pointerleave", () => show(pinned));
  map.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    pinned = order[(order.indexOf(current) + step + order.length) % order.length];
    show(pinned);
  });
  lines.forEach((line, index) => {
    line.addEventListener("pointerenter", () => show(index));
    line.addEventListener("click", () => {
      pinned = index;
      show(index);
      line.classList.toggle("open");  // the whole sentence, where it was too long for its line
    });
  });
  senses.forEach((card, i) => {
    card.querySelector("h2").addEventListener("pointerenter", () => light(i));
    card.querySelector("h2").addEventListener("pointerleave", () => light(null));
  });
  show(pinned);
})();
