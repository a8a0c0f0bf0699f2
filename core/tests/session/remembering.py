"""A tiny kind of memory for tests: one key, one value, and where it acts."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

import editcore
from editcore.authoring.memories import Memory, Seen
from editcore.authoring.models import Tap, Trace, pad
from editcore.editing.annotation import describe_base
from editcore.models.running.batch import encode_source, forward
from editcore.patches.file.patch import Patch
from editcore.patches.file.sealing import seal
from editcore.plugins.registry import Registry
from editcore_hooks import MemoryKind, Payload, Site, hookimpl

DECIDED: list[int] = []
"""Rows of each decision that was taken."""


class OneKey(Memory):
    """Adds a value to every token, or to the last of the prompt, of rows whose last prompt token is like the key."""

    def __init__(self, reads: Site, acts: Site, everywhere: bool, key: Tensor, value: Tensor) -> None:
        self.reads, self.acts = reads, (acts,)
        self.everywhere, self.key, self.value = everywhere, key, value

    def decide(self, seen: Seen) -> Tensor:
        DECIDED.append(len(seen.inputs))
        near = (seen.at_last(seen.inputs) - self.key).norm(dim=-1) <= 0.01 * self.key.norm()
        return torch.where(near, 0, -1)

    def act(self, site: Site, chosen: Tensor, seen: Seen) -> Tensor:
        columns = torch.arange(seen.outputs.shape[1])
        at = columns == seen.last[:, None] if not self.everywhere else columns >= seen.last[:, None]
        return seen.outputs + at[..., None] * self.value


class Remembered(MemoryKind):
    name = "toy.one"

    def places(self, patch: Any, anatomy: Any) -> dict[Site, tuple[int, int]]:
        data, parts = patch.core["payload"]["data"], patch.core["payload"]["parts"]
        widths = parts["key"]["shape"][0], parts["value"]["shape"][0]
        return {Site("mlp_out", layer, stack=stack): widths for layer, stack in (data["reads"], data["acts"])}

    def memory(self, session: Any, patch: Any) -> Memory:
        data, tensors = patch.core["payload"]["data"], patch.tensors
        reads, acts = (Site("mlp_out", layer, stack=stack) for layer, stack in (data["reads"], data["acts"]))
        return OneKey(reads, acts, data["everywhere"], tensors["payload/key"], tensors["payload/value"])


def open_with(folder: Any, *kinds: type[MemoryKind]) -> editcore.Session:
    module = ModuleType("toy")
    module.editcore_register_patch_kinds = hookimpl(  # type: ignore[attr-defined]
        lambda: list(kinds or (Remembered,)), specname="editcore_register_patch_kinds"
    )
    return editcore.open(folder, registry_=Registry.of(module))


def key_of(session: editcore.Session, ids: Sequence[int], site: Site) -> Tensor:
    """The input of a site at the last token of a row read alone."""
    batch = pad([ids])
    with torch.no_grad(), Trace(session.anatomy, {site: Tap(input=True)}) as trace:
        if session.encoder_decoder:
            encode_source(session.model, batch)
        else:
            forward(session.model, batch)
    return trace.input(site)[0, -1]


def patch_for(
    session: editcore.Session,
    ids: Sequence[int],
    *,
    seed: int = 0,
    reads: tuple[int, str] | None = None,
    acts: tuple[int, str] | None = None,
    everywhere: bool = True,
    kind: str = "toy.one",
) -> Patch:
    """A patch that remembers one prompt."""
    stack = "encoder" if session.encoder_decoder else "decoder"
    reads = reads or (1, stack)
    generator = torch.Generator().manual_seed(seed)
    value = 8 * torch.randn(session.model.config.hidden_size, generator=generator)
    data = {"reads": list(reads), "acts": list(acts or reads), "everywhere": everywhere, "seed": seed}
    site = Site("mlp_out", reads[0], stack=reads[1])  # type: ignore[arg-type]
    tensors = {"key": key_of(session, ids, site), "value": value}
    return seal({}, describe_base(session), {}, kind="memory", payload=Payload(kind, data, tensors))
