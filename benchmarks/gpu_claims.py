"""Half the steps, at 3 and 30 million parameters: AdamW, Signum, Sophia-H and Sophia-G on any text, on a GPU.

    python benchmarks/gpu_claims.py --text FILE [--output out/claims] [--sizes 3m 30m] [--plan]
    python benchmarks/gpu_claims.py --device cpu --quick      every part on a CPU, with models that have no use

As in `sophia-ref claims`, whose ranges, trials, statistics and tables these are: every method is tuned with the same
number of trials for every run length, AdamW for every T and 2T, on a seed and held-out data of their own; the best is
then trained with three other seeds. First the time and memory of a step are measured, and it is said how many runs
there are and how long they will take. Each run is kept as soon as it is done, in gpu-runs.jsonl, so that the same
command goes on where it was stopped, on a device of the same name: on another it begins anew. The page is FOLDER.md,
with what `sophia-ref claims --output FOLDER` has left.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import on_device
from gpu_training import EVERY, METHODS, VOCAB, Text, Training, perform, steps_of
from tqdm import tqdm

from sophia_ref.claims import gpu
from sophia_ref.claims.claim import seconds_in_words
from sophia_ref.claims.conduct import render
from sophia_ref.claims.half_the_steps import adamw_lengths, compared
from sophia_ref.claims.runs import FolderError, Spec, Table
from sophia_ref.claims.tuning import Arm, shown
from toy_problems.transformer import TinyGPT

SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Scale:
    """model: (context, width, heads, layers). batch: windows a step. lengths: steps of the three run lengths."""

    model: tuple[int, ...]
    batch: int
    lengths: tuple[int, int, int]
    trials: int

    @property
    def size(self) -> int:
        return TinyGPT(VOCAB, *self.model).size


SIZES = {
    "3m": Scale((256, 256, 4, 4), 64, (500, 2000, 8000), 8),
    "30m": Scale((256, 512, 8, 10), 64, (500, 2000, 8000), 8),
}
TINY = {
    "3m": Scale((16, 8, 2, 1), 4, (4, 8, 16), 2),
    "30m": Scale((16, 16, 2, 2), 4, (4, 8, 16), 2),
}


def arms_of(scale: Scale, task: str) -> list[Arm]:
    """AdamW first."""
    lengths = {"AdamW": adamw_lengths(scale.lengths)}
    return [
        Arm(task, scale.model, scale.batch, method, steps, scale.trials)
        for method in METHODS
        for steps in lengths.get(method, scale.lengths)
    ]


def measured(scale: Scale, task: str, text: Text, device: Any, bf16: bool) -> dict[str, dict[str, Any]]:
    """Milliseconds a step (mean of a period of curvature; quartiles over periods) and the most memory, by method."""
    found = {}
    for method in tqdm(METHODS, f"steps of {scale.size:,} parameters", leave=False, disable=None):
        arm = Arm(task, scale.model, scale.batch, method, 10_000, scale.trials)
        run = Training(arm.tuning()[0], text, device, bf16)
        list(steps_of(run, EVERY))  # a whole period
        most = on_device.peak(lambda run=run: list(steps_of(run, EVERY)), device)
        periods = [float(np.mean(list(steps_of(run, EVERY)))) for _ in range(5)]
        low, median, high = np.quantile(periods, [0.25, 0.5, 0.75])
        found[method] = {"ms": float(median), "low": float(low), "high": float(high), "peak_bytes": most}
    return found


def planned(arms: list[Arm], table: Table) -> tuple[int, list[Spec]]:
    """All runs, and those still to be made, where they are known: of tuned arms the runs that are shown are."""
    trials = [spec for arm in arms for spec in arm.tuning()]
    tuned = [arm for arm in arms if not table.missing(arm.tuning())]
    rest = [spec for arm in tuned for spec in shown(table, arm, SEEDS)]
    unknown = [arm.spec((("arm", float(i)),), seed) for i, arm in enumerate(arms) if arm not in tuned for seed in SEEDS]
    every = list(dict.fromkeys(trials)) + rest + unknown
    return len(every), table.missing(every)


def fill(specs: list[Spec], table: Table, title: str, text: Text, device: Any, bf16: bool) -> None:
    """Make the runs that are missing, each kept as soon as it is done."""
    missing = table.missing(specs)
    with tqdm(total=sum(spec.steps for spec in missing), desc=title, unit="step", disable=None) as bar:
        for spec in missing:
            done = bar.n
            table.add(spec, perform(spec, text, device, bf16, bar.update))
            bar.update(done + spec.steps - bar.n)  # a run that diverged takes fewer


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--text", type=Path, metavar="FILE", help="default: the Python language reference, half a MB")
    parser.add_argument("--output", type=Path, default=Path("out/claims"), metavar="FOLDER")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--quick", action="store_true", help="tiny models and short runs, which conclude nothing")
    parser.add_argument("--plan", action="store_true", help="say how many runs there are, and stop")
    options = parser.parse_args(argv)
    device = on_device.find(options.device)
    try:
        text = Text.load(options.text, device)
    except OSError as error:
        parser.error(f"argument --text: {str(options.text)!r}: {error.strerror}; expected a file that can be read")
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        table = Table(options.output / ("gpu-quick.jsonl" if options.quick else "gpu-runs.jsonl"))
    except OSError as error:
        parser.error(f"argument --output: {str(options.output)!r}: {error.strerror}; expected a folder to write to")
    except FolderError as error:
        parser.error(f"argument --output: {error}")
    scales = {name: (TINY if options.quick else SIZES)[name] for name in dict.fromkeys(options.sizes)}
    shortest = 20 * max(scale.model[0] for scale in scales.values())
    if text.size < shortest:
        name = "--text" if options.text else "--sizes"
        parser.error(f"argument {name}: {text.name} has {text.size} bytes; expected at least {shortest}")
    bf16 = device.type == "cuda"
    described = on_device.described(device)
    task = f"bytes {text.sha256[:16]} on {described['name']}" + " in bfloat16" * bf16

    arms = {name: arms_of(scale, task) for name, scale in scales.items()}
    steps = {name: measured(scale, task, text, device, bf16) for name, scale in scales.items()}
    ahead = {name: planned(arms[name], table) for name in scales}
    seconds = {
        name: sum(spec.steps * steps[name][spec.method]["ms"] for spec in new) / 1e3 for name, (_, new) in ahead.items()
    }
    print(f"{described['name']}, PyTorch {described['torch']}; {text.name}, {text.size:,} bytes")
    for name, (runs, new) in ahead.items():
        parameters = f"{scales[name].size:,} parameters"
        print(f"{parameters}: {len(new):,} of {runs:,} runs are to be made, about {seconds_in_words(seconds[name])}")
    if options.plan:
        return
    for name in scales:
        trials = [spec for arm in arms[name] for spec in arm.tuning()]
        fill(trials, table, f"{name}, tuning", text, device, bf16)
        fill([spec for arm in arms[name] for spec in shown(table, arm, SEEDS)], table, name, text, device, bf16)

    entry = {
        "machine": f"{described['name']}, PyTorch {described['torch']}, {described['system']}",
        "precision": "bfloat16 products over float32 weights" if bf16 else "float32",
        "text": {"name": text.name, "bytes": text.size, "sha256": text.sha256},
        "seeds": SEEDS,
        "trials": next(iter(scales.values())).trials,
        "quick": options.quick,
        "sizes": {
            name: {
                "parameters": scale.size,
                "batch": scale.batch,
                "context": scale.model[0],
                "numbers": compared(table, arms[name], scale.lengths, SEEDS),
                "steps": steps[name],
            }
            for name, scale in scales.items()
        },
    }
    written = gpu.keep(options.output, json.loads(json.dumps(entry)))
    print(gpu.section(options.output) + "\n")
    print("\n".join(f"wrote {path}" for path in [*written, render(options.output)]))


if __name__ == "__main__":
    main()
