"""A race on a landscape, in the manner of the paper's Figure 2: the paths on the surface, and on its contours.

A landscape is anything with .f (theta (..., 2) -> heights), .domain ((x low, x high), (y low, y high)), .start (2,),
.minima, .saddles and .maxima, each (n, 2), .title and .formula (LaTeX).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, LightSource, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from sophia_ref.plots.style import Scheme, checked_runs, dress, figure, halo, scheme_of, style_of
from sophia_ref.run import Run

Array = NDArray[Any]

LEVELS = 16
RESOLUTION = 201  # points of the grid along each axis
# how critical points are drawn, in ink on paper; optimizers use none of these markers
CRITICAL = {"minima": ("*", "minimum", 13), "saddles": ("X", "saddle", 9), "maxima": ("^", "maximum", 8)}


def contour(ax: Axes, landscape: Any) -> Axes:
    """The landscape's heights as filled contours with log-spaced levels, its critical points, and its start.

    Raises TypeError or ValueError for a landscape that is not two-dimensional.
    """
    x, y, z, levels = _heights(landscape)
    scheme = dress(ax)
    colormap, norm = _colours(scheme, levels)
    ax.contourf(x, y, z, levels, cmap=colormap, norm=norm, extend="both", zorder=0)
    ax.contour(x, y, z, levels, colors=scheme.paper, linewidths=0.4, alpha=0.6, zorder=0.5)
    ax.set(xlim=landscape.domain[0], ylim=landscape.domain[1], xlabel="x", ylabel="y")
    for kind, (marker, label, size) in CRITICAL.items():
        points = getattr(landscape, kind)
        if len(points):
            ax.plot(*points.T, **_critical(scheme, marker, size), label=label, zorder=4, clip_on=False)
    ax.annotate(
        "start",
        landscape.start,
        xytext=(0, -5),
        textcoords="offset points",
        ha="center",
        va="top",
        fontsize=8,
        color=scheme.ink,
        path_effects=halo(scheme),
        zorder=6,
    )
    return ax


def paths(ax: Axes, runs: Run | Sequence[Run]) -> Axes:
    """The path of every run, a marker at each recorded step, within the limits of the axes.

    A path that ends outside has an arrow and its name where it left. Raises TypeError or ValueError, by name, for bad
    arguments.
    """
    runs = checked_paths(runs)
    scheme = scheme_of(ax)
    box = np.array([ax.get_xlim(), ax.get_ylim()])
    for run in runs:
        style, path = style_of(run.optimizer), run.trajectory
        inside = _inside(path, box)
        line, end = {"color": style["color"], "linestyle": style["linestyle"]}, np.full(2, np.nan)
        pieces = list(_pieces(path, box))
        ax.plot(*_joined(pieces).T, **line, linewidth=1.6, path_effects=halo(scheme, 3), zorder=3)
        ax.plot(*np.where(inside[:, None], path, end).T, **steps_style(style, scheme), label=style["label"], zorder=3)
        if not inside[-1] and pieces:
            _leaving(ax, run, pieces[-1], style, scheme)
    return ax


def surface(ax3d: Any, landscape: Any, runs: Run | Sequence[Run]) -> Any:
    """The surface with its critical points, and the paths lying on it; faint where the surface hides them.

    ax3d: of projection "3d". Raises TypeError or ValueError, by name, for bad arguments.
    """
    runs = checked_paths(runs)
    x, y, z, levels = _heights(landscape)
    scheme = scheme_of(ax3d)
    colormap, norm = _colours(scheme, levels)
    box = np.array(landscape.domain)
    ax3d.set_facecolor(scheme.paper)
    ax3d.computed_zorder = False
    ax3d.set_proj_type("ortho")
    ax3d.set_box_aspect((1, 1.25, 0.7), zoom=1.1)
    ax3d.view_init(elev=42, azim=-58)
    ax3d.set(xlim=box[0], ylim=box[1], zlim=(z.min(), z.max()), xlabel="x", ylabel="y", zlabel="loss")
    light = LightSource(azdeg=300, altdeg=50).hillshade(z / np.ptp(z) * RESOLUTION / 2, vert_exag=1)
    rgb = colormap(norm(z))[..., :3] * (0.72 + 0.34 * light[..., None])
    ax3d.plot_surface(
        x, y, z, facecolors=rgb.clip(0, 1), rcount=RESOLUTION, ccount=RESOLUTION,
        shade=False, linewidth=0, antialiased=False, rasterized=True, zorder=0,
    )  # fmt: skip
    see = _Sight(landscape, ax3d)
    for run in runs:
        style = style_of(run.optimizer)
        dense = _joined([np.linspace(a, b, 24) for piece in _pieces(run.trajectory, box) for a, b in [piece]])
        steps = run.trajectory[_inside(run.trajectory, box)]
        for theta, how in (
            (dense, {"linewidth": 1.8, "linestyle": style["linestyle"]}),
            (steps, steps_style(style, scheme)),
        ):
            shown, xyz = see(theta)
            how = {"color": style["color"]} | how
            ax3d.plot(*np.where(shown, np.nan, xyz), **how | {"alpha": 0.25}, zorder=2)
            ax3d.plot(*np.where(shown, xyz, np.nan), **how, zorder=3)
    for kind, (marker, _, size) in CRITICAL.items():
        points = getattr(landscape, kind)
        if len(points):
            ax3d.plot(*see(points)[1], **_critical(scheme, marker, size), zorder=4)
    for axis in (ax3d.xaxis, ax3d.yaxis, ax3d.zaxis):
        axis.pane.set_visible(False)
        axis.line.set(color=scheme.quiet, linewidth=0.7)
        axis.label.set(color=scheme.ink, fontsize=9)
        axis.set_major_locator(MaxNLocator(4))
    ax3d.grid(False)
    ax3d.tick_params(color=scheme.quiet, labelcolor=scheme.ink, labelsize=8, pad=0)
    return ax3d


def race_figure(landscape: Any, runs: Run | Sequence[Run], dark: bool = False) -> Figure:
    """The whole picture: surface and contours side by side, under the title and the formula, above a legend.

    Raises TypeError or ValueError, by name, for bad arguments.
    """
    fig = figure(11, 5.6, dark)
    left, right = fig.add_subplot(1, 2, 1, projection="3d"), fig.add_subplot(1, 2, 2)
    surface(left, landscape, runs)
    paths(contour(right, landscape), runs)
    scheme = scheme_of(right)
    fig.suptitle(f"{landscape.title}:  ${plain_tex(landscape.formula)}$", fontsize=12, color=scheme.ink)
    key(fig, landscape, checked_runs(runs), fontsize=10)
    return fig


def key(fig: Figure, landscape: Any, runs: list[Run], fontsize: float) -> None:
    """A legend below everything: optimizers, and the kinds of critical points that there are."""
    scheme = scheme_of(fig.axes[0])
    entries = []
    for run in runs:
        style = style_of(run.optimizer)
        line = {"linestyle": style["linestyle"], "label": style["label"]}
        entries.append(Line2D([], [], **steps_style(style, scheme) | line))
    for kind, (marker, label, size) in CRITICAL.items():
        if len(getattr(landscape, kind)):
            entries.append(Line2D([], [], **_critical(scheme, marker, size), label=label))
    unique = {str(entry.get_label()): entry for entry in entries}
    fig.legend(
        handles=list(unique.values()), loc="outside lower center", ncols=len(unique), frameon=False,
        labelcolor=scheme.ink, fontsize=fontsize,
    )  # fmt: skip


def plain_tex(formula: str) -> str:
    """The formula in the part of LaTeX that matplotlib knows."""
    return re.sub(r"\\[bB]igg?[lr]?(?![a-zA-Z])", "", formula).replace(r"\tfrac", r"\frac")


def _heights(landscape: Any) -> tuple[Array, Array, Array, Array]:
    """x, y and heights z (RESOLUTION, RESOLUTION) over the domain, and the levels, log-spaced above the lowest."""
    for name in ("f", "domain", "start", "minima", "saddles", "maxima", "title", "formula"):
        if not hasattr(landscape, name):
            raise TypeError(f"landscape: {landscape!r} has no .{name}; expected a landscape")
    if np.shape(landscape.domain) != (2, 2) or np.shape(landscape.start) != (2,):
        raise ValueError(
            f"landscape: domain of shape {np.shape(landscape.domain)} and start of shape {np.shape(landscape.start)};"
            " expected ((x low, x high), (y low, y high)) and (2,), as only two dimensions can be drawn"
        )
    x, y = np.meshgrid(*(np.linspace(*side, RESOLUTION) for side in landscape.domain))
    z = landscape.f(np.stack([x, y], axis=-1))
    above = z - z.min()
    levels = z.min() + np.geomspace(np.quantile(above, 0.01), above.max(), LEVELS)
    return x, y, z, levels


def _colours(scheme: Scheme, levels: Array) -> tuple[LinearSegmentedColormap, BoundaryNorm]:
    colormap = LinearSegmentedColormap.from_list("heights", scheme.heights)
    return colormap, BoundaryNorm(levels, colormap.N, extend="both")


def checked_paths(runs: Run | Sequence[Run]) -> list[Run]:
    """The runs, each with a path (n, 2) of finite numbers."""
    runs = checked_runs(runs)
    for i, run in enumerate(runs):
        if run.trajectory is None:
            raise ValueError(
                f"runs[{i}].trajectory: not recorded; expected a path, which run(..., trajectory=True) keeps"
            )
        if run.trajectory.ndim != 2 or run.trajectory.shape[1] != 2:
            raise ValueError(
                f"runs[{i}].trajectory: shape {run.trajectory.shape}; expected (steps, 2), a path in a plane"
            )
        if not np.isfinite(run.trajectory).all():
            at = int(np.flatnonzero(~np.isfinite(run.trajectory).all(axis=1))[0])
            raise ValueError(f"runs[{i}].trajectory[{at}]: {run.trajectory[at]}; expected finite numbers")
    return runs


def _inside(theta: Array, box: Array) -> Array:
    """Whether theta (..., 2) lies in box ((x low, x high), (y low, y high)), shape (...)."""
    return ((theta >= box[:, 0]) & (theta <= box[:, 1])).all(axis=-1)


def _pieces(path: Array, box: Array) -> Iterator[Array]:
    """The parts (2, 2) of the path's segments that lie in the box; paths may leave it and come back."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for a, b in zip(path[:-1].astype(float), path[1:].astype(float), strict=True):
            # a + s (b - a) meets the box's sides at two s for each axis; it is inside between the last entry and
            # the first exit
            s = (box - a[:, None]) / (b - a)[:, None]
            s = np.sort(np.where((b == a)[:, None], np.where((box - a[:, None]) > 0, np.inf, -np.inf), s), axis=1)
            enter, leave = max(0.0, *s[:, 0]), min(1.0, *s[:, 1])
            if enter <= leave:
                yield np.array([a + enter * (b - a), a + leave * (b - a)])


