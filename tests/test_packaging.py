"""What installing and importing the package promises: names, versions, and how little is loaded."""

import ast
import importlib
import os
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

PUBLIC = {
    "sophia_ref": """
        grad value_and_grad jvp vjp hvp hessian hessian_diag check_grads primitive Layout
        Sophia SophiaH SophiaG sophia_update Adam AdamW AdaHessian Lion GradientDescent Momentum SignGD Signum
        Newton DampedNewton ClippedNewton SaddleFreeNewton Step
        hutchinson hutchinson_rademacher gnb empirical_fisher exact_diagonal averaged on_part
        Oracle Given run Run cosine Checkpoints CheckpointError Snapshot __version__
    """,
    "toy_problems.landscapes": "REGISTRY Landscape",
    "toy_problems.transformer": "TinyGPT LanguageTask",
}
NAMES = [(module, name) for module, names in PUBLIC.items() for name in names.split()]

# Refuses every import but those of the standard library, NumPy and the two packages.
NUMPY_ALONE = """
    import sys

    class NumPyAlone:
        def find_spec(self, name, path=None, target=None):
            room = name.partition(".")[0]
            if room not in sys.stdlib_module_names | {"numpy", "sophia_ref", "toy_problems"}:
                raise ModuleNotFoundError(f"{name} is blocked: this must work with NumPy alone", name=name)

    sys.meta_path.insert(0, NumPyAlone())
"""


def run_with_numpy_alone(code, **environment):
    script = textwrap.dedent(NUMPY_ALONE) + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def imports(room):
    """(file relative to the root, dotted module) of every absolute import in a package, also inside functions."""
    for path in sorted((ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((path.relative_to(ROOT), alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                yield path.relative_to(ROOT), node.module


@pytest.mark.parametrize(("module", "name"), NAMES, ids=[name for _, name in NAMES])
def test_public_name_can_be_imported(module, name):
    assert hasattr(importlib.import_module(module), name)


def test_run_stays_the_function_after_its_module_of_the_same_name_is_imported():
    import sophia_ref

    importlib.import_module("sophia_ref.run")
    assert callable(sophia_ref.run)


def test_import_of_sophia_ref_needs_numpy_alone_and_loads_no_toy_problem():
    loaded = run_with_numpy_alone("import sophia_ref; print(*sys.modules)")
    assert "numpy" in loaded
    assert "toy_problems" not in loaded


def test_import_of_sophia_ref_adds_less_than_two_tenths_of_a_second_to_numpys_own(tmp_path):
    # processor time, as other tests run beside this one; the best of several, as the first reads from a cold disk and
    # compiles, where that is not switched off as it may be here
    bytecode = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path)}
    code = "import numpy, time; start = time.process_time(); import sophia_ref; print(time.process_time() - start)"
    assert min(float(run_with_numpy_alone(code, **bytecode)[0]) for _ in range(5)) < 0.2


def test_plots_are_there_without_an_import_and_load_matplotlib_when_they_are_used():
    code = """
        import sys
        import sophia_ref as sr
        assert "matplotlib" not in sys.modules and "sophia_ref.plots" not in sys.modules
        assert callable(sr.plots.explore) and "matplotlib" in sys.modules and "toy_problems" not in sys.modules
        try:
            sr.plot
        except AttributeError as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "module 'sophia_ref' has no attribute 'plot'\n", done.stderr


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_need_numpy_alone(module):
    run_with_numpy_alone(f"""
        import importlib
        module = importlib.import_module({module!r})
        for name in {PUBLIC[module].split()!r}:
            getattr(module, name)
    """)


def test_the_block_on_other_packages_would_be_noticed():
    with pytest.raises(AssertionError, match="scipy is blocked"):
        run_with_numpy_alone("import scipy")


def test_version_is_the_same_everywhere():
    import sophia_ref

    citation = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert sophia_ref.__version__ == PROJECT["version"] == citation[1]


def test_the_command_exists():
    module, function = PROJECT["scripts"]["sophia-ref"].split(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_packages_say_that_they_are_typed():
    assert (ROOT / "sophia_ref/py.typed").exists()
    assert (ROOT / "toy_problems/py.typed").exists()


def test_only_ports_and_their_examiners_import_a_framework():
    frameworks, examiners = {"torch", "jax", "optax"}, {"torch_target.py", "optax_target.py"}
    assert [
        (path, module)
        for path, module in [*imports("sophia_ref"), *imports("toy_problems")]
        if module.partition(".")[0] in frameworks and "ports" not in path.parts and path.name not in examiners
    ] == []


def test_the_inner_rooms_do_not_know_the_toy_problems():
    inner = {"autodiff", "optimizers", "curvature.py", "oracle.py", "run.py", "study.py", "plots"}
    assert [
        (path, module)
        for path, module in imports("sophia_ref")
        if module.partition(".")[0] == "toy_problems"
        and path.parts[1] in inner
        and "explorer" not in path.parts  # the page offers every toy landscape
    ] == []


def test_toy_problems_use_nothing_of_sophia_ref_but_autodiff():
    assert [
        (path, module)
        for path, module in imports("toy_problems")
        if module.partition(".")[0] == "sophia_ref" and not module.startswith("sophia_ref.autodiff")
    ] == []
