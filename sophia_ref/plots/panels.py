"""Why a run moved as it did: the terms of its rule, coordinate by coordinate, over the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sophia_ref.plots.curves import GREATEST, RISE
from sophia_ref.plots.style import checked_runs, dress, figure, halo, scheme_of, style_of
from sophia_ref.replay import replay
from sophia_ref.run import Run

Array = Any
Terms = Mapping[str, Array]

SHOWN = ("g", "m", "h", "gamma_h", "ratio", "clipped", "update")
SYMBOLS = {"gamma_h": r"\gamma h", "h_hat": r"\hat h", "m_hat": r"\hat m", "v_hat": r"\hat v"}
MOST = 1e3  # a ratio is drawn up to that many times the clip threshold; a triangle at the edge stands for a larger one


def panel(
    ax: Axes, name: str, runs: Run | Sequence[Run], coordinate: int = 0, terms: Sequence[Terms] | None = None
) -> Axes:
    """One term of the rule over the steps, in one coordinate, for those of the runs that have it.

    name: of a term as the rule returns it, or "gamma_h", Sophia's gamma * h. coordinate: an index into theta. terms: of
    each run, as `replay` returns them; by default they are replayed, but who draws several panels, or has kept the
    terms with a callback of his own, hands them in.
    The ratio is linear between the clip thresholds, which are dotted, and logarithmic beyond; `clipped` is a row for
    each run, full where the clip changed the step. Of Newton's family g and update are terms of a coordinate, the
    others lie along eigenvectors. A run that diverged is drawn as far as it does not flatten the others, and named.
    Raises TypeError or ValueError, by name, for bad arguments, for runs with leading axes or without a step, where no
    run has the term, and as `replay` does.
    """
    known = _checked(runs, terms)
    found = [(run, _values(name, run, own, coordinate)) for run, own in known if name in _names(run, own)]
    if not found:
        names = list(dict.fromkeys(name for pair in known for name in _names(*pair)))
        raise ValueError(f"name: {name!r}; expected a term that one of the runs has: {', '.join(names)}")
    scheme = dress(ax)
    if name == "clipped":
        _strips(ax, found)
    else:
        ax.grid(axis="y", color=scheme.quiet, alpha=0.2, linewidth=0.6)
        ax.axhline(0, color=scheme.quiet, linewidth=0.7, zorder=1)
        for run, values in found:
            _curve(ax, run, values, _clip(run, name))
            if run.diverged_at is not None:
                _farewell(ax, run, max(len(values) for _, values in found))
        _limits(ax, name, found)
    ax.yaxis.get_offset_text().set_fontsize(8)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set_xlabel("step")
    ax.set_ylabel(f"${SYMBOLS.get(name, name)}$" if name in SYMBOLS or len(name) == 1 else name)
    return ax


def panels_figure(
    runs: Run | Sequence[Run],
    names: Sequence[str] | None = None,
    coordinates: Sequence[int] | None = None,
    dark: bool = False,
    terms: Sequence[Terms] | None = None,
) -> Figure:
    """A `panel` for each term, from top to bottom, and each coordinate, side by side.

    names: by default those of g, m, h, gamma_h, ratio, clipped and update that the runs have. coordinates: by default
    the first four at most. terms: as in `panel`. Raises as `panel` does.
    """
    known = _checked(runs, terms)
    coordinates = range(min(4, known[0][0].theta.size)) if coordinates is None else list(coordinates)
    names = [n for n in SHOWN if any(n in _names(*pair) for pair in known)] if names is None else list(names)
    for argument, value in (("names", names), ("coordinates", coordinates)):
        if not value:
            raise ValueError(f"{argument}: {value!r}; expected at least one")
    fig = figure(0.9 + 3.6 * len(coordinates), 0.9 + 1.15 * len(names), dark)
    axes: Any = fig.subplots(len(names), len(coordinates), sharex=True, squeeze=False)
    plane = known[0][0].theta.shape == (2,)
    for i, coordinate in enumerate(coordinates):
        for ax, name in zip(axes[:, i], names, strict=True):
            panel(ax, name, [run for run, _ in known], coordinate, [own for _, own in known])
            if ax is not axes[-1, i]:
                ax.set_xlabel("")
            if i:
                ax.set_ylabel("")
            for text in ax.texts if ax is not axes[0, 0] else []:  # who diverges is said once
                text.remove()
        title = f"coordinate {'xy'[coordinate]}" if plane else f"coordinate {coordinate}"
        axes[0, i].set_title(title, color=scheme_of(axes[0, i]).ink, fontsize=10)
    fig.align_ylabels()
    styles = {style_of(run.optimizer)["label"]: style_of(run.optimizer) for run, _ in known}
    fig.legend(
        handles=[Line2D([], [], **style, linewidth=1.6, markersize=5) for style in styles.values()],
        loc="outside lower center", ncols=len(styles), frameon=False, labelcolor=scheme_of(axes[0, 0]).ink,
        fontsize=9,
    )  # fmt: skip
    return fig


def _checked(runs: Run | Sequence[Run], terms: Sequence[Terms] | None) -> list[tuple[Run, Terms]]:
    """The runs, each with its terms."""
    runs = checked_runs(runs)
    for i, run in enumerate(runs):
        if run.theta.ndim != 1:
            raise ValueError(f"runs[{i}].theta: shape {run.theta.shape}; expected (P,), one run without leading axes")
    terms = [replay(run) for run in runs] if terms is None else list(terms)
    if len(terms) != len(runs):
        raise ValueError(f"terms: {len(terms)}; expected those of each of the {len(runs)} runs")
    for i, own in enumerate(terms):
        if not own:
            raise ValueError(f"runs[{i}]: no step; expected a run of at least one")
    return list(zip(runs, terms, strict=True))


def _names(run: Run, terms: Terms) -> list[str]:
    """The terms that a coordinate has."""
    if "eigenvectors" in terms:
        return ["g", "update"]
    return [*terms, *(["gamma_h"] if "h" in terms and hasattr(run.optimizer, "gamma") else [])]


def _values(name: str, run: Run, terms: Terms, coordinate: int) -> Array:
    """The term in each step, (n,)."""
    P = run.theta.size
    if not isinstance(coordinate, int | np.integer) or not 0 <= coordinate < P:
        raise ValueError(f"coordinate: {coordinate!r}; expected an index into theta, 0 to {P - 1}")
    if name != "gamma_h":
        return terms[name][:, coordinate]
    gamma: Any = run.optimizer.gamma  # type: ignore[attr-defined]
    return np.broadcast_to(gamma, run.theta.shape)[coordinate] * terms["h"][:, coordinate]


def _clip(run: Run, name: str) -> float:
    """The threshold that this term of the run is clipped at; infinite where it is not."""
    return float(getattr(run.optimizer, "clip", np.inf)) if name == "ratio" else np.inf


def _curve(ax: Axes, run: Run, values: Array, clip: float) -> None:
    style, steps = style_of(run.optimizer), np.arange(1, len(values) + 1)
    values = np.clip(values.astype(float), -GREATEST, GREATEST)
    if clip < np.inf:
        for sign, marker in ((1, "^"), (-1, "v")):
            ax.axhline(sign * clip, color=style["color"], linestyle=":", linewidth=1)
            at = steps[sign * values > MOST * clip]
            edge = np.full(len(at), sign * MOST * clip)
            ax.plot(at, edge, marker, color=style["color"], markersize=5, zorder=4)
        values = np.where(np.abs(values) > MOST * clip, np.nan, values)
    there = np.isfinite(values)  # h_hat is not there in every step
    every = max(1, int(there.sum()) // 8)
    ax.plot(steps[there], values[there], **style, linewidth=1.4, markersize=4, markevery=every, zorder=3)


def _farewell(ax: Axes, run: Run, longest: int) -> None:
    """Where and when the run diverged, written on the side where there is room."""
    style, scheme, at = style_of(run.optimizer), scheme_of(ax), run.diverged_at
    left = at > longest / 2
    ax.axvline(at, color=style["color"], linestyle=":", linewidth=1.4)
    ax.annotate(
        f"{style['label']} diverges at step {at}", (at, 0.97), xycoords=("data", "axes fraction"), fontsize=8,
        xytext=(-4 if left else 4, 0), textcoords="offset points", ha="right" if left else "left", va="top",
        color=scheme.ink, path_effects=halo(scheme), zorder=5,
    )  # fmt: skip


def _limits(ax: Axes, name: str, found: list[tuple[Run, Array]]) -> None:
    """Around 0 and all values, but for a diverged run only those within RISE times its first."""
    parts = [np.zeros(1)]
    for run, values in found:
        values, clip = values[np.isfinite(values)], _clip(run, name)
        if run.diverged_at is not None:
            values = values[np.abs(values) <= RISE * np.abs(values[values != 0][:1]).max(initial=0)]
        if clip < np.inf:
            values = np.append(values.clip(-MOST * clip, MOST * clip), [-clip, clip])
        parts.append(values)
    low, high = np.concatenate(parts).min(), np.concatenate(parts).max()
    widest = max((clip for run, _ in found if (clip := _clip(run, name)) < np.inf), default=np.inf)
    if max(high, -low) > 5 * widest:
        ax.set_yscale("symlog", linthresh=widest, linscale=1.5)
        powers = [10.0**k for k in range(0, 12, 2)]
        ticks = [t for t in [*(-t for t in powers), 0, *powers] if low <= t <= high]
        ax.set_yticks(ticks, [f"{t:g}" for t in ticks])
        ax.set_ylim(1.3 * low, 1.3 * high)
        return
    room = 0.08 * (high - low) or 1.0
    ax.set_ylim(low - room, high + room)
    ax.yaxis.set_major_locator(MaxNLocator(3))


def _strips(ax: Axes, found: list[tuple[Run, Array]]) -> None:
    """A row for each run, full where the step was clipped, pale where it was not."""
    for i, (run, clipped) in enumerate(found):
        for wanted, alpha in ((True, 1.0), (False, 0.2)):
            bars = [(t + 0.5, 1) for t in np.flatnonzero(clipped == wanted)]  # step t + 1
            color = style_of(run.optimizer)["color"]
            ax.broken_barh(bars, (-i - 0.36, 0.72), facecolor=color, alpha=alpha, linewidth=0)
    ax.set_yticks([-i for i in range(len(found))], [style_of(run.optimizer)["label"] for run, _ in found])
    ax.set_ylim(-len(found) + 0.4, 0.6)
