"""Kill a run with SIGKILL at random moments, again and again, and see that nothing is ever lost or torn.

    python tests/fault_checkpoint.py --kills 200 --saves 50

A child process trains and saves after every step; it is killed at a random moment after it begins to load its last
checkpoint, and the next child goes on from what it finds. After each kill every file under a checkpoint's name must
load, and equal to the bit what a run that nobody disturbed had at that step. When the last step is reached, all that
`run` returns must be equal too; then a new run begins, until there are so many kills, of which so many inside a save.
The kernel outlives the process, so this shows nothing about power cuts: for those the file and its folder are synced.
"""

import argparse
import mmap
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

import sophia_ref as sr  # noqa: E402
from sophia_ref import checkpoint  # noqa: E402

STEPS = 300
IDLE, RUNNING, SAVING, DONE = range(4)  # what a child is doing, in a byte that outlives it


class Task:
    """A noisy quartic in 20,000 parameters: a save takes as long as some steps."""

    def init(self, rng):
        return rng.standard_normal(20_000).astype(np.float32)

    def batch(self, rng, shape):
        return (rng.standard_normal((4, 20_000), np.float32),)

    def loss(self, theta, batch):
        return ((theta - batch[0]) ** 2 / 2 + theta**4 / 4).mean()


def run(**settings):
    opt = sr.SophiaH(sr.cosine(0.1, STEPS, warmup=20), gamma=1.0, beta2=0.9, every=7)
    return sr.run(Task(), opt, STEPS, seed=1, record=3, trajectory=False, clip_norm=0.01, **settings)


def child(folder, status):
    with open(status, "r+b") as file, mmap.mmap(file.fileno(), 1) as doing:

        class Watched(checkpoint.Checkpoints):
            def save(self, snapshot):
                doing[0] = SAVING
                super().save(snapshot)
                doing[0] = RUNNING

        saved = Watched(folder, every=1)
        doing[0] = RUNNING
        done = run(checkpoint=saved, resume=saved.latest())
        np.savez(Path(folder) / "done.npz", **contents(done))
        doing[0] = DONE


def contents(done):
    """All that a run or snapshot holds, but the seconds, as arrays by name."""
    if isinstance(done, checkpoint.Snapshot):
        arrays = {f"log.{name}": array for name, array in done.log.items()}
        names = ("t", "theta", "seed", "cost", "clipped", "diverged_at", "clipped_steps")
        arrays["streams"] = np.array([str(stream) for stream in done.streams])
    else:
        arrays, names = {}, ("theta", "steps", "losses", "cost", "unclipped", "clipped_steps")
    arrays |= {name: getattr(done, name) for name in names} | done.state._asdict()
    return {name: np.asarray(array) for name, array in arrays.items()}


def equal(one, other):
    return one.keys() == other.keys() and all(
        array.dtype == other[name].dtype
        and array.shape == other[name].shape
        and array.tobytes() == other[name].tobytes()
        for name, array in one.items()
    )


class Memory(checkpoint.Checkpoints):
    """Keeps what each step's checkpoint should hold, without a file."""

    def __init__(self):
        super().__init__("", every=1)
        object.__setattr__(self, "snapshots", {})

    def save(self, snapshot):
        self.snapshots[snapshot.t] = contents(snapshot)


def kill(folder, status, moment):
    """Start a child, kill it `moment` seconds after it began to load, and return what it was doing."""
    status.write_bytes(bytes([IDLE]))
    process = subprocess.Popen([sys.executable, __file__, "--child", str(folder), str(status)])
    try:
        while status.read_bytes()[0] == IDLE and process.poll() is None:
            time.sleep(0.001)
        time.sleep(moment)
    finally:
        process.kill()
        code = process.wait()
    doing = status.read_bytes()[0]
    if code > 0 or doing == IDLE:
        raise SystemExit(f"the child failed by itself, with exit code {code}")
    return doing


def main(kills, saves, seed):
    memory, moments = Memory(), random.Random(seed)
    expected = contents(run(checkpoint=memory))
    done = {"killed": 0, "in a save": 0, "half-written files": 0, "files loaded": 0, "resumed": 0, "runs finished": 0}
    with tempfile.TemporaryDirectory() as place:
        status, number = Path(place) / "status", 0
        folder = Path(place) / "0"
        while done["killed"] < kills or done["in a save"] < saves:
            done["resumed"] += any(folder.glob("*.ckpt"))
            doing = kill(folder, status, moments.uniform(0, 0.3))
            done["killed"] += doing != DONE
            done["in a save"] += doing == SAVING
            done["half-written files"] += len(list(folder.glob(".*.tmp")))
            for path in folder.glob("*.ckpt"):
                snapshot = checkpoint.load(path)
                if not equal(contents(snapshot), memory.snapshots[snapshot.t]):
                    raise SystemExit(f"{path} is not what the undisturbed run had after {snapshot.t} steps")
                done["files loaded"] += 1
            if doing == DONE:
                with np.load(folder / "done.npz") as end:
                    if not equal(dict(end), expected):
                        raise SystemExit("the run that was killed and resumed ended differently")
                done["runs finished"] += 1
                number += 1
                folder = Path(place) / str(number)
        final = checkpoint.Checkpoints(folder, every=1)
        if not equal(contents(run(resume=final.latest())), expected):
            raise SystemExit("the last run, resumed, ended differently")
    sys.stdout.write(", ".join(f"{name}: {count}" for name, count in done.items()) + "; all equal to the bit\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--saves", type=int, default=0, help="how many of them inside a save, at least")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(*args.child)
    else:
        main(args.kills, args.saves, args.seed)
