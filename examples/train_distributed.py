"""A GPT trained on several processes: by Sophia-G, Sophia-H or AdamW, under DistributedDataParallel or FSDP2.

    torchrun --standalone --nproc-per-node 2 examples/train_distributed.py

trains ten thousand parameters on the Python language reference, on two processes of a CPU. With GPUs it is one process
a GPU. GPT-2 small, 124,373,760 parameters, with the settings of Sophia's paper, on a machine with eight GPUs:

    torchrun --standalone --nproc-per-node 8 examples/train_distributed.py --preset gpt2-small --data train.bin \
        --folder out/gpt2-small

--data is a file of tokens, 16 bits each, as nanoGPT writes it (NAME.bin), or any other file, which is read byte by
byte. --dry-run 8 says what eight processes would do, and starts none. --resume goes on from the last checkpoint in the
folder, on any number of processes, with the same batches, labels and probes.
"""

import argparse
import json
import os
import shutil
import sys
import time
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

try:
    import torch
except ModuleNotFoundError:
    sys.exit("train_distributed: PyTorch is missing; pip install 'sophia-ref[torch]' installs it")

import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from gpt_torch import GPT
from torch import Tensor
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

import sophia_ref as sr
from sophia_ref.files import replacing
from sophia_ref.ports.torch import Hutchinson, SophiaG, SophiaH
from sophia_ref.ports.torch_distributed import (
    EngineGNB,
    averaged,
    check_agreement,
    own_parts,
    stream,
    unclipped,
    whole,
)
from toy_problems.text import language_reference
from toy_problems.transformer import PRESETS, TinyGPT


class Recipe(NamedTuple):
    batch: int  # sequences a step, in all
    curvature: dict[str, int]  # of them, those that an estimate is made from
    micro: dict[str, int]  # that a process takes at once
    steps: int
    warmup: int


# The first is the paper's; its micro-batches go into one, two, four and eight processes.
PUBLISHED = Recipe(480, {"sophia-g": 240, "sophia-h": 32}, {"sophia-g": 6, "sophia-h": 4, "adamw": 6}, 100_000, 2000)
TOY = Recipe(16, {"sophia-g": 8, "sophia-h": 8}, {"sophia-g": 2, "sophia-h": 2, "adamw": 2}, 200, 20)

