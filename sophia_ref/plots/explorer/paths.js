"use strict";
// The paths of the runs: bold up to the time that is shown, faint after it, and labelled where they leave the picture.

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
    const [start, end] = [point_at(path, Math.max(i, from)), point_at(path, Math.min(i + 1, to))];
    const piece = piece_inside(start, end, landscape.domain);
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
    // where paths coincide, the earlier ones show around the later
    const wider = i === n - 1 ? 1 : Math.min(0.4, 2 / n) * (n - 2 - i);
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
    const head = [point_at(run.trajectory, time)].filter((theta) => inside(theta, landscape.domain));
    draw_markers(context, look.marker, head.map(frame.to_pixel), 6, look.color, scheme.paper, 1.1);
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
  const what = run.diverged_at === null ? `leaves at step ${last + 1}` : `diverges at step ${run.diverged_at}`;
  const text = `${look.label} ${what}`;
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
  const beside = edge[0] > center[0] ? edge[0] - 14 - w : edge[0] + 14;
  const x = clamp(beside, frame.left + 4, frame.right - 4 - w);
  let y = clamp(edge[1] - h / 2, frame.top + 5, frame.bottom - 5 - h);
  const step = y < center[1] ? h + 4 : -h - 4;
  const overlaps = (other) => Math.abs(other.y - y) < h + 3 && x < other.x + other.w + 4 && other.x < x + w + 4;
  while (placed.some(overlaps)) y += step;
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
