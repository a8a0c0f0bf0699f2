"""MEMIT as its users meet it: presets, what tune tries, many facts through the command line, edits after edits."""

import json
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

import editcore
from editcore import EditcoreError, EditOptions, EditRequest
from editcore.assets.store import AssetStore
from editcore.cli import main
from editcore.patches.file.patch import Patch
from editcore.plugins.hparams import from_mapping
from editcore.session.talk import Silence
from editcore.testing.tiny import tiny_model
from editcore.text.yaml_text import parse
from editcore_hooks import Location, Site
from editcore_keyvalue.default_lambda import default_lambda
from editcore_keyvalue.hparams import layers_by_depth
from editcore_keyvalue.joint import edited_layers
from editcore_memit.hooks import Memit
from editcore_memit.hparams import MemitHparams
from editcore_memit.space import space

SHAPE = {"n_layers": 8, "mlp_width": 1024, "edits": 1}
QUICK = {"layers": [0, 1], "v_steps": 3, "context_count": 0, "mom2_tokens": 600, "mom2_ridge": 1e-3}
OPTIONS = EditOptions("memit", hparams=(("test", QUICK),))
REQUESTS = [
    EditRequest("{} works as a", "Ada Marlow", "pilot", id="1"),
    EditRequest("{} lives in", "Bo Quist", "Oslo", id="2"),
    EditRequest("{} works as a", "Cleo Tolland", "poet", id="3"),
]


@pytest.fixture
def session(tmp_path: Path) -> editcore.Session:
    return editcore.open(tiny_model("gpt2", tmp_path / "model"), assets=AssetStore(tmp_path / "assets"))


def test_every_preset_loads_and_names_layers_of_its_model() -> None:
    presets = [path for path in files("editcore_memit.presets").iterdir() if path.name.endswith(".yaml")]
    assert presets
    for path in presets:
        preset = parse(path.read_text("utf-8"), path.name)
        assert max(from_mapping(MemitHparams, preset["hparams"]).layers) < preset["match"]["n_layers"]
        model = {**preset["match"], "name": next(iter(preset["match"].get("names", ["demo"])))}
        assert Memit.preset(model) == preset["hparams"]
    assert Memit.preset({"model_type": "unknown"}) == {}


def test_layers_by_depth_are_those_that_published_settings_share() -> None:
    assert layers_by_depth(32) == (4, 5, 6, 7, 8)
    assert layers_by_depth(48) == (9, 10, 11, 12, 13)
    assert layers_by_depth(28) == (4, 5, 6, 7)
    assert layers_by_depth(2) == (0,)
    assert layers_by_depth(32, 1) == (8,)


def test_the_weight_is_told_in_directions_of_the_keys() -> None:
    assert default_lambda(2048) == 2 * default_lambda(1024)


def test_trials_hold_about_as_many_facts_as_will_be_written() -> None:
    assert [space({**SHAPE, "edits": n}).together for n in (1, 12, 40, 100, 9000)] == [1, 10, 50, 100, 500]
    for settings in (*space(SHAPE).places, *space(SHAPE).recipes):
        from_mapping(MemitHparams, settings)
    ends = {place["layers"][-1] for place in space(SHAPE).places}
    assert max(ends) < SHAPE["n_layers"] / 2


@pytest.mark.parametrize(
    "sites",
    [(), (Site("mlp_in", 1),), (Site("mlp_out", 1), Site("attn_out", 1)), (Site("mlp_out", 1), Site("mlp_out", 1))],
)
def test_other_places_are_refused(sites: tuple[Site, ...]) -> None:
    with pytest.raises(EditcoreError, match="MEMIT edits MLP down projections") as caught:
        edited_layers(Location(sites), "MEMIT")
    assert caught.value.hint


def test_an_edit_taken_out_of_the_middle_leaves_no_trace(session: editcore.Session) -> None:
    patches: list[Patch] = []
    for request in REQUESTS[:2]:
        with session.patched(*patches):
            patches.append(session.edit_all([request], OPTIONS))
    with session.patched(*patches):
        both = session.edit_all(REQUESTS[2:], OPTIONS)
    with session.patched(patches[1]):
        without = session.edit_all(REQUESTS[2:], OPTIONS)
    other = editcore.open(session.loaded.folder, assets=session.assets)
    with other.patched(patches[1]):
        never = other.edit_all(REQUESTS[2:], OPTIONS)
    assert without.patch_id == never.patch_id != both.patch_id


