"""What the command line accepts, and how it says no: one line that names the argument, its value and what was expected,
and the exit code 2."""

import argparse
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from sophia_ref import __version__
from sophia_ref.claims import NAMES
from sophia_ref.commands import dialects
from sophia_ref.commands.output import PICTURES, Say
from sophia_ref.conformance.vectors import PROFILES
from sophia_ref.settings import LANGUAGE, TOYS
from toy_problems.landscapes import REGISTRY
from toy_problems.transformer import PRESETS

RACERS = ["gd", "signgd", "adam", "newton", "sophia"]  # those of the paper's Figure 2

RACE = """\
The settings are made for toys. With those for language models (gamma 0.01,
beta2 0.99, curvature every 10 steps) Sophia would be clipped throughout a short
race, which is sign momentum. Here gamma = lr, beta2 is 0.5 and curvature new in
every step: a step is Newton's, coordinate by coordinate, cut off at lr, which
is a tenth of the domain unless --lr says otherwise. Learning rates follow the
landscape: a part of the domain's shorter side for methods that clip or
normalise, one over the largest curvature for gradient descent. All are in
sophia_ref/settings.py.

examples:
  sophia-ref race sophia_fig2 --animate
  sophia-ref race rosenbrock --optimizers sophia adam newton --steps 200
  sophia-ref race himmelblau --start 0 0 --lr adam=0.3 sophia=0.1
  sophia-ref race beale --noise 0.5 --seed 1 --output beale.svg
"""

STEP = """\
Each step is printed with its equations and the numbers in them, coordinate by
coordinate. Then Enter takes the next one, b goes back, j 25 jumps, c goes on to
the next step in which a coordinate is clipped, and h lists what else there is.
The lines may come from a pipe. Going back and on again is exact, noise and
random probes included. Settings are those of `sophia-ref race`; gamma is --lr
unless --gamma is given too.

examples:
  sophia-ref step sophia_fig2
  sophia-ref step rosenbrock --optimizer sophia --gamma 0.01 --beta2 0.99
  sophia-ref step himmelblau --optimizer clipped-newton --start 0 0 --steps 3
  printf 'c\\nu\\nb\\n' | sophia-ref step beale --optimizer sophia-h --seed 1
"""

BASINS = """\
Every optimizer starts from the middle of each cell of a grid over the domain.
The picture shows by colour at which critical point it ends, and by shade how
soon. Settings are those of `sophia-ref race`; all cores are used.

examples:
  sophia-ref basins sophia_fig2
  sophia-ref basins himmelblau --optimizers newton saddle-free sophia
  sophia-ref basins ackley --lr sophia=0.1 --steps 1000
  sophia-ref basins six_hump_camel --grid 1000 600 --output camel.png
"""

EXPLORE = """\
One self-contained page, which needs no server and no network: choose the
landscape and the optimizers, drag the start and the settings, step and play,
and look into the state at every step. The page runs the rules itself, in
JavaScript; their tests compare each term with the Python.

examples:
  sophia-ref explore
  sophia-ref explore rosenbrock
  sophia-ref explore ackley --output ackley.html --no-open
"""

DIALECTS = """\
Without PROBLEM: in what implementations of Sophia differ, as tables. With it: how
far each is from the paper after 30 steps there, with settings converted to mean
the same as far as they can, from the same start with the same probes and labels;
a table and a picture. On the landscapes, which have no labels to draw, those that
draw labels are left out; softmax is a regression that has them.

examples:
  sophia-ref dialects
  sophia-ref dialects softmax
  sophia-ref dialects rosenbrock --seed 1 --output rosenbrock.svg
  sophia-ref dialects --markdown > docs/dialects.md
"""

CONFORM = """\
TARGET is torch:module.Class for a torch.optim.Optimizer, optax:module.name for a
function that returns a GradientTransformation, numpy:module.name for a function
of a case, a class like sophia_ref.Sophia or a rule like sophia_ref.sophia_update,
or a results file .json that any program has written. A Sophia is asked what the
paper says (paper-H and paper-G, or the one in its name), whatever it does
itself; --profile asks something else. What differs is told with the step, the
field and the distance, and with the mistake or the dialect whose numbers it has.
A certificate and a badge are written; a certificate as TARGET is verified.
docs/conformance.md has all of it. Exit code 0: it conforms, 1: it does not.

examples:
  sophia-ref conform numpy:sophia_ref.Sophia
  sophia-ref conform torch:my_package.optim.Sophia --output certificates
  sophia-ref conform optax:optax.contrib.sophia --profile optax-H
  sophia-ref conform torch:my.SophiaG --names gamma=curvature_scale
  sophia-ref conform torch:my.SophiaG --device cuda
  sophia-ref conform results.json
  sophia-ref conform --show paper-H/exact-float32
"""

