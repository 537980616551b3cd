"""The fused layers of a transformer, each a forward and a backward function in plain NumPy.

Every pair reads

    forward(*inputs) -> (y, saved)        backward(saved, y_bar) -> one cotangent per input

where x_bar names dL/dx, and None stands for an input that has no derivative. `primitive` makes one differentiable
function of the two. A backward pass is itself plain NumPy, so dual numbers pushed through both passes give exact
Hessian-vector products.

Shapes: B sequences of T tokens, width D, H heads of depth d = D / H, V words in the vocabulary, E any other width.
What a trick buys was measured at the sizes of TinyGPT(96, 64, 64, 4, 2) on 16 sequences, float32, one core.
"""

import math
from typing import Any

import numpy as np

from sophia_ref.autodiff import primitive
from sophia_ref.autodiff.dispatch import strip

Array = Any  # an ndarray, or a Dual that stands for one
MASKED = -1  # the target of a position that predicts nothing


# -- linear: y = x W ---------------------------------------------------------------------------------------------------


def linear_forward(x: Array, w: Array) -> Any:
    # All sequences in one product: for a stack NumPy would call BLAS once a sequence, which takes 10% longer.
    y = x.reshape(-1, x.shape[-1]) @ w  # (B*T, D) @ (D, E) -> (B*T, E)
    return y.reshape(*x.shape[:-1], w.shape[-1]), (x, w)  # (B, T, E)


def linear_backward(saved: Any, y_bar: Array) -> Any:
    # x_bar = y_bar W^T        W_bar = x^T y_bar
    x, w = saved
    y_bar = y_bar.reshape(-1, w.shape[-1])  # (B, T, E) -> (B*T, E)
    x_bar = y_bar @ w.T  # (B*T, E) @ (E, D) -> (B*T, D)
    w_bar = x.reshape(-1, x.shape[-1]).T @ y_bar  # (D, B*T) @ (B*T, E) -> (D, E)
    return x_bar.reshape(x.shape), w_bar


# -- layer norm, then linear: y = (n * gain) W,  n = (x - mean) / sqrt(var + eps) --------------------------------------

EPS = 1e-5  # PyTorch's default, which the paper's training code keeps


def norm_linear_forward(x: Array, gain: Array, w: Array) -> Any:
    # (n * gain) W = n (gain * W): the gain scales the rows of W, not every token. Saves 3% of the gradient's time.
    width = x.shape[-1]
    n = x - np.einsum("btd->bt", x)[..., None] / width  # (B, T, D); einsum sums short rows 4 times faster than sum
    variance = np.vecdot(n, n) / width  # (B, T); 4 times faster than a square and its sum
    scale = 1 / np.sqrt(variance + EPS)  # (B, T)
    n *= scale[..., None]
    y, _ = linear_forward(n, gain[:, None] * w)  # (B, T, D) -> (B, T, E)
    return y, (n, scale, gain, w)


def norm_linear_backward(saved: Any, y_bar: Array) -> Any:
    # W_bar = gain ⊙ (n^T y_bar)        gain_bar = the sum of W (n^T y_bar) over each row
    n, scale, gain, w = saved
    width = len(gain)
    n_bar, scaled_w_bar = linear_backward((n, gain[:, None] * w), y_bar)  # (B, T, D), (D, E)
    # x_bar = scale ⊙ (n_bar - mean(n_bar) - n ⊙ mean(n ⊙ n_bar))
    x_bar = n * (np.vecdot(n, n_bar) / -width)[..., None]  # (B, T, D)
    x_bar += n_bar
    x_bar -= (np.einsum("btd->bt", n_bar) / width)[..., None]
    x_bar *= scale[..., None]
    return x_bar, np.einsum("de,de->d", scaled_w_bar, w), scaled_w_bar * gain[:, None]


# -- tanh GELU: y = x s,  s = (1 + tanh u) / 2,  u = A1 x + A3 x^3 -----------------------------------------------------

A1 = math.sqrt(2 / math.pi)
A3 = A1 * 0.044715  # Hendrycks and Gimpel 2016, section 2


