"""A checkpoint is whole and true or refused, and a run goes on from it to the bit."""

import copy
import dataclasses
import hashlib
import io
import itertools
import json
import os
import pickle
import re
import signal
import struct
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest

import sophia_ref as sr
from sophia_ref import checkpoint, container
from sophia_ref.checkpoint import CheckpointError, Checkpoints
from sophia_ref.optimizers.description import same
from sophia_ref.snapshot import Snapshot
from toy_problems import text
from toy_problems.transformer import LanguageTask, TinyGPT

WIDTH = 10  # parameters
HERE = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}


class Noisy:
    """1/2 mean |theta - x|^2 + mean theta^4 / 4 over examples of noise x, with Gaussian labels; it keeps its batches.

    The batch draws 32-bit integers too, which leave half of a 64-bit number behind, and from a stream that it spawns.
    """

    def __init__(self, dtype=np.float64):
        self.dtype, self.batches = dtype, []

    def init(self, rng):
        return rng.standard_normal(WIDTH).astype(self.dtype)

    def batch(self, rng, shape):
        x = rng.standard_normal((*shape, 4, WIDTH)) + rng.integers(0, 3, dtype=np.int32)
        x += rng.spawn(1)[0].standard_normal(WIDTH)
        self.batches.append(x.astype(self.dtype))
        return (self.batches[-1],)

    def loss(self, theta, batch):
        return ((theta[..., None, :] - batch[0]) ** 2 / 2).mean((-1, -2)) + (theta**4).mean(-1) / 4

    def sampled_loss(self, theta, batch, rng):
        noise = rng.standard_normal((*batch[0].shape[:-2], 4, WIDTH), self.dtype)
        return (theta[..., None, :] * noise).mean((-1, -2)), 4


WEIGHTS = np.linspace(0, 0.2, WIDTH)
OPTIMIZERS = [
    sr.GradientDescent(lr=0.1), sr.Momentum(lr=0.05), sr.SignGD(lr=WEIGHTS), sr.Signum(lr=0.02, weight_decay=WEIGHTS),
    sr.Adam(lr=0.05), sr.AdamW(lr=sr.cosine(0.1, 9, warmup=3), weight_decay=WEIGHTS), sr.Lion(lr=0.02),
    sr.AdaHessian(lr=0.05, layout=sr.Layout({"a": (2, 3), "b": (4,)})), sr.Newton(lr=0.5),
    sr.DampedNewton(lr=0.5, damping=0.1), sr.ClippedNewton(lr=0.5, rho=0.1), sr.SaddleFreeNewton(lr=0.5),
    sr.Sophia(lr=0.1, gamma=WEIGHTS + 0.1, beta2=0.5, every=4, clip=np.inf, estimator=sr.exact_diagonal),
    sr.Sophia(lr=0.1, gamma=0.5, beta2=0.5, every=4, estimator=sr.averaged(sr.hutchinson_rademacher, 2)),
    sr.Sophia(lr=0.1, gamma=0.5, beta2=0.5, every=4, estimator=sr.empirical_fisher),
    sr.SophiaH(lr=sr.cosine(0.1, 9, final=0.0), gamma=0.5, beta2=0.5, every=4),
    sr.SophiaG(lr=0.1, gamma=0.5, beta2=0.5, every=4, estimator=sr.on_part(sr.averaged(sr.gnb, 2), 0.5)),
]  # fmt: skip
SOPHIA = OPTIMIZERS[-2]


def by_name(opt):
    return f"{opt.name}-{getattr(opt.estimator, '__name__', 'composed')}" if hasattr(opt, "estimator") else opt.name


def bits(a, b, what=""):
    """a and b are arrays or numbers, of one dtype and shape, and equal to the bit."""
    a, b = np.asarray(a), np.asarray(b)
    assert (a.dtype, a.shape) == (b.dtype, b.shape), what
    assert a.tobytes() == b.tobytes(), what


def same_run(a, b):
    for name in ("theta", "steps", "losses", "cost", "trajectory", "unclipped", "diverged_at", "clipped_steps"):
        one, other = getattr(a, name), getattr(b, name)
        assert (one is None) == (other is None), name
        if one is not None:
            bits(one, other, name)
    assert type(a.state) is type(b.state)
    for name, one, other in zip(a.state._fields, a.state, b.state, strict=True):
        bits(one, other, name)
    assert (a.seed, type(a.diverged_at), type(a.clipped_steps)) == (b.seed, type(b.diverged_at), type(b.clipped_steps))


def same_snapshot(a, b):
    for name in Snapshot._fields:
        one, other = getattr(a, name), getattr(b, name)
        if name == "optimizer":
            assert same(one, other)
        elif name == "log":
            assert one.keys() == other.keys()
            for entry in one:
                bits(one[entry], other[entry], entry)
        elif isinstance(one, np.ndarray):
            bits(one, other, name)
        elif name == "state":
            assert type(one) is type(other)
            for x, y in zip(one, other, strict=True):
                bits(x, y)
        else:
            assert one == other, name


@pytest.fixture
def quick(monkeypatch):
    """Files without waiting for the disk."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def some_snapshot(folder, **settings):
    saved = Checkpoints(folder, every=5)
    sr.run(Noisy(), SOPHIA, 5, **({"theta0": np.ones((2, WIDTH)), "record": 2, "seed": 3} | settings), checkpoint=saved)
    return saved.latest()


# -- resuming ----------------------------------------------------------------------------------------------------------


def every_resume_is_equal(folder, steps, make=Noisy, **settings):
    """Save before each step, resume from each file, and compare everything with a run that did not stop."""

    def run(**more):
        problem, seen = make(), []

        def watch(t, step, oracle):
            draws = oracle.rng.standard_normal(2)
            seen.append([t, step.theta, draws, *(step.terms[name] for name in sorted(step.terms))])

        return problem, seen, sr.run(problem, steps=steps, callback=watch, **settings, **more)

    problem, seen, full = run()
    saved = Checkpoints(folder, every=1, keep=steps + 1)
    same_run(full, run(checkpoint=saved)[2])
    assert len(saved.paths()) == steps + 1 or full.diverged_at is not None
    for path in saved.paths():
        snapshot = checkpoint.load(path)
        problem2, seen2, resumed = run(resume=snapshot)
        same_run(full, resumed)
        assert resumed.optimizer is settings["opt"]
        for batch, batch2 in zip(problem.batches[snapshot.t :], problem2.batches, strict=True):
            bits(batch, batch2)
        for saw, saw2 in zip(seen[snapshot.t :], seen2, strict=True):
            for one, other in zip(saw, saw2, strict=True):
                bits(one, other)
    return full


@pytest.mark.parametrize("lead", [(), (2,), (2, 2)])
@pytest.mark.parametrize("opt", OPTIMIZERS, ids=by_name)
def test_a_run_goes_on_bit_for_bit_from_every_step(tmp_path, quick, opt, lead):
    """Also inside Sophia's interval of four steps: what m, h and t are is saved, not how they came about."""
    theta0 = np.random.default_rng(0).uniform(-1, 1, (*lead, WIDTH))
    every_resume_is_equal(tmp_path, 7, opt=opt, theta0=theta0, seed=2)