TRAIN = """\
As in the paper, the learning rate warms up (over a tenth of the steps here) and
falls by a cosine to a twentieth of --lr, and gradients are clipped to norm 1.
The last tenth of the text is held out for validation. A folder of its own holds
the log, the curve, the settings and the last three checkpoints. Whatever ends a
training, Ctrl-C or a power cut: --resume FOLDER goes on as if nothing had
happened, to the last bit on the same machine with as many threads. The small
presets are fastest on one: OPENBLAS_NUM_THREADS=1 in the environment says so.

examples:
  sophia-ref train
  sophia-ref train --optimizer adamw --steps 2000 --preset 100k
  sophia-ref train --text book.txt --optimizer sophia-h --lr 0.003 --gamma 0.1
  sophia-ref train --text enwik9 --preset 10m --steps 20000 --every 100
  sophia-ref train --resume out/train_sophia-g
"""

PROFILE = """\
Each layer of the model is timed while steps are taken, and compared with the
least time that this machine needs for its flops and its bytes. It takes about
ten seconds, with a large preset minutes; the machine should do nothing else.
OPENBLAS_NUM_THREADS=1 in the environment shows what one thread does.

examples:
  sophia-ref profile
  sophia-ref profile --preset 1m --batch-size 4 --optimizer adamw
"""

CLAIMS = """\
Each claim made for Sophia is tried, and its verdict computed from what was
measured. Methods are tuned with equal budgets, and training runs shared between
claims. First the plan is printed: how many runs, and how long they will take.
Everything is kept in FOLDER as soon as it is there, so Ctrl-C loses the runs
under way at most, and the same command goes on. The page is FOLDER.md, with its
figures in FOLDER. Quick takes up to ten minutes on two cores, and its runs are
too short to conclude anything; --full takes three or four hours. Nothing else
should run meanwhile, as some claims are about time. The images of claim 8 need
scikit-learn: pip install 'sophia-ref[digits]'.

examples:
  sophia-ref claims --list
  sophia-ref claims saddle heterogeneous
  sophia-ref claims --full --plan
  sophia-ref claims --full --output docs/claims
  sophia-ref claims --page --output docs/claims
"""

CHECKPOINT = """\
example:
  sophia-ref checkpoint show out/train_sophia-g/step-00001000.ckpt
"""

