"""A race that moves: paths on the contours, and beside them the loss by step and the state of a rule, as GIF or MP4.

What stands still is drawn once; each frame adds what moves to a copy of it. All frames of a GIF share one palette, and
a frame after the first stores only what has changed.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, Popen
from tempfile import TemporaryDirectory
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
from sophia_ref.plots.state import state as state_panel
from sophia_ref.plots.style import figure, halo, scheme_of, style_of
from sophia_ref.run import Run

COLOURS = 127  # and one that says "as before"
FRAME, PAUSE = 80, 2500  # milliseconds that a frame is shown, and the last one
SLOW_START = 1.5  # after a share s of the time, s to this power of the steps are done
LEAST = {True: (540, 380), False: (300, 300)}  # pixels that a picture with and without a state needs


def animate(
    landscape: Any,
    runs: Run | Sequence[Run],
    path: str | Path,
    *,
    frames: int = 120,
    size: tuple[int, int] = (600, 400),
    state: Run | bool = True,
    dark: bool = False,
) -> Path:
    """Write the race as a GIF that loops, with a pause at its end, or as MP4; the file is whole or absent. Returns the
    path.

    Time runs from step 0 to the last step of the longest run, at first slowly, where most happens. Between recorded
    steps a path moves on a straight line; its markers are the steps. size: width and height in pixels, even ones for
    MP4. state: the run whose gradient, momentum, curvature, ratio and clip stand beside the paths; True for the first
    whose rule clips, or else the first, False for none.
    Raises TypeError or ValueError, by name, for bad arguments, OSError as open does, and for an MP4 where ffmpeg is
    missing or fails.
    """
    drawn = [run for run, _ in checked_paths(runs)]
    path, suffix = Path(path), Path(path).suffix.lower()
    if suffix not in (".gif", ".mp4"):
        raise ValueError(f"path: {str(path)!r}; expected a name that ends in .gif or .mp4")
    if isinstance(frames, bool) or not isinstance(frames, int) or frames < 2:
        raise ValueError(f"frames: {frames!r}; expected an integer of at least 2")
    if not (isinstance(state, bool | Run)):
        raise TypeError(f"state: {state!r}; expected a Run, True or False")
    shown = _with_state(drawn) if state is True else (state or None)
    least = LEAST[shown is not None]
    if np.shape(size) != (2,) or not all(isinstance(a, int) and a >= b for a, b in zip(size, least, strict=True)):
        raise ValueError(
            f"size: {size!r}; expected width and height in pixels, two integers of at least {least}"
            + ", or state=False" * (shown is not None)
        )
    if suffix == ".mp4":
        if size[0] % 2 or size[1] % 2:
            raise ValueError(f"size: {size!r}; expected even numbers for a video")
        if shutil.which("ffmpeg") is None:
            raise FileNotFoundError(f"path: {str(path)!r} needs the program ffmpeg, which is not on the PATH")
        video = _mp4(_frames(landscape, drawn, frames, size, shown, dark), size)
        with replacing(path) as file:
            file.write(video)
        return path
    pictures = list(_frames(landscape, drawn, frames, size, shown, dark))
    palette = _palette([style_of(run.optimizer)["color"] for run in drawn], pictures[0], pictures[-1])
    first, *rest = (picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures)
    with replacing(path) as file:
        first.save(
            file, "GIF", save_all=True, append_images=rest, duration=[FRAME] * len(rest) + [PAUSE], loop=0, disposal=1,
            palette=bytes(palette.getpalette() or ()), optimize=True,
        )  # fmt: skip
    return path


def _with_state(runs: list[Run]) -> Run | None:
    """The first run whose rule clips, or else the first, among those that took a step."""
    runs = [run for run in runs if run.steps[-1] > 0 and run.diverged_at != 1]
    return next((run for run in runs if np.isfinite(run.unclipped).any()), next(iter(runs), None))


def _mp4(images: Iterable[Image.Image], size: tuple[int, int]) -> bytes:
    """Pipe the frames to ffmpeg. With colour at half the resolution and the index in front, every browser plays it."""
    video = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "{}x{}".format(*size), "-r", f"{1000 / FRAME:g}", "-i", "-"]
    coded = ["-c:v", "libx264", "-crf", "20", "-pix_fmt", "yuv420p", "-movflags", "+faststart", "video.mp4"]
    with (
        TemporaryDirectory() as folder,
        Popen(["ffmpeg", "-v", "error", *video, *coded], stdin=PIPE, stderr=PIPE, cwd=folder) as process,
    ):
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # then it has ended, and says why
            for image in images:
                process.stdin.write(image.tobytes())
            for _ in range(PAUSE // FRAME):
                process.stdin.write(image.tobytes())
        said = process.communicate()[1].decode(errors="replace").strip()
        if process.returncode:
            raise OSError(f"ffmpeg failed with exit code {process.returncode}: {said}")
        return Path(folder, "video.mp4").read_bytes()


def _palette(ours: list[str], *images: Image.Image) -> Image.Image:
    """The colours of ours, and the most frequent: flat ones stay exact, and the greys at the edges of letters too."""
    pixels = np.concatenate([np.asarray(image).reshape(-1, 3) for image in images])
    codes, counts = np.unique(pixels @ np.array([1 << 16, 1 << 8, 1]), return_counts=True)
    own = np.array([int(color.removeprefix("#"), 16) for color in ours])
    often = codes[np.argsort(-counts, kind="stable")]
    codes = np.concatenate([own, often[~np.isin(often, own)]])[:COLOURS]
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1).astype(np.uint8).tobytes())
    return palette


def _frames(
    landscape: Any, runs: list[Run], frames: int, size: tuple[int, int], shown: Run | None, dark: bool
) -> Iterator[Image.Image]:
    drawn = checked_paths(runs)
    fig = figure(size[0] / 100, size[1] / 100, dark)
    fig.set_dpi(100)
    grid = fig.add_gridspec(2 if shown else 1, 2, width_ratios=(4, 3), height_ratios=(2, 3) if shown else None)
    left, right = fig.add_subplot(grid[:, 0]), fig.add_subplot(grid[0, 1])
    show = state_panel(fig.add_subplot(grid[1, 1]), shown) if shown else lambda step: []
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
    for now in np.linspace(0, 1, frames) ** SLOW_START * max(run.steps[-1] for run, _ in drawn):
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
        canvas.restore_region(ground)
        for artist in [*trails, *marks, *heads, *curves, *tips, *said, *show(int(now) + 1)]:
            artist.axes.draw_artist(artist)
        yield Image.fromarray(np.array(canvas.buffer_rgba())[..., :3])
