"""What is displayed is true: the numbers shown, put into the formula shown, give the result shown.

A page is read as a reader would: the settings from the first one, then step by step what each line says is computed
from what the lines before it, and the step before, have shown.
"""

import itertools
import math
import re
import unicodedata

import numpy as np
import pytest

import sophia_ref as sr
from sophia_ref.equations import DIRECTIONS, EQUATIONS
from sophia_ref.explain import show
from sophia_ref.optimizers import description
from sophia_ref.settings import TOYS
from toy_problems.landscapes import REGISTRY

NUMBER = r"\d+\.?\d*(?:e-?\d+)?|∞"
FUNCTIONS = {"max": max, "sign": np.sign, "clip": lambda x, rho: max(-rho, min(x, rho)), "root": math.sqrt, "abs": abs}


def landscape(name, variance=0.0):
    return REGISTRY[name].noisy(variance) if variance else REGISTRY[name]


OPTIMIZERS = {name: make(2.6, 68.8) for name, make in TOYS.items()} | {
    "decay": sr.Sophia(0.1, beta1=0.5, beta2=0.5, gamma=0.5, weight_decay=0.3, every=1, estimator=sr.exact_diagonal),
    "every": sr.SophiaH(0.1, gamma=0.3, every=3, beta2=0.8),
    "paper": sr.SophiaH(0.01),
    "wide": sr.Sophia(0.1, gamma=1.0, clip=2.5, every=1, beta2=0.5, estimator=sr.exact_diagonal),
    "unclipped": sr.Sophia(1e-14, gamma=1.0, clip=np.inf, every=1, beta2=0.5, estimator=sr.exact_diagonal),
    "arrays": sr.Sophia(np.array([0.1, 0.2]), gamma=np.array([1.0, 2.0]), weight_decay=np.array([0.0, 0.1]), every=2),
    "schedule": sr.AdamW(sr.cosine(0.3, 8, warmup=3), weight_decay=0.1),
    "adahessian decay": sr.AdaHessian(0.1, weight_decay=0.2),
    "lion decay": sr.Lion(0.05, weight_decay=0.2),
    "signum decay": sr.Signum(0.05, weight_decay=0.2),
    "saddle-free damped": sr.SaddleFreeNewton(0.3, damping=2.0),
}


def interval(shown, exact=False):
    """The least and the greatest number that is shown like this: with five digits it is itself, else it may have been
    rounded in the fourth."""
    x = float(shown.replace("∞", "inf"))
    if exact or x == 0 or math.isinf(x):
        return x, x
    digits = re.sub(r"e.*|[-.]", "", shown).lstrip("0")
    half = 0.0 if len(digits) > 4 else 0.5 * 10.0 ** (math.floor(math.log10(abs(x))) - 3)
    return x - half, x + half


def evaluate(text, known):
    """The least and the greatest value of a displayed formula.

    known: {name: (least, greatest)}. Every formula is monotone in each of its numbers, so that corners are enough.
    """
    names = "|".join(map(re.escape, sorted(known, key=len, reverse=True))) or "(?!)"
    ranges = {}

    def variable(match):
        shown = match[0]
        if shown in FUNCTIONS:
            return shown
        key = shown if shown in known else match.start()  # a name is one number wherever it is
        ranges.setdefault(key, known.get(shown) or interval(shown))
        return f"v[{list(ranges).index(key)}]"

    known = known | {"one": (1.0, 1.0)}
    text = re.sub(r"\(1(?= ?- ?)", "(one", text)  # not a rounded number
    text = re.sub(r"\|(.*?)\|", r"abs(\1)", text)
    text = re.sub(rf"√({NUMBER}|{names})", r"root(\1)", text)
    code = re.sub(rf"[a-z]+(?=\()|{NUMBER}|one|(?:{names})(?![a-z])", variable, text)
    code = code.replace("·", "*").replace("²", "**2").replace("^", "**")
    assert re.fullmatch(r"[v\d\[\]\s()+\-*/,]*", re.sub("|".join(FUNCTIONS), "", code)), (text, code)
    values = [eval(code, {"v": corner, **FUNCTIONS}) for corner in itertools.product(*ranges.values())]
    return min(values), max(values)


