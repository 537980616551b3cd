"""The whole kit against real optimizers: those of this repository, of PyTorch, of optax, and the published Sophias."""

import importlib
import importlib.metadata
import inspect
import sys
from types import ModuleType

import pytest

from sophia_ref.cli import main
from sophia_ref.conformance import examine
from sophia_ref.conformance.certificate import verify, write
from sophia_ref.conformance.compare import ask
from sophia_ref.conformance.diagnosis import diagnose
from sophia_ref.conformance.targets import TargetError, load
from sophia_ref.conformance.vectors import find
from sophia_ref.conformance.vectors import load as vectors_of
from tests.ports.optax import broken as broken_optax
from tests.ports.torch import broken as broken_torch

PLAIN = "paper-H/plain-float64"


@pytest.fixture
def torch(library):
    return library("torch")


@pytest.fixture
def optax(library):
    library("jax")
    return library("optax")


@pytest.fixture
def port(library):
    """A port of this repository by name."""

    def load(name):
        for needed in {"torch": ["torch"], "optax": ["jax", "optax"]}[name]:
            library(needed)
        return importlib.import_module(f"sophia_ref.ports.{name}")

    return load


def failures(report):
    """What failed, without the refusals."""
    return {outcome.vector.id for outcome in report.failed if outcome.vector.verdict != "invalid"}


# -- PyTorch -----------------------------------------------------------------------------------------------------------


def test_the_torch_port_conforms(port, tmp_path):
    port("torch")
    report = examine("torch:sophia_ref.ports.torch.Sophia")
    assert not report.failed, report.text()
    assert {report.verdict(p) for p in ("paper-H", "paper-G")} == {"conforms: update rule and estimators"}
    certificate = verify(write(report, tmp_path)[0])
    assert certificate["verdict"] == "conforms: update rule and estimators"
    assert certificate["target"]["versions"]["torch"] == importlib.metadata.version("torch")


def test_a_certificate_says_which_device_computed(port, tmp_path, capsys):
    port("torch")
    paths = [str(tmp_path), "--profile", "paper-H"]
    assert main(["conform", "torch:sophia_ref.ports.torch.Sophia", "--device", "cpu", "--output", *paths]) == 0
    assert main(["conform", str(tmp_path / "conform-torch-Sophia.json")]) == 0
    assert "\ndevice       cpu\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cuda", r"device: 'cuda' is not to be had here; expected one that is \(.+\)$"),
        ("meta", r"device: 'meta' is not to be had here; expected one that is \(.+\)$"),
        ("gpu", r"device: 'gpu'; expected one that PyTorch knows, such as cpu, cuda or cuda:1$"),
    ],
)
def test_a_device_that_is_not_there_is_one_line(torch, device, message):
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(TargetError, match=message) as caught:
        load(torch.optim.AdamW, device=device)
    assert "\n" not in str(caught.value)


def test_everything_goes_to_the_device_and_comes_back(port, monkeypatch):
    port("torch")
    from sophia_ref.conformance.targets.torch_target import TorchTarget
    from tests.ports.torch.stand_in import OnDevice

    plain, seen = TorchTarget.tensor, []

    def on_device(self, x):
        seen.append(x.shape)
        return plain(self, x).as_subclass(OnDevice)

    monkeypatch.setattr(TorchTarget, "tensor", on_device)
    report = examine("torch:sophia_ref.ports.torch.Sophia")
    assert not report.failed, report.text()
    assert len(report.passed) > 300
    assert len(seen) > len(report.passed)


def test_a_class_that_was_imported_is_known_to_be_of_torch(port):
    target = load(port("torch").SophiaG)
    assert (target.kind, target.profiles) == ("torch", ("paper-G",))


@pytest.mark.parametrize("settings", [dict(foreach=True), dict(capturable=True)])
def test_other_paths_of_the_torch_port_conform(port, settings):
    report = examine(partial_class(port("torch").Sophia, settings), ["paper-H"])
    assert not report.failed, report.text()


