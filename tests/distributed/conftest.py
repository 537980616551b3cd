"""Several processes, and several devices of JAX. `make test-distributed` has the libraries; elsewhere these tests are
skipped, with a reason."""

import importlib
import os

import pytest

from tests.libraries import loaded

os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Four devices, read when JAX is first asked for one; and quick compilation, as compiling is what these tests wait for.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0")

collect_ignore = ["problem.py", "worker.py"]  # doctests are looked for in what imports without PyTorch
WORLDS = (2, 4)


@pytest.fixture(scope="session")
def torch():
    return loaded("torch", "test-distributed")


@pytest.fixture(scope="session")
def jax():
    return loaded("jax", "test-distributed")


@pytest.fixture(scope="session")
def port(jax):
    loaded("optax", "test-distributed")
    return importlib.import_module("sophia_ref.ports.optax")


@pytest.fixture(scope="session")
def results(torch, tmp_path_factory):
    """results(world): what each rank of worker.py brought home, a list of dicts by case. Two ranks save checkpoints,
    which four and one load."""
    from tests.distributed.launch import torchrun

    folder, kept = tmp_path_factory.mktemp("ranks"), {}

    def run(world):
        if world != WORLDS[0]:
            run(WORLDS[0])
        if world not in kept:
            done = torchrun(world, "tests/distributed/worker.py", str(folder))
            assert done.returncode == 0, done.stdout + done.stderr
            files = [folder / f"{world}-{rank}.pt" for rank in range(world)]
            kept[world] = [torch.load(file, weights_only=False) for file in files]
        return kept[world]

    return run


@pytest.fixture(params=WORLDS, ids=lambda world: f"{world}-ranks")
def world(request):
    return request.param
