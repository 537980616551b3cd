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
# In units of a channel, 0 to 255, of means over 4 x 4 pixels, in the tile of 32 x 32 pixels that differs most.
TILE, BLOCK, TOLERANCE = 32, 4, 25.0


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
            apart = distance(*(picture(output) for output in (one, other)))
            if apart > TOLERANCE:
                return f"a picture differs by {apart:.0f}"
        elif found := textual_difference(text_of(one), text_of(other)):
            return found
    return None


def textual_difference(one, other):
    """Numbers may differ by a thousandth or by one in the last digit shown, and so may the blanks before them."""
    words, other_words = (" ".join(NUMBER.sub("#", text).split()) for text in (one, other))
    if words != other_words:
        return f"{other_words!r} where {words!r} is stored"
    for a, b in zip(NUMBER.findall(one), NUMBER.findall(other), strict=True):
        x, y = (float(number.replace(",", "").replace("−", "-")) for number in (a, b))
        if abs(x - y) > max(1e-3 * abs(x), 1.01 * last_digit(a), 1e-12):
            return f"{b} where {a} is stored"
    return None


def last_digit(number):
    """What one more in the last digit would be.

    >>> last_digit("12.50"), last_digit("3e-05"), last_digit("1,234")
    (0.01, 1e-05, 1.0)
    """
    digits, _, exponent = number.replace(",", "").replace("−", "-").partition("e")
    return 10.0 ** (int(exponent or 0) - len(digits.partition(".")[2]))


def picture(output):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(output["data"]["image/png"]))).convert("RGB"), float)


def distance(a, b):
    """The root mean square difference in the tile where it is greatest; infinite for pictures of different sizes."""
    if np.abs(np.subtract(a.shape, b.shape)).max() > 4:
        return np.inf
    height, width = (min(x, y) // TILE * TILE for x, y in zip(a.shape[:2], b.shape[:2], strict=True))
    small = means(a[:height, :width] - b[:height, :width], BLOCK)
    return float(np.sqrt(means((small**2).mean(axis=-1), TILE // BLOCK).max()))


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
        ("h -27.968", "h 27.968", False),
        ("1.2e-09", "1.3e-09", True),
        ("1.2e-09", "1.2e-08", False),
        ("True", "False", False),
    ],
)
def test_a_number_may_differ_in_its_last_digit_and_a_word_may_not(stored, now, same):
    assert (textual_difference(stored, now) is None) == same


@pytest.mark.parametrize("name", ["00_start_here", "03_adam_and_sign_descent"])
def test_a_change_of_a_picture_is_seen(name):
    cells = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4).cells
    output = next(o for cell in cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {}))
    before = picture(output)
    image = Image.fromarray(before.astype(np.uint8))
    ImageDraw.Draw(image).line([(200, 150), (260, 220)], fill="#d04a0c", width=2)
    assert distance(before, np.asarray(image, float)) > TOLERANCE
    assert distance(before, np.roll(before, 1, axis=1)) > 0


def test_all_notebooks_of_the_course_are_there():
    assert [name[:2] for name in NAMES] == [f"{i:02}" for i in range(len(NAMES))]
