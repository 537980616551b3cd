"""The explorer: one HTML page on which landscape, start, optimizers and settings change under one's hands.

The page needs no server and no network. It runs the rules itself (rules.js), on derivatives of the landscapes' own
NumPy functions, which trace.py turns into programs for jets.js; race.js takes the steps, and the other scripts are what
is seen and touched. Colours, levels, equations and settings are those of the rest of the package, put into the page as
data.
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextPath

from sophia_ref.equations import DIRECTIONS, EQUATIONS, SYMBOLS
from sophia_ref.optimizers.description import describe
from sophia_ref.plots.explorer.trace import trace
from sophia_ref.plots.race import heights, plain_tex
from sophia_ref.plots.style import DARK, LIGHT, style_of
from sophia_ref.settings import TOYS, scale

# In this order: the last one starts the page.
SCRIPTS = (
    "jets.js", "rules.js", "race.js", "marks.js", "surface.js", "paths.js", "charts.js", "panel.js", "settings.js",
    "input.js", "link.js", "page.js",
)  # fmt: skip


@dataclass(frozen=True)
class Page:
    """A page as text. A notebook shows it in a frame."""

    html: str = field(repr=False)

    def _repr_html_(self) -> str:
        look = "width: 100%; height: 1020px; border: 0"
        return f'<iframe srcdoc="{html.escape(self.html)}" style="{look}" title="Sophia explorer"></iframe>'


def explore(problem: Any = "sophia_fig2") -> Page:
    """The explorer, opened at this problem: the name of a toy landscape, or a landscape of one's own beside those.

    Raises ValueError for a name that is not known and for a landscape whose heights are not finite or not over two
    dimensions, TypeError for what is not a landscape and for a function that uses what trace.py does not know, by name.
    """
    from sophia_ref.commands.arguments import RACERS, not_one_of
    from toy_problems.landscapes import REGISTRY

    if isinstance(problem, str):
        if problem not in REGISTRY:
            raise ValueError(f"problem: {not_one_of('a problem', problem, REGISTRY)}")
        problem = REGISTRY[problem]
    heights(problem)  # refuses what is not a landscape
    landscapes = sorted((REGISTRY | {problem.name: problem}).values(), key=lambda landscape: landscape.title)
    programs = ",\n".join(f"// {_json(landscape.name)}\n{trace(landscape.f)}" for landscape in landscapes)
    data = {
        "landscapes": [_described(landscape) for landscape in landscapes],
        "problem": problem.name,
        "optimizers": [_look(key) for key in TOYS],
        "active": RACERS,
        "schemes": {"light": LIGHT._asdict(), "dark": DARK._asdict()},
    }
    texts = [f"const DATA = {_json(data)};\nconst PROGRAMS = [\n{programs}\n];\n", *map(_read, SCRIPTS)]
    parts = {"style": _read("page.css"), "scripts": "\n".join(f"<script>\n{text}</script>" for text in texts)}
    return Page(re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _read("page.html")))


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _json(value: Any) -> str:
    """value for a script in a page, which no text in it can end."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def _described(landscape: Any) -> dict[str, Any]:
    _, _, z, levels = heights(landscape)
    minima = np.asarray(landscape.minima, float).reshape(-1, 2)
    size, curvature = scale(landscape)
    return {
        "name": landscape.name,
        "title": landscape.title,
        "picture": _picture(landscape.formula),
        "note": landscape.note,
        "domain": np.asarray(landscape.domain, float).tolist(),
        "start": np.asarray(landscape.start, float).tolist(),
        "minima": minima.tolist(),
        "saddles": np.asarray(landscape.saddles, float).tolist(),
        "maxima": np.asarray(landscape.maxima, float).tolist(),
        "levels": levels.tolist(),
        "lowest": float(landscape.f(minima).min() if len(minima) else z.min()),
        "bounded": len(minima) > 0,
        "noise": _noise(landscape),
        "scale": [size, curvature],
        "defaults": {key: describe(make(size, curvature))[0] for key, make in TOYS.items()},
    }


def _noise(landscape: Any) -> float:
    """The standard deviation of the landscape's noise, which the page has alike for both coordinates."""
    if landscape.noise is None:
        return 0.0
    covariance = landscape.noise @ landscape.noise.T
    variance = float(covariance[0, 0])
    if not np.allclose(covariance, variance * np.eye(2), rtol=0, atol=1e-9 * variance):
        raise ValueError(f"problem: noise of covariance {covariance.tolist()}; expected the same for each coordinate")
    return float(np.sqrt(variance))


def _look(key: str) -> dict[str, Any]:
    opt = TOYS[key](1.0, 1.0)
    style = style_of(opt)
    return {"key": key, "rule": opt.name, "label": style["label"], "color": style["color"], "marker": style["marker"],
            "line": style["linestyle"], "rows": _rows(opt)}  # fmt: skip


def _rows(opt: Any) -> list[tuple[str, str, str]]:
    """The terms of a step, each with its symbol and formula; beside those of `equations` what the eye looks for."""
    kind = next(cls for cls in type(opt).__mro__ if cls in EQUATIONS)
    (gradient, *lines), directions = EQUATIONS[kind], DIRECTIONS.get(kind, ())
    if directions:
        directions = (("eigenvalues", "eigenvalue of H"), ("eigenvectors", "its eigenvector"), *directions)
    rows = []
    for name, template in (gradient, *directions, *lines):
        formula = re.sub(r"\{(.*?)-?\}", lambda match: SYMBOLS.get(match[1], match[1]), template)
        if name == "h_hat":
            formula = opt.estimator.__name__
        if name != "decayed":
            rows.append((name, "v" if name == "eigenvectors" else SYMBOLS.get(name, name), formula))
        if name == "h":
            rows.append(("gamma_h", "γ·h", ""))
        if name == "ratio":
            rows.append(("clipped", "clipped", "|ratio| > ρ"))
    return rows


def _picture(formula: str) -> str:
    """The LaTeX formula as SVG, in the colour of the text around it."""
    text = TextPath((0, 0), f"$L = {plain_tex(formula)}$", size=100, prop=FontProperties(math_fontfamily="cm"))
    letters = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C", Path.CLOSEPOLY: "Z"}
    drawn = "".join(
        letters[code] + ("" if code == Path.CLOSEPOLY else " ".join(f"{v * sign:.0f}" for v, sign in _signed(points)))
        for points, code in text.iter_segments(curves=True, simplify=False)
    )
    (left, low), (right, high) = text.get_extents().get_points()
    box = f"{left - 4:.0f} {-high - 10:.0f} {right - left + 8:.0f} {high - low + 20:.0f}"
    about = f'viewBox="{box}" role="img" aria-label="{html.escape(formula)}" preserveAspectRatio="xMinYMid"'
    return f'<svg {about}><path d="{drawn}"/></svg>'


def _signed(points: Any) -> list[tuple[float, int]]:
    """Coordinates x, y, x, y, ..., each with its sign in a picture whose y axis points down."""
    return [(float(v), -1 if i % 2 else 1) for i, v in enumerate(points)]
