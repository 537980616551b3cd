# %% [markdown]
# # 13 · From here to PyTorch and JAX: dialects and conformance
#
# *What you see is stored. To run it: Run ▸ Run All Cells first, then change what you like.*

# %% tags=["hide-input"]
import json
from pathlib import Path

import numpy as np
from lesson import check, sliders

from sophia_ref import plots
from sophia_ref.conformance import DIALECTS, examine, official_to_v2, v1_to_v2
from sophia_ref.conformance.drift import drift
from sophia_ref.conformance.vectors import find
from sophia_ref.plots.dialects import drift_figure
from sophia_ref.plots.spectrum import SERIES
from sophia_ref.plots.style import dress
from toy_problems.regression import SoftmaxRegression

paper = dict(lr=0.03, beta1=0.9, beta2=0.9, gamma=0.05, eps=1e-12, weight_decay=0.1, every=10)
drifts, _ = drift(SoftmaxRegression(examples=512, features=8, classes=8), paper)
drift_figure(drifts, "softmax regression, 30 steps")

# %% [markdown]
# **The claim.** Few implementations of Sophia agree. Above, eleven of them start at one point, with the same batches, the same probes and labels,
# and settings converted to mean the same; drawn is how far each is from the paper's own rule, and below that, by how much its loss is higher. (Those named
# in the titles agree with it.)
#
# So "we tried Sophia" says little before one knows which. This notebook is about finding out: what differs, what a setting means elsewhere, and how to
# let a program of yours be checked against the reference, number by number, before it costs GPU hours.

# %% [markdown]
# ## Where do they differ?
#
# In a handful of choices, each of them one line of code: the form of the denominator, whether averages are corrected, where the estimate comes from, and in
# which steps. So each implementation is described by data, and a single engine runs them all:

# %%
for name in ("paper-v2", "official", "optax", "levanter", "kozistr-4"):
    knobs = DIALECTS[name].knobs
    print(
        f"{name:10} denominator {knobs.denominator:9} first estimate in step {knobs.first:4} m corrected: {knobs.m_corrected}"
    )

# %% [markdown]
# The whole table, with sources, is [how implementations differ](../docs/dialects.md), or `sophia-ref dialects` in a terminal. Those that can be
# installed are run in our tests, step by step, against this description.
#
# ## Does it matter?
#
# One coordinate, one step, $m = 1$. The curvature $h$ goes from negative to positive; what does each do with the same momentum?


# %%
def curves(gamma=1.0):
    h = np.linspace(-3, 3, 241)
    fig = plots.figure(6.4, 3.4)
    ax = fig.subplots()
    for (color, line), (label, rule) in zip(SERIES, {
        "the paper, max(γh, ε)": lambda h: np.clip(1 / np.maximum(gamma * h, 1e-12), -1, 1),
        "official, γh + ε": lambda h: np.minimum(1 / (gamma * h + 1e-15), 1),
    }.items(), strict=False):  # fmt: skip
        y = rule(h)
        ax.plot(h, np.where(np.abs(y) < 6, y, np.nan), color=color, linestyle=line, label=label)
    ax.axhline(0, color="gray", linewidth=0.8)
    ax.set(xlabel="curvature h", ylabel="update", ylim=(-5, 2))
    ax.legend(frameon=False, fontsize=8, loc="lower right")
    dress(ax)
    return fig


sliders(curves, gamma=[0.25, 0.5, 1.0, 2.0])

# %% [markdown]
# A positive update is subtracted from $\theta$ and goes downhill. Where $h < 0$ the paper takes a whole step down; the official formula turns round and
# climbs, the faster the less curved it is. Its authors feed it squares, which are never negative, so nothing happens. Who takes the formula and feeds it
# Hutchinson's estimates has a bug that no error message shows.
#
# ## What does a setting mean elsewhere?
#
# The paper exists in two forms. The first divides by $h$ and clips at $\rho$; the second, which we use, divides by $\gamma h$ and clips at 1. They are one
# rule: $c \operatorname{clip}(z / c, 1) = \operatorname{clip}(z, c)$. So the settings can be converted:

# %%
print(v1_to_v2(lr=0.5, rho=0.25, eps=0.5, weight_decay=1.0))

# %% [markdown]
# The official code has a $\rho$ too, and it is not that one. It leaves the batch size $B$ out of its estimate and multiplies by `bs` in each step, so what
# plays the part of $\gamma$ is $\rho \cdot \mathrm{bs} / B$:

# %%
tokens = official_to_v2(lr=3e-4, rho=0.04, bs=5120, B=480 * 1024)
sequences = official_to_v2(lr=3e-4, rho=0.04, bs=5120, B=480)
print(
    f"gamma if B counts tokens: {tokens['gamma']:.2g}; if somebody thinks that it counts sequences: {sequences['gamma']:.2g}"
)

# %% [markdown]
# A factor of a thousand, for one word in a comment.
#
# ## How can a program be sure?
#
# By *vectors*: inputs with every number that must come out. Here is a small one.

# %%
vector = find("paper-H/negative-curvature-float64")
case = vector.case()
print(vector.note)
print("settings", {name: case.settings[name] for name in ("lr", "gamma", "eps", "every", "weight_decay")})
print("theta   ", case.theta)
print("g       ", case.steps[0].g)
print("h_hat   ", case.steps[0].h_hat)
print("must leave theta", vector.expected[0]["theta"])
print("allowed, in units of the last place", dict(vector.ulps))

# %% [markdown]
# There are some 800 of them, for the rule and for its estimators, and each says what it is there for. No random generator has to be matched:
# probes and labels are part of the input. Where no operation rounds, the tolerance is zero.
#
# ## A bug, and its diagnosis
#
# Here is an implementation as one finds it on the internet. It is short, it trains, and it is wrong. Any function of arrays can be handed to the checker:


