"""Where implementations of Sophia are compared: how they differ, how their settings convert into each other, and the
vectors that certify one: `check(MyOptimizer)` raises AssertionError unless it conforms."""

from sophia_ref.conformance.checker import Report, check, examine
from sophia_ref.conformance.conversions import official_to_v2, v1_to_v2, v2_to_official, v2_to_v1
from sophia_ref.conformance.dialects import DIALECTS, Dialect, dialect
from sophia_ref.conformance.engine import Knobs, Variant

__all__ = [
    "DIALECTS",
    "Dialect",
    "Knobs",
    "Report",
    "Variant",
    "check",
    "dialect",
    "examine",
    "official_to_v2",
    "v1_to_v2",
    "v2_to_official",
    "v2_to_v1",
]
