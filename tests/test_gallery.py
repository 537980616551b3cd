"""The gallery: every picture is there, in light and dark, beside the code that the script runs."""

import importlib.util
import re
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGE = (DOCS / "gallery.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_gallery", DOCS / "make_gallery.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_picture_has_its_section_and_its_code(script):
    sections = {part.splitlines()[0]: part for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]}
    assert list(sections)[: len(script.PICTURES)] == [title for title, *_ in script.PICTURES.values()]
    for name, (title, *_) in script.PICTURES.items():
        assert f"```python\n{script.code_of(name)}\n```" in sections[title]


def test_every_picture_is_there_and_none_else():
    shown = set(re.findall(r'(?:src|srcset)="([^"]+)"|\]\(([^)]+\.(?:png|gif))\)', PAGE))
    shown = {a or b for a, b in shown}
    assert shown == {f"gallery/{path.name}" for path in (DOCS / "gallery").iterdir()} | {"explorer.png"}
    assert (DOCS / "explorer.png").exists()  # the explorer's own picture, made in a browser


def test_pictures_are_readable_and_small():
    files = list((DOCS / "gallery").iterdir())
    assert sum(path.stat().st_size for path in files) < 2.5e6
    for path in files:
        with Image.open(path) as image:
            assert 300 < image.width < 1400, path.name
            if path.suffix == ".png":
                corner = image.convert("L").getpixel((2, 2))
                assert (corner < 60) == ("-dark" in path.name), path.name


def test_the_script_makes_a_picture_by_name(script, tmp_path):
    folder = tmp_path / "gallery"
    assert script.make("losses", folder) == ["losses.png", "losses-dark.png"]
    assert {path.name for path in folder.iterdir()} == {"losses.png", "losses-dark.png"}
    colours = {colour for _, colour in Image.open(folder / "losses.png").convert("RGB").getcolors(10**6)}
    sophia = script.plots.style_of("Sophia")["color"]
    assert tuple(int(sophia[i : i + 2], 16) for i in (1, 3, 5)) in colours  # exact after quantisation


def test_a_name_that_is_no_picture_is_refused(script, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["make_gallery.py", "pannels"])
    with pytest.raises(SystemExit) as end:
        script.main()
    assert end.value.code == 2
    assert "NAME: pannels; expected some of surface, trajectories" in capsys.readouterr().err
