"""Two-dimensional landscapes whose critical points are known, each a Problem that optimizers can race on.

>>> import numpy as np
>>> fig2 = REGISTRY["sophia_fig2"]
>>> float(fig2.loss(fig2.minima[0])), str(fig2.classify(np.array([0.0, 4.0])))
(0.0, 'saddle')
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toy_problems.checks import number

Array = NDArray[Any]
Surface = Callable[[Any, Any], Any]  # heights at coordinates x and y, elementwise
Pair = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Landscape:
    """A function of theta = (x, y) with its critical points.

    ``surface(x, y)`` is plain elementwise NumPy. ``minima`` (the global ones first), ``saddles`` and ``maxima``, each
    (n, 2), are the critical points inside ``domain`` = ((x low, x high), (y low, y high)), in the REGISTRY all of them.
    A point where the Hessian is singular is filed under what it is, and ``note`` says why. ``formula`` is LaTeX.
    ``noise`` is None, or a matrix A that gives the gradients noise of covariance A A^T (`noisy`).
    """

    name: str
    title: str
    surface: Surface
    formula: str
    domain: tuple[Pair, Pair]
    start: Array
    minima: Array
    saddles: Array
    maxima: Array
    source: str
    note: str = ""
    noise: Array | None = None

    def f(self, theta: Array) -> Any:
        """The height at theta (..., 2), shape (...). Raises ValueError where the last axis is not (x, y)."""
        if getattr(theta, "shape", ())[-1:] != (2,):
            given = getattr(theta, "shape", theta)
            raise ValueError(f"theta: {given!r}; {self.name} expects an array of shape (..., 2), the last axis (x, y)")
        return self.surface(theta[..., 0], theta[..., 1])

    def init(self, rng: np.random.Generator) -> Array:
        """The start (2,), float64; the same for every rng."""
        return self.start.copy()

    def batch(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array | None:
        """The gradient noise xi ~ N(0, A A^T) of one step, (*shape, 2); None for a landscape without noise."""
        return None if self.noise is None else rng.standard_normal((*shape, 2)) @ self.noise.T

    def loss(self, theta: Array, batch: Array | None = None) -> Any:
        """f(theta) + <xi, theta> with xi = batch (..., 2), of gradient grad f + xi; batch None stands for zero."""
        if batch is None:
            return self.f(theta)
        if batch.shape != theta.shape:
            raise ValueError(f"batch: shape {batch.shape}; expected theta's shape {theta.shape}")
        return self.f(theta) + (batch.astype(theta.dtype) * theta).sum(-1)

    def noisy(self, covariance: float | Array) -> "Landscape":
        """The same landscape with noise of this covariance on every gradient; its Hessian stays exact.

        covariance: a finite number >= 0, the variance of each coordinate, or a symmetric positive semi-definite (2, 2)
        matrix, in units of the gradient squared. Anything else raises ValueError.
        """
        matrix = np.array(covariance)
        expected = "expected a finite number >= 0 or a symmetric positive semi-definite (2, 2) matrix"
        refusal = ValueError(f"covariance: {matrix.tolist()!r}; {expected}")
        if matrix.dtype.kind not in "iuf" or matrix.shape not in ((), (2, 2)) or not np.isfinite(matrix).all():
            raise refusal
        if matrix.ndim == 0:
            matrix = matrix * np.eye(2)
        rounding = 1e-12 * np.abs(matrix).max()
        variances, axes = np.linalg.eigh(matrix.astype(np.float64))
        if np.abs(matrix - matrix.T).max() > rounding or variances[0] < -rounding:
            raise refusal
        return replace(self, noise=axes * np.sqrt(variances.clip(min=0)))

    @property
    def critical_points(self) -> Array:
        """The minima, saddles and maxima, in this order, (n, 2)."""
        return np.concatenate([self.minima, self.saddles, self.maxima])

    def nearest(self, theta: Array) -> tuple[Array, Array]:
        """For theta (..., 2): the index (...) of the nearest of critical_points, and its distance (...).

        The index is -1 and the distance infinite where theta is not finite.
        """
        index, distance = np.full(theta.shape[:-1], -1), np.full(theta.shape[:-1], np.inf)
        for i, (x, y) in enumerate(self.critical_points):  # a pass per point: no array (..., n) for a million thetas
            away = np.hypot(theta[..., 0] - x, theta[..., 1] - y)
            index, distance = np.where(away < distance, i, index), np.fmin(away, distance)
        return index, distance

    def classify(self, theta: Array, tol: float = 1e-2) -> Array:
        """What lies within distance tol of theta (..., 2): "minimum", "saddle", "maximum" or "none", strings (...)."""
        index, distance = self.nearest(theta)
        kinds = np.repeat(["minimum", "saddle", "maximum"], [len(self.minima), len(self.saddles), len(self.maxima)])
        return np.where(distance <= tol, kinds[index], "none")


REGISTRY: dict[str, Landscape] = {}


def _constant(pairs: Iterable[Pair]) -> Array:
    """(x, y) pairs as a read-only array (n, 2)."""
    points = np.array(list(pairs), dtype=np.float64).reshape(-1, 2)
    points.flags.writeable = False
    return points


def _landscape(
    name: str,
    title: str,
    formula: str,
    domain: tuple[Pair, Pair],
    start: Pair,
    *,
    source: str,
    note: str = "",
    minima: Iterable[Pair] = (),
    saddles: Iterable[Pair] = (),
    maxima: Iterable[Pair] = (),
) -> Callable[[Surface], Surface]:
    """Decorator that registers the surface below it."""

    def register(surface: Surface) -> Surface:
        points = _constant(minima), _constant(saddles), _constant(maxima)
        start_point = _constant([start])[0]
        REGISTRY[name] = Landscape(name, title, surface, formula, domain, start_point, *points, source, note)
        return surface

    return register


def _square(half_width: float) -> tuple[Pair, Pair]:
    return (-half_width, half_width), (-half_width, half_width)


# Quadratics and saddles


@_landscape(
    "sophia_fig2",
    "Figure 2 of the Sophia paper",
    r"8 (x - 1)^2 (1.3 x^2 + 2 x + 1) + \tfrac{1}{2} (y - 4)^2",
    domain=((-1.1, 1.5), (-1.0, 9.0)),
    start=(0.2, 0.0),
    # dL/dx = 8 x (x - 1)(5.2 x + 3.4)
    minima=[(1, 4), (-17 / 26, 4)],
    saddles=[(0, 4)],
    source="Liu, Li, Hall, Liang, Ma (2023), arXiv:2305.14342, Figure 2; the paper states no start, this one is ours",
    note="The second minimum is spurious: starts with x < 0 fall into it.",
)
def _sophia_fig2(x: Any, y: Any) -> Any:
    return 8 * (x - 1) ** 2 * (1.3 * x**2 + 2 * x + 1) + (y - 4) ** 2 / 2


def _quadratic(x: Any, y: Any, xx: float, xy: float, yy: float) -> Any:
    return (xx * x**2 + yy * y**2) / 2 + xy * x * y


def rotated_quadratic(condition: float = 100.0, angle: float = math.pi / 6) -> Landscape:
    """A bowl of curvature 1 along the direction at `angle` (radians) from the x axis, and `condition` across it.

    Its axes are not the coordinates', so no diagonal preconditioner can round it.
    Raises ValueError unless condition is a finite number > 0 and angle a finite number.
    """
    kappa = number("condition", condition, 0, "a finite number > 0")
    phi = number("angle", angle, -math.inf, "a finite number of radians")
    cos, sin = math.cos(phi), math.sin(phi)
    # H = R diag(1, kappa) R^T, R the rotation by the angle
    hessian = {"xx": cos**2 + kappa * sin**2, "xy": (1 - kappa) * cos * sin, "yy": sin**2 + kappa * cos**2}
    return Landscape(
        "rotated_quadratic",
        f"Rotated quadratic, condition number {max(kappa, 1 / kappa):g}",
        partial(_quadratic, **hessian),
        r"\tfrac{1}{2} (u^2 + \kappa v^2), \; u = x \cos\varphi + y \sin\varphi, \; v = y \cos\varphi - x \sin\varphi",
        domain=_square(2.0),
        start=_constant([(-1.0, 1.5)])[0],
        minima=_constant([(0, 0)]),
        saddles=_constant([]),
        maxima=_constant([]),
        source="textbook",
    )


def separable_valley(curvatures: tuple[float, float] = (1.0, 100.0)) -> Landscape:
    """A valley of given curvature along each coordinate, which a diagonal preconditioner rounds exactly.

    Raises ValueError unless curvatures are two finite numbers > 0.
    """
    if len(curvatures) != 2:
        raise ValueError(f"curvatures: {curvatures!r}; expected two numbers, one per coordinate")
    mu, beta = (number("curvatures", curvature, 0, "finite numbers > 0") for curvature in curvatures)
    return Landscape(
        "separable_valley",
        f"Separable valley, curvatures {mu:g} and {beta:g}",
        partial(_quadratic, xx=mu, xy=0.0, yy=beta),
        r"\tfrac{1}{2} (\mu x^2 + \beta y^2)",
        domain=_square(2.0),
        start=_constant([(-1.5, 1.0)])[0],
        minima=_constant([(0, 0)]),
        saddles=_constant([]),
        maxima=_constant([]),
        source="Liu, Li, Hall, Liang, Ma (2023), arXiv:2305.14342, the lower bound for SignGD",
    )


REGISTRY["rotated_quadratic"] = rotated_quadratic()
REGISTRY["separable_valley"] = separable_valley()


@_landscape(
    "saddle",
    "Saddle",
    "x^2 - y^2",
    domain=_square(2.0),
    start=(1.5, 0.01),
    saddles=[(0, 0)],
    source="textbook",
    note="Unbounded below along y: whatever leaves the saddle goes on for ever.",
)
def _saddle(x: Any, y: Any) -> Any:
    return x**2 - y**2


@_landscape(
    "monkey_saddle",
    "Monkey saddle",
    "x^3 - 3 x y^2",
    domain=_square(1.5),
    start=(1.0, 0.1),
    saddles=[(0, 0)],
    source="textbook",
    note="Unbounded below. The Hessian at the saddle is zero. It is one all the same: L = r^3 cos 3 phi, three valleys "
    "and three ridges.",
)
def _monkey_saddle(x: Any, y: Any) -> Any:
    return x * (x**2 - 3 * y**2)


@_landscape(
    "degenerate_saddle",
    "Degenerate saddle",
    r"\tfrac{1}{2} x^2 - \tfrac{1}{4} y^4 + \tfrac{1}{6} y^6",
    domain=_square(1.5),
    start=(1.0, 0.1),
    # dL/dy = y^3 (y^2 - 1)
    minima=[(0, 1), (0, -1)],
    saddles=[(0, 0)],
    source="made for this collection",
    note="The Hessian at the saddle is diag(1, 0), without a negative eigenvalue: only the fourth derivative along y "
    "tells it from a minimum. Newton's method reaches it linearly, y shrinking to 2/3 a step.",
)
def _degenerate_saddle(x: Any, y: Any) -> Any:
    y2 = y**2
    return x**2 / 2 + y2**2 * (y2 / 6 - 1 / 4)


# Classical test functions


@_landscape(
    "rosenbrock",
    "Rosenbrock's banana",
    "(1 - x)^2 + 100 (y - x^2)^2",
    domain=((-2.0, 2.0), (-1.0, 3.0)),
    start=(-1.2, 1.0),
    minima=[(1, 1)],
    source="Rosenbrock (1960), The Computer Journal 3, 175-184, with his start",
)
def _rosenbrock(x: Any, y: Any) -> Any:
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


@_landscape(
    "beale",
    "Beale",
    "(1.5 - x + x y)^2 + (2.25 - x + x y^2)^2 + (2.625 - x + x y^3)^2",
    domain=_square(4.5),
    start=(1.0, 1.0),
    minima=[(3, 0.5)],
    saddles=[(0, 1), (0.10053793732415836, -2.644513585023125)],
    source="Beale (1958), Princeton Statistical Techniques Research Group, report 25",
)
def _beale(x: Any, y: Any) -> Any:
    y2 = y**2
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y2) ** 2 + (2.625 - x + x * y * y2) ** 2


@_landscape(
    "himmelblau",
    "Himmelblau",
    "(x^2 + y - 11)^2 + (x + y^2 - 7)^2",
    domain=_square(5.0),
    start=(0.0, -1.0),
    minima=[
        (3, 2),
        (-2.8051180869527449, 3.131312518250573),
        (-3.7793102533777469, -3.2831859912861694),
        (3.5844283403304917, -1.8481265269644036),
    ],
    saddles=[
        (-3.0730257507643896, -0.081353044287967512),
        (-0.12796134673068007, -1.9537149802445764),
        (0.086677504555396352, 2.8842547011747761),
        (3.3851541836070209, 0.073851879837749288),
    ],
    maxima=[(-0.27084459066734761, -0.92303855647998146)],
    source="Himmelblau (1972), Applied Nonlinear Programming, McGraw-Hill",
)
def _himmelblau(x: Any, y: Any) -> Any:
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


@_landscape(
    "booth",
    "Booth",
    "(x + 2 y - 7)^2 + (2 x + y - 5)^2",
    domain=_square(10.0),
    start=(-8.0, 6.0),
    minima=[(1, 3)],
    source="Jamil, Yang (2013), arXiv:1308.4008, function 17",
)
def _booth(x: Any, y: Any) -> Any:
    return (x + 2 * y - 7) ** 2 + (2 * x + y - 5) ** 2


@_landscape(
    "six_hump_camel",
    "Six-hump camel back",
    r"(4 - 2.1 x^2 + \tfrac{1}{3} x^4) x^2 + x y + 4 (y^2 - 1) y^2",
    domain=((-2.0, 2.0), (-1.2, 1.2)),
    start=(-1.9, 1.1),
    # L(-x, -y) = L(x, y): the points come in pairs
    minima=[
        (0.089842013100318062, -0.71265640302073963),
        (-0.089842013100318062, 0.71265640302073963),
        (1.7036067149699808, -0.79608356867262512),
        (-1.7036067149699808, 0.79608356867262512),
        (1.6071047529201972, 0.56865145488413137),
        (-1.6071047529201972, -0.56865145488413137),
    ],
    saddles=[
        (0, 0),
        (1.1092053368047864, -0.76826809250953984),
        (-1.1092053368047864, 0.76826809250953984),
        (1.2960702671671092, 0.6050843880386585),
        (-1.2960702671671092, -0.6050843880386585),
        (1.6380679841897786, 0.22867406904439407),
        (-1.6380679841897786, -0.22867406904439407),
    ],
    maxima=[(1.2302298765166526, 0.16233458445899497), (-1.2302298765166526, -0.16233458445899497)],
    source="Dixon, Szego (1978), Towards Global Optimisation 2, North-Holland",
)
def _six_hump_camel(x: Any, y: Any) -> Any:
    x2, y2 = x**2, y**2
    return (4 - 2.1 * x2 + x2**2 / 3) * x2 + x * y + 4 * (y2 - 1) * y2


def _goldstein_point(s: float, t: float) -> Pair:
    """(x, y) where x + y + 1 = s and 2x - 3y = t."""
    return (3 * (s - 1) + t) / 5, (2 * (s - 1) - t) / 5


@_landscape(
    "goldstein_price",
    "Goldstein-Price",
    r"\bigl(1 + s^2 (36 - 20 s + 3 s^2)\bigr) \bigl(30 + t^2 (18 - 16 t + 3 t^2)\bigr), "
    r"\; s = x + y + 1, \; t = 2 x - 3 y",
    domain=_square(2.0),
    start=(-1.5, 0.5),
    # L = A(s) B(t); A, B > 0; A' = 12 s (s - 2)(s - 3), B' = 12 t (t - 1)(t - 3): each has a crest between two wells
    minima=[_goldstein_point(s, t) for s, t in ((0, 3), (0, 0), (3, 3), (3, 0))],
    saddles=[_goldstein_point(s, t) for s, t in ((0, 1), (2, 3), (3, 1), (2, 0))],
    maxima=[_goldstein_point(2, 1)],
    source="Goldstein, Price (1971), Mathematics of Computation 25, 569-574",
    note="The published form has 19 - 14 x + 3 x^2 - 14 y + 6 x y + 3 y^2 for 36 - 20 s + 3 s^2, and "
    "18 - 32 x + 12 x^2 + 48 y - 36 x y + 27 y^2 for 18 - 16 t + 3 t^2.",
)
def _goldstein_price(x: Any, y: Any) -> Any:
    s, t = x + y + 1, 2 * x - 3 * y
    return (1 + s**2 * (36 - 20 * s + 3 * s**2)) * (30 + t**2 * (18 - 16 * t + 3 * t**2))


def _grid(xs: Iterable[float], ys: Iterable[float]) -> list[Pair]:
    ys = list(ys)
    return [(x, y) for x in xs for y in ys]


# the roots of d/dt (t^4 - 16 t^2 + 5 t) = 4 t^3 - 32 t + 5
_TANG_WELLS, _TANG_CREST = [-2.9035340277711771, 2.746802770990837], [0.1567312567803401]


@_landscape(
    "styblinski_tang",
    "Styblinski-Tang",
    r"\tfrac{1}{2} (x^4 - 16 x^2 + 5 x + y^4 - 16 y^2 + 5 y)",
    domain=_square(5.0),
    start=(0.5, 4.5),
    minima=_grid(_TANG_WELLS, _TANG_WELLS),
    saddles=_grid(_TANG_WELLS, _TANG_CREST) + _grid(_TANG_CREST, _TANG_WELLS),
    maxima=_grid(_TANG_CREST, _TANG_CREST),
    source="Styblinski, Tang (1990), Neural Networks 3, 467-483",
)
def _styblinski_tang(x: Any, y: Any) -> Any:
    x2, y2 = x**2, y**2
    return (x2 * (x2 - 16) + 5 * x + y2 * (y2 - 16) + 5 * y) / 2


# the roots of d/dt (t^2 - 10 cos 2 pi t) = 2 t + 20 pi sin 2 pi t: these, their negatives and 0
_RASTRIGIN_WELLS = [0.9949586376523348, 1.9899122337085496, 2.9848557010394812, 3.9797838603007538, 4.9746913908950513]
_RASTRIGIN_WELLS = [0.0, *_RASTRIGIN_WELLS, *(-t for t in _RASTRIGIN_WELLS)]
_RASTRIGIN_CRESTS = [
    0.50254603655467463,
    1.5076407318703584,
    2.5127433182000849,
    3.5178591381704409,
    4.5229936595845188,
]
_RASTRIGIN_CRESTS = [*_RASTRIGIN_CRESTS, *(-t for t in _RASTRIGIN_CRESTS)]


@_landscape(
    "rastrigin",
    "Rastrigin",
    r"20 + x^2 - 10 \cos 2 \pi x + y^2 - 10 \cos 2 \pi y",
    domain=_square(5.12),
    start=(3.3, -2.2),
    minima=_grid(_RASTRIGIN_WELLS, _RASTRIGIN_WELLS),
    saddles=_grid(_RASTRIGIN_WELLS, _RASTRIGIN_CRESTS) + _grid(_RASTRIGIN_CRESTS, _RASTRIGIN_WELLS),
    maxima=_grid(_RASTRIGIN_CRESTS, _RASTRIGIN_CRESTS),
    source="Rastrigin (1974), Systems of Extremal Control, Nauka",
)
def _rastrigin(x: Any, y: Any) -> Any:
    return 20 + x**2 - 10 * np.cos(2 * math.pi * x) + y**2 - 10 * np.cos(2 * math.pi * y)


def _images(*points: Pair) -> list[Pair]:
    """The points with their images under sign changes and exchange of the coordinates, each once."""
    images = ((a, b) for x, y in points for u, v in ((x, y), (y, x)) for a in (u, -u) for b in (v, -v))
    return list(dict.fromkeys(images))


@_landscape(
    "ackley",
    "Ackley",
    r"20 + e - 20 \exp\Bigl(-\tfrac{1}{5} \sqrt{\tfrac{1}{2} (x^2 + y^2)}\Bigr) "
    r"- \exp\Bigl(\tfrac{1}{2} (\cos 2 \pi x + \cos 2 \pi y)\Bigr)",
    domain=_square(2.25),
    start=(1.8, 1.25),
    minima=_images(
        (0, 0),
        (0.95216654595017167, 0),
        (0.96847765870772438, 0.96847765870772438),
        (1.9589197181217173, 0),
        (1.9646166628629863, 0.98241603507913928),
        (1.9744519864841166, 1.9744519864841166),
    ),
    saddles=_images(
        (0.6257806168564638, 0),
        (0.87476203887534415, 0.57741253527821464),
        (1.5950289240728648, 0.94589849270152719),
        (1.6102960205537257, 0),
        (1.855976708974908, 0.5364972381119946),
        (1.916166848997128, 1.5674502528624066),
    ),
    maxima=_images(
        (0.6730965201107377, 0.6730965201107377),
        (1.6518481462014178, 1.6518481462014178),
        (1.773445148708471, 0.54958581442291833),
    ),
    source="Ackley (1987), A Connectionist Machine for Genetic Hillclimbing, Kluwer",
    note="The global minimum is the tip of a cone, L = 4 sqrt((x^2 + y^2) / 2) to first order, without a derivative. "
    "There, and only there, the cone counts as constant: the gradient is the subgradient 0, the Hessian that of the "
    "cosine term. The domain is the centre of the customary [-32.768, 32.768]^2.",
)
def _ackley(x: Any, y: Any) -> Any:
    square = (x**2 + y**2) / 2
    away = square > 0
    radius = np.where(away, np.sqrt(np.where(away, square, 1.0)), 0.0)  # the inner where keeps sqrt off its pole at 0
    waves = (np.cos(2 * math.pi * x) + np.cos(2 * math.pi * y)) / 2
    return -20 * np.expm1(-radius / 5) - math.e * np.expm1(waves - 1)  # expm1 keeps the digits near L = 0
