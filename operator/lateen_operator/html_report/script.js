"use strict";
// Values under the pointer, or by the arrow keys: the charts are whole without this.
for (const figure of document.querySelectorAll(".chart")) {
  const curves = JSON.parse(figure.querySelector(".data").textContent);
  const steps = [...new Set(curves.flatMap((curve) => curve.points.map((point) => point[0])))].sort((a, b) => a - b);
  for (const plot of figure.querySelectorAll(".plot")) watch(plot, curves, steps);
}

function watch(plot, curves, steps) {
  const last = Number(plot.dataset.last);
  let at = -1;
  const cursor = Object.assign(document.createElement("div"), { className: "cursor", hidden: true });
  const tip = Object.assign(document.createElement("div"), { className: "tip", hidden: true });
  tip.setAttribute("role", "status");
  plot.append(cursor, tip);

  const show = (index) => {
    at = Math.max(0, Math.min(steps.length - 1, index));
    const step = steps[at];
    const lines = [`step ${step.toLocaleString("en")}`];
    for (const { label, points } of curves) {
      const point = points[nearest(points.map((one) => one[0]), step)];
      const aside = point[0] === step ? "" : ` (step ${point[0].toLocaleString("en")})`;
      lines.push(`${label}: ${point[1]}${aside}`);
    }
    tip.replaceChildren(...lines.map((line) => Object.assign(document.createElement("div"), { textContent: line })));
    cursor.hidden = tip.hidden = false;
    const share = step / last;
    cursor.style.left = `${share * 100}%`;
    const room = plot.clientWidth - tip.offsetWidth;
    const right = share * plot.clientWidth + 10;
    tip.style.left = `${Math.max(0, right <= room ? right : Math.min(room, right - 20 - tip.offsetWidth))}px`;
  };
  const hide = () => { cursor.hidden = tip.hidden = true; };

  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    show(nearest(steps, ((event.clientX - box.left) / box.width) * last));
  });
  plot.addEventListener("pointerleave", hide);
  plot.addEventListener("blur", hide);
  plot.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    show(at + by);
  });
}

function nearest(sorted, value) {
  let low = 0;
  let high = sorted.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle; else high = middle;
  }
  return Math.abs(sorted[high] - value) < Math.abs(sorted[low] - value) ? high : low;
}
