"""The notation of our comments, `m_t = β₁ m_{t-1} + (1 - β₁) g_t`, as a tree.

What is read here is both typeset (mathml.py) and evaluated (evaluate.py), so that what a page shows is what the tests
have checked. The grammar, loosest first:

    statement    expression, then once or more  = ← ~ < > ≤ ≥ ≠  and an expression
    expression   terms with + and - between them
    term         factors side by side, or with * · ⊙ / between them; a slash makes a fraction of its two neighbours
    factor       √x, Σ_{k=1..n} x, ∇x, max(x, y), symbol, number, (x), |x|, ‖x‖, ⟨x, y⟩; then any of ², ᵀ, ᵗ, ^n, [i]

A symbol is a letter, Latin or Greek, with hat or bar, a number, and a subscript: β₁, ĥ_t, m_{t-1}, H_ii. ASCII does as
well: beta1, h_hat, x_bar, W^T, theta. A word of more letters is notation only if it is the name of a function below, or
one of the `words` that the caller allows.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from docs.annotated.tree import (
    ACCENTS,
    GREEK,
    SPELLED,
    Around,
    Call,
    Entry,
    Fraction,
    Gradient,
    Node,
    Number,
    Power,
    Product,
    Root,
    Statement,
    Sum,
    Summation,
    Symbol,
    Transposed,
    Word,
    bare,
)

FUNCTIONS = {"max", "min", "clip", "sign", "exp", "log", "sqrt", "softmax", "diag", "mean", "tanh", "tr"}
APPLIED = {"f", "L", "N", "O"}  # letters that a bracket follows as an argument, without a space between
RELATIONS = {"!=": "≠", "<=": "≤", ">=": "≥", "<-": "←"} | {sign: sign for sign in "=←~<>≤≥≠"}
APART = 3  # spaces that part two statements of a line
DIGITS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻ᵗⁿᵏ", "0123456789-tnk", strict=True))


class NotNotation(ValueError):
    """What was read is something else, English most likely."""


@dataclass(frozen=True)
class Token:
    kind: str  # number, name, accent, low, high, sign, end
    text: str
    start: int
    end: int
    spaces: int  # before it

    @property
    def spaced(self) -> bool:
        return self.spaces > 0


TOKENS = re.compile(
    r"(?P<number>\d+(?:\.\d+)?(?:e[-+]?\d+)?)|(?P<name>[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)*|[Α-Ωα-ω])"
    r"|(?P<accent>[\u0302\u0304\u0303\u030c])|(?P<low>[₀-₉]+)|(?P<high>[⁰¹²³⁴-⁹⁻ᵗⁿᵏ]+|ᵀ)"
    r"|(?P<sign>!=|<=|>=|<-|\.\.|.)|(?P<end>$)",
    re.DOTALL,
)


def decomposed(text: str) -> str:
    """Letters with their accents behind them; ≠ and its like stay whole."""
    return "".join(unicodedata.normalize("NFD", letter) if letter.isalpha() else letter for letter in text)


def tokens(text: str) -> list[Token]:
    found: list[Token] = []
    at = 0
    while not found or found[-1].kind != "end":
        spaces = re.compile(r"\s*").match(text, at)
        assert spaces is not None
        match = TOKENS.match(text, spaces.end())
        assert match is not None
        assert match.lastgroup is not None
        found.append(Token(match.lastgroup, match[0], match.start(), match.end(), spaces.end() - at))
        at = match.end()
    return found


class Reader:
    """Recursive descent. It stops where the notation stops; `end` is how far into the text it came."""

    def __init__(self, text: str, words: Collection[str] = (), start: int = 0) -> None:
        self.tokens, self.words, self.i = tokens(text[start:]), words, 0
        self.start = start

    @property
    def next(self) -> Token:
        return self.tokens[self.i]

    @property
    def end(self) -> int:
        return self.start + (self.tokens[self.i - 1].end if self.i else 0)

    def take(self, *texts: str) -> str | None:
        """The next token if it is one of these."""
        if self.next.text in texts and self.next.kind in ("sign", "high"):
            self.i += 1
            return self.tokens[self.i - 1].text
        return None

    def need(self, text: str) -> None:
        if not self.take(text):
            raise NotNotation(f"expected {text} before {self.next.text!r}")

    def attempt(self, read: Any) -> Any:
        """What read() returns, or None, with nothing taken, where that is not notation."""
        before = self.i
        try:
            return read()
        except NotNotation:
            self.i = before
            return None

    # -- from loose to tight -------------------------------------------------------------------------------------------

    def statement(self) -> Statement:
        signs, sides = [], [self.expression()]

        def another() -> tuple[str, Node]:
            if self.next.text not in RELATIONS:
                raise NotNotation("no relation")
            self.i += 1
            return RELATIONS[self.tokens[self.i - 1].text], self.expression()

        while found := self.attempt(another):
            signs.append(found[0])
            sides.append(found[1])
        if not signs:
            raise NotNotation("states nothing")
        return Statement(tuple(signs), tuple(sides))

    def expression(self) -> Node:
        signs = ["-" if self.take("-", "−") else "+"]
        terms = [self.term()]

        def another() -> tuple[str, Node]:
            sign = self.take("+", "-", "−")
            if sign is None:
                raise NotNotation("no sign")
            return sign.replace("−", "-"), self.term()

        while found := self.attempt(another):
            signs.append(found[0])
            terms.append(found[1])
        return terms[0] if signs == ["+"] else Sum(tuple(signs), tuple(terms))

    def term(self) -> Node:
        signs, factors = [""], [self.factor()]

        def another() -> tuple[str, Node]:
            sign = self.take("*", "·", "⊙", "/")
            if sign is None and self.next.spaces >= APART:
                raise NotNotation("another statement begins")
            return sign or "", self.factor()

        while found := self.attempt(another):
            sign, factor = found
            if sign == "/":
                factors[-1] = Fraction(bare(factors[-1]), bare(factor))
            else:
                signs.append(sign.replace("*", "·"))
                factors.append(factor)
        return factors[0] if len(factors) == 1 else Product(tuple(signs), tuple(factors))

    def factor(self) -> Node:
        node = self.atom()
        while True:
            if self.next.kind == "high" and self.next.text != "ᵀ":
                self.i += 1
                text = "".join(RAISED[letter] for letter in self.tokens[self.i - 1].text)
                node = Power(node, exponent(text))
            elif self.take("ᵀ"):
                node = Transposed(node)
            elif self.take("^"):
                if self.next.text == "T":
                    self.i += 1
                    node = Transposed(node)
                elif self.take("("):
                    node = Power(node, self.expression())
                    self.need(")")
                else:
                    node = Power(node, self.number_or_symbol())
            elif self.next.text == "[" and not self.next.spaced:
                self.need("[")
                node = Entry(node, self.expression())
                self.need("]")
            else:
                return node

    def number_or_symbol(self) -> Node:
        if self.next.kind == "number":
            self.i += 1
            return Number(self.tokens[self.i - 1].text)
        return self.symbol()

    def atom(self) -> Node:
        if self.next.kind == "number":
            return self.number_or_symbol()
        if self.take("√"):
            return Root(bare(self.factor()))
        if self.take("∇"):
            return Gradient(self.factor())
        if self.next.text in ("Σ", "sum") and self.tokens[self.i + 1].text in ("_", "{"):
            return self.summation()
        for left, right in ("()", "||", "‖‖", "⟨⟩"):
            if self.take(left):
                inside = [self.expression()]
                while left in "⟨(" and self.take(","):
                    inside.append(self.expression())
                self.need(right)
                if left == "(" and len(inside) > 1:
                    raise NotNotation("a tuple")
                return Around(left + right, tuple(inside))
        return self.name()

    def summation(self) -> Node:
        self.i += 1
        self.need("_")
        below = self.braces()
        body = self.term()
        low, _, above = below.partition("..")
        return Summation(low, above, body)

    def braces(self) -> str:
        """The text between braces."""
        self.need("{")
        first = self.i
        while self.next.text != "}":
            if self.next.kind == "end":
                raise NotNotation("an open brace")
            self.i += 1
        text = "".join(" " * token.spaced + token.text for token in self.tokens[first : self.i]).strip()
        self.need("}")
        return text

    def name(self) -> Node:
        token = self.next
        if token.kind != "name":
            raise NotNotation(f"{token.text!r} is not notation")
        following = self.tokens[self.i + 1]
        if token.text in FUNCTIONS:
            self.i += 1
            bracket = self.next.text == "(" and not self.next.spaced
            args = self.attempt(self.arguments if bracket else lambda: (self.factor(),))
            if args is None and token.text in self.words:
                return Word(token.text)
            if args is None:
                raise NotNotation(f"{token.text} of what?")
            return Root(bare(args[0])) if token.text == "sqrt" else Call(token.text, args)
        if token.text in self.words:
            self.i += 1
            return Word(token.text)
        if token.text in APPLIED and following.text == "(" and not following.spaced:
            self.i += 1
            return Call(token.text, self.arguments())
        return self.symbol()

    def arguments(self) -> tuple[Node, ...]:
        self.need("(")
        args = [self.expression()]
        while self.take(","):
            args.append(self.expression())
        self.need(")")
        return tuple(args)

    def symbol(self) -> Symbol:
        token = self.next
        if token.kind != "name":
            raise NotNotation(f"{token.text!r} is no symbol")
        head, *tails = token.text.split("_")
        letters = head.rstrip("0123456789")
        number = head[len(letters) :]
        name = SPELLED.get(letters, letters)
        if len(name) != 1 and name not in GREEK:
            raise NotNotation(f"{token.text!r} is a word")
        self.i += 1
        accents = [tails.pop(0)] if tails and tails[0] in ACCENTS.values() else []
        while self.next.kind == "accent" and not self.next.spaced:
            accents.append(ACCENTS[self.next.text])
            self.i += 1
        if self.next.kind == "low" and not self.next.spaced:
            number += self.next.text.translate(DIGITS)
            self.i += 1
        at = ""
        if len(tails) == 1:
            at = tails[0]
        elif tails:
            raise NotNotation(f"{token.text!r} is a word")
        elif self.next.text == "_" and not self.next.spaced:
            self.i += 1
            if self.next.text == "{":
                at = self.braces()
            elif self.next.kind in ("name", "number"):
                at = self.next.text
                self.i += 1
            else:
                raise NotNotation("nothing below")
        if len(at) > 2 and at.isalpha():
            raise NotNotation(f"{token.text!r} is a word")
        return Symbol("_".join([name + number, *accents]), at.replace(" ", ""))


def exponent(text: str) -> Node:
    if text.startswith("-"):
        return Sum(("-",), (exponent(text[1:]),))
    return Number(text) if text.isdigit() else Symbol(text)


def read_line(text: str, words: Collection[str] = ()) -> tuple[list[Statement], str]:
    """The statements that a line of comment begins with, and the remark behind them.

    They end with the line, at a comma, or where three spaces part them from the next. A line that begins with anything
    else has none.

    >>> statements, remark = read_line("q = clip(c / s, ρ), to the letter")
    >>> len(statements), remark
    (1, 'to the letter')
    >>> read_line("the paper's t mod k = 1 would never hold")
    ([], "the paper's t mod k = 1 would never hold")
    """
    text = decomposed(text.strip())
    found: list[Statement] = []
    at = 0
    while at < len(text):
        reader = Reader(text, words, at)
        statement = reader.attempt(reader.statement)
        if statement is None:
            break
        ended = re.compile(r"\s*(?:$|,|;|(?<= {3}))\s*").match(text, reader.end)
        if ended is None:
            break
        found.append(statement)
        at = ended.end()
    return found, unicodedata.normalize("NFC", text[at:])
