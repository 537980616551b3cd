"""Make the site in which the notebooks run in the browser, into out/lite.

    python lite/build.py                     compiled libraries come from Pyodide's CDN
    python lite/build.py --runtime FOLDER    they come from there, and the site needs no other host

JupyterLite is JupyterLab without a server; Pyodide is Python compiled to WebAssembly. All that is pure Python is part
of the site: our own wheel, the kernel, IPython, ipywidgets. What is compiled is NumPy, SciPy, matplotlib and Pillow.

Pyodide's lock file says which wheel an import needs. Ours is entered there, so that `import sophia_ref` loads it and
all that it needs: a notebook installs nothing.
"""

import argparse
import email
import hashlib
import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from pydoc_data import topics
from tempfile import TemporaryDirectory
from zipfile import ZipFile

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PYODIDE = HERE / "node_modules" / "pyodide"
CORE = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip")
CDN = "https://cdn.jsdelivr.net/pyodide/v{}/full/"
EXTENSIONS = Path(sys.prefix) / "share" / "jupyter" / "labextensions"
KERNEL = EXTENSIONS / "@jupyterlite" / "pyodide-kernel-extension"
WIDGETS = EXTENSIONS / "@jupyter-widgets" / "jupyterlab-manager"

OF_THE_KERNEL = ("piplite-", "pyodide_kernel-", "ipykernel-", "widgetsnbextension-4")  # wheels that it brings
OF_PYPI = ("comm", "ipywidgets", "jupyterlab-widgets")  # not among Pyodide's: the versions that are installed here
# Loaded with Python itself: what the kernel needs, and ipywidgets, which only lesson.py imports, where no one looks.
AT_START = ["micropip", "piplite", "ipykernel", "pyodide-kernel", "comm", "ipython", "jedi", "ipywidgets"]

# Put under the title of a notebook, by its number: what is different in a browser, or cannot be done there.
TRAINS = "In a browser the training below takes minutes, several times as long as on the same computer outside of it."
NOTES = {
    "00": "You run this in your browser. The first cell loads Python's libraries, which takes a while, once. What you "
    "change is kept in this browser alone. A computation takes several times as long as on the same computer outside "
    "of it, and what would share work among threads or processes does it in turn.",
    "09": TRAINS,
    "10": f"{TRAINS} Its numbers differ a little from those that are stored: rounding does, and training amplifies it.",
    "13": "Every cell below runs in a browser; PyTorch and JAX do not. To certify an implementation in one of them, "
    "install sophia-ref on a computer.",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runtime", type=Path, metavar="FOLDER", help="where compiled wheels are, in place of the CDN")
    parser.add_argument("--output", type=Path, metavar="FOLDER", default=ROOT / "out" / "lite")
    args = parser.parse_args()
    if args.runtime and not args.runtime.is_dir():
        parser.error(f"--runtime: {args.runtime} is no folder; expected one with wheels of Pyodide")
    if args.output.exists() and not (args.output / "jupyter-lite.json").exists():
        parser.error(f"--output: {args.output} is there and is no JupyterLite site; expected one, or nothing")
    with TemporaryDirectory() as name:
        folder = Path(name)
        contents(folder / "files")
        libraries(folder, args.runtime)
        settings(folder)
        python(folder, "jupyterlite_core", "build", "--no-sourcemaps", "--no-unused-shared-packages")
        shutil.rmtree(args.output, ignore_errors=True)
        shutil.copytree(folder / "_output", args.output)
    print(f"{args.output}/index.html; to open it: python3 -m http.server -d {args.output}")


def python(folder: Path, module: str, *words: object) -> None:
    """Run a module of Python in a folder. What it prints is of interest only if it fails."""
    command = [sys.executable, "-m", module, *map(str, words)]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}\n{' '.join(command)}: failed with {done.returncode}")


# What a reader sees


def contents(folder: Path) -> None:
    """The notebooks as they are stored, with their notes, and the files that they import, read or link to."""
    for path in sorted(ROOT.glob("notebooks/[0-9]*.ipynb")):
        notebook = json.loads(path.read_text("utf-8"))
        if note := NOTES.get(path.name[:2]):
            cell = {"cell_type": "markdown", "id": "in-the-browser", "metadata": {}, "source": f"> {note}"}
            notebook["cells"].insert(1, cell)
        write(folder / "notebooks" / path.name, notebook)
    helpers = [ROOT / "notebooks" / f"{name}.py" for name in ("lesson", "checks", "exercises")]
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("docs/*.png"), *ROOT.glob("docs/*.gif")]
    folders = [path for name in ("gallery", "certificates", "claims") for path in ROOT.glob(f"docs/{name}/*")]
    for path in [*helpers, *pages, *folders]:
        copy(path, folder / path.relative_to(ROOT))
    # The text that a tiny GPT reads: the language reference, which Pyodide leaves out of Python's library
    copy(Path(topics.__file__), folder / "notebooks" / "pydoc_data" / "topics.py")


