"""A race on a landscape, in the manner of the paper's Figure 2: the paths on the surface, and on its contours.

A landscape is anything with .f (theta (..., 2) -> heights (...)), .domain ((x low, x high), (y low, y high)), .start
(2,), .minima, .saddles and .maxima, each (n, 2), .title and .formula (LaTeX).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from contourpy import contour_generator
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, LightSource, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sophia_ref.plots.style import Scheme, checked_runs, dress, figure, halo, scheme_of, style_of
from sophia_ref.run import Run

Array = Any

LEVELS = 18
RESOLUTION = 161  # points of the grid along each axis
BOX = np.array([1.0, 1.2, 0.75])  # the sides of the 3-D picture
SHADE = np.array([0.40, 0.34, 0.27])  # of red, green and blue that the side away from the light lacks
# Elevation and azimuth to look from, in degrees; first those with x from left to right, as on the contours.
VIEWS = [(e, a) for e in (45, 54) for a in (-65, -115, -55, -125)] + [(45, a) for a in (65, 115)]
# How critical points are drawn, in ink on paper; optimizers use none of these markers.
CRITICAL = {"minima": ("*", "minimum", 13.0), "saddles": ("X", "saddle", 9.0), "maxima": ("^", "maximum", 8.0)}


def contour(ax: Axes, landscape: Any) -> Axes:
    """The landscape's heights as filled contours with log-spaced levels, its critical points, and its start.

    Raises TypeError or ValueError for what is not a landscape of two dimensions.
    """
    x, y, z, levels = heights(landscape)
    scheme = dress(ax)
    colormap, norm = _colours(scheme, levels)
    ax.contourf(x, y, z, levels, cmap=colormap, norm=norm, extend="both", zorder=0)
    ax.contour(x, y, z, levels, colors=scheme.lines, linewidths=0.5, zorder=0.5)
    ax.set(xlim=landscape.domain[0], ylim=landscape.domain[1], xlabel="x", ylabel="y")
    for points, label, look in _critical(landscape, scheme):
        ax.plot(*points.T, **look, label=label, zorder=4)
    ax.plot(*landscape.start, **_ring(scheme), zorder=5)
    low = ax.transLimits.transform(landscape.start)[1] < 0.08
    ax.annotate(
        "start", landscape.start, xytext=(0, 9 if low else -9), textcoords="offset points", ha="center",
        va="bottom" if low else "top", fontsize=8, color=scheme.ink, path_effects=halo(scheme), zorder=6,
    )  # fmt: skip
    return ax


def paths(ax: Axes, runs: Run | Sequence[Run]) -> Axes:
    """The path of every run with a marker at each recorded step, within the limits of the axes.

    Where paths coincide, the earlier runs' lines and markers show around the later ones'. A path that ends outside
    has an arrow and its name where it left. Raises TypeError or ValueError, by name, for bad arguments.
    """
    scheme, box = scheme_of(ax), np.array([ax.get_xlim(), ax.get_ylim()])
    drawn = checked_paths(runs)
    for i, (run, path) in enumerate(drawn):
        style, pieces = style_of(run.optimizer), inside_pieces(path, box)
        wider = extra_width(i, len(drawn))
        ax.plot(*joined(pieces).T, **line_look(style, wider), path_effects=halo(scheme, 3 + wider), zorder=2 + i / 100)
        steps = path[is_inside(path, box)]
        ax.plot(*steps.T, **marker_look(style, scheme, 5 + wider), label=style["label"], zorder=3 + i / 100)
    for run, path in drawn:
        leaving(ax, run, path)
    return ax


def surface(ax3d: Any, landscape: Any, runs: Run | Sequence[Run]) -> Any:
    """The surface with its critical points, and the paths lying on it, faint where the surface hides them.

    It is looked at from the side that hides least of them. ax3d: an Axes of projection "3d".
    Raises TypeError or ValueError, by name, for bad arguments.
    """
    drawn = checked_paths(runs)
    x, y, z, levels = heights(landscape)
    scheme, box = scheme_of(ax3d), np.array(landscape.domain, float)
    colormap, norm = _colours(scheme, levels)
    light = LightSource(azdeg=315, altdeg=45).hillshade(z / np.ptp(z) * RESOLUTION / 2)
    rgb = np.array(colormap(norm(z)))[..., :3] * (1 - (1 - light)[..., None] * SHADE)
    ax3d.computed_zorder = False
    ax3d.plot_surface(
        x, y, z, facecolors=rgb, rcount=RESOLUTION, ccount=RESOLUTION,
        shade=False, linewidth=0, antialiased=False, rasterized=True, zorder=0,
    )  # fmt: skip
    lines = [joined(_dense(inside_pieces(path, box))) for _, path in drawn]
    steps = [path[is_inside(path, box)] for _, path in drawn]
    points = [points for points, *_ in _critical(landscape, scheme)]
    height = (float(z.min()), float(z.max()))
    limits = np.array([*box, height])
    shares = [sum(_hidden(landscape.f, theta, limits, view).mean() for theta in lines + points) for view in VIEWS]
    view = VIEWS[int(np.argmin(np.round(shares, 1)))]
    levels_on_the_ground: Any = contour_generator(x, y, z).multi_lines(levels)
    for line in (line for level in levels_on_the_ground for line in level):
        seen = np.where(_hidden(landscape.f, line, limits, view), np.nan, [*line.T, landscape.f(line)])
        ax3d.plot(*seen, color=scheme.lines, linewidth=0.5, zorder=1)
    for i, (run, _) in enumerate(drawn):
        style, wider = style_of(run.optimizer), extra_width(i, len(drawn))
        for theta, look in ((lines[i], line_look(style, wider)), (steps[i], marker_look(style, scheme, 4.5 + wider))):
            hidden, xyz = _hidden(landscape.f, theta, limits, view), [*theta.T, landscape.f(theta)]
            ax3d.plot(*np.where(hidden, xyz, np.nan), **look, alpha=0.25, zorder=2 + i / 100)
            ax3d.plot(*np.where(hidden, np.nan, xyz), **look, zorder=3 + i / 100)
    for points, label, look in _critical(landscape, scheme):
        ax3d.plot(*points.T, landscape.f(points), **look, label=label, zorder=4)
    ax3d.plot(*landscape.start, landscape.f(landscape.start), **_ring(scheme), zorder=5)
    ax3d.set_proj_type("ortho")
    ax3d.set_box_aspect(BOX, zoom=1.05)
    ax3d.view_init(*view)
    ax3d.set(xlim=box[0], ylim=box[1], zlim=height, facecolor=scheme.paper)
    ax3d.grid(False)
    ax3d.tick_params(color=scheme.quiet, labelcolor=scheme.ink, labelsize=8, pad=0)
    for axis, name in ((ax3d.xaxis, "x"), (ax3d.yaxis, "y"), (ax3d.zaxis, "loss")):
        axis.pane.set_visible(False)
        axis.line.set(color=scheme.quiet, linewidth=0.7)
        axis.set_label_text(name, color=scheme.ink, fontsize=9)
        axis.set_major_locator(MaxNLocator(4, prune="both"))
        axis.set_major_formatter("{x:g}")
    return ax3d


def race_figure(landscape: Any, runs: Run | Sequence[Run], dark: bool = False) -> Figure:
    """The whole picture: surface and contours side by side, under title and formula, above a legend.

    Raises TypeError or ValueError, by name, for bad arguments.
    """
    fig = figure(11, 5.6, dark)
    fig.set_layout_engine("none")  # it knows nothing of how much room a 3-D picture needs
    left, right = fig.add_axes((0.02, 0.1, 0.51, 0.83), projection="3d"), fig.add_axes((0.57, 0.16, 0.41, 0.72))
    surface(left, landscape, runs)
    paths(contour(right, landscape), runs)
    ink = scheme_of(right).ink
    fig.suptitle(f"{landscape.title}    ${plain_tex(landscape.formula)}$", fontsize=12, color=ink)
    rows = legend(fig, landscape, runs, fontsize=10)
    for ax in (left, right):  # room for every row but the first, which has it
        x, y, width, height = ax.get_position().bounds
        more = (rows - 1) * 0.036
        ax.set_position((x, y + more, width, height - more))
    return fig


def legend(fig: Figure, landscape: Any, runs: Run | Sequence[Run], fontsize: float) -> int:
    """Below everything, in as many rows as its width needs: the optimizers, and the kinds of critical points that there
    are. Returns the number of rows."""
    scheme = scheme_of(fig.axes[0])
    styles = [style_of(run.optimizer) for run in checked_runs(runs)]
    entries = {s["label"]: marker_look(s, scheme, 6) | line_look(s, 0) for s in styles}
    entries |= {label: look for _, label, look in _critical(landscape, scheme)}
    widths = [fontsize / 72 * (4.5 + 0.6 * len(label)) for label in entries]  # inches, about
    rows = 1  # a legend is filled column by column, and a column is as wide as its widest entry
    while sum(max(widths[k : k + rows]) for k in range(0, len(widths), rows)) > fig.get_figwidth() and rows < len(
        widths
    ):
        rows += 1
    fig.legend(
        handles=[Line2D([], [], **look, label=label) for label, look in entries.items()],
        loc="outside lower center", ncols=math.ceil(len(entries) / rows), frameon=False, labelcolor=scheme.ink,
        fontsize=fontsize, columnspacing=1.5, handlelength=2,
    )  # fmt: skip
    return rows


def plain_tex(formula: str) -> str:
    """The formula in the part of LaTeX that matplotlib knows."""
    return re.sub(r"\\[bB]igg?[lr]?(?![a-zA-Z])", "", formula).replace(r"\tfrac", r"\frac")


# What is drawn


def checked_paths(runs: Run | Sequence[Run]) -> list[tuple[Run, Array]]:
    """The runs, each with its path (n, 2). Raises TypeError or ValueError, by name, unless all are finite and plane."""
    drawn = []
    for i, run in enumerate(checked_runs(runs)):
        path, name = run.trajectory, f"runs[{i}].trajectory"
        if path is None:
            raise ValueError(f"{name}: None; expected a path, which run keeps with trajectory=True")
        if path.ndim != 2 or path.shape[1] != 2:
            raise ValueError(f"{name}: shape {path.shape}; expected (steps, 2), as only paths in a plane can be drawn")
        if not len(path):
            raise ValueError(f"{name}: no points; expected at least the start")
        if not np.isfinite(path).all():
            at = int(np.argmin(np.isfinite(path).all(axis=1)))
            raise ValueError(f"{name}[{at}]: {path[at]}; expected finite numbers")
        drawn.append((run, path.astype(np.float64)))
    return drawn


def is_inside(theta: Array, box: Array) -> Any:
    """Whether theta (..., 2) lies in box ((x low, x high), (y low, y high)), shape (...)."""
    return ((theta >= box[:, 0]) & (theta <= box[:, 1])).all(axis=-1)


def inside_pieces(path: Array, box: Array) -> Array:
    """The pieces (k, 2, 2) of the path's segments that lie in the box, as far as the path's last step that does.

    Paths may leave and come back; what swings through after it has left for good is not shown.
    """
    path = path[: last_inside(path, box) + 2].clip(-1e100, 1e100)  # so that no difference overflows
    a, step = path[:-1, None, :], np.diff(path, axis=0)[:, None, :]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        # a + s step meets the low and the high side at s (n, side, axis), which is 0 / 0 for one that it runs along
        s = (box.T - a) / step
    s = np.sort(np.where(np.isnan(s), [[-np.inf], [np.inf]], s), axis=1)
    enter, leave = s[:, 0].max(axis=1).clip(min=0), s[:, 1].min(axis=1).clip(max=1)
    seen = enter <= leave
    return a[seen] + np.stack([enter, leave], axis=1)[seen, :, None] * step[seen]


def last_inside(path: Array, box: Array) -> int:
    """Index of the path's last point in the box, -1 if there is none."""
    return int(np.flatnonzero(is_inside(path, box)).max(initial=-1))


