"""The course as files: pairs of .py and .ipynb, their shape, how answers are judged. `make test-notebooks` runs it."""

import ast
import importlib
import json
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
SOURCES = sorted(FOLDER.glob("[0-9][0-9]_*.py"))
NAMES = [path.stem for path in SOURCES]
OPEN = "Not answered yet. Put your answer in place of the dots and run the cell again."


@pytest.fixture(scope="module")
def checks():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        yield importlib.import_module("checks")


@pytest.fixture(scope="module")
def exercises(checks):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        return importlib.import_module("exercises").EXERCISES


def notebook(name):
    return json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))


def cells_of(name):
    """(kind, tags, source) of the cells of a .py in percent format, read without jupytext."""
    cells = []
    for part in re.split(r"^# %%", (FOLDER / f"{name}.py").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("\n")
        markdown, tags = re.fullmatch(r"( \[markdown\])?(?: tags=(\[.*\]))?", head).groups()
        if markdown:
            body = re.sub(r"^# ?", "", body, flags=re.MULTILINE)
        cells.append(("markdown" if markdown else "code", json.loads(tags or "[]"), body.strip("\n")))
    return cells


def exercises_of(name):
    """(source of an exercise, source of the solution under it, name of its check)."""
    cells = cells_of(name)
    for i, (_, tags, source) in enumerate(cells):
        if "exercise" in tags:
            yield source, cells[i + 1][2], re.search(r'^check\("([\d.]+)"', source, re.MULTILINE)[1]


@pytest.mark.parametrize("name", NAMES)
def test_the_two_files_of_a_notebook_have_the_same_cells(name):
    stored = [
        (cell["cell_type"], cell["metadata"].get("tags", []), "".join(cell["source"]))
        for cell in notebook(name)["cells"]
    ]
    assert stored == cells_of(name), f"python notebooks/build.py {name[:2]} makes the .ipynb anew"


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_opens_with_its_picture_and_then_the_claim(name):
    cells = notebook(name)["cells"]
    assert "".join(cells[0]["source"]).startswith(f"# {name[:2]} · ")
    assert any("image/png" in output.get("data", {}) for output in cells[1]["outputs"])
    assert "".join(cells[2]["source"]).startswith("**The claim.** ")


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_was_run_from_top_to_bottom_without_an_error_or_a_warning(name):
    code = [cell for cell in notebook(name)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        assert not [o for o in cell["outputs"] if o["output_type"] == "error" or o.get("name") == "stderr"]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_in_a_notebook_says_where_or_when_it_was_made(name):
    made = notebook(name)
    assert set(made["metadata"]) == {"kernelspec", "language_info"}
    assert "version" not in made["metadata"]["language_info"]
    assert all(set(cell["metadata"]) <= {"tags", "jupyter"} for cell in made["cells"])
    assert [cell["id"] for cell in made["cells"]] == [f"cell-{i:02d}" for i in range(len(made["cells"]))]
    text = json.dumps([cell.get("outputs") for cell in made["cells"]])
    assert str(FOLDER.parent) not in text
    assert "site-packages" not in text


def test_notebooks_are_small_files():
    sizes = {name: (FOLDER / f"{name}.ipynb").stat().st_size for name in NAMES}
    assert max(sizes.values()) < 400_000
    assert sum(sizes.values()) < 4_000_000


@pytest.mark.parametrize("name", NAMES)
def test_links_between_notebooks_lead_somewhere(name):
    text = "\n".join(source for kind, _, source in cells_of(name) if kind == "markdown")
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text.replace("\n", " ")):
        assert (FOLDER / target).exists(), target


def test_the_map_names_every_notebook():
    text = (FOLDER / "00_start_here.py").read_text(encoding="utf-8")
    assert [name for name in NAMES[1:] if f"({name}.ipynb)" not in text] == []


# Exercises


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_has_exercises_with_dots_and_solutions_folded_away(name):
    found = list(exercises_of(name))
    assert len(found) >= 3
    for i, (source, solution, exercise) in enumerate(found, 1):
        assert exercise == f"{name[:2]}.{i}"
        assert "..." in source
        assert solution.startswith("<details><summary>Solution</summary>\n\n```python\n")
        assert solution.endswith("</details>")
        assert "check(" not in solution
        ast.parse(re.search(r"```python\n(.*?)```", solution, re.DOTALL)[1])


@pytest.mark.parametrize("name", NAMES)
def test_exercises_are_stored_unanswered(name):
    shown = [
        "".join(cell["outputs"][-1]["data"]["text/plain"])
        for cell in notebook(name)["cells"]
        if "exercise" in cell["metadata"].get("tags", [])
    ]
    assert shown == [OPEN] * len(list(exercises_of(name)))


def test_every_check_belongs_to_an_exercise(exercises):
    assert sorted(exercises) == [exercise for name in NAMES for *_, exercise in exercises_of(name)]


def simple(exercises, judge):
    """The exercises whose judge was made by this function, with what it was made from."""
    for name, exercise in exercises.items():
        if exercise.judge.__qualname__.startswith(f"{judge}.") and exercise.judge.__closure__:
            inside = dict(zip(exercise.judge.__code__.co_freevars, exercise.judge.__closure__, strict=True))
            yield name, {key: cell.cell_contents for key, cell in inside.items()}


@pytest.mark.parametrize("answer", [None, "forty-two", float("nan"), 1e30, [], {}, lambda *args: None, object()])
def test_a_wrong_answer_of_any_kind_gets_a_hint_and_no_traceback(checks, exercises, answer):
    for name in exercises:
        verdict = checks.check(name, answer)
        assert verdict.ok is False, name
        assert len(verdict.text) > 20, name
        assert repr(verdict).startswith("Not yet. ")


def test_dots_are_no_answer(checks, exercises):
    for name, exercise in exercises.items():
        assert checks.check(name, ...).ok is None
        if exercise.judge.__qualname__.startswith("function."):
            assert checks.check(name, lambda *args, **kwargs: ...).ok is None, name
    assert checks.check("00.2", (280, ...)).ok is None
    assert repr(checks.check("00.1", ...)) == OPEN


def test_every_mistake_that_is_named_is_told_apart_from_the_answer_and_from_the_others(checks, exercises):
    seen = 0
    for judge in ("number", "numbers"):
        for name, inside in simple(exercises, judge):
            assert checks.check(name, inside["expected"]).ok, name
            for wrong, why in (inside["mistakes"] or {}).items():
                verdict = checks.check(name, wrong)
                assert (verdict.ok, verdict.text) == (False, why), f"{name}: {wrong}"
                seen += 1
    assert seen > 60


def test_every_choice_that_is_wrong_has_its_reason(checks, exercises):
    for name, inside in simple(exercises, "choice"):
        assert checks.check(name, f" {inside['expected'].upper()} ").ok
        for word, why in inside["others"].items():
            assert checks.check(name, word) == (False, why)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (0.02, "Right. The steepest"),
        (0.0201, "too large"),
        (0.001, "too small"),
        (-0.02, "the sign is not"),
        ("0.02", "Right"),
        ([0.02, 1.0], "Expected one number, got 2"),
    ],
)
def test_a_number_is_judged(checks, answer, said):
    assert said in repr(checks.check("01.1", answer))