def partial_class(cls, settings):
    class Chosen(cls):
        def __init__(self, params, lr, **rest):
            super().__init__(params, lr, **rest, **settings)

    Chosen.__module__ = cls.__module__  # where Hutchinson and GNB are
    return Chosen


def edited(module, old, new):
    """A copy of a port with one line changed."""
    source = inspect.getsource(module)
    assert source.count(old) >= 1
    copy = ModuleType(f"{module.__name__}_edited")
    sys.modules[copy.__name__] = copy
    exec(compile(source.replace(old, new), module.__file__, "exec"), copy.__dict__)
    return copy


@pytest.mark.parametrize("edit", broken_torch.EDITS, ids=lambda edit: edit.name)
def test_a_broken_copy_of_the_torch_port_is_diagnosed(port, edit, tmp_path, monkeypatch):
    port("torch")
    for name in broken_torch.NAMES.values():
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    report = examine(f"torch:{broken_torch.write(edit, tmp_path)}.Sophia", ["paper-H", "paper-G"])
    for profile, name in zip(report.profiles, edit.diagnosis, strict=True):
        assert named(report.diagnoses.get(profile)) == name
        assert report.verdict(profile) == ("does not conform" if name else "conforms: update rule and estimators")


def named(diagnosis):
    return diagnosis.best.hypothesis.name if diagnosis and diagnosis.best else ""


def test_adam_of_torch_conforms_but_for_complex_numbers(torch):
    report = examine("torch:torch.optim.Adam")
    assert {outcome.vector.id for outcome in report.failed} == {"Adam/refused-theta-complex-complex128"}


def test_adamw_of_torch_decays_a_gradient_that_lies_in_the_parameters_memory(torch):
    report = examine(torch.optim.AdamW)
    assert failures(report) == {"AdamW/aliased-float32", "AdamW/aliased-float64"}
    assert report.diagnoses["AdamW"].certain
    assert report.diagnoses["AdamW"].best.hypothesis.name == "gradient read after the decay"


def test_kozistrs_sophia_is_the_papers_rule_with_few_checks(library):
    library("pytorch_optimizer")
    if importlib.metadata.version("pytorch_optimizer") < "4.1":
        pytest.skip("3.9 takes no estimates")
    report = examine("torch:pytorch_optimizer.SophiaH")
    wrong = failures(report)
    assert {id for id in wrong if "aliased" not in id} <= {
        "paper-H/curvature-of-float64-float32",  # refused when the state has changed already
        "paper-H/curvature-of-float32-float64",
    }
    assert report.diagnoses["paper-H"].best.hypothesis.name == "gradient read after the decay"
    assert any("refused-gamma-zero" in outcome.vector.id for outcome in report.failed)
    reasons = {outcome.message for outcome in report.not_asked}
    assert reasons == {"its module has no Hutchinson", "PyTorch knows 0-d parameters"}


def test_kozistrs_lion_hides_nan(library):
    library("pytorch_optimizer")
    report = examine("torch:pytorch_optimizer.Lion")
    assert {id.removeprefix("Lion/") for id in failures(report)} >= {"nan-gradient-float32", "nan-gradient-float64"}


def test_the_official_sophia_g_is_its_own_profile(library):
    library("sophia_opt")
    report = examine("torch:sophia_opt.SophiaG", ["official-G"])
    assert failures(report) == {"official-G/aliased-float32"}


def test_the_official_sophia_g_is_not_the_paper_and_the_diagnosis_says_where(library):
    library("sophia_opt")
    report = examine("torch:sophia_opt.SophiaG", ["paper-G"])
    diagnosis = report.diagnoses["paper-G"]
    assert diagnosis.certain
    assert diagnosis.best.hypothesis.name == "an eps of 1e-15, added"
    assert "it squares a gradient, and this estimate is not a square" in {o.message for o in report.not_asked}


