"""The compiled wheels of Pyodide, for `build.py --runtime`, where its CDN is out of reach.

    python lite/runtime.py FOLDER

PyPI has them inside of the package of a web application that brings its own Pyodide. Who packed them does not matter:
build.py takes a file only if it has the checksum that Pyodide's lock file gives.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

CARRIER = "open-webui==0.12.4"  # 106 MB; it has the same version of Pyodide as package.json


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FOLDER")
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        options = ["--quiet", "--no-deps", "--only-binary=:all:", "--python-version=3.12", "--dest", folder]
        subprocess.run([sys.executable, "-m", "pip", "download", *options, CARRIER], check=True)
        (carrier,) = Path(folder).iterdir()
        with ZipFile(carrier) as archive:
            for name in archive.namelist():
                if name.endswith("_wasm32.whl"):
                    (target / Path(name).name).write_bytes(archive.read(name))


if __name__ == "__main__":
    main()
