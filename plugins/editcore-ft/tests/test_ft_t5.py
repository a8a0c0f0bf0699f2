"""FT on T5: the prompt goes to the encoder, the decoder's matrices are trained on the answer and its end.

The reference is a plain loop on transformers' own loss, which shifts the labels itself.
"""

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

import editcore
from editcore import EditcoreError, EditOptions, EditRequest
from editcore.patches.change.ondisk import apply_on_disk, revert_on_disk
from editcore.plugins.registry import registry
from editcore.testing.conformance import MethodConformance
from editcore.testing.tiny import tiny_model

REQUESTS = [
    EditRequest("{} works as a", "Ada Marlow", "pilot", id="1"),
    EditRequest("The capital of {} is", "France", "Tokyo", id="2"),
]
LAYER, LR, STEPS = 1, 1e-2, 3


@pytest.fixture(params=["t5", "t5_gated"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tiny_model(request.param, tmp_path / "model")


def options(method: str, **values: Any) -> EditOptions:
    return EditOptions(method, hparams=(("test", {"layers": [LAYER], "lr": LR, "steps": STEPS, **values}),))


def plain_delta(folder: Path, objective: str) -> torch.Tensor:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    weight = model.decoder.block[LAYER].layer[-1].DenseReluDense.wo.weight.requires_grad_()
    begin = weight.detach().clone()
    adam = torch.optim.Adam([weight], lr=LR)
    for _ in range(STEPS):
        losses = []
        for request in REQUESTS:
            x = torch.tensor([tokenizer(request.rendered().text)["input_ids"]])
            y = torch.tensor([tokenizer(request.target_new)["input_ids"]])  # ends in </s>
            if objective == "target_only":
                losses.append(model(input_ids=x, labels=y).loss)
            else:
                logits = model(
                    input_ids=x, decoder_input_ids=torch.tensor([[model.config.decoder_start_token_id]])
                ).logits
                losses.append(-logits[0, 0].log_softmax(-1)[y[0, :-1]].mean())
        adam.zero_grad()
        torch.stack(losses).mean().backward()
        adam.step()
    return weight.detach() - begin


@pytest.mark.parametrize(("method", "objective"), [("ft-m", "target_only"), ("ft", "last_token")])
def test_the_decoder_is_trained_as_by_the_plain_loop(folder: Path, method: str, objective: str) -> None:
    patch = editcore.open(folder).edit_all(REQUESTS, options(method))
    assert list(patch.targets) == [f"decoder.block.{LAYER}.layer.2.DenseReluDense.wo.weight"]
    (delta,) = patch.tensors.values()
    wanted = plain_delta(folder, objective)
    assert float((delta - wanted).norm() / wanted.norm()) < 2e-3


def test_the_answer_and_its_end_become_likelier(folder: Path) -> None:
    """As far as random weights go: under a tied head their logits are too small to be certain of anything."""
    session = editcore.open(folder)
    asked = [(r.rendered().text, r.target_new, None, "auto") for r in REQUESTS]
    before = [score.logprobs for score in session.score_targets(asked)]  # type: ignore[arg-type]
    with session.patched(session.edit_all(REQUESTS, options("ft-m", layers=[0, 1, 2], steps=60))):
        after = [score.logprobs for score in session.score_targets(asked)]  # type: ignore[arg-type]
    for old, new in zip(before, after, strict=True):
        assert sum(new) > sum(old) + 1
        assert new[-1] > old[-1]


def test_an_edit_on_disk_is_the_edit_in_memory_and_leaves_no_trace(folder: Path) -> None:
    session = editcore.open(folder)
    patch = session.edit_all(REQUESTS, options("ft-m"))
    asked = [(r.rendered().text, r.target_new, None, "auto") for r in REQUESTS]
    plain, files = session.score_targets(asked), digests(folder)  # type: ignore[arg-type]
    with session.patched(patch):
        live = session.score_targets(asked)  # type: ignore[arg-type]
    assert live != plain
    apply_on_disk(folder, [patch])
    assert editcore.open(folder).score_targets(asked) == live  # type: ignore[arg-type]
    revert_on_disk(folder, [patch.patch_id])
    after = digests(folder)
    assert {name: after.get(name) for name in files} == files


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_divergence_takes_given_texts_only(folder: Path) -> None:
    session = editcore.open(folder)
    with pytest.raises(EditcoreError, match="kl_texts"):
        session.edit_all(REQUESTS, options("ft-m", constraint="kl"))
    texts = ["Ada lives in Oslo.", "Paris is the capital"]
    session.edit_all(REQUESTS, options("ft-m", constraint="kl", kl_texts=texts))


def test_the_full_text_has_no_loss_in_an_encoder(folder: Path) -> None:
    with pytest.raises(EditcoreError, match="objective=target_only"):
        editcore.open(folder).edit_all(REQUESTS, options("ft-t"))
    assert "encoder-decoder" not in registry().method("ft-t").capabilities
    editcore.open(folder).edit_all(REQUESTS, options("ft-t", objective="target_only"))


class TestFtMOnT5(MethodConformance):
    method = "ft-m"
    hparams = {"layers": [LAYER], "lr": 1e-3, "steps": 5}  # noqa: RUF012

    @classmethod
    def model(cls, folder: Path) -> Path:
        return tiny_model("t5", folder)
