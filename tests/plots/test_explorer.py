"""The explorer without a browser: what is refused, and what is put into the page. `make test-web` opens it."""

import json
import re
from dataclasses import replace
from importlib.resources import files
from types import SimpleNamespace

import numpy as np
import pytest

import sophia_ref as sr
from sophia_ref import optimizers
from sophia_ref.plots import explore
from sophia_ref.plots.explorer import SCRIPTS
from sophia_ref.plots.explorer.trace import trace
from sophia_ref.plots.style import style_of
from sophia_ref.settings import TOYS
from toy_problems.landscapes import REGISTRY, rotated_quadratic

BOWL = REGISTRY["booth"]


def data_of(page):
    return json.loads(re.search(r"^const DATA = (.*);$", page.html, re.MULTILINE)[1])


def with_surface(surface):
    return replace(BOWL, name="own", surface=surface)


def test_the_page_holds_the_landscapes_as_they_are():
    data = data_of(explore("himmelblau"))
    assert data["problem"] == "himmelblau"
    assert {one["name"] for one in data["landscapes"]} == set(REGISTRY)
    for one in data["landscapes"]:
        landscape = REGISTRY[one["name"]]
        for name in ("domain", "start", "minima", "saddles", "maxima"):
            np.testing.assert_array_equal(
                np.reshape(one[name], np.shape(getattr(landscape, name))), getattr(landscape, name)
            )


def test_optimizers_look_as_they_do_in_every_picture_and_have_the_toy_settings():
    data = data_of(explore())
    for look, (key, _) in zip(data["optimizers"], TOYS.items(), strict=True):
        style = style_of(look["rule"])
        assert look["key"] == key
        assert (look["color"], look["marker"], look["line"]) == (style["color"], style["marker"], style["linestyle"])
    booth = next(one for one in data["landscapes"] if one["name"] == "booth")
    # H = [[10, 8], [8, 10]] has the largest eigenvalue 18; the domain's side is 20
    assert booth["defaults"]["gd"] == {"class": "GradientDescent", "lr": 1 / 18}
    assert booth["defaults"]["sophia"]["gamma"] == 2


@pytest.mark.parametrize("key", TOYS)
def test_rows_of_the_state_are_terms_of_a_step_with_the_formulas_of_the_inspector(key):
    rows = next(look["rows"] for look in data_of(explore())["optimizers"] if look["key"] == key)
    opt, theta = TOYS[key](1.0, 1.0), BOWL.start
    terms = opt.step(theta, opt.init(theta), sr.Oracle(BOWL, theta, rng=np.random.default_rng(0))).terms
    assert {name for name, *_ in rows} <= set(terms) | {"theta", "gamma_h"}
    assert not any("{" in text for row in rows for text in row)
    if key == "sophia":
        assert ["h", "h", "β₂·h + (1-β₂)·ĥ"] in rows
        assert ["h_hat", "ĥ", "exact_diagonal"] in rows


def test_a_landscape_of_ones_own_takes_the_place_of_the_one_that_has_its_name():
    data = data_of(explore(rotated_quadratic(7.0)))
    titles = [one["title"] for one in data["landscapes"] if one["name"] == "rotated_quadratic"]
    assert titles == ["Rotated quadratic, condition number 7"]
    assert len(data["landscapes"]) == len(REGISTRY)


def test_noise_of_the_landscape_is_what_the_page_begins_with():
    noisy = data_of(explore(BOWL.noisy(0.25)))
    assert next(one for one in noisy["landscapes"] if one["name"] == "booth")["noise"] == pytest.approx(0.5)
    with pytest.raises(ValueError, match=r"noise of covariance \[\[1.*expected the same for each coordinate"):
        explore(BOWL.noisy(np.diag([1.0, 4.0])))


def test_a_notebook_gets_a_frame_that_holds_the_whole_page():
    page = explore()
    assert page._repr_html_().startswith('<iframe srcdoc="&lt;!DOCTYPE html&gt;')
    assert "<" not in page._repr_html_().removeprefix("<iframe").removesuffix("</iframe>")
    assert repr(page) == "Page()"


def test_no_text_of_a_landscape_can_end_the_script_that_holds_it():
    trap = "</script><script>alert(1)</script>"
    page = explore(replace(BOWL, name=trap, title=trap, note=trap))
    assert page.html.count("<script>") == len(SCRIPTS) + 1
    assert next(one for one in data_of(page)["landscapes"] if one["name"] == trap)["note"] == trap