def agrees(text, result, known):
    """Whether the result that is shown may be that of the formula, up to rounding in the optimizer's own arithmetic."""
    low, high = evaluate(text, known)
    least, greatest = interval(result)
    tiny = 1e-12 * max(abs(low), abs(high))
    return low - tiny <= greatest and least <= high + tiny


def unbroken(page):
    """The lines of a page, with those rejoined that were broken in two."""
    lines = []
    for line in page.splitlines():
        if line.startswith("   "):
            lines[-1] += " = " + line.strip().removeprefix("= ")
        else:
            lines.append(line)
    return lines


def settings_of(page, opt):
    """{symbol: (least, greatest)} of the first page."""
    shown = re.findall(rf"(\S+) = ({NUMBER})(?:,|$)", page.partition("\n\n")[2].replace(",\n  ", ", "), re.MULTILINE)
    numbers = [x for x in vars(opt).values() if isinstance(x, float | int)]
    return {symbol: interval(x, exact=float(x.replace("∞", "inf")) in numbers) for symbol, x in shown}


def rows_of(page):
    """(block title, name, parts): what the lines of a page with an equation say."""
    title = ""
    for line in unbroken(page):
        if re.match(r"\S", line):
            title = line
        elif re.match(r"  \S+ +[=←] ", line) and not line.endswith("."):
            line = line.removesuffix("  clipped")
            name, rest = re.match(r"  (\S+) +[=←] (.*)", line).groups()
            yield title, name, [part.strip() for part in rest.split(" = ")]


def pages(problem, opt, steps):
    inspector = sr.Inspector(problem, opt, seed=3)
    yield repr(inspector)
    for _ in range(steps):
        yield repr(inspector.forward())


every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)
surfaces = pytest.mark.parametrize(
    "problem", [landscape("sophia_fig2"), landscape("rosenbrock", 0.25), landscape("himmelblau")], ids=lambda p: p.name
)


@surfaces
@every_optimizer
def test_the_numbers_in_place_give_the_result(name, problem):
    first, *rest = pages(problem, OPTIMIZERS[name], 6)
    exact = {show(low): (low, high) for low, high in settings_of(first, OPTIMIZERS[name]).values() if low == high}
    for t, page in enumerate(rest, 1):
        rows = [(row, parts) for *row, parts in rows_of(page) if len(parts) == 3]
        assert len(rows) >= 2
        for row, (_, numbers, result) in rows:
            assert agrees(numbers, result, exact | {str(t): (t, t)}), (row, numbers, result)


@surfaces
@every_optimizer
def test_the_formula_of_what_was_shown_before_gives_the_result(name, problem):
    opt = OPTIMIZERS[name]
    first, *rest = pages(problem, opt, 6)
    kept = {}  # by coordinate, what is remembered from the step before
    for t, page in enumerate(rest, 1):
        settings, seen = settings_of(first, opt) | {"t": (t, t)}, 0
        for title, rows in itertools.groupby(rows_of(page), lambda row: row[0]):
            known = dict(settings)
            if coordinate := re.match(r"(.): (\S+) →", title):
                known |= {coordinate[1]: interval(coordinate[2]), "m": (0, 0), "v": (0, 0), "h": (0, 0)}
                known |= kept.get(title[0], {})
            elif curvature := re.search(r"curvature s = (\S+)", title):
                known["s"] = interval(curvature[1])
            for _, quantity, (*formula, result) in rows:
                symbols = set(re.findall(r"[ηγλ]", formula[0])) if formula else set()
                asked = quantity == "ĥ" or re.search("∂|Σ", str(formula))  # sums have a test of their own
                if formula and not asked and symbols <= known.keys():
                    seen += 1
                    assert agrees(formula[0], result, known), (title, quantity, formula, result)
                known[quantity] = interval(result)
                if quantity in ("m", "v", "h"):
                    kept.setdefault(title[0], {})[quantity] = known[quantity]
        assert seen or name in ("arrays", "schedule")


