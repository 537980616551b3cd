# %% [markdown]
# # 00 · Start here
#
# *What you see is stored. To run it: Run ▸ Run All Cells first, then change what you like.*

# %% tags=["hide-input"]
import numpy as np
from lesson import check, sliders

import sophia_ref as sr
from sophia_ref import plots
from toy_problems.landscapes import REGISTRY

landscape = REGISTRY["sophia_fig2"]
sophia = sr.Sophia(0.3, beta1=0.5, beta2=0.5, gamma=0.3, every=1, estimator=sr.exact_diagonal)
optimizers = [sr.GradientDescent(0.014), sr.SignGD(0.3), sr.Adam(0.3), sr.Newton(0.3), sophia]
runs = [sr.run(landscape, optimizer, steps=40) for optimizer in optimizers]
plots.race_figure(landscape, runs)

# %% [markdown]
# **The claim.** Sophia divides the gradient by curvature where curvature is positive, and clips what comes out; on this surface that
# takes it to the minimum while Newton's method is drawn to a saddle. Its paper says that the same idea trains language models in half the
# steps of Adam, and independent studies that tuned both with equal care found the two level.
#
# Both sentences are worth understanding. This course builds every piece from nothing, and measures rather than believes.

# %% [markdown]
# ## What did we just see?
#
# (The code of the first picture is folded away in every notebook; click on it to see it. It imports what is used below, and makes things such as
# `runs` and `landscape`. `check` judges exercises, `sliders` shows them, and names like `dress` and `SERIES` are about the looks of a picture only.)
#
# Five optimizers start at the ring, $(0.2, 0)$, on the surface
#
# $$L(x, y) = 8 (x - 1)^2 (1.3 x^2 + 2 x + 1) + \tfrac{1}{2} (y - 4)^2 .$$
#
# It is steep in $x$ and flat in $y$, and between its two valleys lies a saddle. Where did each of them end?

# %%
print(f"{'':8} {'x':>6} {'y':>6}  {'at a':8} {'loss':>8} {'cost':>5}")
for run in runs:
    (x, y), name = run.theta, plots.style_of(run.optimizer)["label"]
    print(f"{name:8} {x:6.2f} {y:6.2f}  {landscape.classify(run.theta)!s:8} {run.losses[-1]:8.4f} {run.cost[-1]:5.0f}")

# %% [markdown]
# Newton's method has found the saddle, on purpose: it looks for a point where the gradient vanishes, and a saddle is one. Gradient
# descent is slow, sign descent cannot settle, Adam is on its way, and Sophia has arrived.
#
# The last column is what honest comparisons need. A *gradient* costs 1. A *Hessian-vector product*, which is how curvature is asked
# for, costs 3. Here Sophia asks for its exact curvature at every step, as Newton's method does, and pays for two products each time.
#
# ## Is Sophia still ahead if we count cost instead of steps?

# %%
plots.losses_figure(runs)

# %% [markdown]
# By steps, left, it is no contest. By cost, right, Adam is ahead for as long as it runs: what its 40 steps cost buys Sophia not even
# six. Would Adam have arrived too, had it been given as much as Sophia?

# %%
longer = sr.run(landscape, sr.Adam(0.3), steps=280)
print(f"Adam's loss for {longer.cost[-1]:.0f} gradients: {longer.losses[-1]:.1e}. Sophia's: {runs[-1].losses[-1]:.1e}.")

# %% [markdown]
# It would, and come closer. Which axis is the right one is half of every argument about optimizers. In real training Sophia asks for curvature only every
# tenth step, and from a cheap estimate, so that its cost comes to a few per cent more than Adam's: how, is the subject of notebooks 04
# and 05.
#
# ## Does it depend on the settings?
#
# It does, always. With Jupyter running there are sliders below; otherwise you see one picture. Sophia moves each coordinate by
# $-\eta \, \mathrm{clip}(m / \max(\gamma h, \varepsilon))$: $m$ and $h$ are averages of the gradient and of the curvature, the clip cuts off at $\pm 1$, $\varepsilon$
# is tiny, and $\gamma$ scales the curvature (notebook 06 has every line of it). Try $\gamma = 0.01$, the value of the paper's language models: almost every step is then clipped, and what moves is the sign of the
# momentum.


# %%
def draw(lr=0.3, gamma=0.3):
    opt = sr.Sophia(lr, beta1=0.5, beta2=0.5, gamma=gamma, every=1, estimator=sr.exact_diagonal)
    fig = plots.figure(5.6, 4.2)
    run = sr.run(landscape, opt, steps=40)
    ax = plots.paths(plots.contour(fig.subplots(), landscape), run)
    ax.set_title(f"lr {lr:.3g}, gamma {gamma:.3g}: {np.nanmean(run.unclipped):.0%} of the coordinates not clipped")
    return fig


