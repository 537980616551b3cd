"""Run the code of a notebook: python cells.py NAME prints, as JSON, what its cells print and raise."""

import json
import sys
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

import sophia_ref  # noqa: F401  # a notebook's first cell imports it

sys.path.insert(0, "")
shell = InteractiveShell.instance()
found = []
for cell in json.loads(Path(f"{sys.argv[-1]}.ipynb").read_text("utf-8"))["cells"]:
    if cell["cell_type"] == "code":
        with capture_output() as output:
            result = shell.run_cell("".join(cell["source"]))
        error = result.error_before_exec or result.error_in_exec
        found.append({"source": cell["source"], "text": output.stdout, "error": error and repr(error)})
print(json.dumps(found))
