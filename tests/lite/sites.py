"""Where the two sites are."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
SITES = {"online": ROOT / "out" / "lite", "offline": ROOT / "out" / "lite-offline"}
