"use strict";
// The state of one optimizer, coordinate by coordinate: every term under its name in the paper, with its equation, its
// value at the step and its history.

// Rows of each rule: [name of the term, symbol, equation]. A rule's terms of the eigenbasis have no x and y.
const G = ["g", "g", "∇L(θ) + ξ"], M = ["m", "m", "β₁ m + (1 − β₁) g"];
const V = ["v", "v", "β₂ v + (1 − β₂) g²"], V_OF_D = ["v", "v", "β₂ v + (1 − β₂) D²"];
const ADAM = [["m_hat", "m̂", "m / (1 − β₁ᵗ)"], ["v_hat", "v̂", "v / (1 − β₂ᵗ)"], ["denominator", "", "√v̂ + ε"], ["update", "Δ", "m̂ / (√v̂ + ε)"]];
const newton = (...rest) => [G, ["eigenvalues", "s", "of H = V diag(s) Vᵀ"], ["eigenvectors", "V", "its columns"], ["c", "c", "Vᵀ g"], ...rest, ["update", "Δ", "V q"]];
const ROWS = {
  Sophia: [
    G, M, ["h_hat", "ĥ", "diag H"], ["h", "h", "β₂ h + (1 − β₂) ĥ"], ["gamma_h", "γh", "γ · h"], ["denominator", "", "max(γh, ε)"],
    ["ratio", "r", "m / max(γh, ε)"], ["clipped", "clipped", "|r| > ρ"], ["update", "Δ", "clip(r, ρ)"],
  ],
  Adam: [G, M, V, ...ADAM],
  AdamW: [G, M, V, ...ADAM],
  AdaHessian: [G, ["D", "D", "u ⊙ Hu"], M, V_OF_D, ...ADAM],
  Lion: [G, ["c", "c", "β₁ m + (1 − β₁) g"], ["m", "m", "β₂ m + (1 − β₂) g"], ["update", "Δ", "sign(c) + λ θ"]],
  GradientDescent: [G, ["update", "Δ", "g"]],
  SignGD: [G, ["update", "Δ", "sign(g)"]],
  Momentum: [G, ["m", "m", "β m + g"], ["update", "Δ", "m"]],
  Signum: [G, ["m", "m", "β m + (1 − β) g"], ["update", "Δ", "sign(m)"]],
  Newton: newton(["q", "q", "c / s"]),
  DampedNewton: newton(["q", "q", "c / (s + δ)"]),
  SaddleFreeNewton: newton(["q", "q", "c / (|s| + δ)"]),
  ClippedNewton: newton(["ratio", "r", "c / s"], ["clipped", "clipped", "|r| > ρ"], ["q", "q", "clip(r, ρ)"]),
};
ROWS.SophiaH = ROWS.Sophia.map((row) => (row[0] === "h_hat" ? ["h_hat", "ĥ", "u ⊙ Hu"] : row));

function format(value, digits = 4) {
  if (Array.isArray(value)) return `(${value.map((v) => format(v, 2)).join(", ")})`;
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e5 || size < 1e-3)) return minus(Number(value.toExponential(digits - 2)).toExponential().replace("e+", "e"));
  return minus(Number(value.toPrecision(digits)));
}

// One term of one coordinate at one step; v of Newton's methods is a column of eigenvectors.
function term_of(terms, name, i, settings) {
  if (!terms) return undefined;
  if (name === "gamma_h") return settings.gamma * terms.h[i];
  if (name === "eigenvectors") return [terms.eigenvectors[0][i], terms.eigenvectors[1][i]];
  return terms[name]?.[i];
}

const panel = { rule: null, cells: [] };

function build_rows(rule) {
  const newtonian = ROWS[rule].some(([name]) => name === "eigenvalues");
  document.getElementById("columns").innerHTML = `<tr><th class="term" scope="col">next step</th><th scope="col">${newtonian ? "x, or 1st eigenvector" : "x"}</th><th scope="col">${newtonian ? "y, or 2nd eigenvector" : "y"}</th></tr>`;
  const body = document.getElementById("terms");
  body.textContent = "";
  panel.cells = ROWS[rule].map(([name, symbol, equation]) => {
    const row = body.insertRow(), heading = document.createElement("th");
    heading.scope = "row";
    heading.innerHTML = `<b>${symbol}</b><span class="${symbol && "equation"}">${equation}</span>`;
    heading.title = `${name.replace("_", " ")}: ${equation}`;
    row.append(heading);
    return [0, 1].map(() => {
      const cell = row.insertCell(), box = document.createElement("div"), text = document.createElement("span");
      box.className = "cell";
      const canvas = name === "eigenvectors" || name === "clipped" ? null : document.createElement("canvas");
      box.append(text, ...(canvas ? [canvas] : []));
      canvas?.setAttribute("aria-hidden", "true");
      cell.append(box);
      return { cell, text, canvas };
    });
  });
  panel.rule = rule;
}

// now: which step's terms are shown.
function draw_panel({ rule, run, now, settings, color, scheme }) {
  if (panel.rule !== rule) build_rows(rule);
  const threshold = settings.clip ?? settings.rho;
  ROWS[rule].forEach(([name], k) => {
    panel.cells[k].forEach(({ canvas }, i) => {
      if (!canvas) return;
      const bounded = name === "ratio" || (name === "update" && "clip" in settings) || (name === "q" && "rho" in settings);
      draw_history(canvas, {
        values: run.terms.map((terms) => term_of(terms, name, i, settings) ?? NaN),
        now, color, scheme, threshold: bounded ? threshold : NaN,
        clipped: name === "ratio" ? run.terms.map((terms) => terms.clipped[i]) : null,
      });
    });
  });
  // texts last: asking for the size of a canvas after a text has changed would lay out the page anew, each time
  ROWS[rule].forEach(([name], k) => {
    panel.cells[k].forEach(({ cell, text }, i) => {
      text.textContent = format(term_of(run.terms[now], name, i, settings));
      cell.classList.toggle("clipped", ["ratio", "clipped"].includes(name) && Boolean(run.terms[now]?.clipped[i]));
    });
  });
}
