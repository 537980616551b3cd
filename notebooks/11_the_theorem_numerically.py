# %% [markdown]
# # 11 · The theorem, numerically
#
# *What you see is stored. To run it: Run ▸ Run All Cells first, then change what you like.*

# %% tags=["hide-input"]
import numpy as np
from lesson import check, sliders

import sophia_ref as sr
from sophia_ref import plots
from sophia_ref.plots.spectrum import SERIES
from sophia_ref.plots.style import dress, style_of
from toy_problems.landscapes import rotated_quadratic

GAP, TARGET = 0.5, 0.005  # the loss falls to a hundredth
angles = np.linspace(0, np.pi / 2, 181)


def worst_steps(kappa, optimizer, most, turned=0.0):
    """Steps until the loss is at most TARGET, from the worst start with loss GAP: angles are rows, learning rates columns."""
    c, s = np.cos(turned), np.sin(turned)
    start = (
        np.sqrt(2 * GAP)
        * np.stack([np.cos(angles), np.sin(angles) / np.sqrt(kappa)], axis=-1)
        @ np.array([[c, s], [-s, c]])
    )
    shape = np.broadcast_shapes(np.shape(optimizer.lr)[:1], (1,))
    theta = np.broadcast_to(start[:, None], (len(angles), *shape, 2)).copy()
    bowl = rotated_quadratic(condition=float(kappa), angle=turned)
    run = sr.run(bowl, optimizer, most, theta0=theta, record=1, trajectory=False)
    there = run.losses <= TARGET * (1 + 1e-9)
    return np.where(there.any(axis=0), there.argmax(axis=0), np.inf).max(axis=0)  # one for each learning rate


kappas = [1, 10, 100, 1000, 10_000]
rates = {kappa: np.linspace(0.1, 0.3, 41)[:, None] / np.sqrt(kappa) for kappa in kappas}
sign = [worst_steps(kappa, sr.SignGD(rates[kappa]), int(7 * np.sqrt(kappa)) + 8).min() for kappa in kappas]
clipped = [worst_steps(kappa, sr.ClippedNewton(lr=0.5, rho=0.5), 20)[0] for kappa in kappas]
gd = [worst_steps(kappa, sr.GradientDescent(2 / (1 + kappa)), 3 * kappa)[0] for kappa in kappas[:4]]
bound = (np.sqrt(GAP / TARGET) - np.sqrt(2)) / 2 * np.sqrt(kappas)

fig = plots.figure(6.8, 4.0)
ax = fig.subplots()
for values, name in ((gd, "GradientDescent"), (sign, "SignGD"), (clipped, "ClippedNewton")):
    ax.loglog(kappas[: len(values)], values, **style_of(name))
ax.loglog(kappas, bound, color="gray", linestyle=":", label="lower bound for SignGD")
ax.set(xlabel="condition number", ylabel="steps to a hundredth of the loss")
ax.legend(loc="upper left", frameon=False, fontsize=8)
dress(ax)
fig

# %% [markdown]
# **The claim.** For convex losses the paper proves that a clipped Newton's method needs a number of steps in which the condition number does not occur, while
# sign descent, a stand-in for Adam, must pay its square root. Both can be seen in numbers; but the method of the theorem uses the full Hessian, and Sophia only
# its diagonal.
#
# Every point is the worst case over all starts of one loss. Gradient descent and sign descent have the best learning rate for that worst case,
# $2 / (1 + \kappa)$ at curvatures 1 and $\kappa$, and one found by search; clipped Newton has that of the theorem.

# %% [markdown]
# ## What is proved?
#
# (The statements are from memory of the paper; constants were derived anew for the quadratics here.) Let $L$ be strictly convex, $\mu$ the smallest eigenvalue of
# its Hessian at the minimum, and let the Hessian change by no more than a factor of 2 within a distance $R$. With $H = V^\top S V$ (the $d$ eigenvalues in
# $S$, eigenvectors in the rows of $V$), from a loss of $L_0$,
#
# $$ \theta \leftarrow \theta - \eta\, V^\top \mathrm{clip}\left(V H^{-1} \nabla L,\ \rho\right), \qquad \eta = \tfrac12, \quad \rho = \tfrac{R}{2 \sqrt d}, $$
#
# reaches $L - L^* \le \varepsilon$ within
#
# $$ T \lesssim d\, \frac{L_0 - L^*}{\mu R^2} + \ln \frac{\mu R^2}{32\, d\, \varepsilon} $$
#
# steps. On the other side, sign descent on $\tfrac{\mu}{2} x^2 + \tfrac{\beta}{2} y^2$ with any constant $\eta$ needs, from a worst start with $\Delta = L_0 - L^*$,
#
# $$ T \ge \tfrac12 \left( \sqrt{\Delta / \varepsilon} - \sqrt 2 \right) \sqrt{\beta / \mu} . $$
#
# ## Do the numbers agree?

