# %% [markdown]
# # 06 · Sophia step by step
#
# *What you see is stored. To run it: Run ▸ Run All Cells first, then change what you like.*

# %% tags=["hide-input"]
import numpy as np
from lesson import check, sliders

import sophia_ref as sr
from sophia_ref import plots
from sophia_ref.plots.spectrum import SERIES
from sophia_ref.plots.style import dress, style_of
from sophia_ref.replay import replay
from toy_problems.landscapes import REGISTRY

landscape = REGISTRY["sophia_fig2"]
sophia = sr.Sophia(lr=0.3, beta1=0.5, beta2=0.5, gamma=0.3, every=1, estimator=sr.exact_diagonal)
run = sr.run(landscape, sophia, steps=20)
plots.panels_figure(run, names=["g", "m", "h", "ratio", "clipped", "update"])

# %% [markdown]
# **The claim.** A step of Sophia is five lines of arithmetic, done to every coordinate alone: average the gradient, average the curvature,
# divide, clip, move. Where curvature is large beside the momentum it is Newton's step, and everywhere else, above all where curvature is
# negative, it is a step of fixed length in the direction of the momentum's sign.
#
# By the end you will have computed every number in the picture above. It shows 20 steps on the surface of the paper's Figure 2, $x$ left
# and $y$ right. (Dark in the row *clipped* is clipped. The axis of the ratio is logarithmic beyond the dotted limits; a triangle lies outside of it.)

# %% [markdown]
# ## The rule
#
# For a gradient $g_t$ and an estimate $\hat h_t$ of the Hessian's diagonal at $\theta_t$ (Liu et al. 2023, Algorithm 3):
#
# $$
# \begin{aligned}
# m_t &= \beta_1 m_{t-1} + (1 - \beta_1)\, g_t && \text{average the gradient} \\
# h_t &= \beta_2 h_{t-k} + (1 - \beta_2)\, \hat h_t && \text{average the curvature, every } k \text{ steps} \\
# r_t &= m_t / \max(\gamma h_t, \varepsilon) && \text{divide} \\
# u_t &= \mathrm{clip}(r_t, 1) && \text{clip to } [-1, 1] \\
# \theta_{t+1} &= \theta_t - \eta_t\, u_t && \text{move}
# \end{aligned}
# $$
#
# (Weight decay, which shrinks $\theta$ before the step, is off here.) Nothing is bias-corrected, and $m$ and $h$ start at zero.
#
# ## Can we do the first step by hand?
#
# We need a gradient and a curvature at the start, $(0.2, 0)$. The surface is $L_1(x) + L_2(y)$, so there are two problems in one variable:
#
# $$ L_1' = 8 x (x - 1)(5.2 x + 3.4), \qquad L_1'' = 8 (15.6 x^2 - 3.6 x - 3.4), \qquad L_2' = y - 4, \qquad L_2'' = 1 . $$

# %%
x, y = 0.2, 0.0
g = np.array([8 * x * (x - 1) * (5.2 * x + 3.4), y - 4])
h_hat = np.array([8 * (15.6 * x**2 - 3.6 * x - 3.4), 1.0])
print("gradient ", g)
print("curvature", h_hat)

# %% [markdown]
# Along $x$ the curvature is *negative*: we stand on the shoulder of a hill. Dividing by it would turn the step around and go uphill, as
# Newton's method does. What does Sophia make of it?

# %%
lr, beta1, beta2, gamma, eps = 0.3, 0.5, 0.5, 0.3, 1e-12
m = beta1 * 0 + (1 - beta1) * g
h = beta2 * 0 + (1 - beta2) * h_hat
ratio = m / np.maximum(gamma * h, eps)
update = np.clip(ratio, -1, 1)
theta = np.array([x, y]) - lr * update
print("ratio ", ratio)
print("update", update)
print("theta ", theta)

# %% [markdown]
# The denominator along $x$ is not $\gamma h$, which is negative, but the floor $\varepsilon$; so the ratio is absurd, $-3 \cdot 10^{12}$,
# and the clip turns it into $-1$. **Negative curvature does no harm: it becomes a sign step**, downhill.
#
# Along $y$ curvature is positive and small, the momentum is large, and their ratio of $-13$ is clipped too. Is this what the library
# does?

# %%
np.array_equal(theta, run.trajectory[1])