# %%
def their_rule(theta, m, h, g, *, lr, beta1, gamma, clip, eps, weight_decay):
    m = beta1 * m + (1 - beta1) * g
    ratio = np.clip(m / (gamma * h + eps), -clip, clip)
    theta = theta - lr * weight_decay * theta
    return theta - lr * ratio, m


report = examine(their_rule, ["paper-H"])
print(report.text(1))

# %% [markdown]
# The checker does not guess. It has some 140 known mistakes as programs, runs those that apply on every vector, and names the one that makes the very numbers
# that came out, on what fails and on what passes. Mended:


# %%
def our_rule(theta, m, h, g, *, lr, beta1, gamma, clip, eps, weight_decay):
    m = beta1 * m + (1 - beta1) * g
    ratio = np.clip(m / np.maximum(gamma * h, eps), -clip, clip)
    theta = theta - lr * weight_decay * theta
    return theta - lr * ratio, m


print(examine(our_rule, ["paper-H"]).text())

# %% [markdown]
# All numbers are right: the verdict is "conforms: update rule". The rest could not be asked of a rule alone, which has no estimators, keeps no schedule, and
# does not judge its settings. An optimizer is asked everything, also whether it refuses what makes no sense, before anything has changed: NaN for a learning
# rate, a gradient of another shape, a curvature with infinity in it.

# %%
report = examine("numpy:sophia_ref.Sophia", ["paper-H"])
print(report.verdict("paper-H"), f"({len(report.passed)} vectors, {len(report.failed)} failures)")

# %% [markdown]
# ## And PyTorch, and JAX?
#
# The same, by one command:
#
#     sophia-ref conform torch:my_package.SophiaG
#     sophia-ref conform optax:my_package.sophia
#
# The repository has a port for each, [line by line](../docs/porting.md) beside the NumPy code, and keeps their certificates:

# %%
for name in ("torch", "optax"):
    path = Path("../docs/certificates") / f"conform-{name}-{'Sophia' if name == 'torch' else 'sophia'}.json"
    certificate = json.loads(path.read_text())
    print(f"{certificate['target']['name']:36} {certificate['verdict']}")

# %% [markdown]
# In training code the difference to AdamW is four lines, here in PyTorch:
#
# ```python
# from sophia_ref.ports.torch import GNB, SophiaG
#
# opt = SophiaG(model.parameters(), lr=3e-4, weight_decay=0.2)
# gnb = GNB(model.parameters())
# for x, y in batches:
#     if opt.curvature_due:  # before the steps 1, 11, 21, ...
#         gnb.add(model(x))  # draws labels of its own
#         opt.update_curvature(gnb.estimate())
#     opt.zero_grad()
#     cross_entropy(model(x).flatten(0, 1), y.flatten()).backward()
#     opt.step()
# ```
#
# `examples/train_torch.py` and `examples/train_optax.py` train the tiny GPT of [notebook 10](10_training_a_tiny_gpt.ipynb) with them beside NumPy; the
# losses agree to rounding. [Who conforms](../docs/certificates.md) tells what the published packages do.
#
# ## Exercises
#
# **1.** A paper that uses the first form reports $\eta = 0.02$ and $\rho = 0.04$. Which learning rate and which $\gamma$ are these in the second form?

# %% tags=["exercise"]
learning_rate, gamma = ..., ...

check("13.1", (learning_rate, gamma))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# learning_rate, gamma = 0.04 * 0.02, 0.04
# ```
#
# $\eta_1 \operatorname{clip}(m / h, \rho) = \eta_1 \rho \operatorname{clip}(m / (\rho h), 1)$. A weight decay would have to be divided by $\rho$.
#
# </details>

# %% [markdown]
# **2.** One coordinate has $m = 0.3$, $h = -2$, and $\gamma = 0.5$. What is the update (what the learning rate multiplies) in the paper's rule, and what
# in the official formula, $\operatorname{sign}(m) \min(|m| / (\gamma h + 10^{-15}), 1)$?

# %% tags=["exercise"]
papers, officials = ..., ...

check("13.2", (papers, officials))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# papers, officials = 1.0, min(0.3 / (0.5 * -2 + 1e-15), 1)
# ```
#
# The paper divides by $\varepsilon$ and clips; the other divides by $-1$ and goes uphill.
#
# </details>

# %% [markdown]
# **3.** Two micro-batches have 300 and 100 predictions. Their *summed* gradients for drawn labels are, in one coordinate, $6$ and $-2$. What is the
# Gauss-Newton-Bartlett estimate of the whole batch there, and what comes out if each micro-batch is squared by itself and the two estimates averaged?

# %% tags=["exercise"]
whole, averaged = ..., ...

check("13.3", (whole, averaged))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# whole = (6 - 2) ** 2 / 400
# averaged = (6**2 / 300 + (-2) ** 2 / 100) / 2
# ```
#
# $B \hat g^2 = (\text{sum})^2 / B$. Both are estimates of the same curvature, and the second has another variance; but they are two rules, and only one is
# Algorithm 2.
#
# </details>

# %% [markdown]
# **4.** Write `due(t, k)`: whether step $t = 1, 2, \dots$ makes an estimate, for an interval of $k$ steps. The paper prints $t \bmod k = 1$.


# %% tags=["exercise"]
def due(t, k):
    return ...


check("13.4", due)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def due(t, k):
#     return (t - 1) % k == 0
# ```
#
# Read literally, $t \bmod 1 = 1$ never holds, and with $k = 1$ the curvature stays zero for ever: one of the eleven does that.
#
# </details>

# %% [markdown]
# This is the end of the course. From here: certify a program of yours with `sophia-ref conform`, or look how this one is made, file by file, in the order
# that the [README](../README.md) gives.