DEMO = """\
First the race on the surface of the paper's Figure 2, then AdamW, Sophia-H and
Sophia-G on a tiny GPT, each tuned with the same effort. It takes one to two
minutes on two idle cores and writes pictures, tables and report.html, a page
that opens from disk.

examples:
  sophia-ref demo
  sophia-ref demo --quick --output elsewhere
"""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # argparse takes -1e-3 for an option
        self._negative_number_matcher = re.compile(r"-(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$", re.IGNORECASE)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def parse(argv: Sequence[str], calls: Mapping[str, Callable[[argparse.Namespace, Say], int]]) -> argparse.Namespace:
    """The arguments, with `call` from calls by the command's name, and the command's own `parser` for errors.

    Raises SystemExit, as argparse does.
    """
    parser = Parser(
        prog="sophia-ref",
        description="The executable reference for the Sophia optimizer, in plain NumPy.",
        epilog="`sophia-ref COMMAND --help` says more.",
    )
    parser.add_argument("--version", action="version", version=f"sophia-ref {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, summary: str, epilog: str = "") -> Callable[..., Any]:
        form = argparse.RawDescriptionHelpFormatter
        sub = commands.add_parser(name, help=summary, description=f"{summary}.", epilog=epilog, formatter_class=form)
        sub.set_defaults(call=calls[name], parser=sub)
        return sub.add_argument

    command("list", "Show the problems, optimizers, estimators and presets")

    add = command("race", "Race optimizers on a landscape: a table, a picture, an animation", RACE)
    add("problem", metavar="PROBLEM", type=one_of("a problem", REGISTRY), help="a name that `sophia-ref list` shows")
    racer = one_of("an optimizer that races", TOYS, several=True)
    who = f"who races (default: {' '.join(RACERS)})"
    add("--optimizers", metavar="NAME", nargs="+", type=racer, default=RACERS, help=who)
    add("--steps", metavar="N", type=integer(1), default=50, help="steps of each (default: %(default)s)")
    own = "(default: the landscape's own start)"
    add("--start", metavar=("X", "Y"), nargs=2, type=finite, help=f"where they start {own}")
    add("--lr", metavar="NAME=LR", nargs="+", type=rate, default=[], help="learning rates in place of the default ones")
    noise = "standard deviation of noise on the gradients (default: none)"
    add("--noise", metavar="S", type=deviation, default=0.0, help=noise)
    add("--seed", metavar="N", type=integer(0), default=0, help="of noise and random probes (default: %(default)s)")
    place = "a folder, or a file .png, .svg or .pdf (default: %(default)s)"
    add("--output", metavar="PATH", type=picture_or_folder, default="out", help=place)
    add("--animate", action="store_true", help="write an animated GIF too")
    add("--video", action="store_true", help="write an animation as MP4 too, which needs ffmpeg")

    add = command("basins", "Show where the starts of a grid end: a table of shares and a picture", BASINS)
    add("problem", metavar="PROBLEM", type=one_of("a problem", REGISTRY), help="a name that `sophia-ref list` shows")
    add("--optimizers", metavar="NAME", nargs="+", type=racer, default=RACERS, help=who)
    cells = "columns and rows of the grid (default: 300 300)"
    add("--grid", metavar=("N", "M"), nargs=2, type=integer(1), default=(300, 300), help=cells)
    add("--steps", metavar="N", type=integer(1), default=300, help="steps of each at most (default: %(default)s)")
    add("--lr", metavar="NAME=LR", nargs="+", type=rate, default=[], help="learning rates in place of the default ones")
    add("--noise", metavar="S", type=deviation, default=0.0, help=noise)
    add("--seed", metavar="N", type=integer(0), default=0, help="of noise and random probes (default: %(default)s)")
    add("--output", metavar="PATH", type=picture_or_folder, default="out", help=place)

    add = command("step", "Step an optimizer forward and back: each number with its equation", STEP)
    add("problem", metavar="PROBLEM", type=one_of("a problem", REGISTRY), help="a name that `sophia-ref list` shows")
    stepper = one_of("an optimizer that races", TOYS)
    add("--optimizer", metavar="NAME", type=stepper, default="sophia", help="its name (default: %(default)s)")
    add("--steps", metavar="N", type=integer(1), help="print N steps and ask nothing")
    add("--start", metavar=("X", "Y"), nargs=2, type=finite, help=f"where it starts {own}")
    add("--lr", metavar="LR", type=nonnegative, help="learning rate")
    add("--gamma", metavar="G", type=positive, help="Sophia's curvature scale")
    add("--beta1", metavar="B", type=decay, help="decay of the momentum")
    add("--beta2", metavar="B", type=decay, help="decay of the curvature, or of the mean square")
    add("--clip", metavar="RHO", type=bound, help="Sophia's greatest ratio; inf turns clipping off")
    add("--every", metavar="K", type=integer(1), help="steps from one estimate of curvature to the next")
    add("--noise", metavar="S", type=deviation, default=0.0, help=noise)
    add("--seed", metavar="N", type=integer(0), default=0, help="of noise and random probes (default: %(default)s)")

    add = command("explore", "Open a page on which optimizers and landscapes can be played with", EXPLORE)
    choice = one_of("a problem", REGISTRY)
    shown = "what it opens with, a name that `sophia-ref list` shows (default: %(default)s)"
    add("problem", metavar="PROBLEM", nargs="?", type=choice, default="sophia_fig2", help=shown)
    add("--output", metavar="FILE", type=page, default="out/explorer.html", help="where to (default: %(default)s)")
    add("--no-open", action="store_true", help="write the page without opening it in a browser")

    add = command("dialects", "Show how implementations of Sophia differ, and how far they drift", DIALECTS)
    which = "a landscape that `sophia-ref list` shows, or softmax (default: tables of the differences)"
    add("problem", metavar="PROBLEM", nargs="?", type=one_of("a problem", dialects.PROBLEMS), help=which)
    add("--seed", metavar="N", type=integer(0), default=0, help="of probes and labels (default: %(default)s)")
    place = "a folder, or a file .png, .svg or .pdf (default: %(default)s)"
    add("--output", metavar="PATH", type=picture_or_folder, default="out", help=place)
    add("--markdown", action="store_true", help="print the tables as Markdown")

    add = command("conform", "Certify an implementation of Sophia, Adam, AdamW or Lion with test vectors", CONFORM)
    what = "torch:module.Class, optax:module.name, numpy:module.name, or a file .json"
    add("target", metavar="TARGET", nargs="?", help=what)
    profile = one_of("a profile", PROFILES, several=True)
    which = f"what it is asked, some of {', '.join(PROFILES)} (default: what its name suggests)"
    add("--profile", metavar="P", nargs="+", type=profile, help=which)
    called = "what settings are called there, where that is not found by itself: gamma=scale, say"
    add("--names", metavar="A=B", nargs="+", type=pair, default=[], help=called)
    add("--device", metavar="NAME", help="where a PyTorch target computes: cuda, cuda:1 (default: the CPU)")
    add("--output", metavar="FOLDER", default="out", help="where certificate and badge go (default: %(default)s)")
    add("--list", action="store_true", help="list the vectors, of all profiles or of those given")
    add("--show", metavar="ID", help="print one vector")

    add = command("train", "Train a tiny GPT on a text: a loss curve, a log, a sample", TRAIN)
    add("--text", metavar="FILE", help="any file (default: the language reference that every Python carries)")
    kind = "characters or bytes (default: characters where FILE is UTF-8 of at most 16 MiB, else bytes)"
    add("--tokens", metavar="KIND", type=one_of("a kind of token", ("characters", "bytes")), help=kind)
    learner = one_of("an optimizer that trains", LANGUAGE)
    add("--optimizer", metavar="NAME", type=learner, default="sophia-g", help="its name (default: %(default)s)")
    preset = one_of("a preset", PRESETS)
    add("--preset", metavar="NAME", type=preset, default="30k", help="size of the model (default: %(default)s)")
    add("--steps", metavar="N", type=integer(1), default=1000, help="length of the training (default: %(default)s)")
    add("--batch-size", metavar="N", type=integer(1), default=16, help="windows a step (default: %(default)s)")
    add("--lr", metavar="LR", type=nonnegative, help="peak learning rate (default: the optimizer's)")
    add("--gamma", metavar="G", type=positive, help="Sophia's curvature scale (default: 0.05, sophia-h 0.01)")
    add("--weight-decay", metavar="W", type=nonnegative, help="decoupled decay (default: the optimizer's)")
    add("--seed", metavar="N", type=integer(0), default=0, help="of weights, batches, probes (default: %(default)s)")
    often = "steps from one look to the next: validation loss, log, checkpoint (default: a twentieth of the steps)"
    add("--every", metavar="N", type=integer(1), help=often)
    where = "where files go (default: out/train_NAME, with a number if that is taken)"
    add("--output", metavar="FOLDER", help=where)
    add("--resume", metavar="FOLDER", help="go on with the training there; only --text may be given too, if it moved")

    add = command("profile", "Show where the time of a training step goes: a table and a picture", PROFILE)
    add("--preset", metavar="NAME", type=preset, default="100k", help="size of the model (default: %(default)s)")
    add("--optimizer", metavar="NAME", type=learner, default="sophia-g", help="its name (default: %(default)s)")
    add("--batch-size", metavar="N", type=integer(1), default=16, help="windows a step (default: %(default)s)")
    add("--output", metavar="PATH", type=picture_or_folder, default="out", help=place)

    add = command("claims", "Try the claims made for Sophia: a page of verdicts", CLAIMS)
    which = "names that --list shows (default: all)"
    add("names", metavar="NAME", nargs="*", type=one_of("a claim", NAMES), default=[], help=which)
    add("--list", action="store_true", help="show the claims and do nothing")
    add("--full", action="store_true", help="the full budget, some hours")
    add("--quick", action="store_true", help="the quick budget, some minutes (the default)")
    add("--plan", action="store_true", help="print the plan and stop")
    add("--page", action="store_true", help="write figures and page anew from the numbers in FOLDER, and stop")
    cores = os.cpu_count() or 1
    add("--workers", metavar="N", type=integer(1), default=cores, help="processes (default: %(default)s, one a core)")
    add("--output", metavar="FOLDER", default="out/claims", help="where files go (default: %(default)s)")

    add = command("checkpoint", "Print what is in a checkpoint", CHECKPOINT)
    add("action", metavar="show", type=one_of("an action", ("show",)))
    add("file", metavar="FILE", help="step-....ckpt in the folder of a training")

    add = command("demo", "Race and train with settings tuned alike, and report on it", DEMO)
    add("--output", metavar="FOLDER", default="out", help="where files go (default: %(default)s)")
    add("--quick", action="store_true", help="a tiny budget that shows every part and proves nothing")

    if not argv:
        parser.print_help(sys.stderr)
        parser.exit(2)
    if not argv[0].startswith("-") and argv[0] not in calls:
        parser.error(not_one_of("a command", argv[0], calls))
    args, extra = parser.parse_known_args(argv)
    if extra:
        options = re.findall(r"--[a-z-]+", args.parser.format_usage())
        if near := get_close_matches(extra[0], options, 1):
            hint = f"did you mean {near[0]!r}?"
        else:
            hint = "--start takes two numbers" if getattr(args, "start", None) else f"see {args.parser.prog} --help"
        args.parser.error(f"argument {extra[0]!r} was not expected; {hint}")
    return args


def not_one_of(what: str, name: str, names: Iterable[str]) -> str:
    near = get_close_matches(name.lower(), names, 1) or [known for known in names if name.lower() in known]
    return f"{name!r} is not {what}; " + (f"did you mean {near[0]!r}?" if near else f"expected {', '.join(names)}")


def one_of(what: str, names: Iterable[str], several: bool = False) -> Callable[[str], str]:
    def convert(string: str) -> str:
        if several and "," in string:
            raise argparse.ArgumentTypeError(f"{string!r}; expected names separated by spaces")
        if string not in names:
            raise argparse.ArgumentTypeError(not_one_of(what, string, names))
        return string

    return convert


def number(expected: str, holds: Callable[[Any], bool], kind: Callable[[str], Any] = float) -> Callable[[str], Any]:
    def convert(string: str) -> Any:
        try:
            value = kind(string)
        except ValueError:
            value = math.nan
        if not holds(value):
            raise argparse.ArgumentTypeError(f"{string!r}; expected {expected}")
        return value

    return convert


finite = number("a finite number", math.isfinite)
nonnegative = number("a finite number >= 0", lambda x: 0 <= x < math.inf)
deviation = number("a finite number >= 0 with a finite square", lambda x: x >= 0 and x * x < math.inf)
decay = number("a number in [0, 1)", lambda x: 0 <= x < 1)
bound = number("a number > 0, or inf", lambda x: x > 0)
positive = number("a finite number > 0", lambda x: 0 < x < math.inf)


def integer(least: int) -> Callable[[str], Any]:
    return number(f"an integer of at least {least}", lambda x: x >= least, int)


def rate(string: str) -> tuple[str, float]:
    name, _, value = string.partition("=")
    try:
        return name, nonnegative(value)
    except argparse.ArgumentTypeError:
        expected = "NAME=LR with a finite number >= 0, such as adam=0.1"
        raise argparse.ArgumentTypeError(f"{string!r}; expected {expected}") from None


def pair(string: str) -> tuple[str, str]:
    name, equals, value = string.partition("=")
    if not (equals and name and value.isidentifier()):
        raise argparse.ArgumentTypeError(f"{string!r}; expected A=B, such as gamma=curvature_scale")
    return name, value


def picture_or_folder(string: str) -> str:
    if Path(string).suffix not in ("", *PICTURES) and not Path(string).is_dir():
        raise argparse.ArgumentTypeError(f"{string!r}; expected a folder, or a file {', '.join(PICTURES)}")
    return string


def page(string: str) -> str:
    if Path(string).suffix.lower() not in (".html", ".htm") or Path(string).is_dir():
        raise argparse.ArgumentTypeError(f"{string!r}; expected a file .html")
    return string
