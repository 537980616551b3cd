"use strict";
// The page: what is chosen, its controls, and the link that keeps it. DATA and PROGRAMS come from the Python.

const $ = (id) => document.getElementById(id);
const landscapes = Object.fromEntries(
  DATA.landscapes.map((data, i) => [data.name, { ...data, plain: PROGRAMS[i](plain), jet: jet_function(PROGRAMS[i](jets)) }]),
);

function jet_function(program) {
  return (x, y) => program([x, 1, 0, 0, 0, 0], [y, 0, 1, 0, 0, 0]);
}

// Settings: symbol, label, what is expected, and the slider as a map between its 1,001 positions and values.

const round3 = (value) => Number(value.toPrecision(3));
const log_scale = (low, high, round = round3) => ({
  to_value: (p) => round(low * (high / low) ** (p / 1000)),
  to_position: (v) => (1000 * Math.log(v / low)) / Math.log(high / low),
});
const with_zero = (low, high) => {
  const { to_value, to_position } = log_scale(low, high);
  return { to_value: (p) => (p === 0 ? 0 : to_value(p)), to_position: (v) => (v === 0 ? 0 : Math.max(1, to_position(v))) };
};
const decay_scale = { to_value: (p) => round3(1 - 10 ** (-p / 333)), to_position: (v) => -333 * Math.log10(1 - v) };
const nonnegative = ["a finite number >= 0", (v) => v >= 0 && v < Infinity];
const positive = ["a finite number > 0", (v) => v > 0 && v < Infinity];
const decay = ["a number in [0, 1)", (v) => v >= 0 && v < 1];
const whole = (low, high) => [`an integer from ${low} to ${high}`, (v) => Number.isInteger(v) && v >= low && v <= high];

const SETTINGS = {
  lr: ["η", "learning rate", nonnegative, (usual) => log_scale(usual * 1e-3, usual * 1e2)],
  gamma: ["γ", "curvature scale", positive, (usual) => log_scale(usual * 1e-3, usual * 1e3)],
  clip: ["ρ", "clip threshold", ["a number > 0, or ∞", (v) => v > 0], () => {
    const { to_value, to_position } = log_scale(0.01, 100);
    return { to_value: (p) => (p === 1000 ? Infinity : to_value(p)), to_position };
  }],
  rho: ["ρ", "clip threshold", positive, (usual) => log_scale(usual * 1e-3, usual * 1e2)],
  beta1: ["β₁", "momentum", decay, () => decay_scale],
  beta2: ["β₂", "mean decay", decay, () => decay_scale],
  beta: ["β", "momentum", decay, () => decay_scale],
  every: ["k", "steps per estimate", whole(1, 1000), () => log_scale(1, 100, Math.round)],
  damping: ["δ", "damping", nonnegative, (usual, { curvature }) => with_zero(curvature * 1e-4, curvature * 10)],
  weight_decay: ["λ", "weight decay", nonnegative, () => with_zero(1e-4, 1)],
};
const RACE_SETTINGS = {
  noise: ["σ", "gradient noise", nonnegative, (usual, { size, curvature }) => with_zero(1e-4 * size * curvature, size * curvature)],
  steps: ["T", "steps", whole(1, 1000), () => log_scale(1, 500, Math.round)],
  seed: ["", "seed", whole(0, 999), () => ({ to_value: (p) => Math.round(p * 0.999), to_position: (v) => v / 0.999 })],
};

// What is chosen. `settings` holds those of every optimizer for the landscape; time counts steps and may lie between two.

const S = {};

function fresh(problem) {
  const { start, noise, defaults } = landscapes[problem];
  const settings = Object.fromEntries(DATA.optimizers.map(({ key }) => [key, revive(defaults[key])]));
  return { problem, start: [...start], noise, settings };
}

function revive(settings) {
  return Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, value === "inf" ? Infinity : value]));
}

Object.assign(S, fresh(DATA.problem), {
  active: [...DATA.active], inspect: DATA.active[DATA.active.length - 1], steps: 50, seed: 0, time: 50,
  by_cost: false, theme: null, playing: false, hover: null, races: [], frame: null,
});

const look_of = (key) => DATA.optimizers.find((optimizer) => optimizer.key === key);
const theme_now = () => S.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

