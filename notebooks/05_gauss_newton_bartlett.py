# %% [markdown]
# # 05 · Gauss-Newton-Bartlett, and why labels are sampled
#
# *What you see is stored. To run it: Run ▸ Run All Cells first, then change what you like.*

# %% tags=["hide-input"]
from itertools import product

import numpy as np
from lesson import check

import sophia_ref as sr
from sophia_ref import plots
from sophia_ref.plots.spectrum import SERIES
from sophia_ref.plots.style import dress
from toy_problems.mlp import MLP, logits

sizes, rng = [4, 16, 64, 256, 1024, 4096], np.random.default_rng(0)
theta = MLP(hidden=8).init(rng)
sampled, true = [], []
for B in sizes:
    task = MLP(hidden=8, batch_size=B)
    oracle = sr.Oracle(task, theta, task.batch(rng), rng)
    sampled.append(oracle.curvature(sr.averaged(sr.gnb, 50)).sum())
    true.append(oracle.curvature(sr.empirical_fisher).sum())
fig = plots.figure(6.4, 3.6)
ax = fig.subplots()
for values, marker, label, (color, line) in (
    (sampled, "o", "labels sampled from the model", SERIES[0]),
    (true, "s", "true labels", SERIES[1]),
):
    ax.loglog(sizes, values, marker=marker, color=color, linestyle=line, label=label)
ax.set(xlabel="examples in the batch, B", ylabel="sum of B g² over the parameters")
ax.legend(loc="upper left", frameon=False, fontsize=8)
dress(ax)
fig

# %% [markdown]
# **The claim.** Draw labels from the model's own prediction, take the gradient of the batch's mean loss, square it, multiply by the batch size: its
# mean is the diagonal of the Gauss-Newton matrix, exactly. With the *true* labels the same formula estimates no curvature at all, and what it gives
# grows with the size of the batch.
#
# The code differs in where the labels come from and in nothing else, and the results by a factor of a hundred.

# %% [markdown]
# ## Which curvature?
#
# A classifier computes logits $z = f(\theta, x)$ and the loss $\ell(z, y) = -\log \operatorname{softmax}(z)_y$. By the chain rule the Hessian of the
# mean loss has two parts:
#
# $$ H = \underbrace{\frac1B \sum_b J_b^\top S_b J_b}_{G} \; + \; \frac1B \sum_b \sum_k \frac{\partial \ell}{\partial z_{bk}} \nabla^2 z_{bk},
#    \qquad J_b = \frac{\partial z_b}{\partial \theta}, \quad S_b = \operatorname{diag}(p_b) - p_b p_b^\top . $$
#
# Here $p_b = \operatorname{softmax}(z_b)$ are the probabilities that the model gives to the classes of example $b$, and $\nabla^2 z_{bk}$ is the Hessian of
# one logit. $G$ is the *Gauss-Newton matrix*. It lacks the curvature of the network itself, it needs no labels, and none of its eigenvalues is negative, as
# none of $S_b$ is. Sophia-G uses its diagonal.
#
# ## What does a sampled label give?
#
# The smallest example: one input, one parameter for each of three classes, so that $z = \theta$ and the gradient of the loss for label $y$ is
# $p - e_y$, with $e_y$ a unit vector. Average over $y \sim p$:

# %%
p = np.array([0.5, 0.3, 0.2])
gradients = p - np.eye(3)  # (label, class)
print("mean of the gradient", (p @ gradients).round(12) + 0.0)
print("mean of its square  ", p @ gradients**2)
print("diag(p) - p p', diagonal", p - p**2)

