"use strict";
// The landscape: heights as filled bands between log-spaced levels, as in plots/race.py, with axes, critical points and
// the start.

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

function draw_axes(context, landscape, frame, scheme) {
  const [[x0, x1], [y0, y1]] = landscape.domain;
  Object.assign(context, { font: "11px system-ui, sans-serif", fillStyle: scheme.ink });
  Object.assign(context, { strokeStyle: scheme.quiet, lineWidth: 0.8 });
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