# The paper's settings. Learning rates and gammas are from memory: 6e-4 for AdamW at this size, 0.8 of it for Sophia.
SOPHIA = dict(betas=(0.96, 0.99), eps=1e-12, weight_decay=0.2, every=10)
METHODS: dict[str, tuple[Any, dict[str, Any]]] = {
    "sophia-g": (SophiaG, dict(lr=4.8e-4, gamma=0.05, **SOPHIA)),
    "sophia-h": (SophiaH, dict(lr=4.8e-4, gamma=0.01, **SOPHIA)),
    "adamw": (torch.optim.AdamW, dict(lr=6e-4, betas=(0.9, 0.95), weight_decay=0.1)),
}
CLIP_NORM, LAST = 1.0, 0.05  # of the gradient's norm; the last learning rate, as a share of the highest
LASTING = "preset data method batch curvature_batch micro_batch steps warmup lr gamma bf16 seed".split()
KEPT = 2  # checkpoints


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--preset", choices=PRESETS, default="10k", help="the model (default: %(default)s)")
    add("--data", metavar="FILE", help="tokens (NAME.bin) or bytes (default: the Python language reference, in bytes)")
    add("--method", choices=METHODS, default="sophia-g", help="default: %(default)s")
    add("--engine", choices=("ddp", "fsdp"), default="ddp", help="default: %(default)s")
    add("--device", choices=("cpu", "cuda"), help="default: cuda where there is a GPU")
    number = dict(type=int, metavar="N")
    add("--batch", **number, help="sequences a step, of all processes (gpt2-small: 480, others: 16)")
    add("--curvature-batch", **number, help="of them, those of an estimate (gpt2-small: 240 or 32, others: 8)")
    add("--micro-batch", **number, help="sequences that a process takes at once (gpt2-small: 6 or 4, others: 2)")
    add("--steps", **number, help="the length of the schedule (gpt2-small: 100,000, others: 200)")
    add("--warmup", **number, help="steps in which the learning rate rises (gpt2-small: 2,000, others: 20)")
    add("--until", **number, help="stop after this step (default: that of --steps)")
    add("--lr", type=float, metavar="X", help="highest learning rate (Sophia: 4.8e-4, AdamW: 6e-4)")
    add("--gamma", type=float, metavar="X", help="Sophia's (G: 0.05, H: 0.01)")
    add("--bf16", action=argparse.BooleanOptionalAction, help="bfloat16 autocast (default: for gpt2-small)")
    add("--seed", **number, default=0, help="of weights, batches, labels and probes (default: 0)")
    add("--folder", metavar="FOLDER", help="for checkpoints (default: none are saved)")
    add("--save-every", **number, default=1000, help="steps between checkpoints (default: %(default)s)")
    add("--resume", action="store_true", help="go on from the last checkpoint in FOLDER")
    add("--log-every", **number, default=10, help="steps between lines (default: %(default)s)")
    add("--dry-run", **number, nargs="?", const=1, help="say what N processes would do (default: 1), and do nothing")
    args = parser.parse_args()

    recipe = PUBLISHED if args.preset == "gpt2-small" else TOY
    adam = args.method == "adamw"
    defaults = recipe._asdict() | METHODS[args.method][1] | dict(
        curvature_batch=recipe.curvature.get(args.method), micro_batch=recipe.micro[args.method]
    )  # fmt: skip
    for name, value in vars(args).items():
        if value is None and name in defaults:
            setattr(args, name, defaults[name])
    args.bf16 = args.preset == "gpt2-small" if args.bf16 is None else args.bf16
    args.until = args.steps if args.until is None else args.until
    if adam and (args.gamma, args.curvature_batch) != (None, None):
        parser.error("--gamma and --curvature-batch: AdamW has neither")
    least = dict.fromkeys(("batch", "micro_batch", "steps", "until", "save_every", "log_every", "dry_run"), 1)
    for name, low in (least | dict(seed=0, warmup=0, curvature_batch=1)).items():
        if (value := getattr(args, name)) is not None and value < low:
            parser.error(f"--{name.replace('_', '-')}: {value}; expected an integer >= {low}")
    for name in ("lr", "gamma"):
        if (x := getattr(args, name)) is not None and not 0 < x < float("inf"):
            parser.error(f"--{name}: {x}; expected a finite number > 0")
    if args.warmup >= args.steps:
        parser.error(f"--warmup: {args.warmup}; expected less than --steps, {args.steps}")
    if args.resume and not args.folder:
        parser.error("--resume: expected --folder with it")
    if args.folder and not args.resume and (Path(args.folder) / "settings.json").exists():
        parser.error(f"--folder: {args.folder} has a run; --resume goes on with it")
    if args.folder and Path(args.folder).exists() and not Path(args.folder).is_dir():
        parser.error(f"--folder: {args.folder} is a file; expected a folder")
    if args.data and not Path(args.data).is_file():
        parser.error(f"--data: {args.data}; expected the name of a file")
    if args.data and args.data.endswith(".bin") and Path(args.data).stat().st_size % 2:
        parser.error(f"--data: {args.data} has an odd number of bytes; expected two for each token")
    if args.dry_run is None and "RANK" not in os.environ:
        parser.error("expected to be started by torchrun: torchrun --standalone --nproc-per-node 2 " + sys.argv[0])
    ranks = args.dry_run or int(os.environ["WORLD_SIZE"])
    for name in ("batch", "curvature_batch"):
        value, unit = getattr(args, name), args.micro_batch * ranks
        if value is not None and (value % unit or value > args.batch):
            expected = f"a multiple of --micro-batch x processes, {args.micro_batch} x {ranks} = {unit}"
            parser.error(f"--{name.replace('_', '-')}: {value}; expected {expected}, at most --batch")
    args.device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if args.device == "cuda" and args.dry_run is None:
        here, gpus = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
        if here > gpus:
            parser.error(f"--nproc-per-node: {here}; expected at most one process a GPU, and there are {gpus}")
    return args


class Data:
    """Sequences at random places of a file, the same for a step wherever they are read."""

    def __init__(self, args: argparse.Namespace, model: TinyGPT) -> None:
        self.args, self.model = args, model
        if args.data is None:
            self.tokens: Any = np.frombuffer(language_reference().encode(), np.uint8)
        else:
            self.tokens = np.memmap(args.data, "<u2" if args.data.endswith(".bin") else np.uint8, mode="r")
        if len(self.tokens) <= model.context:
            raise ValueError(
                f"--data: {len(self.tokens)} tokens; expected more than the model's context, {model.context}"
            )

    def part(self, step: int, i: int, device: Any) -> tuple[Tensor, Tensor]:
        """Micro-batch number i of the whole batch of a step: tokens and targets, both (micro_batch, context)."""
        rng, n = np.random.default_rng((self.args.seed, step)), self.args.micro_batch
        starts = rng.integers(len(self.tokens) - self.model.context, size=self.args.batch)[i * n : (i + 1) * n]
        rows = np.stack([self.tokens[start : start + self.model.context + 1] for start in starts]).astype(np.int64)
        if rows.max() >= self.model.vocab:
            raise ValueError(f"--data: token {rows.max()}; expected tokens below the vocabulary, {self.model.vocab}")
        x, y = torch.from_numpy(rows[:, :-1]), torch.from_numpy(rows[:, 1:])
        return x.to(device), y.to(device)


