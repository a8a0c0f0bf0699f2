"""Checkpoints for the checks: the demo model as it is, and as bfloat16 in shards; patches of it."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from editcore.cases.reading import parse_case
from editcore.editing.prepared import EditOptions
from editcore.facade import open_model
from editcore.patches.change.copying import copy_checkpoint
from editcore.patches.file.patch import Patch
from editcore_demo import cases, model_path


def single(folder: Path) -> Path:
    """A copy of the demo model: float16, one file."""
    copy_checkpoint(model_path(), folder)
    return folder


def sharded(folder: Path) -> Path:
    """The demo model as bfloat16 in shards of 2 MB."""
    copy_checkpoint(model_path(), folder)
    (folder / "model.safetensors").unlink()
    model = AutoModelForCausalLM.from_pretrained(model_path(), dtype=torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="2MB")
    return folder


def patches(folder: Path, n: int) -> list[Patch]:
    """Patches of the first `n` demo facts for the model in `folder`, cheap ones: for what they do to files."""
    session = open_model(folder)
    options = EditOptions(hparams=(("check", {"v_steps": 3, "mom2_tokens": 2000, "context_count": 1}),))
    return [session.edit_all([parse_case(row, "demo").request], options, measured=False) for row in cases(n)]
