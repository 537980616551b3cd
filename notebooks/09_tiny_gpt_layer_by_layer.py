# %% [markdown]
# # 09 · The tiny GPT, layer by layer
#
# *What you see is stored. To run it: Run ▸ Run All Cells first, then change what you like.*

# %% tags=["hide-input"]
import numpy as np
from lesson import check

import sophia_ref as sr
from sophia_ref import plots
from sophia_ref.plots.spectrum import SERIES
from sophia_ref.plots.style import dress
from toy_problems.text import Text
from toy_problems.transformer import LanguageTask, TinyGPT

sonnet = """Shall I compare thee to a summer's day?
Thou art more lovely and more temperate:
Rough winds do shake the darling buds of May,
And summer's lease hath all too short a date;
Sometime too hot the eye of heaven shines,
And often is his gold complexion dimm'd;
And every fair from fair sometime declines,
By chance or nature's changing course untrimm'd;
But thy eternal summer shall not fade,
Nor lose possession of that fair thou ow'st;
Nor shall death brag thou wander'st in his shade,
When in eternal lines to time thou grow'st:
So long as men can breathe or eyes can see,
So long lives this, and this gives life to thee.
"""
text = Text(sonnet)
model = TinyGPT(vocab=text.vocab, context=40, width=32, heads=4, layers=2)
task = LanguageTask(model, text, batch_size=8)
start = model.init(np.random.default_rng(0), dtype=np.float64)
adamw = sr.AdamW(sr.cosine(1e-2, 600, warmup=60), beta2=0.95, weight_decay=0.1)
theta = sr.run(task, adamw, steps=600, theta0=start, clip_norm=1.0, record=600).theta

line = text.encode("Shall I compare thee to a summer's day?")
fig = plots.figure(9.4, 3.2)
ax = fig.subplots()
for weights, name, (color, _), shift in (
    (start, "untrained", SERIES[1], -0.2),
    (theta, "after 600 steps", SERIES[0], 0.2),
):
    z = model.logits(weights, line[None, :-1])[0]
    surprise = np.log(np.exp(z).sum(axis=-1)) - z[np.arange(len(line) - 1), line[1:]]
    ax.bar(
        np.arange(1, len(line)) + shift, surprise, width=0.4, color=color, label=f"{name}: mean {surprise.mean():.2f}"
    )
ax.set(ylabel="surprise, -log p (nats)", ylim=(0, 4.9))
ax.margins(x=0.01)
ax.set_xticks(range(1, len(line)), text.decode(line[1:]).replace(" ", "·"))
ax.legend(loc="upper right", frameon=False, fontsize=8, ncols=2)
dress(ax)
fig

# %% [markdown]
# **The claim.** A GPT turns the characters so far into a probability for each possible next one, and the loss is its mean surprise at what really came.
# Everything in between is four kinds of layers, each a few lines of NumPy, and by the middle of this notebook you will have computed the loss by hand, to
# rounding.
#
# The bars are the surprise of a small model at each character of a line, before training and after 600 steps on the poem. It has learned it nearly by
# heart, and is unsure where a line begins, with little to go by.

# %% [markdown]
# ## What goes in?
#
# Characters as numbers, *tokens*. The target at each position is the token that follows.

# %%
print("vocabulary", repr(text.vocabulary), "of", text.vocab)
tokens, targets = line[None, :-1], line[None, 1:]  # (1, T)
print("tokens ", tokens[0, :8], repr(text.decode(tokens[0, :8])))
print("targets", targets[0, :8], repr(text.decode(targets[0, :8])))

# %% [markdown]
# ## And what are the parameters?
#
# One array $\theta$. A layout says which part of it is which tensor; there are no biases.

# %%
for name, shape in model.layout.shapes.items():
    print(f"{name:16} {shape!s:10} {np.prod(shape):6,}")
print(f"{'together':27} {model.size:6,}")
w = model.layout.unpack(theta)

# %% [markdown]
# The shapes use $V = 40$ words (here characters), a context of $T = 40$ positions, a width $D = 32$, and $3 D$ and $4 D$. Nine tenths are in the two blocks,
# 0 and 1, $12 D^2$ each.
#
# ## Layer 1: what is a token to the model?
#
# A row of a table, plus a row for its place in the line:

