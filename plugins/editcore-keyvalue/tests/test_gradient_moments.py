"""The moments of output gradients against a plain loop, in both orientations, and kept as assets of their own kind."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

import editcore
from editcore.assets.store import AssetStore
from editcore.cli.output import Output
from editcore.testing.tiny import tiny_model
from editcore_hooks import UsageError
from editcore_keyvalue import gradients
from editcore_keyvalue.cli import stats
from editcore_keyvalue.gradients import GradientAccumulator
from editcore_keyvalue.statistic import GRADIENTS, KEYS
from editcore_keyvalue.store import MomentRequest, second_moments

TEXTS = ("Ada Marlow lives in Rome.", "Bo.", "Eve Quist works as a miner, and Dan Tolland has a house in Lima.")


@pytest.fixture(params=["gpt2", "llama"])
def folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(f"{request.param}_folder")  # type: ignore[no-any-return]


@pytest.fixture
def session(folder: Path, tmp_path: Path) -> editcore.Session:
    return editcore.open(folder, assets=AssetStore(tmp_path / "assets"))


def plain(folder: Path, rows: list[list[int]], layer: int) -> torch.Tensor:
    """One row at a time, by the gradient that a hook sees, and transformers' own loss times its tokens."""
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    gpt2 = model.config.model_type == "gpt2"
    module = model.transformer.h[layer].mlp.c_proj if gpt2 else model.model.layers[layer].mlp.down_proj
    seen: list[torch.Tensor] = []
    module.register_full_backward_hook(lambda _, __, out: seen.append(out[0][0]))
    found = []
    for row in rows:
        if len(row) > 1:
            ids = torch.tensor([row])
            (model(input_ids=ids, labels=ids).loss * (len(row) - 1)).backward()
            found.append(seen.pop()[:-1])
    g = torch.cat(found).double()  # (n, d)
    return g.T @ g / len(g)


@pytest.mark.parametrize("together", [1, 2**25])
def test_the_moment_is_that_of_a_plain_loop_however_rows_are_put_together(
    session: editcore.Session, folder: Path, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    monkeypatch.setattr(gradients, "LOGITS", together)
    rows = [session.tokenizer(text)["input_ids"] for text in TEXTS]
    rows.append(rows[0][:1])  # predicts nothing
    accumulator = GradientAccumulator(session, [1, 2])
    assert accumulator.add(rows) == accumulator.count == sum(map(len, rows))
    for layer, moment in accumulator.moments().items():
        wanted = plain(folder, rows, layer)
        assert moment.weight == sum(len(row) - 1 for row in rows)
        assert (moment.mean - wanted).norm() < 1e-4 * wanted.norm()


def test_they_are_assets_beside_those_of_the_keys(session: editcore.Session) -> None:
    found, again = (second_moments(session, [0, 2], MomentRequest(tokens=600), GRADIENTS) for _ in range(2))
    assert {layer: asset.sha256 for layer, (_, asset) in found.items()} == {
        layer: asset.sha256 for layer, (_, asset) in again.items()
    }
    moment, asset = found[2]
    assert moment.mean.shape == (session.anatomy.hidden_size,) * 2
    assert (moment.count, asset.kind) == (600, "gradient_moment")
    assert 0 < moment.positions < 600
    assert second_moments(session, [2], MomentRequest(tokens=600), KEYS)[2][1].kind == "second_moment"


def test_a_pass_that_was_stopped_is_resumed_to_the_same_bits(
    session: editcore.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = MomentRequest(tokens=13_000)
    whole, _ = second_moments(session, [1], request, GRADIENTS)[1]
    other = editcore.open(session.checkpoint.folder, assets=AssetStore(tmp_path / "other"))
    monkeypatch.setattr("editcore_keyvalue.collecting.SAVE_SECONDS", 0.0)
    add, calls = GradientAccumulator.add, []

    def add_until_killed(self: GradientAccumulator, rows: Any) -> int:
        if len(calls) == 4:  # two of them measure the speed
            raise KeyboardInterrupt
        calls.append(1)
        return add(self, rows)

    monkeypatch.setattr(GradientAccumulator, "add", add_until_killed)
    with pytest.raises(KeyboardInterrupt):
        second_moments(other, [1], request, GRADIENTS)
    monkeypatch.setattr(GradientAccumulator, "add", add)
    resumed, _ = second_moments(other, [1], request, GRADIENTS)[1]
    assert torch.equal(resumed.mean, whole.mean)
    assert resumed.positions == whole.positions


def test_a_model_with_an_encoder_is_refused(tmp_path: Path) -> None:
    session = editcore.open(tiny_model("t5", tmp_path / "model"), assets=AssetStore(tmp_path / "assets"))
    with pytest.raises(UsageError, match="encoder"):
        GradientAccumulator(session, [0]).add([[1, 2, 3]])


def test_the_command_collects_them(llama_folder: Path, tmp_path: Path) -> None:
    arguments = [str(llama_folder), "--of", "gradients", "--layers", "1", "--tokens", "300", "--json"]
    done = CliRunner().invoke(stats, arguments, obj=Output(), env={"EDITCORE_CACHE": str(tmp_path)})
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout)
    assert (row["layer"], row["width"], row["tokens"]) == (1, 64, 300)
