"use strict";
// What is drawn on canvases: the surface with the paths, the losses, and the small histories of the terms.

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

// Markers and lines, by matplotlib's names

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
const PLUS = [[-0.34, -1], [0.34, -1], [0.34, -0.34], [1, -0.34], [1, 0.34], [0.34, 0.34], [0.34, 1], [-0.34, 1], [-0.34, 0.34], [-1, 0.34], [-1, -0.34], [-0.34, -0.34]];
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

// Axes

// Where a landscape's coordinates lie on its canvas, in CSS pixels.
function frame_of({ domain: [[x0, x1], [y0, y1]] }, width, height) {
  const box = { left: 36, top: 6, right: width - 8, bottom: height - 22 };
  const per_x = (box.right - box.left) / (x1 - x0), per_y = (box.bottom - box.top) / (y1 - y0);
  return {
    ...box,
    to_pixel: ([x, y]) => [box.left + (x - x0) * per_x, box.bottom - (y - y0) * per_y],
    to_theta: ([px, py]) => [
      Math.min(x1, Math.max(x0, x0 + (px - box.left) / per_x)),
      Math.min(y1, Math.max(y0, y0 + (box.bottom - py) / per_y)),
    ],
  };
}

function ticks(low, high, about) {
  const rough = (high - low) / about, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= rough);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high * (1 + 1e-12) + 1e-12 * step; i++) found.push(i * step);
  return found.map((value) => Number(value.toPrecision(12)));
}

const minus = (text) => String(text).replace(/-/g, "−");

function draw_axes(context, landscape, frame, scheme) {
  const [[x0, x1], [y0, y1]] = landscape.domain;
  Object.assign(context, { font: "11px system-ui, sans-serif", fillStyle: scheme.ink, strokeStyle: scheme.quiet, lineWidth: 0.8 });
  context.beginPath();
  Object.assign(context, { textAlign: "center", textBaseline: "top" });
  for (const x of ticks(x0, x1, 6)) {
    const [px] = frame.to_pixel([x, y0]);
    context.moveTo(px, frame.bottom);
    context.lineTo(px, frame.bottom + 3);
    context.fillText(minus(x), px, frame.bottom + 6);
  }
  Object.assign(context, { textAlign: "right", textBaseline: "middle" });
  for (const y of ticks(y0, y1, 6)) {
    const [, py] = frame.to_pixel([x0, y]);
    context.moveTo(frame.left - 3, py);
    context.lineTo(frame.left, py);
    context.fillText(minus(y), frame.left - 6, Math.max(py, 7));
  }
  context.stroke();
}

// Heights: filled bands between log-spaced levels, as plots/race.py has them

function mixed(colors, share) {
  const at = share * (colors.length - 1), i = Math.min(Math.floor(at), colors.length - 2);
  const channel = (color, k) => parseInt(color.slice(1 + 2 * k, 3 + 2 * k), 16);
  return [0, 1, 2].map((k) => channel(colors[i], k) + (at - i) * (channel(colors[i + 1], k) - channel(colors[i], k)));
}

// How many levels lie below z.
function band(levels, z) {
  let low = 0, high = levels.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (levels[middle] < z) low = middle + 1;
    else high = middle;
  }
  return low;
}

