"use strict";
// The losses of all runs, and the small histories of the terms of one.

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
  const power = (k) => "10" + String(k).replace(/./g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"["0123456789-".indexOf(digit)]);
  return {
    to_share: (loss) => {
      const decades = Math.log10(Math.max(loss - lowest, 1e-300)) - bottom;
      return Math.min(1, Math.max(0, decades / (top - bottom)));
    },
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
  Object.assign(context, { font: "11px system-ui, sans-serif", fillStyle: scheme.ink });
  Object.assign(context, { strokeStyle: scheme.quiet, lineWidth: 0.8 });
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
  for (const value of ticks(0, end, 6).filter(Number.isInteger)) {
    context.fillText(value, Math.min(to_x(value), width - 12), box.bottom + 5);
  }
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
  const bounded = Number.isFinite(threshold), unit = bounded ? threshold : sizes[sizes.length >> 1] || 1;
  const squeeze = (v) => Math.asinh(Math.max(-1e300, Math.min(1e300, v)) / unit);
  const largest = squeeze(sizes[sizes.length - 1] || 0);
  const most = 1.05 * Math.max(squeeze(unit), bounded ? Math.min(largest, squeeze(10 * unit)) : largest);
  const to_y = (v) => middle - Math.max(-1, Math.min(1, squeeze(v) / most)) * (middle - 2);
  const to_x = (i) => 3 + (i / Math.max(1, values.length - 1)) * (width - 6);
  if (bounded) {
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
  const at = Number.isFinite(values[now]) ? [[to_x(now), to_y(values[now])]] : [];
  draw_markers(context, "o", at, 2.6, scheme.ink, scheme.paper, 0.6);
}
