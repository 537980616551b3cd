# %% [markdown]
# # 08 · Autodiff from nothing
#
# *What you see is stored. To run it: Run ▸ Run All Cells first, then change what you like.*

# %% tags=["hide-input"]
import math
import time

import numpy as np
from lesson import check

import sophia_ref as sr
from sophia_ref import plots
from sophia_ref.plots.spectrum import SERIES
from sophia_ref.plots.style import dress


def f(x):
    return 1 / (1 + 25 * x * x)


x = 0.6
truth = -50 * x / (1 + 25 * x * x) ** 2
h = 10.0 ** np.arange(-15, 0.1, 0.5)
errors = {
    "(f(x + h) - f(x)) / h": (f(x + h) - f(x)) / h - truth,
    "(f(x + h) - f(x - h)) / 2h": (f(x + h) - f(x - h)) / (2 * h) - truth,
    "autodiff": np.full_like(h, sr.grad(f)(x) - truth),
}
fig = plots.figure(6.8, 3.6)
ax = fig.subplots()
for (label, error), (color, line) in zip(errors.items(), SERIES, strict=False):
    ax.loglog(h, np.maximum(abs(error), 1e-16), color=color, linestyle=line, linewidth=1.6, label=label)
ax.set(xlabel="h", ylabel="error of the derivative")
ax.legend(loc="center left", frameon=False, fontsize=8)
dress(ax)
fig

# %% [markdown]
# **The claim.** A number that carries its derivative along, and a list of what was done to it, differentiate a program exactly: no step size, no
# symbols. Forward over reverse, they give Hessian-vector products for about the price of three gradients, which is all that Sophia needs of second
# derivatives.
#
# Above is the derivative of $1 / (1 + 25 x^2)$ at 0.6. Differences have a best step size, and even there lose half of the digits, or a third
# if they are taken to both sides. Autodiff has them all (an error of 0 is drawn as $10^{-16}$), and no $h$.

# %% [markdown]
# ## Can a number know its derivative?
#
# Write $x + \dot x\, \epsilon$ with a symbol $\epsilon$ for which $\epsilon^2 = 0$. Multiply two of these:
#
# $$ (a + \dot a \epsilon)(b + \dot b \epsilon) = a b + (\dot a b + a \dot b)\, \epsilon . $$
#
# The product rule has appeared by itself. So let a class do that arithmetic.


# %%
class Dual:
    def __init__(self, value, tangent=0.0):
        self.value, self.tangent = value, tangent

    def __add__(self, other):
        other = other if isinstance(other, Dual) else Dual(other)
        return Dual(self.value + other.value, self.tangent + other.tangent)

    def __mul__(self, other):
        other = other if isinstance(other, Dual) else Dual(other)
        return Dual(self.value * other.value, self.tangent * other.value + self.value * other.tangent)

    __radd__, __rmul__ = __add__, __mul__


# %% [markdown]
# Functions other than sums and products need one line each: $\sin(x + \dot x \epsilon) = \sin x + \dot x \cos x\, \epsilon$.


# %%
def sin(x):
    if isinstance(x, Dual):
        return Dual(sin(x.value), cos(x.value) * x.tangent)
    return math.sin(x)


def cos(x):
    if isinstance(x, Dual):
        return Dual(cos(x.value), -1 * sin(x.value) * x.tangent)
    return math.cos(x)


# %% [markdown]
# Now any program made of these can be asked for a derivative, by starting it with $\dot x = 1$:


# %%
def program(x):
    y = x
    for _ in range(3):
        y = sin(y * x) + y
    return y


result = program(Dual(0.5, 1.0))
print("value     ", result.value)
print("derivative", result.tangent)
print("difference", (program(0.5 + 1e-6) - program(0.5 - 1e-6)) / 2e-6)

# %% [markdown]
# Loops, branches and function calls need nothing: they are just Python. This is **forward mode**. One pass gives the derivative in *one* direction.
#
# ## And if there are a million inputs?
#
# Then a million passes. The other way round is to run the program once, write down what was done, and walk back. Each intermediate gets a number
# $\bar v = \partial L / \partial v$, starting from $\bar L = 1$:
#
# $$ w = u \cdot v \quad \Rightarrow \quad \bar u \mathrel{+}= v\, \bar w, \qquad \bar v \mathrel{+}= u\, \bar w . $$