// From what is chosen to what is seen

function compute() {
  const landscape = landscapes[S.problem];
  const on_top = (look) => look.key === S.inspect; // drawn last
  const looks = DATA.optimizers.filter(({ key }) => S.active.includes(key)).sort((a, b) => on_top(a) - on_top(b));
  S.races = looks.map((look) => ({
    key: look.key, look, run: run(landscape, look.rule, S.settings[look.key], S.start, S.steps, S.noise, S.seed),
  }));
}

// The step that the panel shows: the one hovered, else the one that time has come to.
function shown() {
  const key = S.hover?.key ?? S.inspect, race = S.races.find((other) => other.key === key) ?? S.races[0];
  if (!race) return null;
  const i = Math.min(S.hover?.i ?? Math.floor(S.time), race.run.trajectory.length - 1);
  return { ...race, i, theta: race.run.trajectory[i] };
}

function paint() {
  const landscape = landscapes[S.problem], theme = theme_now(), scheme = DATA.schemes[theme], at = shown();
  const common = { landscape, races: S.races, time: S.time, theme, scheme };
  S.frame = draw_surface($("surface"), { ...common, start: S.start, picked: S.hover && at, focused: document.activeElement === $("surface") });
  S.chart = draw_losses($("loss"), { ...common, steps: S.steps, by_cost: S.by_cost, inspected: at?.key });
  if (at) draw_panel({ look: at.look, run: at.run, now: at.i, settings: S.settings[at.key], scheme });
  $("clock").textContent = `step ${Math.floor(S.time)} of ${S.steps}`;
  Object.assign($("time"), { max: S.steps, value: Math.floor(S.time) });
  fill($("time"));
  show_state(at);
}

function show_state(at) {
  document.querySelector(".state table").hidden = !at;
  $("where").textContent = "";
  if (!at) return;
  const { look, run, i, theta } = at, ended = run.diverged_at !== null && i === run.trajectory.length - 1;
  const place = `(${theta.map((v) => format(v)).join(", ")})`;
  $("where").textContent = ended
    ? `diverges at step ${run.diverged_at}, from ${place}`
    : `θ = ${place} after ${i} step${i === 1 ? "" : "s"}, L = ${format(run.losses[i])}`;
  if ($("inspect").value !== at.key) $("inspect").value = at.key;
  document.querySelector(".state").style.setProperty("--own", look.color);
  show_tip(at, place);
}

function show_tip({ look, run, i, theta }, place) {
  const tip = $("tip");
  tip.hidden = !S.hover || S.hover.quiet || !inside(theta, landscapes[S.problem].domain);
  if (tip.hidden) return;
  tip.textContent = `${look.label}, step ${i}: ${place}, loss ${format(run.losses[i], 3)}`;
  const [x, y] = S.frame.to_pixel(theta), { clientWidth } = $("surface");
  tip.style.left = `${Math.max(4, Math.min(x + 12, clientWidth - tip.offsetWidth - 4))}px`;
  tip.style.top = `${y > 46 ? y - 38 : y + 16}px`;
}

let frame_asked = false, stale = true;

// Ask for a picture; changed: the runs must be computed anew.
function refresh(changed = true) {
  stale ||= changed;
  if (frame_asked) return;
  frame_asked = true;
  requestAnimationFrame(() => {
    frame_asked = false;
    redraw();
  });
}

function redraw() {
  if (stale) compute();
  stale = false;
  paint();
}

// Controls

function build() {
  for (const [name, { title }] of Object.entries(landscapes)) $("problem").add(new Option(title, name));
  for (const { key, label, color, marker } of DATA.optimizers) {
    const chip = document.createElement("label"), box = document.createElement("input");
    chip.className = "chip";
    chip.style.setProperty("--own", color);
    chip.innerHTML = marker_svg(marker, color);
    Object.assign(box, { type: "checkbox", name: key });
    box.addEventListener("change", () => toggle(key, box.checked));
    chip.append(box, label);
    $("chips").append(chip);
  }
  for (const [name, [symbol, label]] of Object.entries(RACE_SETTINGS)) {
    $("race-sliders").append(slider(name, symbol, label, () => race_setting(name)));
  }
}