def _joined(pieces: list[Array]) -> Array:
    """Pieces (n, 2) as one path, with NaN between those that do not touch."""
    parts: list[Array] = [np.full((1, 2), np.nan)]
    for piece in pieces:
        parts += [piece[1:] if np.array_equal(parts[-1][-1], piece[0]) else np.vstack([np.full(2, np.nan), piece])]
    return np.concatenate(parts)


def steps_style(style: dict[str, str], scheme: Scheme) -> dict[str, Any]:
    return {
        "color": style["color"],
        "linestyle": "none",
        "marker": style["marker"],
        "markersize": 5,
        "markeredgecolor": scheme.paper,
        "markeredgewidth": 0.6,
    }


def _critical(scheme: Scheme, marker: str, size: float) -> dict[str, Any]:
    return {
        "color": scheme.ink,
        "linestyle": "none",
        "marker": marker,
        "markersize": size,
        "markeredgecolor": scheme.paper,
        "markeredgewidth": 1.0,
    }


def _leaving(ax: Axes, run: Run, piece: Array, style: dict[str, str], scheme: Scheme) -> None:
    """An arrow and the run's name, just inside the edge where its last piece (2, 2) in the picture ends."""
    inside, edge = ax.transAxes.inverted().transform(ax.transData.transform(piece))
    out = run.diverged_at
    ax.annotate(
        f"{style['label']} leaves" if out is None else f"{style['label']} diverges at step {out}",
        edge,
        xycoords="axes fraction",
        xytext=(8 - 16 * edge[0], 8 - 16 * edge[1]),
        textcoords="offset points",
        ha="right" if edge[0] > 0.5 else "left",
        va="top" if edge[1] > 0.5 else "bottom",
        fontsize=8,
        color=style["color"],
        path_effects=halo(scheme),
        zorder=6,
    )
    ax.annotate(
        "", edge, inside, xycoords="axes fraction", zorder=5,
        arrowprops={"arrowstyle": "-|>", "color": style["color"], "shrinkA": 0, "shrinkB": 0},
    )  # fmt: skip


