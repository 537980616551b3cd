"""A step of Sophia and the renewal of its h on a GPU, at the size of GPT-2 small, beside AdamW and the memory's speed.

    python benchmarks/gpu_step.py [--output out/gpu_step.json] [--picture out/gpu_step.png]
    python benchmarks/gpu_step.py --device cpu --parameters 100000      tries every line; its times mean nothing

The fused path must first pass the whole conformance kit on the device, and then agree with foreach at full size. Each
row is timed alone: medians of the device's own clock with quartiles, beside what a loop of nothing but steps takes,
Python included, and the most memory of parameters, gradients, state and whatever else was taken. The floor is the bytes
that cannot be saved, 24 a parameter for a step and 12 for a renewal, at the speed of a copy. Goals, on an H100: 1.3 ms,
0.8 ms, and no more memory than AdamW in a round of a training: a renewal from sums of gradients, new gradients, a step.
"""

import argparse
import gc
import json
import math
from pathlib import Path
from typing import Any

import on_device
import side_by_side
from on_device import torch
from tqdm import tqdm

from sophia_ref.conformance import examine
from sophia_ref.conformance.certificate import write
from sophia_ref.files import replacing
from sophia_ref.ports import torch as port
from toy_problems.transformer import PRESETS

SIZE = PRESETS["gpt2-small"].size  # 124,373,760
STEP_BYTES, RENEWAL_BYTES = 24, 12  # a float32 parameter: theta, m, h, g read, theta, m written; h, g read, h written
GOALS = {"step": 1.3, "renewal": 0.8}  # ms on an H100, whose floors are 1.02 and 0.51 at the 2,914 GB/s of its copies
ON_H100 = {"step": 1.3 / 1.02, "renewal": 0.8 / 0.51}  # times the floor, for other GPUs
H100 = "NVIDIA H100 80GB HBM3"  # the one on a board of its own; the cards, PCIe and NVL, have other memories
TABLES = 1e-3  # of AdamW's memory: what is not worth a word, as the kernels' tables, some hundred kB
B = 480 * 1024  # predictions of the paper's batch
SETTINGS = dict(lr=1e-4, gamma=0.05, weight_decay=0.2)


def tensors_of(parameters: int, device: Any) -> list[Any]:
    """GPT-2 small's list of tensors, each with its share of so many parameters."""
    shapes = [
        [max(1, round(n * (parameters / SIZE) ** (1 / len(shape)))) for n in shape]
        for shape in PRESETS["gpt2-small"].layout.shapes.values()
    ]
    generator = torch.Generator(device).manual_seed(0)
    return [torch.randn(shape, generator=generator, device=device).mul_(0.02) for shape in shapes]


def official_loop(params: list[Any], h=0.0, lr=1e-4, beta1=0.965, rho=0.04, weight_decay=0.1):
    """A step as the authors' SophiaG takes it: tensor by tensor, eps added to the denominator, no bound below. h: what
    every curvature is."""
    ms, hs = [torch.zeros_like(p) for p in params], [torch.full_like(p, h) for p in params]

    @torch.no_grad()
    def step():
        for p, m, h in zip(params, ms, hs, strict=True):
            p.mul_(1 - lr * weight_decay)
            m.mul_(beta1).add_(p.grad, alpha=1 - beta1)
            ratio = (m.abs() / (rho * B * h + 1e-15)).clamp(None, 1)
            p.addcmul_(m.sign(), ratio, value=-lr)

    return step


def sophia(params, **path):
    opt = port.Sophia(params, every=10**9, **SETTINGS, **path)
    opt.update_curvature([p.grad.square() for p in params])
    return opt.step


def adamw(params, **path):
    return torch.optim.AdamW(params, lr=1e-4, **path).step


def kernels():
    from sophia_ref.ports import triton

    return triton


def renew_fused(params):
    hs, gs = [torch.zeros_like(p) for p in params], [p.grad for p in params]
    if not gs[0].is_cuda:
        return renew_plainly(params)
    return lambda: kernels().renew_triton(hs, gs, gs, beta2=0.99, count=B)


def renew_plainly(params):
    hs = [torch.zeros_like(p) for p in params]

    def renew():
        for p, h in zip(params, hs, strict=True):
            h.mul_(0.99).add_((p.grad * p.grad / B) * (1 - 0.99))

    return renew


def renew_officially(params):
    hs = [torch.zeros_like(p) for p in params]

    def renew():
        for p, h in zip(params, hs, strict=True):
            h.mul_(0.99).addcmul_(p.grad, p.grad, value=1 - 0.99)

    return renew