@pytest.mark.parametrize(
    ("problem", "error", "message"),
    [
        ("rosenbrok", ValueError, "problem: 'rosenbrok' is not a problem; did you mean 'rosenbrock'?"),
        (np.sum, TypeError, "has no .f; expected a landscape"),
        (None, TypeError, "landscape: None has no .f"),
        (replace(BOWL, domain=((0, 1), (0, 1), (0, 1))), ValueError, "only two dimensions can be drawn"),
        (with_surface(lambda x, y: 0 * x), ValueError, "expected finite ones that differ"),
        (with_surface(lambda x, y: np.floor(x) + y), TypeError, "uses np.floor, which cannot be traced"),
    ],
)
def test_what_cannot_be_shown_is_refused_by_name(problem, error, message):
    with pytest.raises(error, match=re.escape(message)):
        explore(problem)


# -- the tracer --------------------------------------------------------------------------------------------------------


def run_program(program, x, y):
    """The value of a traced program: its one-line calls, read as Python with NumPy's functions."""
    o = SimpleNamespace(
        constant=float, **{name: getattr(np, name) for name in set(re.findall(r"o\.(\w+)\(", program)) - {"constant"}}
    )
    names = {"o": o, "x": x, "y": y, "Infinity": np.inf}
    for name, call in re.findall(r"const (\w+) = (.*);", program):
        names[name] = eval(call, {}, names)
    return names[re.search(r"return (\w+);\n  };", program)[1]]


@pytest.mark.parametrize("name", REGISTRY)
def test_a_program_has_the_values_of_the_function_to_the_last_bit(name):
    landscape = REGISTRY[name]
    program = trace(landscape.f)
    points = np.random.default_rng(0).uniform(*np.transpose(landscape.domain), (50, 2))
    assert [float(run_program(program, *theta)) for theta in points] == [float(landscape.f(theta)) for theta in points]


def test_what_is_computed_twice_is_written_once():
    program = trace(lambda theta: np.exp(theta[..., 0] * 2.5) + np.exp(theta[..., 0] * 2.5))
    assert program.count("o.exp(") == program.count("o.multiply(") == program.count("o.constant(") == 1


def test_truths_are_numbers_where_numbers_are_wanted_and_numbers_truths():
    def f(theta):
        x, y = theta[..., 0], theta[..., 1]
        return (x > 0) * y + np.where(y, 3.0, 5.0) + np.logical_not(x) + (~(x < 1) & (y != 0)) + (x > y)

    for theta in np.array([[1.0, 2.0], [-1.0, 0.0], [0.0, 0.5], [3.0, -2.0]]):
        assert float(run_program(trace(f), *theta)) == float(f(theta))


REFUSED = {
    "np.floor": lambda theta: np.floor(theta[..., 0]),
    "np.sinc": lambda theta: np.sinc(theta[..., 0]),
    "np.add.reduce": lambda theta: np.add.reduce(theta[..., 0]),
    "np.power of theta as a whole": lambda theta: theta**2,
    "np.matmul of theta as a whole": lambda theta: theta @ np.ones(2),
    "np.sum of theta as a whole": lambda theta: np.sum(theta),
    "theta.sum": lambda theta: theta.sum(),
    "theta[slice(None, None, None)]": lambda theta: theta[:],
    "a branch on theta": lambda theta: theta[..., 0] if theta[..., 0] > 0 else 0.0,
    "theta as a Python number": lambda theta: float(theta[..., 0]),
    "theta as an array": lambda theta: np.asarray(theta[..., 0]),
    "array([1., 1.])": lambda theta: theta[..., 0] * np.ones(2),
    "'x'": lambda theta: "x",
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_traced_is_refused_by_name(what):
    with pytest.raises(TypeError, match=f"the landscape uses {re.escape(what)}"):
        trace(REFUSED[what])


# -- the JavaScript ----------------------------------------------------------------------------------------------------


def test_the_rules_have_the_names_that_they_have_in_python():
    text = files("sophia_ref.plots.explorer").joinpath("rules.js").read_text(encoding="utf-8")
    functions = set(re.findall(r"^function (\w+_update)\(", text, re.MULTILINE))
    assert functions == {name for name in optimizers.__all__ if name.endswith("_update")}
    rules = {one["rule"] for one in data_of(explore())["optimizers"]}
    assert rules <= set(re.findall(r"^  (\w+): optimizer\(", text, re.MULTILINE)) | {"SophiaH"}
