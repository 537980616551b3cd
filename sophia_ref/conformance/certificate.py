"""Certificates: what an implementation was asked, with which versions of everything, and what became of it.

`write` puts a certificate (JSON) and a badge (SVG) into a folder, `verify` reads a certificate again and believes
nothing of it that can be worked out: its verdict has to follow from its lists, and its lists have to be of vectors
that were published.
"""

from __future__ import annotations

import hashlib
import html
import json
import platform
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sophia_ref import __version__
from sophia_ref.conformance import vectors
from sophia_ref.conformance.checker import CONFORMS, DIFFERS, ESTIMATORS, INCOMPLETE, RULE, Report, part_of, verdict
from sophia_ref.conformance.vectors import PROFILES
from sophia_ref.files import replacing

FORMAT, VERSION = "sophia-ref-certificate", 1


class CertificateError(ValueError):
    """A certificate that cannot be read, or that does not hold what it says."""


def certificate(report: Report) -> dict[str, Any]:
    """The certificate of a report, as it stands in JSON."""
    target = report.target
    source = None
    if target.source is not None:
        source = {"file": target.source.name, "sha256": _sha256(target.source)}
    profiles: dict[str, dict[str, Any]] = {}
    for profile, outcomes in report.profiles.items():
        diagnosis = report.diagnoses[profile]
        profiles[profile] = {
            "verdict": report.verdict(profile),
            "passed": [o.vector.id for o in outcomes if o.status == "passed"],
            "failed": {o.vector.id: o.message for o in outcomes if o.status == "failed"},
            "not_asked": {o.vector.id: o.message for o in outcomes if o.status == "not asked"},
            "diagnosis": str(diagnosis) if diagnosis else None,
        }
    plain: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "target": {
            "name": target.name,
            "kind": target.kind,
            "versions": dict(target.versions),
            "source": source,
            "device": target.device,
        },
        "vectors": {"version": vectors.manifest()["version"], "manifest": _manifest()},
        "sophia_ref": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "profiles": profiles,
    }
    plain["verdict"] = _overall({profile: each["verdict"] for profile, each in profiles.items()})
    return plain | {"sha256": vectors.digest(plain)}


def write(report: Report, folder: str | Path) -> tuple[Path, Path]:
    """Write certificate and badge into a folder; their paths. Raises OSError as open does."""
    plain = certificate(report)
    label = re.sub(r"[^\w.-]+", "_", report.target.label)
    name = f"conform-{report.target.kind}-{label}"
    paths = Path(folder) / f"{name}.json", Path(folder) / f"{name}.svg"
    for path, text in zip(paths, (json.dumps(plain, indent=1) + "\n", badge(plain)), strict=True):
        with replacing(path) as file:
            file.write(text.encode())
    return paths


