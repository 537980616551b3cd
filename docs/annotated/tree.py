"""An equation as a tree: its nodes, and the names of letters.

notation.py reads it, mathml.py sets it, evaluate.py computes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

NAMES = """
    alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau phi chi psi omega
    Sigma Lambda Delta eps
"""
GREEK = dict(zip(NAMES.split(), "αβγδεζηθικλμνξπρστφχψωΣΛΔε", strict=True))
SPELLED = {letter: name for name, letter in GREEK.items()}
ACCENTS = {"\u0302": "hat", "\u0304": "bar", "\u0303": "tilde", "\u030c": "check"}


@dataclass(frozen=True)
class Node:
    def parts(self) -> Iterator[Node]:
        """The nodes directly inside."""
        for field in fields(self):
            value = getattr(self, field.name)
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, Node):
                    yield part


@dataclass(frozen=True)
class Number(Node):
    text: str


@dataclass(frozen=True)
class Symbol(Node):
    name: str  # in ASCII, as code spells it: theta, beta1, h_hat
    at: str = ""  # the subscript: t, t-1, ii


@dataclass(frozen=True)
class Word(Node):
    name: str


@dataclass(frozen=True)
class Call(Node):
    name: str
    args: tuple[Node, ...]


@dataclass(frozen=True)
class Sum(Node):
    signs: tuple[str, ...]  # one a term, "+" or "-"
    terms: tuple[Node, ...]


@dataclass(frozen=True)
class Product(Node):
    signs: tuple[str, ...]  # one a factor, "", "·" or "⊙", the first ""
    factors: tuple[Node, ...]


@dataclass(frozen=True)
class Fraction(Node):
    above: Node
    below: Node


@dataclass(frozen=True)
class Power(Node):
    base: Node
    exponent: Node


@dataclass(frozen=True)
class Transposed(Node):
    base: Node


@dataclass(frozen=True)
class Entry(Node):
    base: Node
    index: Node


@dataclass(frozen=True)
class Root(Node):
    inside: Node


@dataclass(frozen=True)
class Around(Node):
    signs: str  # "()", "||", "‖‖" or "⟨⟩"
    inside: tuple[Node, ...]


@dataclass(frozen=True)
class Summation(Node):
    below: str
    above: str
    inside: Node


@dataclass(frozen=True)
class Gradient(Node):
    inside: Node


@dataclass(frozen=True)
class Statement(Node):
    signs: tuple[str, ...]  # one fewer than sides
    sides: tuple[Node, ...]


def walk(node: Node) -> Iterator[Node]:
    """The node and all that is in it."""
    yield node
    for part in node.parts():
        yield from walk(part)


def bare(node: Node) -> Node:
    """Without round brackets around all of it, which a fraction's line or a root's makes needless."""
    return node.inside[0] if isinstance(node, Around) and node.signs == "()" else node
