"""The package's own way: values in batches, then the layers; in one go, or in phases that are kept on disk."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.machine import peak_memory
from benchmarks.memit.plain import Made
from benchmarks.memit.shapes import CONTEXTS, SETTINGS, WEIGHT, Shape
from editcore.models.anatomy.model_map import Anatomy
from editcore_hooks import LowRank, Site
from editcore_keyvalue.rows import EditRows
from editcore_keyvalue.spreading import spread
from editcore_keyvalue.system import Preserved
from editcore_keyvalue.value import in_batches, optimise_values

CHUNK: Final = 50
"""Edits whose values are kept together: what a run that was stopped may lose."""


def fast(anatomy: Anatomy, shape: Shape, edits: Sequence[EditRows], lower: Tensor) -> Made:
    """The deltas are formed only for few edits: a patch keeps their factors."""
    started = _now(anatomy)
    target = _targets(anatomy, shape, edits)
    valued = _now(anatomy)
    updates = _layers(anatomy, shape, edits, target, lower)
    seconds = {"values": valued - started, "layers": _now(anatomy) - valued}
    deltas = (
        {site.layer: each.out @ each.in_ for site, each in updates.items() if site.layer} if len(edits) < 50 else {}
    )
    return Made(deltas, seconds)


def in_phases(anatomy: Anatomy, shape: Shape, edits: Sequence[EditRows], lower: Tensor, folder: Path) -> Made:
    """Values a chunk at a time and then the layers; what `folder` has already is not made again."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [
        _kept(folder / f"values-{start:05}", anatomy, lambda some: {"z": _targets(anatomy, shape, some)}, some)
        for start in range(0, len(edits), CHUNK)
        for some in [edits[start : start + CHUNK]]
    ]
    target = torch.cat([tensors["z"] for tensors, _ in parts], 1)  # (d, n)

    def layers(some: Sequence[EditRows]) -> dict[str, Tensor]:
        updates = _layers(anatomy, shape, some, target, lower)
        return {f"{site.layer}.{name}": part for site, each in updates.items() for name, part in _factors(each)}

    _, seconds = _kept(folder / f"layers-{len(edits):05}", anatomy, layers, edits)
    return Made({}, {"values": sum(spent for _, spent in parts), "layers": seconds})


def peak(anatomy: Anatomy) -> int:
    """The most bytes that were in use: of the accelerator, or of the process."""
    device = anatomy.model.device
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_memory()


def _targets(anatomy: Anatomy, shape: Shape, edits: Sequence[EditRows]) -> Tensor:
    """v₀ + δ of all, (d, n), float64."""
    site = Site("block", shape.edited[-1])
    values = [
        value
        for batch in in_batches(edits)
        for value in optimise_values(anatomy, batch, site, SETTINGS, lambda n: None)
    ]
    return torch.stack([value.v0.double() + value.delta.double() for value in values], 1)


def _layers(
    anatomy: Anatomy, shape: Shape, edits: Sequence[EditRows], target: Tensor, lower: Tensor
) -> Mapping[Site, LowRank]:
    site = Site("block", shape.edited[-1])
    on_device = target.to(anatomy.model.device)
    return spread(
        anatomy, edits, len(CONTEXTS), shape.edited, on_device, site, lambda _: Preserved(WEIGHT, lower)
    ).updates


def _factors(update: LowRank) -> list[tuple[str, Tensor]]:
    return [("out", update.out.cpu().contiguous()), ("in", update.in_.cpu().contiguous())]


def _kept(path: Path, anatomy: Anatomy, make, edits: Sequence[EditRows]) -> tuple[dict[str, Tensor], float]:  # type: ignore[no-untyped-def]
    """The content of the file, or the value made now and kept; and its seconds."""
    tensors, figures = path.with_suffix(".safetensors"), path.with_suffix(".json")
    if not figures.exists():
        started = _now(anatomy)
        made = {name: tensor.cpu() for name, tensor in make(edits).items()}
        save_file(made, tensors)
        spent = _now(anatomy) - started
        figures.write_text(json.dumps({"seconds": spent, "edits": len(edits), "peak": peak(anatomy)}))
        print(f"{path.name}: {len(edits)} edits, {spent:.1f} s, {peak(anatomy) / 2**30:.1f} GiB", flush=True)
    return load_file(tensors), json.loads(figures.read_text())["seconds"]


def _now(anatomy: Anatomy) -> float:
    if anatomy.model.device.type == "cuda":
        torch.cuda.synchronize(anatomy.model.device)
    return time.perf_counter()
