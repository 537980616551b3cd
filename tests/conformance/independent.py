"""Sophia in five profiles, Adam, AdamW and Lion once more, in NumPy alone: nothing of sophia_ref is imported.

`run(case)` goes through a conformance case and gives one dict of arrays a step. It was written from the interface and
the rules, by someone who had not seen the vectors, so that what the vectors catch in its mutants says something.
"""

from numbers import Integral, Real

import numpy as np

SETTINGS = {  # of each profile, beside lr: what they are where a case does not say
    "paper-H": dict(beta1=0.96, beta2=0.99, gamma=0.01, clip=1.0, eps=1e-12, weight_decay=0.0, every=10),
    "paper-G": dict(beta1=0.96, beta2=0.99, gamma=0.05, clip=1.0, eps=1e-12, weight_decay=0.0, every=10),
    "official-G": dict(beta1=0.965, beta2=0.99, rho=0.04, bs=5120.0, weight_decay=0.1, every=10),
    "optax-H": dict(beta1=0.965, beta2=0.99, gamma=0.01, clip=1.0, eps=1e-8, weight_decay=1e-4, every=10),
    "Levanter-H": dict(beta1=0.96, beta2=0.99, gamma=0.01, clip=1.0, eps=1e-12, weight_decay=0.1, every=10),
    "Adam": dict(beta1=0.9, beta2=0.999, eps=1e-8),
    "AdamW": dict(beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01),
    "Lion": dict(beta1=0.9, beta2=0.99, weight_decay=0.0),
}
IN_RANGE = {
    "lr": lambda x: 0 <= x < np.inf,
    "beta1": lambda x: 0 <= x < 1,
    "beta2": lambda x: 0 <= x < 1,
    "gamma": lambda x: 0 < x < np.inf,
    "rho": lambda x: 0 < x < np.inf,
    "bs": lambda x: 0 < x < np.inf,
    "eps": lambda x: 0 < x < np.inf,
    "clip": lambda x: x > 0,  # infinity turns clipping off
    "weight_decay": lambda x: 0 <= x < np.inf,
}


def run(case):
    """Field -> array for each step of the case. Raises TypeError or ValueError for what is to be refused."""
    with np.errstate(all="ignore"):
        theta = checked_theta(case.theta)
        optimizer = Optimizer(case)
        rows = []
        for i, step in enumerate(case.steps):
            if i == case.resume_after:
                saved = {"theta": theta.copy()} | optimizer.save()
                optimizer = Optimizer(case)
                optimizer.load(saved)
                theta = saved["theta"]
            theta = laid_out(theta, case.layout)
            g = theta if case.layout == "alias" else laid_out(finite("g", step.g, theta), case.layout)
            theta, fields = optimizer.step(theta, g, step)
            rows.append({"theta": theta.copy()} | fields)
        return rows


# -- optimizers --------------------------------------------------------------------------------------------------------


