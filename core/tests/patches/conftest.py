"""Real folders of tiny models, and patches made for them."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, GPT2Model, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.identity import base_identity
from editcore.patches.file.patch import Patch
from editcore.patches.file.sealing import Target, seal
from editcore.patches.forms.deltas import to_stored
from editcore_hooks import Dense, LowRank, Rows, Sparse

GPT2 = {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 40, "n_positions": 16, "bos_token_id": 0}
LLAMA = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 40,
}


def _gpt2(dtype: torch.dtype) -> PreTrainedModel:
    return GPT2LMHeadModel(GPT2Config(**GPT2, eos_token_id=1)).to(dtype)


def _gpt2_headless(dtype: torch.dtype) -> PreTrainedModel:
    return GPT2Model(GPT2Config(**GPT2, eos_token_id=1)).to(dtype)


def _llama(dtype: torch.dtype) -> PreTrainedModel:
    return LlamaForCausalLM(LlamaConfig(**LLAMA)).to(dtype)


BUILDERS = {"gpt2": _gpt2, "gpt2-headless": _gpt2_headless, "llama": _llama}


@pytest.fixture(autouse=True)
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """No test can see what fsync does, and it takes most of their time: it is counted instead."""
    calls: list[int] = []
    monkeypatch.setattr(os, "fsync", calls.append)
    return calls


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A folder written by save_pretrained, made once for each (family, dtype, sharded); not to be changed."""
    made: dict[tuple[str, torch.dtype, bool], Path] = {}

    def save(family: str, dtype: torch.dtype = torch.float32, sharded: bool = False) -> Path:
        name = (family, dtype, sharded)
        if name not in made:
            torch.manual_seed(7)
            made[name] = tmp_path_factory.mktemp("saved") / "model"
            size = "4KB" if sharded else "1GB"
            BUILDERS[family](dtype).save_pretrained(made[name], max_shard_size=size)
        return made[name]

    return save


@pytest.fixture
def folder(saved: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """A copy of a saved folder for one test."""
    count = 0

    def copy(family: str = "gpt2", dtype: torch.dtype = torch.float32, sharded: bool = False) -> Path:
        nonlocal count
        count += 1
        return Path(shutil.copytree(saved(family, dtype, sharded), tmp_path / f"model{count}"))

    return copy


@pytest.fixture
def tree() -> Callable[[Path], dict[str, str]]:
    """The sha256 of every file under a folder, and the empty folders in it."""

    def hashes(root: Path) -> dict[str, str]:
        return {
            str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
            for path in sorted(root.rglob("*"))
        }

    return hashes


@pytest.fixture
def make_patch() -> Callable[..., Patch]:
    """A patch of one form on some keys of a folder; keys of two dimensions, canonical orientation by `transposed`."""

    def make(
        root: Path,
        *keys: str,
        seed: int = 0,
        form: str = "low_rank",
        transposed: bool = False,
        scale: float = 1.0,
        **more: Any,
    ) -> Patch:
        checkpoint = Checkpoint.open(root)
        generator = torch.Generator().manual_seed(seed)
        targets = {}
        for key in keys:
            entry = checkpoint.entries[key]
            rows, columns = reversed(entry.shape) if transposed else entry.shape
            updates = {
                "low_rank": lambda d=(rows, columns): LowRank(
                    torch.randn(d[0], 2, generator=generator) * 0.1, torch.randn(2, d[1], generator=generator)
                ),
                "dense": lambda d=(rows, columns): Dense(torch.randn(*d, generator=generator) * 0.1),
                "sparse": lambda d=(rows, columns): Sparse(
                    torch.tensor([[3, 0, 3], [1, 2, 0]]), torch.randn(3, generator=generator)
                ),
                "rows": lambda d=(rows, columns): Rows(torch.tensor([5, 1]), torch.randn(2, d[1], generator=generator)),
            }
            stored = to_stored(updates[form](), transposed)
            targets[key] = Target(stored, entry.dtype, entry.shape, checkpoint.base_sha256(key))
        about = {"title": f"patch {seed}", "method": {"name": "test"}, **more.pop("about", {})}
        return seal(targets, base_identity(checkpoint, "tiny"), about, scale=scale, **more)

    return make
