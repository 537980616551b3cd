"""Make the notebooks: NN_name.py, which is what people edit, becomes NN_name.ipynb with everything that it shows.

    python notebooks/build.py            all of them, a few minutes
    python notebooks/build.py 06 08      these alone

The result is the same each time on one machine: nothing in it says when or where it was made. Cells tagged `volatile`
print times, which no test compares.
"""

import argparse
import asyncio
import os
import sys
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import jupytext
import nbformat
from nbclient import NotebookClient

from sophia_ref.files import replacing

FOLDER = Path(__file__).resolve().parent
KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
          "language_info": {"file_extension": ".py", "name": "python"}}  # fmt: skip
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")  # sums in one order
TIMEOUT = 300  # seconds a cell


def sources() -> list[Path]:
    """The .py of every notebook, in the order of the course."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.py"))


def read(path: Path) -> nbformat.NotebookNode:
    """The notebook of a .py, without outputs."""
    with open(path, encoding="utf-8") as file:
        notebook = jupytext.read(file, fmt="py:percent")
    notebook.metadata = nbformat.from_dict(KERNEL)
    for i, cell in enumerate(notebook.cells):
        tags = cell.metadata.get("tags", [])
        cell.id = f"cell-{i:02d}"
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if "hide-input" in tags:
            cell.metadata["jupyter"] = {"source_hidden": True}
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def execute(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with what its cells show, run from top to bottom in a kernel of its own, in this folder.

    Raises nbclient's CellExecutionError, with the traceback, where a cell raises.
    """
    if sys.platform == "win32":
        asyncio.set_event_loop_policy(asyncio.WindowsSelectorEventLoopPolicy())
    environment = os.environ | ONE_THREAD | {"SOPHIA_REF_STATIC": "1", "PYTHONHASHSEED": "0"}
    with warnings.catch_warnings(), TemporaryDirectory() as sockets:
        warnings.simplefilter("ignore")  # those of Jupyter's own machinery; a cell's are part of what it shows
        client = NotebookClient(notebook, timeout=TIMEOUT, resources={"metadata": {"path": FOLDER}})
        if os.name == "posix":  # no ports, which two at a time may fight for
            client.config.ConnectionFileMixin.update(transport="ipc", connection_file=f"{sockets}/kernel.json")
        client.execute(env=environment)
    notebook.metadata = nbformat.from_dict(KERNEL)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)
    return notebook


def joined(outputs: list) -> list:
    """Outputs with one stream where there were several in a row: how they are cut depends on time."""
    result: list = []
    for output in outputs:
        if output.output_type == "stream" and result and result[-1].get("name") == output.name:
            result[-1].text += output.text
        else:
            result.append(output)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("numbers", nargs="*", metavar="NN", help="which notebooks, by number; all by default")
    wanted = parser.parse_args().numbers
    chosen = [path for path in sources() if not wanted or path.name[:2] in wanted]
    if missing := set(wanted) - {path.name[:2] for path in chosen}:
        parser.error(f"NN: {', '.join(sorted(missing))}; expected some of {', '.join(p.name[:2] for p in sources())}")
    for path in chosen:
        start = time.perf_counter()
        text = nbformat.writes(execute(read(path))) + "\n"
        with replacing(path.with_suffix(".ipynb")) as file:
            file.write(text.encode())
        print(f"{path.stem}: {time.perf_counter() - start:.0f} s, {len(text) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