# %%
x = w["words"][tokens] + w["positions"][: tokens.shape[1]]  # (1, T) -> (1, T, D)
print("x", x.shape)

# %% [markdown]
# ## Layer 2: norm
#
# Every token's vector is shifted to mean 0 and scaled to variance 1, then multiplied by a gain for each of its $D$ entries. It keeps numbers in range,
# whatever the depth.


# %%
def norm(x, gain):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * gain


# %% [markdown]
# ## Layer 3: how does a token see the others?
#
# By attention. Each token asks with a *query* $q$, offers a *key* $k$, and carries a *value* $v$. It takes a mean of the values up to its own,
# weighted by how well their keys fit its query, for each of four heads of depth $d = D/4$. With a token in each row of $Q$, $K$ and $V$ (values, here):
#
# $$ P = \operatorname{softmax}\!\left(\frac{Q K^\top}{\sqrt d} + \text{mask}\right), \qquad y = P V . $$
#
# The mask is $-\infty$ for every token that comes later: nobody sees the future.


# %%
def softmax(s):
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def attention(qkv, heads=4):  # B texts of T tokens (B, T, 3 D) -> y (B, T, D), P (B, H, T, T)
    B, T, width = qkv.shape
    q, k, v = qkv.reshape(B, T, 3, heads, width // 3 // heads).transpose(2, 0, 3, 1, 4)  # 3 of (B, H, T, d)
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])  # (B, H, T, T)
    P = softmax(scores + np.triu(np.full((T, T), -np.inf), 1))
    return (P @ v).transpose(0, 2, 1, 3).reshape(B, T, width // 3), P


# %% [markdown]
# ## Layer 4: and what does it make of what it has seen?
#
# A small network for each token alone: four times as wide inside, with the smooth switch GELU.


# %%
def gelu(x):
    return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2


# %% [markdown]
# ## Put together
#
# Twice attention and network, each behind a norm and *added* to the stream $x$. Then a last norm, and the product with the table of words again: how
# well does the stream fit each word?


# %%
def forward(theta, tokens):
    w, maps = model.layout.unpack(theta), []
    x = w["words"][tokens] + w["positions"][: tokens.shape[1]]
    for i in range(model.layers):
        y, P = attention(norm(x, w[f"{i}.attention.gain"]) @ w[f"{i}.attention.in"])
        x = x + y @ w[f"{i}.attention.out"]
        x = x + gelu(norm(x, w[f"{i}.mlp.gain"]) @ w[f"{i}.mlp.in"]) @ w[f"{i}.mlp.out"]
        maps.append(P)
    return norm(x, w["gain"]) @ w["words"].T, maps  # (B, T, D) -> (B, T, V)


def loss(theta, tokens, targets):
    z, _ = forward(theta, tokens)
    z = z - z.max(axis=-1, keepdims=True)
    picked = targets[..., None] == np.arange(model.vocab)
    return np.mean(np.log(np.exp(z).sum(axis=-1)) - (z * picked).sum(axis=-1))


# %% [markdown]
# ## Is that the model?

# %%
ours, theirs = loss(theta, tokens, targets), model.loss(theta, (tokens, targets))
print(f"ours {ours:.10f}, the library's {theirs:.10f}, equal to rounding: {np.isclose(ours, theirs, rtol=1e-12)}")

# %% [markdown]
# The library's layers do the same with fewer temporary arrays, and with backward passes written by hand. Ours can be differentiated as it stands, as in
# notebook 08. Do the gradients agree?

# %%
by_tape = sr.grad(loss)(theta, tokens, targets)
by_hand = sr.Oracle(model, theta, (tokens, targets)).grad()
print("largest gradient", abs(by_hand).max().round(4), " agree:", np.allclose(by_tape, by_hand, rtol=1e-9, atol=1e-12))

# %% [markdown]
# ## Where does it look?
#
# The attention maps $P$ of all heads, for the beginning of the line. Row: who asks; column: whom it looks at. The upper half is the future.

# %%
_, maps = forward(theta, tokens[:, :15])
fig, letters = plots.figure(9.6, 5.2), text.decode(tokens[0, :15]).replace(" ", "·")
for row, (axes, P) in enumerate(zip(fig.subplots(2, 4), maps, strict=True)):
    for head, ax in enumerate(axes):
        dress(ax)
        ax.imshow(P[0, head], cmap="Blues", vmin=0, vmax=1)
        ax.set_xticks(range(15), letters, fontsize=6)
        ax.set_yticks(range(15), letters, fontsize=6)
        ax.set_title(f"layer {row + 1}, head {head + 1}", fontsize=9)
fig

# %% [markdown]
# Each head looks at something of its own: one most at the last few tokens, some at one place from many rows, some at many places at once. Nobody told
# them to.
#
# ## Does nobody see the future, really?
#
# Change the last token, and look which logits change:

# %%
other = tokens.copy()
other[0, -1] = (other[0, -1] + 1) % model.vocab
change = abs(forward(theta, tokens)[0] - forward(theta, other)[0]).max(axis=-1)[0]
print("positions whose logits change:", np.flatnonzero(change > 0), "of", tokens.shape[1])

# %% [markdown]
# ## How good is knowing nothing?
#
# A model that finds every word equally likely has a surprise of $\ln V$. An untrained one should start there, and it does:

# %%
print(f"untrained {loss(start, tokens, targets):.4f}, ln V = {np.log(model.vocab):.4f}")

# %% [markdown]
# A start far above $\ln V$ is the first sign of a bug in a language model.
#
# ## Is its curvature heterogeneous?
#
# This is what Sophia bets on. We estimate the Gauss-Newton diagonal (notebook 05) and look at it tensor by tensor.

# %%
rng = np.random.default_rng(0)
h = sr.Oracle(task, theta, task.batch(rng), rng).curvature(sr.averaged(sr.gnb, 200))
plots.diagonal_figure(h, model.layout)

# %%
low, high = np.quantile(h[h > 0], [0.05, 0.95])
print(f"the middle nine tenths span a factor of {high / low:,.0f}")
for name, where in model.layout.slices.items():
    print(f"{name:16} median {np.median(h[where]):.1e}")

# %% [markdown]
# Two and a half powers of ten for the middle nine tenths, more than two between the medians of tensors. No single learning rate suits all of that, as
# notebook 01 showed for two numbers. Adam's root of squared gradients is one answer to it, Sophia's $h$ another.
#
# ## Exercises
#
# **1.** How many parameters has `TinyGPT(vocab=96, context=64, width=64, heads=4, layers=2)`? Count them from the table of shapes.

# %% tags=["exercise"]
parameters = ...

check("09.1", parameters)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# V, T, D, layers = 96, 64, 64, 2
# parameters = V * D + T * D + layers * (3 * D * D + D * D + 4 * D * D + 4 * D * D + 2 * D) + D
# ```
#
# The output shares the table of words, so that it adds nothing.
#
# </details>

# %% [markdown]
# **2.** What is the loss of an untrained GPT-2, whose vocabulary has 50,257 words? (Two digits behind the point.)

# %% tags=["exercise"]
untrained_loss = ...

check("09.2", untrained_loss)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# untrained_loss = np.log(50257)
# ```
#
# 10.82 nats.
#
# </details>

# %% [markdown]
# **3.** How many of the $T \times T$ attention weights of one head are not zero, for $T = 64$?

# %% tags=["exercise"]
weights_left = ...

check("09.3", weights_left)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# weights_left = 64 * 65 // 2
# ```
#
# Row $t$ has $t$ of them. Nearly half of the work on the full square is wasted.
#
# </details>

# %% [markdown]
# **4.** Write the loss of one position: from logits $z$ $(V,)$ and the target's index, in a way that survives logits of 1,000.


# %% tags=["exercise"]
def surprise_of(z, target):
    return ...


check("09.4", surprise_of)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def surprise_of(z, target):
#     z = z - z.max()
#     return np.log(np.exp(z).sum()) - z[target]
# ```
#
# Softmax does not change when all logits are shifted, and after this shift no exponential overflows.
#
# </details>

# %% [markdown]
# Next: [10 · Training it](10_training_a_tiny_gpt.ipynb).
