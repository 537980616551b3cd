"""The animation: a small GIF that loops, or a video, whose frames are the race."""

import shutil
import subprocess
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

import sophia_ref as sr
from sophia_ref.plots import animate, style_of
from sophia_ref.plots.animation import PAUSE, SLOW_START, _frames, _palette, _with_state

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not on the PATH")


def count(image, name):
    """How many pixels have the colour of an optimizer."""
    away = np.asarray(image.convert("RGB"), float) - 255 * np.array(to_rgb(style_of(name)["color"]))
    return int((np.abs(away).max(axis=-1) < 16).sum())


def frames_of(landscape, *runs, frames, size=(400, 300), state=None, dark=False):
    return list(_frames(landscape, list(runs), frames, size, state, dark))


@pytest.fixture(scope="module")
def gif(tmp_path_factory, fig2, race):
    longer = [*race[:4], sr.run(fig2, race[4].optimizer, 50)]
    path = tmp_path_factory.mktemp("gif") / "race.gif"
    start = time.process_time()
    assert animate(fig2, longer, path) == path
    return path, time.process_time() - start


def test_120_frames_with_a_state_are_small_and_quick(gif):
    path, seconds = gif
    assert path.stat().st_size < 300_000
    assert seconds < 10


def test_it_loops_for_ever_and_pauses_at_the_end(gif):
    with Image.open(gif[0]) as image:
        assert (image.size, image.info["loop"]) == ((600, 400), 0)
        assert 100 < image.n_frames <= 120  # those that are equal are one that lasts
        durations = []
        for frame in range(image.n_frames):
            image.seek(frame)
            durations.append(image.info["duration"])
    assert set(durations[:60]) == {80}
    assert sum(durations) == 119 * 80 + 2500
    assert durations[-1] >= 2500


def test_later_frames_store_less_than_the_whole_picture(gif):
    with Image.open(gif[0]) as image:
        for frame in range(1, image.n_frames):
            image.seek(frame)
            x0, y0, x1, y1 = image.tile[0][1]
            assert (x1 - x0) * (y1 - y0) < 0.9 * 600 * 400


def test_the_palette_keeps_every_optimizers_colour(gif, race):
    with Image.open(gif[0]) as image:
        image.seek(image.n_frames - 1)
        assert all(count(image, run.optimizer.name) > 30 for run in race)


def test_paths_grow_from_the_start(fig2, race):
    frames = frames_of(fig2, race[3], frames=4)
    seen = [count(frame, "Newton") for frame in frames]
    assert seen == sorted(seen)
    assert seen[0] < seen[-1] / 1.2


def test_frames_stand_between_steps_on_straight_lines(fig2, race):
    """A run between two of its steps is drawn like one that has a step there."""
    halfway = replace(
        race[3],
        steps=np.array([0, 1]),
        trajectory=np.array([[0.0, 0.0], [0.0, 4.0]]),
        losses=np.array([9.0, 8.0]),
    )
    middle = np.asarray(frames_of(fig2, halfway, frames=3)[1], int)
    there = replace(halfway, trajectory=np.array([[0.0, 0.0], [0.0, 4 * 0.5**SLOW_START]]))
    end = np.asarray(frames_of(fig2, there, frames=2)[1], int)
    left = slice(0, 230)
    different = (np.abs(middle - end).max(axis=-1) > 40)[:, left]
    assert different.sum() < 20  # the marker under the head


def test_runs_that_leave_and_runs_of_different_length_are_shown(tmp_path, fig2, race, leaver):
    sparse = sr.run(fig2, sr.Adam(0.3), 10, record=4)
    path = animate(fig2, [race[3], leaver, sparse], tmp_path / "a.gif", frames=5, size=(400, 300), state=False)
    with Image.open(path) as image:
        assert image.size == (400, 300)
        assert image.n_frames == 5


def test_the_name_of_a_run_that_leaves_appears_when_it_has_left(fig2, leaver):
    pictures = [np.asarray(frame, int) for frame in frames_of(fig2, leaver, frames=21)]
    left = [picture[:, :230] for picture in pictures]
    changed = [np.abs(b - a).max() > 60 for a, b in pairwise(left)]
    gone = 7  # at frame 7 of 20, 1.7 of the 8 steps are done
    assert changed[:gone] != [False] * gone
    assert not any(changed[gone:])  # nothing moves in the picture any more, and the name stays


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": "race.avi"}, r"path: .*race\.avi'; expected a name that ends in \.gif or \.mp4"),
        ({"path": "race.mp4", "size": (601, 400)}, r"size: \(601, 400\); expected even numbers for a video"),
        ({"size": (500, 400)}, r"size: \(500, 400\); expected .* of at least \(540, 380\), or state=False"),
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
        animate(fig2, race[0], path, frames=2)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.gif": b"before"}


