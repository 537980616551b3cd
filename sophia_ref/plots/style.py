"""One style for every picture: a colour, a marker and a line for each optimizer, and the colours around them.

Colours lie in the middle of the brightness range, so that they read on white and on black, and those that are often
seen together stay apart for colour-blind eyes. Markers and lines tell apart what colour alone does not.
A picture is light or dark as its figure's background is: there is no setting to keep in step.
"""

from __future__ import annotations

import difflib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colors, patheffects
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sophia_ref.files import replacing
from sophia_ref.run import Run

# A hue for each family, a shade for each member; variations on a method have broken lines.
_STYLES = {
    # name                color      marker  line   label
    "GradientDescent":  ("#6a707b", "o",    "-",   "GD"),
    "Momentum":         ("#85674a", "p",    "--",  "Momentum"),
    "SignGD":           ("#00a672", "s",    "-",   "SignGD"),
    "Signum":           ("#7caa3c", "h",    "--",  "Signum"),
    "Lion":             ("#4f9496", "8",    "-.",  "Lion"),
    "Adam":             ("#1f7ae0", "D",    "-",   "Adam"),
    "AdamW":            ("#4668c4", "d",    "--",  "AdamW"),
    "AdaHessian":       ("#0f7089", "H",    "-.",  "AdaHessian"),
    "Newton":           ("#c380c6", "v",    "-",   "Newton"),
    "DampedNewton":     ("#70529b", "<",    "--",  "Damped Newton"),
    "ClippedNewton":    ("#e0659b", ">",    "-.",  "Clipped Newton"),
    "SaddleFreeNewton": ("#e25fe0", "P",    ":",   "Saddle-free Newton"),
    "Sophia":           ("#d04a0c", "o",    "-",   "Sophia"),
    "SophiaH":          ("#b03a24", "s",    "-",   "Sophia-H"),
    "SophiaG":          ("#d38e02", "D",    "--",  "Sophia-G"),
}  # fmt: skip
_OWN = ("#7a6a5a", "o", ":")  # for an optimizer that somebody else wrote


def style_of(optimizer: Any) -> dict[str, Any]:
    """How this optimizer looks everywhere: its "color", "marker", "linestyle" and "label", as Axes.plot takes them.

    optimizer: an optimizer or the name of one. An optimizer that is not of this package is brown and dotted, under
    the name of its class. Raises ValueError for a name that is not known.
    """
    name = optimizer if isinstance(optimizer, str) else type(optimizer).__name__
    if name not in _STYLES and isinstance(optimizer, str):
        near = difflib.get_close_matches(name, _STYLES, 1)
        known = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(_STYLES)}"
        raise ValueError(f"optimizer: {name!r} is not known; {known}")
    return dict(zip(("color", "marker", "linestyle", "label"), _STYLES.get(name, (*_OWN, name)), strict=True))


class Scheme(NamedTuple):
    """The colours around the data: what is written, what is quiet, what it is written on; heights from low to high,
    and the lines between them."""

    ink: str
    quiet: str
    paper: str
    heights: tuple[str, ...]
    lines: str


LIGHT = Scheme("#22262e", "#8b919c", "#ffffff", ("#5f9fb0", "#8fbfc4", "#bcd9d4", "#dfe9dd", "#f5efdf"), "#ffffffb0")
DARK = Scheme("#e8eaee", "#7d8592", "#14171d", ("#4f8a96", "#38677a", "#284a60", "#1f3448", "#1a2534"), "#0a0d1280")


def figure(width: float, height: float, dark: bool = False) -> Figure:
    """An empty Figure of this size in inches, which needs no display."""
    fig = Figure(figsize=(width, height), facecolor=(DARK if dark else LIGHT).paper, layout="constrained")
    FigureCanvasAgg(fig)
    return fig


def save(fig: Figure, path: str | Path, dpi: int = 150) -> Path:
    """Write fig as png, svg or pdf, by the suffix of path; the file is whole or absent. Returns the path.

    dpi: pixels an inch. Raises ValueError for another suffix, OSError as open does.
    """
    path = Path(path)
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in ("png", "svg", "pdf"):
        raise ValueError(f"path: {str(path)!r}; expected a name that ends in .png, .svg or .pdf")
    with replacing(path) as file:
        fig.savefig(file, format=suffix, dpi=dpi)
    return path