class _Sight:
    """Points theta (n, 2) lifted onto the surface, and whether they are seen from where ax3d is looked at."""

    def __init__(self, landscape: Any, ax3d: Any) -> None:
        self.f = landscape.f
        self.low, high = np.array([ax3d.get_xlim(), ax3d.get_ylim(), ax3d.get_zlim()]).T
        self.span = high - self.low
        elevation, azimuth = np.radians([ax3d.elev, ax3d.azim])
        towards = [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
        self.towards = np.array(towards) / ax3d._box_aspect  # the eye, in units of the spans

    def __call__(self, theta: Array) -> tuple[Array, Array]:
        """(n,) whether seen, and (3, n)."""
        xyz = np.column_stack([theta, self.f(theta)])
        u = (xyz - self.low) / self.span
        # along the ray u + s towards, until it is above everything
        s = np.linspace(0, 1 / self.towards[2], 150)[1:, None, None]
        ray = u + s * self.towards
        inside = ((ray[..., :2] >= 0) & (ray[..., :2] <= 1)).all(axis=-1)
        ground = (self.f(self.low[:2] + ray[..., :2] * self.span[:2]) - self.low[2]) / self.span[2]
        return ~(inside & (ground > ray[..., 2] + 0.01)).any(axis=0), xyz.T
