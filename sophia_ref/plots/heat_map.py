"""What two settings do together: the final loss over learning rate and gamma."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize

from sophia_ref.plots.style import dress

Array = Any


def heat_map(ax: Axes, lr: Any, gamma: Any, losses: Any) -> Axes:
    """The final loss of a run for each learning rate and gamma, with the best marked by a star and named.

    lr: (n,), gamma: (m,), both positive and ascending. losses: (m, n); what is not finite counts as diverged, and is
    crossed out. Colours leave out the best and the worst twentieth, so that a few cells do not make the others
    alike, and are logarithmic where losses are positive and lie further apart than a factor of 10.
    Raises ValueError, by name, for bad arguments and where every run has diverged.
    """
    lr, gamma = _ascending("lr", lr), _ascending("gamma", gamma)
    losses = np.asarray(losses, dtype=np.float64)
    if losses.shape != (len(gamma), len(lr)):
        raise ValueError(f"losses: shape {losses.shape}; expected ({len(gamma)}, {len(lr)}), a row for each gamma")
    known = np.isfinite(losses)
    if not known.any():
        raise ValueError("losses: none is finite; expected at least one run that did not diverge")
    scheme = dress(ax)
    low, high = np.quantile(losses[known], [0.05, 0.95], method="nearest")
    norm = LogNorm(low, high) if low > 0 and high > 10 * low else Normalize(low, high)
    ax.set(xscale="log", yscale="log", xlabel="learning rate", ylabel=r"$\gamma$")
    mesh = ax.pcolormesh(_edges(lr), _edges(gamma), np.ma.masked_array(losses, ~known), cmap="cividis_r", norm=norm)
    row, column = np.nonzero(~known)
    ax.plot(lr[column], gamma[row], "x", color=scheme.quiet, markersize=5, markeredgewidth=1, label="diverged")
    i, j = np.unravel_index(np.argmin(np.where(known, losses, np.inf)), losses.shape)
    ax.plot(lr[j], gamma[i], "*", color=scheme.ink, markeredgecolor=scheme.paper, markersize=13)
    right, up = j < len(lr) / 2, i < len(gamma) / 2
    ax.annotate(
        f"best {losses[i, j]:.3g}\nlr {lr[j]:.2g}, $\\gamma$ {gamma[i]:.2g}", (lr[j], gamma[i]), fontsize=8,
        xytext=(8 if right else -8, 8 if up else -8), textcoords="offset points", color=scheme.ink,
        ha="left" if right else "right", va="bottom" if up else "top", zorder=5,
        bbox={"facecolor": scheme.paper, "edgecolor": "none", "alpha": 0.85, "boxstyle": "round,pad=0.15"},
    )  # fmt: skip
    bar = ax.get_figure(root=True).colorbar(mesh, ax=ax, pad=0.02, extend="both")  # type: ignore[union-attr]
    dress(bar.ax)
    bar.outline.set_visible(False)
    bar.set_label("final loss", color=scheme.ink, fontsize=9)
    return ax


def _ascending(name: str, values: Any) -> Array:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"{name}: shape {values.shape}; expected (n,) with n >= 1")
    if not (np.isfinite(values) & (values > 0)).all() or (np.diff(values) <= 0).any():
        raise ValueError(f"{name}: {values.tolist()}; expected positive finite numbers that ascend")
    return values


def _edges(middles: Array) -> Array:
    """The edges of cells around values on a logarithmic axis, (n + 1,)."""
    logs = np.log(middles)
    half = np.diff(logs) / 2 if len(logs) > 1 else np.array([0.5])
    return np.exp(np.concatenate([[logs[0] - half[0]], logs[:-1] + half[: len(logs) - 1], [logs[-1] + half[-1]]]))
