"""`sophia-ref claims`: try what is claimed for Sophia, on the cores of this machine."""

from argparse import Namespace
from concurrent.futures import BrokenExecutor
from pathlib import Path

from sophia_ref.claims import NAMES, load
from sophia_ref.claims.budgets import BUDGETS
from sophia_ref.claims.conduct import conduct, render
from sophia_ref.claims.runs import FolderError
from sophia_ref.commands.output import Say, make_folder
from sophia_ref.report import text_table
from sophia_ref.study import processes


def command(args: Namespace, say: Say) -> int:
    if args.list:
        claims = [load(name) for name in NAMES]
        say(text_table(("CLAIM", "", ""), [(claim.name, claim.number, claim.title) for claim in claims]))
        return 0
    if args.full and args.quick:
        args.parser.error("argument --quick: given with --full; expected one of them")
    folder = Path(args.output)
    make_folder(args, folder)
    try:
        if args.page:
            say(f"wrote {render(folder)}")
            return 0
        names = list(dict.fromkeys(args.names)) or list(NAMES)
        budget = BUDGETS["full" if args.full else "quick"]
        conduct(names, budget, folder, processes, args.workers, say, plan_only=args.plan)
    except FolderError as error:
        args.parser.error(f"argument --output: {error}")
    except (ModuleNotFoundError, BrokenExecutor) as error:
        args.parser.exit(1, f"{args.parser.prog}: error: {error}\n")
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(f"what is done is kept in {args.output}, and the same command goes on with it")
        raise
    return 0