@every_optimizer
def test_sums_over_coordinates_are_those_of_the_vectors_shown(name):
    """c = Σ v·g with the eigenvector of a title and the gradient of the coordinates; update = Σ v·q over directions."""
    for page in list(pages(landscape("himmelblau"), OPTIMIZERS[name], 4))[1:]:
        rows = list(rows_of(page))
        vectors = [re.search(r"v = \((.*)\)", title) for title, _, _ in rows if title.startswith("direction")]
        if not vectors:
            continue
        vectors = list(dict.fromkeys(v[1] for v in vectors))
        g, q, c, update = ([parts[-1] for _, name, parts in rows if name == key] for key in ("g", "q", "c", "update"))
        for vector, shown in zip(vectors, c, strict=True):
            total = " + ".join(f"({a})·({b})" for a, b in zip(vector.split(", "), g, strict=True))
            assert agrees(total, shown, {})
        for components, shown in zip(zip(*(v.split(", ") for v in vectors), strict=True), update, strict=True):
            assert agrees(" + ".join(f"({a})·({b})" for a, b in zip(components, q, strict=True)), shown, {})


def test_the_hessian_that_is_shown_is_that_of_a_quadratic():
    H = np.array([[3.0, 1.0, -1.0], [1.0, 2.0, 0.5], [-1.0, 0.5, 4.0]])
    inspector = sr.Inspector(lambda theta: (theta @ H * theta).sum(-1) / 2, sr.Newton(1.0), np.ones(3))
    rows = {name: parts[-1] for _, name, parts in rows_of(repr(inspector.forward()))}
    shown = {
        f"H{i + 1}{j + 1}".translate(str.maketrans("123", "₁₂₃")): show(H[i, j]) for i in range(3) for j in range(i, 3)
    }
    assert {name: rows[name] for name in shown} == shown


# -- the terms themselves ----------------------------------------------------------------------------------------------


@every_optimizer
def test_every_term_of_the_step_is_shown(name):
    inspector = sr.Inspector(landscape("sophia_fig2"), OPTIMIZERS[name]).forward(2)
    hat = {"h_hat": "ĥ", "m_hat": "m̂", "v_hat": "v̂"}
    rows = {(title[0], name): parts for title, name, parts in rows_of(repr(inspector))}
    for term, array in inspector.terms.items():
        if array.shape == (2,) and term not in ("clipped", "eigenvalues"):
            if term == "update" and ("x", "update") not in rows:  # gradient descent's is g, momentum's is m
                assert type(inspector.opt) in (sr.GradientDescent, sr.Momentum)
                continue
            along = (("x", "y"), ("d", "d"))[term in ("c", "q", "ratio") and "eigenvalues" in inspector.terms]
            shown = [rows[axis, hat.get(term, term)][-1] for axis in along]
            assert shown[-1] == show(array[1])
            assert shown[0] == show(array[0]) or along == ("d", "d")


def test_every_optimizer_of_the_package_has_equations_of_its_own_or_of_what_it_is():
    for cls in description.OPTIMIZERS.values():
        assert set(cls.__mro__) & set(EQUATIONS)
        if hasattr(cls, "rule"):
            assert cls in DIRECTIONS


def test_clipped_is_said_of_exactly_the_clipped_coordinates():
    inspector = sr.Inspector(landscape("sophia_fig2"), OPTIMIZERS["sophia"])
    seen = set()
    for _ in range(20):
        blocks = repr(inspector.forward()).split("\n\n")[1:]
        said = ["  clipped" in block for block in blocks]
        assert said == inspector.terms["clipped"].tolist()
        seen |= set(map(tuple, [said]))
    assert len(seen) > 2


def test_an_optimizer_of_ones_own_is_shown_by_its_terms():
    class Halving:
        def init(self, theta):
            return None

        def step(self, theta, state, oracle):
            return sr.Step(theta / 2, None, {"g": oracle.grad(), "half": theta / 2, "norm": np.array([1.0])})

    page = repr(sr.Inspector(lambda theta: (theta**2).sum(-1), Halving(), np.array([1.0, 3.0])).forward())
    assert page.splitlines()[-3:] == ["θ[1]: 3 → 1.5", "  g    = 6", "  half = 1.5"]


# -- remarks -----------------------------------------------------------------------------------------------------------


