"""`sophia-ref demo`: what `make demo` runs."""

from argparse import Namespace
from pathlib import Path

from sophia_ref.commands.output import Say, make_folder


def command(args: Namespace, say: Say) -> int:
    from sophia_ref.demo import demo

    make_folder(args, Path(args.output))
    demo(args.output, quick=args.quick, say=say)
    return 0