function heat_map(landscape, frame, ratio, scheme) {
  const [w, h] = [frame.right - frame.left, frame.bottom - frame.top], cell = 3; // CSS pixels between computed heights
  const [nx, ny] = [Math.ceil(w / cell) + 1, Math.ceil(h / cell) + 1], { levels, plain } = landscape;
  const z = new Float64Array(nx * ny);
  for (let j = 0; j < ny; j++) {
    for (let i = 0; i < nx; i++) {
      const [px, py] = [Math.min(i * cell, w), Math.min(j * cell, h)];
      z[j * nx + i] = plain(...frame.to_theta([frame.left + px, frame.top + py]));
    }
  }
  const layer = document.createElement("canvas");
  const [W, H] = [Math.round(w * ratio), Math.round(h * ratio)];
  Object.assign(layer, { width: W, height: H });
  const context = layer.getContext("2d"), image = context.createImageData(W, H);
  const pixels = new Uint32Array(image.data.buffer);
  const colors = Array.from({ length: levels.length + 1 }, (_, i) => {
    const [r, g, b] = mixed(scheme.heights, i / levels.length).map(Math.round);
    return (255 << 24) | (b << 16) | (g << 8) | r;
  });
  for (let Y = 0; Y < H; Y++) {
    const v = Math.min((Y + 0.5) / ratio / cell, ny - 1.0001), j = Math.floor(v), t = v - j;
    for (let X = 0; X < W; X++) {
      const u = Math.min((X + 0.5) / ratio / cell, nx - 1.0001), i = Math.floor(u), s = u - i, at = j * nx + i;
      const above = z[at] + s * (z[at + 1] - z[at]), below = z[at + nx] + s * (z[at + nx + 1] - z[at + nx]);
      pixels[Y * W + X] = colors[band(levels, above + t * (below - above))];
    }
  }
  context.putImageData(image, 0, 0);
  context.setTransform(ratio * cell, 0, 0, ratio * cell, 0, 0);
  context.beginPath();
  for (let j = 0; j + 1 < ny; j++) {
    for (let i = 0; i + 1 < nx; i++) {
      const corners = [z[j * nx + i], z[j * nx + i + 1], z[(j + 1) * nx + i + 1], z[(j + 1) * nx + i]];
      const last = band(levels, Math.max(...corners));
      for (let k = band(levels, Math.min(...corners)); k < last; k++) level_line(context, corners, levels[k], i, j);
    }
  }
  Object.assign(context, { strokeStyle: scheme.lines, lineWidth: 0.6 / cell });
  context.stroke();
  return layer;
}

// The line of one level through the cell at (i, j), corners in the order of a walk around it.
function level_line(context, corners, level, i, j) {
  const walk = [[0, 0], [1, 0], [1, 1], [0, 1]], met = [];
  for (let k = 0; k < 4; k++) {
    const [a, b] = [corners[k], corners[(k + 1) % 4]];
    if (a > level !== b > level) {
      const s = (level - a) / (b - a), [p, q] = [walk[k], walk[(k + 1) % 4]];
      met.push([i + p[0] + s * (q[0] - p[0]), j + p[1] + s * (q[1] - p[1])]);
    }
  }
  for (let k = 0; k + 1 < met.length; k += 2) {
    context.moveTo(...met[k]);
    context.lineTo(...met[k + 1]);
  }
}

// Paths

const inside = ([x, y], [[x0, x1], [y0, y1]]) => x >= x0 && x <= x1 && y >= y0 && y <= y1;

// The part of the segment from a to b that lies in the domain, or null (Liang, Barsky).
function piece_inside(a, b, domain) {
  let enter = 0, leave = 1;
  for (const k of [0, 1]) {
    const from = Math.max(-1e100, Math.min(1e100, a[k])), step = Math.max(-1e100, Math.min(1e100, b[k])) - from;
    if (step === 0) {
      if (from < domain[k][0] || from > domain[k][1]) return null;
      continue;
    }
    const [s, t] = [(domain[k][0] - from) / step, (domain[k][1] - from) / step];
    enter = Math.max(enter, Math.min(s, t));
    leave = Math.min(leave, Math.max(s, t));
  }
  if (enter > leave) return null;
  const at = (s) => (s === 0 ? a : s === 1 ? b : [0, 1].map((k) => a[k] + s * (b[k] - a[k])));
  return [at(enter), at(leave)];
}

function point_at(path, time) {
  const i = Math.min(Math.floor(time), path.length - 1), share = time - i;
  if (share <= 0 || i + 1 >= path.length) return path[i];
  return [0, 1].map((k) => path[i][k] + share * (path[i + 1][k] - path[i][k]));
}

// The path of a run between two times, as pieces in pixels that are joined where they touch.
function trace_path(context, path, from, to, landscape, frame) {
  let last = null;
  context.beginPath();
  for (let i = Math.floor(from); i < Math.min(to, path.length - 1); i++) {
    const piece = piece_inside(point_at(path, Math.max(i, from)), point_at(path, Math.min(i + 1, to)), landscape.domain);
    if (!piece) continue;
    const [a, b] = piece.map(frame.to_pixel);
    if (!last || Math.abs(a[0] - last[0]) + Math.abs(a[1] - last[1]) > 0.01) context.moveTo(...a);
    context.lineTo(...b);
    last = b;
  }
}

