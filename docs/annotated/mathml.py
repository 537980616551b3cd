"""Notation as MathML, which every current browser sets without a script.

Letters are written as the italic ones of Unicode, so that a link may stand around them: an <mi> slants what is directly
inside it, and nothing else. Those without a link have a <span>, to be of the same height (style.css has the
line-heights).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape

from docs.annotated.tree import (
    ACCENTS,
    GREEK,
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
)

Link = Callable[[str], str]  # the name of a symbol -> the attributes of its link, "" for none
LOW = "acegmnopqrsuvwxyzαγεηικμνπρστωχ"  # letters without ascenders
MARK = {accent: mark for mark, accent in ACCENTS.items()}
OVER = {"hat": "^", "bar": "‾", "tilde": "~", "check": "ˇ"}
TALL = re.compile("<mfrac|<munder")
THIN, NONE = '<mspace width="0.17em"/>', '<mspace width="0.06em"/>'


def display(statement: Node, link: Link) -> str:
    """A statement as a line of its own."""
    return f'<math display="block">{typeset(statement, link)}</math>'


def inline(node: Node, link: Link) -> str:
    """A formula in a line of prose, its fractions with a slash. The line may break before the second relation."""
    if isinstance(node, Statement) and len(node.signs) > 1:
        first = Statement(node.signs[:1], node.sides[:2])
        rest = zip(node.signs[1:], node.sides[2:], strict=True)
        more = (f'<mo form="infix">{sign}</mo>{typeset(side, link, flat=True)}' for sign, side in rest)
        return " ".join([inline(first, link), *(f"<math>{row(part)}</math>" for part in more)])
    return f"<math>{typeset(node, link, flat=True)}</math>"


def typeset(node: Node, link: Link, flat: bool = False) -> str:
    def of(inner: Node) -> str:
        return typeset(inner, link, flat)

    match node:
        case Statement(signs, sides):
            return row(of(sides[0]), *(operator(sign) + of(side) for sign, side in zip(signs, sides[1:], strict=True)))
        case Number(text):
            return number(text)
        case Symbol():
            return symbol(node, link)
        case Word(name):
            return f"<mtext>{anchor(escape(name), link(name))}</mtext>"
        case Call(name, args):
            inside = operator(",").join(map(of, args))
            if len(name) == 1:
                return row(letter(name, link(name)), fenced("()", inside))
            return row(f"<mi>{name}</mi>", fenced("()", inside))
        case Sum(signs, terms):
            first = "" if signs[0] == "+" else '<mo form="prefix">−</mo>'
            rest = (
                operator(sign.replace("-", "−")) + of(term) for sign, term in zip(signs[1:], terms[1:], strict=True)
            )
            return row(first + of(terms[0]), *rest)
        case Product(signs, factors):
            parts = [of(factors[0])]
            for sign, before, factor in zip(signs[1:], factors, factors[1:], strict=False):
                wide = isinstance(factor, Call) or isinstance(before, Call | Word) or isinstance(factor, Word)
                parts.append((operator(sign) if sign else THIN if wide else NONE) + of(factor))
            return row(*parts)
        case Fraction(above, below):
            if not flat:
                return f"<mfrac>{of(above)}{of(below)}</mfrac>"
            return row(bracketed(above, of), '<mo lspace="0.1em" rspace="0.1em">/</mo>', bracketed(below, of))
        case Power(base, exponent):
            return raised(base, of(exponent), link, of)
        case Transposed(base):
            return raised(base, '<mi mathvariant="normal">⊤</mi>', link, of)
        case Entry(base, index):
            return row(of(base), fenced("[]", of(index)))
        case Root(inside):
            return f"<msqrt>{of(inside)}</msqrt>"
        case Around(signs, inside):
            return fenced(signs, operator(",").join(map(of, inside)))
        case Summation(below, above, inside):
            sign = '<mo movablelimits="false">∑</mo>'
            if flat:
                big = f"<msubsup>{sign}{limit(below, link)}{limit(above, link)}</msubsup>"
            else:
                big = f"<munderover>{sign}{limit(below, link)}{limit(above, link)}</munderover>"
            return row(big if above else big.replace("subsup", "sub").replace("underover", "under"), THIN, of(inside))
        case Gradient(inside):
            return row('<mi mathvariant="normal">∇</mi>', NONE, of(inside))
    raise TypeError(f"no way to set {node!r}")


def row(*parts: str) -> str:
    return f"<mrow>{''.join(parts)}</mrow>"


def operator(sign: str) -> str:
    return f"<mo>{escape(sign.replace('~', '∼'))}</mo>"


def number(text: str) -> str:
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return f"<mn>{text}</mn>"
    power = f"<msup><mn>10</mn><mn>{exponent.replace('-', '−')}</mn></msup>"
    return power if mantissa == "1" else row(f"<mn>{mantissa}</mn>", "<mo>·</mo>", power)


def fenced(signs: str, inside: str) -> str:
    """Brackets grow with fractions and sums alone: subscripts would make them too tall."""
    left, right = map(escape, signs)
    grow = "" if TALL.search(inside) else ' stretchy="false"'
    return row(f'<mo form="prefix"{grow}>{left}</mo>', inside, f'<mo form="postfix"{grow}>{right}</mo>')


def bracketed(node: Node, of: Callable[[Node], str]) -> str:
    """Beside a slash, a sum needs the brackets that a fraction's line spares; a product needs them below."""
    return fenced("()", of(node)) if isinstance(node, Sum | Product) else of(node)


