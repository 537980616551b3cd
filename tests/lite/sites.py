"""Where the two sites are, and where the one that is online loads compiled libraries from."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]
SITES = {"online": ROOT / "out" / "lite", "offline": ROOT / "out" / "lite-offline"}
PIN = json.loads((ROOT / "lite" / "package.json").read_text("utf-8"))["dependencies"]["pyodide"]
CDN = f"https://cdn.jsdelivr.net/pyodide/v{PIN}/full/"
