"use strict";
// The optimizers' rules, with the names and equations of sophia_ref/optimizers/. Arrays have one number a coordinate.
// `make test-web` compares every term of every rule with the Python.

// [f(a[0], b[0], c[0]), f(a[1], b[1], c[1]), ...]
const each = (f, a, b = a, c = a) => a.map((_, i) => f(a[i], b[i], c[i]));

// sophia.py

function sophia_update(theta, m, h, g, { lr, beta1, gamma, clip, eps, weight_decay }) {
  // m_t = β₁ m_{t-1} + (1 - β₁) g_t
  m = each((m, g) => beta1 * m + (1 - beta1) * g, m, g);
  // m_t / max(γ h_t, ε)
  const denominator = each((h) => Math.max(gamma * h, eps), h);
  const ratio = each((m, d) => m / d, m, denominator);
  // clip(z, ρ) = max(min(z, ρ), -ρ)
  const update = each((z) => Math.max(Math.min(z, clip), -clip), ratio);
  const clipped = each((z) => Math.abs(z) > clip, ratio);
  // θ_t ← θ_t - η_t λ θ_t
  theta = each((x) => x - lr * weight_decay * x, theta);
  // θ_{t+1} = θ_t - η_t clip(m_t / max(γ h_t, ε), ρ)
  theta = each((x, u) => x - lr * u, theta, update);
  return { theta, m, terms: { g, m, h, denominator, ratio, clipped, update } };
}

// adam.py

function adam_update(theta, m, v, g, { t, lr, beta1, beta2, eps }) {
  // m_t = β₁ m_{t-1} + (1 - β₁) g_t
  m = each((m, g) => beta1 * m + (1 - beta1) * g, m, g);
  // v_t = β₂ v_{t-1} + (1 - β₂) g_t²
  v = each((v, g) => beta2 * v + (1 - beta2) * g ** 2, v, g);
  // m̂_t = m_t / (1 - β₁ᵗ),  v̂_t = v_t / (1 - β₂ᵗ)
  const m_hat = each((m) => m / (1 - beta1 ** t), m);
  const v_hat = each((v) => v / (1 - beta2 ** t), v);
  // θ_t = θ_{t-1} - η m̂_t / (√v̂_t + ε)
  const denominator = each((v_hat) => Math.sqrt(v_hat) + eps, v_hat);
  const update = each((m_hat, d) => m_hat / d, m_hat, denominator);
  theta = each((x, u) => x - lr * u, theta, update);
  return { theta, m, v, terms: { g, m, v, m_hat, v_hat, denominator, update } };
}

function adamw_update(theta, m, v, g, { lr, weight_decay, ...adam }) {
  // θ_{t-1} ← θ_{t-1} - η λ θ_{t-1}
  theta = each((x) => x - lr * weight_decay * x, theta);
  return adam_update(theta, m, v, g, { lr, ...adam });
}

// adahessian.py

function adahessian_update(theta, m, v, g, D, { t, lr, beta1, beta2, eps, weight_decay }) {
  // m_t = β₁ m_{t-1} + (1 - β₁) g_t
  m = each((m, g) => beta1 * m + (1 - beta1) * g, m, g);
  // v_t = β₂ v_{t-1} + (1 - β₂) D_t²
  v = each((v, D) => beta2 * v + (1 - beta2) * D ** 2, v, D);
  // m̂_t = m_t / (1 - β₁ᵗ),  v̂_t = v_t / (1 - β₂ᵗ)
  const m_hat = each((m) => m / (1 - beta1 ** t), m);
  const v_hat = each((v) => v / (1 - beta2 ** t), v);
  // θ_{t-1} ← θ_{t-1} - η λ θ_{t-1},  θ_t = θ_{t-1} - η m̂_t / (√v̂_t + ε)
  const denominator = each((v_hat) => Math.sqrt(v_hat) + eps, v_hat);
  const update = each((m_hat, d) => m_hat / d, m_hat, denominator);
  theta = each((x) => x - lr * weight_decay * x, theta);
  theta = each((x, u) => x - lr * u, theta, update);
  return { theta, m, v, terms: { g, D, m, v, m_hat, v_hat, denominator, update } };
}

// lion.py

function lion_update(theta, m, g, { lr, beta1, beta2, weight_decay }) {
  // c_t = β₁ m_{t-1} + (1 - β₁) g_t
  const c = each((m, g) => beta1 * m + (1 - beta1) * g, m, g);
  // θ_t = θ_{t-1} - η (sign(c_t) + λ θ_{t-1})
  const update = each((c, x) => Math.sign(c) + weight_decay * x, c, theta);
  theta = each((x, u) => x - lr * u, theta, update);
  // m_t = β₂ m_{t-1} + (1 - β₂) g_t
  m = each((m, g) => beta2 * m + (1 - beta2) * g, m, g);
  return { theta, m, terms: { g, m, c, update } };
}

