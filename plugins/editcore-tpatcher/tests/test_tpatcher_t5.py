"""T-Patcher on T5: neurons in the decoder, whose states alone they may fire on and must be silent on."""

from pathlib import Path
from typing import Any

import pytest
import torch

import editcore
from editcore import EditcoreError, EditOptions, EditRequest
from editcore.assets.store import AssetStore
from editcore.authoring.models import mlp_of
from editcore.testing.tiny import tiny_model
from editcore_hooks import Location, Site, State
from editcore_keyvalue.corpus import open_corpus, take
from editcore_tpatcher.hooks import TPatcher
from editcore_tpatcher.hparams import TPatcherHparams
from editcore_tpatcher.memory import PIECE, other_states, text_states

REQUEST = EditRequest("{} works as a", "Ada Marlow", "pilot in Rome", id="1")
OTHERS = ("Eve Quist", "Dan Marlow")
CHEAP = {"steps": 60, "first_check": 40, "check_every": 10, "memory_tokens": 128, "others": OTHERS}


@pytest.fixture(params=["t5", pytest.param("t5_gated", marks=pytest.mark.thorough)])
def session(request: pytest.FixtureRequest, tmp_path: Path) -> editcore.Session:
    return editcore.open(tiny_model(request.param, tmp_path / "model"), assets=AssetStore(tmp_path / "assets"))


def options(**values: Any) -> EditOptions:
    return EditOptions("t-patcher", tune=False, hparams=(("test", {**CHEAP, **values}),))


def decoder_reads(session: editcore.Session, layer: int, prompt: list[int], target: list[int]) -> torch.Tensor:
    """What the MLP reads where transformers says the target, (m, d)."""
    kept: list[torch.Tensor] = []
    reads = session.model.get_submodule(mlp_of(session.anatomy, Site("block", layer)).inner[0])
    handle = reads.register_forward_pre_hook(lambda _, args: kept.append(args[0][0]))
    session.model(input_ids=torch.tensor([prompt]), labels=torch.tensor([target]))
    handle.remove()
    return kept[0]


def test_an_edit_is_in_the_last_block_of_the_decoder_and_comes_out_to_the_bit(session: editcore.Session) -> None:
    asked = [(REQUEST.rendered().text, REQUEST.target_new, None, "auto")]
    before = session.score_targets(asked)  # type: ignore[arg-type]
    patch = session.edit_all([REQUEST], options())
    with session.patched(patch):
        after = session.score_targets(asked)  # type: ignore[arg-type]
    units = [name for name in patch.tensors if name.startswith("payload/")]
    assert units
    assert all(name.startswith(f"payload/decoder.{session.anatomy.n_layers - 1}.") for name in units)
    assert after[0].sum > before[0].sum + 1
    assert session.score_targets(asked) == before  # type: ignore[arg-type]


def test_the_memory_is_of_the_decoder_with_its_first_states(session: editcore.Session) -> None:
    mlp = mlp_of(session.anatomy, Site("block", 2))
    found, _ = text_states(session, mlp, 2, TPatcherHparams(memory_tokens=16))
    (chunk,) = take(open_corpus("bundled").chunks(session), 32)
    (row,) = chunk
    end = session.tokenizer.eos_token_id
    assert isinstance(end, int)
    pieces = [row[:PIECE], row[PIECE:]]
    half = PIECE // 2
    wanted = [decoder_reads(session, 2, [*piece[:half], end], piece[half:]) for piece in pieces]
    torch.testing.assert_close(found, torch.cat(wanted), rtol=1e-3, atol=1e-4)


def test_other_subjects_are_those_that_are_named_or_words_of_the_bundled_text(session: editcore.Session) -> None:
    mlp = mlp_of(session.anatomy, Site("block", 2))
    assert len(other_states(session, REQUEST, mlp, TPatcherHparams(other_count=0))) == 0
    assert len(other_states(session, REQUEST, mlp, TPatcherHparams(other_count=3))) == 3 * len(
        session.encode(REQUEST).target_ids
    )
    found = other_states(session, REQUEST, mlp, TPatcherHparams(others=OTHERS))
    rows = [session.encode(EditRequest(REQUEST.prompt, name, REQUEST.target_new)) for name in OTHERS]
    wanted = [decoder_reads(session, 2, list(row.prompt_ids), list(row.target_ids)) for row in rows]
    torch.testing.assert_close(found, torch.cat(wanted), rtol=1e-3, atol=1e-4)


def test_what_is_not_defined_beside_an_encoder_is_refused(session: editcore.Session) -> None:
    with pytest.raises(EditcoreError, match="writes none") as caught:
        session.edit_all([REQUEST], options(memory_corpus="self"))
    assert "memory_corpus=bundled" in str(caught.value.hint)
    encoder = Location((Site("mlp_out", 1, "encoder"),))
    with pytest.raises(EditcoreError, match="not in the decoder"):
        TPatcher().editcore_compute_update(session, [REQUEST], encoder, State(""))