function race_setting(name) {
  const [, , expected, make] = RACE_SETTINGS[name], [size, curvature] = landscapes[S.problem].scale;
  return { value: S[name], expected, scale: make(S[name], { size, curvature }), set: (value) => set_race(name, value) };
}

function set_race(name, value) {
  const at_end = S.time >= S.steps;
  S[name] = value;
  if (name === "steps") S.time = at_end ? value : Math.min(S.time, value);
}

function own_setting(name) {
  const key = S.inspect, [, , expected, make] = SETTINGS[name];
  const [size, curvature] = landscapes[S.problem].scale, usual = landscapes[S.problem].defaults[key][name];
  const set = (value) => (S.settings[key][name] = value);
  return { value: S.settings[key][name], expected, scale: make(usual, { size, curvature }), set };
}

// A label, a number to type and a range to drag; ask() tells what they stand for at the moment.
function slider(name, symbol, label, ask) {
  const box = document.createElement("div"), range = document.createElement("input"), text = document.createElement("input");
  box.className = "slider";
  box.innerHTML = `<label for="${name}">${symbol && `<i>${symbol}</i> `}${label}</label>`;
  Object.assign(range, { type: "range", id: name, min: 0, max: 1000, step: 1 });
  Object.assign(text, { type: "text", inputMode: "decimal", autocomplete: "off" });
  text.setAttribute("aria-label", `${label}, as a number`);
  const show = () => {
    const { value, scale } = ask();
    range.value = value === Infinity ? 1000 : Math.round(Math.max(0, scale.to_position(value)));
    range.setAttribute("aria-valuetext", format(value));
    fill(range);
    if (document.activeElement !== text) text.value = value === Infinity ? "∞" : String(round_off(value));
    text.removeAttribute("aria-invalid");
  };
  range.addEventListener("input", () => {
    const { scale, set } = ask();
    set(scale.to_value(Number(range.value)));
    show();
    changed();
  });
  text.addEventListener("change", () => {
    const { set, expected: [words, holds] } = ask(), value = parse_number(text.value);
    if (!holds(value)) {
      text.setAttribute("aria-invalid", "true");
      return say(`${label}: ${text.value || "nothing"}; expected ${words}`);
    }
    set(value);
    show();
    changed();
  });
  text.addEventListener("blur", show);
  box.append(text, range);
  box.show = show;
  return box;
}

function fill(range) {
  range.style.setProperty("--fill", `${(100 * (range.value - range.min)) / (range.max - range.min)}%`);
}

const round_off = (value) => Number(value.toPrecision(6));
const parse_number = (text) => (/^(∞|inf|infinity)$/i.test(text.trim()) ? Infinity : text.trim() === "" ? NaN : Number(text.replace("−", "-").replace(",", ".")));

// Bring every control in line with what is chosen.
function show_controls() {
  const landscape = landscapes[S.problem], look = look_of(S.inspect);
  $("problem").value = S.problem;
  $("formula").innerHTML = landscape.picture;
  $("note").textContent = landscape.note;
  $("kinds").innerHTML = Object.entries(CRITICAL)
    .filter(([kind]) => landscape[kind].length)
    .map(([, [marker, label]]) => `<span>${marker_svg(marker, "currentColor")} ${label}</span>`).join("");
  $("loss-label").textContent = landscape.bounded ? "loss above the lowest minimum" : "loss";
  for (const box of $("chips").querySelectorAll("input")) box.checked = S.active.includes(box.name);
  $("inspect").textContent = "";
  for (const { key, label } of DATA.optimizers) if (S.active.includes(key)) $("inspect").add(new Option(label, key));
  $("inspect").value = S.inspect;
  $("own").textContent = `Settings of ${look.label}`;
  if ($("own-sliders").dataset.key !== S.inspect) {
    $("own-sliders").textContent = "";
    $("own-sliders").dataset.key = S.inspect;
    for (const [name, [symbol, label]] of Object.entries(SETTINGS)) {
      if (name in S.settings[S.inspect]) $("own-sliders").append(slider(name, symbol, label, () => own_setting(name)));
    }
  }
  $("own-sliders").style.setProperty("--own", look.color);
  for (const box of document.querySelectorAll(".slider")) box.show();
  $("by-step").setAttribute("aria-pressed", !S.by_cost);
  $("by-cost").setAttribute("aria-pressed", S.by_cost);
  $("surface").setAttribute("aria-label", `${landscape.title}; start at (${S.start.map((v) => format(v)).join(", ")})`);
}