def joined(pieces: Array) -> Array:
    """Pieces (k, 2, 2) as one path (n, 2), with NaN between those that do not touch."""
    parts = [np.full((1, 2), np.nan)]
    for a, b in pieces:
        parts.append(np.array([b] if np.array_equal(parts[-1][-1], a) else [np.full(2, np.nan), a, b]))
    return np.concatenate(parts)


def _dense(pieces: Array) -> Array:
    """Pieces (k, 2, 2), each cut into 24 that are short enough to lie on a curved surface, (24 k, 2, 2)."""
    points = np.linspace(pieces[:, 0], pieces[:, 1], 25, axis=1)
    return np.stack([points[:, :-1], points[:, 1:]], axis=2).reshape(-1, 2, 2)


def heights(landscape: Any) -> tuple[Array, Array, Array, Array]:
    """x, y and heights z (RESOLUTION, RESOLUTION) over the domain, and the levels, log-spaced above the lowest."""
    for name in ("f", "domain", "start", "minima", "saddles", "maxima", "title", "formula"):
        if not hasattr(landscape, name):
            raise TypeError(f"landscape: {landscape!r} has no .{name}; expected a landscape")
    if np.shape(landscape.domain) != (2, 2) or np.shape(landscape.start) != (2,):
        raise ValueError(
            f"landscape: domain of shape {np.shape(landscape.domain)} and start of shape {np.shape(landscape.start)};"
            " expected (2, 2) and (2,), as only two dimensions can be drawn"
        )
    x, y = np.meshgrid(*(np.linspace(low, high, RESOLUTION) for low, high in landscape.domain))
    z = landscape.f(np.stack([x, y], axis=-1))
    above = z - z.min()
    if not 0 < above.max() < np.inf:  # nor NaN
        raise ValueError(
            f"landscape: heights from {z.min()} to {z.max()} over the domain; expected finite ones that differ"
        )
    return x, y, z, z.min() + np.geomspace(np.quantile(above[above > 0], 0.01), above.max(), LEVELS)


