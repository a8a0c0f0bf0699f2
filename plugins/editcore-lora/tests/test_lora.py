"""LoRA and AdaLoRA as their users meet them: a model left alone, an adapter that peft loads, and what is refused."""

from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from click.testing import CliRunner

import editcore
from editcore import EditcoreError, EditOptions, EditRequest
from editcore.cli.export import export
from editcore.cli.output import Output
from editcore.models.running.scoring import target_logits
from editcore.testing.tiny import tiny_model
from editcore_hooks import Site, UsageError
from editcore_lora import adapters
from editcore_lora.adapters import adapted
from editcore_lora.hparams import AdaLoraHparams, LoraHparams

REQUESTS = [
    EditRequest("{} works as a", "Ada Marlow", "pilot", id="1"),
    EditRequest("{} lives in", "Bo Quist", "Lima", id="2"),
    EditRequest("The job of {} is that of a", "Cleo Tolland", "poet", id="3"),
]
ROLES = ["mlp_out", "mlp_in", "attn_out"]


@pytest.fixture(params=["gpt2", "llama"])
def folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(f"{request.param}_folder")  # type: ignore[no-any-return]


@pytest.fixture
def session(folder: Path) -> editcore.Session:
    return editcore.open(folder)


def options(method: str, **values: Any) -> EditOptions:
    return EditOptions(method, hparams=(("test", {"layers": [1, 2], "steps": 30, **values}),))


@pytest.mark.parametrize("method", ["lora", "adalora"])
def test_the_exported_adapter_gives_peft_the_same_model(
    session: editcore.Session, folder: Path, method: str, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    patch = session.edit_all(REQUESTS, options(method, roles=ROLES))
    patch.save(tmp_path / "patch.safetensors")
    file, out = str(tmp_path / "patch.safetensors"), str(tmp_path / "out")
    done = CliRunner().invoke(export, [file, "--to", "peft", "--model", str(folder), "-o", out], obj=Output())
    assert done.exit_code == 0, done.output
    items = [(row.prompt_ids, row.target_ids) for row in map(session.encode, REQUESTS)]
    with session.patched(patch):
        wanted = target_logits(session.model, items).logits
    base: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    loaded: Any = PeftModel.from_pretrained(base, out).eval()
    found = target_logits(loaded.base_model.model, items).logits
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)
    assert (target_logits(session.model, items).logits - wanted).abs().max() > 0.1  # and it is not the base's


@pytest.mark.parametrize("method", ["lora", "adalora"])
def test_a_batch_takes_and_holds_the_rank_that_was_asked_for(session: editcore.Session, method: str) -> None:
    patch = session.edit_all(REQUESTS, options(method, rank=4, steps=100, lr=1e-2, eos=False))
    notes = patch.about["notes"][0]
    assert notes["converged"] is True
    assert sum(notes["ranks"].values()) == 8
    asked = [(request.rendered().text, request.target_new, None, "auto") for request in REQUESTS]
    with session.patched(patch):
        assert all(all(score.hits) for score in session.score_targets(asked))  # type: ignore[arg-type]


def test_every_module_stands_where_it_stood(session: editcore.Session) -> None:
    sites, model = (Site("mlp_out", 0), Site("attn_out", 3)), session.model
    before, attributes = dict(model.named_modules()), set(vars(model))
    with adapted(session, sites, LoraHparams(), 1):
        assert dict(model.named_modules()) != before
    assert dict(model.named_modules()) == before
    assert set(vars(model)) == attributes
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_what_peft_cannot_adapt_is_refused_and_leaves_no_trace(
    session: editcore.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    import peft

    def refuse(*arguments: Any) -> None:
        raise ValueError("Target module Odd() is not supported.")

    before = dict(session.model.named_modules())
    monkeypatch.setattr(peft, "LoraModel", refuse)
    with pytest.raises(UsageError, match="peft has no adapter for these modules") as caught:
        session.edit_all(REQUESTS, options("lora"))
    assert caught.value.hint
    assert dict(session.model.named_modules()) == before


def test_the_allocator_is_called_after_every_update(session: editcore.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    allocate = adapters.Adapters.allocate

    def spy(self: adapters.Adapters, step: int) -> None:
        steps.append(step)
        allocate(self, step)

    monkeypatch.setattr(adapters.Adapters, "allocate", spy)
    patch = session.edit_all(REQUESTS, options("adalora", steps=6, batch_size=2, stop_loss=1e3))
    assert steps == list(range(1, patch.about["notes"][0]["updates"] + 1))
    assert len(steps) == 9  # twelve less the share at the end that only trains what is left


def test_settings_that_leave_nothing_to_prune_or_no_time_are_refused() -> None:
    with pytest.raises(ValueError, match="above rank"):
        AdaLoraHparams(rank=12)
    with pytest.raises(ValueError, match="between them"):
        AdaLoraHparams(warmup=0.7, final=0.3)
    with pytest.raises(ValueError, match="each once"):
        LoraHparams(roles=("mlp_out", "mlp_out"))


def test_a_quantised_model_is_refused_and_its_base_named_as_the_way(session: editcore.Session) -> None:
    session.loaded = attrs.evolve(session.loaded, quantised=True)
    with pytest.raises(EditcoreError, match="is quantised, and an edit is computed on its base") as caught:
        session.edit_all(REQUESTS, options("lora"))
    assert "run beside quantised weights" in str(caught.value.hint)


def test_an_encoder_decoder_is_edited_in_its_decoder(tmp_path: Path) -> None:
    session = editcore.open(tiny_model("t5", tmp_path / "model"))
    asked = [(request.rendered().text, request.target_new, None, "auto") for request in REQUESTS[:1]]
    before = session.score_targets(asked)[0].sum  # type: ignore[arg-type]
    patch = session.edit_all(REQUESTS[:1], options("lora", layers=[1], lr=1e-2))
    with session.patched(patch):
        assert session.score_targets(asked)[0].sum > before + 1  # type: ignore[arg-type]
