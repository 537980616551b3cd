"""What the pages show is what the code computes: every displayed equation of the optimizers, in numbers."""

import ast
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest

import sophia_ref as sr
from docs.annotated.evaluate import FUNCTIONS, definition, evaluable, evaluate
from docs.annotated.glossary import names_in
from docs.annotated.notation import read_line
from docs.annotated.order import ROOT, reading_order
from docs.annotated.papers import displayed
from docs.annotated.source import Source
from docs.annotated.tree import (
    Around,
    Call,
    Fraction,
    Node,
    Number,
    Power,
    Product,
    Root,
    Statement,
    Sum,
    Symbol,
    Transposed,
    walk,
)
from tests.annotated.drift import agree, check, load

RNG = np.random.default_rng(0)
SHAPE, P = (2, 6), 6
THETA, G, H_HAT = RNG.normal(size=(3, *SHAPE))
HESSIAN = RNG.normal(size=(*SHAPE, P))
G[0, 0] = 0.0  # where sign and division by it part ways
ORACLE = sr.Given(grad=G, hessian_diag=H_HAT, hessian=HESSIAN)
T = 3  # steps taken before the one that is looked at


class Quadratic:
    """An oracle of a known Hessian, and of gradients that are given."""

    theta = RNG.normal(size=P)
    rng = np.random.default_rng(1)
    hessian = HESSIAN[0]

    def hvp(self, v):
        return self.hessian @ v

    def grad(self):
        return G[0]

    def sampled_grad(self):
        return G[1], 7.0

    def predictions(self):
        return 7.0


def step_of(name, **settings):
    """run(module) -> takes one step of the optimizer of this name, from random memories."""

    def run(module):
        opt = getattr(module, name)(**settings)
        return opt.step(THETA, opt.State(T, **memories(opt)), ORACLE)

    return run


def memories(opt):
    """What the optimizer remembers, at random; squares are positive."""
    rng = np.random.default_rng(2)
    memory = {key: rng.normal(size=SHAPE) for key in opt.State._fields[1:]}
    for key, array in memory.items():
        array[0, 0] = 0.0
        if key == "v":
            np.abs(array, out=array)
    return memory


ADAM = dict(lr=0.7, beta1=0.6, beta2=0.8, eps=0.3)
SOPHIA = dict(lr=0.7, beta1=0.6, beta2=0.8, gamma=0.9, clip=1.0, eps=0.3, weight_decay=0.2, every=T)
OPTIMIZERS = "sophia_ref/optimizers/"
# file, and what runs the code beside all its equations
RUNS = {
    f"{OPTIMIZERS}sophia.py": [step_of("Sophia", **SOPHIA)],
    f"{OPTIMIZERS}adam.py": [step_of("AdamW", **ADAM, weight_decay=0.2)],
    f"{OPTIMIZERS}adahessian.py": [
        step_of("AdaHessian", **ADAM, weight_decay=0.2, layout=sr.Layout({"w": (2, 2), "b": (2,)}))
    ],
    f"{OPTIMIZERS}lion.py": [step_of("Lion", lr=0.7, beta1=0.6, beta2=0.8, weight_decay=0.2)],
    f"{OPTIMIZERS}first_order.py": [
        step_of("GradientDescent", lr=0.7),
        step_of("SignGD", lr=0.7),
        step_of("Momentum", lr=0.7, beta=0.6),
        step_of("Signum", lr=0.7, beta=0.6, weight_decay=0.2),
    ],
    f"{OPTIMIZERS}newton.py": [
        step_of("Newton", lr=0.7),
        step_of("DampedNewton", lr=0.7, damping=0.3),
        step_of("SaddleFreeNewton", lr=0.7, damping=0.3),
        step_of("ClippedNewton", lr=0.7, rho=0.4),
    ],
    "sophia_ref/conformance/engine.py": [step_of("Variant", **SOPHIA)],
    "sophia_ref/curvature.py": [
        lambda module: module.hutchinson(Quadratic()),
        lambda module: module.hutchinson_rademacher(Quadratic()),
        lambda module: module.gnb(Quadratic()),
        lambda module: module.empirical_fisher(Quadratic()),
    ],
    "sophia_ref/guard.py": [
        lambda module: module.Guard(sr.Given(grad=G, loss=np.zeros(2)), 0.5, np.zeros(2, bool)).grad()
    ],
}
# Displayed, and no equality of numbers: why.
ASIDE = {
    "u ~ N(0, I)": "a distribution: tests/test_curvature.py has the estimator's mean and variance",
    "D̄[i b + j] = 1/b Σ_{k=1..b} D[i b + k]": "entry by entry: tests/optimizers/test_adahessian.py averages blocks",
}


def held(path, **changes):
    """The lines whose equations were held against the code."""
    curvature = path.endswith("curvature.py")
    given, axes = ({"H": Quadratic.hessian, "h_hat": None}, 1) if curvature else ({}, 2)
    return set().union(*(check(path, run, given, axes, **changes) for run in RUNS[path]))


def equations(path):
    return [line for _, line in displayed(Source.read(ROOT, path))]


