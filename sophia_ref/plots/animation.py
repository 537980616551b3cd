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
from numpy.typing import NDArray
from PIL import Image

from sophia_ref.files import replacing
from sophia_ref.plots.curves import losses
from sophia_ref.plots.race import checked_paths, contour, key, steps_style
from sophia_ref.plots.style import LIGHT, figure, halo, style_of
from sophia_ref.run import Run

COLOURS = 96
FRAME, PAUSE = 80, 2500  # milliseconds a frame is shown, and the last one


def animate(
    landscape: Any, runs: Run | Sequence[Run], path: str | Path, *, frames: int = 60, size: tuple[int, int] = (600, 400)
) -> Path:
    """Write the race as a GIF that loops, with a pause at its end; the file is whole or absent. Returns the path.

    Time runs evenly from step 0 to the last step of the longest run. Between two recorded steps a path moves on a
    straight line; its markers are the steps. size: width and height in pixels.
    Raises TypeError or ValueError, by name, for bad arguments, OSError as open does.
    """
    path, runs = Path(path), checked_paths(runs)
    if path.suffix.lower() != ".gif":
        raise ValueError(f"path: {str(path)!r}; expected a name that ends in .gif")
    if isinstance(frames, bool) or not isinstance(frames, int) or frames < 2:
        raise ValueError(f"frames: {frames!r}; expected an integer of at least 2")
    if len(size) != 2 or not all(isinstance(side, int) and side >= 200 for side in size):
        raise ValueError(f"size: {size!r}; expected width and height in pixels, integers of at least 200")
    fig = figure(size[0] / 100, size[1] / 100)
    fig.set_dpi(100)
    left, right = fig.subplots(1, 2, width_ratios=(3, 2))
    contour(left, landscape)
    losses(right, runs)
    for artist in [*right.lines, *right.texts, *right.collections]:
        artist.remove()
    fig.suptitle(landscape.title, fontsize=11, color=LIGHT.ink)
    key(fig, landscape, runs, fontsize=8)
    moving = []
    for run in runs:
        style = style_of(run.optimizer)
        line = {"color": style["color"], "linewidth": 1.6}
        head = steps_style(style, LIGHT) | {"markersize": 8}
        moving.append(
            (
                run,
                left.add_line(Line2D([], [], **line, path_effects=halo(LIGHT, 3))),
                left.add_line(Line2D([], [], **steps_style(style, LIGHT) | {"markersize": 4})),
                left.add_line(Line2D([], [], **head)),
                right.add_line(Line2D([], [], **line)),
                right.add_line(Line2D([], [], **head | {"markersize": 6})),
            )
        )
    canvas: Any = fig.canvas
    canvas.draw()
    ground = canvas.copy_from_bbox(fig.bbox)
    images = []
    for now in np.linspace(0, max(run.steps[-1] for run in runs), frames):
        canvas.restore_region(ground)
        for run, trail, marks, head, curve, tip in moving:
            past = run.steps <= now
            here = _at(now, run.steps, run.trajectory)
            trail.set_data(*np.vstack([run.trajectory[past], here]).T)
            marks.set_data(*run.trajectory[past].T)
            head.set_data(*here[:, None])
            loss = _at(now, run.steps, run.losses)
            step = min(now, run.steps[-1])
            curve.set_data([*run.steps[past], step], [*run.losses[past], loss])
            tip.set_data([step], [loss])
            for artist in (trail, marks, head, curve, tip):
                artist.axes.draw_artist(artist)
        images.append(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy()))
    _write(images, path)
    return path


def _at(now: float, steps: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    """values (n, ...) at step number now, on the straight line between the recorded steps around it."""
    after = min(int(np.searchsorted(steps, now)), len(steps) - 1)
    before = max(after - 1, 0)
    share = min((now - steps[before]) / max(steps[after] - steps[before], 1), 1.0)
    return (1 - share) * values[before] + share * values[after]  # type: ignore[no-any-return]


def _write(images: list[Image.Image], path: Path) -> None:
    palette = images[-1].quantize(COLOURS, Image.Quantize.MEDIANCUT)
    first, *rest = (image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images)
    with replacing(path) as file:
        first.save(
            file, "GIF", save_all=True, append_images=rest, loop=0, disposal=1,
            duration=[FRAME] * len(rest) + [PAUSE],
        )  # fmt: skip
