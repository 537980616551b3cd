# %% [markdown]
# # 02 · Newton and its saddle trap
#
# *What you see is stored. To run it: Run ▸ Run All Cells first, then change what you like.*

# %% tags=["hide-input"]
import numpy as np
from lesson import check, sliders

import sophia_ref as sr
from sophia_ref import plots
from sophia_ref.basins import basins
from sophia_ref.plots.style import dress, style_of
from toy_problems.landscapes import REGISTRY

landscape = REGISTRY["sophia_fig2"]
sophia = sr.Sophia(lr=0.3, beta1=0.5, beta2=0.5, gamma=0.3, every=1, estimator=sr.exact_diagonal)
found = [basins(landscape, opt, grid=(150, 150)) for opt in (sr.Newton(1.0), sr.SaddleFreeNewton(1.0), sophia)]
plots.basins_figure(found)

# %% [markdown]
# **The claim.** Newton's method looks for a point where the gradient vanishes, and does not care whether that is a minimum, a saddle or a
# maximum; on this surface more than a quarter of all starts end at the saddle. One change is enough to cure it, namely not to divide by a
# negative curvature, and Sophia is one of several ways to make that change.
#
# Each pixel is a start, and its colour says where it ended: orange is the saddle, blue the minimum at the right, green the one at the left.

# %% [markdown]
# ## What does Newton's method believe?
#
# That the loss is a parabola. At $x$ it fits one to value, slope and curvature, and jumps to the parabola's extreme point:
#
# $$ L(x + d) \approx L(x) + L'(x)\, d + \tfrac{1}{2} L''(x)\, d^2, \qquad d = -\frac{L'(x)}{L''(x)} . $$
#
# Where $L'' > 0$ that point is the lowest of the parabola. And where $L'' < 0$? Take the part of the surface that depends on $x$ alone,
#
# $$ L_1(x) = 8 (x - 1)^2 (1.3 x^2 + 2 x + 1) . $$


# %%
def f(x):
    return 8 * (x - 1) ** 2 * (1.3 * x**2 + 2 * x + 1)


slope, curvature = sr.grad(f), sr.grad(sr.grad(f))
for x in (0.2, 0.58, 0.8):
    d = -slope(x) / curvature(x)
    print(
        f"x = {x}: slope {slope(x):7.2f}, curvature {curvature(x):7.2f}, Newton goes to {x + d:7.3f}, loss {f(x):5.2f} -> {f(x + d):7.2f}"
    )

# %% [markdown]
# From 0.8 it goes to the minimum, nearly. From 0.2 it goes *uphill*, to the top of the hill at 0, as the extreme point of a parabola that
# opens downward is its top. From 0.58, where curvature is close to zero, it jumps far away.


# %%
def draw(x=0.3):
    fig = plots.figure(6.4, 3.6)
    ax = fig.subplots()
    u, newton = np.linspace(-1.1, 1.5, 400), style_of("Newton")["color"]
    target = x - slope(x) / curvature(x)
    model = f(x) + slope(x) * (u - x) + curvature(x) * (u - x) ** 2 / 2
    top = f(x) - slope(x) ** 2 / curvature(x) / 2
    ax.plot(u, f(u), "k", linewidth=1.6, label="loss")
    ax.plot(u, model, color=newton, linestyle="--", label="Newton's parabola")
    ax.plot([x, target], [f(x), top], "o", color=newton, markersize=7)
    ax.annotate("", (target, top), (x, f(x)), arrowprops={"arrowstyle": "-|>", "color": newton, "linewidth": 1.5})
    ax.set(
        xlim=(-1.1, 1.5),
        ylim=(-2, 20),
        xlabel="x",
        ylabel="loss",
        title=f"from x = {x:g} with curvature {curvature(x):.1f} to {target:.2f}"
        + (", outside" if abs(target - 0.2) > 1.3 else ""),
    )
    ax.legend(loc="upper right", frameon=False, fontsize=8)
    dress(ax)
    return fig


sliders(draw, x=[-0.9, -0.6, -0.4, -0.2, 0.1, 0.2, 0.3, 0.5, 0.58, 0.62, 0.7, 0.9])

# %% [markdown]
# ## Where does it go wrong?
#
# Wherever $L_1'' = 8 (15.6 x^2 - 3.6 x - 3.4) < 0$: between the two points of inflection.

# %%
inflections = np.sort(np.roots([15.6, -3.6, -3.4]))
print("inflections", inflections.round(4))
uphill = np.mean([(a < x < b) for x in np.linspace(-1.1, 1.5, 10_001) for a, b in [inflections]])
print(f"they enclose {uphill:.0%} of the picture's width")

# %% [markdown]
# In two dimensions the same happens direction by direction. The Hessian $H = V \operatorname{diag}(s) V^\top$ has an eigenvalue $s_i$ for
# each eigenvector, and Newton's step treats each as a parabola of its own:
#
# $$ d = -\sum_i \frac{v_i^\top g}{s_i}\, v_i . $$
#
# Where $s_i > 0$ the step goes down along $v_i$, and where $s_i < 0$ it climbs. A **saddle** has eigenvalues of both signs: down to it along
# the one, up to it along the other, and Newton's method is glad to do both.

# %%
saddle = landscape.saddles[0]
H = sr.hessian(landscape.f)(saddle)
print("saddle", saddle, "gradient", sr.grad(landscape.f)(saddle), "eigenvalues", np.linalg.eigvalsh(H).round(2))