def test_several_numbers_are_judged_one_by_one(checks):
    assert "1 of 3 are right; number 2, 5, is not" in checks.check("02.4", (2, 5, 5)).text
    assert "Expected 3 numbers" in checks.check("02.4", (2, 2)).text
    assert checks.check("02.4", np.array([2.0, 2.0, -4.0])).ok


WRONG = {  # functions that people write, and what is said of them
    "00.3": (lambda z, rho: min(z, rho), "clip(-7, 1)"),
    "01.4": (lambda theta, g, H: theta - H @ g, "multiplied by H"),
    "02.3": (lambda c, s: -c / s, "Newton's step still"),
    "03.4": (lambda theta, m, v, g, **s: (theta, m, v), "the new m"),
    "04.4": (lambda hvp, P, rng: hvp(-np.ones(P)) * -1, "sums of rows"),
    "05.4": (lambda p, mean_gradient, rng: len(p) * mean_gradient(p.argmax(axis=1)) ** 2, "the same each time"),
    "06.4": (
        lambda theta, m, h, g, lr, beta1, gamma, eps: (
            theta - lr * np.clip((beta1 * m + (1 - beta1) * g) / (np.abs(gamma * h) + eps), -1, 1),
            beta1 * m + (1 - beta1) * g,
        ),
        "Where h is negative or zero",
    ),
    "08.1": (lambda value, tangent: SimpleNamespace(value=np.exp(value), tangent=np.exp(value)), "times the tangent"),
    "09.4": (lambda z, target: np.log(np.exp(z).sum()) - z[target], "overflows"),
    "11.4": (lambda g, H, eta, rho: -eta * np.clip(np.linalg.solve(H, g), -rho, rho), "along the coordinates"),
    "12.1": (
        lambda intervals: "reproduced" if all(high < 0 for _, high in intervals) else "partly",
        "ends at 0 from below",
    ),
    "12.4": (lambda values: (np.mean(values), np.mean(values)), "every draw has the same mean"),
    "13.4": (lambda t, k: t % k == 1, "For k = 1 that is every step"),
}


