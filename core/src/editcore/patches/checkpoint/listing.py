"""The patches of a folder as rows: who made each, from what, and whether what lies under it is what it was made on."""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.runtime import runtime_headers
from editcore.patches.checkpoint.stack import stack_hash
from editcore.patches.checkpoint.stored import stored_patch


@frozen
class StackRow:
    """`position` counts from 1; `requests` are texts, prompt and target; `computed_on` is a stack hash or None."""

    position: int
    id: str
    title: str
    method: str
    requests: tuple[str, ...]
    computed_on: str | None
    verdict: str
    requires: tuple[str, ...]


def stack_rows(checkpoint: Checkpoint) -> list[StackRow]:
    """One row a patch, in the order they were put on. Reads headers, no tensor; needs no torch."""
    rows = []
    for position, patch_id in enumerate(checkpoint.patch_ids):
        header = stored_patch(checkpoint, patch_id)
        on = header.about.get("computed_on")
        rows.append(
            StackRow(
                position + 1,
                patch_id,
                header.title,
                str(header.annotation("method").get("name", "")),
                tuple(map(_request, header.objects("requests"))),
                on if isinstance(on, str) else None,
                _verdict(on, stack_hash(checkpoint.patch_ids[:position]), position),
                header.requires,
            )
        )
    return rows


def runtime_rows(checkpoint: Checkpoint) -> list[StackRow]:
    """One row a patch beside the weights, in their order; the verdict is the kind of each."""
    return [
        StackRow(
            position + 1,
            header.patch_id,
            header.title,
            str(header.annotation("method").get("name", "")),
            tuple(map(_request, header.objects("requests"))),
            None,
            str(header.payload_kind),
            header.requires,
        )
        for position, header in enumerate(runtime_headers(checkpoint))
    ]


def _request(value: Mapping[str, Any]) -> str:
    prompt = str(value.get("prompt", "")).replace("{}", str(value.get("subject", "")))
    return f"{prompt} … {value.get('target_new', '')}"


def _verdict(computed_on: object, below: str, position: int) -> str:
    """Whether the patches under it are those on which it was computed and measured."""
    if computed_on == below or (computed_on is None and position == 0):
        return "as computed"
    return "computed on the base alone" if computed_on is None else "computed on another stack"