# %% [markdown]
# ## What can be done about it?
#
# Anything that does not divide by a negative number. For one direction with slope $c$ and curvature $s$, Newton's step and three ideas:
#
# | | step | where $s < 0$ |
# |---|---|---|
# | Newton | $-c / s$ | uphill |
# | damped | $-c / (s + \delta)$ | downhill if $\delta > \lvert s \rvert$, else uphill |
# | saddle-free (Dauphin et al. 2014) | $-c / \lvert s \rvert$ | downhill |
# | Sophia, along coordinates | $-\eta \, \mathrm{clip}(c / \max(\gamma s, \varepsilon))$ | downhill by $\eta$, a sign step |
#
# In Sophia's row $\mathrm{clip}$ cuts off at $\pm 1$, $\gamma$ scales the curvature and $\varepsilon$ is a tiny floor; notebook 06 takes it apart.

# %%
start = landscape.start
racers = [sr.Newton(0.3), sr.DampedNewton(0.3, damping=40.0), sr.SaddleFreeNewton(0.3), sophia]
runs = [sr.run(landscape, racer, steps=30) for racer in racers]
fig = plots.figure(6.4, 4.6)
plots.paths(plots.contour(fig.subplots(), landscape), runs)
plots.legend(fig, landscape, runs, fontsize=9)
fig

# %% [markdown]
# Three of four go downhill. Damping has a price: 40 is added to *every* curvature, so that along $y$, where the curvature is 1, the
# damped method crawls at a fortieth of Newton's speed.
#
# ## Where do all the starts end?

# %%
for item in found:
    shares = {kind: share for kind, share in item.shares().items() if share > 0}
    print(
        f"{plots.style_of(item.optimizer)['label']:18}",
        ", ".join(f"{kind} {share:.1%}" for kind, share in shares.items()),
    )

# %% [markdown]
# In the first picture look at the green strip right of the hill too. There curvature is nearly zero, and Newton's method jumps over the hill
# into the other valley.
#
# Two remarks keep this honest. *Minimum* includes the spurious one at $x = -0.65$: nobody who starts on the left of the hill gets to the
# right of it by going down. And the saddle repels gradient descent too: methods that follow the slope only ever *pass* a saddle. The trap is
# Newton's own.
#
# ## Are saddles common?
#
# Suppose that at a critical point the Hessian were a random symmetric matrix. How likely is it that *all* $n$ eigenvalues are positive?

# %%
rng = np.random.default_rng(0)
print(" n   share of minima")
for n in (1, 2, 3, 4, 5, 6):
    A = rng.standard_normal((40_000, n, n))
    positive = np.linalg.eigvalsh(A + np.swapaxes(A, 1, 2))[:, 0] > 0
    print(f"{n:2}   {positive.mean():.4f}")

# %% [markdown]
# A half, a seventh, one in forty, and so on, faster than exponentially. The Hessian of a network is not a random matrix, and near the end of
# training most of its eigenvalues are small or positive. But on the way there are directions of negative curvature all the time: of the
# diagonal of a tiny GPT a few per cent are negative after 600 steps ([gallery](../docs/gallery.md#the-hessians-diagonal)).
#
# ## Does the diagonal see a saddle?
#
# Sophia looks at the diagonal alone. Here is a function that has a saddle which no diagonal sees.


# %%
def product(theta):
    return theta[..., 0] * theta[..., 1]


origin = np.zeros(2)
print("Hessian    ", sr.hessian(product)(origin).tolist())
print("diagonal   ", sr.hessian_diag(product)(origin))
print("eigenvalues", np.linalg.eigvalsh(sr.hessian(product)(origin)))

# %% [markdown]
# It does not matter here: the floor $\varepsilon$ makes sign steps of it, which lead downhill along both axes. What does matter is that a step
# which goes down in every coordinate need not go down in all together. The clip bounds how far such a step can go; it does not promise that
# the loss falls.
#
# ## Exercises
#
# **1.** Newton's method starts at $x = 0.2$ on $L_1$. Where is it after one full step? (Three digits.)

# %% tags=["exercise"]
after_one = ...

check("02.1", after_one)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# after_one = 0.2 - slope(0.2) / curvature(0.2)
# ```
#
# $-0.0032$: within a single step it is practically on the top, where it stays.
#
# </details>

# %% [markdown]
# **2.** From which $x > 0$ on does Newton's method on $L_1$ go downhill? (Three digits.)

# %% tags=["exercise"]
from_here = ...

check("02.2", from_here)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# from_here = np.roots([15.6, -3.6, -3.4]).max()
# ```
#
# The larger point of inflection, $(3.6 + \sqrt{3.6^2 + 4 \cdot 15.6 \cdot 3.4}) / 31.2$. Just beyond it curvature is positive but tiny, and
# the step is downhill and far too long: another reason for a clip.
#
# </details>

# %% [markdown]
# **3.** Write a step for one direction that equals Newton's where $s > 0$ and goes *down* where $s < 0$, as far as Newton's would go up. It
# gets slope $c$ and curvature $s \ne 0$ and returns the change of position.


# %% tags=["exercise"]
def cured(c, s):
    return ...


check("02.3", cured)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def cured(c, s):
#     return -c / abs(s)
# ```
#
# The saddle-free method in a line.
#
# </details>

# %% [markdown]
# **4.** For $L(x, y) = x^2 + 6 x y + y^2$: the two entries of the Hessian's diagonal, and its lowest eigenvalue.

# %% tags=["exercise"]
h_x, h_y, lowest = ..., ..., ...

check("02.4", (h_x, h_y, lowest))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# H_4 = np.array([[2.0, 6.0], [6.0, 2.0]])
# h_x, h_y, lowest = 2.0, 2.0, np.linalg.eigvalsh(H_4)[0]
# ```
#
# The diagonal sees a round bowl; along $(1, -1)$ the surface bends down, with curvature $-4$.
#
# </details>

# %% [markdown]
# Next: [03 · Adam and sign descent](03_adam_and_sign_descent.ipynb).
