"""The command sophia-ref: list, race, step, basins, explore, dialects, conform, train, profile, claims, checkpoint,
demo. Only it prints.

Exit codes: 0 for success, 1 for a failure on the way (and of conform, where something does not), 2 for a wrong
argument, 130 after Ctrl-C (in a training after SIGTERM and SIGHUP too), 141 for a closed pipe.
"""

import io
import os
import sys
from collections.abc import Sequence
from functools import partial

from sophia_ref.checkpoint import CheckpointError
from sophia_ref.commands import (
    basins,
    checkpoint,
    claims,
    conform,
    demo,
    dialects,
    explore,
    listing,
    profile,
    race,
    step,
    train,
)
from sophia_ref.commands.arguments import parse

COMMANDS = {
    "list": listing.command,
    "race": race.command,
    "step": step.command,
    "basins": basins.command,
    "explore": explore.command,
    "dialects": dialects.command,
    "conform": conform.command,
    "train": train.command,
    "profile": profile.command,
    "claims": claims.command,
    "checkpoint": checkpoint.command,
    "demo": demo.command,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, those of sys.argv by default, and return its exit code."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a text may not fit the terminal's encoding
    try:
        args = parse(sys.argv[1:] if argv is None else argv, COMMANDS)
        code: int = args.call(args, partial(print, flush=True))
        sys.stdout.flush()
        return code
    except SystemExit as end:  # argparse: help, version, a wrong argument
        return int(end.code or 0)
    except KeyboardInterrupt as interrupt:
        print("\nsophia-ref: " + _with_notes("interrupted", interrupt), file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at exit
        return 141
    except (OSError, MemoryError, CheckpointError) as error:
        print("sophia-ref: error: " + _with_notes(str(error), error), file=sys.stderr)
        return 1


def _with_notes(message: str, error: BaseException) -> str:
    return "; ".join([message, *getattr(error, "__notes__", [])])