def settings(folder: Path) -> None:
    kernel = {"loadPyodideOptions": {"packages": AT_START}}
    plugins = {"@jupyterlite/pyodide-kernel-extension:kernel": kernel}
    data = {"appName": "sophia-ref", "litePluginSettings": plugins}
    write(folder / "jupyter-lite.json", {"jupyter-lite-schema-version": 0, "jupyter-config-data": data})
    build = {"federated_extensions": [str(KERNEL), str(WIDGETS)], "ignore_sys_prefix": ["federated_extensions"]}
    write(folder / "jupyter_lite_config.json", {"LiteBuildConfig": build | {"apps": ["lab"]}})


# What Python finds


def libraries(folder: Path, runtime: Path | None) -> None:
    """Pyodide in folder/static/pyodide with its lock, and wheels in folder/pypi, where the kernel's %pip looks too."""
    core, pypi = folder / "static" / "pyodide", folder / "pypi"
    for name in CORE:
        copy(PYODIDE / name, core / name)
    lock = json.loads((PYODIDE / "pyodide-lock.json").read_text("utf-8"))
    packages = lock["packages"]
    release = ".".join(lock["info"]["python"].split(".")[:2])
    where = CDN.format(json.loads((PYODIDE / "package.json").read_text("utf-8"))["version"])

    for path in KERNEL.glob("static/pypi/*.whl"):
        if path.name.startswith(OF_THE_KERNEL):
            copy(path, pypi / path.name)
    python(pypi, "pip", "wheel", "--no-deps", ROOT)
    download(pypi, release, {name: version(name) for name in OF_PYPI})
    added = {name_of(path): read(path, release) for path in pypi.glob("*.whl")}
    packages |= {name: entry for name, (entry, _) in added.items()}
    for name, (_, needs) in added.items():
        for need in needs:
            has = packages.get(canonicalize_name(need.name), {}).get("version")
            if has is None or not need.specifier.contains(has):
                sys.exit(f"{name} needs {need}, and Pyodide has {has or 'no such package'}")
    needed = closure(packages, [*AT_START, "sophia-ref"])
    pure = {name for name in needed - set(added) if packages[name]["file_name"].endswith("-none-any.whl")}
    download(pypi, release, {name: packages[name]["version"] for name in pure})

    for path in pypi.glob("*.whl"):
        packages[name_of(path)] |= {"file_name": f"../../pypi/{path.name}", "sha256": checksum(path)}
    for name in set(packages) - set(added) - pure:
        if runtime and name in needed:
            copy(checked(runtime, packages[name]), core / packages[name]["file_name"])
        else:
            packages[name]["file_name"] = where + packages[name]["file_name"]
    write(core / "pyodide-lock.json", lock)


def checked(runtime: Path, entry: dict) -> Path:
    """The file of a package in a folder with wheels of Pyodide."""
    path = runtime / entry["file_name"]
    if not path.exists():
        sys.exit(f"--runtime: {path} is not there; expected every wheel that sophia-ref needs")
    if checksum(path) != entry["sha256"]:
        sys.exit(f"--runtime: {path} has another checksum than Pyodide's lock file has")
    return path


def download(folder: Path, release: str, versions: dict[str, str]) -> None:
    """Wheels in pure Python for a release of Python, as PyPI has them."""
    target = ["--only-binary=:all:", "--platform=any", f"--python-version={release}"]
    names = [f"{name}=={number}" for name, number in versions.items()]
    python(folder, "pip", "download", "--no-deps", *target, *names)


def name_of(wheel: Path) -> str:
    return canonicalize_name(wheel.name.partition("-")[0])


def read(wheel: Path, release: str) -> tuple[dict, list[Requirement]]:
    """A wheel as Pyodide's lock file describes it, but for its place; and what it requires in a browser."""
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        (place,) = (name for name in names if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        metadata = email.message_from_bytes(archive.read(place))
    browser = {"sys_platform": "emscripten", "platform_system": "Emscripten", "python_version": release, "extra": ""}
    needs = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
    needs = [need for need in needs if need.marker is None or need.marker.evaluate(browser)]
    modules = {found[1] for name in names if (found := re.match(r"(\w+)(/__init__)?\.py$", name))}
    entry = {
        "name": name_of(wheel),
        "version": metadata["Version"],
        "imports": sorted(modules),
        "depends": sorted(canonicalize_name(need.name) for need in needs),
        "install_dir": "site",
        "package_type": "package",
        "unvendored_tests": False,
    }
    return entry, needs


def closure(packages: dict, names: list[str]) -> set[str]:
    """The packages of these names, and all that they depend on."""
    found: set[str] = set()
    while names:
        name, *names = names
        if name not in found:
            found.add(name)
            names += map(canonicalize_name, packages[name]["depends"])
    return found


def checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)


def write(path: Path, data: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False), "utf-8")


if __name__ == "__main__":
    main()