class Optimizer:
    """The rule of a case's profile, and what it remembers: t steps taken, m, and h (v for Adam and AdamW)."""

    def __init__(self, case):
        self.profile, self.layout = case.profile, case.layout
        self.settings = checked_settings(case)
        self.rates = checked_rates(case)
        self.first = integer("t", case.t, 0)
        self.t = self.first
        self.m = state("m", case.m, case)
        self.h = state("h", case.h, case)
        self.decay = self.settings.get("weight_decay", 0.0)
        if case.decay_mask is not None:
            self.decay = masked_decay(self.decay, case.decay_mask, case.theta)

    def save(self):
        return {"t": np.array(self.t), "m": self.m.copy(), "h": self.h.copy()}

    def load(self, saved):
        self.t = int(saved["t"])
        self.m = saved["m"]
        self.h = saved["h"]

    def step(self, theta, g, step):
        """theta, g -> new theta, fields."""
        finite("theta", theta, theta)
        t = self.t + 1
        lr = self.rates[t - 1 - self.first]
        h_hat = None
        if due(self.profile, t, self.settings.get("every")):
            h_hat = finite("h_hat", estimate(self.profile, step, theta, self.layout), theta)
        rule = RULES[self.profile]
        theta, fields = rule(self, theta, g, h_hat, lr, t, **self.settings)
        if h_hat is not None:
            fields["h_hat"] = h_hat
        self.t = t
        return theta, fields

    def paper(self, theta, g, h_hat, lr, t, beta1, beta2, gamma, clip, eps, **_):
        self.m = beta1 * self.m + (1 - beta1) * g
        if h_hat is not None:
            self.h = beta2 * self.h + (1 - beta2) * h_hat
        denominator = np.maximum(gamma * self.h, eps)
        ratio = self.m / denominator
        update = np.clip(ratio, -clip, clip)
        clipped = np.abs(ratio) > clip
        theta = theta - lr * self.decay * theta
        theta = theta - lr * update
        fields = {"m": self.m, "h": self.h, "denominator": denominator, "ratio": ratio}
        return theta, fields | {"clipped": clipped, "update": update}

    def official(self, theta, g, h_hat, lr, t, beta1, beta2, rho, bs, **_):
        self.m = beta1 * self.m + (1 - beta1) * g
        if h_hat is not None:
            self.h = beta2 * self.h + (1 - beta2) * h_hat
        denominator = rho * bs * self.h + 1e-15
        ratio = self.m / denominator
        length = np.abs(self.m) / denominator
        update = np.sign(self.m) * np.minimum(length, 1.0)
        theta = theta * (1 - lr * self.decay)
        theta = theta - lr * update
        fields = {"m": self.m, "h": self.h, "denominator": denominator, "ratio": ratio}
        return theta, fields | {"clipped": length > 1.0, "update": update}

    def optax(self, theta, g, h_hat, lr, t, beta1, beta2, gamma, clip, eps, **_):
        self.m = beta1 * self.m + (1 - beta1) * g
        m_hat = self.m / (1 - beta1**t)
        denominator = np.maximum(gamma * self.h, eps)
        ratio = m_hat / denominator
        update = np.clip(ratio, -clip, clip)
        clipped = np.abs(ratio) > clip
        theta = theta - lr * (update + self.decay * theta)
        if h_hat is not None:
            self.h = beta2 * self.h + (1 - beta2) * h_hat
        fields = {"m": self.m, "h": self.h, "m_hat": m_hat, "denominator": denominator, "ratio": ratio}
        return theta, fields | {"clipped": clipped, "update": update}

    def adam(self, theta, g, h_hat, lr, t, beta1, beta2, eps, **_):
        self.m = beta1 * self.m + (1 - beta1) * g
        self.h = beta2 * self.h + (1 - beta2) * g**2
        m_hat = self.m / (1 - beta1**t)
        v_hat = self.h / (1 - beta2**t)
        denominator = np.sqrt(v_hat) + eps
        update = m_hat / denominator
        theta = theta - lr * self.decay * theta
        theta = theta - lr * update
        fields = {"m": self.m, "v": self.h, "m_hat": m_hat, "v_hat": v_hat}
        return theta, fields | {"denominator": denominator, "update": update}

    def lion(self, theta, g, h_hat, lr, t, beta1, beta2, **_):
        c = beta1 * self.m + (1 - beta1) * g
        update = np.sign(c) + self.decay * theta
        theta = theta - lr * update
        self.m = beta2 * self.m + (1 - beta2) * g
        return theta, {"m": self.m, "c": c, "update": update}


RULES = {
    "paper-H": Optimizer.paper,
    "paper-G": Optimizer.paper,
    "official-G": Optimizer.official,
    "optax-H": Optimizer.optax,
    "Levanter-H": Optimizer.optax,
    "Adam": Optimizer.adam,
    "AdamW": Optimizer.adam,
    "Lion": Optimizer.lion,
}


