"""The profiles of Sophia: which dialect each is, and so which way the engine's knobs point."""

from __future__ import annotations

from collections.abc import Mapping

from sophia_ref.conformance.dialects import DIALECTS
from sophia_ref.conformance.engine import Knobs

DIALECT_OF: Mapping[str, str] = {
    "paper-H": "paper-v2",
    "paper-G": "paper-v2",
    "official-G": "official",
    "optax-H": "optax",
    "Levanter-H": "levanter",
}
SOPHIAS = tuple(DIALECT_OF)
SIGNED = ("paper-H", "optax-H", "Levanter-H")  # whose curvature may be negative
OFFICIAL_EPS = DIALECTS["official"].fixed["eps"]


def knobs_of(profile: str) -> Knobs:
    """Which way the knobs point in a profile; as in the paper where it is none of Sophia."""
    return DIALECTS[DIALECT_OF.get(profile, "paper-v2")].knobs


def makes_estimate(profile: str, every: int, t: int) -> bool:
    """Whether a profile makes an estimate in step t; Adam, AdamW and Lion never do."""
    return profile in SOPHIAS and knobs_of(profile).estimates_at(t, every)
