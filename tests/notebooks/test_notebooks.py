"""The course: every notebook runs, shows what is stored, and its exercises can be solved. `make test-notebooks`.

A notebook is run once, with its solutions added as cells at the end, in a kernel of its own.
"""

import base64
import importlib.util
import io
import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image, ImageDraw

FOLDER = Path(__file__).parents[2] / "notebooks"
NAMES = [path.stem for path in sorted(FOLDER.glob("[0-9][0-9]_*.py"))]
LONGEST = 90  # seconds of processor time a notebook
NUMBER = re.compile(r"(?<![\w.])[-−+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[-−+]?\d+)?(?![\w])")
# Pictures: means over BLOCK x BLOCK pixels, and the root mean square of their differences in those TILE x TILE pixels
# where it is greatest, in units of a channel (0 to 255). Another matplotlib sets letters and so all else a little
# elsewhere: from 3.11 to 3.10 the distance of the coarse means is at most 23, of different pictures 20 to 100.
BLOCK, TILE, TOLERANCE = 4, 32, 8.0
COARSE_BLOCK, COARSE_TILE, COARSE_TOLERANCE = 16, 96, 30.0


@cache
def build():
    spec = importlib.util.spec_from_file_location("build_notebooks", FOLDER / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def solutions(cells):
    """(source of a solution, its check) of every exercise."""
    for exercise, solution in pairwise(cells):
        if "exercise" in exercise.metadata.get("tags", []):
            code = re.search(r"```python\n(.*?)```", solution.source, re.DOTALL)[1]
            yield f"{code}\n{exercise.source[exercise.source.rindex('check(') :]}"


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_shows_what_is_stored_and_its_solutions_are_right(name):
    notebook, stored = build().read(FOLDER / f"{name}.py"), nbformat.read(FOLDER / f"{name}.ipynb", as_version=4).cells
    assert [cell.source for cell in stored] == [cell.source for cell in notebook.cells]
    solved = list(solutions(notebook.cells))
    extra = [*solved, "import time", "print(time.process_time())"]
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in extra]
    cells = build().execute(notebook).cells

    for before, now in zip(stored, cells, strict=False):
        if now.cell_type == "code" and "volatile" not in now.metadata.get("tags", []):
            found = difference(before.outputs, now.outputs)
            assert not found, f"{name}, {now.id}: {found}; python notebooks/build.py {name[:2]} makes it anew"
    assert len(solved) >= 3
    for cell in cells[len(stored) : -2]:
        assert text_of(cell.outputs[-1]).startswith("Right."), f"{cell.source}\n{text_of(cell.outputs[-1])}"
    assert float(text_of(cells[-1].outputs[0])) < LONGEST


# What counts as a difference


def text_of(output):
    return output.get("text") or output["data"]["text/plain"]


def difference(before, now):
    """What differs between two lists of outputs, or None."""
    kinds = [[output.output_type, *sorted(output.get("data", {}))] for output in before]
    if kinds != [[output.output_type, *sorted(output.get("data", {}))] for output in now]:
        return f"other kinds of output than {kinds}"
    for one, other in zip(before, now, strict=True):
        if "image/png" in one.get("data", {}):
            if found := pictorial_difference(image_of(one), image_of(other)):
                return found
        elif found := textual_difference(text_of(one), text_of(other)):
            return found
    return None


def textual_difference(one, other):
    """Numbers may differ by a thousandth, those that are no integers by one in the last digit; blanks do not count."""
    words, other_words = (" ".join(NUMBER.sub("#", text).split()) for text in (one, other))
    if words != other_words:
        return f"{other_words!r} where {words!r} is stored"
    for a, b in zip(NUMBER.findall(one), NUMBER.findall(other), strict=True):
        x, y = (float(number.replace(",", "").replace("−", "-")) for number in (a, b))
        if abs(x - y) > max(1e-3 * abs(x), 1.01 * last_digit(a), 1e-12):
            return f"{b} where {a} is stored"
    return None


