"use strict";
// What sophia_ref/oracle.py and sophia_ref/run.py are to the Python: answers about a landscape, and a run of steps.

class Oracle {
  // At theta = [x, y], of a landscape's jet function, with gradient noise xi and draws for the estimators.
  constructor(jet, theta, xi, draws) {
    [this.loss, this.gx, this.gy, this.xx, this.xy, this.yy] = jet(...theta);
    Object.assign(this, { xi, draws, cost: 0, lost: Number.isNaN(this.loss) });
  }
  grad() {
    return this.sound(1, [this.gx + this.xi[0], this.gy + this.xi[1]]);
  }
  hvp([u, v]) {
    return this.sound(3, [this.xx * u + this.xy * v, this.xy * u + this.yy * v]);
  }
  hessian_diag() {
    return this.sound(6, [this.xx, this.yy]);
  }
  hessian() {
    this.sound(6, [this.xx, this.xy, this.yy]);
    return [[this.xx, this.xy], [this.xy, this.yy]];
  }
  normal() {
    return [this.draws.normal(), this.draws.normal()];
  }
  signs() {
    return [this.draws.sign(), this.draws.sign()];
  }
  sound(price, answer) {
    this.cost += price;
    this.lost ||= !answer.every(Number.isFinite);
    return answer;
  }
}

// Random numbers that a seed repeats: mulberry32, and Marsaglia's polar method for normal ones.
function random(seed) {
  let state = Math.imul(seed + 1, 0x9e3779b9), spare = null;
  const uniform = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const normal = () => {
    if (spare !== null) {
      const kept = spare;
      spare = null;
      return kept;
    }
    let u, v, s;
    do {
      [u, v] = [2 * uniform() - 1, 2 * uniform() - 1];
      s = u * u + v * v;
    } while (s >= 1 || s === 0);
    const scale = Math.sqrt((-2 * Math.log(s)) / s);
    spare = v * scale;
    return u * scale;
  };
  return { normal, sign: () => (uniform() < 0.5 ? -1 : 1) };
}

// `steps` steps from `start`: { trajectory, losses, cost, terms, diverged_at }. Entry i of the first three belongs to
// the point after i steps; terms[i] are those of the step that leads on from there, also from the last point, and theta
// after it. A run ends where something is not finite, as in Python. Losses are without noise, which is the same for all.
function run(landscape, optimizer, settings, start, steps, noise, seed) {
  const { init, step } = OPTIMIZERS[optimizer];
  const data = random(2 * seed), draws = random(2 * seed + 1);
  const trajectory = [], losses = [], cost = [], terms = [];
  let theta = start, state = init(theta), spent = 0;
  for (let t = 0; ; t++) {
    const xi = noise > 0 ? [noise * data.normal(), noise * data.normal()] : [0, 0];
    const oracle = new Oracle(landscape.jet, theta, xi, draws);
    const next = step(theta, state, oracle, settings);
    trajectory.push(theta);
    losses.push(oracle.loss);
    cost.push(spent);
    if (oracle.lost || !next.theta.every(Number.isFinite)) {
      return { trajectory, losses, cost, terms, diverged_at: t < steps ? t + 1 : null };
    }
    terms.push({ ...next.terms, theta: next.theta });
    if (t === steps) return { trajectory, losses, cost, terms, diverged_at: null };
    ({ theta, state } = next);
    spent += oracle.cost;
  }
}
