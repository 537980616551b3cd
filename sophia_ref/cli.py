"""The command sophia-ref: list, race, train, demo. It parses, calls and prints; nothing else in the package prints.

Exit codes: 0 for success, 1 for a failure while running, 2 for a wrong argument, 130 for Ctrl-C, 141 for a closed pipe.
"""

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

import sophia_ref as sr
from sophia_ref.settings import ESTIMATORS, OPTIMIZERS
from toy_problems.landscapes import REGISTRY, Landscape
from toy_problems.transformer import PRESETS

TOYS = [name for name, choice in OPTIMIZERS.items() if choice.toy]
PICTURES = (".png", ".svg", ".pdf")


def main(argv: list[str] | None = None) -> int:
    """Run the command with these arguments, sys.argv's by default, and return its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a sample may hold characters that the terminal cannot show
    try:
        args = _parse(argv)
        code: int = args.command(args)
        sys.stdout.flush()
        return code
    except SystemExit as end:  # argparse: help, version, wrong arguments
        return int(end.code or 0)
    except KeyboardInterrupt:
        print("\nsophia-ref: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains at its end
        return 141
    except OSError as error:
        print(f"sophia-ref: {error}", file=sys.stderr)
        return 1


# -- list --------------------------------------------------------------------------------------------------------------


def _list(args: argparse.Namespace) -> int:
    problems = [(name, p.title, _count(p)) for name, p in REGISTRY.items()]
    print("Problems for `sophia-ref race`:")
    _print_table(problems, "<<<")
    print("\nOptimizers:")
    _print_table(
        [(name, c.summary, "race" * bool(c.toy), "train" * bool(c.language)) for name, c in OPTIMIZERS.items()], "<<<<"
    )
    print("\nEstimators of the Hessian's diagonal:")
    _print_table(list(ESTIMATORS.items()), "<<")
    print("\nPresets for `sophia-ref train`:")
    header = [("", "parameters", "vocabulary", "context", "width", "heads", "layers")]
    models = [
        (name, *map(str, (f"{m.size:,}", m.vocab, m.context, m.width, m.heads, m.layers)))
        for name, m in PRESETS.items()
    ]
    _print_table(header + models, "<>>>>>>")
    return 0


def _count(p: Landscape) -> str:
    """How many critical points there are of each kind."""
    counts = (("minimum", "minima", p.minima), ("saddle", "saddles", p.saddles), ("maximum", "maxima", p.maxima))
    return ", ".join(
        f"{len(points)} {one if len(points) == 1 else many}" for one, many, points in counts if len(points)
    )


# -- race --------------------------------------------------------------------------------------------------------------


def _race(args: argparse.Namespace) -> int:
    landscape = REGISTRY[args.problem]
    start = landscape.start if args.start is None else np.array(args.start)
    names, rates = list(dict.fromkeys(args.optimizers)), dict(args.lr)
    for name in rates:
        if name not in names:
            args.parser.error(f"argument --lr: {name!r} does not race; expected one of {', '.join(names)}")
    picture = Path(args.output)
    if picture.suffix not in PICTURES:
        picture = picture / f"race_{args.problem}.png"
    _writable(args, picture.parent)

    size = min(high - low for low, high in landscape.domain)
    points = np.concatenate([start[None], landscape.critical_points])
    curvature = float(np.abs(np.linalg.eigvalsh(sr.Oracle(landscape, points).hessian())).max())
    problem = landscape.noisy(args.noise**2) if args.noise else landscape
    rows, runs = [("", "lr", "steps", "cost", "end point", "loss", "where")], []
    for name in names:
        toy = OPTIMIZERS[name].toy
        assert toy is not None
        opt = toy(size, curvature)
        run = sr.run(problem, replace(opt, lr=rates[name]) if name in rates else opt, args.steps, start, args.seed)
        runs.append(run)
        x, y = run.theta
        loss = f"{landscape.f(run.theta):.4g}"
        cells = f"{run.optimizer.lr:.3g}", str(run.steps[-1]), f"{run.cost[-1]:.4g}", f"({x:.3g}, {y:.3g})", loss
        rows.append((name, *cells, _where(landscape, run)))
    print(f"{landscape.title}, from ({start[0]:g}, {start[1]:g})")
    print("cost: 1 is a gradient, 3 a Hessian-vector product\n")
    _print_table(rows, "<>>><><")
    print()

    from sophia_ref.plots import animation, race, style

    style.save(race.race_figure(landscape, runs), picture)
    print(f"wrote {picture}")
    if args.animate:
        print(f"wrote {animation.animate(landscape, runs, picture.with_suffix('.gif'))}")
    return 0


def _where(landscape: Landscape, run: sr.Run) -> str:
    """What critical point the run ended at, and since which step; or how far off it is."""
    if run.diverged_at is not None:
        return f"diverged at step {run.diverged_at}"
    nearest, distance = landscape.nearest(run.theta)
    point = landscape.critical_points[nearest]
    kind = str(landscape.classify(point))
    if kind == "minimum" and landscape.f(point) > landscape.f(landscape.minima).min() + 1e-6:
        kind = "local minimum"
    if landscape.classify(run.theta) == "none":
        return f"{distance:.2g} from a {kind}"
    away = np.flatnonzero(landscape.classify(run.trajectory) == "none")
    return f"{kind} since step {away[-1] + 1 if len(away) else 0}"


# -- parsing -----------------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without repeating the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = _Parser(
        prog="sophia-ref",
        description="The executable reference for the Sophia optimizer, in plain NumPy.",
        epilog="`sophia-ref COMMAND --help` says more about each.",
    )
    parser.add_argument("--version", action="version", version=f"sophia-ref {sr.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, call: Callable[[argparse.Namespace], int], summary: str, epilog: str) -> _Parser:
        sub = commands.add_parser(
            name, help=summary, description=summary, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        sub.set_defaults(command=call, parser=sub)
        return sub

    command("list", _list, "The problems, optimizers, estimators and presets there are.", "")
    race = command("race", _race, "Race optimizers on a landscape: a table and a picture.", RACE)
    race.add_argument(
        "problem", metavar="PROBLEM", type=_name_of("problem", REGISTRY), help="a name from `sophia-ref list`"
    )
    race.add_argument(
        "--optimizers",
        nargs="+",
        metavar="NAME",
        type=_name_of("optimizer", TOYS),
        default=["gd", "signgd", "adam", "newton", "sophia"],
        help="who races (default: gd signgd adam newton sophia)",
    )
    race.add_argument(
        "--steps", metavar="N", type=_integer(1), default=50, help="steps each takes (default: %(default)s)"
    )
    race.add_argument(
        "--start",
        nargs=2,
        metavar=("X", "Y"),
        type=_finite,
        help="where they start (default: the landscape's own start)",
    )
    race.add_argument(
        "--lr", nargs="+", metavar="NAME=LR", type=_rate, default=[], help="learning rates instead of the default ones"
    )
    race.add_argument(
        "--noise",
        metavar="S",
        type=_nonnegative,
        default=0.0,
        help="standard deviation of noise on each gradient (default: none)",
    )
    race.add_argument(
        "--seed", metavar="N", type=_integer(0), default=0, help="of noise and random probes (default: %(default)s)"
    )
    race.add_argument(
        "--output", metavar="PATH", default="out", help="a folder, or a file .png, .svg or .pdf (default: out)"
    )
    race.add_argument("--animate", action="store_true", help="write an animation (GIF) too")

    if not argv:
        parser.print_help(sys.stderr)
        parser.exit(2)
    if not argv[0].startswith("-") and argv[0] not in commands.choices:
        parser.error(_unknown("command", argv[0], commands.choices))
    args, extra = parser.parse_known_args(argv)
    if extra:
        args.parser.error(f"{extra[0]!r} is one argument too many, or an option that does not exist")
    return args


RACE = """\
examples:
  sophia-ref race sophia_fig2
  sophia-ref race rosenbrock --optimizers sophia adam newton --steps 200 --animate
  sophia-ref race himmelblau --start 0 0 --lr adam=0.3 sophia=0.1 --output x.svg

