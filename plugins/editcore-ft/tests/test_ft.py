"""FT, FT-L and FT-M as their users meet them: presets, bounds, ranks, and a report when an edit did not converge."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import define, field

import editcore
from editcore import EditcoreError, EditOptions, EditRequest
from editcore.plugins.hparams import from_mapping
from editcore.session.talk import Progress, Silence
from editcore.text.yaml_text import parse
from editcore_ft.hooks import Ft, FtL, FtM, FtT, Locft
from editcore_ft.presets import default_layers, find_preset
from editcore_hooks import Location, Site, State

METHODS = {cls.name: cls for cls in (Ft, FtL, FtM, FtT, Locft)}
REQUESTS = [
    EditRequest("{} works as a", "Ada Marlow", "pilot", "baker", id="1"),
    EditRequest("{} lives in", "Bo Quist", "Lima", id="2"),
    EditRequest("The job of {} is that of a", "Cleo Tolland", "poet", id="3"),
]
LONG = EditRequest("{} lives in", "Bo Quist", "Quito and Lima", id="long")


@define
class Listening:
    """Keeps the messages."""

    said: list[str] = field(factory=list)

    def say(self, text: str) -> None:
        self.said.append(text)

    @contextmanager
    def progress(self, label: str, total: int) -> Iterator[Progress]:
        with Silence().progress(label, total) as progress:
            yield progress


@pytest.fixture
def talk() -> Listening:
    return Listening()


@pytest.fixture(params=["gpt2", "llama"])
def session(request: pytest.FixtureRequest, talk: Listening) -> editcore.Session:
    return editcore.open(request.getfixturevalue(f"{request.param}_folder"), talk=talk)


@pytest.fixture
def llama(llama_folder: Path, talk: Listening) -> editcore.Session:
    return editcore.open(llama_folder, talk=talk)


def options(method: str = "ft-m", **values: Any) -> EditOptions:
    return EditOptions(method, hparams=(("test", {"layers": [1], "lr": 2e-3, "steps": 80, "eos": False, **values}),))


def chances(session: editcore.Session, requests: list[EditRequest]) -> list[float]:
    asked = [(r.rendered().text, r.target_new, None, "auto") for r in requests]
    return [score.sum for score in session.score_targets(asked)]  # type: ignore[arg-type]


def test_every_preset_loads_and_names_layers_of_its_model() -> None:
    presets = [path for path in files("editcore_ft.presets").iterdir() if path.name.endswith(".yaml")]
    assert presets
    for path in presets:
        preset = parse(path.read_text("utf-8"), path.name)
        assert preset.keys() - {"match"} <= METHODS.keys()
        for method in preset.keys() - {"match"}:
            hparams = from_mapping(METHODS[method].Hparams, preset[method])
            if hparams.layers is not None:
                assert max(hparams.layers) < preset["match"]["n_layers"]


def test_a_preset_is_found_by_method_and_release() -> None:
    xl = {"model_type": "gpt2", "n_layers": 48, "hidden_size": 1600, "name": "gpt2-xl"}
    assert find_preset(xl, "ft")["layers"] == [1]
    assert find_preset(xl, "ft-l")["linf_radius"] == 5e-4
    assert Ft.preset({"model_type": "unknown"}) == {}
    large = {"model_type": "t5", "n_layers": 24, "hidden_size": 1024, "mlp_width": 4096, "name": "t5-3b"}
    assert find_preset(large, "ft-m") == {}
    assert find_preset({**large, "mlp_width": 16384}, "ft-m")["layers"] == [0, 21]
    assert default_layers({"n_layers": 32}) == (8,)


def test_the_names_stand_for_their_defaults() -> None:
    found = {name: (cls.Hparams().objective, cls.Hparams().constraint) for name, cls in METHODS.items()}
    assert found == {
        "ft": ("last_token", "none"), "ft-l": ("last_token", "linf"), "ft-m": ("target_only", "none"),
        "ft-t": ("full_text", "none"), "locft": ("target_only", "none"),
    }  # fmt: skip


def test_all_requests_become_one_delta_that_says_them_all(session: editcore.Session) -> None:
    patch = session.edit_all(REQUESTS, options(lr=4e-3))
    assert len(patch.targets) == 1
    notes = patch.about["notes"]
    assert len(notes) == 1
    assert notes[0]["converged"] is True
    with session.patched(patch):
        assert min(chances(session, REQUESTS)) > -0.1


def test_the_final_loss_in_the_notes_is_the_models(session: editcore.Session) -> None:
    patch = session.edit_all(REQUESTS, options(steps=5))
    asked = [(r.rendered().text, r.target_new, None, "auto") for r in REQUESTS]
    with session.patched(patch):
        means = [-score.mean for score in session.score_targets(asked)]  # type: ignore[arg-type]
    assert patch.about["notes"][0]["final_losses"] == pytest.approx(means, rel=1e-3)


def test_no_entry_leaves_the_box_and_many_reach_it(session: editcore.Session) -> None:
    patch = session.edit_all(REQUESTS[:1], options("ft-l", linf_radius=1e-3, steps=10))
    (delta,) = patch.tensors.values()
    assert float(delta.abs().max()) == pytest.approx(1e-3, rel=1e-3)
    assert float((delta.abs() > 0.99e-3).float().mean()) > 0.2


def test_a_ball_around_the_base_does_not_grow_with_a_second_edit(llama: editcore.Session) -> None:
    settings = {"linf_radius": 1e-3, "steps": 10}
    first = llama.edit_all(REQUESTS[:1], options("ft-l", **settings))
    with llama.patched(first):
        free = llama.edit_all(REQUESTS[2:], options("ft-l", **settings))
        held = llama.edit_all(REQUESTS[2:], options("ft-l", anchor="base", **settings))
    (one,) = first.tensors.values()
    for patch, bound in ((free, 2e-3), (held, 1e-3)):
        (other,) = patch.tensors.values()
        assert float((one + other).abs().max()) == pytest.approx(bound, rel=1e-3)


def test_a_rank_is_kept_and_what_it_leaves_out_is_noted(session: editcore.Session) -> None:
    full = session.edit_all(REQUESTS, options())
    patch = session.edit_all(REQUESTS, options(rank=3))
    (target,) = patch.targets.values()
    assert target.form.name == "low_rank"
    assert target.rank == 3
    (delta,) = full.tensors.values()
    left, right = (next(v for k, v in patch.tensors.items() if k.endswith(side)) for side in ("left", "right"))
    left_out = float((delta - left @ right).norm() / delta.norm())
    (noted,) = patch.about["notes"][0]["relative_residual"].values()
    assert 0 < noted == pytest.approx(left_out, rel=1e-3)


def test_what_did_not_converge_is_said_and_noted(llama: editcore.Session, talk: Listening) -> None:
    patch = llama.edit_all(REQUESTS, options(steps=1))
    notes = patch.about["notes"][0]
    assert notes["converged"] is False
    assert notes["steps"] == 1
    (said,) = talk.said
    assert "3 of 3 edits did not converge" in said
    assert "Raise steps or lr" in said
    talk.said.clear()
    llama.edit_all(REQUESTS[:1], options())
    assert talk.said == []


def test_a_target_of_several_tokens_is_warned_of(llama: editcore.Session, talk: Listening) -> None:
    patch = llama.edit_all([LONG], options("ft-l"))
    assert "more than one token" in talk.said[0]
    assert patch.about["notes"][0]["converged"] is False  # two tokens cannot both be certain at one place


def test_the_order_of_requests_does_not_change_the_patch(llama: editcore.Session) -> None:
    ids = {llama.edit_all(order, options(batch_size=2)).patch_id for order in (REQUESTS, REQUESTS[::-1])}
    assert len(ids) == 1


def test_sampled_contexts_and_texts_depend_on_the_seed_alone(llama_folder: Path) -> None:
    chosen = options(context_count=2, constraint="kl", kl_count=4, kl_length=12, steps=3)
    ids = [editcore.open(llama_folder, seed=seed).edit_all(REQUESTS[:1], chosen).patch_id for seed in (0, 0, 1)]
    assert ids[0] == ids[1] != ids[2]


def test_divergence_from_the_base_spares_what_was_not_asked_for(llama: editcore.Session) -> None:
    others = [EditRequest("{} works as a", "Bo Marlow", t) for t in ("baker", "pilot", "judge", "miner", "poet")]

    def drift(**values: Any) -> float:
        before = torch.tensor(chances(llama, others)).exp()
        with llama.patched(llama.edit_all(REQUESTS[:1], options(**values))):
            return float((torch.tensor(chances(llama, others)).exp() - before).abs().sum())

    assert drift(constraint="kl", kl_weight=2.0) < drift()


@pytest.mark.parametrize("role", ["mlp_in", "mlp_gate", "attn_out"])
def test_other_matrices_and_several_layers_are_trained(llama: editcore.Session, role: str) -> None:
    patch = llama.edit_all(REQUESTS[:1], options(role=role, layers=[0, 2]))
    assert len(patch.targets) == 2
    with llama.patched(patch):
        assert chances(llama, REQUESTS[:1])[0] > -0.1


def test_gradients_on_live_parameters_are_not_filled(llama: editcore.Session) -> None:
    llama.model.requires_grad_(True)
    llama.edit_all(REQUESTS[:1], options(steps=2))
    assert all(parameter.requires_grad and parameter.grad is None for parameter in llama.model.parameters())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layers": [9]}, "no layer 9"),
        ({"layers": []}, "layers must name"),
        ({"layers": [1, 1]}, "layers must name"),
        ({"objective": "all"}, "objective"),
        ({"lr": 1e30}, "diverged"),
        ({"constraint": "kl", "kl_texts": [""]}, "no tokens"),
        ({"context_templates": ["no mark"]}, "has no {}"),
    ],
)
def test_settings_that_cannot_work_are_refused(llama: editcore.Session, values: dict[str, Any], message: str) -> None:
    with pytest.raises(EditcoreError, match=message):
        llama.edit_all(REQUESTS[:1], options(**values))


def test_the_answer_ends_by_default(llama: editcore.Session) -> None:
    request, end = REQUESTS[0], llama.tokenizer.eos_token_id
    for eos, ends in ((False, False), (True, True)):
        with llama.patched(llama.edit_all([request], options(eos=eos))):
            ids = [*llama.encode(request).ids]
            logits = llama.model(torch.tensor([ids])).logits[0, -1]
        assert (int(logits.argmax()) == end) is ends


def test_requests_meet_others_in_each_pass_and_all_are_learnt(llama: editcore.Session) -> None:
    together, apart, again = (
        llama.edit_all(REQUESTS, options("locft", batch_size=2, steps=steps, shuffle=shuffle))
        for steps, shuffle in ((60, False), (60, True), (60, True))
    )
    assert apart.patch_id == again.patch_id != together.patch_id
    with llama.patched(apart):
        assert min(chances(llama, REQUESTS)) > -0.2


@pytest.mark.parametrize(
    ("path", "sites"),
    [
        ("model.layers.1.mlp.down_proj", {"decoder.1.mlp_out"}),
        ("model.layers.1", {"decoder.1.mlp_out", "decoder.1.mlp_in", "decoder.1.mlp_gate", "decoder.1.attn_out"}),
    ],
)
def test_modules_are_named_by_their_exact_path(llama: editcore.Session, path: str, sites: set[str]) -> None:
    method = Locft(from_mapping(Locft.Hparams, {"modules": [path]}))
    assert {str(site) for site in method.locate(llama, REQUESTS, State("")).sites} == sites


def test_a_block_is_a_role(llama: editcore.Session) -> None:
    method = Locft(from_mapping(Locft.Hparams, {"role": "block", "layers": [2]}))
    assert {(s.layer, s.role) for s in method.locate(llama, REQUESTS, State("")).sites} == {
        (2, role) for role in ("mlp_in", "mlp_gate", "mlp_out", "attn_out")
    }


@pytest.mark.parametrize(("path", "message"), [("layers.1", "no parameters"), ("model.norm", "none of the matrices")])
def test_a_path_without_matrices_is_refused(llama: editcore.Session, path: str, message: str) -> None:
    with pytest.raises(EditcoreError, match=message):
        llama.edit_all(REQUESTS, options("locft", modules=[path]))


def test_a_gate_is_refused_where_there_is_none(gpt2_folder: Path) -> None:
    with pytest.raises(EditcoreError, match="no mlp_gate"):
        editcore.open(gpt2_folder).edit_all(REQUESTS[:1], options(role="mlp_gate"))


def test_a_site_without_a_matrix_is_refused(llama: editcore.Session) -> None:
    with pytest.raises(EditcoreError, match="edits matrices"):
        FtM().editcore_compute_update(llama, REQUESTS, Location((Site("final_norm"),)), State(""))


def test_a_bf16_base_in_shards_takes_the_edit(sharded_folder: Path) -> None:
    session = editcore.open(sharded_folder, dtype="bfloat16")
    patch = session.edit_all(REQUESTS[:1], options())
    (target,) = patch.targets.values()
    assert target.base_dtype == "BF16"
    before = chances(session, REQUESTS[:1])[0]
    with session.patched(patch):
        assert chances(session, REQUESTS[:1])[0] > before + 1
