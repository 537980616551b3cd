"""The page's JavaScript against the Python: landscapes, their derivatives, and every term of every rule.

Rules are compared one step at a time, since whole runs are chaotic: JavaScript is given NumPy's point, state, gradient
noise and probes, and asks its own jets for derivatives. Terms agree if they differ by at most 1e-9 of the term's
largest coordinate: a small one beside it may come from a cancellation. (They agree to 1e-13 over 4,200 settings.)
"""

import math
from dataclasses import replace

import numpy as np
import pytest

import sophia_ref as sr
from sophia_ref.optimizers.description import describe
from sophia_ref.plots.explorer.trace import KNOWN, trace
from sophia_ref.settings import TOYS, scale
from toy_problems.landscapes import REGISTRY

RELATIVE = 1e-9
SETTINGS = 4  # random settings for each optimizer on each landscape
SCALES = {name: scale(landscape) for name, landscape in REGISTRY.items()}


class Draws:
    """Stands for a generator: hands out what it was given."""

    def __init__(self, normal, signs):
        self.normal, self.signs = normal, signs

    def standard_normal(self, shape, dtype):
        return self.normal

    def integers(self, low, high, shape):
        return (self.signs + 1) // 2


def random_optimizer(key, landscape, rng):
    """The toy optimizer of this name with every setting drawn anew."""
    opt = TOYS[key](*SCALES[landscape.name])
    changes = {"lr": opt.lr * 10 ** rng.uniform(-2, 1)}
    for name in ("beta", "beta1", "beta2"):
        changes[name] = float(rng.choice([0.0, rng.uniform(0, 1), 1 - 10 ** rng.uniform(-4, -1)]))
    changes["weight_decay"] = float(rng.choice([0.0, 10 ** rng.uniform(-3, 0)]))
    changes["every"] = int(rng.integers(1, 6))
    changes["clip"] = float(rng.choice([math.inf, 10 ** rng.uniform(-2, 2)]))
    for name in ("gamma", "damping", "rho"):
        changes[name] = getattr(opt, name, 1.0) * 10 ** rng.uniform(-2, 2)
    return replace(opt, **{name: value for name, value in changes.items() if hasattr(opt, name)})


def random_state(opt, rng, grad, curvature):
    """A state as it may be after some steps: zeros at t = 0, else memories of the size of what they average."""
    t = int(rng.choice([0, rng.integers(1, 100)]))
    sizes = {"m": np.abs(grad).max(), "h": curvature, "v": (curvature if opt.name == "AdaHessian" else grad.max()) ** 2}
    memory = {name: sizes[name] * rng.normal(size=2) * (t > 0) for name in opt.State._fields[1:]}
    return opt.State(t, **{name: np.abs(array) if name == "v" else array for name, array in memory.items()})


def cases():
    """What JavaScript is handed, and beside it the Step that Python takes."""
    rng = np.random.default_rng(0)
    for name, landscape in REGISTRY.items():
        low, high = np.transpose(landscape.domain)
        for key in TOYS:
            for _ in range(SETTINGS):
                opt = random_optimizer(key, landscape, rng)
                theta = rng.uniform(low, high)
                oracle = sr.Oracle(landscape, theta)
                xi = float(rng.choice([0.0, 1.0])) * np.abs(oracle.grad()).max() * rng.normal(size=2)
                normal, signs = rng.normal(size=2), rng.choice([-1.0, 1.0], 2)
                state = random_state(opt, rng, np.abs(oracle.grad()), SCALES[name][1])
                noisy = sr.Oracle(landscape.noisy(1.0), theta, xi, Draws(normal, signs))
                described = describe(opt)[0]
                handed = {
                    "landscape": name,
                    "rule": described.pop("class"),
                    "settings": described,
                    "theta": theta.tolist(),
                    "state": {field: np.asarray(getattr(state, field)).tolist() for field in state._fields},
                    "xi": xi.tolist(),
                    "normal": normal.tolist(),
                    "signs": signs.tolist(),
                }
                yield handed, opt.step(theta, state, noisy), noisy.cost


# One step of each case.
STEP = """cases => cases.map(({ landscape, rule, settings, theta, state, xi, normal, signs }) => {
    const queue = (values) => { const left = [...values]; return () => left.shift(); };
    const oracle = new Oracle(landscapes[landscape].jet, theta, xi, { normal: queue(normal), sign: queue(signs) });
    const step = OPTIMIZERS[rule].step(theta, state, oracle, revive(settings));
    return { theta: step.theta, state: step.state, terms: step.terms, cost: oracle.cost };
})"""


@pytest.fixture(scope="module")
def page(browser, file):
    """One page for all that changes nothing in it."""
    page = browser.new_page()
    page.goto(file.as_uri())
    return page


@pytest.fixture(scope="module")
def steps():
    return list(cases())


def agree(ours, theirs):
    """Whether they differ by at most RELATIVE of the largest coordinate."""
    ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
    if np.array_equal(ours, theirs):  # infinities too
        return True
    return bool(np.abs(ours - theirs).max() <= RELATIVE * np.abs(theirs).max())


