"use strict";
// Derivatives of functions of x and y. A jet is [value, d/dx, d/dy, d²/dx², d²/dxdy, d²/dy²]; every operation follows
// the chain rule, so the result is exact to rounding. A landscape's program (trace.py) runs on `jets`, or on `plain` for
// its value alone.

const { abs, acos, acosh, asin, asinh, atan, atan2, atanh, cbrt, cos, cosh, exp, expm1, hypot } = Math;
const { log, log10, log1p, log2, max, min, pow, sign, sin, sinh, sqrt, tan, tanh, LN2, LN10 } = Math;

// name: y = f(x), f'(x), f''(x)
const UNARY = {
  positive:   [(x) => x,         (x, y) => 1,                  (x, y) => 0],
  negative:   [(x) => -x,        (x, y) => -1,                 (x, y) => 0],
  absolute:   [abs,              (x, y) => sign(x),            (x, y) => 0],
  sign:       [sign,             (x, y) => 0,                  (x, y) => 0],
  square:     [(x) => x * x,     (x, y) => 2 * x,              (x, y) => 2],
  reciprocal: [(x) => 1 / x,     (x, y) => -y * y,             (x, y) => 2 * y * y * y],
  sqrt:       [sqrt,             (x, y) => 0.5 / y,            (x, y) => -0.25 / (x * y)],
  cbrt:       [cbrt,             (x, y) => 1 / (3 * y * y),    (x, y) => -2 / (9 * y * y * x)],
  exp:        [exp,              (x, y) => y,                  (x, y) => y],
  exp2:       [(x) => pow(2, x), (x, y) => LN2 * y,            (x, y) => LN2 * LN2 * y],
  expm1:      [expm1,            (x, y) => y + 1,              (x, y) => y + 1],
  log:        [log,              (x, y) => 1 / x,              (x, y) => -1 / (x * x)],
  log2:       [log2,             (x, y) => 1 / (LN2 * x),      (x, y) => -1 / (LN2 * x * x)],
  log10:      [log10,            (x, y) => 1 / (LN10 * x),     (x, y) => -1 / (LN10 * x * x)],
  log1p:      [log1p,            (x, y) => 1 / (1 + x),        (x, y) => -1 / (1 + x) ** 2],
  sin:        [sin,              (x, y) => cos(x),             (x, y) => -y],
  cos:        [cos,              (x, y) => -sin(x),            (x, y) => -y],
  tan:        [tan,              (x, y) => 1 + y * y,          (x, y) => 2 * y * (1 + y * y)],
  arcsin:     [asin,             (x, y) => (1 - x * x) ** -0.5, (x, y) => x * (1 - x * x) ** -1.5],
  arccos:     [acos,             (x, y) => -((1 - x * x) ** -0.5), (x, y) => -x * (1 - x * x) ** -1.5],
  arctan:     [atan,             (x, y) => 1 / (1 + x * x),    (x, y) => (-2 * x) / (1 + x * x) ** 2],
  sinh:       [sinh,             (x, y) => cosh(x),            (x, y) => y],
  cosh:       [cosh,             (x, y) => sinh(x),            (x, y) => y],
  tanh:       [tanh,             (x, y) => 1 - y * y,          (x, y) => -2 * y * (1 - y * y)],
  arcsinh:    [asinh,            (x, y) => (x * x + 1) ** -0.5, (x, y) => -x * (x * x + 1) ** -1.5],
  arccosh:    [acosh,            (x, y) => (x * x - 1) ** -0.5, (x, y) => -x * (x * x - 1) ** -1.5],
  arctanh:    [atanh,            (x, y) => 1 / (1 - x * x),    (x, y) => (2 * x) / (1 - x * x) ** 2],
};

// name: y = f(a, b), then [f_a, f_b, f_aa, f_ab, f_bb] at (a, b, y)
const BINARY = {
  power: [pow, power_slopes],
  hypot: [hypot, (a, b, y, u = a / (y || 1), v = b / (y || 1)) =>
    [u, v, (v * v) / (y || 1), (-u * v) / (y || 1), (u * u) / (y || 1)]],
  arctan2: [atan2, (a, b, y, r = hypot(a, b), u = a / r, v = b / r) =>
    [v / r, -u / r, (-2 * u * v) / r / r, ((u - v) * (u + v)) / r / r, (2 * u * v) / r / r]],
  logaddexp: [
    (a, b) => (a === b ? a + LN2 : max(a, b) + log1p(exp(-abs(a - b)))),
    (a, b, y, p = exp(a - y), q = exp(b - y)) => [p, q, p * q, -p * q, p * q],
  ],
};