def test_a_colour_that_few_pixels_have_is_in_the_palette():
    image = Image.fromarray(np.arange(300 * 3, dtype=np.uint8).reshape(30, 10, 3))
    colours = np.array(_palette(["#00a672"], image).getpalette()).reshape(-1, 3)
    assert [0x00, 0xA6, 0x72] in colours.tolist()


def test_losses_near_the_largest_float_are_drawn_without_a_warning(tmp_path, fig2, race):
    losses = np.full_like(race[0].losses, 1.7e308)
    losses[1::2] = -1.7e308
    animate(
        fig2, [replace(race[0], losses=losses)], tmp_path / "a.gif", frames=3, size=(300, 300), state=False
    )  # warnings are errors


def test_every_frame_of_the_gif_is_the_frame_that_was_drawn(tmp_path, fig2, race):
    drawn = frames_of(fig2, *race, frames=12, size=(600, 400), state=race[4])
    with Image.open(animate(fig2, race, tmp_path / "a.gif", frames=12)) as image:
        for frame, expected in enumerate(drawn):
            image.seek(frame)
            away = np.abs(np.asarray(image.convert("RGB"), int) - np.asarray(expected, int)).max(axis=-1)
            assert (away > 40).mean() < 0.002  # what the palette changes


def test_the_state_follows_the_frames(fig2, race):
    frames = frames_of(fig2, race[4], frames=61, size=(600, 400), state=race[4])
    panels = [np.asarray(frame, int)[175:340, 380:] for frame in frames]
    changes = [bool(np.abs(b - a).max() > 60) for a, b in pairwise(panels)]
    steps = np.floor(np.linspace(0, 1, 61) ** SLOW_START * 15).clip(max=14)
    assert changes == list(np.diff(steps) > 0)


def test_whose_state_is_shown(fig2, race, leaver):
    short = sr.run(fig2, sr.GradientDescent(0.01), 0)
    lost = sr.run(fig2, sr.GradientDescent(1e308), 3)
    assert lost.diverged_at == 1
    assert _with_state(race) is race[4]
    assert _with_state([short, lost, leaver, race[0]]) is leaver
    assert _with_state([short, lost]) is None
    assert len(frames_of(fig2, short, frames=2)) == 2


def test_a_chosen_state_and_none(tmp_path, fig2, race):
    pictures = []
    for state in (race[2], True, False):
        with Image.open(animate(fig2, race, tmp_path / "a.gif", frames=2, state=state)) as image:
            pictures.append(np.asarray(image.convert("RGB")))
    assert not any(np.array_equal(a, b) for a, b in pairwise(pictures))
    with pytest.raises(TypeError, match="state: 'Adam'; expected a Run, True or False"):
        animate(fig2, race, tmp_path / "b.gif", state="Adam")


def test_a_dark_one_is_dark(tmp_path, fig2, race):
    for dark, low, high in ((False, 200, 255), (True, 0, 80)):
        with Image.open(animate(fig2, race, tmp_path / "a.gif", frames=2, dark=dark)) as image:
            assert low <= np.median(np.asarray(image.convert("L"))) <= high


@needs_ffmpeg
def test_a_video_shows_the_frames_and_rests_on_the_last(tmp_path, fig2, race):
    path = animate(fig2, race, tmp_path / "race.mp4", frames=10)
    assert [path.name for path in tmp_path.iterdir()] == ["race.mp4"]
    raw = ["ffmpeg", "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    video = np.frombuffer(subprocess.run(raw, check=True, capture_output=True).stdout, np.uint8)
    video = video.reshape(-1, 400, 600, 3).astype(int)
    assert len(video) == 10 + PAUSE // 80
    drawn = frames_of(fig2, *race, frames=10, size=(600, 400), state=race[4])
    for expected, frame in zip([*drawn, drawn[-1]], [*video[:10], video[-1]], strict=True):
        assert np.abs(np.asarray(expected, int) - frame).mean() < 4


def test_a_video_without_ffmpeg_is_refused_and_the_program_named(tmp_path, fig2, race, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FileNotFoundError, match=r"race\.mp4' needs the program ffmpeg, which is not on the PATH"):
        animate(fig2, race, tmp_path / "race.mp4")
    assert list(tmp_path.iterdir()) == []


def test_a_video_that_ffmpeg_cannot_write_is_an_error_with_its_words(tmp_path, fig2, race, monkeypatch):
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'Unknown encoder libx264' >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    with pytest.raises(OSError, match="ffmpeg failed with exit code 3: Unknown encoder libx264"):
        animate(fig2, race, tmp_path / "race.mp4", frames=3)
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]
