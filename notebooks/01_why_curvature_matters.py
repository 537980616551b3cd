# %% [markdown]
# # 01 · Why curvature matters
#
# *What you see is stored. To run it: Run ▸ Run All Cells first, then change what you like.*

# %% tags=["hide-input"]
import numpy as np
from lesson import check, sliders

import sophia_ref as sr
from sophia_ref import plots
from sophia_ref.plots.spectrum import SERIES
from sophia_ref.plots.style import dress
from toy_problems.landscapes import rotated_quadratic, separable_valley

valley = separable_valley((1.0, 25.0))  # curvature 1 along x, 25 along y
fig = plots.figure(9.6, 3.4)
for ax, lr in zip(fig.subplots(1, 3, sharey=True), (0.02, 0.077, 0.082), strict=True):
    run = sr.run(valley, sr.GradientDescent(lr), steps=20)
    plots.paths(plots.contour(ax, valley), run)
    ax.set_title(f"learning rate {lr}", fontsize=9)
    ax.set_xticks([-1, 0, 1])
    ax.label_outer()
fig

# %% [markdown]
# **The claim.** In a valley gradient descent must take steps that are short enough for its steep walls, and then crawls along its flat
# floor: the number of steps grows with the ratio of the two curvatures. A method that knows the curvature of each direction can take a
# different step in each, and does not care about that ratio.
#
# Twenty steps each, in a valley 25 times as steep across as along: too small, about right, a little too large.

# %% [markdown]
# ## What happens in one direction?
#
# The loss $L(x) = \tfrac{1}{2} h x^2$ has the gradient $h x$ and the *curvature* $h$, its second derivative. A step of gradient descent is
#
# $$ x_{t+1} = x_t - \eta h x_t = (1 - \eta h)\, x_t . $$
#
# All there is to know is the factor $1 - \eta h$. What does it do as $\eta$ grows?

# %%
h = 25.0
for lr in (0.01, 0.04, 0.06, 0.08, 0.09):
    run = sr.run(lambda x: h / 2 * x[..., 0] ** 2, sr.GradientDescent(lr), steps=4, theta0=np.array([1.0]))
    print(
        f"lr {lr:.2f}   factor {1 - lr * h:6.2f}   x: {np.array2string(run.trajectory[:, 0], precision=2, suppress_small=True)}"
    )

# %% [markdown]
# Three regimes. Below $1/h$ it creeps towards the minimum, at $1/h$ it is there in a single step, above $1/h$ it jumps from side to side,
# at $2/h$ for ever, and beyond that each jump is larger than the one before. **A direction of curvature $h$ allows learning rates below $2/h$, and wants
# $1/h$.**
#
# ## And in two directions at once?
#
# Gradient descent has one $\eta$ for both. Where do the two wishes meet?

# %%
lr = np.linspace(0, 0.1, 401)
fig = plots.figure(6.4, 3.2)
ax = fig.subplots()
for h, (color, line) in zip((1.0, 25.0), SERIES, strict=False):
    ax.plot(lr, abs(1 - lr * h), color=color, linestyle=line, linewidth=1.6, label=f"curvature {h:g}")
best = 2 / (1 + 25)
ax.plot(best, abs(1 - best), "k*", markersize=11, label=f"best: lr {best:.3f}, factor {1 - best:.3f}")
ax.axhline(1, color="gray", linewidth=0.7)
ax.set(xlabel="learning rate", ylabel="size of the factor |1 - lr h|", ylim=(0, 1.6))
ax.legend(loc="upper left", frameon=False, fontsize=8)
dress(ax)
fig

# %% [markdown]
# The steep direction forbids more than $2/25$, and at that learning rate the flat one keeps 92% of its error in every step. The slower of
# the two is at its best where the lines cross. With curvatures $\mu \le \beta$ and $\kappa = \beta/\mu$, the *condition number*,
#
# $$ \eta^* = \frac{2}{\mu + \beta}, \qquad \text{factor} = \frac{\beta - \mu}{\beta + \mu} = \frac{\kappa - 1}{\kappa + 1}
#    \approx 1 - \frac{2}{\kappa} . $$
#
# With sliders, find the edge yourself. It is sharp.


# %%
def draw(lr=0.077):
    fig = plots.figure(5.2, 3.8)
    run = sr.run(valley, sr.GradientDescent(lr), steps=30)
    ax = plots.paths(plots.contour(fig.subplots(), valley), run)
    ax.set_title(f"lr {lr:g}: distance after 30 steps {np.linalg.norm(run.theta):.2g}", fontsize=9)
    return fig


sliders(draw, lr=[0.01, 0.02, 0.04, 0.06, 0.07, 0.077, 0.079, 0.08, 0.081, 0.085])

# %% [markdown]
# ## How many steps does that take?
#
# At the best learning rate both directions shrink by the same factor, one of them with a change of sign. So in each step the distance falls to
# $(\kappa - 1)/(\kappa + 1)$ of what it was, exactly.
# We ask for a thousandth of it, at the best learning rate for each $\kappa$. All condition numbers are rows of one run.

# %%
kappa = np.array([2.0, 5, 10, 30, 100, 300, 1000])


def valleys(theta):  # (7, 2) -> (7,), a valley for each row
    return (theta[..., 0] ** 2 + kappa * theta[..., 1] ** 2) / 2


def steps_to_a_thousandth(optimizer, steps):  # record=1 keeps every step; block=7 takes the seven rows together
    run = sr.run(valleys, optimizer, steps, theta0=np.ones((7, 2)), record=1, block=7)
    return np.argmax(np.linalg.norm(run.trajectory, axis=-1) <= 1e-3 * np.sqrt(2), axis=0)