def small_png(fig: Figure, dpi: int = 100) -> bytes:
    """fig as a PNG of 256 colours, a third of the size. Those that tell optimizers apart are as they should be, others
    as near as may be."""
    from PIL import Image, ImageColor
    from PIL.PngImagePlugin import PngInfo

    raw, small = io.BytesIO(), io.BytesIO()
    fig.savefig(raw, format="png", dpi=dpi)
    drawn, palette, made_by = Image.open(raw), Image.new("P", (1, 1)), PngInfo()
    image = drawn.convert("RGB")
    made_by.add_text("Software", drawn.info["Software"])  # matplotlib's version, which decides how letters are drawn
    scheme = LIGHT if colors.to_hex(fig.get_facecolor()) == LIGHT.paper else DARK
    exact = np.array(
        [ImageColor.getrgb(color) for color in (scheme.paper, scheme.ink, *(look[0] for look in _STYLES.values()))]
    )
    rest = np.array(image.quantize(256 - len(exact)).getpalette()).reshape(-1, 3)
    near = np.abs(rest[:, None] - exact).max(axis=-1).min(axis=1) < 8  # Pillow would not tell them apart
    palette.putpalette([*exact.ravel().tolist(), *rest[~near].ravel().tolist()])
    image.quantize(palette=palette, dither=Image.Dither.NONE).save(small, "PNG", optimize=True, pnginfo=made_by)
    return small.getvalue()


def scheme_of(ax: Axes) -> Scheme:
    """LIGHT or DARK, as the background of the figure is."""
    red, green, blue = colors.to_rgb(ax.get_figure(root=True).get_facecolor())  # type: ignore[union-attr]
    return LIGHT if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else DARK


def dress(ax: Axes) -> Scheme:
    """Give an Axes our colours and text sizes; returns the scheme."""
    scheme = scheme_of(ax)
    ax.set_facecolor(scheme.paper)
    ax.tick_params(which="both", color=scheme.quiet, labelcolor=scheme.ink, labelsize=8, length=3, width=0.7)
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set(color=scheme.ink, fontsize=9)
    ax.tick_params(which="minor", length=0)
    for text in (ax.title, ax.xaxis.label, ax.yaxis.label):
        text.set(color=scheme.ink, fontsize=9)
    for side, spine in ax.spines.items():
        spine.set(visible=side in ("left", "bottom"), color=scheme.quiet, linewidth=0.7)
    return scheme


def halo(scheme: Scheme, linewidth: float = 2.5) -> list[Any]:
    """Path effects that keep a line or a letter readable on any ground."""
    return [patheffects.withStroke(linewidth=linewidth, foreground=scheme.paper)]


def checked_runs(runs: Run | Sequence[Run]) -> list[Run]:
    """One Run or several, as a list. Raises TypeError or ValueError for anything else and for none."""
    runs = [runs] if isinstance(runs, Run) else list(runs)
    if not runs:
        raise ValueError("runs: empty; expected a Run or a list of them")
    for i, run in enumerate(runs):
        if not isinstance(run, Run):
            raise TypeError(f"runs[{i}]: {run!r}; expected a Run, as sophia_ref.run returns it")
        if not len(run.steps):
            raise ValueError(f"runs[{i}]: no step recorded; expected at least the start, as sophia_ref.run records it")
    return runs


def label_ends(ax: Axes) -> None:
    """Name every line right of the axes, beside its last height, moved apart where names would overlap.

    It stands for a legend and hides nothing. Called again after another line is drawn, it places all names anew.
    """
    for artist in [artist for artist in (*ax.texts, *ax.lines) if artist.get_gid() == "end"]:
        artist.remove()
    ax.autoscale_view()  # or the limits would be those before the last line
    lines = {str(line.get_label()): line for line in ax.lines if not str(line.get_label()).startswith("_")}
    ends = []
    for line in lines.values():
        xy = np.column_stack([np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)])
        xy = xy[np.isfinite(xy).all(axis=1)]
        if len(xy):
            ends.append((float(np.clip(ax.transLimits.transform(ax.transScale.transform(xy[-1]))[1], 0, 1)), line))
    ends.sort(key=lambda end: end[0])
    heights = np.array([height for height, _ in ends])
    rank = np.arange(len(ends))
    gap = 12 / 72 / (ax.get_figure(root=True).get_figheight() * ax.get_position().height)  # type: ignore[union-attr]
    # each a gap or more above the one below it, then moved down as far as keeps the last beside the axes
    heights = np.maximum.accumulate(heights - gap * rank) + gap * rank
    heights = np.minimum(heights, 1 - gap * rank[::-1])
    for height, (_, line) in zip(heights, ends, strict=True):
        look: dict[str, Any] = {"color": line.get_color(), "gid": "end", "clip_on": False}
        ax.plot(1.03, height, marker=line.get_marker(), markersize=4, transform=ax.transAxes, **look)
        ax.annotate(
            str(line.get_label()), (1.03, height), xycoords="axes fraction", xytext=(6, 0), textcoords="offset points",
            fontsize=8, va="center", **look,
        )  # fmt: skip