def gelu_forward(x: Array) -> Any:
    s = x * x  # (B, T, E), as everything here, and in place: to write to other memory costs twice as much
    s *= A3
    s += A1
    s *= x  # u
    np.tanh(s, out=s)
    s *= 0.5
    s += 0.5
    y = x * s
    return y, (x, s, y)


def gelu_backward(saved: Any, y_bar: Array) -> Any:
    # x_bar = y_bar ⊙ (s + y ⊙ (1 - s) ⊙ (2 A1 + 6 A3 x^2)), as ds/dx = 2 s (1 - s) du/dx
    x, s, y = saved
    slope = x * x
    slope *= 6 * A3
    slope += 2 * A1
    slope *= y
    slope *= 1 - s
    slope += s
    return (slope * y_bar,)


# -- causal attention: y = P V,  P = softmax(S) over the keys up to the query,  S = Q K^T / sqrt(d) --------------------

SAFE = 30.0  # exp(30) and exp(-30) leave float32 room for sums, products and quotients


def attention_forward(qkv: Array, heads: int) -> Any:
    # P is stored transposed, keys before queries: max and shift over keys then run along whole rows, which NumPy
    # vectorises (3 times faster), and V's gradient multiplies by P^T anyway.
    batch, time, width = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    depth = width // heads
    q, k, v = qkv.reshape(batch, time, 3, heads, depth).transpose(2, 0, 3, 1, 4)  # 3 of (B, H, T, d), views
    # A contiguous right factor: BLAS multiplies by it 1.6 times as fast.
    q_scaled = np.empty_like(qkv, shape=(batch, heads, depth, time))
    np.divide(q.swapaxes(-1, -2), math.sqrt(depth), out=q_scaled)  # (B, H, d, T)
    p = k @ q_scaled  # S^T: (B, H, T, d) @ (B, H, d, T) -> (B, H, T, T), and in place on to P^T
    in_range = max(strip(p).max(), -strip(p).min()) < SAFE
    # In row j and column i, a key j after the query i gets the weight exp(-inf).
    p += np.tril(np.full_like(strip(p), -np.inf, shape=(time, time)), -1)
    # A shift leaves softmax as it is and keeps exp in range; S is mostly small, and to do without it saves 3%.
    if not in_range:
        p -= strip(p).max(-2, keepdims=True)
    np.exp(p, out=p)
    p *= 1 / (np.ones_like(strip(p), shape=(1, time)) @ p)  # (B, H, 1, T); BLAS sums over keys 4 times faster than sum
    y = np.empty_like(qkv, shape=(batch, time, heads, depth))
    y_heads = y.transpose(0, 2, 1, 3)  # (B, H, T, d), a view: BLAS writes every head where it belongs, 20% faster
    np.matmul(p.swapaxes(-1, -2), v, out=y_heads)  # (B, H, T, T) @ (B, H, T, d) -> (B, H, T, d)
    return y.reshape(batch, time, width), (q, k, v, p, y_heads)  # (B, T, D)


def attention_backward(saved: Any, y_bar: Array) -> Any:
    # V_bar = P^T y_bar        S_bar = P ⊙ (y_bar V^T - c),  c = the sum of P (y_bar V^T) over keys, one number a query
    # Q_bar = S_bar K / sqrt(d)        K_bar = S_bar^T Q / sqrt(d)
    # As P V = y, c is also the sum of y_bar y over depth, which is shorter: 4 times faster.
    q, k, v, p, y = saved
    batch, heads, time, depth = q.shape
    y_bar = y_bar.reshape(batch, time, heads, depth).transpose(0, 2, 1, 3)  # (B, H, T, d), a view
    y_bar_scaled = np.empty_like(y_bar, shape=(batch, heads, depth, time))
    np.divide(y_bar.swapaxes(-1, -2), math.sqrt(depth), out=y_bar_scaled)
    s_bar = v @ y_bar_scaled  # S_bar^T / sqrt(d): (B, H, T, d) @ (B, H, d, T) -> (B, H, T, T)
    s_bar -= np.einsum("bhtd,bhtd->bht", y_bar, y)[:, :, None, :] / math.sqrt(depth)
    s_bar *= p
    qkv_bar = np.empty_like(s_bar, shape=(batch, time, 3, heads, depth))
    q_bar, k_bar, v_bar = qkv_bar.transpose(2, 0, 3, 1, 4)  # 3 of (B, H, T, d), views
    np.matmul(s_bar.swapaxes(-1, -2), k, out=q_bar)  # (B, H, T, T) @ (B, H, T, d) -> (B, H, T, d)
    np.matmul(s_bar, q, out=k_bar)
    np.matmul(p, y_bar, out=v_bar)
    return qkv_bar.reshape(batch, time, 3 * heads * depth), None  # (B, T, 3D)


