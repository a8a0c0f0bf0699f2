"""ROME as its users meet it: presets, settings, refusals, patches that do not depend on the run."""

import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
import torch

import editcore
from editcore import EditcoreError, EditOptions, EditRequest
from editcore.assets.store import AssetStore
from editcore.plugins.hparams import from_mapping, undocumented
from editcore.plugins.presets import preset_name
from editcore.text.yaml_text import parse
from editcore_rome.hooks import Rome
from editcore_rome.hparams import RomeHparams
from editcore_rome.presets import default_layer, find_preset

QUICK = {
    "layer": 1, "v_steps": 6, "v_lr": 0.3, "v_weight_decay": 0.01, "clamp": 8, "context_count": 2, "mom2_tokens": 2000,
}  # fmt: skip
REQUESTS = [
    EditRequest("{} works as a", "Ada Marlow", "pilot", "baker", id="1"),
    EditRequest("{} lives in", "Bo Quist", "Oslo", id="2"),
]


@pytest.fixture
def session(llama_folder: Path, tmp_path: Path) -> editcore.Session:
    return editcore.open(llama_folder, assets=AssetStore(tmp_path / "assets"))


def options(**more: object) -> EditOptions:
    return EditOptions(hparams=(("test", {**QUICK, **more}),))


def test_the_entry_module_imports_no_torch() -> None:
    code = "import sys, editcore_rome.hooks; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_every_setting_is_documented_and_every_preset_loads() -> None:
    assert undocumented(RomeHparams) == []
    presets = [path for path in files("editcore_rome.presets").iterdir() if path.name.endswith(".yaml")]
    assert presets
    for path in presets:
        preset = parse(path.read_text("utf-8"), path.name)
        assert from_mapping(RomeHparams, preset["hparams"]).layer < preset["match"]["n_layers"]


def test_a_preset_belongs_to_a_named_release_or_to_weights_and_never_to_a_shape() -> None:
    xl = {"model_type": "gpt2", "n_layers": 48, "hidden_size": 1600}
    assert find_preset({**xl, "name": "openai-community/GPT2-XL"})["layer"] == 17
    assert find_preset({**xl, "name": "gpt2-xl", "n_layers": 47}) == {}
    assert find_preset({**xl, "name": "my-model"}) == {}
    assert Rome.preset({"model_type": "unknown"}) == {}
    demo = {"model_type": "gpt2", "n_layers": 8, "hidden_size": 256, "name": "demo-gpt2"}
    assert preset_name(Rome, {**demo, "weights_root": "00"}) is None  # it has the shape of the demo model
    assert default_layer({"n_layers": 32}) == 5


def test_the_target_becomes_likely(session: editcore.Session) -> None:
    patch = session.edit_all(REQUESTS[:1], options(v_steps=20))
    question = ("Ada Marlow works as a", "pilot", None, "auto")
    before = session.score_targets([question])[0].sum
    with session.patched(patch):
        assert session.score_targets([question])[0].sum > before + 2


def test_two_seeded_runs_share_an_id_and_another_seed_does_not(llama_folder: Path, tmp_path: Path) -> None:
    ids = []
    for run, seed in (("a", 0), ("b", 0), ("c", 1)):
        session = editcore.open(llama_folder, seed=seed, assets=AssetStore(tmp_path / run))
        ids.append(session.edit_all(REQUESTS[:1], options()).patch_id)
    assert ids[0] == ids[1] != ids[2]


def test_contexts_are_kept_in_the_patch_and_give_it_again(session: editcore.Session) -> None:
    patch = session.edit_all(REQUESTS[:1], options())
    contexts = patch.about["notes"][0]["contexts"]
    assert contexts[0] == "{}"
    assert len(contexts) == 1 + 2 * QUICK["context_count"]
    assert session.edit_all(REQUESTS[:1], options(context_templates=contexts)).patch_id == patch.patch_id


def test_only_the_located_tensor_is_touched(session: editcore.Session) -> None:
    assert list(session.edit_all(REQUESTS[:1], options()).targets) == ["model.layers.1.mlp.down_proj.weight"]


def test_many_requests_become_one_patch_of_their_joint_rank(session: editcore.Session) -> None:
    patch = session.edit_all(REQUESTS, options(v_steps=20))
    (target,) = patch.targets.values()
    assert target.rank == 2
    questions = [(r.rendered().text, r.target_new, None, "auto") for r in REQUESTS]
    before = [score.sum for score in session.score_targets(questions)]
    with session.patched(patch):
        after = [score.sum for score in session.score_targets(questions)]
    assert all(new > old + 2 for new, old in zip(after, before, strict=True))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layer": 9}, "no layer 9"),
        ({"context_templates": ["no mark"]}, "has no {}"),
        ({"mom2_corpus": "nowhere.txt"}, "no corpus file nowhere.txt"),
        ({"key_mode": "q-rome"}, "key_mode"),
        ({"v_steps": 0}, "v_steps"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    session: editcore.Session, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(EditcoreError, match=message):
        session.edit_all(REQUESTS[:1], options(**settings))


def test_a_bf16_base_in_shards_takes_the_edit(sharded_folder: Path, tmp_path: Path) -> None:
    session = editcore.open(sharded_folder, assets=AssetStore(tmp_path))
    patch = session.edit_all(REQUESTS[:1], options(v_steps=20))
    (target,) = patch.targets.values()
    assert target.base_dtype == "BF16"
    question = ("Ada Marlow works as a", "pilot", None, "auto")
    before = session.score_targets([question])[0].sum
    with session.patched(patch):
        assert session.score_targets([question])[0].sum > before + 2


def test_edits_computed_together_are_those_computed_alone(session: editcore.Session) -> None:
    together = session.edit_each(REQUESTS, options())
    for request, patch in zip(REQUESTS, together, strict=True):
        alone = session.edit_all([request], options())
        assert patch.about["requests"] == alone.about["requests"]
        assert patch.targets.keys() == alone.targets.keys()
        for name, tensor in alone.tensors.items():
            torch.testing.assert_close(patch.tensors[name], tensor, rtol=2e-2, atol=1e-3)
