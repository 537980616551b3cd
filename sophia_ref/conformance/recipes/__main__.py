"""Write the vectors: `python -m sophia_ref.conformance.recipes [--check]`.

What was published stays as it is, to the digit. A recipe that would change or drop a published vector is refused; new
vectors are added under VERSION, which must then be larger than that of the last ones. One that turns out to be wrong is
withdrawn: it stays in its file, the manifest says why, and nobody is asked it. --check only says whether the files
are what the recipes make.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sophia_ref.conformance.recipes import curvature, decay, estimates, first_order, momentum, numbers, refresh, refused
from sophia_ref.conformance.vectors import FOLDER, PROFILES, digest, version_parts
from sophia_ref.files import replacing

VERSION = "1.2.0"
_TIGHT = "its tolerance had no place for sums over the classes that go one by one: gnb-130-classes has"
WITHDRAWN = {f"paper-G/gnb-many-classes-{dtype}": _TIGHT for dtype in ("float32", "float64")}  # id -> why
RECIPES = (curvature, momentum, refresh, decay, numbers, estimates, first_order, refused)


def make() -> dict[str, dict[str, Any]]:
    """All vectors by id. Raises ValueError where two have the same."""
    found: dict[str, dict[str, Any]] = {}
    for recipe in RECIPES:
        for vector in recipe.vectors():
            if vector["id"] in found:
                raise ValueError(f"id: {vector['id']!r} is given twice")
            found[vector["id"]] = vector
    for profile in sorted({id.split("/")[0] for id in WITHDRAWN}):
        published = json.loads((FOLDER / f"{profile}.json").read_text())["vectors"]
        found |= {vector["id"]: vector for vector in published if vector["id"] in WITHDRAWN}
    return found


def manifest_of(
    made: Mapping[str, Any],
    published: Mapping[str, Any],
    version: str = VERSION,
    withdrawn: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """What manifest.json says of these vectors, but for the files.

    published: what it says so far. Raises ValueError where one of those is changed or gone, or where new ones come under
    a version that is not larger.
    """
    known = published.get("vectors", {})
    if lost := [id for id in known if id not in made]:
        raise ValueError(f"{lost[0]}: was published in {known[lost[0]]['since']}; expected to be made still")
    digests = {id: digest(vector) for id, vector in made.items()}
    for id, each in known.items():
        if digests[id] != each["sha256"]:
            raise ValueError(f"{id}: is not what was published in {each['since']}; a new vector needs a new id")
    new = [id for id in digests if id not in known]
    if known and new and version_parts(version) <= version_parts(published["version"]):
        raise ValueError(f"VERSION: {version}; expected more than {published['version']}, as {new[0]} is new")
    entries = {id: known.get(id, {"since": version, "sha256": digests[id]}) for id in digests}
    entries |= {id: {**entries[id], "withdrawn": why} for id, why in withdrawn.items()}
    return {"version": version if new else published["version"], "vectors": dict(sorted(entries.items()))}


def text_of(profile: str, made: Mapping[str, Any]) -> str:
    """A profile's file: one vector a line."""
    lines = [json.dumps(vector, separators=(",", ":")) for id, vector in made.items() if id.split("/")[0] == profile]
    return f'{{"format":"sophia-ref-vectors","profile":"{profile}","vectors":[\n' + ",\n".join(lines) + "\n]}\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m sophia_ref.conformance.recipes", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a file would change")
    args = parser.parse_args()
    path = FOLDER / "manifest.json"
    published = json.loads(path.read_text()) if path.exists() else {}
    made = make()
    try:
        manifest = manifest_of(made, published, withdrawn=WITHDRAWN)
    except ValueError as error:
        parser.exit(1, f"{error}\n")
    texts = {f"{profile}.json": text_of(profile, made).encode() for profile in PROFILES}
    manifest["files"] = {name: hashlib.sha256(content).hexdigest() for name, content in texts.items()}
    texts[path.name] = (json.dumps(manifest, indent=1) + "\n").encode()
    changed = [
        name
        for name, content in texts.items()
        if not (FOLDER / name).exists() or (FOLDER / name).read_bytes() != content
    ]
    for name in [] if args.check else changed:
        with replacing(FOLDER / name) as file:
            file.write(texts[name])
    state = "would change" if args.check else "wrote"
    parser.exit(
        int(args.check and bool(changed)),
        f"{len(made)} vectors, version {manifest['version']}; {state} {', '.join(changed) or 'nothing'}\n",
    )
    return 0


if __name__ == "__main__":
    main()
