"""Certify what is there and write docs/certificates.md, with certificates and badges in docs/certificates.

    make docs/certificates.md     in the environment of `make test-ports`; about four minutes

Everything on the page is what `sophia-ref conform` says of the installed versions.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from sophia_ref.conformance import examine
from sophia_ref.conformance.certificate import certificate, write
from sophia_ref.conformance.targets import TargetError, load
from sophia_ref.files import replacing

HERE = Path(__file__).parent
TOLD = 2  # failures of each profile that are shown
PAGE = """\
# Who conforms

Made by `make docs/certificates.md`; do not edit. What the verdicts mean, and how to get one:
[conformance](conformance.md).
"""
# (target, profiles; None: those that its name suggests, what it is)
OURS = (
    ("torch:sophia_ref.ports.torch.Sophia", None, "The PyTorch port of this repository."),
    ("optax:sophia_ref.ports.optax.sophia", None, "The optax port of this repository."),
    ("numpy:sophia_ref.Sophia", None, "The reference itself."),
)
THEIRS = (
    ("optax:optax.contrib.sophia", ["paper-H"], "optax's Sophia, asked what the paper says."),
    ("optax:optax.contrib.sophia", ["optax-H"], "The same, asked what optax says."),
    ("torch:pytorch_optimizer.SophiaH", None, "The Sophia of kozistr's pytorch_optimizer."),
    ("torch:sophia_opt.SophiaG", ["paper-G"], "The authors' SophiaG, as sophia-opt has it, asked what the paper says."),
    ("torch:sophia_opt.SophiaG", ["official-G"], "The same, asked what its own code says."),
    ("torch:torch.optim.AdamW", None, "PyTorch's AdamW."),
    ("optax:optax.adamw", None, "optax's AdamW."),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", default=HERE, type=Path, help="a folder (default: docs)")
    args = parser.parse_args()
    parts = [PAGE]
    for title, entries in (("Ports", OURS), ("Published implementations", THEIRS)):
        parts.append(f"## {title}\n")
        for name, profiles, what in entries:
            try:
                target = load(name)
            except TargetError as error:
                sys.stderr.write(f"left out: {error}\n")
                continue
            sys.stderr.write(f"{name}\n")
            report = examine(target, profiles)
            versions = ", ".join(f"{library} {version}" for library, version in target.versions.items())
            parts.append(f"### {name}\n\n{what} With {versions}.\n")
            if entries is OURS:
                path, badge = (path.relative_to(args.output) for path in write(report, args.output / "certificates"))
                said = certificate(report)["verdict"]
                parts.append(f"[![{said}]({badge.as_posix()})]({path.as_posix()})\n")
            parts.append(f"```text\n{report.text(TOLD)}\n```\n")
    with replacing(args.output / "certificates.md") as file:
        file.write("\n".join(parts).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