// first_order.py

function gradient_descent_update(theta, g, { lr }) {
  // θ_t = θ_{t-1} - η g_t
  return { theta: each((x, g) => x - lr * g, theta, g), terms: { g, update: g } };
}

function sign_gd_update(theta, g, { lr }) {
  // θ_t = θ_{t-1} - η sign(g_t),  sign(0) = 0
  const update = each(Math.sign, g);
  return { theta: each((x, u) => x - lr * u, theta, update), terms: { g, update } };
}

function momentum_update(theta, m, g, { lr, beta }) {
  // m_t = β m_{t-1} + g_t
  m = each((m, g) => beta * m + g, m, g);
  // θ_t = θ_{t-1} - η m_t
  return { theta: each((x, m) => x - lr * m, theta, m), m, terms: { g, m, update: m } };
}

function signum_update(theta, m, g, { lr, beta, weight_decay }) {
  // m_t = β m_{t-1} + (1 - β) g_t
  m = each((m, g) => beta * m + (1 - beta) * g, m, g);
  // θ_{t-1} ← θ_{t-1} - η λ θ_{t-1},  θ_t = θ_{t-1} - η sign(m_t)
  const update = each(Math.sign, m);
  theta = each((x) => x - lr * weight_decay * x, theta);
  return { theta: each((x, u) => x - lr * u, theta, update), m, terms: { g, m, update } };
}

// newton.py: with H = V diag(s) Vᵀ and c = Vᵀ g, each method is a division of c by s

function newton_update(theta, g, hessian, { lr }) {
  const [s, V, c] = eigenbasis(g, hessian);
  // q = c / s
  return descend(theta, lr, g, s, V, c, divide(c, s));
}

function damped_newton_update(theta, g, hessian, { lr, damping }) {
  const [s, V, c] = eigenbasis(g, hessian);
  // q = c / (s + δ)
  return descend(theta, lr, g, s, V, c, divide(c, each((s) => s + damping, s)));
}

function saddle_free_newton_update(theta, g, hessian, { lr, damping }) {
  const [s, V, c] = eigenbasis(g, hessian);
  // q = c / (|s| + δ)
  return descend(theta, lr, g, s, V, c, divide(c, each((s) => Math.abs(s) + damping, s)));
}

function clipped_newton_update(theta, g, hessian, { lr, rho }) {
  const [s, V, c] = eigenbasis(g, hessian);
  // q = clip(c / s, ρ), to the letter: it climbs where s < 0, and where s = 0 it is ρ sign(c)
  const ratio = each((c, s) => (c === 0 ? c : c / s), c, s);
  const q = each((z) => Math.max(Math.min(z, rho), -rho), ratio);
  const clipped = each((z) => Math.abs(z) > rho, ratio);
  const step = descend(theta, lr, g, s, V, c, q);
  return { ...step, terms: { ...step.terms, ratio, clipped } };
}

function eigenbasis(g, hessian) {
  const [s, V] = eigh(hessian);
  return [s, V, each((_, i) => V[0][i] * g[0] + V[1][i] * g[1], [0, 1], [0, 1])];
}

function divide(c, s) {
  // c / s, but 0 where |s| is rounding error beside the largest: directions without curvature are left alone
  const rounding = 2 * Number.EPSILON * Math.max(...each(Math.abs, s));
  return each((c, s) => c / (Math.abs(s) > rounding ? s : Infinity), c, s);
}

function descend(theta, lr, g, s, V, c, q) {
  // θ_t = θ_{t-1} - η V q
  const update = each((row) => row[0] * q[0] + row[1] * q[1], V);
  const terms = { g, eigenvalues: s, eigenvectors: V, c, q, update };
  return { theta: each((x, u) => x - lr * u, theta, update), terms };
}

function eigh([[a, b], [, d]]) {
  // Of [[a, b], [b, d]]: eigenvalues in ascending order, eigenvectors as columns. LAPACK's dlaev2, as in NumPy's eigh.
  const sum = a + d, difference = a - d, root = Math.hypot(difference, 2 * b);
  const larger = Math.max(Math.abs(a), Math.abs(d)) === Math.abs(a) ? a : d, smaller = larger === a ? d : a;
  const side = sum < 0 ? -1 : 1;
  // first: of the larger magnitude; second from the determinant, which cancels less than sum - root
  const first = sum === 0 ? root / 2 : (sum + side * root) / 2;
  const second = sum === 0 ? -root / 2 : (larger / first) * smaller - (b / first) * b;
  const cs = difference + (difference >= 0 ? root : -root);
  let cosine, sine;
  if (Math.abs(cs) > Math.abs(2 * b)) {
    const cotangent = (-2 * b) / cs;
    sine = 1 / Math.sqrt(1 + cotangent ** 2);
    cosine = cotangent * sine;
  } else if (b === 0) {
    [cosine, sine] = [1, 0];
  } else {
    const tangent = -cs / (2 * b);
    cosine = 1 / Math.sqrt(1 + tangent ** 2);
    sine = tangent * cosine;
  }
  if (side === (difference >= 0 ? 1 : -1)) [cosine, sine] = [-sine, cosine];
  // (cosine, sine) belongs to first
  return first > second
    ? [[second, first], [[-sine, cosine], [cosine, sine]]]
    : [[first, second], [[cosine, -sine], [sine, cosine]]];
}