# %%
print("kappa           ", *(f"{kappa:7,}" for kappa in kappas))
print("sign descent    ", *(f"{n:7.0f}" for n in sign))
print("its lower bound ", *(f"{n:7.1f}" for n in bound))
print("clipped Newton  ", *(f"{n:7.0f}" for n in clipped))
print("gradient descent", *(f"{n:7.0f}" for n in gd))

# %% [markdown]
# From $\kappa = 10$ on the bound is nearly sharp: sign descent needs about 1.2 times as much. And clipped Newton needs 5 steps, whatever $\kappa$. (Gradient
# descent pays $\kappa$ itself, and was stopped at 1,000.)
#
# ## Why the square root?
#
# Two wishes contradict each other, and both are about one number $\eta$.
#
# 1. To *settle* across the valley within $\varepsilon$: a sign step bounces between $\pm \eta / 2$ at best, where the loss is $\beta \eta^2 / 8$. So
#    $\eta \le \sqrt{8 \varepsilon / \beta}$.
# 2. To *arrive* along the valley: a start with loss $\Delta$ may be $\sqrt{2 \Delta / \mu}$ away, and each step covers $\eta$.
#
# Together $T \ge \sqrt{2\Delta/\mu}\, /\, \sqrt{8\varepsilon/\beta} = \tfrac12 \sqrt{\Delta/\varepsilon}\, \sqrt{\beta/\mu}$, up to what is forgiven near the end.
#
# In the pictures $\kappa = 100$, and the first wish says $\eta \le 0.02$ for $\varepsilon = 0.005$, the dotted line. A larger one is faster left, and right
# it never gets below the line.


# %%
def draw(lr=0.02):
    fig = plots.figure(8.6, 3.2)
    left, right = fig.subplots(1, 2)
    start = np.array([[1.0, 0.0], [np.sqrt(0.5), np.sqrt(0.5) / 10]])
    for ax, theta, title in (
        (left, start[0], "start along the valley"),
        (right, start[1], "start at 45 degrees, in units of the loss"),
    ):
        run = sr.run(rotated_quadratic(100.0, 0.0), sr.SignGD(lr), 100, theta0=theta)
        ax.semilogy(run.steps, run.losses, **style_of("SignGD"), markersize=2)
        ax.axhline(TARGET, color="gray", linestyle=":")
        ax.set(xlabel="step", ylabel="loss", title=f"{title}, lr {lr:g}", ylim=(1e-5, 1))
        dress(ax)
    return fig


sliders(draw, lr=[0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1])

# %% [markdown]
# ## Why no condition number?
#
# Newton's step in the eigenbasis is the *position*, as seen from the minimum: for a quadratic $V H^{-1} g$ is where we are. So clipped Newton walks towards the
# minimum at a constant speed $\eta \rho$ in each eigendirection until it is within $\rho$ of it, and from then on halves what is left in every step.
# Curvature has cancelled.

# %%
fig = plots.figure(6.4, 3.4)
ax = fig.subplots()
for kappa, (color, line), width in zip((1.0, 100.0, 10_000.0), SERIES, (7, 4, 1.5), strict=False):
    far = np.array([6.0, 4.0])
    run = sr.run(rotated_quadratic(kappa, 0.0), sr.ClippedNewton(lr=0.5, rho=0.5), 60, theta0=far)
    ax.semilogy(
        run.steps,
        np.linalg.norm(run.trajectory, axis=-1),
        color=color,
        linestyle=line,
        linewidth=width,
        label=f"condition number {kappa:,.0f}",
    )
ax.set(xlabel="step", ylabel="distance from the minimum", ylim=(1e-8, 20))
ax.legend(loc="upper right", frameon=False, fontsize=8)
dress(ax)
fig