def verify(path: str | Path, source: str | Path | None = None) -> dict[str, Any]:
    """A certificate, once it is known to hold together. source: the file that was certified, to compare with.

    Raises CertificateError, which says what does not.
    """
    path = Path(path)
    try:
        plain = json.loads(path.read_bytes())
    except OSError as error:
        raise CertificateError(f"{str(path)!r} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise CertificateError(f"{str(path)!r} is not JSON: {error}") from None
    try:
        _verify(plain, source)
    except CertificateError as error:
        raise CertificateError(f"{str(path)!r}: {error}") from None
    except (LookupError, TypeError, AttributeError) as error:
        raise CertificateError(f"{str(path)!r} is not as `write` writes it ({error!r:.100})") from None
    certified: dict[str, Any] = plain
    return certified


def _verify(plain: Mapping[str, Any], source: str | Path | None) -> None:
    if plain.get("format") != FORMAT or plain.get("version") != VERSION:
        got = f"{plain.get('format')!r}, version {plain.get('version')!r}"
        raise CertificateError(f"is of format {got}; expected {FORMAT!r}, version {VERSION}")
    rest = {name: value for name, value in plain.items() if name != "sha256"}
    if (found := vectors.digest(rest)) != plain["sha256"]:
        raise CertificateError(f"sha256 is {plain['sha256']}; expected {found}: it was changed after it was written")
    manifest, version = vectors.manifest(), plain["vectors"]["version"]
    if version == manifest["version"] and plain["vectors"]["manifest"] != _manifest():
        raise CertificateError(f"vectors {version} have another manifest here; expected {_manifest()}")
    for profile, each in plain["profiles"].items():
        if profile not in PROFILES:
            raise CertificateError(f"profile {profile!r} is not known")
        lists = {"passed": each["passed"], "failed": each["failed"], "not asked": each["not_asked"]}
        statuses = {id: status for status, ids in lists.items() for id in ids}
        # vectors are only added, so those of an older version are among those here
        asked = {
            v.id: v for v in vectors.load(profile) if _parts(manifest["vectors"][v.id]["since"]) <= _parts(version)
        }
        if unknown := [id for id in statuses if id not in asked]:
            raise CertificateError(f"{unknown[0]!r} is not among the vectors {version} of {profile}")
        if missing := [id for id in asked if id not in statuses]:
            raise CertificateError(f"{missing[0]!r} of the vectors {version} is neither passed, failed nor not asked")
        expected = verdict((asked[id], status) for id, status in statuses.items())
        if each["verdict"] != expected:
            raise CertificateError(f"the verdict on {profile} is {each['verdict']!r}; its lists make it {expected!r}")
    expected = _overall({profile: each["verdict"] for profile, each in plain["profiles"].items()})
    if plain["verdict"] != expected:
        raise CertificateError(f"the verdict is {plain['verdict']!r}; those on profiles make it {expected!r}")
    if source is not None:
        certified = plain["target"]["source"]
        if certified is None or certified["sha256"] != _sha256(Path(source)):
            raise CertificateError(f"{str(source)!r} is not the file that was certified")


def _overall(verdicts: Mapping[str, str]) -> str:
    """What holds for all profiles together."""
    if any(each.startswith(DIFFERS) for each in verdicts.values()):
        return next(each for each in sorted(verdicts.values()) if each.startswith(DIFFERS))
    if not verdicts or INCOMPLETE in verdicts.values():
        return INCOMPLETE
    estimating = [p for p in verdicts if any(part_of(vector) == ESTIMATORS for vector in vectors.load(p))]
    whole = bool(estimating) and all(verdicts[profile].endswith(ESTIMATORS) for profile in estimating)
    return f"{CONFORMS}: {RULE}" + f" and {ESTIMATORS}" * whole


def _parts(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _manifest() -> str:
    return _sha256(vectors.FOLDER / "manifest.json")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# -- the badge ---------------------------------------------------------------------------------------------------------

_WIDTH = 6.3  # of a letter at 11 px, on average; textLength makes every font fit
_BADGE = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{label}">
<title>{label}</title>
<style>
  .name {{ fill: #eaeef2; }} .verdict {{ fill: {light}; }} .frame {{ fill: none; stroke: #8c959f; }}
  text {{ font: 11px Verdana, DejaVu Sans, sans-serif; }} .dark {{ fill: #1f2328; }} .bright {{ fill: #ffffff; }}
  @media (prefers-color-scheme: dark) {{
    .name {{ fill: #30363d; }} .verdict {{ fill: {dark}; }} .dark {{ fill: #e6edf3; }}
  }}
</style>
<clipPath id="c"><rect width="{width}" height="20" rx="4"/></clipPath>
<g clip-path="url(#c)">
  <rect class="name" width="{left}" height="20"/><rect class="verdict" x="{left}" width="{right}" height="20"/>
</g>
<rect class="frame" x=".5" y=".5" width="{inner}" height="19" rx="3.5"/>
<text class="dark" x="7" y="14" textLength="{name_length}">{name}</text>
<text class="bright" x="{verdict_x}" y="14" textLength="{verdict_length}">{verdict}</text>
</svg>
"""
# what the verdict stands on, light and dark; white letters have a contrast of 4.5 and more on each
_COLORS = {CONFORMS: ("#116329", "#1f6f3a"), DIFFERS: ("#a40e26", "#a8323a"), INCOMPLETE: ("#57606a", "#5b636d")}


def badge(plain: Mapping[str, Any]) -> str:
    """The badge of a certificate, an SVG whose words say what its colour does."""
    name, said = f"sophia-ref {plain['vectors']['version']}", str(plain["verdict"])
    light, dark = next(colors for word, colors in _COLORS.items() if said.startswith(word))
    lengths = [round(len(text) * _WIDTH) for text in (name, said)]
    left, right = (length + 14 for length in lengths)
    return _BADGE.format(
        width=left + right,
        inner=left + right - 1,
        left=left,
        right=right,
        light=light,
        dark=dark,
        name=html.escape(name),
        verdict=html.escape(said),
        label=html.escape(f"{name}: {said}"),
        name_length=lengths[0],
        verdict_length=lengths[1],
        verdict_x=left + 7,
    )


def summary(plain: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A certificate in a few lines, as (what, value)."""
    target, source = plain["target"], plain["target"]["source"]
    lines = [
        ("target", target["name"]),
        ("verdict", plain["verdict"]),
        ("on", plain["date"]),
        ("vectors", plain["vectors"]["version"]),
        ("with", ", ".join(f"{name} {version}" for name, version in target["versions"].items())),
        *([("device", target["device"])] if target.get("device") else []),  # older certificates have none
        ("python", f"{plain['python']}, {plain['platform']}, sophia-ref {plain['sophia_ref']}"),
    ]
    if source is not None:
        lines.append(("source", f"{source['file']}, SHA-256 {source['sha256']}"))
    for profile, each in plain["profiles"].items():
        counts = f"{len(each['passed'])} passed, {len(each['failed'])} failed, {len(each['not_asked'])} not asked"
        lines.append((profile, f"{each['verdict']}: {counts}"))
    return lines