def test_every_term_of_every_rule_is_that_of_python(page, steps):
    answers = page.evaluate(STEP, [handed for handed, *_ in steps])
    assert len(steps) >= 200
    worst = []
    for (handed, step, cost), answer in zip(steps, answers, strict=True):
        assert (answer["cost"], set(answer["terms"])) == (cost, set(step.terms))
        flips = eigenvector_signs(answer["terms"], step.terms)
        ours = {name: flips(name, term) for name, term in answer["terms"].items()} | {"theta": answer["theta"]}
        theirs = step.terms | {"theta": step.theta}
        for name in theirs:
            if not agree(ours[name], theirs[name]):
                worst.append((handed, name, ours[name], theirs[name]))
        for name in step.state._fields:
            assert agree(answer["state"][name], getattr(step.state, name)), (handed, name)
    assert worst == []


def test_a_wrong_rule_would_be_noticed(open_page, steps):
    page = open_page()
    page.evaluate("() => { momentum_update = (theta, m, g, { lr }) => gradient_descent_update(theta, g, { lr }); }")
    ours = [
        (h, s) for h, s, _ in steps if h["rule"] == "Momentum" and h["state"]["t"] > 0 and h["settings"]["beta"] > 0
    ]
    answers = page.evaluate(STEP.replace("state: step.state,", ""), [handed for handed, _ in ours])
    assert not any(agree(answer["theta"], step.theta) for answer, (_, step) in zip(answers, ours, strict=True))


def eigenvector_signs(ours, theirs):
    """Eigenvectors are known up to their signs: a function that gives a term of ours the signs of theirs."""
    if "eigenvectors" not in theirs:
        return lambda name, term: term
    signs = np.sign((np.array(ours["eigenvectors"]) * theirs["eigenvectors"]).sum(axis=0))
    return lambda name, term: np.array(term) * signs if name in ("eigenvectors", "c", "q", "ratio") else term


# -- landscapes and jets -----------------------------------------------------------------------------------------------

JET = """({ program, points }) => {
    const f = eval(program), value = f(plain), jet = jet_function(f(jets));
    return points.map(([x, y]) => [value(x, y), ...jet(x, y)]);
}"""


def jets_and_numpy(page, f, points):
    """(n, 6) from the page and from sophia_ref: value, gradient, and the Hessian's xx, xy, yy."""
    answers = np.array(page.evaluate(JET, {"program": trace(f), "points": points.tolist()}), float)
    assert np.array_equal(answers[:, 0], answers[:, 1], equal_nan=True)
    values = np.array([f(theta) for theta in points])
    grads = np.array([sr.grad(f)(theta) for theta in points])
    hessians = np.array([sr.hessian(f)(theta) for theta in points]).reshape(-1, 4)[:, [0, 1, 3]]
    return answers[:, 1:], np.column_stack([values, grads, hessians])


@pytest.mark.parametrize("name", REGISTRY)
def test_value_gradient_and_hessian_of_every_landscape_are_those_of_python(page, name):
    landscape, rng = REGISTRY[name], np.random.default_rng(1)
    low, high = np.transpose(landscape.domain)
    points = np.concatenate([rng.uniform(low, high, (200, 2)), landscape.critical_points, landscape.start[None]])
    ours, theirs = jets_and_numpy(page, landscape.f, points)
    for columns in ([0], [1, 2], [3, 4, 5]):  # each beside the largest of its kind on this landscape
        size = np.abs(theirs[:, columns]).max()
        np.testing.assert_allclose(ours[:, columns], theirs[:, columns], rtol=RELATIVE, atol=1e-13 * size)


def test_the_tip_of_ackleys_cone_is_where_its_gradient_is_zero(page):
    ours, theirs = jets_and_numpy(page, REGISTRY["ackley"].f, np.zeros((1, 2)))
    np.testing.assert_array_equal(ours[0, :3], [0, 0, 0])
    np.testing.assert_allclose(ours[0, 3:], [2 * np.pi**2 * np.e, 0, 2 * np.pi**2 * np.e], rtol=1e-14)  # the waves'
    np.testing.assert_allclose(ours, theirs, rtol=1e-14)


def inner(theta):
    """Two numbers in (0, 1) that both depend on x and y."""
    x, y = theta[..., 0], theta[..., 1]
    return 0.5 + 0.3 * np.sin(x + 2 * y), 0.5 + 0.3 * np.cos(2 * x - y)


OPERATIONS = {ufunc.__name__: ufunc for ufunc in sorted(KNOWN, key=lambda ufunc: ufunc.__name__)}


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_has_the_derivatives_that_python_has(page, name):
    ufunc = OPERATIONS[name]
    shift = 1.0 if name == "arccosh" else 0.0

    def f(theta):
        a, b = inner(theta)
        return ufunc(a + shift) if ufunc.nin == 1 else ufunc(a, b) * ufunc(a, 0.7) + ufunc(1.3, b)

    points = np.random.default_rng(2).uniform(-2, 2, (40, 2))
    np.testing.assert_allclose(*jets_and_numpy(page, f, points), rtol=RELATIVE, atol=1e-12)