# %% [markdown]
# Two facts, and they are all there is to it (Bartlett 1953):
#
# 1. **the mean is zero**, since $\sum_y p_y (p - e_y) = p - p$;
# 2. **the mean of the square is the curvature** $p (1 - p)$.
#
# ## And a batch?
#
# One backward pass over a batch gives the gradient of the *mean* loss, $\hat g = \frac1B \sum_b \hat g_b$, and not the $\hat g_b$ one by one. Squared,
#
# $$ \mathbb{E}\, \hat g^2 = \frac{1}{B^2} \sum_{b, c} \mathbb{E}\, \hat g_b \hat g_c = \frac{1}{B^2} \sum_b \mathbb{E}\, \hat g_b^2
#    = \frac1B \operatorname{diag} G , $$
#
# because labels of different examples are independent and each $\hat g_b$ has mean zero: the mixed terms vanish. So $\hat h = B\, \hat g^2$. That factor
# is where implementations go wrong most often: $B$ counts *predictions*, tokens and not sequences.
#
# ## Must we believe it?
#
# We can enumerate. Three examples with two features, three classes, $z = x W$: there are $3^3 = 27$ ways to label the batch, each with its probability.

# %%
rng = np.random.default_rng(1)
X, W = rng.standard_normal((3, 2)), rng.standard_normal((2, 3))
z = X @ W
p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)  # (3 examples, 3 classes)


def loss(w, labels):
    z = X @ w.reshape(2, 3)
    return np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(3), labels])


mean, total = np.zeros(6), 0.0
for labels in product(range(3), repeat=3):
    chance = p[np.arange(3), labels].prod()
    g = sr.grad(loss)(W.ravel(), np.array(labels))
    mean += chance * 3 * g**2
    total += chance
print("chances add up to   ", round(total, 12))
print("mean of B g^2       ", mean.round(6))

# %%
G = np.einsum("bi,bk->ik", X**2, p * (1 - p)) / 3  # J of z_k with respect to W_ik is x_i
print("diagonal of G       ", G.ravel().round(6))
print("equal to rounding   ", np.allclose(mean, G.ravel(), rtol=1e-12, atol=0))

# %% [markdown]
# Exactly equal. For this model $z$ is linear in $W$, the second part of $H$ is zero, and $G$ is the Hessian itself, whatever the labels:

# %%
print("diagonal of H       ", sr.hessian_diag(lambda w: loss(w, np.array([0, 0, 2])))(W.ravel()).round(6))

# %% [markdown]
# ## What do true labels give?
#
# One tuple of labels, the one that the data has, and no average over others. Then the mean gradient is not zero, unless training is over, and
# $B g^2$ is $B$ times the square of that mean, plus something. It grows with $B$, as in the first picture. In the same small example, for three
# different truths:

# %%
for labels in ([0, 0, 0], [0, 1, 2], [2, 2, 1]):
    g = sr.grad(loss)(W.ravel(), np.array(labels))
    print(f"labels {labels}: B g^2 =", (3 * g**2).round(3))
print("diagonal of G:            ", G.ravel().round(3))

# %% [markdown]
# It depends on the labels, which curvature here does not. This is often called the *empirical Fisher*. It looks much the same, needs no extra pass, is what
# several published ports of Sophia-G compute by mistake, and is no estimate of $G$ (Kunstner et al. 2019).
#
# ## And where $G$ and $H$ differ?
#
# In a network with a hidden layer. Here are both diagonals for 51 parameters, $G$ from its definition, by three reverse passes an example (`vjp`, which notebook 08
# builds), one for each class:

# %%
task = MLP(hidden=8, batch_size=32)
batch = task.batch(np.random.default_rng(5))
z, pullback = sr.vjp(lambda theta: logits(batch[0], *task.layout.unpack(theta).values()), theta)
p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)  # (32, 3)
unit = np.eye(96).reshape(96, 32, 3)
J = np.array([pullback(e) for e in unit]).reshape(32, 3, -1)  # (32, 3, 51)
mean_J = np.einsum("bk,bki->bi", p, J)
G = np.einsum("bk,bki->i", p, (J - mean_J[:, None]) ** 2) / 32
H = sr.Oracle(task, theta, batch).hessian_diag()
estimate = sr.Oracle(task, theta, batch, np.random.default_rng(0)).curvature(sr.averaged(sr.gnb, 4000))
print(
    f"largest relative difference of 4,000 GNB estimates from G: {(abs(estimate - G) / G.max()).max():.1%} of the largest entry"
)
print(f"negative entries: {np.sum(G < 0)} of G, {np.sum(H < 0)} of H")

