"""What can be certified: `load` makes a target, a function of a case, from a name or from a Python object.

    numpy:module.name    a function case -> list of dicts; a class with init and step like `sophia_ref.Sophia`; or a
                         rule like `sophia_ref.sophia_update`
    torch:module.Class   a torch.optim.Optimizer
    optax:module.name    a function that returns a GradientTransformation
    results.json         what any program, in any language, has written

docs/conformance.md says more about each.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sophia_ref.conformance.targets.base import (
    FIELDS,
    Fault,
    NotAsked,
    Refused,
    Results,
    Target,
    TargetError,
    profiles_by_name,
)
from sophia_ref.conformance.targets.plain import RuleTarget

__all__ = ["FIELDS", "Fault", "NotAsked", "Refused", "Results", "Target", "TargetError", "load"]

__tracebackhide__ = True  # a test that calls check sees its own line

KINDS = ("numpy", "torch", "optax")
LIBRARIES = {"numpy": ("numpy",), "torch": ("torch",), "optax": ("jax", "optax")}


def load(target: Any, names: Mapping[str, str] | None = None, device: str | None = None) -> Target:
    """A target from its name, as in the table above, or from the function or class itself.

    names: the paper's name of a setting -> what it is called there, for those that are not found by themselves.
    device: where a PyTorch target computes, "cuda" or "cuda:1", say; the CPU where None. Raises TargetError, which says
    what is wrong with it.
    """
    names = dict(names or {})
    if not isinstance(target, str | os.PathLike):
        kind = _kind(target)
        name = f"{kind}:{getattr(target, '__module__', '?')}.{getattr(target, '__qualname__', type(target).__name__)}"
        return _made(name, kind, target, names, device)
    spec = os.fspath(target)
    if isinstance(target, os.PathLike) or spec.endswith(".json"):
        from sophia_ref.conformance.targets.results import results_target

        if device is not None:
            raise TargetError(f"{spec!r} is a results file, which computes nowhere; expected no device, got {device!r}")
        return results_target(Path(spec))
    kind, colon, dotted = spec.partition(":")
    if not colon or kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, 1) if colon else []
        expected = f"expected {', '.join(f'{kind}:module.name' for kind in KINDS)}"
        hint = f"did you mean '{near[0]}:{dotted}'?" if near else f"{expected}, or a results file .json"
        raise TargetError(f"{spec!r} is not a target; {hint}")
    for library in LIBRARIES[kind]:
        if find_spec(library) is None:
            extra = {"torch": "torch", "jax": "jax", "optax": "jax"}[library]
            raise TargetError(f"{spec!r} needs {library}, which is not installed: pip install 'sophia-ref[{extra}]'")
    return _made(spec, kind, _found(spec, dotted), names, device)


def _made(name: str, kind: str, obj: Any, names: Mapping[str, str], device: str | None) -> Target:
    if device is not None and kind != "torch":
        hint = "; JAX chooses by JAX_PLATFORMS in the environment" if kind == "optax" else ""
        raise TargetError(f"{name!r}: a target of {kind} is given no device, got {device!r}{hint}")
    try:
        run = _runner(kind)(obj, names, *([] if device is None else [device]))
    except TargetError as error:
        raise TargetError(f"{name!r}: {error}") from None
    source = _source(obj)
    plain = name.rsplit(":")[-1].rsplit(".")[-1]
    refuses = not isinstance(run, RuleTarget)
    return Target(
        name, kind, run, profiles_by_name(plain), source, _versions(kind, obj), refuses, getattr(run, "place", None)
    )


def _runner(kind: str) -> Callable[..., Any]:
    return importlib.import_module(f"sophia_ref.conformance.targets.{_MODULES[kind]}").runner  # type: ignore[no-any-return]


_MODULES = {"numpy": "plain", "torch": "torch_target", "optax": "optax_target"}


def _kind(obj: Any) -> str:
    """What a Python object is."""
    torch = sys.modules.get("torch")
    if torch is not None and inspect.isclass(obj) and issubclass(obj, torch.optim.Optimizer):
        return "torch"
    if callable(obj) and not inspect.isclass(obj) and "optax" in sys.modules:
        try:
            signature = inspect.signature(obj)
        except (TypeError, ValueError):
            return "numpy"
        if "GradientTransformation" in str(signature.return_annotation) or "learning_rate" in signature.parameters:
            return "optax"
    return "numpy"


def _found(spec: str, dotted: str) -> Any:
    """The object of this dotted name, from the current folder too."""
    parts = dotted.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        raise TargetError(f"{spec!r}: {dotted!r}; expected module.name, such as my_package.optim.Sophia")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    module, rest = None, parts
    for end in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:end])
        try:
            module, rest = importlib.import_module(name), parts[end:]
            break
        except ModuleNotFoundError as error:
            if error.name and (name == error.name or name.startswith(error.name + ".")):
                if end == 1:
                    raise TargetError(f"{spec!r}: there is no module {name!r} here or on the path of Python") from None
                continue
            raise TargetError(f"{spec!r}: module {name!r} does not import: {_said(error)}") from None
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # a module may do anything, end the program too
            raise TargetError(f"{spec!r}: module {name!r} does not import: {_said(error)}") from None
    found: Any = module
    for i, part in enumerate(rest):
        if not hasattr(found, part):
            where = ".".join(parts[: len(parts) - len(rest) + i])
            near = difflib.get_close_matches(part, [name for name in dir(found) if not name.startswith("_")], 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise TargetError(f"{spec!r}: {where!r} has no {part!r}{hint}")
        found = getattr(found, part)
    return found


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")[:300]


def _source(obj: Any) -> Path | None:
    try:
        file = inspect.getsourcefile(inspect.unwrap(obj))
    except (TypeError, ValueError):
        return None
    return Path(file) if file is not None and Path(file).is_file() else None


@cache
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def _versions(kind: str, obj: Any) -> dict[str, str]:
    """The versions of the libraries that it runs on, and of the package that it is from, where that is installed."""
    package = str(getattr(obj, "__module__", "")).split(".")[0]
    wanted = [*LIBRARIES[kind], *_distributions().get(package, [])]
    if "numpy" not in wanted:
        wanted.insert(0, "numpy")
    found = {}
    for name in wanted:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            pass
    return found