def sophia_step(turn=1.0, inside=1.0, floor=np.maximum):
    """A step of Sophia, right by default. turn: of the sign. inside: the factor of the ratio before the clip."""

    def step(theta, m, h, g, lr, beta1, gamma, eps):
        m = beta1 * m + (1 - beta1) * g
        outside = lr if inside == 1 else 1.0
        return theta - turn * outside * np.clip(inside * m / floor(gamma * h, eps), -1, 1), m

    return step


def adam_step(theta, m, v, g, t, lr, beta1, beta2, eps):
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    return theta - lr * m / (1 - beta1**t) / np.sqrt(v / (1 - beta2**t) + eps), m, v


def judged_by_more_than_half(intervals):
    yes, no = ([high <= 0 for _, high in intervals], [low > 0 for low, _ in intervals])
    if all(yes):
        return "reproduced"
    if sum(yes) > len(intervals) / 10:
        return "partly"
    return "not reproduced at this scale" if sum(no) > len(intervals) / 2 else "underpowered"


def clipped_newton(g, H, eta, rho, back=lambda V: V, turn=lambda V: V.T):
    s, V = np.linalg.eigh(H)
    return -eta * back(V) @ np.clip(turn(V) @ g / s, -rho, rho)


@pytest.mark.parametrize(
    ("name", "answer", "said"),
    [
        ("06.4", sophia_step(turn=-1.0), "That goes uphill"),
        ("06.4", sophia_step(inside=0.1), "Clip the ratio alone"),
        ("06.4", sophia_step(floor=max), "np.maximum, np.minimum, np.clip and np.where take arrays entry by entry"),
        ("06.4", sophia_step(), "That is all of Sophia"),
        ("03.4", adam_step, "eps is added to the root, not under it"),
        ("00.3", lambda z, rho: min(z, rho), "expected -1, got -7."),
        ("05.4", lambda p, mean_gradient, rng: None, "Is `return` missing?"),
        ("08.2", (3, 15), "in another order"),
        ("09.4", lambda z, target: -np.log(np.exp(z - z.max()) / np.exp(z - z.max()).sum())[target], "p rounds to 0"),
        ("11.4", clipped_newton, "Newton's step"),
        ("12.1", lambda intervals: "Reproduced", "write them as they stand"),
        ("12.1", judged_by_more_than_half, "half is enough"),
        ("12.4", lambda values: (4.0, -1.0), "Sort the means first"),
        ("12.4", lambda values: (0.0, 5.0) if len(values) == 3 else (min(values), max(values)), "all n ** n count"),
        ("11.4", partial(clipped_newton, back=lambda V: V.T, turn=lambda V: V), "V.T turns in, V turns back"),
        ("11.4", partial(clipped_newton, back=lambda V: np.eye(3)), "turn them back"),
    ],
)
def test_what_newcomers_wrote_is_told_what_is_wrong_with_it(checks, name, answer, said):
    assert said in checks.check(name, answer).text


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("01.3", 35000),
        ("02.1", -0.003),
        ("02.1", 0.2 - 5.68 / 27.97),
        ("03.3", 0.14),
        ("07.1", 0.029),
        ("09.2", 10.82),
        ("10.2", 1.02),
        ("10.4", 0.57),
        ("12.2", (-0.46, -4.5)),
        ("12.3", 2.1),
    ],
)
def test_as_many_digits_as_are_asked_for_are_enough(checks, name, answer):
    assert checks.check(name, answer).ok


def test_what_is_said_of_more_than_the_claim_is_that_it_is_more(checks):
    verdict = checks.check("12.3", 600 * 2**0.5 / 400)  # 2.12
    assert verdict.ok
    assert "More than 2" in verdict.text


@pytest.mark.parametrize("name", WRONG)
def test_a_function_that_people_write_is_told_what_is_wrong_with_it(checks, name):
    function, said = WRONG[name]
    verdict = checks.check(name, function)
    assert verdict.ok is False
    assert said in verdict.text


def test_every_exercise_that_wants_a_function_is_among_them(exercises):
    wanted = {name for name, exercise in exercises.items() if exercise.judge.__qualname__.startswith("function.")}
    assert wanted == set(WRONG)


def test_a_function_that_raises_is_told_what_it_raised(checks):
    assert (
        checks.check("02.3", lambda c, s: c / 0).text == "The function raised ZeroDivisionError: float division by zero"
    )


def test_a_name_that_is_no_exercise_is_refused(checks):
    with pytest.raises(KeyError, match=r"'1\.1'; expected an exercise, such as '13\.1'"):
        checks.check("1.1", 0)


def test_the_judges_share_no_code_with_what_they_judge():
    for file in ("checks.py", "exercises.py"):
        tree = ast.parse((FOLDER / file).read_text(encoding="utf-8"))
        roots = {
            alias.name.partition(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        roots |= {node.module.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert roots <= {"numpy", "checks", "exercises", "difflib", "textwrap", "collections", "typing"}
