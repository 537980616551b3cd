"""What the build puts into the site is all there, and is what the lock file says it is."""

import hashlib
import json
import re
import subprocess
import sys
import tomllib
from urllib.parse import unquote, urlsplit
from zipfile import ZipFile

import pytest
from jupyterlite_pyodide_kernel.constants import PYODIDE_PYTHON_VERSION, PYODIDE_VERSION

from tests.lite.sites import CDN, PIN, ROOT, SITES
from tests.site.html_page import Page

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def settings(site):
    data = json.loads((site / "jupyter-lite.json").read_text("utf-8"))["jupyter-config-data"]
    return data["litePluginSettings"]["@jupyterlite/pyodide-kernel-extension:kernel"]


def lock(site):
    return json.loads((site / "static" / "pyodide" / "pyodide-lock.json").read_text("utf-8"))


def loaded(site):
    """name -> entry of the lock file, of all that Python and `import sophia_ref` load."""
    found, names = {}, {*settings(site)["loadPyodideOptions"]["packages"], "sophia-ref"}
    entries = {re.sub(r"[-_.]+", "-", name).lower(): entry for name, entry in lock(site)["packages"].items()}
    while names := names - set(found):
        found |= {name: entries[name] for name in names}
        names = {re.sub(r"[-_.]+", "-", need).lower() for name in names for need in found[name]["depends"]}
    return found


@pytest.fixture(params=SITES)
def site(request):
    return SITES[request.param]


@pytest.fixture
def wheel(site):
    (path,) = (site / "pypi").glob("sophia_ref-*.whl")
    return path


def test_every_notebook_is_there_as_it_is_stored_but_for_notes(site):
    assert {path.name for path in NOTEBOOKS} == {path.name for path in (site / "files" / "notebooks").glob("*.ipynb")}
    noted = 0
    for path in NOTEBOOKS:
        cells = json.loads((site / "files" / "notebooks" / path.name).read_text("utf-8"))["cells"]
        notes = [cell for cell in cells if cell["id"] == "in-the-browser"]
        assert [cell for cell in cells if cell not in notes] == json.loads(path.read_text("utf-8"))["cells"]
        assert all(cell["cell_type"] == "markdown" for cell in notes)
        noted += len(notes)
    assert noted >= 1


def test_what_notebooks_import_and_link_to_is_there(site):
    folder = site / "files" / "notebooks"
    for name in ("lesson", "checks", "exercises"):
        assert (folder / f"{name}.py").read_bytes() == (ROOT / "notebooks" / f"{name}.py").read_bytes()
    links = []
    for path in folder.glob("*.ipynb"):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        links += map(urlsplit, re.findall(r"\]\(([^)\s]+)\)", text))
    relative = {unquote(link.path) for link in links if link.path and not link.scheme}
    assert len(relative) > len(NOTEBOOKS)
    assert {link for link in relative if not (folder / link).is_file()} == set()


def test_the_contents_that_a_browser_is_told_of_are_the_files(site):
    listed = json.loads((site / "api" / "contents" / "notebooks" / "all.json").read_text("utf-8"))["content"]
    assert {item["name"] for item in listed} == {path.name for path in (site / "files" / "notebooks").iterdir()}