def due(profile, t, every):
    """Whether an estimate of the curvature is made in step t = 1, 2, ..."""
    if profile in ("paper-H", "paper-G", "optax-H"):
        return (t - 1) % every == 0
    if profile == "official-G":  # after its steps k, 2k, ...: before k + 1, 2k + 1, ...
        return t > every and (t - 1) % every == 0
    if profile == "Levanter-H":
        return t % every == 0
    return False


# -- estimates of the curvature ----------------------------------------------------------------------------------------


def estimate(profile, step, theta, layout):
    """h_hat, of theta's shape, from whatever the step offers."""
    if step.h_hat is not None:
        return laid_out(finite("h_hat", step.h_hat, theta), layout)
    if step.hutchinson is not None:
        return hutchinson(step.hutchinson, theta, layout)
    if step.gnb is not None:
        g_hat, B = sampled_gradient(theta, layout, **step.gnb)
        return g_hat * g_hat if profile == "official-G" else B * g_hat * g_hat
    if step.sampled_grad is not None and profile == "official-G":
        g_hat = laid_out(finite("sampled_grad", step.sampled_grad, theta), layout)
        return g_hat * g_hat
    raise ValueError(f"{profile}: an estimate of the curvature is due, and none is given")


def hutchinson(micro_batches, theta, layout):
    """Mean of u * (A u) over micro-batches of a matrix A (P, P) and a probe u (P,)."""
    if len(micro_batches) == 0:
        raise ValueError("hutchinson: expected one micro-batch or more")
    P = theta.size
    total = np.zeros(P, theta.dtype)
    for A, u in micro_batches:
        A = laid_out(finite("A", A, theta, (P, P)), layout)
        u = laid_out(finite("u", u, theta, (P,)), layout)
        total = total + u * (A @ u)
    mean = total / len(micro_batches)
    return mean.reshape(theta.shape)


def sampled_gradient(theta, layout, x, labels, mask, micro_batches, likelihood="categorical", true_labels=None, **_):
    """g_hat, of theta's shape: gradient of the mean loss over the B unmasked rows, with drawn labels; and B."""
    N, d = np.shape(x)
    if theta.size % d:
        raise ValueError(f"gnb: theta must have a multiple of {d} entries, got {theta.size}")
    x = laid_out(finite("x", x, theta, (N, d)), layout)
    W = theta.reshape(d, -1)
    mask = boolean("mask", mask, (N,))
    check_micro_batches(micro_batches, N)
    check_labels(labels, mask, likelihood, W)
    total = np.zeros_like(W)
    start = 0
    for length in micro_batches:
        rows = slice(start, start + length)
        total = total + summed_gradient(W, x[rows], labels[rows], mask[rows], likelihood)
        start = start + length
    B = int(mask.sum())
    if B == 0:
        raise ValueError("mask: every row is masked")
    g_hat = total / B
    return g_hat.reshape(theta.shape), B


def summed_gradient(W, x, labels, mask, likelihood):
    """Gradient (d, C) of the loss summed over the unmasked rows of x (n, d) at W (d, C)."""
    x, labels = x[mask], labels[mask]
    outputs = x @ W
    if likelihood == "gaussian":
        residual = outputs - labels
    else:
        residual = softmax(outputs)
        residual[np.arange(len(labels)), labels] -= 1
    return x.T @ residual


