"""One style for all: who looks how, for whose eyes, and how figures are written."""

import subprocess
import sys
from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

import sophia_ref as sr
from sophia_ref.optimizers import Optimizer
from sophia_ref.plots import figure, race_figure, save, style_of
from sophia_ref.plots.race import CRITICAL
from sophia_ref.plots.style import DARK, LIGHT, checked_runs

OPTIMIZERS = [
    name for name in sr.__all__ if isinstance(getattr(sr, name), type) and issubclass(getattr(sr, name), Optimizer)
]
RACE = ["GradientDescent", "SignGD", "Adam", "Newton", "Sophia"]
DEMO = ["AdamW", "SophiaH", "SophiaG"]

# Machado, Oliveira, Fernandes (2009), severity 1, on linear RGB
EYES = {
    "usual": np.eye(3),
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}


def linear_rgb(color):
    rgb = np.array(mpl.colors.to_rgb(color))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(linear):
    """CIE L*a*b* under D65."""
    xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]] @ linear
    t = xyz / [0.9505, 1, 1.0890]
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(a, b):
    """The ratio of WCAG 2."""
    low, high = sorted(linear_rgb(color) @ [0.2126, 0.7152, 0.0722] + 0.05 for color in (a, b))
    return high / low


def test_there_are_optimizers_to_style():
    assert set(RACE + DEMO) < set(OPTIMIZERS)


def test_every_optimizer_has_a_colour_and_a_name_of_its_own():
    styles = [style_of(name) for name in OPTIMIZERS]
    assert len({style["color"] for style in styles}) == len(OPTIMIZERS)
    assert len({style["label"] for style in styles}) == len(OPTIMIZERS)


@pytest.mark.parametrize("together", [RACE, DEMO], ids=["race", "demo"])
def test_optimizers_that_are_shown_together_have_different_markers(together):
    assert len({style_of(name)["marker"] for name in together} - {"o"}) >= len(together) - 2


def test_no_optimizer_looks_like_a_critical_point():
    assert {marker for marker, *_ in CRITICAL.values()}.isdisjoint(style_of(name)["marker"] for name in OPTIMIZERS)


def test_settings_do_not_change_the_style():
    assert style_of(sr.SophiaG(0.1)) == style_of(sr.SophiaG(0.2, gamma=1.0)) == style_of("SophiaG")


def test_an_optimizer_of_somebody_else_keeps_its_name():
    class MyOwn:
        pass

    assert style_of(MyOwn())["label"] == "MyOwn"
    assert style_of(MyOwn())["color"] not in {style_of(name)["color"] for name in OPTIMIZERS}


@pytest.mark.parametrize(("name", "hint"), [("Sofia", "did you mean 'Sophia'?"), ("xyz", "expected one of Gradient")])
def test_a_name_that_is_not_known_gets_a_hint(name, hint):
    with pytest.raises(ValueError, match=f"optimizer: '{name}' is not known; ") as error:
        style_of(name)
    assert hint in str(error.value)


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("together", [RACE, DEMO], ids=["race", "demo"])
def test_colours_shown_together_are_told_apart_by_colour_blind_eyes(eyes, together):
    seen = {name: lab(np.clip(EYES[eyes] @ linear_rgb(style_of(name)["color"]), 0, 1)) for name in together}
    close = {pair: np.linalg.norm(seen[pair[0]] - seen[pair[1]]) for pair in combinations(together, 2)}
    assert min(close.values()) > 20, min(close, key=close.get)  # about 2 is just noticeable side by side


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_colours_read_on_light_and_on_dark(name):
    assert min(contrast(style_of(name)["color"], scheme.paper) for scheme in (LIGHT, DARK)) > 2.6


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_writing_is_easily_read(scheme):
    assert contrast(scheme.ink, scheme.paper) > 12


@pytest.mark.parametrize(
    ("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF"), ("PNG", b"\x89PNG")]
)
def test_save_writes_the_format_that_the_suffix_names(tmp_path, suffix, start):
    path = save(figure(2, 1), tmp_path / f"picture.{suffix}")
    assert path == tmp_path / f"picture.{suffix}"
    assert path.read_bytes().startswith(start)


def test_save_takes_inches_and_dots_an_inch(tmp_path):
    with Image.open(save(figure(2, 1), tmp_path / "a.png", dpi=50)) as image:
        assert image.size == (100, 50)
    with Image.open(save(figure(2, 1), str(tmp_path / "new" / "b.png"))) as image:
        assert image.size == (300, 150)


@pytest.mark.parametrize("name", ["picture.bmp", "picture", "png"])
def test_save_refuses_another_suffix_and_writes_nothing(tmp_path, name):
    with pytest.raises(ValueError, match=r"path: .*expected a name that ends in \.png, \.svg or \.pdf"):
        save(figure(2, 1), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_save_that_fails_leaves_what_was_there(tmp_path):
    fig = figure(2, 1)

    def interrupted(file, **settings):
        file.write(b"half")
        raise KeyboardInterrupt

    fig.savefig = interrupted
    (tmp_path / "a.png").write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt):
        save(fig, tmp_path / "a.png")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.png": b"before"}


def test_dark_is_dark(tmp_path):
    for dark in (False, True):
        with Image.open(save(figure(1, 1, dark), tmp_path / "a.png", dpi=10)) as image:
            assert (image.convert("L").getpixel((5, 5)) < 60) == dark


def test_pictures_leave_matplotlibs_settings_alone_and_need_no_pyplot(fig2, race):
    before = dict(mpl.rcParams)
    race_figure(fig2, race[:1])
    assert dict(mpl.rcParams) == before
    code = "import sys; import sophia_ref.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0


def test_one_run_stands_for_a_list_of_it(race):
    assert checked_runs(race[0]) == [race[0]]
    assert checked_runs(tuple(race)) == race


def test_no_runs_and_what_is_no_run_are_refused(race):
    with pytest.raises(ValueError, match="runs: empty; expected a Run or a list of them"):
        checked_runs([])
    with pytest.raises(TypeError, match=r"runs\[1\]: 'Sophia'; expected a Run"):
        checked_runs([race[0], "Sophia"])
