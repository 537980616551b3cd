"""Broken copies of sophia_ref/ports/torch_distributed.py, one edit each: averages that people get wrong."""

from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).parents[2] / "sophia_ref" / "ports" / "torch_distributed.py"


class Edit(NamedTuple):
    name: str
    case: object  # (engine, method, whether GNB is that of a single process), or "drawn"
    old: str  # in the file once
    new: str


EDITS = [
    Edit("local B", ("ddp", "G", False), "self.count = _over_ranks(self.count)", "self.count = int(self.count)"),
    Edit("local B, sharded", ("fsdp", "G", False), "self.count = _over_ranks(self.count)", "self.count = self.count"),
    Edit("the engine's mean taken for a sum", ("fsdp", "G", False), "dist.get_world_size() / self.loss_scale", "1.0"),
    Edit("gradients of one rank", ("ddp", "G", True), "            dist.all_reduce(estimator.total[i])\n", ""),
    Edit("count of one rank", ("ddp", "G", True), "estimator.count = _over_ranks(", "estimator.count = int("),
    Edit(
        "mean of squares",
        ("ddp", "G", True),
        "    if not estimator.total:\n",
        "    squares = estimator.estimate()\n"
        "    for x in squares:\n"
        "        dist.all_reduce(x)\n"
        "    return [x / dist.get_world_size() for x in squares]\n"
        "    if not estimator.total:\n",
    ),
    Edit("products of one rank", ("ddp", "H", False), "            dist.all_reduce(estimator.total[i])\n", ""),
    Edit("products of one rank, sharded", ("fsdp", "H", False), "[Partial()] *", "[Replicate()] *"),
    Edit("one stream for all", "drawn", 'integer("stream: part", part, 0)', "0"),
]


def edited(edit):
    source = SOURCE.read_text(encoding="utf-8")
    assert source.count(edit.old) == 1, f"{edit.name}: {edit.old!r} is {source.count(edit.old)} times in {SOURCE.name}"
    return source.replace(edit.old, edit.new).replace("DTensor, Partial", "DTensor, Partial, Replicate")
