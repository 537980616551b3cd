"""python -m docs.annotated out/annotated: the sources as pages of prose beside code."""

import argparse
from pathlib import Path

from docs.annotated.glossary import markdown
from docs.annotated.pages import write
from sophia_ref.files import replacing


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m docs.annotated", description=__doc__.split(": ")[1].capitalize())
    parser.add_argument("output", type=Path, help="the folder to write, or with --glossary the file")
    parser.add_argument("--site", default="", metavar="ADDRESS", help="of the site around, from there: ../index.html")
    parser.add_argument("--glossary", action="store_true", help="write the glossary as Markdown instead")
    args = parser.parse_args()
    if args.glossary:
        with replacing(args.output) as file:
            file.write(markdown().encode())
    else:
        try:
            write(args.output, args.site)
        except ValueError as error:
            parser.error(str(error))


if __name__ == "__main__":
    main()