# %% [markdown]
# To the last bit. The rule is `sophia_update` in `sophia_ref/optimizers/sophia.py`, as short as the above.
#
# ## What does the next step look like?
#
# `Inspector` takes the same run one step at a time, forward and back, and writes the numbers into the equations. (In a terminal,
# `sophia-ref step sophia_fig2 --optimizer sophia` does the same.)

# %%
inspector = sr.Inspector(landscape, sophia)
inspector.forward(2)

# %% [markdown]
# Read the block for $x$ from top to bottom, and find the five lines of the rule. The gradient has grown to $-12$, as the slope is nearly
# at its steepest here; the curvature is still negative; the step is still $\eta = 0.3$. (The limit of the clip, 1 above, is called $\rho$ there.)
#
# ## When does curvature begin to count?
#
# As soon as a coordinate is *not* clipped. `until_unclipped` goes there. Coordinate 0 is $x$:

# %%
inspector.until_unclipped(0)

# %% [markdown]
# Sophia has crossed the valley of $x$, the gradient has changed its sign, old and new gradients nearly cancel in $m$, and $h$ has become
# $50$. Now $m / (\gamma h)$ is small, and so is the step. Meanwhile $y$ has a curvature of 1 and goes on at full speed.
#
# This is what "a different step for each coordinate" means. Compare the last numbers of both blocks: 0.017 against 1.
#
# ## What is the shape of the step?
#
# Only two numbers enter: the momentum $m$ and the denominator $\gamma h$. As a function of $m$ the update is a ramp between two plateaus.
# Its slope is $1 / (\gamma h)$, so curvature decides how wide the ramp is. What becomes of it for $h \to 0$?


# %%
def draw(gamma=0.3):
    fig = plots.figure(6.4, 3.4)
    ax = fig.subplots()
    m = np.linspace(-4, 4, 801)
    for h, (color, line) in zip((-1.0, 1.0, 5.0, 12.0), SERIES, strict=True):
        label = f"h = {h:g}" + (": the sign of m" if h < 0 else f": Newton's up to |m| = {gamma * h:g}")
        ax.plot(
            m, np.clip(m / np.maximum(gamma * h, 1e-12), -1, 1), color=color, linestyle=line, linewidth=2, label=label
        )
    ax.set(xlabel="momentum m", ylabel="update", title=f"clip(m / max(γh, ε), 1) for γ = {gamma:g}")
    ax.legend(loc="upper left", frameon=False, fontsize=8)
    dress(ax)
    return fig


sliders(draw, gamma=[0.05, 0.1, 0.3, 0.5, 1.0])

# %% [markdown]
# For $h \le 0$ it is a step function, the sign: **sign descent with momentum is what Sophia falls back on.** For large $h$ it is a straight
# line, Newton's step coordinate by coordinate, with learning rate $\eta / \gamma$. $\gamma$ says where one becomes the other, and the
# clip is the promise that no coordinate ever moves further than $\eta$, however wrong the curvature is.
#
# ## Which of the two is it, most of the time?
#
# `replay` takes a run again and returns every intermediate of the rule by its name. How many of the 20 steps were clipped?

# %%
clipped = replay(run)["clipped"]  # (steps, coordinates)
print("clipped steps of x and y:", clipped.sum(axis=0))
print(f"share of all coordinates that were not clipped: {1 - clipped.mean():.0%}")

# %% [markdown]
# For language models the paper advises a $\gamma$ such that 10 to 50 per cent are not clipped. So at any moment *most* coordinates make a
# sign step, and a run of Sophia is to a large part a run of sign momentum with brakes where it is steep. Notebook 10 looks at that share
# while a language model is trained.
#
# ## Why did we not use the settings of the paper?
#
# They are made for a hundred thousand steps: $\beta_1 = 0.96$, $\beta_2 = 0.99$, a new estimate every 10 steps, $\gamma = 0.01$ for
# Hutchinson's estimate. Since $h$ starts at zero and grows by a hundredth of the curvature at each estimate, it is small for a long time.
# Take the simplest bowl, $\theta^2 / 2$, whose curvature is 1, from $\theta = 1$ with $\eta = 0.01$. When is the first step that is
# *not* clipped?


# %%
def bowl(theta):
    return theta[..., 0] ** 2 / 2


paper = sr.Inspector(bowl, sr.Sophia(lr=0.01, estimator=sr.exact_diagonal), theta0=np.array([1.0]))
paper.until_unclipped()

