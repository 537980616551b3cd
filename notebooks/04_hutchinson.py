# %% [markdown]
# # 04 · Estimating a diagonal: Hutchinson
#
# *What you see is stored. To run it: Run ▸ Run All Cells first, then change what you like.*

# %% tags=["hide-input"]
from itertools import product

import numpy as np
from lesson import check, sliders

import sophia_ref as sr
from sophia_ref import plots
from sophia_ref.plots.spectrum import SERIES
from sophia_ref.plots.style import dress, style_of
from toy_problems.mlp import MLP

task, rng = MLP(hidden=8), np.random.default_rng(0)
theta, batch = task.init(rng), task.batch(rng)
exact = sr.Oracle(task, theta, batch).hessian_diag()
fig = plots.figure(9.4, 3.3)
for ax, n in zip(fig.subplots(1, 3, sharey=True), (1, 20, 400), strict=True):
    estimate = sr.Oracle(task, theta, batch, np.random.default_rng(1)).curvature(sr.averaged(sr.hutchinson, n))
    ax.plot(exact, estimate, "o", color=style_of("SophiaH")["color"], markersize=4, alpha=0.8)
    ax.axline((0, 0), slope=1, color="gray", linewidth=0.8)
    ax.set(
        xlabel="the Hessian's diagonal",
        ylabel="estimate",
        title=f"{n} probe{'s' * (n > 1)}",
        xlim=(-0.1, 0.26),
        ylim=(-0.35, 0.45),
    )
    dress(ax)
    ax.label_outer()
fig

# %% [markdown]
# **The claim.** One product of the Hessian with a random vector is an unbiased estimate of its *whole* diagonal, for the price of three gradients,
# however many parameters there are. A single estimate is very noisy; averages over many, such as Sophia takes over its steps, are not.
#
# Each dot is a parameter of a small network, 51 in all: its true second derivative to the right, its estimate upwards.

# %% [markdown]
# ## Why not compute the diagonal?
#
# What autodiff gives cheaply is a *Hessian-vector product* $H v$ (notebook 08 builds it). To read off $H_{ii}$ one multiplies with the $i$-th
# unit vector, and that for every $i$. What does the *oracle* charge, which an optimizer asks
# for derivatives and which keeps the bill? (The network's `task`, `theta` and `batch` are made in the folded cell.)

# %%
for name, estimator in (("exact diagonal", sr.exact_diagonal), ("Hutchinson", sr.hutchinson)):
    oracle = sr.Oracle(task, theta, batch, np.random.default_rng(0))
    oracle.curvature(estimator)
    print(f"{name:14} costs {oracle.cost:.0f} gradients for {theta.size} parameters")

# %% [markdown]
# ## How can one product be enough?
#
# Take a random vector $u$ with independent entries of mean 0 and variance 1, and look at entry $i$ of $u \odot (H u)$:
#
# $$ u_i (H u)_i = \sum_j H_{ij} u_i u_j = H_{ii} u_i^2 + \sum_{j \ne i} H_{ij} u_i u_j . $$
#
# On average $u_i^2$ is 1 and $u_i u_j$ is 0. So the mean is $H_{ii}$: the rest is noise that cancels. That is all of Hutchinson's estimator.
#
# ## Is that exact?
#
# For signs $u_i = \pm 1$ we need not believe it: in four dimensions there are only 16 vectors $u$. Average over all of them.

# %%
H = np.array([[4.0, 1.0, 0.0, -2.0], [1.0, 1.0, 0.5, 0.0], [0.0, 0.5, -1.0, 3.0], [-2.0, 0.0, 3.0, 2.0]])
signs = np.array(list(product([-1, 1], repeat=4)))  # (16, 4), every one
estimates = signs * (signs @ H)
print("diagonal of H      ", np.diag(H))
print("mean of 16         ", estimates.mean(axis=0))
print("their variance     ", estimates.var(axis=0))

# %% [markdown]
# The mean is the diagonal exactly. And the variance? With signs $u_i^2 = 1$ always, so only the rest varies, and its terms are uncorrelated:
#
# $$ \operatorname{Var} = \sum_{j \ne i} H_{ij}^2 \quad \text{(signs)}. $$

# %%
off_diagonal = (H**2).sum(axis=1) - np.diag(H) ** 2
print("sum of squares beside the diagonal", off_diagonal)

# %% [markdown]
# ## And with normal probes?
#
# The paper takes $u \sim N(0, I)$. Then $u_i^2$ varies too, with variance 2:
#
# $$ \operatorname{Var} = 2 H_{ii}^2 + \sum_{j \ne i} H_{ij}^2 \quad \text{(normal)}. $$
#
# This can be enumerated as well: three points $(-\sqrt 3, 0, \sqrt 3)$ with weights $(\tfrac16, \tfrac23, \tfrac16)$ have all the moments of a
# normal variable up to the fifth, and a variance needs no more than the fourth.

# %%
grid = np.array(list(product(range(3), repeat=4)))  # (81, 4)
probes = np.array([-np.sqrt(3), 0, np.sqrt(3)])[grid]
weights = np.array([1 / 6, 2 / 3, 1 / 6])[grid].prod(axis=1)
estimates = probes * (probes @ H)
mean = weights @ estimates
print("mean    ", mean.round(10))
print("variance", (weights @ (estimates - mean) ** 2).round(10))
print("formula ", 2 * np.diag(H) ** 2 + off_diagonal)

# %% [markdown]
# Signs are never worse, and exact where $H$ is diagonal. (Sophia's paper has normal probes, AdaHessian and many implementations signs.)
#
# ## What does a single estimate look like?
#
# For the first coordinate, whose truth is 4:


# %%
def draw(n=1, H=H):  # this H, whatever the name means later
    fig, rng = plots.figure(6.8, 3.2), np.random.default_rng(0)
    ax, n = fig.subplots(), int(n)
    kinds = {"normal": rng.standard_normal((4000, n, 4)), "signs": 2.0 * rng.integers(0, 2, (4000, n, 4)) - 1}
    for (name, u), (color, line) in zip(kinds.items(), SERIES, strict=False):
        values = (u * (u @ H))[..., 0].mean(axis=1)
        label = f"{name}: {np.mean(values < 0):.0%} negative"
        ax.hist(
            values,
            np.arange(-10.25, 26, 0.5),
            density=True,
            histtype="step",
            color=color,
            linestyle=line,
            linewidth=1.5,
            label=label,
        )
    ax.axvline(4, color="black", linewidth=0.8)
    ax.set(xlabel=f"mean of {n} estimate{'s' * (n > 1)} of 4", ylabel="density")
    ax.legend(loc="upper right", frameon=False, fontsize=8)
    dress(ax)
    return fig


sliders(draw, n=[1, 2, 5, 10, 30, 100])

# %% [markdown]
# Wide, and sometimes **negative although the curvature is positive**. Whoever divides by such a number without a floor steps uphill, now and
# then. Sophia's floor and clip are not for saddles alone: they guard against the estimator.
#
# ## Who averages?
#
# Sophia itself, over time: $h \leftarrow \beta_2 h + (1 - \beta_2) \hat h$. A running average of independent terms has the variance of
# $\frac{1 + \beta_2}{1 - \beta_2}$ of them averaged; for $\beta_2 = 0.99$ that is 199 probes. Does the trajectory of $h$ show that?

# %%
rng, fig = np.random.default_rng(2), plots.figure(7.4, 3.2)
ax = fig.subplots()
for beta2, (color, line) in zip((0.9, 0.99), SERIES, strict=False):
    h, path = np.zeros(4), []
    for _ in range(600):
        u = rng.standard_normal(4)
        h = beta2 * h + (1 - beta2) * u * (H @ u)
        path.append(h[0])
    ax.plot(
        path,
        color=color,
        linestyle=line,
        linewidth=1.2,
        label=f"β₂ = {beta2}: as {(1 + beta2) / (1 - beta2):.0f} probes",
    )
ax.axhline(4, color="black", linewidth=0.8)
ax.set(xlabel="number of estimates", ylabel="h of the first coordinate")
ax.legend(loc="upper right", frameon=False, fontsize=8)
dress(ax)
fig

# %% [markdown]
# Slow and quiet, or quick and noisy. With a new estimate every 10 steps, 600 estimates are 6,000 steps: the price of $\beta_2 = 0.99$ is that $h$
# describes where the parameters *were*. On a problem that changes slowly that is a good bargain.
#
# ## Is a network's Hessian kind to this?
#
# The noise comes from beside the diagonal. How much is there, for the small network?

# %%
full = sr.Oracle(task, theta, batch).hessian()
beside = np.sqrt((full**2).sum(axis=1) - np.diag(full) ** 2)
print(f"root mean square of the diagonal {np.sqrt(np.mean(exact**2)):.3f}")
print(f"typical noise of one estimate, signs  {np.sqrt(np.mean(beside**2)):.3f}")
print(f"typical noise of one estimate, normal {np.sqrt(np.mean(beside**2 + 2 * exact**2)):.3f}")

# %% [markdown]
# The noise of one probe is more than twice the signal. It takes tens of probes to see the diagonal, as in the first picture.
#
# ## Exercises
#
# **1.** $H = \begin{pmatrix} 3 & 1 \\ 1 & 5 \end{pmatrix}$. What is the variance of the estimate of the 3, with random signs?

# %% tags=["exercise"]
variance_signs = ...

check("04.1", variance_signs)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# variance_signs = 1**2
# ```
#
# $u_1 (H u)_1 = 3 + u_1 u_2$, which is 2 or 4.
#
# </details>

# %% [markdown]
# **2.** And with normal probes?

# %% tags=["exercise"]
variance_normal = ...

check("04.2", variance_normal)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# variance_normal = 2 * 3**2 + 1**2
# ```
#
# Nineteen times as much.
#
# </details>

# %% [markdown]
# **3.** One published version drew its "random signs" by `rng.integers(0, 1, P) * 2 - 1`. The upper end of `integers` is excluded, so every
# entry is $-1$. What does $u \odot (H u)$ give then for $H$ of exercise 1? Two numbers.

# %% tags=["exercise"]
what_the_bug_gives = ...

check("04.3", what_the_bug_gives)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# what_the_bug_gives = [3 + 1, 1 + 5]
# ```
#
# The sums of the rows, the same in every step. No average ever removes that.
#
# </details>

# %% [markdown]
# **4.** Write the estimator with random signs: it gets a function `hvp` (vector to $H$ times it), the number $P$ of parameters, and a
# `np.random.Generator`.


# %% tags=["exercise"]
def my_hutchinson(hvp, P, rng):
    return ...


check("04.4", my_hutchinson)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_hutchinson(hvp, P, rng):
#     u = rng.choice([-1.0, 1.0], P)
#     return u * hvp(u)
# ```
#
# `rng.integers(0, 2, P) * 2.0 - 1` does as well.
#
# </details>

# %% [markdown]
# Next: [05 · Gauss-Newton-Bartlett](05_gauss_newton_bartlett.ipynb), an estimator that is never negative and costs a third.