// The last of the races, the one whose state is shown, lies on top and is bold.
function draw_paths(context, races, time, landscape, frame, scheme) {
  const n = races.length;
  races.forEach(({ look, run }, i) => {
    const path = run.trajectory, end = Math.min(last_inside(run, landscape) + 1, path.length - 1);
    const wider = i === n - 1 ? 1 : Math.min(0.4, 2 / n) * (n - 2 - i); // where paths coincide, the earlier ones show around the later
    const size = (path.length > 120 ? 2.2 : 3.3) + wider / 2, now = Math.min(time, end);
    const stroke = (from, to, alpha, halo) => {
      trace_path(context, path, from, to, landscape, frame);
      Object.assign(context, { lineJoin: "round", lineCap: "butt", globalAlpha: alpha });
      context.setLineDash([]);
      if (halo) Object.assign(context, { strokeStyle: scheme.paper, lineWidth: 3.6 + wider }) && context.stroke();
      context.setLineDash(DASHES[look.line]);
      Object.assign(context, { strokeStyle: look.color, lineWidth: 1.8 + wider });
      context.stroke();
      context.setLineDash([]);
    };
    stroke(now, end, 0.3, false);
    stroke(0, now, 1, true);
    const pixels = (from, to) => path.slice(from, to).filter((p) => inside(p, landscape.domain)).map(frame.to_pixel);
    context.globalAlpha = 0.3;
    draw_markers(context, look.marker, pixels(Math.floor(now) + 1, end + 1), size, look.color, scheme.paper, 0.4);
    context.globalAlpha = 1;
    draw_markers(context, look.marker, pixels(0, Math.floor(now) + 1), size, look.color, scheme.paper, 0.4);
  });
  for (const { look, run } of races) {
    const head = point_at(run.trajectory, time);
    if (inside(head, landscape.domain)) draw_markers(context, look.marker, [frame.to_pixel(head)], 6, look.color, scheme.paper, 1.1);
  }
  const placed = [];
  for (const race of races) draw_leaving(context, race, time, landscape, frame, scheme, placed);
}

function last_inside({ trajectory }, { domain }) {
  for (let i = trajectory.length - 1; i >= 0; i--) if (inside(trajectory[i], domain)) return i;
  return -1;
}

// An arrow and a label where a path leaves for good or diverges.
function draw_leaving(context, { look, run }, time, landscape, frame, scheme, placed) {
  const path = run.trajectory, last = last_inside(run, landscape), stays = last === path.length - 1;
  if (last < 0 || (stays && run.diverged_at === null) || time < last) return;
  const piece = stays ? null : piece_inside(path[last], path[last + 1], landscape.domain);
  const edge = frame.to_pixel(piece ? piece[1] : path[last]);
  const text = run.diverged_at === null ? `${look.label} leaves at step ${last + 1}` : `${look.label} diverges at step ${run.diverged_at}`;
  if (piece) {
    const before = frame.to_pixel(piece[0]), length = Math.hypot(edge[0] - before[0], edge[1] - before[1]) || 1;
    const [dx, dy] = [(edge[0] - before[0]) / length, (edge[1] - before[1]) / length];
    context.beginPath();
    context.moveTo(...edge);
    for (const side of [-1, 1]) context.lineTo(edge[0] - 11 * dx + side * 5 * dy, edge[1] - 11 * dy - side * 5 * dx);
    context.closePath();
    Object.assign(context, { fillStyle: look.color, strokeStyle: scheme.paper, lineWidth: 1.2 });
    context.stroke();
    context.fill();
  }
  context.font = "12px system-ui, sans-serif";
  const [w, h] = [context.measureText(text).width + 14, 20];
  const center = [(frame.left + frame.right) / 2, (frame.top + frame.bottom) / 2];
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  let x = clamp(edge[0] + Math.sign(center[0] - edge[0]) * 14 - (edge[0] > center[0] ? w : 0), frame.left + 4, frame.right - 4 - w);
  let y = clamp(edge[1] - h / 2, frame.top + 5, frame.bottom - 5 - h);
  const step = y < center[1] ? h + 4 : -h - 4;
  while (placed.some((other) => Math.abs(other.y - y) < h + 3 && x < other.x + other.w + 4 && other.x < x + w + 4)) y += step;
  placed.push({ x, y, w });
  context.beginPath();
  context.roundRect(x, y, w, h, 5);
  Object.assign(context, { fillStyle: scheme.paper, strokeStyle: look.color, lineWidth: 1.2, globalAlpha: 0.94 });
  context.fill();
  context.globalAlpha = 1;
  context.stroke();
  Object.assign(context, { fillStyle: scheme.ink, textAlign: "left", textBaseline: "middle" });
  context.fillText(text, x + 7, y + h / 2 + 0.5);
}