# %% [markdown]
# Step 163. It has walked down to the minimum at full speed, run past it, and come back, before curvature has had a say. Until then this
# is sign momentum, whatever the name of the optimizer: **a toy run with the paper's settings shows nothing about curvature.** That is why
# the toys of this course take a larger $\gamma$, often near 1, and a faster $\beta_2$, and say so.
#
# ## What do the two look like beside each other?

# %%
quick = sr.Sophia(lr=0.01, gamma=0.1, beta1=0.5, beta2=0.5, every=1, estimator=sr.exact_diagonal)
pair = {"the paper's: γ = 0.01, β₁ = 0.96, β₂ = 0.99, k = 10": paper.opt, "γ = 0.1, β₁ = β₂ = 0.5, k = 1": quick}
fig = plots.figure(8.4, 3.0)
for ax, (title, opt) in zip(fig.subplots(1, 2, sharey=True), pair.items(), strict=True):
    path = sr.run(bowl, opt, steps=400, theta0=np.array([1.0]))
    ax.axhline(0, color="gray", linewidth=0.7)
    ax.plot(path.steps, path.trajectory[:, 0], color=style_of("Sophia")["color"], linewidth=1.6)
    ax.set(title=title, xlabel="step", ylabel="θ")
    dress(ax)
    ax.label_outer()
fig

# %% [markdown]
# Left it swings back and forth, at full speed, as long as $\gamma h$ is too small to slow it down. Right it walks at the same speed and
# lands softly: within $|\theta| < \gamma$ nothing is clipped, and the steps shrink as the minimum comes nearer.
#
# ## Can we go back?
#
# Yes: state is immutable, so a run is a list of states. `back`, `jump` and `until_clipped` move along it, and give the same numbers each
# time.

# %%
inspector.back(3)
print(f"step {inspector.t}: theta = {inspector.theta}, cost so far {inspector.cost:g}")

# %% [markdown]
# ## Exercises
#
# **1.** A coordinate has $m = 0.3$ and $h = 2$; $\gamma = 0.5$, $\eta = 0.1$. By how much does it change, with its sign?

# %% tags=["exercise"]
change = ...

check("06.1", change)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# change = -0.1 * np.clip(0.3 / max(0.5 * 2, 1e-12), -1, 1)
# ```
#
# The ratio is 0.3, within the limits: a Newton step, with learning rate $\eta / \gamma$.
#
# </details>

# %% [markdown]
# **2.** With $m = 1$ and $h = 4$, what is the smallest $\gamma$ for which this coordinate is not changed by the clip?

# %% tags=["exercise"]
smallest_gamma = ...

check("06.2", smallest_gamma)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# smallest_gamma = 1 / 4
# ```
#
# $|m| \le \gamma h$ is the condition. A larger $\gamma$ clips less, and makes the steps that are not clipped shorter.
#
# </details>

# %% [markdown]
# **3.** The curvature is exactly 1 everywhere. With $\beta_2 = 0.99$ and an estimate before the steps $1, 11, 21, \dots$, what is the
# number of the first step whose $h$ is at least $0.5$?

# %% tags=["exercise"]
first_step = ...

check("06.3", first_step)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# estimates = int(np.ceil(np.log(0.5) / np.log(0.99)))  # 1 - 0.99^n >= 0.5
# first_step = 1 + 10 * (estimates - 1)
# ```
#
# After $n$ estimates $h = 1 - 0.99^n$, and the $n$-th is made before step $10 n - 9$. Warm-up of the learning rate is shorter than that
# in many runs.
#
# </details>

# %% [markdown]
# **4.** Write the rule. The function gets arrays and returns the new $\theta$ and the new $m$. It will be tried with curvatures of every
# sign, and with zero.


# %% tags=["exercise"]
def sophia_step(theta, m, h, g, lr, beta1, gamma, eps):
    return ...


check("06.4", sophia_step)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def sophia_step(theta, m, h, g, lr, beta1, gamma, eps):
#     m = beta1 * m + (1 - beta1) * g
#     update = np.clip(m / np.maximum(gamma * h, eps), -1, 1)
#     return theta - lr * update, m
# ```
#
# `np.maximum` is what the rule stands or falls with. `gamma * h + eps` looks alike, is found in published code, and is right only where
# $h \ge 0$.
#
# </details>

# %% [markdown]
# Next: [07 · Figure 2 rebuilt](07_figure_2_rebuilt.ipynb). Where $\hat h$ comes from when nobody writes it down by hand:
# [04 · Hutchinson](04_hutchinson.ipynb) and [05 · Gauss-Newton-Bartlett](05_gauss_newton_bartlett.ipynb).