def plan(args: argparse.Namespace, model: TinyGPT) -> str:
    """What a dry run says. Bytes on the network are those a process sends in a ring, whose parts are (N - 1)/N."""
    with torch.device("meta"):
        P = sum(p.numel() for p in GPT(model, np.zeros(model.size, np.float32)).parameters())
    N = args.dry_run or dist.get_world_size()
    n = args.micro_batch
    own, estimated = args.batch // n // N, (args.curvature_batch or 0) // n // N
    once = 4 * P * (N - 1) / N  # all parameters or gradients, float32, gathered or scattered
    sharded = args.engine == "fsdp"
    kept = 16 * P / N if sharded else 16 * P
    step = 3 * own * once if sharded else 2 * once
    refresh = {"sophia-g": 3 * estimated * once if sharded else 2 * once, "sophia-h": 2 * once, "adamw": 0}[args.method]
    return "\n".join(
        [
            f"{args.preset}: {P:,} parameters, {args.batch * model.context:,} tokens a step, {args.steps:,} steps",
            f"{N} processes, {args.engine}: each {own} x {n} sequences a step, {estimated} x {n} an estimate",
            f"a process keeps {kept / 1e9:.2f} GB of float32: parameters, gradients, two states",
            f"a process sends {step / 1e9:.2f} GB a step, {refresh / 1e9:.2f} GB an estimate",
        ]
    )


def chosen(args: argparse.Namespace) -> TinyGPT:
    """The model; where it reads bytes, of 256 words at least."""
    model = PRESETS[args.preset]
    least = 0 if (args.data or "").endswith(".bin") else 256
    return TinyGPT(max(model.vocab, least), model.context, model.width, model.heads, model.layers)