def _hidden(f: Callable[[Array], Any], theta: Array, limits: Array, view: tuple[float, float]) -> Any:
    """Whether points theta (n, 2) of the surface lie behind another part of it, (n,). limits: (3, 2) of the picture."""
    low, span = limits[:, 0], np.ptp(limits, axis=1)
    elevation, azimuth = np.radians(view)
    eye = [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)] / BOX
    # on the ray from each point to the eye, until it is above everything: (ray, n, 3), in shares of the limits
    ray = (np.column_stack([theta, f(theta)]) - low) / span + np.linspace(0.01, 1 / eye[2], 100)[:, None, None] * eye
    ground = (f(low[:2] + ray[..., :2] * span[:2]) - low[2]) / span[2]
    over = ((ray[..., :2] >= 0) & (ray[..., :2] <= 1)).all(axis=-1)
    return (over & (ground > ray[..., 2])).any(axis=0)


# How it looks


def _colours(scheme: Scheme, levels: Array) -> tuple[LinearSegmentedColormap, BoundaryNorm]:
    colormap = LinearSegmentedColormap.from_list("heights", scheme.heights)
    return colormap, BoundaryNorm(levels, colormap.N, extend="both")


def _critical(landscape: Any, scheme: Scheme) -> list[tuple[Array, str, dict[str, Any]]]:
    """For each kind of critical point that there is: points (n, 2), label and look."""
    kinds = {kind: getattr(landscape, kind) for kind in CRITICAL}
    small = max(0.5, min(1.0, (15 / max(1, sum(map(len, kinds.values())))) ** 0.3))  # where there are hundreds
    look = {"color": scheme.ink, "linestyle": "none", "markeredgecolor": scheme.paper, "markeredgewidth": small}
    return [
        (kinds[kind], label, look | {"marker": marker, "markersize": size * small})
        for kind, (marker, label, size) in CRITICAL.items()
        if len(kinds[kind])
    ]