// curvature.py: each estimator a function oracle -> h_hat

function hutchinson(oracle) {
  // h_hat = u * (H u),  u ~ N(0, I)
  const u = oracle.normal();
  return each((u, Hu) => u * Hu, u, oracle.hvp(u));
}

function hutchinson_rademacher(oracle) {
  // h_hat = u * (H u),  u of random signs
  const u = oracle.signs();
  return each((u, Hu) => u * Hu, u, oracle.hvp(u));
}

function exact_diagonal(oracle) {
  return oracle.hessian_diag();
}

const ESTIMATORS = { hutchinson, hutchinson_rademacher, exact_diagonal };

// What each optimizer remembers, and its step: (theta, state, oracle, settings) -> { theta, state, terms }.

const OPTIMIZERS = {
  Sophia: optimizer(["m", "h"], (theta, { m, h }, oracle, settings, t) => {
    const g = oracle.grad();
    const estimate = {};
    // the paper's t mod k = 1 would never hold for k = 1
    if ((t - 1) % settings.every === 0) {
      const h_hat = ESTIMATORS[settings.estimator](oracle);
      // h_t = β₂ h_{t-k} + (1 - β₂) ĥ_t
      h = each((h, h_hat) => settings.beta2 * h + (1 - settings.beta2) * h_hat, h, h_hat);
      estimate.h_hat = h_hat;
    }
    const step = sophia_update(theta, m, h, g, settings);
    return { ...step, h, terms: { ...step.terms, ...estimate } };
  }),
  Adam: optimizer(["m", "v"], (theta, { m, v }, oracle, settings, t) =>
    adam_update(theta, m, v, oracle.grad(), { ...settings, t })),
  AdamW: optimizer(["m", "v"], (theta, { m, v }, oracle, settings, t) =>
    adamw_update(theta, m, v, oracle.grad(), { ...settings, t })),
  AdaHessian: optimizer(["m", "v"], (theta, { m, v }, oracle, settings, t) => {
    const g = oracle.grad();
    const h_hat = ESTIMATORS[settings.estimator](oracle);
    const step = adahessian_update(theta, m, v, g, h_hat, { ...settings, t });
    return { ...step, terms: { ...step.terms, h_hat } };
  }),
  Lion: optimizer(["m"], (theta, { m }, oracle, settings) => lion_update(theta, m, oracle.grad(), settings)),
  GradientDescent: optimizer([], (theta, _, oracle, settings) =>
    gradient_descent_update(theta, oracle.grad(), settings)),
  SignGD: optimizer([], (theta, _, oracle, settings) => sign_gd_update(theta, oracle.grad(), settings)),
  Momentum: optimizer(["m"], (theta, { m }, oracle, settings) => momentum_update(theta, m, oracle.grad(), settings)),
  Signum: optimizer(["m"], (theta, { m }, oracle, settings) => signum_update(theta, m, oracle.grad(), settings)),
  Newton: optimizer([], (theta, _, oracle, settings) =>
    newton_update(theta, oracle.grad(), oracle.hessian(), settings)),
  DampedNewton: optimizer([], (theta, _, oracle, settings) =>
    damped_newton_update(theta, oracle.grad(), oracle.hessian(), settings)),
  SaddleFreeNewton: optimizer([], (theta, _, oracle, settings) =>
    saddle_free_newton_update(theta, oracle.grad(), oracle.hessian(), settings)),
  ClippedNewton: optimizer([], (theta, _, oracle, settings) =>
    clipped_newton_update(theta, oracle.grad(), oracle.hessian(), settings)),
};
OPTIMIZERS.SophiaH = OPTIMIZERS.Sophia; // with another estimator among its settings

function optimizer(memory, rule) {
  return {
    init: (theta) => ({ t: 0, ...Object.fromEntries(memory.map((name) => [name, each(() => 0, theta)])) }),
    step(theta, state, oracle, settings) {
      const t = state.t + 1;
      const step = rule(theta, state, oracle, settings, t);
      return { ...step, state: { t, ...Object.fromEntries(memory.map((name) => [name, step[name]])) } };
    },
  };
}