@pytest.mark.parametrize("path", RUNS)
def test_every_displayed_equation_is_what_the_lines_beside_it_compute(path):
    aside = {read_line(text)[0][0] for text in ASIDE}
    expected = {line.number for line in equations(path) if not aside & set(line.statements)}
    assert held(path) == expected


def test_all_optimizers_of_the_reading_order_are_run_and_nothing_else_is_set_aside():
    files = [path for chapter in reading_order() for path in chapter.files if path.startswith(OPTIMIZERS)]
    assert {path for path in files if equations(path)} <= RUNS.keys()
    assert min(len(equations(path)) for path in RUNS) > 0
    shown = [statement for path in RUNS for line in equations(path) for statement in line.statements]
    assert {statement for statement in shown if not evaluable(statement)} == {read_line(text)[0][0] for text in ASIDE}


# -- as a program ------------------------------------------------------------------------------------------------------

PROGRAMS = [  # optimizer, file, and the functions whose equations are its step, in their order
    ("Sophia", SOPHIA, "sophia", "Sophia sophia_update"),
    ("Adam", ADAM, "adam", "adam_update"),
    ("AdamW", ADAM | {"weight_decay": 0.2}, "adam", "adamw_update adam_update"),
    ("AdaHessian", ADAM | {"weight_decay": 0.2}, "adahessian", "adahessian_update"),
    ("Lion", dict(lr=0.7, beta1=0.6, beta2=0.8, weight_decay=0.2), "lion", "lion_update"),
    ("GradientDescent", dict(lr=0.7), "first_order", "gradient_descent_update"),
    ("SignGD", dict(lr=0.7), "first_order", "sign_gd_update"),
    ("Momentum", dict(lr=0.7, beta=0.6), "first_order", "momentum_update"),
    ("Signum", dict(lr=0.7, beta=0.6, weight_decay=0.2), "first_order", "signum_update"),
    ("Newton", dict(lr=0.7), "newton", "newton_update _descend"),
    ("DampedNewton", dict(lr=0.7, damping=0.3), "newton", "damped_newton_update _descend"),
    ("SaddleFreeNewton", dict(lr=0.7, damping=0.3), "newton", "saddle_free_newton_update _descend"),
    ("ClippedNewton", dict(lr=0.7, rho=0.4), "newton", "clipped_newton_update _descend"),
]


@pytest.mark.parametrize(("name", "settings", "file", "functions"), PROGRAMS)
def test_the_displayed_equations_read_as_a_program_take_the_step(name, settings, file, functions):
    check_program(sr, name, settings, file, functions)


def check_program(module, name, settings, file, functions):
    """From settings, memories and the oracle's answers alone to the terms, the state and the theta of a step."""
    path = f"{OPTIMIZERS}{file}.py"
    source = Source.read(ROOT, path)
    opt = getattr(module, name)(**settings)
    step = step_of(name, **settings)(module)
    values = {"theta": THETA, "g": G, "h_hat": H_HAT, "D": H_HAT, "t": T + 1, **memories(opt), **settings}
    values |= {key: step.terms[key] for key in ("eigenvalues", "eigenvectors", "c") if "eigenvalues" in step.terms}

    def value(symbol):
        entry = names_in(path).get(symbol.name)
        return next(values[key] for key in (symbol.name, *(entry.code if entry else ())) if key in values)

    known = {}
    for function in functions.split():
        node = source.definitions[function]
        lines = [line for line in equations(path) if node.lineno <= line.number <= node.end_lineno]
        assert lines
        for statement in (statement for line in lines for statement in line.statements):
            known |= definition(statement)
        for statement in (statement for line in lines for statement in line.statements):
            if isinstance(left := statement.sides[0], Call):
                continue
            values[left.name] = evaluate(statement.sides[1], value, 2, {**FUNCTIONS, **known})
    results = step.terms | step.state._asdict() | {"theta": step.theta}
    compared = [key for key in results if key in values and np.shape(results[key]) == SHAPE]
    assert "theta" in compared
    assert set(opt.State._fields[1:]) <= set(compared)
    for key in compared:
        agree(key, results[key], values[key])


# -- mutants -----------------------------------------------------------------------------------------------------------


def changed(node):
    """Every node that is this one but for one thing."""
    match node:
        case Sum(signs, terms):
            for i, sign in enumerate(signs):
                yield Sum((*signs[:i], "-" if sign == "+" else "+", *signs[i + 1 :]), terms)
        case Number(text) if text.isdigit():
            yield Number(str(int(text) + 1))
        case Product(signs, factors):
            yield factors[0] if len(factors) == 2 else Product(signs[:-1], factors[:-1])
        case Fraction(above, below):
            yield Product(("", ""), (above, below))
        case Power(base, _) | Transposed(base) | Root(base):
            yield base
        case Call("max" | "min" as name, args):
            yield Call({"max": "min", "min": "max"}[name], args)
        case Call("sign", (arg,)):
            yield arg
        case Around("||", (inside,)):
            yield inside
        case Symbol(name, at) if at in ("t-1", "t-k", "t", "t+1"):
            yield Symbol("eps" if name != "eps" else "gamma", at)
        case Symbol("beta1"):
            yield Symbol("beta2")
    for field in fields(node) if is_dataclass(node) else ():
        value = getattr(node, field.name)
        if isinstance(value, Node):
            yield from (replace(node, **{field.name: other}) for other in changed(value))
        elif isinstance(value, tuple):
            for i, part in enumerate(value):
                if isinstance(part, Node):
                    yield from (replace(node, **{field.name: (*value[:i], o, *value[i + 1 :])}) for o in changed(part))