def softmax(logits):
    """Probabilities (n, C), row by row."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    return exponentials / exponentials.sum(axis=1, keepdims=True)


# -- arrays, and what is refused ---------------------------------------------------------------------------------------


def laid_out(array, layout):
    """A copy that lies in memory as asked."""
    if layout in ("C", "alias"):
        return np.array(array, order="C")
    if layout == "F":
        return np.array(array, order="F")
    if layout == "strided":
        longer = np.full((*array.shape[:-1], 2 * array.shape[-1]), np.nan, array.dtype)
        view = longer[..., ::2]
        view[...] = array
        return view
    raise ValueError(f"layout: {layout!r}")


def checked_theta(theta):
    if not isinstance(theta, np.ndarray) or theta.dtype.char not in "fd":
        raise TypeError("theta: expected a float32 or float64 array")
    if theta.ndim == 0:
        raise ValueError("theta: expected one axis or more")
    return finite("theta", theta, theta)


def same_kind(name, array, theta, shape=None):
    """array itself, once it is known to have theta's dtype, and this shape or theta's."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name}: expected an array, got {array!r}")
    expected = theta.shape if shape is None else shape
    if array.shape != expected:
        raise ValueError(f"{name}: expected shape {expected}, got {array.shape}")
    if array.dtype != theta.dtype:
        raise TypeError(f"{name}: expected dtype {theta.dtype}, got {array.dtype}")
    return array


def finite(name, array, theta, shape=None):
    """array itself, once it is known to be of the same kind and finite."""
    same_kind(name, array, theta, shape)
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite entries")
    return array


def boolean(name, array, shape):
    if not isinstance(array, np.ndarray) or array.dtype != np.bool_ or array.shape != shape:
        raise ValueError(f"{name}: expected a bool array of shape {shape}, got {array!r}")
    return array


def state(name, array, case):
    """m or h before the first step."""
    if array is None:
        array = np.zeros_like(case.theta)
    return laid_out(same_kind(name, array, case.theta), case.layout)


def masked_decay(decay, mask, theta):
    """weight_decay where the mask is true, otherwise zero, in theta's dtype."""
    boolean("decay_mask", mask, theta.shape)
    return np.where(mask, decay, 0.0).astype(theta.dtype)


def number(name, value):
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    value = float(value)
    if not IN_RANGE[name](value):
        raise ValueError(f"{name}: {value!r} is out of range")
    return value


def integer(name, value, least):
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name}: expected an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{name}: expected an integer >= {least}, got {value!r}")
    return int(value)


def checked_settings(case):
    """All settings of the profile but lr."""
    settings = dict(SETTINGS[case.profile])
    for name, value in case.settings.items():
        if name == "lr":
            continue
        if name not in settings:
            raise TypeError(f"{case.profile}: has no setting {name!r}")
        settings[name] = integer(name, value, 1) if name == "every" else number(name, value)
    if case.theta.dtype.type(settings.get("eps", 1.0)) == 0:
        raise ValueError(f"eps: {settings['eps']!r} is 0 in {case.theta.dtype}")
    return settings


def checked_rates(case):
    """The learning rate of each step."""
    lr = case.settings["lr"]
    if not isinstance(lr, (tuple, list)):
        return [number("lr", lr)] * len(case.steps)
    if len(lr) != len(case.steps):
        raise ValueError(f"lr: expected {len(case.steps)} numbers, got {len(lr)}")
    return [number("lr", rate) for rate in lr]


def check_micro_batches(lengths, N):
    lengths = [integer("micro_batches", length, 0) for length in lengths]
    if sum(lengths) != N:
        raise ValueError(f"micro_batches: expected a sum of {N}, got {sum(lengths)}")


def check_labels(labels, mask, likelihood, W):
    """Drawn labels: classes (N,), or outputs (N, C) of a Gaussian. Those of masked rows may be anything."""
    N, C = len(mask), W.shape[1]
    if likelihood == "gaussian":
        finite("labels", labels, W, (N, C))
    elif likelihood == "categorical":
        if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu" or labels.shape != (N,):
            raise ValueError(f"labels: expected integers of shape {(N,)}, got {labels!r}")
        unmasked = labels[mask]
        if ((unmasked < 0) | (unmasked >= C)).any():
            raise ValueError(f"labels: expected 0 to {C - 1}, got {unmasked}")
    else:
        raise ValueError(f"likelihood: {likelihood!r}")