def last_digit(number):
    """What one more in the last digit would be; 0 for an integer, which counts something.

    >>> last_digit("12.50"), last_digit("3e-05"), last_digit("1,234")
    (0.01, 1e-05, 0.0)
    """
    digits, _, exponent = number.replace(",", "").replace("−", "-").partition("e")
    places = len(digits.partition(".")[2])
    return 10.0 ** (int(exponent or 0) - places) if exponent or places else 0.0


def image_of(output):
    return Image.open(io.BytesIO(base64.b64decode(output["data"]["image/png"])))


def pictorial_difference(one, other):
    """Pictures are alike up to how edges are smoothed and, by another matplotlib, up to how letters are set."""
    same = one.info["Software"] == other.info["Software"]
    allowed, block, tile = (TOLERANCE, BLOCK, TILE) if same else (COARSE_TOLERANCE, COARSE_BLOCK, COARSE_TILE)
    a, b = (np.asarray(image.convert("RGB"), float) for image in (one, other))
    if np.abs(np.subtract(a.shape, b.shape)).max() > (0 if same else 4):
        return f"a picture of {b.shape[1]} x {b.shape[0]} pixels where one of {a.shape[1]} x {a.shape[0]} is stored"
    height, width = (min(x, y) // tile * tile for x, y in zip(a.shape[:2], b.shape[:2], strict=True))
    small = means(a[:height, :width] - b[:height, :width], block)
    found = float(np.sqrt(means((small**2).mean(axis=-1), tile // block).max()))
    return f"a picture differs by {found:.0f}, where {allowed:.0f} is allowed" if found > allowed else None


def means(x, n):
    """Means over n x n pixels of x (height, width, ...), whose sides n divides."""
    return x.reshape(len(x) // n, n, x.shape[1] // n, n, *x.shape[2:]).mean(axis=(1, 3))


@pytest.mark.parametrize(
    ("stored", "now", "same"),
    [
        ("loss 0.1234, cost 280", "loss 0.1235, cost 280", True),
        ("loss 0.1234, cost 280", "loss 0.1334, cost 280", False),
        ("loss 0.1234", "lost 0.1234", False),
        ("kappa 10,000: 494", "kappa  10,000:  494", True),
        ("kappa 10,000: 494", "kappa 10,000: 508", False),
        ("step 163", "step 164", False),
        ("h -27.968", "h 27.968", False),
        ("1.2e-09", "1.3e-09", True),
        ("1.2e-09", "1.2e-08", False),
        ("True", "False", False),
    ],
)
def test_a_number_may_differ_in_its_last_digit_and_a_word_may_not(stored, now, same):
    assert (textual_difference(stored, now) is None) == same


@pytest.mark.parametrize("name", NAMES)
def test_a_line_more_in_a_picture_is_seen(name):
    cells = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4).cells
    for output in (o for cell in cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})):
        before = image_of(output)
        changed = before.convert("RGB")
        changed.info["Software"] = before.info["Software"]
        assert pictorial_difference(before, changed) is None
        ImageDraw.Draw(changed).line([(200, 150), (260, 220)], fill="#d04a0c", width=2)
        assert "a picture differs by" in pictorial_difference(before, changed)


def test_another_picture_is_seen_also_where_another_matplotlib_drew_it():
    first, second = (
        next(image_of(o) for cell in nbformat.read(FOLDER / f"{name}.ipynb", as_version=4).cells
             for o in cell.get("outputs", []) if "image/png" in o.get("data", {}))
        for name in ("05_gauss_newton_bartlett", "08_autodiff_from_nothing")
    )  # fmt: skip
    second.info["Software"] = "Matplotlib version 1.0"
    assert pictorial_difference(first, second)


def test_all_notebooks_of_the_course_are_there():
    assert [name[:2] for name in NAMES] == [f"{i:02}" for i in range(14)]
