"""A step in words and numbers: m ← β₁·m + (1-β₁)·g = 0.96·0.1234 + 0.04·(-5.683) = -0.1089, line by line.

The lines come from `equations`. An arrow instead of an equals sign says that a quantity replaces itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, NamedTuple
from unicodedata import combining

import numpy as np

from sophia_ref.equations import DIRECTION_REMARKS, DIRECTIONS, EQUATIONS, REMARKS, SYMBOLS, Lines, Remark, Values
from sophia_ref.optimizers.base import Optimizer, Step

Array = Any
LONGEST_SUM = 3  # sums over all coordinates are written out if they have no more terms
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


class Row(NamedTuple):
    """name = formula = numbers = result, with an arrow or another equals sign first; what is empty is left out."""

    name: str
    arrow: str
    formula: str
    numbers: str
    result: str
    flag: str = ""  # "clipped" or nothing


class Block(NamedTuple):
    """What happened to one coordinate, or along one eigenvector of the Hessian."""

    title: str
    rows: list[Row]
    remarks: list[str]


def show(x: Any) -> str:
    """A number as it is printed: all its digits if they are at most 5, else 4 of them.

    >>> show(0.2), show(-5.68321), show(1e-12), show(28420000123.0), show(np.inf)
    ('0.2', '-5.683', '1e-12', '2.842e10', '∞')
    """
    text = f"{float(x) + 0.0:.5g}"  # -0 + 0 is 0
    if float(text) != x:
        text = f"{float(x):.4g}"
    return re.sub(r"e\+?(-?)0*", r"e\1", text).replace("inf", "∞")


def settings(opt: Any) -> list[str]:
    """The settings of an optimizer of this package, by name and symbol.

    >>> from sophia_ref.optimizers import Momentum
    >>> settings(Momentum(0.5))
    ['lr η = 0.5', 'beta β = 0.9']
    """
    if not isinstance(opt, Optimizer):
        return []
    told = {field.name: _setting(getattr(opt, field.name)) for field in fields(opt)}
    return [f"{' '.join(filter(None, [name, SYMBOLS.get(name)]))} = {text}" for name, text in told.items()]


def explain(
    opt: Any, theta: Array, state: Any, step: Step, oracle: Any, coordinates: Sequence[int], name: Callable[[int], str]
) -> list[Block]:
    """What a step did from theta (P,) and this state to each of these coordinates, called by name(i); before that, for
    optimizers that divide along the eigenvectors of the Hessian, along those of the same numbers. Equations of θ[3]
    call it θ.

    oracle: as the step asked it. An optimizer without equations is explained by its terms alone.
    """
    kind: Any = next((cls for cls in type(opt).__mro__ if cls in EQUATIONS), None)
    values, blocks = _values(opt, theta, state, step), []
    few = len(theta) <= LONGEST_SUM
    if kind in DIRECTIONS:
        V, q = step.terms["eigenvectors"], step.terms["q"]
        if few:
            blocks.append(_hessian(oracle.hessian(), name))
        for j in coordinates:
            v = _at(values, j) | (_products(V[:, j], step.terms["g"]) if few else {})
            title = f"direction {j + 1}: curvature s = {show(v['eigenvalues'])}"
            if few:
                title += f" along v = ({', '.join(map(show, V[:, j]))})"
            if v["q"] == 0 and (v["c"] != 0 or v["eigenvalues"] == 0 == v.get("damping", 0)):
                del v["eigenvalues"]  # left alone: q is not a quotient
            blocks.append(Block(title, _rows(DIRECTIONS[kind], v, "θ"), _remarks(kind, DIRECTION_REMARKS, v, "θ")))
    terms_alone = tuple((key, "") for key, term in step.terms.items() if np.shape(term) == theta.shape)
    lines = EQUATIONS.get(kind, terms_alone)
    for i in coordinates:
        v = _at(values, i) | (_products(V[i], q) if kind in DIRECTIONS and few else {})
        title, letter = f"{name(i)}: {show(v['theta-'])} → {show(v['theta'])}", name(i)[0]
        blocks.append(Block(title, _rows(lines, v, letter), _remarks(kind, REMARKS, v, letter)))
    return blocks


def layout(blocks: Sequence[Block], width: int) -> list[tuple[str, str]]:
    """The blocks as lines of text of at most this width, in columns where these fit; each line with its kind: "title",
    "row", "clipped", "remark", or "" for an empty one."""
    rows = [row for block in blocks for row in block.rows]
    long = [row for row in rows if row.numbers]  # the others need no columns behind the first
    name, formula, numbers = (
        max((_width(row[i]) for row in some), default=0) for i, some in ((0, rows), (2, long), (3, long))
    )
    ends = max((len(_end(row)) for row in long), default=0)
    numbers = min(numbers, width - len("    =  =  ") - name - formula - ends)
    lines = []
    for block in blocks:
        lines += [("", ""), ("title", block.title)]
        for row in block.rows:
            lines += [(row.flag or "row", line) for line in _fit(row, name, formula, numbers, width)]
        lines += [("remark", f"  {remark}") for remark in block.remarks]
    return lines


# -- inside ------------------------------------------------------------------------------------------------------------


def _values(opt: Any, theta: Array, state: Any, step: Step) -> dict[str, Any]:
    """All that lines may name: settings, what was remembered, terms, theta before, within and after the step."""
    values: dict[str, Any] = {}
    if isinstance(opt, Optimizer):
        t, lr = opt.begin(theta, state)
        values = {field.name: getattr(opt, field.name) for field in fields(opt)}
        values |= {name: opt.at(name, theta) for name in ("gamma", "weight_decay") if name in values}
        values |= {f"1-{name}": 1 - beta for name, beta in values.items() if name.startswith("beta")}
        values |= {f"{name}-": array for name, array in state._asdict().items()} | {"t": t, "lr": lr}
        if "every" in values:
            values["next"] = t + values["every"] - (t - 1) % values["every"]
    decay = values.get("weight_decay", 0.0)
    decayed = theta - values["lr"] * decay * theta if np.any(decay) else theta
    return values | step.terms | {"theta-": theta, "decayed": decayed, "theta": step.theta}


def _at(values: Values, i: int) -> dict[str, Any]:
    """The numbers of coordinate i, and what all coordinates share."""
    P = len(values["theta"])
    return {name: value[i] if np.shape(value)[:1] == (P,) else value for name, value in values.items()}


def _products(one: Array, other: Array) -> dict[str, Any]:
    """The factors of Σ one·other."""
    return {f"a{k}": x for k, x in enumerate(one)} | {f"b{k}": x for k, x in enumerate(other)}


def _hessian(H: Array, name: Callable[[int], str]) -> Block:
    rows = []
    for i in range(len(H)):
        for j in range(i, len(H)):
            formula = f"∂²L/∂{name(i)}²" if i == j else f"∂²L/∂{name(i)}∂{name(j)}"
            rows.append(Row(f"H{i + 1}{j + 1}".translate(SUBSCRIPTS), "=", formula, "", show((H[i, j] + H[j, i]) / 2)))
    return Block("Hessian H = V diag(s) Vᵀ", rows, [])


def _rows(lines: Lines, v: Values, name: str) -> list[Row]:
    """The lines with the numbers v of one coordinate of this name; those about something that v lacks are left out."""
    rows = []
    for key, template in lines:
        if key not in v or (key == "decayed" and not v["weight_decay"]):
            continue
        if template == "estimator":
            template = _setting(v["estimator"])
        elif key == "D" and v["layout"] is not None:
            template = "mean of ĥ"
        elif not set(_names(template)) <= v.keys():  # h is kept, or q is 0
            template = ""
        numbers, result = _with_numbers(template, v), show(v[key])
        if template.startswith("Σ"):
            numbers = _with_numbers(" + ".join(f"{{a{k}}}·{{b{k}}}" for k in range(LONGEST_SUM) if f"a{k}" in v), v)
        replaced = "decayed" if key == "theta" and "{decayed}" in template else f"{key}-"
        rows.append(
            Row(
                name=_symbol(key).replace("θ", name),
                arrow="←" if replaced in _names(template) or key == "decayed" else "=",
                formula=re.sub(r"\{(.+?)-?\}", lambda match: _symbol(match[1]), template).replace("θ", name),
                numbers="" if numbers == result else numbers,
                result=result,
                flag="clipped" if template.startswith("clip(") and v["clipped"] else "",
            )
        )
    return rows


def _remarks(kind: Any, remarks: Sequence[Remark], v: Values, name: str) -> list[str]:
    said = [text for kinds, holds, text in remarks if kind and issubclass(kind, kinds) and holds(v)]
    return [text.format(**v).replace("θ", name) for text in said]


def _setting(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float | int):
        return show(value)
    if isinstance(value, np.ndarray):
        return f"an array {value.shape}"
    name = getattr(value, "__name__", type(value).__name__)
    return f"{name}({_setting(value.estimator)})" if hasattr(value, "estimator") else name


def _names(template: str) -> list[str]:
    return re.findall(r"\{(.+?)\}", template)


def _symbol(key: str) -> str:
    return SYMBOLS.get(key, key)


def _with_numbers(template: str, v: Values) -> str:
    """The template with numbers in place, negative ones in brackets behind an operator; "" if it names none."""

    def put(match: re.Match[str]) -> str:
        shown, raised = show(v[match[1]]), template[match.end() :][:1] in ("²", "^")
        behind = template[: match.start()][-1:] not in ("", "(", "|")
        return f"({shown})" if (shown.startswith("-") and (behind or raised)) or ("e" in shown and raised) else shown

    return re.sub(r"\{(.+?)\}", put, template) if _names(template) else ""


def _fit(row: Row, name: int, formula: int, numbers: int, width: int) -> list[str]:
    """A row on one line in columns, or on as many as it needs."""
    start = f"  {_pad(row.name, name)}"
    if row.formula:
        start += f" {row.arrow} {_pad(row.formula, formula)}"
    lines = [" = ".join([start, *([_pad(row.numbers, numbers)] if row.numbers else []), _end(row)])]
    if _width(lines[0]) > width:
        lines = [start]
        for part in filter(None, (row.numbers, _end(row))):
            if _width(lines[-1]) + len(f" = {part}") > width:
                lines.append(" " * (name + 2))
            lines[-1] += f" = {part}"
    return lines


def _end(row: Row) -> str:
    return row.result + f"  {row.flag}" * bool(row.flag)


def _width(text: str) -> int:
    return sum(not combining(letter) for letter in text)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _width(text))
