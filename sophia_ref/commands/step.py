"""`sophia-ref step`: an optimizer on a landscape, one step at a time, at a prompt."""

import os
import re
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import repeat
from typing import Any

from sophia_ref.commands.output import Say
from sophia_ref.commands.race import started
from sophia_ref.inspector import Inspector
from sophia_ref.settings import toy

SETTINGS = ("lr", "gamma", "beta1", "beta2", "clip", "every")  # that the command line may change
HELP = """\
  Enter or n   the next step            5      five steps
  b, b 3       one step back, three     j 25   to where 25 steps lead
  c, c x       on until a coordinate is clipped, until x is
  u, u x       on until a coordinate is not clipped, until x is not
  r            back to the start        h, q   help, quit"""
COLORS = {"title": "1", "clipped": "33", "remark": "2"}  # bold, yellow, faint

AXES = {None: None, "x": 0, "y": 1}
MOVES: dict[str, Callable[[Inspector, Any], Inspector]] = {
    r"n? ?([1-9]\d{,8})?": lambda at, n: at.forward(int(n or 1)),
    r"b ?([1-9]\d{,8})?": lambda at, n: at.jump(max(0, at.t - int(n or 1))),
    r"j ?(\d{1,9})": lambda at, t: at.jump(int(t)),
    r"c ?([xy])?": lambda at, axis: at.until_clipped(AXES[axis]),
    r"u ?([xy])?": lambda at, axis: at.until_unclipped(AXES[axis]),
    r"r()": lambda at, _: at.jump(0),
}

# For output that cannot hold these letters; the last of the first line is the hat of m̂ and v̂.
_PLAIN = {"ĥ": "h_hat", "·": "*", "²": "^2", "ᵀ": "^T", "√": "sqrt ", "Σ": "sum ", "∂": "d", "\u0302": "_hat"}
_PLAIN |= {"∞": "inf", "←": "<-", "→": "->", **{sub: str(n) for n, sub in enumerate("₀₁₂₃₄₅₆₇₈₉")}}
_PLAIN |= {"β": "beta", "γ": "gamma", "δ": "delta", "ε": "eps", "η": "lr", "θ": "theta", "λ": "lambda", "ρ": "rho"}
PLAIN = str.maketrans(_PLAIN)


def command(args: Namespace, say: Say) -> int:
    landscape = started(args)
    try:
        opt = optimizer(landscape, args.optimizer, {name: getattr(args, name) for name in SETTINGS})
    except ValueError as error:
        args.parser.error(str(error))
    inspector = Inspector(landscape.noisy(args.noise**2) if args.noise else landscape, opt, seed=args.seed)
    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    try:
        plain = not "γ·ĥ ← √m\u0302".encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        plain = True
    say(f"{landscape.title}; h lists what to type\n" if args.steps is None else f"{landscape.title}\n")
    say(page(inspector, color, plain))
    for line in _typed(inspector, say) if args.steps is None else repeat("n", args.steps):
        if line.strip().lower() == "q":
            break
        answer = obey(inspector, line)
        say("\n" + (answer or page(inspector, color, plain)))
        if answer and args.steps is not None:
            break  # it has diverged
    return 0


def _typed(inspector: Inspector, say: Say) -> Iterator[str]:
    """The lines of standard input; at a terminal, with a prompt before each."""
    if sys.stdin is None:  # closed
        return
    terminal = sys.stdin.isatty()
    if terminal:
        with suppress(ImportError):
            import readline  # noqa: F401  gives input() arrow keys and a memory
    while True:
        try:
            yield input(f"\nstep {inspector.t}> " if terminal else "")
        except EOFError:
            say(end="\n" * terminal)
            return


def optimizer(landscape: Any, name: str, changes: Mapping[str, Any]) -> Any:
    """An optimizer as it races on this landscape, but for these settings, where they are not None.

    Raises ValueError, by name, for a setting that it does not have.
    """
    changes = {setting: value for setting, value in changes.items() if value is not None}
    opt = toy(landscape, name, changes.get("lr"))
    for setting, value in changes.items():
        if not hasattr(opt, setting):
            raise ValueError(f"argument --{setting}: {value:g}; expected none, as {name} has no {setting}")
    return replace(opt, **changes)


def page(inspector: Inspector, color: bool, plain: bool) -> str:
    """Where the inspector stands; with colors, or with letters that every terminal has."""
    lines = [
        f"\x1b[{COLORS[kind]}m{line}\x1b[0m" if color and kind in COLORS else line for kind, line in inspector.lines()
    ]
    return "\n".join(lines).translate(PLAIN if plain else {})


def obey(inspector: Inspector, line: str) -> str | None:
    """Move as the line says. What to answer if it is not a move, or one that cannot be made."""
    command = " ".join(line.lower().split())
    if command == "h":
        return HELP
    for pattern, move in MOVES.items():
        if found := re.fullmatch(pattern, command):
            try:
                move(inspector, found[1])
            except (FloatingPointError, LookupError) as error:
                return f"{error}; this is step {inspector.t}" if inspector.t else f"{error}; this is the start"
            return None
    return f"{line.strip()!r} is not a command\n{HELP}"
