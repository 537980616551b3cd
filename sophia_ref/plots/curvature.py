"""What curvature looks like at a point, to the Hessian, to its diagonal, and to Sophia.

The quadratic model of the loss around theta is f + <g, d> + d^T H d / 2. Its curvature is drawn as the level sets
d^T M d / 2 = c (solid) and -c (dashed) around theta, Dupin's indicatrix: an ellipse where M is positive definite, two
pairs of hyperbola branches where it is indefinite, two lines where it has a flat direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from sophia_ref.oracle import Oracle
from sophia_ref.plots.race import contour, inside_pieces, plain_tex
from sophia_ref.plots.style import figure, scheme_of, style_of

Array = Any

EPS = 1e-12  # Sophia's least denominator
SEEN = {  # who looks: what it divides the gradient by, and as whom its step is drawn
    "hessian": ("the Hessian $H$", "Newton"),
    "diagonal": ("its diagonal $h$", None),
    "sophia": (r"Sophia: $\max(h, \epsilon)$, clipped at $\rho$", "Sophia"),
}


def curvature(
    ax: Axes, landscape: Any, theta: Any, seen: str = "hessian", width: float | None = None, rho: float | None = None
) -> Axes:
    """The curvature at theta (2,) as `seen` sees it, over the contours of a window around theta.

    seen: "hessian" for H with its eigenvectors and eigenvalues; "diagonal" for h, the diagonal of H, which is what
    Sophia's estimates have as their mean; "sophia" for max(h, eps), where a negative curvature has become none and the
    dashed box, which no coordinate leaves, takes its place. The arrow is the step: -H^-1 g, -g / h, or
    -clip(g / max(h, eps), rho), the paper's first form. Directions of negative curvature are dashed.
    width: of the window, by default 0.4 of the domain's shorter side. rho: half the side of the box, by default 0.3 of
    the width. All levels at one theta are c of the same size, whoever looks.
    Raises TypeError or ValueError, by name, for bad arguments and where there is no curvature at all.
    """
    if seen not in SEEN:
        raise ValueError(f"seen: {seen!r}; expected one of {', '.join(map(repr, SEEN))}")
    theta = np.asarray(theta, dtype=np.float64)
    if theta.shape != (2,) or not np.isfinite(theta).all():
        raise ValueError(f"theta: {theta.tolist()!r}; expected two finite numbers, (x, y)")
    if np.shape(getattr(landscape, "domain", ())) != (2, 2):
        raise ValueError(f"landscape: {landscape!r}; expected a landscape of two dimensions")
    width = _length("width", width, 0.4 * min(high - low for low, high in landscape.domain))
    rho = _length("rho", rho, 0.3 * width)

    oracle = Oracle(landscape.f, theta)
    g, hessian = oracle.grad(), oracle.hessian()
    matrix = {"hessian": hessian, "diagonal": np.diag(np.diag(hessian))}.get(seen)
    matrix = np.diag(np.maximum(np.diag(hessian), EPS)) if matrix is None else matrix
    sizes = np.abs(np.linalg.eigvalsh(hessian))
    if not sizes.max() > 0:
        raise ValueError(f"theta: {theta.tolist()!r}; expected a point where the Hessian is not zero")
    # c = s r² / 2: along the direction of least curvature s the level is r from theta
    level = sizes[sizes > 1e-9 * sizes.max()].min() * (0.35 * width) ** 2 / 2

    box = np.array([theta - width / 2, theta + width / 2]).T
    contour(ax, SimpleNamespace(**{name: getattr(landscape, name) for name in ("f", "start", "minima", "saddles")},
                                maxima=landscape.maxima, domain=box, title="", formula=""))  # fmt: skip
    scheme, what = scheme_of(ax), SEEN[seen]
    look: dict[str, Any] = style_of(what[1]) if what[1] else {"color": scheme.ink}
    x, y = np.meshgrid(*(np.linspace(low, high, 401) for low, high in box))
    d = np.stack([x, y], axis=-1) - theta
    q = np.einsum("...i,ij,...j->...", d, matrix, d) / 2
    ax.contourf(x, y, np.abs(q), [0, level], colors=[scheme.ink], alpha=0.12, zorder=1)
    for sign, dashes in ((1, "solid"), (-1, "dashed")):
        if (sign * q).max() > level:
            ax.contour(x, y, sign * q, [level], colors=[scheme.ink], linewidths=1.6, linestyles=dashes, zorder=2)
    step = _step(seen, g, hessian, rho)
    _axes_of(ax, theta, matrix, seen, step, width)
    if seen == "sophia":
        ax.add_patch(Rectangle(theta - rho, 2 * rho, 2 * rho, fill=False, edgecolor=look["color"], linestyle="--",
                               linewidth=1.2, zorder=3))  # fmt: skip
    if np.abs(step).max() > 1e-6 * width:
        start, end = inside_pieces(np.array([theta, theta + step]), box)[0]
        ax.annotate("", end, start, zorder=5, arrowprops={"arrowstyle": "-|>", "color": look["color"], "linewidth": 2,
                    "shrinkA": 0, "shrinkB": 0, "mutation_scale": 16})  # fmt: skip
    ax.plot(*theta, "o", color=scheme.ink, markeredgecolor=scheme.paper, markersize=6, zorder=6)
    ax.set_aspect("equal")
    ax.set_title(what[0], color=scheme.ink, fontsize=10)
    return ax


def curvature_figure(landscape: Any, thetas: Sequence[Any], dark: bool = False, **settings: Any) -> Figure:
    """`curvature` at each of some points, a row each, as the Hessian, its diagonal and Sophia see it, side by side.

    settings: width and rho of `curvature`. Raises as it does, and ValueError for no points.
    """
    if not len(thetas):
        raise ValueError("thetas: empty; expected points (x, y)")
    fig = figure(9.6, 0.75 + 3.35 * len(thetas), dark)
    axes: Any = fig.subplots(len(thetas), len(SEEN), squeeze=False)
    for row, theta in zip(rows := list(axes), thetas, strict=True):
        for ax, seen in zip(row, SEEN, strict=True):
            curvature(ax, landscape, theta, seen, **settings)
            if row is not rows[0]:
                ax.set_title("")
            if ax is not row[0]:
                ax.set_ylabel("")
                ax.tick_params(labelleft=False)
    scheme = scheme_of(axes[0, 0])
    fig.suptitle(f"{landscape.title}    ${plain_tex(landscape.formula)}$", fontsize=11, color=scheme.ink)
    line: dict[str, Any] = {"xdata": [], "ydata": [], "color": scheme.ink, "linewidth": 1.6}
    newton, sophia = style_of("Newton")["color"], style_of("Sophia")["color"]
    entries = [
        Line2D(**line, label=r"$\frac{1}{2} d^T M d = c$"),
        Line2D(**line, linestyle="--", label="$= -c$"),
        *(
            Line2D([], [], color=color, linewidth=2, marker=">", markevery=[-1], label=label)
            for color, label in ((newton, "$-H^{-1} g$"), (scheme.ink, "$-g / h$"), (sophia, "Sophia's step"))
        ),
        Line2D([], [], color=sophia, linestyle="--", linewidth=1.2, label=r"$\pm\rho$"),
    ]
    fig.legend(handles=entries, loc="outside lower center", ncols=len(entries), frameon=False, fontsize=9,
               labelcolor=scheme.ink, columnspacing=1.5)  # fmt: skip
    return fig


def _length(name: str, value: float | None, otherwise: float) -> float:
    if value is None:
        return otherwise
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < np.inf:
        raise ValueError(f"{name}: {value!r}; expected a finite number > 0")
    return float(value)


def _step(seen: str, g: Array, hessian: Array, rho: float) -> Array:
    """Where the one that sees this goes from theta, (2,); nowhere along directions without curvature."""
    h = np.diag(hessian)
    if seen == "hessian":
        # d = -H⁻¹ g
        return -np.linalg.pinv(hessian, hermitian=True) @ g
    if seen == "diagonal":
        # d = -g / h
        return -g / np.where(h == 0, np.inf, h)
    # d = -clip(g / max(h, ε), ρ)
    return -np.clip(g / np.maximum(h, EPS), -rho, rho)


def _axes_of(ax: Axes, theta: Array, matrix: Array, seen: str, step: Array, width: float) -> None:
    """The eigenvectors, or for diagonal matrices the coordinates, each under its curvature, dashed where it is
    negative."""
    scheme = scheme_of(ax)
    values, vectors = (np.diag(matrix), np.eye(2)) if seen != "hessian" else np.linalg.eigh(matrix)
    symbols = (r"\lambda_1", r"\lambda_2") if seen == "hessian" else ("h_x", "h_y")
    for value, v, symbol in zip(values, vectors.T, symbols, strict=True):
        v = -v if v @ step > 0 else v  # the label stands where the arrow does not go
        reach = 0.44 * width / max(np.abs(v))
        ax.plot(*np.array([theta - reach * v, theta + reach * v]).T, color=scheme.ink, linewidth=0.9,
                linestyle="-" if value > 0 else (0, (4, 3)), zorder=2.5)  # fmt: skip
        none = seen == "sophia" and value <= EPS
        text = rf"$h_{symbol[-1]} < 0 \to \epsilon$" if none else f"${symbol} = {value:.3g}$"
        ax.annotate(text, theta + 0.36 * width / max(np.abs(v)) * v, ha="center", va="center", fontsize=9, zorder=7,
                    color=scheme.ink, bbox={"facecolor": scheme.paper, "edgecolor": "none", "alpha": 0.85,
                    "boxstyle": "round,pad=0.15"})  # fmt: skip