def hill(theta):
    return -(theta**2).sum(-1)


def bowl(theta):
    return (theta**2).sum(-1)


def sophia(**settings):
    return sr.Sophia(0.1, **{"gamma": 1.0, "every": 1, "estimator": sr.exact_diagonal, **settings})


def spoken(opt, theta, loss, steps=1):
    """What is said in words about the last of these steps."""
    page = repr(sr.Inspector(loss, opt, np.array(theta)).forward(steps))
    return [line.strip() for line in page.splitlines() if line.endswith(".")]


@pytest.mark.parametrize(
    ("opt", "loss", "said"),
    [
        (sophia(), hill, ["h < 0: the denominator is ε, and the step is η times the sign of m."]),
        (sophia(clip=2.0), hill, ["h < 0: the denominator is ε, and the step is η·ρ times the sign of m."]),
        (
            sophia(clip=np.inf, beta1=0.5),
            hill,
            ["h < 0: the denominator is ε, and the step is η·m/ε.", "ρ = ∞: nothing is clipped."],
        ),
        (sophia(weight_decay=0.1), bowl, ["Before the step, weight decay shrinks θ by the factor 1 - η·λ."]),
        (sophia(), bowl, []),
        (sophia(), lambda theta: theta.sum(-1), ["γ·h < ε: the denominator is ε."]),
        (sr.Adam(0.1), bowl, ["t = 1: m̂ = g and v̂ = g², and the update is the sign of g but for ε."]),
        (sr.AdaHessian(0.1), hill, ["ĥ < 0: v holds squares, and the sign is lost."]),
        (sr.SignGD(0.1), lambda theta: 0 * theta.sum(-1), ["sign(0) = 0: no step."]),
        (sr.Lion(0.1), lambda theta: 0 * theta.sum(-1), ["sign(0) = 0."]),
        (sr.Lion(0.1, weight_decay=0.1), bowl, ["λ·θ in the update is weight decay."]),
        (sr.Newton(1.0), hill, ["s < 0: the step climbs along v."]),
        (sr.Newton(1.0), lambda theta: theta.sum(-1), ["There is no curvature along v but for rounding: no step."]),
        (sr.ClippedNewton(1.0, rho=1.0), hill, ["s < 0: the step climbs along v."]),
        (sr.ClippedNewton(1.0, rho=1.0), lambda theta: theta.sum(-1), []),
        (sr.DampedNewton(1.0, damping=1.0), hill, ["s + δ < 0: the step climbs along v."]),
        (sr.DampedNewton(1.0, damping=3.0), hill, []),
        (sr.SaddleFreeNewton(1.0), hill, ["s < 0, but |s| counts: the step descends along v."]),
    ],
)
def test_what_matters_is_said_in_words(opt, loss, said):
    assert spoken(opt, [1.5], loss) == said


def test_a_kept_h_says_when_it_is_estimated_again():
    opt = sophia(every=3)
    said = {t: spoken(opt, [1.5], bowl, t) for t in range(1, 8)}
    for t in (1, 4, 7):
        assert said[t] == []
    for t, following in ((2, 4), (3, 4), (5, 7), (6, 7)):
        assert said[t] == [f"h is kept: it is estimated every 3 steps, next in step {following}."]


def test_adahessian_says_that_it_averages_over_blocks():
    opt = sr.AdaHessian(0.1, layout=sr.Layout({"w": (1, 2)}))
    assert spoken(opt, [1.0, 2.0], bowl) == ["D is the mean of ĥ over a block of its tensor."] * 2


# -- layout ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 60])
@every_optimizer
def test_pages_are_no_wider_than_asked(name, width):
    for problem in (landscape("goldstein_price", 1e6), landscape("beale", 1e-9)):
        inspector = sr.Inspector(problem, OPTIMIZERS[name], seed=1)
        for _ in range(10):
            for _, line in inspector.lines(width):
                shown = [letter for letter in line if not unicodedata.combining(letter)]
                # titles and remarks are not broken; none has more than 80
                assert len(shown) <= width or (width < 80 and len(shown) <= 80 and line.split()[0] not in OPTIMIZERS)
            try:
                inspector.forward()
            except FloatingPointError:
                break