# %%
class Var:
    def __init__(self, value, parents=()):
        self.value, self.parents, self.bar = value, parents, 0.0  # parents: pairs (Var, slope)

    def __add__(self, other):
        other = other if isinstance(other, Var) else Var(other)
        return Var(self.value + other.value, [(self, 1.0), (other, 1.0)])

    def __mul__(self, other):
        other = other if isinstance(other, Var) else Var(other)
        return Var(self.value * other.value, [(self, other.value), (other, self.value)])

    __radd__, __rmul__ = __add__, __mul__


def vsin(x):
    return Var(sin(x.value), [(x, cos(x.value))])


def backward(y):
    order, seen = [], set()

    def visit(node):  # parents before children
        if id(node) not in seen:
            seen.add(id(node))
            for parent, _ in node.parents:
                visit(parent)
            order.append(node)

    visit(y)
    y.bar = 1.0
    for node in reversed(order):
        for parent, slope in node.parents:
            parent.bar = parent.bar + slope * node.bar


# %% [markdown]
# That is **reverse mode**: one pass back gives *all* derivatives. Try it on $L(a, b) = a^2 b + \sin(a b)$, whose gradient is
# $(2 a b + b \cos ab,\; a^2 + a \cos ab)$.


# %%
def loss(a, b):
    return a * a * b + vsin(a * b)


a, b = Var(1.5), Var(-0.8)
backward(loss(a, b))
print("reverse mode", a.bar, b.bar)
print("by hand     ", 2 * 1.5 * -0.8 + -0.8 * math.cos(-1.2), 1.5**2 + 1.5 * math.cos(-1.2))

# %% [markdown]
# ## How do we get second derivatives?
#
# Here is the trick that this project rests on. The backward pass is itself a program of sums and products. So let *Dual* numbers run through it: put
# $x + \dot x\, \epsilon$ with $\dot x = v$ into the Vars, and the gradient that comes out is
#
# $$ g(x + v \epsilon) = g(x) + H v\, \epsilon . $$
#
# Its tangent is the Hessian-vector product. Nothing has to be written for it.

# %%
a, b = Var(Dual(1.5, 1.0)), Var(Dual(-0.8, 0.0))  # v = (1, 0): the first column of H
backward(loss(a, b))
print("gradient    ", a.bar.value, b.bar.value)
print("H v         ", a.bar.tangent, b.bar.tangent)
s, c = math.sin(-1.2), math.cos(-1.2)
print("by hand     ", 2 * -0.8 - (-0.8) ** 2 * s, 2 * 1.5 + c + 1.2 * s)

# %% [markdown]
# Some forty lines for exact second derivatives (Pearlmutter 1994). We never formed $H$.
#
# ## What does a library add?
#
# The same two classes, for arrays. `sophia_ref` differentiates plain NumPy: a `Dual` or a `Var` is handed to `np.tanh` or `@`, NumPy asks it through the
# protocol `__array_ufunc__` what to do, and a table of rules answers.


# %%
def network(w):
    h = np.tanh(np.array([[1.0, -2.0], [0.5, 0.3]]) @ w.reshape(2, 3))
    return np.mean(np.log(np.sum(np.exp(h), axis=1)))


w, v = np.linspace(-1, 1, 6), np.arange(6.0)
print("gradient", sr.grad(network)(w).round(4))
print("H v     ", sr.hvp(network, w, v).round(4))
print("H times v", (sr.hessian(network)(w) @ v).round(4))
sr.check_grads(network, w, order=2)  # against differences, first and second order

# %% [markdown]
# Where there is no rule, or where a derivative would be lost, it refuses instead of being wrong:

# %%
for careless in (lambda x: np.sum(np.sort_complex(x)), lambda x: np.sum(np.asarray(x) ** 2)):
    try:
        sr.grad(careless)(w)
    except TypeError as error:
        print("TypeError:", error)

# %% [markdown]
# ## Is our forty-line version right, too?
#
# Almost. Derivatives inside derivatives break it. What is
#
# $$ \frac{d}{dx} \left[ x \cdot \frac{d}{dy} (x + y) \right] ? $$
#
# The inner derivative is 1, so the whole is $\frac{d}{dx} x = 1$.


# %%
def derivative(f, x):
    return f(Dual(x, 1.0)).tangent