def raised(base: Node, exponent: str, link: Link, of: Callable[[Node], str]) -> str:
    if isinstance(base, Symbol) and (below := index(base, link)):
        return f"<msubsup>{stem(base, link)}{below}{exponent}</msubsup>"
    return f"<msup>{of(base)}{exponent}</msup>"


# -- symbols -----------------------------------------------------------------------------------------------------------


def symbol(node: Symbol, link: Link) -> str:
    below = index(node, link)
    return f"<msub>{stem(node, link)}{below}</msub>" if below else stem(node, link)


def stem(node: Symbol, link: Link) -> str:
    """The letter under its accents."""
    name, *accents = node.name.split("_")
    name = name.rstrip("0123456789")
    if accents and GREEK.get(name, name) in LOW:  # the font knows where these have theirs
        return letter(name, link(node.name), "".join(MARK[accent] for accent in accents))
    set_ = letter(name, link(node.name), kind="barred" if "bar" in accents else "hatted" if accents else "")
    for accent in accents:
        set_ = f'<mover accent="true">{set_}<mo stretchy="false">{OVER[accent]}</mo></mover>'
    return set_


def index(node: Symbol, link: Link) -> str:
    name = node.name.split("_")[0]
    digits = name[len(name.rstrip("0123456789")) :]
    parts = [f"<mn>{digits}</mn>"] * bool(digits) + [limit(node.at, link)] * bool(node.at)
    return row(*parts) if len(parts) > 1 else "".join(parts)


def limit(text: str, link: Link) -> str:
    """A subscript, or what stands under a sum: letters and digits side by side."""
    parts = []
    for sign in text.replace("!=", "≠").replace("-", "−"):
        if sign.isalpha():
            parts.append(f'<mi mathvariant="normal">{slanted(sign)}</mi>')
        elif sign.isdigit():
            parts.append(f"<mn>{sign}</mn>")
        elif not sign.isspace():
            parts.append(f'<mo lspace="0" rspace="0">{escape(sign)}</mo>')
    return row(*parts) if len(parts) != 1 else parts[0]


def letter(name: str, attributes: str, marks: str = "", kind: str = "") -> str:
    shown, kind = slanted(GREEK.get(name, name)) + marks, "marked" if marks else kind
    kind = f' class="{kind}"' if kind else ""
    return f'<mi mathvariant="normal"{kind}>{anchor(shown, attributes) if attributes else f"<span>{shown}</span>"}</mi>'


def anchor(text: str, attributes: str) -> str:
    return f"<a {attributes}>{text}</a>" if attributes else text


def slanted(letter: str) -> str:
    """The mathematical italic of a letter.

    >>> slanted("m"), slanted("h"), slanted("β"), slanted("Σ")
    ('𝑚', 'ℎ', '𝛽', 'Σ')
    """
    if letter == "h":
        return "ℎ"
    for first, last, italic in (("A", "Z", 0x1D434), ("a", "z", 0x1D44E), ("α", "ω", 0x1D6FC)):
        if first <= letter <= last:
            return chr(italic + ord(letter) - ord(first))
    return letter