def piecewise(theta):
    x, y = theta[..., 0], theta[..., 1]
    corner = np.logical_and(x > 0, ~(y >= 0.5)) | (x == y)
    return np.where(corner, x**2 * y, np.clip(x * y, -0.2, 0.2)) + (x < y) * y + np.where(x, 1.0, 2.0) * abs(y)


def powers(theta):
    x, y = theta[..., 0], theta[..., 1]
    return x**0 + x**1 + y**3 + (x**2 + 0.1) ** 1.5 + x**2 / (1 + y**2) ** -2


@pytest.mark.parametrize("f", [piecewise, powers])
def test_branches_and_powers_have_the_derivatives_that_python_has(page, f):
    points = np.random.default_rng(3).uniform(-1, 1, (100, 2))
    points[:10, 0] = 0.0
    points[10:20, 1] = points[10:20, 0]
    np.testing.assert_allclose(*jets_and_numpy(page, f, points), rtol=RELATIVE, atol=1e-12)


def test_ties_are_halved_as_in_python(page):
    tie = np.array([[0.5, 0.5]])
    f = lambda theta: np.maximum(theta[..., 0] ** 2, theta[..., 1]) + np.minimum(theta[..., 0], theta[..., 1] ** 3)  # noqa: E731
    np.testing.assert_allclose(*jets_and_numpy(page, f, tie), rtol=1e-15)


# -- runs --------------------------------------------------------------------------------------------------------------

RUN = """({ landscape, key, steps, start }) => {
    const { rule } = look_of(key), { defaults } = landscapes[landscape];
    return run(landscapes[landscape], rule, revive(defaults[key]), start, steps, 0, 0);
}"""


@pytest.mark.parametrize("key", ["sophia", "gd", "newton", "adam", "momentum"])
def test_a_run_is_recorded_as_in_python(page, key):
    landscape = REGISTRY["rotated_quadratic"]  # nothing chaotic
    ours = page.evaluate(RUN, {"landscape": landscape.name, "key": key, "steps": 12, "start": landscape.start.tolist()})
    theirs = sr.run(landscape, TOYS[key](*SCALES[landscape.name]), 12)
    np.testing.assert_allclose(ours["trajectory"], theirs.trajectory, rtol=RELATIVE, atol=1e-12)
    np.testing.assert_allclose(ours["losses"], theirs.losses, rtol=RELATIVE, atol=1e-12)
    assert ours["cost"] == theirs.cost.tolist()
    assert ours["diverged_at"] is None
    assert len(ours["terms"]) == 13


def test_a_run_diverges_where_it_does_in_python(page):
    landscape, opt = REGISTRY["sophia_fig2"], sr.GradientDescent(0.2)
    theirs = sr.run(landscape, opt, 30)
    ours = page.evaluate(
        "([start]) => run(landscapes.sophia_fig2, 'GradientDescent', { lr: 0.2 }, start, 30, 0, 0)",
        [landscape.start.tolist()],
    )
    assert ours["diverged_at"] == theirs.diverged_at
    assert len(ours["trajectory"]) == len(theirs.trajectory) - 1 == len(ours["terms"]) + 1


def test_the_random_numbers_are_normal_signs_and_repeatable(page):
    draw = "seed => { const d = random(seed); return Array.from({ length: 40000 }, () => [d.normal(), d.sign()]); }"
    normal, signs = np.transpose(page.evaluate(draw, 7))
    assert set(signs) == {-1.0, 1.0}
    # standard errors over 40,000: 0.005 of the means, 0.007 of the variance, 0.024 of the fourth moment's 3 (x 4)
    np.testing.assert_allclose([normal.mean(), signs.mean()], 0, atol=0.025)
    np.testing.assert_allclose(normal.var(), 1, atol=0.03)
    np.testing.assert_allclose((normal**4).mean(), 3, atol=0.2)
    np.testing.assert_allclose(np.corrcoef(normal[1:], normal[:-1])[0, 1], 0, atol=0.025)
    np.testing.assert_array_equal(np.transpose(page.evaluate(draw, 7))[0], normal)
    assert np.corrcoef(np.transpose(page.evaluate(draw, 8))[0], normal)[0, 1] < 0.025


def test_all_optimizers_meet_the_same_noise(page):
    gradients = page.evaluate("""() => Object.keys(OPTIMIZERS).map((rule) => {
        const { key } = DATA.optimizers.find((look) => look.rule === rule);
        const { jet, defaults, start } = landscapes.sophia_fig2;
        return run({ jet }, rule, revive(defaults[key]), start, 1, 0.5, 0).terms[0].g;
    })""")
    assert len(gradients) == len(TOYS)
    assert all(g == gradients[0] for g in gradients)
    assert not np.allclose(gradients[0], sr.grad(REGISTRY["sophia_fig2"].f)(REGISTRY["sophia_fig2"].start))