# (row, what it is a row of, a function of the parameters that makes what is timed)
ROWS = [
    ("Sophia, fused: one kernel in Triton", "step", lambda params: sophia(params, fused=True)),
    ("Sophia, foreach under torch.compile", "step", lambda params: sophia(params, fused=True, capturable=True)),
    ("Sophia, foreach", "step", lambda params: sophia(params, foreach=True)),
    ("Sophia, tensor by tensor", "step", lambda params: sophia(params, foreach=False)),
    ("AdamW, PyTorch's fused", "step", lambda params: adamw(params, fused=True)),
    ("AdamW, PyTorch's foreach", "step", lambda params: adamw(params, foreach=True)),
    ("a loop like the official SophiaG's", "step", official_loop),
    ("h renewed, fused: one kernel in Triton", "renewal", renew_fused),
    ("h renewed, tensor by tensor", "renewal", renew_plainly),
    ("h renewed like the official SophiaG's", "renewal", renew_officially),
]
FUSED = ROWS[0][0], ROWS[7][0]


def parameters_of(parameters, device) -> list[Any]:
    """Parameters, on a device from which what was there before has gone."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return [torch.nn.Parameter(x) for x in tensors_of(parameters, device)]


def memory_of_a_round(opt: Any, params: list[Any], device: Any) -> int | None:
    """The most memory of a training but for its model: where opt takes curvature, sums of gradients from which h is
    renewed, then gradients, and a step."""
    gnb = port.GNB(params)

    def job():
        opt.zero_grad()
        if getattr(opt, "curvature_due", False):
            gnb.total, gnb.count = [torch.randn_like(p) for p in params], B
            opt.update_curvature(gnb)
        for p in params:
            p.grad = torch.randn_like(p)
        opt.step()

    job()
    return on_device.peak(job, device)


def row_of(make, parameters, device, repetitions, title) -> tuple[on_device.Times, int | None]:
    """Times and most memory of one row, whose tensors are gone when this returns."""
    params = parameters_of(parameters, device)
    for p in params:
        p.grad = torch.randn_like(p)
    job = make(params)
    job()  # makes state, and compiles
    most = on_device.peak(job, device)
    return on_device.measure(job, device, repetitions, title), most


def differing(parameters, device) -> int:
    """How many numbers of theta and m the fused path and foreach do not agree on after three steps and two renewals."""
    found = []
    for path in ({"fused": True}, {"foreach": True}):
        torch.manual_seed(0)
        params = [torch.nn.Parameter(x) for x in tensors_of(parameters, device)]
        opt = port.Sophia(params, every=2, **SETTINGS, **path)
        for _ in range(3):
            if opt.curvature_due:
                opt.update_curvature([torch.randn_like(p) for p in params])
            for p in params:
                p.grad = torch.randn_like(p)
            opt.step()
        found.append([x for p in params for x in (p.detach(), opt.state[p]["m"])])
    return sum(int((x != y).sum()) for x, y in zip(*found, strict=True))


def certified(device: Any, folder: Path) -> str:
    """The verdict of the kit on the fused path, whose certificate is written. Ends the program where it fails."""
    name = "triton" if device.type == "cuda" else "torch"  # on a CPU "fused" is compiled anew for each vector's shapes
    target = f"torch:sophia_ref.ports.{name}.Sophia"
    report = examine(target, device=str(device), watch=lambda asked: tqdm(asked, "kit", leave=False, disable=None))
    path, _ = write(report, folder)
    if not report.conforms:
        raise SystemExit(f"{report.text()}\n\nerror: {target} does not conform on {device}, so nothing was timed")
    return f"{target} on {report.target.device} {report.verdict(report.target.profiles[0])} ({path})"


def judged(results: dict[str, Any]) -> list[str]:
    """Whether the goals are met, a line each."""
    if results["parameters"] != SIZE or not results["device"].startswith("cuda"):
        return [f"goals not judged: they are for {SIZE:,} parameters on a GPU"]
    rows, lines = {row["row"]: row for row in results["rows"]}, []
    for row, (kind, limit) in zip(FUSED, GOALS.items(), strict=True):
        ms = rows[row]["ms"][0]
        if results["name"] != H100:
            limit = ON_H100[kind] * results["floor_ms"][kind]
        lines.append(f"{kind} in at most {limit:.2f} ms: {'met' if ms <= limit else 'missed'}, {ms:.3f} ms")
    ours, adamws = (results["round_bytes"][name] for name in ("Sophia", "AdamW"))
    met = "met" if ours <= (1 + TABLES) * adamws else "missed"
    lines.append(f"no more memory than AdamW: {met}, {ours / 1e6:,.1f} MB against {adamws / 1e6:,.1f} MB in a round")
    if results["name"] != H100:
        lines.append(f"the limits are those for an {H100}, as multiples of the floor")
    return lines


def draw(results: dict[str, Any], dark: bool) -> Any:
    """Bars of the rows, with quartiles; the floor as a line across those that it holds for."""
    from sophia_ref.plots.style import dress, figure

    fig = figure(8.5, 4.4, dark)
    kinds = ("step", "renewal")
    counts = [sum(row["kind"] == kind for row in results["rows"]) for kind in kinds]
    for ax, kind in zip(fig.subplots(2, 1, sharex=True, height_ratios=counts), kinds, strict=True):
        rows = [row for row in results["rows"] if row["kind"] == kind][::-1]
        scheme = dress(ax)
        colors = [
            "#d38e02" if row["row"] in FUSED else "#4668c4" if "AdamW" in row["row"] else "#8b919c" for row in rows
        ]
        ms = [row["ms"][0] for row in rows]
        ax.barh(range(len(rows)), ms, color=colors, height=0.62)
        for i, row in enumerate(rows):
            median, low, high = row["ms"]
            ax.hlines(i, low, high, color=scheme.ink, linewidth=1.4)
            ax.annotate(f"{median:.2f}", (max(median, high), i), (4, 0), textcoords="offset points", va="center",
                        color=scheme.ink, fontsize=8)  # fmt: skip
        ax.set_yticks(range(len(rows)), [row["row"] for row in rows])
        floor = results["floor_ms"][kind]
        ax.axvline(floor, color=scheme.ink, linewidth=0.9, linestyle=":")
        what = "a step" if kind == "step" else "h renewed"
        title = f"{what}; dotted: {floor:.2f} ms, its bytes at the speed of a copy"
        ax.set_title(title, color=scheme.ink, fontsize=9, loc="left")
        ax.margins(x=0.1)
    ax.set_xlabel(f"ms, {results['parameters']:,} parameters, {results['name']}")
    return fig


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--parameters", type=int, default=SIZE, metavar="N")
    parser.add_argument("--repetitions", type=int, default=50, metavar="N")
    parser.add_argument("--output", type=Path, default=Path("out/gpu_step.json"), metavar="FILE")
    parser.add_argument("--picture", type=Path, metavar="FILE.png")
    options = parser.parse_args(argv)
    for name in ("parameters", "repetitions"):
        if getattr(options, name) < 1:
            parser.error(f"argument --{name}: {getattr(options, name)}; expected at least 1")
    device = on_device.find(options.device)

    print(certified(device, options.output.parent))
    parameters = sum(math.prod(x.shape) for x in tensors_of(options.parameters, device))
    differ = differing(options.parameters, device)
    print(f"fused and foreach differ in {differ:,} of {2 * parameters:,} numbers after three steps\n")
    copied = on_device.bandwidth(device, max(parameters, 2), options.repetitions)
    results = on_device.described(device) | {
        "parameters": parameters,
        "differing": differ,
        "copy_bytes_a_second": copied,
        "greatest_bytes_a_second": on_device.greatest_bandwidth(device),
        "floor_ms": {
            kind: 1e3 * bytes_each * parameters / copied
            for kind, bytes_each in (("step", STEP_BYTES), ("renewal", RENEWAL_BYTES))
        },
        "round_bytes": {},
        "rows": [],
    }
    for name, optimizer in (("Sophia", port.Sophia), ("AdamW", torch.optim.AdamW)):
        params = parameters_of(options.parameters, device)
        opt = optimizer(params, 1e-4, fused=True, **{"every": 1} if name == "Sophia" else {})
        results["round_bytes"][name] = memory_of_a_round(opt, params, device)
        del opt, params
    for row, kind, make in tqdm(ROWS, "rows", leave=False, disable=None):
        times, most = row_of(make, options.parameters, device, options.repetitions, row)
        results["rows"].append({"row": row, "kind": kind, "ms": times[:3], "loop_ms": times.loop, "peak_bytes": most})
    results["judged"] = judged(results)

    cells = [
        (row["row"], f"{row['ms'][0]:.3f} [{row['ms'][1]:.3f}, {row['ms'][2]:.3f}]", f"{row['loop_ms']:.3f}",
         f"{row['ms'][0] / results['floor_ms'][row['kind']]:.2f}",
         "—" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 1e6:,.1f}")
        for row in results["rows"]
    ]  # fmt: skip
    print(f"{results['name']}, PyTorch {results['torch']}, {parameters:,} parameters in float32")
    greatest = results["greatest_bytes_a_second"]
    beside = f" of the {greatest / 1e9:,.0f} of its memory" if greatest else ""
    floors = ", ".join(f"{kind} {ms:.3f} ms" for kind, ms in results["floor_ms"].items())
    print(f"a copy moves {copied / 1e9:,.0f} GB/s{beside}; floors: {floors}\n")
    print(side_by_side.table(("", "ms [quartiles]", "ms in a loop", "of the floor", "MB at most"), cells) + "\n")
    print("\n".join(results["judged"]))
    if device.type != "cuda":
        print("on a CPU these times mean nothing")
    with replacing(options.output) as file:
        file.write(json.dumps(results, indent=1).encode() + b"\n")
    print(f"wrote {options.output}")
    if options.picture:
        from sophia_ref.plots.style import save

        for suffix, dark in (("", False), ("-dark", True)):
            path = options.picture.with_name(options.picture.stem + suffix + options.picture.suffix)
            print(f"wrote {save(draw(results, dark), path)}")


if __name__ == "__main__":
    main()
