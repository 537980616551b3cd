"""`sophia-ref checkpoint`: what is in one."""

from argparse import Namespace
from pathlib import Path

from sophia_ref import checkpoint
from sophia_ref.commands.output import Say
from sophia_ref.report import text_table


def command(args: Namespace, say: Say) -> int:
    if not Path(args.file).is_file():
        args.parser.error(f"argument FILE: {args.file!r}; expected a checkpoint, such as step-00001000.ckpt")
    say(text_table(("IN THE CHECKPOINT", ""), checkpoint.show(args.file)))
    return 0
