"use strict";
// What all pictures are made of: a canvas, markers and lines by matplotlib's names, texts, ticks.

// A canvas context in CSS pixels, cleared, for a canvas that has the size of its element.
function prepared(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas, ratio = window.devicePixelRatio || 1;
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height, ratio };
}

function polygon(n, turn = 0, inner = 1) {
  const points = [];
  for (let i = 0; i < n; i++) {
    const angle = (2 * Math.PI * i) / n - Math.PI / 2 + turn, radius = i % 2 ? inner : 1;
    points.push([radius * Math.cos(angle), radius * Math.sin(angle)]);
  }
  return points;
}

const turned = (points, angle) =>
  points.map(([x, y]) => [x * Math.cos(angle) - y * Math.sin(angle), x * Math.sin(angle) + y * Math.cos(angle)]);
const ARM = [[-0.34, -0.34], [-0.34, -1], [0.34, -1]];
const PLUS = [0, 1, 2, 3].flatMap((quarter) => turned(ARM, (quarter * Math.PI) / 2));
const UP = [[0, -1], [1, 0.85], [-1, 0.85]];
const MARKERS = {
  o: polygon(24), s: turned([[-0.85, -0.85], [0.85, -0.85], [0.85, 0.85], [-0.85, 0.85]], 0),
  D: polygon(4).map(([x, y]) => [1.1 * x, 1.1 * y]), d: polygon(4).map(([x, y]) => [0.7 * x, 1.2 * y]),
  p: polygon(5), h: polygon(6), H: polygon(6, Math.PI / 6), 8: polygon(8, Math.PI / 8),
  "^": UP, v: turned(UP, Math.PI), "<": turned(UP, -Math.PI / 2), ">": turned(UP, Math.PI / 2),
  P: PLUS, X: turned(PLUS, Math.PI / 4), "*": polygon(10, 0, 0.42),
};
const DASHES = { "-": [], "--": [6, 3], "-.": [7, 3, 1.5, 3], ":": [1.5, 3] };
const CRITICAL = { minima: ["*", "minimum", 8.5], saddles: ["X", "saddle", 6], maxima: ["^", "maximum", 5.5] };

function marker_svg(marker, color) {
  const points = MARKERS[marker].map(([x, y]) => `${(7 + 5.5 * x).toFixed(2)},${(7 + 5.5 * y).toFixed(2)}`).join(" ");
  return `<svg viewBox="0 0 14 14" aria-hidden="true"><polygon points="${points}" fill="${color}"/></svg>`;
}

function add_marker(context, marker, x, y, size) {
  MARKERS[marker].forEach(([dx, dy], i) => context[i ? "lineTo" : "moveTo"](x + size * dx, y + size * dy));
  context.closePath();
}

function draw_markers(context, marker, points, size, fill, edge, width = 0.7) {
  context.beginPath();
  for (const [x, y] of points) add_marker(context, marker, x, y, size);
  Object.assign(context, { fillStyle: fill, strokeStyle: edge, lineWidth: 2 * width, lineJoin: "round" });
  context.stroke();
  context.fill();
}

function halo_text(context, text, x, y, scheme) {
  Object.assign(context, { strokeStyle: scheme.paper, lineWidth: 3, lineJoin: "round", fillStyle: scheme.ink });
  context.strokeText(text, x, y);
  context.fillText(text, x, y);
}

function ticks(low, high, about) {
  const rough = (high - low) / about, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= rough);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high * (1 + 1e-12) + 1e-12 * step; i++) found.push(i * step);
  return found.map((value) => Number(value.toPrecision(12)));
}

const minus = (text) => String(text).replace(/-/g, "−");