# %%
fig = plots.figure(4.6, 3.8)
ax = fig.subplots()
ax.plot(H, G, "o", color=SERIES[0][0], markersize=4)
ax.axline((0, 0), slope=1, color="gray", linewidth=0.8)
ax.set(xlabel="diagonal of the Hessian H", ylabel="diagonal of Gauss-Newton G")
dress(ax)
fig

# %% [markdown]
# Many entries agree, others do not, and where $H$ is negative $G$ is positive. Is that a loss? A negative curvature becomes a sign step in Sophia anyway;
# with $G$ it becomes a small positive one, and a clipped step in all likelihood. It comes to the same.
#
# ## Hutchinson or GNB?
#
# | | Hutchinson | Gauss-Newton-Bartlett |
# |---|---|---|
# | estimates | $\operatorname{diag} H$ | $\operatorname{diag} G$ |
# | may be negative | yes | no |
# | cost | 3 gradients | 1 gradient |
# | needs | second derivatives | a likelihood to draw labels from |
# | variance | from beside the diagonal | $2 G_{ii}^2$ and a little, since it is a square |

# %%
for estimator in (sr.hutchinson, sr.gnb):
    oracle = sr.Oracle(task, theta, batch, np.random.default_rng(0))
    draws = np.array([oracle.curvature(estimator) for _ in range(500)])
    truth = H if estimator is sr.hutchinson else G
    noise = np.sqrt(np.mean((draws - truth) ** 2) / np.mean(truth**2))
    print(f"{estimator.__name__:10} cost {oracle.cost / 500:.0f}, noise of one estimate {noise:.1f} times its signal")

# %% [markdown]
# A noise of $\sqrt 2$ times the signal is what the square of a nearly normal variable has.
#
# ## Exercises
#
# **1.** The model says $p = (0.5, 0.5)$ for two classes, $z = \theta$. What are the mean and the mean square of $\partial \ell / \partial \theta_1$
# for a sampled label?

# %% tags=["exercise"]
mean_gradient, mean_square = ..., ...

check("05.1", (mean_gradient, mean_square))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# mean_gradient, mean_square = 0, 0.5 * 0.5
# ```
#
# The gradient is $-0.5$ for label 1 and $+0.5$ for label 2.
#
# </details>

# %% [markdown]
# **2.** And for the true label, which is 1?

# %% tags=["exercise"]
true_gradient, true_square = ..., ...

check("05.2", (true_gradient, true_square))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# true_gradient, true_square = 0.5 - 1, (0.5 - 1) ** 2
# ```
#
# The square is right by accident, for one prediction. With $B$ copies of this example the mean gradient stays $-0.5$, and $B g^2$ is $0.25\,B$.
#
# </details>

# %% [markdown]
# **3.** A batch of 480 windows of 1,024 tokens each; GNB looks at half of the windows. What is $B$?

# %% tags=["exercise"]
B_tokens = ...

check("05.3", B_tokens)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# B_tokens = 240 * 1024
# ```
#
# Every token is a prediction. Taking windows for it makes $h$ a thousandfold too small.
#
# </details>

# %% [markdown]
# **4.** Write GNB for logistic-like models. The function gets class probabilities `p` $(B, K)$, a function `mean_gradient(labels)` that returns the
# gradient $(P,)$ of the mean loss for labels $(B,)$, and a generator. Draw labels, return $\hat h$ $(P,)$.


# %% tags=["exercise"]
def my_gnb(p, mean_gradient, rng):
    return ...


check("05.4", my_gnb)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_gnb(p, mean_gradient, rng):
#     labels = np.array([rng.choice(len(row), p=row) for row in p])
#     return len(p) * mean_gradient(labels) ** 2
# ```
#
# Not `p.argmax(axis=1)`: the most likely label is not a sample, and its gradient has no mean of zero.
#
# </details>

# %% [markdown]
# Next: [06 · Sophia step by step](06_sophia_step_by_step.ipynb).