sliders(draw, lr=[0.03, 0.1, 0.2, 0.3, 0.5, 1.0], gamma=[0.01, 0.03, 0.1, 0.3, 1.0, 3.0])

# %% [markdown]
# ## The map
#
# | | notebook | what you will be able to answer |
# |---|---|---|
# | 01 | [Why curvature matters](01_why_curvature_matters.ipynb) | Why is gradient descent slow in a valley, and by how much? |
# | 02 | [Newton and its saddle trap](02_newton_and_its_saddle_trap.ipynb) | Why does the best local model lead uphill? |
# | 03 | [Adam and sign descent](03_adam_and_sign_descent.ipynb) | What does Adam do, if not curvature? |
# | 04 | [Estimating a diagonal: Hutchinson](04_hutchinson.ipynb) | How can one product see a million curvatures? |
# | 05 | [Gauss-Newton-Bartlett](05_gauss_newton_bartlett.ipynb) | Why must the labels be sampled? |
# | 06 | [Sophia step by step](06_sophia_step_by_step.ipynb) | What is each number in a step of Sophia? |
# | 07 | [Figure 2 rebuilt](07_figure_2_rebuilt.ipynb) | How much of the paper's picture is the settings? |
# | 08 | [Autodiff from nothing](08_autodiff_from_nothing.ipynb) | Where do exact Hessian-vector products come from? |
# | 09 | [The tiny GPT, layer by layer](09_tiny_gpt_layer_by_layer.ipynb) | What is the loss, as arithmetic? |
# | 10 | [Training it](10_training_a_tiny_gpt.ipynb) | AdamW, Sophia-H, Sophia-G: who wins here? |
# | 11 | [The theorem, numerically](11_the_theorem_numerically.ipynb) | What is proved, and about which method? |
# | 12 | [Does it really work? The claims](12_does_it_really_work.ipynb) | Which claim was reproduced, which was not, and how do you tell? |
# | 13 | [From here to PyTorch and JAX](13_from_here_to_pytorch_and_jax.ipynb) | Which Sophia is it that somebody has run, and is it one? |
#
# In a hurry: 06 stands on its own. Each notebook takes ten to thirty minutes of reading and less than a minute and a half of computing.
# Notebook 08 can come at any time; it explains how the others get their derivatives.
#
# ## How to use it
#
# In the project's folder, `make notebooks` opens JupyterLab. Every notebook starts from nothing and runs from top to bottom, and every one
# ends with exercises. An exercise is a cell with dots in it: put your answer in their place and run the cell. It says whether it is right,
# and if not, what may have gone wrong. The solution is folded away below. Saving changes the files: to get newer versions later, work on a copy.

# %% [markdown]
# ## Exercises
#
# **1.** Which of the five optimizers ended at the saddle? Answer with its name, in quotes.

# %% tags=["exercise"]
answer_1 = ...

check("00.1", answer_1)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# answer_1 = "Newton"
# ```
#
# The table above says so, and notebook 02 says why.
#
# </details>

# %% [markdown]
# **2.** A Hessian in $P$ dimensions takes $P$ Hessian-vector products. What do 40 steps of Newton's method cost in two dimensions, in
# gradients? And what would *one* step cost for a model of 100,000 parameters?

# %% tags=["exercise"]
forty_steps = ...
one_step = ...

check("00.2", (forty_steps, one_step))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# forty_steps = 40 * (1 + 3 * 2)
# one_step = 1 + 3 * 100_000
# ```
#
# A step asks for a gradient and for $P$ products of 3 gradients each. The first number stands in the table; the second is why nobody
# trains a network with Newton's method.
#
# </details>

# %% [markdown]
# **3.** Write Sophia's clip: a function that leaves a number within $\pm\rho$ as it is and moves any other to the nearer limit.


# %% tags=["exercise"]
def clip(z, rho):
    return ...


check("00.3", clip)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def clip(z, rho):
#     return np.clip(z, -rho, rho)
# ```
#
# Or `max(min(z, rho), -rho)` for single numbers. Notebook 06 shows what this line does to a step.
#
# </details>

# %% [markdown]
# Next: [01 · Why curvature matters](01_why_curvature_matters.ipynb), or straight to [06 · Sophia step by
# step](06_sophia_step_by_step.ipynb).
