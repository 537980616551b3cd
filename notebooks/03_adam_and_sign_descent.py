# %% [markdown]
# # 03 · Adam and sign descent
#
# *What you see is stored. To run it: Run ▸ Run All Cells first, then change what you like.*

# %% tags=["hide-input"]
import numpy as np
from lesson import check, sliders

import sophia_ref as sr
from sophia_ref import plots
from sophia_ref.plots.spectrum import SERIES
from sophia_ref.plots.style import dress, style_of
from toy_problems.landscapes import separable_valley

valley = separable_valley((1.0, 100.0))
optimizers = [sr.GradientDescent(0.0195), sr.SignGD(0.05), sr.Adam(0.05)]
runs = [sr.run(valley, optimizer, steps=30) for optimizer in optimizers]
fig = plots.figure(6.4, 4.6)
plots.paths(plots.contour(fig.subplots(), valley), runs)
plots.legend(fig, valley, runs, fontsize=9)
fig

# %% [markdown]
# **The claim.** Adam divides by the size of recent gradients, not by curvature: its steps are close to the *sign* of the gradient, as long in a
# flat direction as in a steep one. That alone explains much of its success, and also what it cannot do: nothing tells it that the minimum is near, so
# that somebody must lower its learning rate.
#
# Thirty steps in a valley a hundred times as steep across as along. Sign descent and Adam walk diagonally, at the same speed in $x$ and $y$.

# %% [markdown]
# ## What does Adam compute?
#
# Two running averages, of the gradient and of its square, both corrected for having started at zero:
#
# $$
# m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t, \qquad v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2, \qquad
# u_t = \frac{m_t / (1 - \beta_1^t)}{\sqrt{v_t / (1 - \beta_2^t)} + \varepsilon} , \qquad
# \theta_{t+1} = \theta_t - \eta\, u_t .
# $$
#
# What is the very first update, for gradients of very different sizes?

# %%
g = np.array([1e-4, -3.0, 500.0])
adam = sr.Adam(lr=0.1)
theta = np.zeros(3)
step = adam.step(theta, adam.init(theta), sr.Given(grad=g))
print("update", step.terms["update"])
print("theta ", step.theta)

# %% [markdown]
# The sign of each. At $t = 1$ the corrected averages are $g$ and $g^2$, and $g / \sqrt{g^2}$ is a sign. Multiply the loss by a million, and
# Adam takes the same steps.
#
# ## And later?
#
# It depends on how much the gradient agrees with itself. Say that it is a constant 1 plus noise of standard deviation $\sigma$. How large is
# the update then?

# %%
rng = np.random.default_rng(0)
noise = np.array([0.0, 0.3, 1.0, 3.0, 10.0])
rows = np.ones((5, 1))
state, updates = adam.init(rows), []
for _ in range(4000):
    gradient = 1 + noise[:, None] * rng.standard_normal((5, 1))
    step = adam.step(rows, state, sr.Given(grad=gradient))
    state = step.state
    updates.append(step.terms["update"][:, 0])
size = np.sqrt(np.mean(np.square(updates[1000:]), axis=0))
for sigma, measured in zip(noise, size, strict=True):
    predicted = np.sqrt((1 + sigma**2 * 0.1 / 1.9) / (1 + sigma**2))
    print(f"noise {sigma:4.1f}: typical size of the update {measured:.2f}, predicted {predicted:.2f}")

# %% [markdown]
# Without noise it is 1, a sign step. With noise it shrinks towards $\sqrt{(1 - \beta_1)/(1 + \beta_1)} = 0.23$, because $m$ averages the noise
# away and $\sqrt v$ does not. So Adam is sign descent that trusts a direction the less, the noisier it is. Curvature appears nowhere.
#
# ## Why is a sign a good idea?
#
# Because *rare things have small gradients*. Words of a language follow Zipf's law: word $k$ has frequency $\pi_k \propto 1/k$. A toy with one
# parameter for each of 100 words, to be learned by logistic regression:
#
# $$ L(\theta) = \sum_k \pi_k \log\left(1 + e^{-\theta_k}\right) . $$
#
# Every word is equally easy, but the gradient of $\theta_k$ carries the factor $\pi_k$. What does that do to gradient descent?

# %%
pi = 1 / np.arange(1, 101)
pi /= pi.sum()


def zipf(theta):
    return (pi * np.logaddexp(0, -theta)).sum(-1)


fig = plots.figure(9.2, 3.2)
for ax, optimizer in zip(
    fig.subplots(1, 3, sharey=True), (sr.GradientDescent(4 / pi[0]), sr.SignGD(0.1), sr.Adam(0.1)), strict=True
):
    run = sr.run(zipf, optimizer, steps=100, theta0=np.zeros(100))
    for k, (color, line) in zip((1, 10, 100), SERIES, strict=False):
        ax.semilogy(
            run.steps, np.logaddexp(0, -run.trajectory[:, k - 1]), color=color, linestyle=line, label=f"word {k}"
        )
    ax.set(xlabel="step", ylabel="loss of one word", title=style_of(optimizer)["label"])
    ax.legend(
        loc="lower left" if isinstance(optimizer, sr.GradientDescent) else "upper right", frameon=False, fontsize=8
    )
    dress(ax)
    ax.label_outer()
fig

