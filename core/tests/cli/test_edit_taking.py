"""An edit takes when every token of its target is the likeliest; one that does not is not written."""

import json
from pathlib import Path

import pytest
import torch
from attrs import frozen

from editcore.editing.measurement import _split
from editcore.facade import open_model
from editcore.models.running.scoring import TargetScore
from editcore.patches.file.patch import Patch
from editcore.plugins.registry import Registry
from editcore_hooks import EditMethod, Location, LowRank, Site, Update, hookimpl
from editcore_hooks.hparams import hparam

SITE = Site("mlp_out", 0)


@frozen
class Size:
    layer: int = hparam(0, help="which")


class Idle(EditMethod):
    """Changes nothing, so that only what the model says already takes."""

    name = "idle"
    Hparams = Size
    capabilities = frozenset({"batch"})

    @hookimpl
    def editcore_locate(self, session, requests, state):
        return Location((SITE,))

    @hookimpl
    def editcore_compute_update(self, session, requests, location, state):
        rows, columns = session.anatomy.weight(SITE).shape
        return Update({SITE: LowRank(torch.zeros(rows, 1), torch.zeros(1, columns))})


class Plugin:
    @hookimpl
    def editcore_register_methods(self):
        return [Idle]


@pytest.fixture
def known(monkeypatch) -> Registry:
    plugins = Registry.of(Plugin())
    monkeypatch.setattr("editcore.plugins.registry.registry", lambda: plugins)
    monkeypatch.setattr("editcore.facade.registry", lambda: plugins)
    return plugins


@pytest.fixture
def says_pilot(monkeypatch) -> None:
    """The model finds the tokens of " pilot" the likeliest, after any prompt, and no others."""

    def scores(session, cases):
        pilot = session.tokenizer(" pilot", add_special_tokens=False)["input_ids"]
        found = []
        for case in cases:
            ids = session.encode(case.request).target_ids
            hits = tuple(number < len(pilot) and pilot[number] == one for number, one in enumerate(ids))
            found.append(TargetScore(tuple(-0.1 if hit else -5.0 for hit in hits), hits))
        return found

    monkeypatch.setattr("editcore.editing.measurement._scores", scores)


@pytest.fixture
def edit(command, tiny, known, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*words: str):
        return command("edit", str(tiny), "--method", "idle", *words)

    return run


def words(target: str, output: str = "a.safetensors") -> tuple[str, ...]:
    return ("--prompt", "{} works as a", "--subject", "Ada Marlow", "--target", target, "-o", output)


def test_an_edit_that_took_is_written(edit, says_pilot):
    done = edit(*words("pilot"))
    assert done.returncode == 0, done.stderr
    assert Path("a.safetensors").is_file()
    assert "the model answered 'pilot' before this edit too" in done.stderr


def test_an_edit_that_did_not_take_is_not_written_and_says_what_is_there_and_what_is_missing(edit, says_pilot):
    done = edit(*words("pilot Stieltjes", "deep/a.safetensors"), "--json")
    assert done.returncode == 5
    assert not Path("deep").exists()
    warning, error, hint = done.stderr.splitlines()[-3:]
    fact = "Ada Marlow works as a … pilot Stieltjes"
    assert (
        "Ada Marlow works as a … pilot Stieltjes did not take: 'pilot' is there, but 'Stieltjes' is missing" in warning
    )
    assert "; the model says '" in warning
    assert error == f"error: deep/a.safetensors was not written: 1 of 1 edits did not take: {fact}"
    assert hint.endswith("write such patches with --allow-failed")
    (row,) = json.loads(done.stdout)["patches"]
    assert row["path"] is None
    (figures,) = row["p_target"]
    assert (figures["took"], figures["there"], figures["missing"]) == (False, "pilot", "Stieltjes")


def test_an_edit_with_settings_of_ones_own_that_did_not_take_is_not_to_be_tuned(edit, says_pilot):
    done = edit(*words("pilot Stieltjes"), "--set", "layer=0")
    assert done.stderr.splitlines()[-1] == (
        "hint: leave out your settings (--set) or write such patches with --allow-failed"
    )


def test_allow_failed_writes_it(edit, says_pilot):
    done = edit(*words("pilot Stieltjes"), "--allow-failed")
    assert done.returncode == 0
    assert "1 of 1 edits did not take: Ada Marlow works as a … pilot Stieltjes" in done.stderr
    assert Patch.load("a.safetensors").about["metrics"][0]["rows"][0]["took"] is False


def test_a_target_of_twenty_words_that_ends_far_down_is_not_taken(edit):
    done = edit(*words(" ".join(["Cupertino"] * 20)))
    assert done.returncode == 5
    assert not Path("a.safetensors").exists()


def test_of_several_requests_those_that_took_are_written_in_a_folder_and_one_patch_of_all_is_not(edit, says_pilot):
    rows = [{"id": name, "prompt": "{} works as a", "subject": "Ada Marlow", "target_new": target}
            for name, target in (("good", "pilot"), ("bad", "pilot Stieltjes"))]  # fmt: skip
    Path("r.jsonl").write_text("\n".join(map(json.dumps, rows)))
    bad = "Ada Marlow works as a … pilot Stieltjes (bad)"
    done = edit("--requests", "r.jsonl", "-o", "patches")
    assert done.returncode == 5
    assert (
        "patches will be a folder with one patch a request; for one file of all: -o patches.safetensors" in done.stderr
    )
    assert [path.name for path in Path("patches").iterdir()] == ["good.safetensors"]
    assert f"patches/bad.safetensors was not written: 1 of 2 edits did not take: {bad}\nhint: " in done.stderr
    assert "edits 1 to 2 of 2, computed together" in done.stderr
    done = edit("--requests", "r.jsonl", "-o", "patches")
    assert f"1 of 2 edits did not take (1 exist already): {bad}" in done.stderr
    done = edit("--requests", "r.jsonl", "-o", "others", "--allow-failed")
    assert done.returncode == 0
    assert done.stderr.count("edits did not take") == done.stderr.count(f"1 of 2 edits did not take: {bad}") == 1
    done = edit("--requests", "r.jsonl", "-o", "all.safetensors")
    assert done.returncode == 5
    assert f"{bad} did not take" in done.stderr
    assert not Path("all.safetensors").exists()


def test_the_name_of_a_method_is_understood_in_any_case(edit, says_pilot, command, tiny):
    done = command("edit", str(tiny), "--method", "IDLE", *words("pilot"))
    assert done.returncode == 0, done.stderr
    assert Patch.load("a.safetensors").about["method"]["name"] == "idle"


def test_a_patch_made_in_python_carries_figures_unless_they_are_turned_off(tiny, known):
    session = open_model(tiny)
    fact = {"prompt": "{} works as a", "subject": "Ada Marlow", "target": "pilot Stieltjes", "method": "idle"}
    (metric,) = session.edit(**fact).about["metrics"]
    assert metric["metric"] == "p.target@1"
    assert metric["before"] == metric["value"] > 0
    assert session.edit(**fact, measured=False).about["metrics"] == []
    assert session.edit(**fact, measured=False).patch_id == session.edit(**fact).patch_id


def test_a_character_of_several_tokens_is_shown_whole():
    class Bytes:
        tokenizer = property(lambda self: self)

        def decode(self, ids):
            return bytes(ids).decode(errors="replace")

    for held, wanted in ((3, ("東", "京")), (4, ("東", "京")), (5, ("東", "京")), (1, ("", "東京"))):
        assert _split(Bytes(), list("東京".encode()), held) == wanted
