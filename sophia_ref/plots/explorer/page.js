"use strict";
// The page: what is chosen, and what is seen of it. DATA and PROGRAMS come from the Python.

const $ = (id) => document.getElementById(id);
const landscapes = Object.fromEntries(
  DATA.landscapes.map((data, i) => [
    data.name, { ...data, plain: PROGRAMS[i](plain), jet: jet_function(PROGRAMS[i](jets)) },
  ]),
);

function jet_function(program) {
  return (x, y) => program([x, 1, 0, 0, 0, 0], [y, 0, 1, 0, 0, 0]);
}

// What is chosen. `settings` holds those of every optimizer for the landscape; time counts steps and may lie between
// two; hover is the step { key, i } under the mouse.

const S = {};

function fresh(problem) {
  const { start, noise, defaults } = landscapes[problem];
  const settings = Object.fromEntries(DATA.optimizers.map(({ key }) => [key, revive(defaults[key])]));
  return { problem, start: [...start], noise, settings };
}

function revive(settings) {
  return map_entries(settings, (value) => (value === "inf" ? Infinity : value));
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
  const focused = document.activeElement === $("surface");
  S.frame = draw_surface($("surface"), { ...common, start: S.start, picked: S.hover && at, focused });
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
  name_surface();
}

function name_surface() {
  const place = S.start.map((v) => format(v)).join(", ");
  $("surface").setAttribute("aria-label", `${landscapes[S.problem].title}; start at (${place})`);
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
  name_surface();
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

let message_timer = 0;

function say(text) {
  $("message").textContent = text;
  clearTimeout(message_timer);
  message_timer = setTimeout(() => ($("message").textContent = ""), 5000);
}

function listen() {
  $("problem").addEventListener("change", () => choose_problem($("problem").value));
  $("inspect").addEventListener("change", () => inspect($("inspect").value));
  const clicks = { rewind, play, back: () => step(-1), forward: () => step(1), share, theme: change_theme };
  for (const [id, does] of Object.entries(clicks)) $(id).addEventListener("click", does);
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