@pytest.mark.parametrize("record", [1, 2, 3, 100])
@pytest.mark.parametrize("clip_norm", [None, 0.5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("trajectory", [True, False])
def test_so_it_does_with_clipped_norms_sparse_records_and_either_dtype(
    tmp_path, quick, record, clip_norm, dtype, trajectory
):
    settings = {"record": record, "clip_norm": clip_norm, "trajectory": trajectory}
    full = every_resume_is_equal(tmp_path, 7, lambda: Noisy(dtype), opt=SOPHIA, **settings)
    assert full.theta.dtype == dtype
    assert full.clipped_steps > 3 or clip_norm is None


@pytest.mark.parametrize(
    "opt", [sr.GradientDescent(lr=2.5), sr.Momentum(lr=2.5), SOPHIA, sr.AdamW(lr=0.1)], ids=by_name
)
def test_so_it_does_when_rows_have_diverged_or_are_about_to(tmp_path, quick, opt):
    theta0 = np.array([np.ones(WIDTH), np.full(WIDTH, 12.0), np.full(WIDTH, 1e200), np.zeros(WIDTH)])
    full = every_resume_is_equal(tmp_path, 8, opt=opt, theta0=theta0)
    assert full.diverged_at[2] == 1
    assert full.diverged_at[3] == -1


def test_so_it_does_for_the_tiny_gpt(tmp_path, quick):
    source = text.load()
    model = TinyGPT(source.vocab, context=8, width=8, heads=2, layers=1)

    class Task(LanguageTask):
        def __init__(self):
            super().__init__(model, source, batch_size=4)
            self.batches = []

        def batch(self, rng, shape):
            self.batches.append(super().batch(rng, shape))
            return self.batches[-1]

    for name, opt in {
        "g": sr.SophiaG(sr.cosine(0.01, 4, 1), weight_decay=0.2, every=2, estimator=sr.on_part(sr.gnb, 0.5)),
        "a": sr.AdaHessian(0.1, layout=model.layout),
    }.items():
        every_resume_is_equal(tmp_path / name, 4, Task, opt=opt, record=4, clip_norm=1.0)


def test_a_finished_run_goes_on_as_the_longer_run_that_it_might_have_been(tmp_path, quick):
    saved = Checkpoints(tmp_path, every=100)
    assert sr.run(Noisy(), SOPHIA, 7, record=3, checkpoint=saved).steps.tolist() == [0, 3, 6, 7]
    longer = sr.run(Noisy(), SOPHIA, 12, record=3, checkpoint=saved, resume=saved.latest())
    same_run(longer, sr.run(Noisy(), SOPHIA, 12, record=3))
    assert longer.steps.tolist() == [0, 3, 6, 9, 12]  # 7 was the end of the short run alone


def test_a_resumed_run_saves_what_a_run_without_a_break_saves(tmp_path, quick):
    whole, broken = Checkpoints(tmp_path / "whole", every=4, keep=9), Checkpoints(tmp_path / "broken", every=4, keep=9)
    sr.run(Noisy(), SOPHIA, 10, checkpoint=whole)
    sr.run(Noisy(), SOPHIA, 6, checkpoint=broken)
    sr.run(Noisy(), SOPHIA, 10, checkpoint=broken, resume=broken.latest())
    assert [path.name for path in broken.paths()] == [f"step-{t:08d}.ckpt" for t in (0, 4, 6, 8, 10)]
    for path in whole.paths():
        one, other = checkpoint.load(path), checkpoint.load(tmp_path / "broken" / path.name)
        same_snapshot(one._replace(seconds=0.0), other._replace(seconds=0.0))


def test_the_seconds_add_up(tmp_path, quick, monkeypatch):
    ticks = itertools.count()
    clock = types.SimpleNamespace(perf_counter=lambda: float(next(ticks)))  # a step takes a second
    monkeypatch.setattr(sys.modules["sophia_ref.run"], "time", clock)
    saved = Checkpoints(tmp_path, every=5)
    assert sr.run(Noisy(), SOPHIA, 5, checkpoint=saved).seconds == saved.latest().seconds == 5
    assert sr.run(Noisy(), SOPHIA, 9, resume=saved.latest()).seconds == 9


def test_one_snapshot_can_be_resumed_many_times(tmp_path, quick):
    snapshot = some_snapshot(tmp_path)
    before = copy.deepcopy(snapshot)
    runs = [sr.run(Noisy(), SOPHIA, 12, record=2, seed=3, resume=snapshot) for _ in range(2)]
    same_run(*runs)
    runs[0].theta[:] = 7
    same_snapshot(snapshot, before)


def test_a_bar_begins_where_the_run_goes_on(tmp_path, quick, capsys):
    sr.run(Noisy(), SOPHIA, 12, record=2, seed=3, resume=some_snapshot(tmp_path), progress=True)
    assert re.search(r"12/12", capsys.readouterr().err)


# -- what is saved and when --------------------------------------------------------------------------------------------


def test_it_is_saved_at_the_start_every_n_steps_and_at_the_end(tmp_path, quick, monkeypatch):
    seen = []
    monkeypatch.setattr(Checkpoints, "save", lambda self, snapshot: seen.append(snapshot.t))
    saved = Checkpoints(tmp_path, every=4)
    run = sr.run(Noisy(), SOPHIA, 10, checkpoint=saved)
    assert seen == [0, 4, 8, 10]
    assert run.diverged_at is None


@pytest.mark.parametrize("place", ["batch", "loss", "callback", "step"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_what_interrupts_a_run_leaves_it_saved_before_that_step(tmp_path, quick, place, error):
    calls = []

    def count(name, t):
        calls.append(name)
        if name == place and calls.count(name) == t:
            raise error("enough")

    class Stopped(Noisy):
        def batch(self, rng, shape):
            answer = super().batch(rng, shape)
            count("batch", 8)
            return answer

        def loss(self, theta, batch):
            count("loss", 8 if place == "loss" else 0)
            return super().loss(theta, batch)

    saved = Checkpoints(tmp_path, every=100)

    def callback(t, step, oracle):
        count("callback", 8)

    opt = sr.GradientDescent(lr=0.1)  # asks for one loss a step
    if place == "step":
        opt = dataclasses.replace(opt, lr=sr.cosine(0.1, 20))
    with pytest.MonkeyPatch.context() as patch:
        if place == "step":
            schedule = sr.cosine.__call__
            patch.setattr(sr.cosine, "__call__", lambda self, t: count("step", 8) or schedule(self, t))
        with pytest.raises(error, match="enough"):
            sr.run(Stopped(), opt, 20, checkpoint=saved, callback=callback)
    assert [path.name for path in saved.paths()] == ["step-00000000.ckpt", "step-00000007.ckpt"]
    same_run(sr.run(Noisy(), opt, 20), sr.run(Noisy(), opt, 20, resume=saved.latest()))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no timers that interrupt")
def test_ctrl_c_at_any_moment_leaves_a_run_that_goes_on_to_the_bit(tmp_path):
    # In a process of its own: here an interrupt may hit pytest or coverage, which are not made for that.
    done = subprocess.run(
        [sys.executable, __file__, tmp_path], capture_output=True, text=True, check=False, timeout=120, env=HERE
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20


def interrupt_at_any_moment(folder):
    """Run 40 times, interrupted at a random moment, and go on; returns how many interrupts came before the end."""
    full = sr.run(Noisy(), SOPHIA, 60, seed=3)
    start = time.perf_counter()
    sr.run(Noisy(), SOPHIA, 60, seed=3, checkpoint=Checkpoints(folder / "whole", every=5))
    seconds = time.perf_counter() - start

    running = False

    def ctrl_c(*_):
        if running:  # the alarm may go off after the run
            raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, ctrl_c)
    moments, interrupted = np.random.default_rng(0), 0
    for i in range(40):
        saved = Checkpoints(folder / str(i), every=5)
        try:
            running = True
            signal.setitimer(signal.ITIMER_REAL, moments.uniform(0.001, seconds))
            sr.run(Noisy(), SOPHIA, 60, seed=3, checkpoint=saved)
            running = False
            seconds *= 0.7  # it was over before the alarm: the machine is faster than it was when that was measured
        except KeyboardInterrupt:
            running = False
            interrupted += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        same_run(full, sr.run(Noisy(), SOPHIA, 60, seed=3, resume=saved.latest()))
    return interrupted


@pytest.mark.parametrize("every", [1, 100])
def test_a_run_that_diverges_leaves_the_state_before_that_step(tmp_path, quick, every):
    saved = Checkpoints(tmp_path, every)
    run = sr.run(Noisy(), sr.GradientDescent(lr=50.0), 40, checkpoint=saved)
    assert 1 < run.diverged_at < 40
    snapshot = saved.latest()
    assert snapshot.t == run.diverged_at - 1
    bits(snapshot.theta, run.theta)
    same_run(run, sr.run(Noisy(), sr.GradientDescent(lr=50.0), 40, resume=snapshot))


def test_the_last_n_files_stay_and_what_was_left_half_written_goes(tmp_path, quick):
    for stale in (".step-00000003.ckpt.abc.tmp", ".step-00000099.ckpt.x_y.tmp"):
        (tmp_path / stale).write_bytes(b"half")
    for other in ("notes.txt", ".notes.tmp", "step-x.ckpt", "step-1.ckpt.bak"):
        (tmp_path / other).write_bytes(b"mine")
    saved = Checkpoints(str(tmp_path), every=1, keep=2)
    sr.run(Noisy(), SOPHIA, 6, checkpoint=saved)
    assert sorted(os.listdir(tmp_path)) == [
        ".notes.tmp", "notes.txt", "step-00000005.ckpt", "step-00000006.ckpt", "step-1.ckpt.bak", "step-x.ckpt",
    ]  # fmt: skip


def test_files_are_ordered_by_step_and_not_by_letter(tmp_path, quick):
    snapshot, saved = some_snapshot(tmp_path / "a"), Checkpoints(tmp_path / "b", every=1, keep=9)
    for t in (99_999_999, 100_000_000, 2_000_000_000):
        saved.save(snapshot._replace(t=t, state=snapshot.state._replace(t=t), record=10**10, log=one_entry(snapshot)))
    assert saved.latest().t == 2_000_000_000
    assert [int(path.stem[5:]) for path in saved.paths()] == [99_999_999, 100_000_000, 2_000_000_000]


def one_entry(snapshot):
    return {name: array[:1] for name, array in snapshot.log.items()}


def test_a_folder_without_checkpoints_has_no_latest(tmp_path):
    assert Checkpoints(tmp_path / "none", every=1).latest() is None
    assert Checkpoints(tmp_path, every=1).paths() == []


def test_a_new_run_does_not_overwrite_an_old_one(tmp_path, quick):
    saved = Checkpoints(tmp_path, every=5)
    sr.run(Noisy(), SOPHIA, 10, checkpoint=saved)
    before = {path: path.read_bytes() for path in saved.paths()}
    message = "step-00000005.ckpt: later than step 0, which was to be saved; resume from it, or use another folder"
    with pytest.raises(CheckpointError, match=re.escape(message)):
        sr.run(Noisy(), SOPHIA, 10, checkpoint=saved)
    assert {path: path.read_bytes() for path in saved.paths()} == before


def test_going_back_in_a_folder_with_later_steps_is_refused_before_any_step(tmp_path, quick):
    saved = Checkpoints(tmp_path, every=4, keep=9)
    sr.run(Noisy(), SOPHIA, 6, checkpoint=saved)
    six, problem = saved.latest(), Noisy()
    sr.run(Noisy(), SOPHIA, 10, checkpoint=saved, resume=six)
    with pytest.raises(CheckpointError, match=r"step-00000008\.ckpt: later than step 6"):
        sr.run(problem, SOPHIA, 10, checkpoint=saved, resume=six)
    for path in saved.paths()[-2:]:  # steps 8 and 10
        path.unlink()
    checkpoint.save(tmp_path / "step-00000007.ckpt", six)  # one step later is later too
    with pytest.raises(CheckpointError, match=r"step-00000007\.ckpt: later than step 6"):
        sr.run(problem, SOPHIA, 10, checkpoint=saved, resume=six)
    assert problem.batches == []


def test_a_save_that_fails_is_not_tried_again(tmp_path, quick, monkeypatch):
    tried = []

    def fail(self, snapshot):
        tried.append(snapshot.t)
        raise CheckpointError("no")

    monkeypatch.setattr(Checkpoints, "save", fail)
    with pytest.raises(CheckpointError):
        sr.run(Noisy(), SOPHIA, 6, checkpoint=Checkpoints(tmp_path, every=4))
    assert tried == [0]


# -- the format --------------------------------------------------------------------------------------------------------


def parsed(data):
    """Header and arrays of a checkpoint, read by hand as the format says."""
    assert data[:24] == b"sophia-ref checkpoint 01"
    (length,) = struct.unpack("<Q", data[24:32])
    header, base = json.loads(data[32 : 32 + length]), 32 + length
    assert base % 64 == 0
    arrays = {}
    for entry in header["arrays"]:
        assert entry["offset"] % 64 == 0
        count = int(np.prod(entry["shape"]))
        array = np.frombuffer(data, entry["dtype"], count, base + entry["offset"])
        arrays[entry["name"]] = array.reshape(entry["shape"])
    assert hashlib.sha256(data[:-32]).digest() == data[-32:]
    return header, arrays


def forged(header, blob=None, magic=b"sophia-ref checkpoint 01", arrays=None, text=None, length=None):
    """A checkpoint written by hand, with the right checksum. arrays: (name, array, changes of its table's entry)."""
    table, data = [], b""
    for name, array, changes in arrays or []:
        data += bytes(-len(data) % 64)
        dtype = array.dtype.newbyteorder("<").str
        table.append({"name": name, "dtype": dtype, "shape": list(array.shape), "offset": len(data)} | changes)
        data += array.tobytes()
    text = json.dumps({**header, "arrays": table}) if text is None else text
    text = text if isinstance(text, bytes) else text.encode()
    text += b" " * (-(32 + len(text)) % 64)
    content = (
        magic + struct.pack("<Q", len(text) if length is None else length) + text + (data if blob is None else blob)
    )
    return content + hashlib.sha256(content).digest()


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The bytes of a small sound checkpoint, of two rows after five steps."""
    folder = tmp_path_factory.mktemp("sound")
    some_snapshot(folder)
    return (folder / "step-00000005.ckpt").read_bytes()


def loaded(data, name="x.ckpt"):
    return checkpoint._snapshot(*container.read(io.BytesIO(data)))


def test_a_file_is_what_the_format_says(tmp_path, quick):
    problem = Noisy(np.float32)
    saved = Checkpoints(tmp_path, every=5)
    lr = np.linspace(0, 0.1, WIDTH).astype(">f8")  # the other byte order
    run = sr.run(problem, sr.AdamW(lr=lr), 5, record=2, seed=7, clip_norm=2.0, checkpoint=saved)
    header, arrays = parsed(saved.paths()[-1].read_bytes())
    assert {name: header[name] for name in ("t", "seed", "record", "clip_norm", "cost", "seconds")} == {
        "t": 5, "seed": 7, "record": 2, "clip_norm": 2.0, "cost": 5.0, "seconds": run.seconds,
    }  # fmt: skip
    assert header["optimizer"] == {
        "class": "AdamW", "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01,
    }  # fmt: skip
    assert header["versions"].keys() == {"sophia_ref", "numpy", "python"}
    assert header["versions"]["numpy"] == np.__version__
    for name, array in {
        "theta": run.theta, "state.m": run.state.m, "state.v": run.state.v, "optimizer.lr": lr.astype("<f8"),
        "log.steps": np.array([0, 2, 4]), "log.losses": run.losses[:3], "log.cost": np.array([0.0, 2, 4]),
        "log.trajectory": run.trajectory[:3], "log.unclipped": np.full(3, np.nan), "clipped": np.array([np.nan]),
        "diverged_at": np.array(-1), "clipped_steps": np.array(run.clipped_steps),
    }.items():  # fmt: skip
        bits(arrays.pop(name), array, name)
    assert arrays == {}

    # the streams stand where those of a run made by hand stand
    rngs = [np.random.default_rng(s) for s in np.random.SeedSequence(7).spawn(4)]
    Noisy().init(rngs[0])
    for batch in problem.batches[:5]:  # the sixth is that of the last loss
        bits(batch, Noisy(np.float32).batch(rngs[1], ())[0])
    for rng, numbers in zip(rngs, header["streams"].values(), strict=True):
        at = rng.bit_generator.state
        spawned = rng.bit_generator.seed_seq.n_children_spawned
        assert numbers == [*at["state"].values(), at["has_uint32"], at["uinteger"], spawned]
    assert list(header["streams"]) == ["initialisation", "data", "probes", "callback"]
    assert header["streams"]["data"][2] == 1
    assert header["streams"]["data"][4] == 5


def test_what_is_loaded_is_what_was_saved_to_the_bit(tmp_path, quick):
    snapshot = some_snapshot(tmp_path)
    odd = np.tile([-0.0, 5e-324, 1e308, -1e-310, 0.1, 1 / 3, 2.0**-1074, 1.0, -1.0, 7.0], (2, 1))
    state = snapshot.state._replace(m=odd, h=np.where(odd == 1, np.inf, odd))
    lost = snapshot.diverged_at.copy()
    lost[1] = 3
    state.h[1, 2] = np.nan  # of a row that has diverged
    odd = snapshot._replace(
        theta=odd, state=state, diverged_at=lost, cost=1 / 3, seconds=5e-324, seed=2**100, clip_norm=0.1
    )
    checkpoint.save(tmp_path / "odd", odd)
    again = checkpoint.load(tmp_path / "odd")
    same_snapshot(odd, again)
    for array in (again.theta, *again.state[1:], again.clipped, *again.log.values()):
        assert not array.flags.writeable


def test_a_written_file_can_be_written_by_hand(sound):
    """So what the hostile files below have wrong is only what they say."""
    header, arrays = parsed(sound)
    header.pop("arrays")
    assert forged(header, arrays=[(name, array, {}) for name, array in arrays.items()]) == sound
    assert loaded(sound).t == 5


def test_every_flipped_bit_is_refused(sound):
    for position in range(len(sound)):
        for bit in range(8):
            flipped = bytearray(sound)
            flipped[position] ^= 1 << bit
            with pytest.raises(ValueError, match=r"not a checkpoint|version|cut short or damaged"):
                loaded(flipped)


def test_every_truncation_is_refused(sound):
    for length in range(len(sound)):
        with pytest.raises(ValueError, match=r"not a checkpoint|version|cut short or damaged"):
            loaded(sound[:length])
    for more in (b"\0", b"x" * 32, sound):
        with pytest.raises(ValueError, match="cut short or damaged"):
            loaded(sound + more)


def test_refusals_name_the_file_and_reading_raises_only_them(tmp_path, sound):
    for name, data in {"flipped": sound[:-1] + bytes([sound[-1] ^ 1]), "short": sound[:50], "empty": b""}.items():
        (tmp_path / name).write_bytes(data)
        for read in (checkpoint.load, checkpoint.show):
            with pytest.raises(CheckpointError, match=re.escape(str(tmp_path / name))):
                read(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        checkpoint.load(tmp_path / "absent")


# -- hostile files, each with the right checksum -----------------------------------------------------------------------


class Evil:
    def __reduce__(self):
        return os._exit, (1,)


def npz():
    file = io.BytesIO()
    np.savez(file, theta=np.ones(3))
    return file.getvalue()


def checked(content):
    return content + hashlib.sha256(content).digest()


def change(header, path, value):
    header = copy.deepcopy(header)
    *way, last = path.split("/")
    inner = header
    for key in way:
        inner = inner[key]
    inner[last] = value
    return header


NESTED = '{"a":' * 20_000 + "1" + "}" * 20_000
ARRAY_FAULTS = [  # what is done to the array of a name, message
    ("theta", "dtype", ">f8", "array theta: dtype must be one of |i1, |u1, <i2"),
    ("theta", "dtype", "|O", "array theta: dtype must be one of"),
    ("theta", "dtype", "<c16", "array theta: dtype must be one of"),
    ("theta", "dtype", ["<f8"], "array theta: dtype must be one of"),
    ("theta", "shape", [-2, -10], "array theta: shape must be a list of at most 64 integers >= 0, got [-2, -10]"),
    ("theta", "shape", [2, 10.0], "array theta: shape must be a list of at most 64 integers >= 0, got [2, 10.0]"),
    ("theta", "shape", [2, True], "array theta: shape must be a list"),
    ("theta", "shape", 20, "array theta: shape must be a list"),
    ("theta", "shape", [1] * 65, "array theta: shape must be a list"),
    ("theta", "shape", [2**62, 2**62], "goes beyond the end of the file"),
    ("theta", "shape", [2**63], "array theta: shape must be a list"),
    ("theta", "shape", [2, 11], "array state.m must have shape (2, 11), got shape (2, 10)"),
    ("log.losses", "shape", [6], "array log.losses must have shape (3, 2), got shape (6,)"),
    ("theta", "shape", [20], "array clipped must have shape (1,), got shape (2, 1)"),
    ("theta", "offset", -64, "array theta: offset must be an integer >= 0, got -64"),
    ("theta", "offset", 2**63, "array theta: offset must be an integer >= 0"),
    ("theta", "offset", 0.0, "array theta: offset must be an integer >= 0, got 0.0"),
    ("theta", "offset", 64, "array theta at offset 64 leaves a gap before it; expected 0"),
    ("clipped", "offset", 0, "array clipped at offset 0 overlaps what comes before it; expected 192"),
    ("clipped", "offset", 193, "array clipped at offset 193 leaves a gap before it; expected 192"),
    ("state.m", "name", "state.h", "two arrays of the name state.h"),
    ("state.m", "name", "../../state/m", "name must be words joined by dots, got '../../state/m'"),
    ("state.m", "name", "/etc/passwd", "name must be words joined by dots, got '/etc/passwd'"),
    ("state.m", "name", "C:\\m", "name must be words joined by dots"),
    ("state.m", "name", "", "name must be words joined by dots, got ''"),
    ("state.m", "name", 7, "name must be words joined by dots, got 7"),
    ("state.m", "name", "state.v", "array state.m is missing"),
    ("state.m", "name", "state.v.w", "array state.m is missing"),
    ("theta", "name", "theta2", "there must be an array theta"),
    ("state.m", "extra", 1, "an array must have name, dtype, shape and offset, got {"),
]  # fmt: skip
HEADER_FAULTS = [  # what the header has instead, message
    ("t", -1, "unsound t in the header, -1"),
    ("t", 5.0, "unsound t in the header, 5.0"),
    ("t", "9" * 5000, "unsound t in the header, '9999"),
    ("t", True, "unsound t in the header, True"),
    ("t", 2**64, "unsound t in the header"),
    ("t", 9, "array log.steps must have shape (5,), got shape (3,)"),
    ("record", 0, "unsound record in the header, 0"),
    ("record", 1, "array log.steps must have shape (5,), got shape (3,)"),
    ("seed", -1, "unsound seed in the header, -1"),
    ("seed", None, "unsound seed in the header, None"),
    ("clip_norm", 0.0, "unsound clip_norm in the header, 0.0"),
    ("clip_norm", "1", "unsound clip_norm in the header, '1'"),
    ("cost", -1.0, "unsound cost in the header, -1.0"),
    ("cost", 10**400, "unsound cost in the header, 1000000"),
    ("seconds", None, "unsound seconds in the header, None"),
    ("versions", {"numpy": 2}, "unsound versions in the header"),
    ("versions", [], "unsound versions in the header, []"),
    ("versions", {"numpy": "\x1b[2J"}, "unsound versions in the header, {'numpy': '\\x1b[2J'}"),  # clears a terminal
    ("versions", {"\n": "2"}, "unsound versions in the header, {'\\n': '2'}"),
    ("streams", {}, "unsound streams in the header, {}"),
    ("streams", {s: [1, 1, 0, 0, 0] for s in ("data", "initialisation", "probes", "callback")}, "unsound streams"),
    ("streams/data", [1, 2, 3, 4], "stream data must be integers >= 0 below"),
    ("streams/data", [2**128, 1, 0, 0, 0], "stream data must be integers >= 0 below"),
    ("streams/data", [1, 1, 0, -1, 0], "stream data must be integers >= 0 below"),
    ("streams/data", [1, 1, False, 1, 0], "stream data must be integers >= 0 below"),
    ("streams/data", [1, 1, 0, 0, 2**32], "stream data must be integers >= 0 below"),
    ("streams/data", "PCG64", "stream data must be integers >= 0 below"),
    ("optimizer", "SophiaH", "unsound optimizer in the header, 'SophiaH'"),
    ("optimizer/class", "Shampoo", "the optimizer's class must be one of AdaHessian, Adam, AdamW"),
    ("optimizer/class", "os.system", "the optimizer's class must be one of"),
    ("optimizer/class", ["SophiaH"], "the optimizer's class must be one of"),
    ("optimizer/class", "Optimizer", "the optimizer's class must be one of"),
    ("optimizer/class", "Lion", "Lion must have the settings beta1, beta2, lr, weight_decay, got beta1"),
    ("optimizer/class", "SophiaG", None),  # the same settings: another optimizer, and sound
    ("optimizer/momentum", 0.9, "SophiaH must have the settings beta1, beta2, clip, eps, estimator"),
    ("optimizer/beta1", 1.0, "SophiaH: beta1 must be a number in [0, 1), got 1.0"),
    ("optimizer/beta1", "inf", "SophiaH: beta1 must be a number in [0, 1), got inf"),
    ("optimizer/beta1", None, "SophiaH: beta1 must be a number in [0, 1), got None"),
    ("optimizer/every", 0, "SophiaH: every must be an integer >= 1, got 0"),
    ("optimizer/estimator", "eval", "estimator must be one of hutchinson, hutchinson_rademacher, gnb"),
    ("optimizer/estimator", {"on_part": {"estimator": "gnb", "fraction": 2.0}}, "on_part: fraction must be a number"),
    ("optimizer/estimator", {"on_part": {"estimator": "cosine", "fraction": 0.5}}, "estimator must be one of"),
    ("optimizer/estimator", {"on_part": {"fraction": 0.5}}, "estimator must be one of"),
    ("optimizer/estimator", {"exec": {"estimator": "gnb"}}, "estimator must be one of"),
    ("optimizer/estimator", {"cosine": {"peak": 1.0, "steps": 3}}, "estimator must be one of"),
    ("optimizer/estimator", {"cosine": {"estimator": "gnb"}}, "estimator must be one of"),
    ("optimizer/estimator", {"averaged": {"estimator": "gnb", "n": 2, "x": 1}}, "unexpected keyword argument 'x'"),
    ("optimizer/lr", {"cosine": {"peak": 1.0, "steps": 0}}, "cosine: steps must be an integer >= 1, got 0"),
    ("optimizer/lr", {"cosine": {"peak": 1.0, "steps": 2}, "x": 1}, "SophiaH: lr must be a finite number >= 0"),
    ("optimizer/lr", {"eval": "1"}, "SophiaH: lr must be a finite number >= 0"),
    ("optimizer/lr", "hutchinson", "SophiaH: lr must be a finite number >= 0"),
    ("optimizer/lr", -1.0, "SophiaH: lr must be a finite number >= 0"),
    ("optimizer/lr", 10**400, "SophiaH: lr must be a finite number >= 0, or an array"),  # beyond every float
    ("optimizer/gamma", -(10**400), "SophiaH: gamma must be a finite number > 0, or an array"),
    ("optimizer/lr", {"cosine": {"peak": 10**400, "steps": 3}}, "cosine: peak must be a finite number >= 0, got 1000"),
    ("extra", 1, "the header must have the keys t, seed, record"),
    ("\x1b[2J", 1, ", streams, versions, ?[2J"),
    ("optimizer/\x1b]0;x\x07", 1, ", got ?]0;x?, beta1"),
]  # fmt: skip
VALUE_FAULTS = [  # an array's entry: value, message
    ("theta", (1, 3), np.nan, "array theta has the unsound entry nan at [1, 3]"),
    ("theta", (0, 0), np.inf, "array theta has the unsound entry inf at [0, 0]"),
    ("state.m", (1, 3), np.nan, "array state.m has the unsound entry nan at [1, 3]"),
    ("state.h", (0, 9), np.nan, "array state.h has the unsound entry nan at [0, 9]"),
    ("diverged_at", (1,), 0, "array diverged_at has the unsound entry 0 at [1]"),
    ("diverged_at", (1,), 6, "array diverged_at has the unsound entry 6 at [1]"),
    ("diverged_at", (0,), -2, "array diverged_at has the unsound entry -2 at [0]"),
    ("clipped_steps", (0,), 6, "array clipped_steps has the unsound entry 6 at [0]"),
    ("clipped_steps", (0,), -1, "array clipped_steps has the unsound entry -1 at [0]"),
    ("clipped", (0, 0), 1.5, "array clipped has the unsound entry 1.5 at [0, 0]"),
    ("log.steps", (1,), 3, "array log.steps has the unsound entry 3 at [1]"),
    ("log.cost", (2,), np.nan, "array log.cost has the unsound entry nan at [2]"),
    ("log.cost", (2,), np.inf, "array log.cost has the unsound entry inf at [2]"),
    ("log.cost", (2,), -1.0, "array log.cost has the unsound entry -1.0 at [2]"),
]  # fmt: skip


def hostile(sound):
    """name -> bytes of a file, and the message that refuses it."""
    header, arrays = parsed(sound)
    header.pop("arrays")
    table = [(name, array, {}) for name, array in arrays.items()]
    (length,) = struct.unpack("<Q", sound[24:32])
    text, blob = sound[32 : 32 + length].decode().rstrip(), sound[32 + length : -32]
    assert forged(header, text=text, blob=blob) == sound

    yield "a pickle", checked(pickle.dumps(Evil())), "not a checkpoint: it begins with"
    yield "an npz", checked(npz()), "not a checkpoint: it begins with b'PK"
    yield (
        "a later version",
        forged(header, arrays=table, magic=b"sophia-ref checkpoint 02"),
        "version b'02' of the format",
    )
    yield "an earlier version", forged(header, arrays=table, magic=b"sophia-ref checkpoint 00"), "version b'00'"
    yield "an oversized header", forged(header, arrays=table, length=2**40), "a header of 1099511627776 bytes in a file"
    yield (
        "a header beyond the end",
        forged(header, arrays=table, length=2**16 - 32),
        "a header of 65504 bytes in a file",
    )
    yield "a negative length", forged(header, arrays=table, length=2**64 - 64), "cut short or damaged"
    yield "a header over the bound", forged({}, text=" " * 2**20 + "{}"), "a header of 1048608 bytes"
    yield "a header that is not aligned", forged(header, arrays=table, length=65), "a header of 65 bytes"
    yield "no JSON", forged({}, text="theta"), "the header is not JSON"
    yield "no UTF-8", forged({}, text=b'{"\xff": 1}'), "the header is not JSON"
    yield "a list", forged({}, text="[]"), "the header must be an object, got []"
    yield "a deep nest", forged({}, text=NESTED), "nested too deeply"
    yield "NaN in the header", forged({}, text=text.replace('"cost": ', '"cost": NaN, "x": '), blob=blob), "holds NaN"
    yield "infinity in it", forged({}, text=text.replace('"cost": ', '"cost": 1e999, "x": '), blob=blob), "holds 1e999"
    yield "a long integer", forged({}, text='{"t": ' + "9" * 10_000 + "}"), "integer string conversion"
    yield (
        "a key twice",
        forged({}, text=text.replace('"t": 5', '"t": 5, "t": 6'), blob=blob),
        "the key 't' stands twice",
    )
    yield (
        "a key twice inside",
        forged({}, text=text.replace('"lr": ', '"lr": 1.0, "lr": '), blob=blob),
        "'lr' stands twice",
    )
    yield "no table", forged({}, text=json.dumps(header), blob=blob), "the header's arrays must be a list, got None"
    yield "no arrays", forged(header, arrays=[]), "there must be an array theta"
    yield "trailing bytes", forged({}, text=text, blob=blob + b"x"), "1 bytes too many after the last array"
    yield "an array cut short", forged({}, text=text, blob=blob[:-1]), "goes beyond the end of the file"
    yield "junk between arrays", forged({}, text=text, blob=blob[:161] + b"x" + blob[162:]), "lies between the arrays"
    yield (
        "an array too many",
        forged(header, arrays=[*table, ("state.w", np.ones(3), {})]),
        "array state.w is not one of",
    )
    yield (
        "code beside",
        forged(header, arrays=[*table, ("code", np.ones(3), {})]),
        "array code is not one of a checkpoint",
    )
    yield "an array twice", forged(header, arrays=[*table, table[0]]), "two arrays of the name theta"
    for missing in range(1, len(table)):
        rest = table[:missing] + table[missing + 1 :]
        yield f"without {table[missing][0]}", forged(header, arrays=rest), f"array {table[missing][0]} is missing"
    for missing in header:
        rest = {name: value for name, value in header.items() if name != missing}
        yield f"without {missing}", forged(rest, arrays=table), "the header must have the keys t, seed"
    for name, key, value, message in ARRAY_FAULTS:
        changed = [(this, array, {key: value} if this == name else {}) for this, array, _ in table]
        yield f"{name} with {key} {value!r:.30}", forged(header, arrays=changed), message
    for path, value, message in HEADER_FAULTS:
        yield f"{path} {value!r:.40}", forged(change(header, path, value), arrays=table), message
    for name, at, value, message in VALUE_FAULTS:
        bad = arrays[name].copy()
        bad[at] = value
        changed = [(this, bad if this == name else array, {}) for this, array, _ in table]
        yield f"{name} with {value!r} in it", forged(header, arrays=changed), message
    for name, dtype in (("theta", np.float16), ("theta", np.int64), ("state.m", np.float32), ("diverged_at", np.int32)):
        changed = [(this, array.astype(dtype) if this == name else array, {}) for this, array, _ in table]
        yield f"{name} as {dtype.__name__}", forged(header, arrays=changed), f"{name}"
    bad = change(header, "optimizer/gamma", None)
    bad["optimizer"].pop("gamma")
    for gamma, message in (
        (np.ones(3), "SophiaH: gamma must broadcast to theta's shape (2, 10), got shape (3,)"),
        (-np.ones(10), "SophiaH: gamma must be a finite number > 0, or an array of such numbers, got gamma[0] = -1.0"),
    ):
        yield f"gamma {gamma}", forged(bad, arrays=[*table, ("optimizer.gamma", gamma, {})]), message
    layout = {"class": "AdaHessian", "lr": 0.1, "beta1": 0.5, "beta2": 0.5, "eps": 1.0, "weight_decay": 0.0}
    for tensors, message in (
        ([["a", [2, -1]]], "Layout: the shape of 'a' must be a tuple of non-negative integers"),
        ([["a", [5]], ["a", [5]]], "layout must be pairs of a name and a shape, each name once, got ['a', [5]]"),
        ([["a", 5]], "layout must be pairs"),
        ({"a": [5]}, "AdaHessian: layout must be a Layout or None, got {'a': [5]}"),
    ):
        bad = change(header, "optimizer", {**layout, "estimator": "gnb", "layout": tensors})
        yield f"layout {tensors}", forged(bad, arrays=table), message


def test_hostile_files_with_the_right_checksum_are_refused_by_name(sound, tmp_path):
    seen = 0
    for name, data, message in hostile(sound):
        path = tmp_path / "hostile.ckpt"
        path.write_bytes(data)
        if message is None:
            assert checkpoint.load(path).optimizer.name == "SophiaG"
            continue
        start = time.perf_counter()
        with pytest.raises(CheckpointError) as refusal:
            checkpoint.load(path)
        assert message in str(refusal.value), f"{name}: {refusal.value}"
        assert str(refusal.value).startswith(f"{path}: ")
        assert len(str(refusal.value)) < len(str(path)) + 600
        assert time.perf_counter() - start < 1, name
        seen += 1
    assert seen > 100


# -- what cannot be saved, and what does not fit -----------------------------------------------------------------------


class Mine(sr.Adam):
    pass


class Adam(sr.Adam):
    """Another Adam than ours."""


class cosine(sr.cosine):
    """Another cosine than ours."""


class Own:
    def init(self, theta):
        return None


@pytest.mark.parametrize(
    ("opt", "message"),
    [
        (sr.Adam(lr=lambda t: 0.1), "Adam: lr must be a number, an array, a Layout or one of hutchinson, "),
        (sr.Adam(lr=cosine(0.1, 9)), "Adam: lr must be a number, an array, a Layout or one of"),
        (sr.Adam(lr=sr.cosine(np.float32(0.1), 9)), "Adam: lr: peak must be a number"),
        (sr.Sophia(0.1, estimator=lambda oracle: oracle.grad()), "Sophia: estimator must be a number, an array"),
        (
            sr.Sophia(0.1, estimator=sr.averaged(sr.on_part(lambda oracle: oracle.grad(), 1.0), 2)),
            "Sophia: estimator: estimator: estimator must be a number",
        ),
        (sr.AdaHessian(0.1, layout=sr.Layout({1: (10,)})), "AdaHessian: layout must be a number"),
        (sr.Adam(lr=np.ones(10, np.longdouble)), "array optimizer.lr must hold integers or floats of at most 64 bits"),
        (Mine(lr=0.1), "an optimizer must be one of AdaHessian, Adam, AdamW"),
        (Adam(lr=0.1), "an optimizer must be one of AdaHessian, Adam, AdamW"),
    ],
)
def test_an_optimizer_that_is_not_ours_to_the_last_setting_is_refused_before_the_first_step(tmp_path, opt, message):
    asked = []

    class Asked(Noisy):
        def batch(self, rng, shape):
            asked.append(shape)

    with pytest.raises(CheckpointError, match=re.escape(message)) as refusal:
        sr.run(Asked(), opt, 5, checkpoint=Checkpoints(tmp_path / "run", every=1))
    assert "step-00000000.ckpt: " in str(refusal.value)
    assert asked == []
    assert not list(tmp_path.rglob("*.*"))


def test_the_settings_that_can_be_saved_come_back_as_they_were(tmp_path, quick):
    settings = {
        "lr": np.arange(5, dtype=np.int16), "beta1": 0.1, "beta2": 1 / 3, "gamma": np.array(2.0, np.float16),
        "clip": np.inf, "eps": 5e-324, "weight_decay": np.ones((2, 1, 5), np.float32), "every": 7,
        "estimator": sr.on_part(sr.averaged(sr.exact_diagonal, np.int64(2)), 0.5),
    }  # fmt: skip
    saved = Checkpoints(tmp_path, every=1)
    sr.run(lambda theta: theta.sum(-1), sr.Sophia(**settings), 0, theta0=np.ones((2, 3, 5)), checkpoint=saved)
    opt = saved.latest().optimizer
    assert type(opt) is sr.Sophia
    for name, value in settings.items():
        if isinstance(value, np.ndarray):
            bits(getattr(opt, name), value)
        else:
            assert getattr(opt, name) == value
    assert same(opt, sr.Sophia(**settings))


LAYOUT = sr.Layout({"a": (2, 3), "b": (4,)})


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (sr.Adam(0.1), sr.Adam(0.1), True),
        (sr.Adam(0.1), sr.Adam(0.2), False),
        (sr.Adam(0.1), sr.AdamW(0.1, weight_decay=0.0), False),
        (sr.SophiaH(0.1), sr.Sophia(0.1), False),
        (sr.SophiaH(0.1), sr.SophiaH(0.1, estimator=sr.gnb), False),
        (sr.Adam(np.ones(3)), sr.Adam(np.ones(3)), True),
        (sr.Adam(np.ones(3)), sr.Adam(np.ones(4)), False),
        (sr.Adam(np.ones(3)), sr.Adam(1.0), False),
        (sr.Adam(sr.cosine(0.1, 9)), sr.Adam(sr.cosine(0.1, 9)), True),
        (sr.Adam(sr.cosine(0.1, 9)), sr.Adam(sr.cosine(0.1, 8)), False),
        (sr.AdaHessian(0.1, layout=LAYOUT), sr.AdaHessian(0.1, layout=sr.Layout(LAYOUT.shapes)), True),
        (sr.AdaHessian(0.1, layout=LAYOUT), sr.AdaHessian(0.1, layout=sr.Layout({"b": (4,), "a": (2, 3)})), False),
        (sr.AdaHessian(0.1, layout=LAYOUT), sr.AdaHessian(0.1), False),
    ],
)
def test_two_optimizers_are_the_same_if_class_and_every_setting_are(one, other, equal):
    assert same(one, other) is same(other, one) is equal


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"seed": 4}, ValueError, "run: seed must be 3, as in the run to resume, got 4"),
        ({"record": 1}, ValueError, "run: record must be 2, as in the run to resume, got 1"),
        ({"trajectory": False}, ValueError, "run: trajectory must be True, as in the run to resume, got False"),
        ({"clip_norm": 1.0}, ValueError, "run: clip_norm must be None, as in the run to resume, got 1.0"),
        ({"steps": 4}, ValueError, "run: steps must be at least 5, those already taken, got 4"),
        (
            {"opt": sr.SophiaG(0.1)},
            ValueError,
            "run: opt must be SophiaH(lr=cosine(peak=0.1, steps=9, warmup=0, final=",
        ),
        ({"opt": Own()}, TypeError, "run: opt must have a method step"),
        ({"opt": Mine(0.1)}, ValueError, "an optimizer must be one of AdaHessian"),
        ({"resume": "out/step-00000005.ckpt"}, TypeError, "run: resume must be a Snapshot, got 'out/step-"),
        ({"checkpoint": "out"}, TypeError, "run: checkpoint must be a Checkpoints, got 'out'"),
    ],
)
def test_a_run_that_is_not_the_one_to_resume_is_refused(tmp_path, quick, arguments, error, message):
    problem = Noisy()
    good = {"opt": SOPHIA, "steps": 8, "seed": 3, "record": None, "resume": some_snapshot(tmp_path)}
    with pytest.raises(error, match=re.escape(message)):
        sr.run(problem, **(good | arguments))
    assert problem.batches == []
    sr.run(problem, **good)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"every": 0}, ValueError, "Checkpoints: every must be an integer >= 1, got 0"),
        ({"every": 1.5}, TypeError, "Checkpoints: every must be an integer >= 1, got 1.5"),
        ({"every": 1, "keep": 0}, ValueError, "Checkpoints: keep must be an integer >= 1, got 0"),
        ({"every": 1, "folder": 7}, TypeError, "Checkpoints: folder must be a path, got 7"),
        ({"every": 1, "keep": True}, TypeError, "Checkpoints: keep must be an integer >= 1, got True"),
    ],
)
def test_checkpoints_refuse_bad_numbers(settings, error, message):
    with pytest.raises(error, match=re.escape(message)):
        Checkpoints(**({"folder": "out"} | settings))


def test_a_snapshot_that_could_not_be_read_is_not_written(tmp_path, quick):
    snapshot = some_snapshot(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for changes in (
        {"theta": np.full((2, WIDTH), np.nan)}, {"theta": snapshot.theta.tolist()}, {"t": 4}, {"cost": -1.0},
        {"cost": np.inf}, {"log": {}}, {"clipped": np.ones((2, WIDTH), bool)}, {"streams": snapshot.streams[:3]},
    ):  # fmt: skip
        with pytest.raises(CheckpointError, match=re.escape(str(tmp_path / "step-00000005.ckpt"))):
            checkpoint.save(tmp_path / "step-00000005.ckpt", snapshot._replace(**changes))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_header_that_is_too_long_is_not_written(tmp_path):
    layout = sr.Layout({f"tensor {i}": (1,) for i in range(60_000)})
    with pytest.raises(CheckpointError, match="the header must take at most 1048576 bytes, got 1"):
        sr.run(
            lambda theta: theta.sum(), sr.AdaHessian(0.1, layout=layout), 1, theta0=np.ones(layout.size),
            checkpoint=Checkpoints(tmp_path, every=1),
        )  # fmt: skip
    assert os.listdir(tmp_path) == []


def test_what_is_inside_can_be_shown(tmp_path, quick):
    some_snapshot(tmp_path)
    rows = dict(checkpoint.show(tmp_path / "step-00000005.ckpt"))
    assert re.fullmatch(r"sophia_ref 0\.\d+\.\d+, numpy \d.*, python 3.*", rows["written by"])
    expected = {
        "t": "5", "seed": "3", "record": "2", "clip_norm": "None", "cost": "11.0", "optimizer.class": '"SophiaH"',
        "optimizer.lr": '{"cosine": {"peak": 0.1, "steps": 9, "warmup": 0, "final": 0.0}}', "optimizer.every": "4",
        "theta": "float64 (2, 10)", "state.h": "float64 (2, 10)", "log.losses": "float64 (3, 2)",
    }  # fmt: skip
    assert {name: rows[name] for name in expected} == expected
    assert rows["stream data"].startswith("[")


def test_no_rows_are_saved_and_resumed_like_any(tmp_path, quick):
    checkpoint.save(tmp_path / "x", some_snapshot(tmp_path / "run", theta0=np.ones((1, WIDTH))))
    none = sr.run(Noisy(), SOPHIA, 3, theta0=np.ones((0, WIDTH)), checkpoint=Checkpoints(tmp_path / "none", every=1))
    assert none.theta.shape == (0, WIDTH)


# -- killed ------------------------------------------------------------------------------------------------------------


def test_a_killed_run_loses_nothing():
    """A sample; CONTRIBUTING.md has the command for the full count."""
    script = Path(__file__).parent / "fault_checkpoint.py"
    done = subprocess.run([sys.executable, script, "--kills", "12"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed: 12" in done.stdout
    assert "all equal to the bit" in done.stdout


if __name__ == "__main__":
    os.fsync = lambda descriptor: None  # quick
    sys.stdout.write(str(interrupt_at_any_moment(Path(sys.argv[1]))))