"""


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    return f"unknown {what} {name!r}; " + (
        f"did you mean {close[0]}?" if close else f"expected one of {', '.join(known)}"
    )


def _name_of(what: str, known: Iterable[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(_unknown(what, text, known))
        return text

    return parse


def _number(kind: type, expected: str, holds: Callable[[Any], bool]) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not holds(value):
            raise argparse.ArgumentTypeError(f"{text!r}; expected {expected}")
        return value

    return parse


def _integer(least: int) -> Callable[[str], int]:
    return _number(int, f"an integer of at least {least}", lambda value: value >= least)


_finite = _number(float, "a finite number", math.isfinite)
_nonnegative = _number(float, "a finite number >= 0", lambda value: 0 <= value < math.inf)


def _rate(text: str) -> tuple[str, float]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r}; expected NAME=LR, such as adam=0.1")
    return name, _nonnegative(value)


def _writable(args: argparse.Namespace, folder: Path) -> None:
    """Make the folder, or refuse the argument --output."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(folder, os.W_OK) else "it is read-only"
    except OSError as error:
        reason = str(error.strerror)
    if reason:
        args.parser.error(f"argument --output: '{folder}'; expected a folder that can be written to ({reason})")


def _print_table(rows: list[tuple[str, ...]], alignment: str) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:{side}{width}}" for cell, side, width in zip(row, alignment, widths, strict=True))
        print(("  " + "  ".join(cells)).rstrip())
