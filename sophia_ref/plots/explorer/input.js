"use strict";
// Mouse, touch and keys. A drag moves the start, also from a step; hovering over a step shows its state, a click goes
// there.

function nearest_step(pixel, reach) {
  let best = null;
  for (const { key, run } of S.races) {
    run.trajectory.forEach((theta, i) => {
      if (i === 0 || !inside(theta, landscapes[S.problem].domain)) return;
      const [x, y] = S.frame.to_pixel(theta), distance = Math.hypot(x - pixel[0], y - pixel[1]);
      const nearest = best ? best.distance - (best.key === S.inspect ? 3 : 0) : reach;
      if (distance <= nearest) best = { key, i, distance };
    });
  }
  return best;
}

function listen_to_pointer() {
  const canvas = $("surface");
  let down = null;
  const pixel_of = (event) => {
    const { left, top } = canvas.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const pixel = pixel_of(event), [x, y] = S.frame.to_pixel(S.start);
    const on_start = Math.hypot(x - pixel[0], y - pixel[1]) < 12;
    down = { pixel, step: on_start ? null : nearest_step(pixel, event.pointerType === "mouse" ? 9 : 14), moved: false };
    canvas.setPointerCapture(event.pointerId);
    if (!down.step) move_start(S.frame.to_theta(pixel));
  });
  canvas.addEventListener("pointermove", (event) => {
    const pixel = pixel_of(event);
    if (!down) return hover(event.pointerType === "mouse" ? nearest_step(pixel, 14) : null);
    down.moved ||= Math.hypot(pixel[0] - down.pixel[0], pixel[1] - down.pixel[1]) > 4;
    if (!down.moved) return;
    canvas.classList.add("dragging");
    move_start(S.frame.to_theta(pixel));
  });
  const up = (event) => {
    if (down?.step && !down.moved && event.type === "pointerup") {
      pause();
      S.time = down.step.i;
      inspect(down.step.key);
      S.hover = { ...down.step };
    }
    down = null;
    canvas.classList.remove("dragging");
  };
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
  canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && !down && hover(null));

  const chart = $("loss");
  chart.addEventListener("pointermove", (event) => event.pointerType === "mouse" && hover(step_on_chart(event)));
  chart.addEventListener("pointerleave", () => hover(null));
  chart.addEventListener("pointerdown", (event) => {
    const at = step_on_chart(event);
    if (!at) return;
    pause();
    go_to(at.i);
    if (at.key !== S.inspect) inspect(at.key);
  });
}

function step_on_chart(event) {
  const { left, top } = $("loss").getBoundingClientRect(), [px, py] = [event.clientX - left, event.clientY - top];
  let best = null;
  for (const { key, run } of S.races) {
    run.losses.forEach((_, i) => {
      const [x, y] = S.chart.at(run, i), distance = Math.hypot(x - px, (y - py) / 2);
      if (!best || distance < best.distance) best = { key, i, distance, quiet: true };
    });
  }
  return best;
}

function hover(at) {
  if (at?.key === S.hover?.key && at?.i === S.hover?.i) return;
  S.hover = at;
  $("surface").classList.toggle("near", Boolean(at));
  if (!at) $("tip").hidden = true;
  refresh(false);
}

// Keys

function move_by_key(key, far) {
  const { domain } = landscapes[S.problem], share = far ? 0.1 : 0.01;
  const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[key];
  const moved = [dx, dy].map((d, k) => S.start[k] + d * share * (domain[k][1] - domain[k][0]));
  move_start(moved.map((v, k) => Math.min(domain[k][1], Math.max(domain[k][0], v))));
}

const KEYS = {
  " ": () => play(), r: () => rewind(), Home: () => rewind(), End: () => go_to(S.steps),
  ArrowLeft: () => step(-1), ArrowRight: () => step(1),
  n: () => {
    const keys = DATA.optimizers.map(({ key }) => key).filter((key) => S.active.includes(key));
    if (keys.length) inspect(keys[(keys.indexOf(S.inspect) + 1) % keys.length]);
  },
  d: () => change_theme(),
};

function listen_to_keys() {
  document.addEventListener("keydown", (event) => {
    const { target } = event, key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.ctrlKey || event.metaKey || event.altKey || target.matches("input[type=text], select")) return;
    if (target.matches("input[type=range]") && (key.startsWith("Arrow") || key === "Home" || key === "End")) return;
    if (target.matches("button, input[type=checkbox]") && key === " ") return;
    if (target === $("surface") && key.startsWith("Arrow")) move_by_key(key, event.shiftKey);
    else if (KEYS[key]) KEYS[key]();
    else return;
    event.preventDefault();
  });
}