def test_our_wheel_is_pure_python_and_has_every_file_of_both_packages(wheel):
    assert wheel.name.endswith("-py3-none-any.whl")
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (about,) = (archive.read(name).decode() for name in names if name.endswith(".dist-info/WHEEL"))
    assert "Root-Is-Purelib: true" in about
    assert not [name for name in names if name.endswith((".so", ".pyd", ".dylib"))]
    tracked = subprocess.run(
        ["git", "ls-files", "sophia_ref", "toy_problems"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert len(tracked) > 100
    assert set(tracked) <= names


def test_pip_in_the_browser_finds_our_wheel(site, wheel):
    (ours,) = (url.partition("?")[0] for url in settings(site)["pipliteUrls"] if url.startswith("./pypi/"))
    releases = json.loads((site / ours).read_text("utf-8"))["sophia-ref"]["releases"]
    ((release,),) = releases.values()
    assert (release["filename"], release["digests"]["sha256"]) == (wheel.name, sha256(wheel))


def test_an_import_finds_our_wheel_and_all_that_it_needs(site, wheel):
    ours = loaded(site)["sophia-ref"]
    assert ours["imports"] == ["pytest_sophia_ref", "sophia_ref", "toy_problems"]
    assert ours["sha256"] == sha256(wheel)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert ours["depends"] == sorted(re.match(r"[\w-]+", need)[0] for need in project["dependencies"])
    assert ours["version"] == re.search(r'__version__ = "(.+)"', (ROOT / "sophia_ref/__init__.py").read_text())[1]


def test_what_is_loaded_is_in_the_site_or_compiled_and_on_the_cdn(site):
    folder, elsewhere = site / "static" / "pyodide", set()
    for name, entry in loaded(site).items():
        if entry["file_name"].startswith(CDN):
            assert re.search(r"_wasm32\.whl$", entry["file_name"])
            elsewhere.add(name)
        else:
            assert sha256(folder / entry["file_name"]) == entry["sha256"], name
    compiled = {"numpy", "scipy", "matplotlib", "pillow", "contourpy", "kiwisolver"}
    assert elsewhere == (compiled if site == SITES["online"] else set())


def test_compiled_files_have_the_checksums_that_pyodide_gives(site):
    theirs = json.loads((ROOT / "lite/node_modules/pyodide/pyodide-lock.json").read_text("utf-8"))["packages"]
    for name in ("numpy", "scipy", "matplotlib", "pillow", "contourpy", "kiwisolver"):
        assert lock(site)["packages"][name]["sha256"] == theirs[name]["sha256"]


def test_the_kernel_is_made_for_this_python(site):
    assert lock(site)["info"]["python"].rpartition(".")[0] == PYODIDE_PYTHON_VERSION
    assert PIN.split(".")[:2] == PYODIDE_VERSION.split(".")[:2]
    for name in ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip"):
        theirs = ROOT / "lite" / "node_modules" / "pyodide" / name
        assert sha256(site / "static" / "pyodide" / name) == sha256(theirs)
    assert settings(site)["pyodideUrl"] == "./static/pyodide/pyodide.mjs"


def test_the_pages_load_nothing_from_elsewhere(site):
    for path in (site / "index.html", site / "lab" / "index.html"):
        for link in Page(path).loads:
            url = urlsplit(link)
            assert not url.netloc, f"{path} loads {link}"
            assert (path.parent / url.path).exists(), f"{path} loads {link}"


def test_the_site_is_of_a_size_to_be_served(site):
    sizes = {path: path.stat().st_size for path in site.rglob("*") if path.is_file()}
    assert max(sizes.values()) < 20e6, max(sizes, key=sizes.get)
    assert sum(sizes.values()) < 120e6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--runtime", "gone"], "--runtime: gone is no folder; expected one with wheels of Pyodide"),
        (["--runtime", "."], "is not there; expected every wheel that sophia-ref needs"),
        (
            ["--output", "kept"],
            "--output: kept is there and is no JupyterLite site; expected one, or nothing",
        ),
    ],
)
def test_the_build_says_what_is_wrong_and_writes_nothing(tmp_path, options, message):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "mine.txt").write_text("mine")
    output = [] if "--output" in options else ["--output", "new"]
    command = [sys.executable, ROOT / "lite" / "build.py", *options, *output]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["kept", "mine.txt"]


def test_a_wheel_that_pyodide_did_not_build_is_refused(tmp_path):
    for path in (SITES["offline"] / "static" / "pyodide").glob("*.whl"):
        (tmp_path / path.name).write_bytes(path.read_bytes() + (b"x" if path.name.startswith("numpy-") else b""))
    command = [sys.executable, ROOT / "lite" / "build.py", "--runtime", tmp_path, "--output", tmp_path / "new"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert re.search(r"numpy-\S+\.whl has another checksum than Pyodide's lock file has$", done.stderr.strip())
    assert not (tmp_path / "new").exists()