// The ground under the paths changes with the landscape, the theme and the size alone; it is kept in `layer`.
const ground = { key: null, layer: null };

function draw_surface(canvas, { landscape, races, time, start, theme, scheme, picked, focused }) {
  const { context, width, height, ratio } = prepared(canvas), frame = frame_of(landscape, width, height);
  const key = [landscape.name, theme, width, height, ratio].join();
  if (ground.key !== key) Object.assign(ground, { key, layer: heat_map(landscape, frame, ratio, scheme) });
  context.drawImage(ground.layer, frame.left, frame.top, frame.right - frame.left, frame.bottom - frame.top);
  draw_axes(context, landscape, frame, scheme);
  context.save();
  context.beginPath();
  context.rect(frame.left, frame.top, frame.right - frame.left, frame.bottom - frame.top);
  context.clip();
  const many = ["minima", "saddles", "maxima"].reduce((sum, kind) => sum + landscape[kind].length, 0);
  const small = Math.max(0.5, Math.min(1, (15 / Math.max(1, many)) ** 0.3));
  for (const [kind, [marker, , size]] of Object.entries(CRITICAL)) {
    draw_markers(context, marker, landscape[kind].map(frame.to_pixel), size * small, scheme.ink, scheme.paper, small);
  }
  draw_paths(context, races, time, landscape, frame, scheme);
  const [x, y] = frame.to_pixel(start);
  for (const [color, line] of [[scheme.paper, 4.5], [scheme.ink, 1.8]]) {
    context.beginPath();
    context.arc(x, y, focused ? 11 : 9, 0, 7);
    Object.assign(context, { strokeStyle: color, lineWidth: line });
    context.stroke();
  }
  Object.assign(context, { font: "12px system-ui, sans-serif", textBaseline: "middle" });
  context.textAlign = x < frame.left + 24 ? "left" : x > frame.right - 24 ? "right" : "center";
  halo_text(context, "start", x, y > frame.bottom - 30 ? y - 20 : y + 20, scheme);
  if (picked && inside(picked.theta, landscape.domain)) {
    const [px, py] = frame.to_pixel(picked.theta);
    context.beginPath();
    context.arc(px, py, 8, 0, 7);
    Object.assign(context, { strokeStyle: scheme.ink, lineWidth: 1.6 });
    context.stroke();
  }
  context.restore();
  return frame;
}

// Losses: above the lowest minimum on a log scale, or as they are where there is none

