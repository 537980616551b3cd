"""A race that moves: paths on the contours, and beside them the loss by step, as a GIF.

What stands still is drawn once; each frame adds the moving lines to a copy of it. All frames share one palette, and
a frame after the first stores only what has changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from PIL import Image

from sophia_ref.files import replacing
from sophia_ref.plots.curves import losses
from sophia_ref.plots.race import (
    checked_paths,
    contour,
    extra_width,
    inside_pieces,
    is_inside,
    joined,
    leaving,
    legend,
    line_look,
    marker_look,
)
from sophia_ref.plots.style import checked_runs, figure, halo, scheme_of, style_of
from sophia_ref.run import Run

COLOURS = 128
FRAME, PAUSE = 80, 2500  # milliseconds that a frame is shown, and the last one


def animate(
    landscape: Any, runs: Run | Sequence[Run], path: str | Path, *, frames: int = 60, size: tuple[int, int] = (600, 400)
) -> Path:
    """Write the race as a GIF that loops, with a pause at its end; the file is whole or absent. Returns the path.

    Time runs evenly from step 0 to the last step of the longest run. Between recorded steps a path moves on a straight
    line; its markers are the steps. size: width and height in pixels.
    Raises TypeError or ValueError, by name, for bad arguments, OSError as open does.
    """
    path = Path(path)
    if path.suffix.lower() != ".gif":
        raise ValueError(f"path: {str(path)!r}; expected a name that ends in .gif")
    if isinstance(frames, bool) or not isinstance(frames, int) or frames < 2:
        raise ValueError(f"frames: {frames!r}; expected an integer of at least 2")
    if np.shape(size) != (2,) or not all(isinstance(side, int) and side >= 300 for side in size):
        raise ValueError(f"size: {size!r}; expected width and height in pixels, two integers of at least 300")
    images = _frames(landscape, runs, frames, size)
    palette = _palette([style_of(run.optimizer)["color"] for run in checked_runs(runs)], images[0], images[-1])
    first, *rest = (image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images)
    durations = [FRAME] * len(rest) + [PAUSE]
    with replacing(path) as file:
        first.save(file, "GIF", save_all=True, append_images=rest, duration=durations, loop=0, disposal=1)
    return path


def _palette(ours: list[str], *images: Image.Image) -> Image.Image:
    """The colours of ours, and the most frequent: flat ones stay exact, and the greys at the edges of letters too."""
    pixels = np.concatenate([np.asarray(image).reshape(-1, 3) for image in images])
    codes, counts = np.unique(pixels @ np.array([1 << 16, 1 << 8, 1]), return_counts=True)
    own = np.array([int(color.removeprefix("#"), 16) for color in ours])
    codes = np.concatenate([own, codes[np.argsort(-counts, kind="stable")]])[:COLOURS]
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1).astype(np.uint8).tobytes())
    return palette


def _frames(landscape: Any, runs: Run | Sequence[Run], frames: int, size: tuple[int, int]) -> list[Image.Image]:
    drawn = checked_paths(runs)
    fig = figure(size[0] / 100, size[1] / 100)
    fig.set_dpi(100)
    left, right = fig.subplots(1, 2, width_ratios=(5, 3))
    contour(left, landscape)
    losses(right, runs)
    for artist in [*right.lines, *right.texts, *right.collections]:  # only its limits and labels stay
        artist.remove()
    right.autoscale(False)
    scheme, box = scheme_of(left), np.array(landscape.domain)
    fig.suptitle(landscape.title, fontsize=11, color=scheme.ink)
    legend(fig, landscape, runs, fontsize=8)
    canvas: Any = fig.canvas
    canvas.draw()
    ground = canvas.copy_from_bbox(fig.bbox)
    clock = right.axvline(0, color=scheme.quiet, linewidth=0.7)
    trails, marks, heads, curves, tips, farewells = [], [], [], [], [], []
    for i, (run, path) in enumerate(drawn):
        style, wider = style_of(run.optimizer), extra_width(i, len(drawn))
        line, marker = line_look(style, wider), marker_look(style, scheme, 4 + wider)
        trails.append(left.add_line(Line2D([], [], **line, path_effects=halo(scheme, 3 + wider))))
        marks.append(left.add_line(Line2D([], [], **marker)))
        heads.append(left.add_line(Line2D([], [], **marker | {"markersize": 8 + wider})))
        curves.append(right.add_line(Line2D([], [], **line | {"linewidth": 1.6})))
        tips.append(right.add_line(Line2D([], [], **marker | {"markersize": 6})))
        farewells.append(leaving(left, run, path))
    up = right.yaxis.get_transform()  # straight lines on the logarithmic axis too
    images = []
    for now in np.linspace(0, max(run.steps[-1] for run, _ in drawn), frames):
        said = []
        for i, (run, path) in enumerate(drawn):
            past, step = run.steps <= now, min(now, run.steps[-1])
            here = np.array([np.interp(now, run.steps, path[:, axis]) for axis in (0, 1)])
            trails[i].set_data(*joined(inside_pieces(np.vstack([path[past], here]), box)).T)
            marks[i].set_data(*path[past & is_inside(path, box)].T)
            heads[i].set_data(*here[:, None])
            loss = up.inverted().transform(np.interp(now, run.steps, up.transform(run.losses)))
            curves[i].set_data([*run.steps[past], step], [*run.losses[past], loss])
            tips[i].set_data([step], [loss])
            if step == run.steps[-1] or not is_inside(here, box):
                said += farewells[i]
        clock.set_xdata([now, now])
        canvas.restore_region(ground)
        for artist in [clock, *trails, *marks, *heads, *curves, *tips, *said]:
            artist.axes.draw_artist(artist)
        images.append(Image.fromarray(np.array(canvas.buffer_rgba())[..., :3]))
    return images
