"""Run the code of a notebook: `cells.py NAME` prints, as JSON, what its cells print and raise."""

import json
import sys
from pathlib import Path


def executed(path):
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    import sophia_ref  # noqa: F401  # which loads all that it needs, as a notebook's first cell does

    shell = InteractiveShell.instance()
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            with capture_output() as output:
                result = shell.run_cell("".join(cell["source"]))
            error = result.error_before_exec or result.error_in_exec
            yield {"source": cell["source"], "text": output.stdout, "error": error and repr(error)}


if __name__ == "__main__":
    print(json.dumps(list(executed(Path(f"{sys.argv[1]}.ipynb")))))