def test_a_second_fact_of_an_edited_subject_is_written_whole_and_said(session: editcore.Session) -> None:
    """Its key is in the history: spared, it would stop half way between the old value and the new one."""
    second = EditRequest("{} lives in", "Ada Marlow", "Lima", id="4")
    options = EditOptions("memit", hparams=(("test", {**QUICK, "mom2_weight": 1e-6}),))
    said: list[str] = []
    with session.patched(session.edit_all(REQUESTS[:2], options)):
        session.talk = _Talk(said)
        patch = session.edit_all([REQUESTS[2], second], options)
    assert patch.about["notes"][0]["missing"] < 0.05
    (text,) = [text for text in said if "the key is that of an earlier edit" in text]
    assert text.startswith("Ada Marlow: ")


def test_subjects_that_are_far_from_their_values_are_named(session: editcore.Session) -> None:
    said: list[str] = []
    session.talk = _Talk(said)
    session.edit_all(REQUESTS, EditOptions("memit", hparams=(("test", {**QUICK, "mom2_weight": 1e9}),)))
    (text,) = [text for text in said if "missed the new value of" in text]
    assert "Ada Marlow, Bo Quist, Cleo Tolland" in text
    assert "too much for 3 edits" in text


def test_another_process_goes_on_where_one_stopped(session: editcore.Session, tmp_path: Path) -> None:
    first = session.edit_all(REQUESTS[:2], OPTIONS)
    first.save(tmp_path / "first.safetensors")
    with session.patched(first):
        here = session.edit_all(REQUESTS[2:], OPTIONS)
    other = editcore.open(session.loaded.folder, assets=session.assets)
    with other.patched(Patch.load(tmp_path / "first.safetensors")):
        assert other.edit_all(REQUESTS[2:], OPTIONS).patch_id == here.patch_id


@pytest.mark.thorough
def test_a_folder_that_another_process_patched_is_gone_on_with(session: editcore.Session, tmp_path: Path) -> None:
    """The keys of the edits that a folder holds are found by whoever opens it: nothing is in a process alone."""
    rows = [{"id": r.id, "prompt": r.prompt, "subject": r.subject, "target_new": r.target_new} for r in REQUESTS]
    for name, some in (("first", rows[:2]), ("second", rows[2:])):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, some)))
    (tmp_path / "quick.yaml").write_text(json.dumps(QUICK))

    def process(*arguments: str | Path) -> None:
        environment = {**os.environ, "EDITCORE_CACHE": str(session.assets.folder.parent)}
        command = [sys.executable, "-m", "editcore", *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def edit(folder: Path, name: str) -> Path:
        made = tmp_path / f"{name}.safetensors"
        facts, settings = tmp_path / f"{name}.jsonl", tmp_path / "quick.yaml"
        process(
            "edit",
            folder,
            "--method",
            "memit",
            "--requests",
            facts,
            "--hparams",
            settings,
            "-o",
            made,
            "--allow-failed",
        )
        return made

    first = edit(session.loaded.folder, "first")
    process("apply", first, "--model", session.loaded.folder, "-o", tmp_path / "patched")
    second = Patch.load(edit(tmp_path / "patched", "second"))
    with session.patched(Patch.load(first)):
        assert session.edit_all(REQUESTS[2:], OPTIONS).patch_id == second.patch_id
    assert session.edit_all(REQUESTS[2:], OPTIONS).patch_id != second.patch_id


def test_facts_of_a_file_are_written_at_once_by_the_command_line(
    session: editcore.Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = EditRequest("{} lives in", "Ada Marlow", "Lima", id="4")
    rows = [
        {"id": r.id, "prompt": r.prompt, "subject": r.subject, "target_new": r.target_new} for r in [*REQUESTS, again]
    ]
    (tmp_path / "facts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "quick.yaml").write_text(json.dumps(QUICK))
    made = tmp_path / "facts.safetensors"
    arguments = ["edit", session.loaded.folder, "--method", "memit", "--requests", tmp_path / "facts.jsonl"]
    assert (
        main([str(each) for each in (*arguments, "--hparams", tmp_path / "quick.yaml", "-o", made, "--allow-failed")])
        == 0
    )
    assert "2 of Ada Marlow" in " ".join(capsys.readouterr().err.split())
    patch = Patch.load(made)
    assert len(patch.about["requests"]) == 4
    assert patch.about["notes"][0]["keys"] == 3
    assert all(target.rank == 3 for target in patch.targets.values())


def test_a_locator_s_layers_are_a_place_of_memit() -> None:
    sites = tuple(Site("mlp_out", layer) for layer in (3, 2))
    assert Memit.place_at(Location(sites)) == {"layers": [2, 3]}


class _Talk(Silence):
    def __init__(self, said: list[str]) -> None:
        self.said = said

    def say(self, text: str) -> None:
        self.said.append(text)
