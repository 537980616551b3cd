"use strict";
// The state of one optimizer, coordinate by coordinate: every term under its name in the paper, with its equation, its
// value at the step and its history. The rows [name of the term, symbol, formula] come from sophia_ref/equations.py.

function format(value, digits = 4) {
  if (Array.isArray(value)) return `(${value.map((v) => format(v, 2)).join(", ")})`;
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (size === 0 || (size >= 1e-3 && size < 1e5)) return minus(Number(value.toPrecision(digits)));
  return minus(Number(value.toPrecision(digits - 1)).toExponential().replace("e+", "e"));
}

// One term of one coordinate at one step; v of Newton's methods is a column of eigenvectors.
function term_of(terms, name, i, settings) {
  if (!terms) return undefined;
  if (name === "gamma_h") return settings.gamma * terms.h[i];
  if (name === "eigenvectors") return [terms.eigenvectors[0][i], terms.eigenvectors[1][i]];
  return terms[name]?.[i];
}

const panel = { rule: null, cells: [] };

function build_rows({ rule, rows }) {
  const newtonian = rows.some(([name]) => name === "eigenvalues");
  const [x, y] = newtonian ? ["x, or 1st eigenvector", "y, or 2nd eigenvector"] : ["x", "y"];
  document.getElementById("columns").innerHTML =
    `<tr><th class="term" scope="col">next step</th><th scope="col">${x}</th><th scope="col">${y}</th></tr>`;
  const body = document.getElementById("terms");
  body.textContent = "";
  panel.cells = rows.map(([name, symbol, formula]) => {
    const row = body.insertRow(), heading = document.createElement("th");
    heading.scope = "row";
    heading.innerHTML = `<b>${symbol}</b> <span class="equation">${formula}</span>`;
    heading.title = `${symbol} = ${formula}`;
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
function draw_panel({ look, run, now, settings, scheme }) {
  const { rule, rows, color } = look;
  if (panel.rule !== rule) build_rows(look);
  const threshold = settings.clip ?? settings.rho;
  rows.forEach(([name], k) => {
    panel.cells[k].forEach(({ canvas }, i) => {
      if (!canvas) return;
      const limited = "clip" in settings ? "update" : "q", bounded = name === "ratio" || name === limited;
      draw_history(canvas, {
        values: run.terms.map((terms) => term_of(terms, name, i, settings) ?? NaN),
        now, color, scheme, threshold: bounded ? threshold : NaN,
        clipped: name === "ratio" ? run.terms.map((terms) => terms.clipped[i]) : null,
      });
    });
  });
  // texts last: asking for the size of a canvas after a text has changed would lay out the page anew, each time
  rows.forEach(([name], k) => {
    panel.cells[k].forEach(({ cell, text }, i) => {
      text.textContent = format(term_of(run.terms[now], name, i, settings));
      cell.classList.toggle("clipped", ["ratio", "clipped"].includes(name) && Boolean(run.terms[now]?.clipped[i]));
    });
  });
}