function loss_scale(landscape, races) {
  const { lowest, levels, bounded } = landscape, highest = levels[levels.length - 1];
  if (!bounded) {
    const to_share = (loss) => Math.min(1, Math.max(0, (loss - lowest) / (highest - lowest)));
    return { to_share, ticks: ticks(lowest, highest, 4).map((v) => [v, minus(v)]) };
  }
  let least = Infinity, most = 0;
  for (const { run } of races) {
    for (const loss of run.losses) {
      const above = loss - lowest;
      if (above > 0 && above < least) least = above;
      if (above > most) most = above;
    }
  }
  const span = highest - lowest;
  const top = Math.ceil(Math.log10(Math.min(Math.max(most, 1e-3 * span), 10 * span)));
  const bottom = Math.min(top - 2, Math.max(Math.floor(Math.log10(Math.min(least, 1e-2 * span))), top - 13));
  const power = (k) => "10" + minus(k).replace(/[−\d]/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"["0123456789−".indexOf(digit)]);
  return {
    to_share: (loss) => Math.min(1, Math.max(0, (Math.log10(Math.max(loss - lowest, 1e-300)) - bottom) / (top - bottom))),
    ticks: ticks(bottom, top, 4).filter(Number.isInteger).map((k) => [lowest + 10 ** k, power(k)]),
  };
}

function draw_losses(canvas, { landscape, races, time, steps, by_cost, scheme, inspected }) {
  const { context, width, height } = prepared(canvas), scale = loss_scale(landscape, races);
  const box = { left: 40, top: 8, right: width - 8, bottom: height - 18 };
  const dearest = Math.max(1, ...races.map(({ run }) => run.cost[run.cost.length - 1]));
  const end = by_cost ? dearest : steps;
  const to_x = (value) => box.left + (value / end) * (box.right - box.left);
  const to_y = (loss) => box.bottom - scale.to_share(loss) * (box.bottom - box.top);
  Object.assign(context, { font: "11px system-ui, sans-serif", fillStyle: scheme.ink, strokeStyle: scheme.quiet, lineWidth: 0.8 });
  Object.assign(context, { textAlign: "right", textBaseline: "middle", globalAlpha: 0.9 });
  for (const [loss, label] of scale.ticks) {
    context.fillText(label, box.left - 6, to_y(loss));
    context.globalAlpha = 0.3;
    context.beginPath();
    context.moveTo(box.left, to_y(loss));
    context.lineTo(box.right, to_y(loss));
    context.stroke();
    context.globalAlpha = 0.9;
  }
  Object.assign(context, { textAlign: "center", textBaseline: "top", globalAlpha: 1 });
  for (const value of ticks(0, end, 6).filter(Number.isInteger)) context.fillText(value, Math.min(to_x(value), width - 12), box.bottom + 5);
  const at = (run, i) => [to_x(by_cost ? run.cost[i] : i), to_y(run.losses[i])];
  for (const { look, run, key } of races) {
    context.beginPath();
    run.losses.forEach((_, i) => context[i ? "lineTo" : "moveTo"](...at(run, i)));
    context.setLineDash(DASHES[look.line]);
    Object.assign(context, { strokeStyle: look.color, lineWidth: key === inspected ? 2.6 : 1.6, lineJoin: "round" });
    context.stroke();
    context.setLineDash([]);
  }
  if (!by_cost) {
    context.beginPath();
    context.moveTo(to_x(time), box.top);
    context.lineTo(to_x(time), box.bottom);
    Object.assign(context, { strokeStyle: scheme.ink, lineWidth: 0.8, globalAlpha: 0.6 });
    context.stroke();
    context.globalAlpha = 1;
  }
  for (const { look, run } of races) {
    const i = Math.min(Math.floor(time), run.losses.length - 1);
    draw_markers(context, look.marker, [at(run, i)], 4.2, look.color, scheme.paper, 0.7);
  }
  return { at, box };
}

// A term of one coordinate over the steps, compressed by asinh so that both signs and many magnitudes show; for a ratio
// the band in which it is not clipped.
function draw_history(canvas, { values, now, color, scheme, threshold, clipped }) {
  const { context, width, height } = prepared(canvas), middle = height / 2;
  const sizes = values.filter(Number.isFinite).map(Math.abs).filter((v) => v > 0).sort((a, b) => a - b);
  const unit = Number.isFinite(threshold) ? threshold : sizes[sizes.length >> 1] || 1;
  const squeeze = (v) => Math.asinh(Math.max(-1e300, Math.min(1e300, v)) / unit);
  const largest = squeeze(sizes[sizes.length - 1] || 0);
  const most = 1.05 * Math.max(squeeze(unit), Number.isFinite(threshold) ? Math.min(largest, squeeze(10 * unit)) : largest);
  const to_y = (v) => middle - Math.max(-1, Math.min(1, squeeze(v) / most)) * (middle - 2);
  const to_x = (i) => 3 + (i / Math.max(1, values.length - 1)) * (width - 6);
  if (Number.isFinite(threshold)) {
    Object.assign(context, { fillStyle: color, globalAlpha: 0.15 });
    context.fillRect(0, to_y(threshold), width, to_y(-threshold) - to_y(threshold));
    context.globalAlpha = 1;
  }
  context.beginPath();
  context.moveTo(0, middle);
  context.lineTo(width, middle);
  Object.assign(context, { strokeStyle: scheme.quiet, lineWidth: 0.6, globalAlpha: 0.7 });
  context.stroke();
  context.globalAlpha = 1;
  context.beginPath();
  let pen = "moveTo";
  values.forEach((v, i) => {
    if (!Number.isFinite(v)) return;
    context[pen](to_x(i), to_y(v));
    pen = "lineTo";
  });
  Object.assign(context, { strokeStyle: color, lineWidth: 1.2, lineJoin: "round" });
  context.stroke();
  if (clipped) {
    context.fillStyle = color;
    clipped.forEach((is, i) => is && context.fillRect(to_x(i) - 1, height - 2.5, 2, 2.5));
  }
  if (Number.isFinite(values[now])) draw_markers(context, "o", [[to_x(now), to_y(values[now])]], 2.6, scheme.ink, scheme.paper, 0.6);
}