def with_other_times(statement):
    """m_t = β m_t, say: a quantity that would be made of itself."""
    left = statement.sides[0]
    for symbol in walk(statement.sides[1]):
        if (
            isinstance(symbol, Symbol)
            and isinstance(left, Symbol)
            and symbol.name == left.name
            and symbol.at != left.at
        ):
            yield swapped(statement, symbol, Symbol(symbol.name, left.at))


def swapped(node, old, new):
    if node == old:
        return new
    inside = {}
    for field in fields(node):
        value = getattr(node, field.name)
        if isinstance(value, tuple):
            value = tuple(swapped(part, old, new) if isinstance(part, Node) else part for part in value)
        inside[field.name] = swapped(value, old, new) if isinstance(value, Node) else value
    return type(node)(**inside)


@pytest.mark.parametrize("path", RUNS)
def test_no_change_of_a_displayed_equation_goes_unnoticed(path):
    shown = {s for line in equations(path) for s in line.statements if evaluable(s)}
    statements = [s for s in shown if any(isinstance(part, Symbol) for part in walk(s))]  # not sign(0) = 0
    survivors, mutants = [], 0
    for statement in statements:
        for mutant in [*changed(statement), *with_other_times(statement)]:
            mutants += 1
            try:
                held(path, change=lambda s, old=statement, new=mutant: new if s == old else s)
            except Exception:  # Drift, or there is no number to it
                continue
            survivors.append((statement, mutant))
    assert survivors == []
    assert mutants >= len(statements)


SWAPS = {"+": "-", "-": "+", "*": "/", "/": "*", "**": "*"}
NAMES = {"maximum": "minimum", "sign": "abs", "sqrt": "square", "beta1": "beta2", "beta2": "beta1"}


def changed_code(source, lines):
    """The text of a file with one operator, function or name in these lines changed, and what was."""
    for node in ast.walk(source.tree):
        if getattr(node, "lineno", 0) not in lines:
            continue
        text = source.lines[node.lineno - 1]
        if isinstance(node, ast.BinOp) and node.left.end_lineno == node.right.lineno == node.lineno:
            begin, end = node.left.end_col_offset, node.right.col_offset
            between = text[begin:end]
            sign = between.strip(" ()")
            other = f"{text[:begin]}{between.replace(sign, SWAPS[sign])}{text[end:]}" if sign in SWAPS else text
        elif isinstance(node, ast.Attribute) and node.attr in NAMES and node.end_lineno == node.lineno:
            end = node.end_col_offset
            other = text[: end - len(node.attr)] + NAMES[node.attr] + text[end:]
        elif isinstance(node, ast.Name) and node.id in NAMES and isinstance(node.ctx, ast.Load):
            other = text[: node.col_offset] + NAMES[node.id] + text[node.end_col_offset :]
        else:
            continue
        if other != text:
            yield "\n".join([*source.lines[: node.lineno - 1], other, *source.lines[node.lineno :]]), other


# What no equation states: which coordinates were clipped; what is c / s for c = 0; a scale that cancels.
UNSTATED = ("clipped =", "clipped,", '"clipped":', "np.where(c == 0", "g_unit = g ")


# The engine's lines have knobs, most of which no equation states; tests/conformance/test_mutants.py turns those.
@pytest.mark.parametrize("path", [path for path in RUNS if "engine" not in path])
def test_no_change_of_a_line_beside_an_equation_goes_unnoticed(path):
    source = Source.read(ROOT, path)
    beside = {n for row, line in displayed(source) if all(map(evaluable, line.statements)) for n in row.code}
    survivors, mutants = [], 0
    for text, line in changed_code(source, beside):
        mutants += 1
        try:
            held(path, text=text)
            for program in PROGRAMS:
                if path == f"{OPTIMIZERS}{program[2]}.py":
                    check_program(load(path, text), *program)
        except Exception:  # Drift, or the line does not run
            continue
        survivors.append(line.strip())
    assert [line for line in survivors if not any(sign in line for sign in UNSTATED)] == []
    assert mutants > 0


def test_a_statement_of_the_notation_is_read_as_people_read_it():
    statement = read_line("θ_t = θ_{t-1} - η m̂_t / (√v̂_t + ε)")[0][0]
    assert isinstance(statement, Statement)
    values = {"theta": 5.0, "eta": 2.0, "m_hat": 3.0, "v_hat": 4.0, "eps": 1.0}
    assert evaluate(statement.sides[1], lambda symbol: values[symbol.name]) == 5.0 - 2.0 * 3.0 / (2.0 + 1.0)