print("ours        ", derivative(lambda x: x * derivative(lambda y: x + y, 1.0), 1.0))
print("the library ", sr.grad(lambda x: x * sr.grad(lambda y: x + y)(1.0))(1.0))

# %% [markdown]
# Ours says 2: the inner derivative has mistaken the tangent of $x$, which belongs to the outer one, for its own. This is *perturbation confusion*.
# The cure is to number the levels: each derivative in progress has its own $\epsilon$, and a rule is applied at the highest level present. The library's
# boxes carry that number.
#
# ## What does it cost?
#
# A backward pass does about twice the work of the forward pass, so that a gradient costs three losses. For each product Dual numbers take three, one for
# the value and two for the tangent, so that a Hessian-vector product costs up to three gradients, and what the bookkeeping takes. Measured on a tiny GPT of
# 30,000 parameters, in gradients:

# %% tags=["volatile"]
from toy_problems.transformer import PRESETS

model, rng = PRESETS["30k"], np.random.default_rng(0)
theta, tokens = model.init(rng), rng.integers(0, 128, (8, 65))
batch = (tokens[:, :-1], tokens[:, 1:])
oracle = sr.Oracle(model, theta, batch, rng)


def seconds(ask, repeat=7):
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        ask()
        times.append(time.perf_counter() - start)
    return min(times)


one = seconds(lambda: sr.Oracle(model, theta, batch).grad())
print(f"loss                   {seconds(lambda: model.loss(theta, batch)) / one:.2f}")
print(f"gradient               1     ({1e3 * one:.1f} ms here)")
print(f"Hessian-vector product {seconds(lambda: oracle.hvp(theta)) / one:.2f}")

# %% [markdown]
# Fixed prices of 1/3, 1 and 3 are what the project counts with, whatever the machine. (This cell measures time, so its numbers change.) The Hessian itself,
# one product a parameter, would cost 90,000 gradients.
#
# ## Exercises
#
# **1.** Give `Dual` an exponential: a function that returns a `Dual` with the right value and tangent for a `Dual` of numbers. (`math.exp` is there.)


# %% tags=["exercise"]
def dual_exp(x):
    return ...


check("08.1", lambda value, tangent: dual_exp(Dual(value, tangent)))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def dual_exp(x):
#     return Dual(math.exp(x.value), math.exp(x.value) * x.tangent)
# ```
#
# To nest, like `sin` above, it would have to call itself on `x.value`.
#
# </details>

# %% [markdown]
# **2.** $L(a, b) = a^3 b$ at $(1, 2)$, $v = (1, 1)$. The Hessian-vector product, by hand or by the classes above?

# %% tags=["exercise"]
Hv = ...

check("08.2", Hv)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# a_2, b_2 = Var(Dual(1.0, 1.0)), Var(Dual(2.0, 1.0))
# backward(a_2 * a_2 * a_2 * b_2)
# Hv = [a_2.bar.tangent, b_2.bar.tangent]
# ```
#
# $H = \begin{pmatrix} 6ab & 3a^2 \\ 3a^2 & 0 \end{pmatrix} = \begin{pmatrix} 12 & 3 \\ 3 & 0 \end{pmatrix}$.
#
# </details>

# %% [markdown]
# **3.** A function has 3 inputs and 1,000 outputs, and you want all 3,000 derivatives. Which mode takes fewer passes: `"forward"` or `"reverse"`?

# %% tags=["exercise"]
mode = ...

check("08.3", mode)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# mode = "forward"
# ```
#
# Three passes, one an input. Reverse mode takes one an output. Losses are the opposite: many inputs, one output.
#
# </details>

# %% [markdown]
# **4.** $L = a \cdot a + a$ at $a = 3$. What is $\bar a$ after `backward`, and what would it be if `backward` walked through `order` without `reversed`?

# %% tags=["exercise"]
a_bar, forgotten = ..., ...

check("08.4", (a_bar, forgotten))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# a_bar, forgotten = 2 * 3 + 1, 1
# ```
#
# `a` is used three times, twice in the product. Without `reversed` the product has its turn when its own $\bar v$ is still 0, and only the summand counts:
# a node may pass on its $\bar v$ only when all that use it have added theirs.
#
# </details>

# %% [markdown]
# Next: [09 · The tiny GPT, layer by layer](09_tiny_gpt_layer_by_layer.ipynb).
