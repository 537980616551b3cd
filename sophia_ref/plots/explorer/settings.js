"use strict";
// The settings that can be changed, and the slider and the number to type of each.

// Settings: symbol, label, what is expected, and the slider as a map between its positions, 0 to 1,000 if no `most` says
// otherwise, and values.

const round3 = (value) => Number(value.toPrecision(3));
const log_scale = (low, high) => ({
  to_value: (p) => round3(low * (high / low) ** (p / 1000)),
  to_position: (v) => (1000 * Math.log(v / low)) / Math.log(high / low),
});
const with_zero = (low, high) => {
  const { to_value, to_position } = log_scale(low, high);
  return {
    to_value: (p) => (p === 0 ? 0 : to_value(p)),
    to_position: (v) => (v === 0 ? 0 : Math.max(1, to_position(v))),
  };
};
const decay_scale = {
  to_value: (p) => Number((1 - round3(10 ** (-p / 333))).toPrecision(6)),
  to_position: (v) => -333 * Math.log10(1 - v),
};
const integers = (low, high) => ({ most: high - low, to_value: (p) => low + p, to_position: (v) => v - low });
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
  every: ["k", "steps per estimate", whole(1, 1000), () => integers(1, 50)],
  damping: ["δ", "damping", nonnegative, (usual, { curvature }) => with_zero(curvature * 1e-4, curvature * 10)],
  weight_decay: ["λ", "weight decay", nonnegative, () => with_zero(1e-4, 1)],
};
const RACE_SETTINGS = {
  noise: ["σ", "gradient noise", nonnegative, (_, { size, curvature }) => {
    const largest = size * curvature; // of the size of the largest gradients
    return with_zero(1e-4 * largest, largest);
  }],
  steps: ["T", "steps", whole(1, 1000), () => integers(1, 300)],
  seed: ["", "seed", whole(0, 999), () => integers(0, 99)],
};

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
  const [box, range, text] = ["div", "input", "input"].map((tag) => document.createElement(tag));
  box.className = "slider";
  box.innerHTML = `<label for="${name}">${symbol && `<i>${symbol}</i> `}${label}</label>`;
  Object.assign(range, { type: "range", id: name, min: 0, step: 1 });
  Object.assign(text, { type: "text", inputMode: "decimal", autocomplete: "off" });
  text.setAttribute("aria-label", `${label}, as a number`);
  const show_number = () => {
    const { value } = ask();
    range.setAttribute("aria-valuetext", format(value));
    fill(range);
    if (document.activeElement !== text) text.value = value === Infinity ? "∞" : String(round_off(value));
    text.removeAttribute("aria-invalid");
  };
  const show = () => {
    const { value, scale } = ask(), most = scale.most ?? 1000;
    range.max = most;
    range.value = value === Infinity ? most : Math.round(Math.max(0, scale.to_position(value)));
    show_number();
  };
  range.addEventListener("input", () => {
    const { scale, set } = ask();
    set(scale.to_value(Number(range.value)));
    show_number(); // and the position stays, or a step that rounding undoes would never be left
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

function parse_number(text) {
  if (/^\s*(∞|inf|infinity)\s*$/i.test(text)) return Infinity;
  return text.trim() === "" ? NaN : Number(text.replace("−", "-").replace(",", "."));
}
