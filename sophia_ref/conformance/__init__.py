"""Where implementations of Sophia are compared: how they differ, and how their settings convert into each other."""

from sophia_ref.conformance.conversions import official_to_v2, v1_to_v2, v2_to_official, v2_to_v1
from sophia_ref.conformance.dialects import DIALECTS, Dialect, dialect
from sophia_ref.conformance.engine import Knobs, Variant

__all__ = [
    "DIALECTS",
    "Dialect",
    "Knobs",
    "Variant",
    "dialect",
    "official_to_v2",
    "v1_to_v2",
    "v2_to_official",
    "v2_to_v1",
]
