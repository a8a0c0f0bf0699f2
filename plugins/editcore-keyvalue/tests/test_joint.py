"""Updates of many requests in every family: values are reached where nothing else counts."""

from pathlib import Path

import pytest
from attrs import evolve

import editcore
from editcore import EditRequest
from editcore.assets.store import AssetStore
from editcore.testing.tiny import FAMILIES, tiny_model
from editcore_hooks import Location, Site
from editcore_keyvalue.contexts import beginnings
from editcore_keyvalue.hparams import SpreadHparams
from editcore_keyvalue.joint import joint_update
from editcore_keyvalue.key_reader import KeyReader
from editcore_keyvalue.residual_check import enters_as_it_is
from editcore_keyvalue.subjects import by_key, in_beginnings
from editcore_keyvalue.system import Preserved

DECODERS = tuple(family for family in FAMILIES if not family.startswith("t5"))
RESCALED = {"gemma2", "gemma3", "gemma3_text"}
LAYERS = (0, 1)
LOCATION = Location(tuple(Site("mlp_out", layer) for layer in LAYERS))
HPARAMS = SpreadHparams(v_steps=3, v_lr=0.1, context_count=0, layers=LAYERS)
REQUESTS = [
    EditRequest("{} works as a", "Ada Marlow", "pilot", id="1"),
    EditRequest("The home of {} is in", "Bo Quist", "Cairo", id="2"),
]


def opened(family: str, folder: Path) -> editcore.Session:
    return editcore.open(tiny_model(family, folder / "model"), assets=AssetStore(folder / "assets"))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_what_is_written_holds_in_beginnings_in_which_keys_were_read(family: str, tmp_path: Path) -> None:
    """A subject amid a sentence gets more of its new value, and values are those found without."""
    session = opened(family, tmp_path)
    site = LOCATION.sites[1]
    location = Location((site,))
    (shared, _) = by_key(session, REQUESTS, ("{}",), "subject_last")
    more = beginnings(session, 8)
    amid = [in_beginnings(session, shared, [text], 0, "subject_last") for text in more]
    reader = KeyReader.of_edits(session.anatomy, amid, 1)
    keys, _ = reader.keys(1, {})  # (f, 8)
    far = []
    for count in (0, 8):
        hparams = evolve(HPARAMS, context_spread=True, key_contexts=count)
        update = joint_update(session, REQUESTS, location, hparams, lambda _: Preserved(1e-3), "MEMIT").tensors[site]
        got, wanted = update.out @ (update.in_ @ keys), update.out[:, :1]  # (d, 8), (d, 1): R of one layer
        far.append(float((got - wanted).norm()))
    assert far[1] < 0.5 * far[0]


@pytest.mark.parametrize("family", DECODERS)
def test_without_weight_values_are_reached_in_every_family(family: str, tmp_path: Path) -> None:
    session = opened(family, tmp_path)
    assert enters_as_it_is(session, 1) is (family not in RESCALED)
    update = joint_update(session, REQUESTS, LOCATION, HPARAMS, lambda _: Preserved(1e-9), "MEMIT")
    assert update.notes["missing"] < 1e-3
    assert len(update.tensors) == (1 if family in RESCALED else len(LAYERS))