// Something that the runs depend on has changed.
function changed() {
  S.hover = null;
  refresh();
  keep_link();
}

function choose_problem(name) {
  Object.assign(S, fresh(name), { time: S.steps, playing: false, hover: null });
  after_choice();
}

function after_choice() {
  show_controls();
  changed();
}

function toggle(key, on) {
  S.active = on ? [...S.active, key] : S.active.filter((other) => other !== key);
  if (on || !S.active.includes(S.inspect)) S.inspect = on ? key : S.active[S.active.length - 1] ?? key;
  after_choice();
}

function inspect(key) {
  S.inspect = key;
  after_choice();
}

function move_start(theta) {
  S.start = theta.map((v) => Number(v.toPrecision(5)));
  $("surface").setAttribute("aria-label", `${landscapes[S.problem].title}; start at (${S.start.map((v) => format(v)).join(", ")})`);
  changed();
}

// Time

function go_to(time) {
  S.time = Math.max(0, Math.min(S.steps, time));
  S.hover = null;
  refresh(false);
}

function step(by) {
  pause();
  go_to(by > 0 ? Math.floor(S.time) + by : Math.ceil(S.time) + by);
}

function play() {
  if (S.playing) return pause();
  if (S.time >= S.steps) S.time = 0;
  S.playing = true;
  show_play();
  const rate = Math.max(6, S.steps / 8); // steps a second: at most eight seconds for all
  let last = performance.now();
  const tick = (now) => {
    if (!S.playing) return;
    // the first frame may have begun before the key was pressed
    S.time = Math.min(S.steps, S.time + (Math.max(0, now - last) / 1000) * rate);
    last = now;
    refresh(false);
    if (S.time >= S.steps) pause();
    else requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
}

function pause() {
  S.playing = false;
  show_play();
}

function show_play() {
  $("play").classList.toggle("playing", S.playing);
  $("play").setAttribute("aria-label", S.playing ? "Pause" : "Play");
}

function rewind() {
  pause();
  go_to(0);
}

// Pointer: a drag moves the start, also from a step; hovering over a step shows its state, a click goes there.

function nearest_step(pixel, reach) {
  let best = null;
  for (const { key, run } of S.races) {
    run.trajectory.forEach((theta, i) => {
      if (i === 0 || !inside(theta, landscapes[S.problem].domain)) return;
      const [x, y] = S.frame.to_pixel(theta), distance = Math.hypot(x - pixel[0], y - pixel[1]);
      if (distance < reach && (!best || distance <= best.distance - (best.key === S.inspect ? 3 : 0))) best = { key, i, distance };
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
  " ": play, k: play, r: rewind, Home: rewind, End: () => go_to(S.steps), ArrowLeft: () => step(-1), ArrowRight: () => step(1),
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

// Light and dark

function change_theme() {
  S.theme = theme_now() === "dark" ? "light" : "dark";
  show_theme();
}

function show_theme() {
  const theme = theme_now(), scheme = DATA.schemes[theme], root = document.documentElement.style;
  for (const name of ["ink", "quiet", "paper"]) root.setProperty(`--${name}`, scheme[name]);
  root.setProperty("--focus", theme === "dark" ? "#6fa8ff" : "#1f5fc0");
  root.colorScheme = theme;
  $("theme").textContent = theme === "dark" ? "Light" : "Dark";
  refresh(false);
}

// The link: what differs from the defaults, in the fragment

function to_link() {
  const { start, noise, defaults } = landscapes[S.problem], query = new URLSearchParams({ problem: S.problem });
  if (S.start.some((v, i) => v !== start[i])) query.set("start", S.start.join(" "));
  if (S.noise !== noise) query.set("noise", S.noise);
  if (S.steps !== 50) query.set("steps", S.steps);
  if (S.seed !== 0) query.set("seed", S.seed);
  query.set("inspect", S.inspect);
  for (const key of DATA.optimizers.map((optimizer) => optimizer.key)) {
    const usual = revive(defaults[key]), own = S.settings[key];
    const changes = Object.keys(SETTINGS).filter((name) => name in own && own[name] !== usual[name]).map((name) => `${name}:${own[name]}`);
    if (S.active.includes(key)) query.set(key, changes.join(" "));
  }
  return `#${query}`;
}

// Whatever a link says that is not understood is left out, and said.
function from_link(fragment) {
  const query = new URLSearchParams(fragment.replace(/^#/, "")), complaints = [];
  const problem = query.get("problem") ?? DATA.problem;
  if (!Object.hasOwn(landscapes, problem)) complaints.push(`problem: ${problem}`);
  const next = fresh(Object.hasOwn(landscapes, problem) ? problem : DATA.problem);
  const accept = (what, text, [, holds], set) => {
    const value = text === "Infinity" ? Infinity : parse_number(text);
    if (holds(value)) set(value);
    else complaints.push(`${what}: ${text}`);
  };
  const active = [];
  for (const [name, text] of query) {
    if (Object.hasOwn(next.settings, name)) {
      active.push(name);
      for (const change of text.split(" ").filter(Boolean)) {
        const [setting, value] = change.split(":"), own = next.settings[name];
        if (Object.hasOwn(SETTINGS, setting) && setting in own) accept(`${name} ${setting}`, value ?? "", SETTINGS[setting][2], (v) => (own[setting] = v));
        else complaints.push(`${name}: ${change}`);
      }
    } else if (Object.hasOwn(RACE_SETTINGS, name)) {
      accept(name, text, RACE_SETTINGS[name][2], (v) => (next[name] = v));
    } else if (name === "start") {
      const point = text.split(" ").map(parse_number), { domain } = landscapes[next.problem];
      if (point.length === 2 && inside(point, domain)) next.start = point;
      else complaints.push(`start: ${text}`);
    } else if (!["problem", "inspect"].includes(name)) complaints.push(name);
  }
  next.active = active.length ? active : [...DATA.active];
  next.inspect = next.active.includes(query.get("inspect")) ? query.get("inspect") : next.active[next.active.length - 1];
  Object.assign(S, { steps: 50, seed: 0 }, next, { playing: false, hover: null });
  S.time = S.steps;
  show_play();
  show_controls();
  refresh();
  if (complaints.length) say(`Not understood in the link: ${complaints.join(", ")}`);
}

let link_timer = 0;

function keep_link() {
  clearTimeout(link_timer);
  link_timer = setTimeout(write_link, 250); // browsers refuse a hundred changes a second
}

function write_link() {
  clearTimeout(link_timer);
  try {
    history.replaceState(null, "", to_link());
  } catch {
    // in a notebook the page has no address of its own
  }
}

async function share() {
  write_link();
  try {
    await navigator.clipboard.writeText(location.href);
    say("The link is copied");
  } catch {
    say("The link is in the address bar");
  }
}

let message_timer = 0;

function say(text) {
  $("message").textContent = text;
  clearTimeout(message_timer);
  message_timer = setTimeout(() => ($("message").textContent = ""), 5000);
}

function listen() {
  $("problem").addEventListener("change", () => choose_problem($("problem").value));
  $("inspect").addEventListener("change", () => inspect($("inspect").value));
  for (const [id, does] of Object.entries({ rewind, play, back: () => step(-1), forward: () => step(1), share, theme: change_theme })) {
    $(id).addEventListener("click", does);
  }
  $("time").addEventListener("input", () => {
    pause();
    go_to(Number($("time").value));
  });
  for (const [id, by_cost] of [["by-step", false], ["by-cost", true]]) {
    $(id).addEventListener("click", () => {
      S.by_cost = by_cost;
      show_controls();
      refresh(false);
    });
  }
  listen_to_pointer();
  listen_to_keys();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show_theme);
  window.addEventListener("hashchange", () => from_link(location.hash));
  for (const event of ["focus", "blur"]) $("surface").addEventListener(event, () => refresh(false));
  new ResizeObserver(() => refresh(false)).observe($("surface"));
  if (location.protocol === "about:") $("share").hidden = true;
}

build();
show_theme();
from_link(location.hash);
listen();
