"""`sophia-ref explore`: the page to play with, written and opened."""

import webbrowser
from argparse import Namespace
from pathlib import Path

from sophia_ref.commands.output import Say, make_folder
from sophia_ref.files import replacing


def command(args: Namespace, say: Say) -> int:
    path = Path(args.output)
    make_folder(args, path.parent)

    from sophia_ref.plots import explore

    with replacing(path) as file:
        file.write(explore(args.problem).html.encode())
    say(f"wrote {path}")
    if not (args.no_open or webbrowser.open(path.resolve().as_uri())):
        say("no browser was found; the page opens from disk in any")
    return 0