function power_slopes(x, n, y) {
  // n x^(n-1) is 0 for n = 0 even at x = 0, and 0 ln 0 = 0
  const of = (factor, exponent) => (factor === 0 ? 0 : factor * pow(x, exponent));
  const ln = log(x === 0 ? 1 : x);
  return [of(n, n - 1), y * ln, of(n * (n - 1), n - 2), of(1 + n * ln, n - 1), y * ln * ln];
}

const COMPARE = {
  less: (a, b) => a < b, less_equal: (a, b) => a <= b, greater: (a, b) => a > b, greater_equal: (a, b) => a >= b,
  equal: (a, b) => a === b, not_equal: (a, b) => a !== b,
};

const LOGIC = {
  logical_and: (a, b) => a && b, logical_or: (a, b) => a || b, logical_not: (a) => !a,
  where: (condition, a, b) => (condition ? a : b),
};

const plain = {
  constant: (c) => c,
  add: (a, b) => a + b,
  subtract: (a, b) => a - b,
  multiply: (a, b) => a * b,
  divide: (a, b) => a / b,
  maximum: max,
  minimum: min,
  ...Object.fromEntries([...Object.entries(UNARY), ...Object.entries(BINARY)].map(([name, [f]]) => [name, f])),
  ...COMPARE,
  ...LOGIC,
};

const jets = {
  constant: (c) => [c, 0, 0, 0, 0, 0],
  add: (a, b) => [a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4], a[5] + b[5]],
  subtract: (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3], a[4] - b[4], a[5] - b[5]],
  multiply: (a, b) => [
    a[0] * b[0],
    a[0] * b[1] + a[1] * b[0],
    a[0] * b[2] + a[2] * b[0],
    a[0] * b[3] + 2 * a[1] * b[1] + a[3] * b[0],
    a[0] * b[4] + a[1] * b[2] + a[2] * b[1] + a[4] * b[0],
    a[0] * b[5] + 2 * a[2] * b[2] + a[5] * b[0],
  ],
  divide: (a, b) => {
    // from a = y b:  y' = (a' - y b') / b,  y'' = (a'' - 2 y' b' - y b'') / b
    const y = a[0] / b[0], x1 = (a[1] - y * b[1]) / b[0], y1 = (a[2] - y * b[2]) / b[0];
    return [
      y, x1, y1,
      (a[3] - 2 * x1 * b[1] - y * b[3]) / b[0],
      (a[4] - x1 * b[2] - y1 * b[1] - y * b[4]) / b[0],
      (a[5] - 2 * y1 * b[2] - y * b[5]) / b[0],
    ];
  },
  // half of each where they tie, as in sophia_ref
  maximum: (a, b) => (a[0] > b[0] ? a : a[0] < b[0] ? b : middle(a, b)),
  minimum: (a, b) => (a[0] < b[0] ? a : a[0] > b[0] ? b : middle(a, b)),
  ...map_entries(UNARY, ([f, slope, bend]) => (a) => {
    const y = f(a[0]);
    return chain(a, y, slope(a[0], y), bend(a[0], y));
  }),
  ...map_entries(BINARY, ([f, slopes]) => (a, b) => {
    const y = f(a[0], b[0]);
    const [fa, fb, faa, fab, fbb] = slopes(a[0], b[0], y);
    if (is_constant(b)) return chain(a, y, fa, faa);
    if (is_constant(a)) return chain(b, y, fb, fbb);
    const second = (i, j, ij) =>
      faa * a[i] * a[j] + fab * (a[i] * b[j] + a[j] * b[i]) + fbb * b[i] * b[j] + fa * a[ij] + fb * b[ij];
    return [y, fa * a[1] + fb * b[1], fa * a[2] + fb * b[2], second(1, 1, 3), second(1, 2, 4), second(2, 2, 5)];
  }),
  ...map_entries(COMPARE, (f) => (a, b) => f(a[0], b[0])),
  ...LOGIC,
};

function chain(a, y, slope, bend) {
  // f(a)' = f' a',  f(a)'' = f'' a' a' + f' a''
  return [
    y, slope * a[1], slope * a[2],
    bend * a[1] * a[1] + slope * a[3], bend * a[1] * a[2] + slope * a[4], bend * a[2] * a[2] + slope * a[5],
  ];
}

function middle(a, b) {
  return a.map((value, i) => (value + b[i]) / 2);
}

function is_constant(a) {
  return a[1] === 0 && a[2] === 0 && a[3] === 0 && a[4] === 0 && a[5] === 0;
}

function map_entries(table, f) {
  return Object.fromEntries(Object.entries(table).map(([name, entry]) => [name, f(entry)]));
}