# -- embedding: y = the token's row of one table + the position's row of another ---------------------------------------


def embedding_forward(tokens: Array, words: Array, positions: Array) -> Any:
    y = words[tokens] + positions[: tokens.shape[1]]  # (V, D), (T, D) -> (B, T, D)
    return y, (tokens, words.shape, positions.shape)


def embedding_backward(saved: Any, y_bar: Array) -> Any:
    # every row of y_bar is added to the row that it came from
    tokens, (vocab, width), positions_shape = saved
    words_bar = np.zeros_like(y_bar, shape=vocab * width)
    # add.at is 8 times faster on single numbers than on rows.
    entries = tokens[..., None].astype(np.int64) * width + np.arange(width)  # (B, T, D)
    np.add.at(words_bar, entries.reshape(-1), y_bar.reshape(-1))
    positions_bar = np.zeros_like(y_bar, shape=positions_shape)
    positions_bar[: tokens.shape[1]] = y_bar.sum(0)
    return None, words_bar.reshape(vocab, width), positions_bar


# -- softmax cross-entropy: L = mean over unmasked positions of -log p[label],  p = softmax(z) -------------------------


def cross_entropy_forward(z: Array, targets: Array, uniforms: Array) -> Any:
    # Labels are the targets, or, given uniforms in (0, 1], drawn from p itself. A masked position has a share of 0.
    z_rows = z.reshape(-1, z.shape[-1])  # (B, T, V) -> (N, V), N = B*T
    plain = strip(z_rows)
    shifted = z_rows - np.take_along_axis(plain, plain.argmax(-1)[:, None], -1)  # argmax is twice as fast as max
    e = np.exp(shifted)
    total = np.einsum("nv->n", e)  # (N,)
    labels = targets.reshape(-1) if uniforms is None else inverse_cdf(e, np.asarray(uniforms, like=plain).reshape(-1))
    kept = targets.reshape(-1) != MASKED
    share = np.asarray((kept / np.count_nonzero(kept)).astype(z.dtype), like=plain)  # (N,)
    picked = np.arange(len(labels)), labels
    loss = np.vecdot(share, np.log(total) - shifted[picked])
    return loss, (e, total, share, picked, z.shape)


def cross_entropy_backward(saved: Any, loss_bar: Array) -> Any:
    # z_bar = (p - one_hot(label)) loss_bar share
    e, total, share, picked, shape = saved
    z_bar = e * (share * loss_bar / total)[:, None]  # (N, V)
    z_bar[picked] -= share * loss_bar
    return z_bar.reshape(shape), None, None


def inverse_cdf(weights: Array, uniforms: Array) -> Array:
    """One label per row of weights (N, V), drawn in proportion to them: the first whose cumulative share reaches the
    uniform of (0, 1]."""
    cumulative = weights.cumsum(-1)  # (N, V)
    return (cumulative < uniforms[:, None] * cumulative[:, -1:]).sum(-1)  # (N,); a weight of zero is never drawn


embedding = primitive(embedding_forward, embedding_backward)  # (tokens, words, positions)
linear = primitive(linear_forward, linear_backward)  # (x, w)
norm_linear = primitive(norm_linear_forward, norm_linear_backward)  # (x, gain, w)
gelu = primitive(gelu_forward, gelu_backward)  # (x)
attention = primitive(attention_forward, attention_backward)  # (qkv, heads)
cross_entropy = primitive(cross_entropy_forward, cross_entropy_backward)  # (logits, targets, uniforms or None)