# %% [markdown]
# Three condition numbers, one curve: first a walk, then a fall by a factor of 2 a step. These are the two terms of the theorem, and its two phases.
#
# ## Why clip, if the loss is convex?
#
# Because a convex loss need not be quadratic. Take $L(x) = \log\cosh x$: a bowl near 0, two straight lines farther out, where curvature is nearly nothing.


# %%
def log_cosh(theta):
    return np.logaddexp(theta, -theta)[..., 0]


for name, opt in (("Newton", sr.Newton(1.0)), ("clipped Newton", sr.ClippedNewton(lr=0.5, rho=0.5))):
    run = sr.run(log_cosh, opt, 5, theta0=np.array([1.2]))
    print(f"{name:15}", np.array2string(run.trajectory[:, 0], precision=3, suppress_small=True, max_line_width=100))

# %% [markdown]
# From 1.2 Newton's method jumps to the other side, farther and farther away, until the curvature is 0 to the last digit, where the library's makes no step.
# Clipped, it cannot leave the region where its model is believable. The $R$ of the
# theorem is the size of that region.
#
# ## And Sophia?
#
# Sophia clips along *coordinates* and divides by the *diagonal*. Where the valley lies along an axis, that is the theorem's method. And where it does not? We
# turn it by 30 degrees. (Sophia with $\gamma = \rho$ and learning rate $\eta \rho$, without averages, is the same rule in the paper's second notation.)

# %%
sophia = sr.Sophia(lr=0.25, gamma=0.5, beta1=0.0, beta2=0.0, every=1, estimator=sr.exact_diagonal)
print("kappa                          ", *(f"{kappa:6,}" for kappa in kappas[:4]))
for degrees in (0, 30):
    for label, opt in (("clipped Newton", sr.ClippedNewton(lr=0.5, rho=0.5)), ("Sophia", sophia)):
        counts = [worst_steps(kappa, opt, 2 * kappa + 20, np.radians(degrees))[0] for kappa in kappas[:4]]
        print(f"turned by {degrees:2} degrees, {label:14} ", *(f"{n:6.0f}" for n in counts))

# %% [markdown]
# Turned, Sophia pays for the condition number again, in proportion, as gradient descent does. **The theorem is about a method that nobody can run on a large
# model; the method that runs inherits its guarantee only as far as the Hessian is diagonal.** How far that is for networks is an empirical question, and the
# reason why comparisons like those of notebook 10 have the last word.
#
# ## Exercises
#
# **1.** What does the lower bound say for $\kappa = 10^6$ and $\Delta / \varepsilon = 100$?

# %% tags=["exercise"]
steps_bound = ...

check("11.1", steps_bound)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# steps_bound = (np.sqrt(100) - np.sqrt(2)) / 2 * np.sqrt(1e6)
# ```
#
# </details>

# %% [markdown]
# **2.** Clipped Newton with $\eta = \rho = \tfrac12$ starts at distance 10 along one eigenvector of a quadratic. After how many steps is it within $\rho$ for
# the first time?

# %% tags=["exercise"]
walk = ...

check("11.2", walk)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# walk = (10 - 0.5) / (0.5 * 0.5)
# ```
#
# Constant speed $\eta \rho = 0.25$.
#
# </details>

# %% [markdown]
# **3.** In the second phase the distance halves in each step. How many steps take the *loss* from $10^{-2}$ to $10^{-8}$? (A whole number.)

# %% tags=["exercise"]
fall = ...

check("11.3", fall)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# fall = np.ceil(np.log(1e6) / np.log(4))
# ```
#
# The loss goes with the square of the distance: a factor of 4 a step. That is the logarithm in the theorem.
#
# </details>

# %% [markdown]
# **4.** Write the theorem's step for a quadratic: gradient $g$ $(d,)$, Hessian $H$ $(d, d)$, $\eta$ and $\rho$ are given; return the change of $\theta$.


# %% tags=["exercise"]
def clipped_newton(g, H, eta, rho):
    return ...


check("11.4", clipped_newton)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def clipped_newton(g, H, eta, rho):
#     s, V = np.linalg.eigh(H)  # eigenvectors are columns
#     return -eta * V @ np.clip(V.T @ g / s, -rho, rho)
# ```
#
# Clipping in the eigenbasis is not clipping the coordinates of $H^{-1} g$.
#
# </details>

# %% [markdown]
# This is the end of the theory. Next: [12 · Does it really work? The claims](12_does_it_really_work.ipynb).