# %% [markdown]
# Gradient descent, even at a learning rate that is generous for word 1, learns word $k$ about $k$ times as slowly. For the signs all words are
# alike, and nearly so for Adam, which falls behind sign descent as gradients shrink, because $v$ remembers the larger ones. (Kunstner et al. 2024 show that this is a good part of the gap between Adam and gradient descent on language.)
#
# Curvature would do as well, as the second derivative carries the same $\pi_k$. On this toy Newton's method and Adam are two ways to the same
# end. So where do they differ?
#
# ## What can a sign not do?
#
# Stop. In a bowl of curvature $h$, a sign step of length $\eta$ near the minimum jumps back and forth.


# %%
def draw(lr=0.1):
    fig = plots.figure(7.4, 3.2)
    start, bowl = np.array([1.03]), separable_valley((1.0, 1.0)).f
    ax = fig.subplots()
    for optimizer in (
        sr.SignGD(lr),
        sr.Adam(lr, beta2=0.99),
        sr.Sophia(lr, beta1=0.5, beta2=0.5, gamma=lr, every=1, estimator=sr.exact_diagonal),
    ):
        run = sr.run(lambda x: bowl(np.concatenate([x, 0 * x], axis=-1)), optimizer, steps=80, theta0=start)
        ax.semilogy(run.steps, abs(run.trajectory[:, 0]) + 1e-9, **style_of(optimizer), markersize=3, markevery=4)
    ax.axhline(lr, color="gray", linewidth=0.7)
    ax.set(xlabel="step", ylabel="distance from the minimum", ylim=(1e-6, 3), title=f"a bowl of curvature 1, lr {lr:g}")
    ax.legend(loc="lower left", frameon=False, fontsize=8)
    dress(ax)
    return fig


sliders(draw, lr=[0.01, 0.03, 0.1, 0.2, 0.4])

# %% [markdown]
# Sign descent stays within $\eta$ of the minimum and comes no nearer. Adam overshoots and swings; it settles slowly, as gradients from both sides cancel
# in $m$. Sophia, with $\gamma$ set to the learning rate, walks as fast as the others, and near the minimum its steps shrink with the distance: it divides by
# $h$, an average of the curvature. Notebook 06 takes that apart.
#
# The remedy of practice is a schedule that lowers $\eta$ to nearly nothing. It works well, which is one reason why the advantage of
# curvature on real problems is so much smaller than on toys.
#
# ## What does bouncing cost?
#
# A coordinate that jumps between $\pm \eta/2$ has the loss $h \eta^2 / 8$. The steep directions thus dictate a small $\eta$, and with a small
# $\eta$ the flat ones take long to walk. We let the curvature of the steep direction grow and look for the best compromise.

# %%
print("kappa    best lr   steps until the loss is 0.01 or less, for good")
rates = np.geomspace(3e-4, 0.3, 60)
for kappa in (10, 100, 1000, 10_000):
    start = np.tile([1.0, 1 / np.sqrt(kappa)], (60, 1))
    run = sr.run(separable_valley((1.0, float(kappa))), sr.SignGD(rates[:, None]), 1000, theta0=start, record=1)
    late = run.losses > 0.01
    needed = np.where(late[-1], 10_000, 1 + late.shape[0] - 1 - np.argmax(late[::-1], axis=0))
    i = np.argmin(needed)
    print(f"{kappa:5}     {rates[i]:.3f}     {needed[i]}")

# %% [markdown]
# The steps grow like $\sqrt\kappa$: better than gradient descent's $\kappa$, worse than not at all. Notebook 11 meets this as a theorem.
#
# ## Exercises
#
# **1.** Adam's first update, with $\varepsilon = 0$, for the gradient $(-0.02,\ 7,\ 10^{-9})$?

# %% tags=["exercise"]
first_update = ...

check("03.1", first_update)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# first_update = [-1, 1, 1]
# ```
#
# $\theta$ then changes by $-\eta$ times this.
#
# </details>

# %% [markdown]
# **2.** Sign descent starts at $(3, -0.5)$ with $\eta = 0.01$; the minimum is at $(0, 0)$. After how many steps are both coordinates there?

# %% tags=["exercise"]
steps_needed = ...

check("03.2", steps_needed)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# steps_needed = 3 / 0.01
# ```
#
# The farther coordinate decides; the other has been bouncing since step 50.
#
# </details>

# %% [markdown]
# **3.** The gradient is pure noise of mean 0. What is the typical (root mean square) size of Adam's update with $\beta_1 = 0.96$, for
# $\beta_2$ close to 1? (Two digits.)

# %% tags=["exercise"]
typical = ...

check("03.3", typical)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# typical = np.sqrt((1 - 0.96) / (1 + 0.96))
# ```
#
# The variance of a running average of independent terms of variance 1 is $(1 - \beta_1)^2 \sum_j \beta_1^{2j} = (1 - \beta_1)/(1 + \beta_1)$.
#
# </details>

# %% [markdown]
# **4.** Write one step of Adam. State is $(m, v)$, $t$ is the number of the step from 1 on; return the new $\theta$, $m$, $v$.


# %% tags=["exercise"]
def adam_step(theta, m, v, g, t, lr, beta1, beta2, eps):
    return ...


check("03.4", adam_step)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def adam_step(theta, m, v, g, t, lr, beta1, beta2, eps):
#     m = beta1 * m + (1 - beta1) * g
#     v = beta2 * v + (1 - beta2) * g**2
#     m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
#     return theta - lr * m_hat / (np.sqrt(v_hat) + eps), m, v
# ```
#
# Compare it with `sophia_step` of notebook 06: a root of squared gradients where Sophia has a curvature, and no clip.
#
# </details>

# %% [markdown]
# Next: [04 · Estimating a diagonal: Hutchinson](04_hutchinson.ipynb).