tuned = sr.GradientDescent(lr=2 / (1 + kappa[:, None]))
measured = steps_to_a_thousandth(tuned, 4000)
predicted = np.log(1000) / np.log((kappa + 1) / (kappa - 1))
print("kappa     ", *(f"{k:6.0f}" for k in kappa))
print("measured  ", *(f"{n:6d}" for n in measured))
print("predicted ", *(f"{n:6.1f}" for n in predicted))

# %% [markdown]
# Proportional to $\kappa$, as the formula says: about $3.5\,\kappa$ for a thousandth. A network has curvatures that differ by many powers of
# ten (notebook 09 measures them for a tiny GPT).
#
# ## What if each direction had its own learning rate?
#
# The wish of a direction is $1/h$. So let us fulfil all wishes at once: learning rates $(1/1, 1/\kappa)$.

# %%
each_its_own = sr.GradientDescent(lr=np.stack([np.ones(7), 1 / kappa], axis=-1))
print("steps:", steps_to_a_thousandth(each_its_own, 5))

# %% [markdown]
# One step, for every $\kappa$. Written for all coordinates together it is *Newton's step*, with the Hessian $H$ in the place of $h$:
#
# $$ \theta_{t+1} = \theta_t - H^{-1} g_t . $$
#
# Why is one step enough? In the coordinates $u_i = \sqrt{h_i}\, \theta_i$ the valley is a round bowl, whose curvature is 1 in
# every direction, and in a bowl the gradient points to the minimum.
#
# ## Is a learning rate for each coordinate enough?
#
# It is when the valley lies along an axis. Turn it by 30 degrees: the curvatures stay 1 and 25, but they no longer belong to coordinates.

# %%
turned = rotated_quadratic(condition=25.0, angle=np.pi / 6)
H = sr.hessian(turned.f)(turned.start)
print("Hessian", H.round(2).tolist())
print("its eigenvalues", np.linalg.eigvalsh(H).round(6))
print("its diagonal   ", np.diag(H).round(6))

# %% [markdown]
# The diagonal says 7 and 19: it no longer sees how flat the floor is. The picture shows what that means for a step, from one point on the
# wall. Left the Hessian, whose step leads to the minimum; in the middle its diagonal; right Sophia, which uses the diagonal and clips. The curves around the
# dot are what each of them believes: along a curve $\tfrac12 d^\top M d$ is one number $c$, where $d$ is the way from the dot and $M$ what it takes for the
# Hessian. The more of them a step crosses, the more curvature it sees on its way. ($\rho$ and $\varepsilon$ are Sophia's limits, notebook 06.)

# %%
plots.curvature_figure(turned, [turned.start], width=4.0, rho=0.5)

# %% [markdown]
# ## How much does the diagonal still help?

# %%
newton, diagonal = sr.Newton(1.0), sr.GradientDescent(lr=1 / np.diag(H))
for name, optimizer in (("Newton", newton), ("diagonal", diagonal), ("best GD", sr.GradientDescent(2 / 26))):
    run = sr.run(turned, optimizer, steps=200)
    distance = np.linalg.norm(run.trajectory, axis=-1)
    print(f"{name:9} reaches a thousandth of the distance in step {np.argmax(distance <= 1e-3 * distance[0])}")
scaled = H / np.sqrt(np.outer(np.diag(H), np.diag(H)))
print(f"condition number {np.linalg.cond(H):.1f}, divided by the diagonal {np.linalg.cond(scaled):.1f}")

# %% [markdown]
# Better than one learning rate for all, far from Newton's single step: divided by its diagonal, this Hessian has a condition number of 19
# instead of 25. **A diagonal method is as good as the coordinates are aligned with
# the curvature.** Sophia, Adam and every other method with one number per coordinate share this limit. The full Hessian of a model with
# $P$ parameters has $P^2$ entries, so they have no choice.
#
# ## Exercises
#
# **1.** The curvatures of a bowl are 1 and 100. Below which learning rate does gradient descent converge?

# %% tags=["exercise"]
limit = ...

check("01.1", limit)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# limit = 2 / 100
# ```
#
# The steepest direction decides: $|1 - 100\,\eta| < 1$.
#
# </details>

# %% [markdown]
# **2.** Which learning rate is best there, in the sense of the crossing lines above?

# %% tags=["exercise"]
best_lr = ...

check("01.2", best_lr)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# best_lr = 2 / (1 + 100)
# ```
#
# Where $1 - \eta \mu = -(1 - \eta \beta)$. Note how close it is to the limit: 0.0198 of 0.02. The best learning rate lives at the edge.
#
# </details>

# %% [markdown]
# **3.** For $\kappa = 10^4$ and the best learning rate, how many steps until the distance is a thousandth? (Within 1%.)

# %% tags=["exercise"]
many_steps = ...

check("01.3", many_steps)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# kappa_3 = 1e4
# many_steps = np.log(1000) / np.log((kappa_3 + 1) / (kappa_3 - 1))
# ```
#
# $\tfrac{\kappa}{2} \ln 1000 \approx 3.45\,\kappa$.
#
# </details>

# %% [markdown]
# **4.** Write Newton's step: the function gets $\theta$ $(P,)$, the gradient $g$ $(P,)$ and the Hessian $H$ $(P, P)$. Do not invert the
# matrix; solve with it.


# %% tags=["exercise"]
def newton_step(theta, g, H):
    return ...


check("01.4", newton_step)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def newton_step(theta, g, H):
#     return theta - np.linalg.solve(H, g)
# ```
#
# The next notebook shows where it leads when $H$ is not positive definite.
#
# </details>

# %% [markdown]
# Next: [02 · Newton and its saddle trap](02_newton_and_its_saddle_trap.ipynb).