def test_an_optimizer_that_changes_its_gradients_or_asks_out_of_turn_is_told_so(torch, port):
    class Scaled(torch.optim.AdamW):
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    p.grad.mul_(0.5)
            return super().step(closure)

    assert ask(load(Scaled), find("AdamW/plain-float64")).message == "step 1: changes g in place"
    broken = edited(port("torch"), '% self.param_groups[0]["every"] == 0', '% self.param_groups[0]["every"] == 1')
    outcome = ask(load(broken.Sophia), find("paper-H/first-step-float64"))
    assert outcome.status == "failed"
    outcome = ask(load(broken.Sophia), find(PLAIN))
    assert "asks for curvature, where none is due" in outcome.message


def test_what_is_not_an_optimizer_of_torch_is_refused(torch):
    with pytest.raises(TargetError, match=r"is not a class with a step; expected a torch\.optim\.Optimizer"):
        load("torch:torch.nn.Linear")
    with pytest.raises(TargetError, match=r"SGD\(params, lr, momentum, .* has no parameter for beta1"):
        load("torch:torch.optim.SGD")
    with pytest.raises(TargetError, match=r"'torch.optim' has no 'AdmW'; did you mean 'AdamW'\?"):
        load("torch:torch.optim.AdmW")


# -- JAX ---------------------------------------------------------------------------------------------------------------


def test_the_optax_port_conforms(port):
    port("optax")
    report = examine("optax:sophia_ref.ports.optax.sophia", ["paper-H", "paper-G"])
    assert not report.failed, report.text()
    assert not report.not_asked
    assert {report.verdict(p) for p in ("paper-H", "paper-G")} == {"conforms: update rule and estimators"}


@pytest.mark.parametrize("edit", broken_optax.BROKEN, ids=lambda edit: edit.name)
def test_a_broken_copy_of_the_optax_port_is_diagnosed(port, edit, tmp_path, monkeypatch):
    port("optax")
    monkeypatch.syspath_prepend(tmp_path)
    target = load(f"optax:{broken_optax.write(edit, tmp_path)}.sophia")
    profile, name = next(pair for pair in zip(("paper-H", "paper-G"), edit.diagnosis, strict=True) if pair[1])
    some = [  # every case is compiled anew, so not all
        vector
        for vector in vectors_of(profile)
        if vector.verdict == "valid" and vector.plain["dtype"] == "float64"
        if ("estimate" in vector.flags) == (edit.file == "optax_curvature.py")
    ]
    outcomes = [ask(target, vector) for vector in some]
    assert sum(outcome.status == "failed" for outcome in outcomes) >= 2, edit.bug
    assert named(diagnose(profile, outcomes)) == name


@pytest.mark.parametrize(("name", "profile"), [("adam", "Adam"), ("adamw", "AdamW"), ("lion", "Lion")])
def test_optimizers_of_optax_have_the_right_numbers_and_refuse_nothing(optax, name, profile):
    report = examine(f"optax:optax.{name}")
    assert failures(report) == set()
    assert report.verdict(profile) == "does not conform: takes bad input"


def test_optax_sophia_is_its_own_profile(optax):
    report = examine("optax:optax.contrib.sophia", ["optax-H"])
    assert report.verdict("optax-H") == "conforms: update rule", report.text()
    assert not report.not_asked


def test_optax_sophia_is_not_the_paper_and_the_diagnosis_names_the_dialect(optax):
    target = load("optax:optax.contrib.sophia")
    some = [vector for vector in vectors_of("paper-H") if vector.verdict == "valid" and "float32" in vector.id]
    diagnosis = diagnose("paper-H", [ask(target, vector) for vector in some])
    assert diagnosis.certain
    assert diagnosis.best.hypothesis.name == "optax"


def test_what_returns_no_transformation_is_told_so(optax):
    def nothing(learning_rate, b1, b2, eps):
        return 3

    outcome = ask(load(nothing), find("Adam/plain-float64"))
    assert outcome.message == "returns int; expected a GradientTransformation with init and update"
