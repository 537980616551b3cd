"""The curvature of a model: the histogram of its Hessian's diagonal, and the density of its Hessian's eigenvalues."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sophia_ref.autodiff import Layout
from sophia_ref.plots.style import dress, figure, scheme_of
from sophia_ref.spectrum import SpectralDensity

Array = Any

POSITIVE, NEGATIVE = "#2b7fc4", "#e0662a"  # cool and warm, apart for colour-blind eyes
DECADES = 12  # the least that is told from zero, below the greatest
FALL = 3e6  # a density is drawn from its greatest over this
SERIES = (("#2b7fc4", "-"), ("#e0662a", "--"), ("#2aa8a0", "-."), ("#b03060", ":"))


def diagonal_histogram(ax: Axes, diagonal: Any, bins: Any = None) -> Axes:
    """Entries of a Hessian's diagonal by magnitude, on a logarithmic axis: positive ones upwards, negative downwards.

    diagonal: (n,). bins: edges in log10 |h|, by default ten a decade over what there is. Heights are shares of all n,
    which are named above with how many of them are negative, and zero if any are: less than 1e-12 of the greatest.
    Raises ValueError, by name, for a diagonal that is empty, not finite, or all zero.
    """
    h = _checked(diagonal)
    scheme = dress(ax)
    bins = _bins(h) if bins is None else np.asarray(bins, np.float64)
    zero = np.abs(h) <= 10.0 ** bins[0]
    for part, color, sign in ((h > 0, POSITIVE, 1), (h < 0, NEGATIVE, -1)):
        counts, _ = np.histogram(np.log10(np.abs(h[part & ~zero])), bins)
        ax.stairs(sign * counts / len(h), 10.0**bins, fill=True, color=color, linewidth=0)
    ax.axhline(0, color=scheme.quiet, linewidth=0.7)
    ax.set_xscale("log")
    ax.set_xlim(10.0 ** bins[0], 10.0 ** bins[-1])
    ax.set_xlabel("$|h|$")
    said = f"{len(h):,} entries, {np.mean((h < 0) & ~zero):.1%} negative" + f", {zero.mean():.1%} zero" * bool(
        zero.any()
    )
    ax.set_title(said, loc="right", fontsize=8, color=scheme.ink, pad=2)
    ax.yaxis.set_major_formatter(lambda y, _: f"{abs(y):.0%}")
    return ax


def diagonal_figure(diagonal: Any, layout: Layout, dark: bool = False) -> Figure:
    """A `diagonal_histogram` of the whole and of each layer of a model, one above the other on one scale of |h|.

    diagonal: (P,). layout: of its tensors; those whose names agree up to their last dot are one layer.
    Raises TypeError or ValueError, by name, for bad arguments.
    """
    if not isinstance(layout, Layout):
        raise TypeError(f"layout: {layout!r}; expected a Layout, such as TinyGPT's")
    h = _checked(diagonal)
    if h.shape != (layout.size,):
        raise ValueError(f"diagonal: shape {h.shape}; expected ({layout.size},), as the layout has it")
    layers: dict[str, list[Array]] = {"all": [h]}
    for name, where in layout.slices.items():
        layers.setdefault(name.rpartition(".")[0] or name, []).append(h[where])
    bins = _bins(h)
    fig = figure(7, 0.7 + 0.95 * len(layers), dark)
    axes: Any = fig.subplots(len(layers), 1, sharex=True)
    for ax, (name, parts) in zip(axes, layers.items(), strict=True):
        diagonal_histogram(ax, np.concatenate(parts), bins)
        scheme = scheme_of(ax)
        ax.set_title(
            name, loc="left", fontsize=9, color=scheme.ink, pad=2, fontweight="bold" if name == "all" else None
        )
        ax.locator_params(axis="y", nbins=3)
        if ax is not axes[-1]:
            ax.set_xlabel("")
    entries = [Patch(color=POSITIVE, label="positive"), Patch(color=NEGATIVE, label="negative")]
    fig.legend(handles=entries, loc="outside lower center", ncols=2, frameon=False, fontsize=9, labelcolor=scheme.ink)
    return fig


def spectrum(ax: Axes, densities: Mapping[str, SpectralDensity], width: float = 0.01) -> Axes:
    """Densities of eigenvalues, by name, on a logarithmic axis: each point mass of a SpectralDensity is a Gaussian.

    width: the standard deviation of the Gaussians, as a share of the whole range. The legend names the lowest and the
    highest node, which soon are the extreme eigenvalues. Raises ValueError, by name, for no densities or a width that
    is not positive.
    """
    if not densities:
        raise ValueError("densities: empty; expected at least one, by name")
    if not 0 < width < np.inf:
        raise ValueError(f"width: {width!r}; expected a finite number > 0")
    scheme = dress(ax)
    low = min(density.nodes.min() for density in densities.values())
    high = max(density.nodes.max() for density in densities.values())
    sigma = width * ((high - low) or 1.0)
    x = np.linspace(low - 5 * sigma, high + 5 * sigma, 1001)
    curves = []
    for (name, density), (color, dashes) in zip(densities.items(), SERIES * len(densities), strict=False):
        bumps = np.exp(-0.5 * ((x[:, None] - density.nodes) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
        curves.append(bumps @ density.weights)
        label = f"{name}: from {density.nodes.min():.3g} to {density.nodes.max():.3g}"
        ax.plot(x, curves[-1], color=color, linestyle=dashes, linewidth=1.6, label=label)
        ax.fill_between(x, curves[-1], 1e-300, color=color, alpha=0.12, linewidth=0)
    ax.axvline(0, color=scheme.quiet, linewidth=0.7)
    ax.set_yscale("log")
    top = np.max(curves)
    ax.set_ylim(top / FALL, 3 * top)
    ax.set_xlim(x[0], x[-1])
    ax.set(xlabel="eigenvalue of $H$", ylabel="density")
    ax.legend(frameon=False, fontsize=8, labelcolor=scheme.ink)
    return ax


def _checked(diagonal: Any) -> Array:
    h = np.asarray(diagonal, dtype=np.float64)
    if h.ndim != 1 or not len(h):
        raise ValueError(f"diagonal: shape {h.shape}; expected (n,) with n >= 1")
    if not np.isfinite(h).all():
        at = int(np.argmin(np.isfinite(h)))
        raise ValueError(f"diagonal[{at}]: {h[at]}; expected finite numbers")
    if not h.any():
        raise ValueError("diagonal: all zero; expected curvature somewhere")
    return h


def _bins(h: Array) -> Array:
    """Edges in log10 |h|, ten a decade, over all but what is zero beside the greatest."""
    size = np.log10(np.abs(h[h != 0]))
    low, high = max(size.min(), size.max() - DECADES), size.max()
    return np.arange(np.floor(10 * low) - 1, np.ceil(10 * high) + 2) / 10
