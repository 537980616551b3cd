"""The animation: a small GIF that loops, and whose frames are the race."""

import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

import sophia_ref as sr
from sophia_ref.plots import animate, style_of
from sophia_ref.plots.animation import _frames, _palette


def count(image, name):
    """How many pixels have the colour of an optimizer."""
    away = np.asarray(image.convert("RGB"), float) - 255 * np.array(to_rgb(style_of(name)["color"]))
    return int((np.abs(away).max(axis=-1) < 16).sum())


@pytest.fixture(scope="module")
def gif(tmp_path_factory, fig2, race):
    longer = [*race[:4], sr.run(fig2, race[4].optimizer, 50)]
    path = tmp_path_factory.mktemp("gif") / "race.gif"
    start = time.perf_counter()
    assert animate(fig2, longer, path) == path
    return path, time.perf_counter() - start


def test_sixty_frames_are_small_and_quick(gif):
    path, seconds = gif
    assert path.stat().st_size < 300_000
    assert seconds < 10


def test_it_loops_for_ever_and_pauses_at_the_end(gif):
    with Image.open(gif[0]) as image:
        assert (image.size, image.n_frames, image.info["loop"]) == ((600, 400), 60, 0)
        durations = []
        for frame in range(60):
            image.seek(frame)
            durations.append(image.info["duration"])
    assert set(durations[:-1]) == {80}
    assert durations[-1] >= 2000


def test_later_frames_store_less_than_the_whole_picture(gif):
    with Image.open(gif[0]) as image:
        for frame in range(1, 60):
            image.seek(frame)
            x0, y0, x1, y1 = image.tile[0][1]
            assert (x1 - x0) * (y1 - y0) < 0.8 * 600 * 400


def test_the_palette_keeps_every_optimizers_colour(gif, race):
    with Image.open(gif[0]) as image:
        image.seek(59)
        assert all(count(image, run.optimizer.name) > 30 for run in race)


def test_paths_grow_from_the_start(fig2, race):
    frames = _frames(fig2, race[3], 4, (400, 300))
    seen = [count(frame, "Newton") for frame in frames]
    assert seen == sorted(seen)
    assert seen[0] < seen[-1] / 1.2


def test_frames_stand_between_steps_on_straight_lines(fig2, race):
    """A run at half its steps, drawn half-way between two of them, is a run that has a step there."""
    halfway = replace(
        race[3],
        steps=np.array([0, 1]),
        trajectory=np.array([[0.0, 0.0], [0.0, 4.0]]),
        losses=np.array([9.0, 8.0]),
    )
    middle = np.asarray(_frames(fig2, halfway, 3, (400, 300))[1], int)
    there = replace(halfway, trajectory=np.array([[0.0, 0.0], [0.0, 2.0]]), losses=np.array([9.0, 8.5]))
    end = np.asarray(_frames(fig2, there, 2, (400, 300))[1], int)
    left = slice(0, 230)
    different = (np.abs(middle - end).max(axis=-1) > 40)[:, left]
    assert different.sum() < 20  # the marker under the head


def test_runs_that_leave_and_runs_of_different_length_are_shown(tmp_path, fig2, race, leaver):
    sparse = sr.run(fig2, sr.Adam(0.3), 10, record=4)
    path = animate(fig2, [race[3], leaver, sparse], tmp_path / "a.gif", frames=5, size=(400, 300))
    with Image.open(path) as image:
        assert image.size == (400, 300)
        assert image.n_frames == 5


def test_the_name_of_a_run_that_leaves_appears_when_it_has_left(fig2, leaver):
    pictures = [np.asarray(frame, int) for frame in _frames(fig2, leaver, 21, (400, 300))]
    left = [picture[:, :230] for picture in pictures]
    changed = [np.abs(b - a).max() > 60 for a, b in pairwise(left)]
    assert changed[:4] != [False] * 4
    assert not any(changed[4:])  # nothing moves in the picture any more, and the name stays


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": "race.mp4"}, r"path: .*race\.mp4'; expected a name that ends in \.gif"),
        ({"frames": 1}, "frames: 1; expected an integer of at least 2"),
        ({"frames": True}, "frames: True; expected"),
        ({"frames": 2.0}, r"frames: 2\.0; expected"),
        ({"size": (100, 400)}, r"size: \(100, 400\); expected width and height in pixels"),
        ({"size": (600.0, 400)}, r"size: \(600\.0, 400\); expected"),
        ({"size": 600}, "size: 600; expected"),
        ({"runs": []}, "runs: empty"),
    ],
)
def test_bad_input_is_refused_by_name_and_writes_nothing(tmp_path, fig2, race, settings, message):
    given = {"runs": race, "path": "race.gif"} | settings
    with pytest.raises(ValueError, match=message):
        animate(fig2, given.pop("runs"), tmp_path / given.pop("path"), **given)
    assert list(tmp_path.iterdir()) == []


def test_an_animation_that_fails_leaves_what_was_there(tmp_path, fig2, race, monkeypatch):
    def full(*args, **settings):
        raise OSError("no space left")

    path = tmp_path / "a.gif"
    path.write_bytes(b"before")
    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="no space left"):
        animate(fig2, race[0], path, frames=2, size=(300, 300))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.gif": b"before"}


def test_a_colour_that_few_pixels_have_is_in_the_palette():
    image = Image.fromarray(np.arange(300 * 3, dtype=np.uint8).reshape(30, 10, 3))
    colours = np.array(_palette(["#00a672"], image).getpalette()).reshape(-1, 3)
    assert [0x00, 0xA6, 0x72] in colours.tolist()


def test_losses_near_the_largest_float_are_drawn_without_a_warning(tmp_path, fig2, race):
    losses = np.full_like(race[0].losses, 1.7e308)
    losses[1::2] = -1.7e308
    animate(
        fig2, [replace(race[0], losses=losses)], tmp_path / "a.gif", frames=3, size=(300, 300)
    )  # warnings are errors