def _ring(scheme: Scheme) -> dict[str, Any]:
    """The look of the start."""
    return {"marker": "o", "markersize": 13, "markerfacecolor": "none", "markeredgecolor": scheme.ink,
            "markeredgewidth": 1.2, "linestyle": "none"}  # fmt: skip


def extra_width(i: int, n: int) -> float:
    """How much wider path number i of n is drawn than the last, which lies on top: it shows where they coincide."""
    return min(0.4, 2 / n) * (n - 1 - i)


def line_look(style: dict[str, str], wider: float) -> dict[str, Any]:
    return {"color": style["color"], "linestyle": style["linestyle"], "linewidth": 1.6 + wider}


def marker_look(style: dict[str, str], scheme: Scheme, size: float) -> dict[str, Any]:
    return {"color": style["color"], "linestyle": "none", "marker": style["marker"], "markersize": size,
            "markeredgecolor": scheme.paper, "markeredgewidth": 0.6}  # fmt: skip


def leaving(ax: Axes, run: Run, path: Array) -> list[Any]:
    """The run's name where it left, if its path (n, 2) ends outside the axes or it diverged, and an arrow; both are
    returned."""
    box = np.array([ax.get_xlim(), ax.get_ylim()])
    last = last_inside(path, box)
    stays = last == len(path) - 1
    if last == -1 or (stays and run.diverged_at is None):
        return []
    style, scheme = style_of(run.optimizer), scheme_of(ax)
    before, edge = ax.transLimits.transform([path[last]] * 2 if stays else inside_pieces(path, box)[-1])
    what = "leaves" if run.diverged_at is None else "diverges"
    step = run.steps[last + 1] if run.diverged_at is None else run.diverged_at
    inwards, texts = 1 - 2 * edge, [text for text in ax.texts if text.get_gid() == "leaving"]
    near = sum(bool((np.abs(text.xy - edge) < (0.6, 0.3)).all()) for text in texts)  # type: ignore[attr-defined]
    label = ax.annotate(
        f"{style['label']} {what} at step {step}", edge, xycoords="axes fraction", textcoords="offset points",
        xytext=14 * inwards + [0, 17 * near * np.sign(inwards[1])], gid="leaving", fontsize=8, zorder=6,
        ha=("left", "center", "right")[int(2.99 * edge[0])], va="top" if edge[1] > 0.5 else "bottom", color=scheme.ink,
        bbox={"boxstyle": "round", "facecolor": scheme.paper, "edgecolor": style["color"], "alpha": 0.9},
    )  # fmt: skip
    if stays:
        return [label]
    arrow = ax.annotate(
        "", edge, before, xycoords="axes fraction", zorder=5,
        arrowprops={"arrowstyle": "-|>", "color": style["color"], "shrinkA": 0, "shrinkB": 0, "mutation_scale": 14},
    )  # fmt: skip
    return [label, arrow]