def train(args: argparse.Namespace, model: TinyGPT, device: torch.device) -> None:
    data, first = Data(args, model), dist.get_rank() == 0
    gpt = GPT(model, model.init(np.random.default_rng(args.seed)), fused=True).to(device)
    check_agreement(gpt, tokens=len(data.tokens), **vars(args))
    if first:
        print(plan(args, model), flush=True)
    with torch.device("meta"):  # for Hutchinson: never sharded, with attention that can be differentiated twice
        twin = GPT(model, np.zeros(model.size, np.float32))
    wrapped = gpt
    if args.engine == "ddp":
        wrapped = DistributedDataParallel(gpt, gradient_as_bucket_view=True)
    else:
        mesh = init_device_mesh(device.type, (dist.get_world_size(),))  # not what a GPU beside would suggest
        for block in gpt.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(gpt, mesh=mesh)

    # gains of norms do not decay
    named = sorted(gpt.named_parameters(), key=lambda item: item[1].ndim < 2)
    params, made, settings = [p for _, p in named], METHODS[args.method][0], dict(METHODS[args.method][1], lr=args.lr)
    if args.gamma is not None:
        settings["gamma"] = args.gamma
    decaying, gains = ([p for p in params if (p.ndim > 1) is decays] for decays in (True, False))
    opt = made([dict(params=decaying), dict(params=gains, weight_decay=0)], **settings)
    schedule = sr.cosine(args.lr, steps=args.steps, warmup=args.warmup, final=LAST * args.lr)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=args.bf16)
    gnb = EngineGNB(params)

    def estimate(t: int) -> list[Tensor | None]:
        parts = own_parts(args.curvature_batch // args.micro_batch)
        if args.method == "sophia-g":
            for i in parts:
                gnb.generator = stream(args.seed, t, i, device)
                with alone(i, parts):
                    with autocast:
                        outputs = wrapped(data.part(t, i, device)[0])
                    gnb.add(outputs)
            return gnb.estimate()
        weights = whole(gpt)
        hutchinson = Hutchinson([weights[name] for name, _ in named])
        for i in parts:
            hutchinson.generator = stream(args.seed, t, i, device)
            x, y = data.part(t, i, device)
            with autocast:
                loss = cross_entropy(functional_call(twin, weights, x).flatten(0, 1), y.flatten())
            hutchinson.add(loss)
        return averaged(hutchinson, params)

    def alone(i: int, parts: range) -> Any:
        """DDP exchanges gradients after the last part; fully_shard after each, as it keeps none but its shard's."""
        return wrapped.no_sync() if args.engine == "ddp" and i != parts[-1] else nullcontext()

    start = load(args, data, gpt, opt) if args.resume else 0
    if args.folder and not args.resume and first:
        with replacing(Path(args.folder, "settings.json")) as file:
            file.write(json.dumps(lasting(args, data), indent=1).encode())
    parts = own_parts(args.batch // args.micro_batch)
    bar = tqdm(total=args.until, initial=start, unit="step", disable=None if first else True)
    clock, since = time.perf_counter(), start
    for t in range(start, args.until):
        opt.zero_grad()
        if args.method != "adamw" and opt.curvature_due:
            opt.update_curvature(estimate(t))
        value = torch.zeros((), dtype=torch.float64, device=device)
        for i in parts:
            x, y = data.part(t, i, device)
            with alone(i, parts):
                with autocast:
                    loss = cross_entropy(wrapped(x).flatten(0, 1), y.flatten())
                (loss / len(parts)).backward()
            value += loss.detach() / len(parts)
        torch.nn.utils.clip_grad_norm_(params, CLIP_NORM)
        for group in opt.param_groups:
            group["lr"] = float(schedule(t + 1))
        opt.step()
        bar.update()
        if (t + 1) % args.log_every == 0 or t + 1 == args.until:
            dist.all_reduce(value)
            share = "" if args.method == "adamw" else f"  unclipped {unclipped(opt):.4f}"
            speed = (t + 1 - since) * args.batch * model.context / (time.perf_counter() - clock)
            if first:
                line = f"step {t + 1:>6}  loss {value.item() / dist.get_world_size():.6f}{share}  {speed:,.0f} tokens/s"
                bar.write(line, file=sys.stdout)
                sys.stdout.flush()
            clock, since = time.perf_counter(), t + 1
        if args.folder and ((t + 1) % args.save_every == 0 or t + 1 == args.until):
            save(args, gpt, opt, t + 1)
    bar.close()


def save(args: argparse.Namespace, gpt: GPT, opt: Any, step: int) -> None:
    """Each process writes what it has. .metadata comes last, and without it a checkpoint is none; KEPT stay."""
    folder = Path(args.folder)
    model, state = get_state_dict(gpt, opt)
    dcp.save({"model": model, "opt": state}, checkpoint_id=folder / f"step-{step:08}")
    if dist.get_rank() == 0:
        whole = sorted(path.parent for path in folder.glob("step-*/.metadata"))
        for old in folder.glob("step-*"):
            if old not in whole[-KEPT:]:
                shutil.rmtree(old)


def lasting(args: argparse.Namespace, data: Data) -> dict[str, Any]:
    """The settings that a run that is resumed must have as before, with how much there is to read."""
    read = f"{args.data or 'the Python language reference'}, {len(data.tokens):,} tokens"
    return {name: getattr(args, name) for name in LASTING} | {"data": read}


def load(args: argparse.Namespace, data: Data, gpt: GPT, opt: Any) -> int:
    """The step of the last checkpoint, which gpt and opt then have."""
    found = sorted(path.parent for path in Path(args.folder).glob("step-*/.metadata"))
    if not found:
        raise ValueError(f"--resume: {args.folder} has no checkpoint")
    path = Path(args.folder) / "settings.json"
    try:
        before = json.loads(path.read_text("utf-8"))
        if not before.keys() >= {*LASTING}:
            raise ValueError("something is missing")
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(f"--resume: {path}; expected the settings of the run ({error})") from None
    for name, value in lasting(args, data).items():
        if value != before[name]:
            raise ValueError(f"--{name.replace('_', '-')}: {value}; expected {before[name]}, as before --resume")
    model, state = get_state_dict(gpt, opt)
    saved = {"model": model, "opt": state}
    dcp.load(saved, checkpoint_id=found[-1])
    set_state_dict(gpt, opt, model_state_dict=saved["model"], optim_state_dict=saved["opt"])
    return int(found[-1].name.removeprefix("step-"))


def main() -> None:
    args = options()
    if args.dry_run is not None:
        print(plan(args, chosen(args)))
        return
    # a loss is computed from a view of the last layer's output, and nothing is added to it in place
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module")
    device = torch.device(args.device, int(os.environ["LOCAL_RANK"]) if args.device == "cuda" else None)
    if args.device == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if args.device == "cuda" else "gloo")
    try:
        train(args, chosen(args), device)
    except ValueError as error:
        sys.exit(f"train_distributed: {error}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
