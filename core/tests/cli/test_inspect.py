"""`inspect` shows what was done, with which settings, and what it came to."""

import io

import pytest

from editcore.cli.inspect import _wrapped
from editcore.patches.file.patch import Patch
from editcore.plugins.registry import Registry
from editcore_hooks import PatchKind, hookimpl

ABOUT = {
    "method": {"name": "toy", "distribution": "editcore-toy", "version": "1.0", "preset": "own"},
    "hparams": {"layer": 5, "rate": 0.5, "none": None, "text": "x" * 200},
    "locator": {"name": "trace", "hparams": {"samples": 3}},
    "transforms": [{"name": "rect", "hparams": {"keep": 0.4}}, {"name": "prune"}],
    "sites": {
        "a": {"role": "mlp_out", "layer": 10, "stack": "decoder"},
        "b": {"role": "mlp_out", "layer": 9, "stack": "decoder"},
        "c": {"role": "mlp_in", "layer": 1, "stack": "encoder"},
    },
    "requests": [
        {
            "id": "1",
            "prompt": "{} is a",
            "subject": "Ada",
            "target_new": "pilot",
            "template": {"chat": True, "system": "Be brief."},
        }
    ],
    "notes": [{"loss": 0.1, "stopped": "early"}, *({"edit": number} for number in range(20))],
    "metrics": [
        {
            "metric": "p.target@1",
            "value": 0.9,
            "before": 0.01,
            "n": 2,
            "rows": [{"request": "1", "took": True}, {"request": "2", "took": False}],
        }
    ],
}


@pytest.fixture
def shown(command, tiny, fact_patch):
    """The lines that `inspect` prints for a patch with this annotation, by their label."""

    def show(about, *more):
        path = fact_patch(tiny, "p")
        Patch.load(path).with_about(**about).save(path)
        done = command("inspect", str(path), *more)
        assert done.returncode == 0, done.stderr
        lines = {}
        for line in done.stdout.split("\n\n")[0].splitlines():
            lines.setdefault(line[:10].strip(), []).append(line[10:])
        return lines

    return show


def test_layers_settings_transforms_template_notes_and_figures_are_shown(shown):
    lines = shown(ABOUT)
    assert lines["layers"] == ["encoder mlp_in 1; mlp_out 9, 10"]
    assert lines["settings"] == ["preset own, place by trace samples=3"]
    assert lines["values"] == [f"layer=5 rate=0.5 text={'x' * 60}…"]
    assert lines["transform"] == ["rect keep=0.4", "prune"]
    assert lines["request"] == ["Ada is a … pilot (in the chat template, system text Be brief.)"]
    assert lines["measured"] == ["p.target@1 0.01 -> 0.9 (n = 2), 1 of 2 took"]
    assert lines["notes"] == ["21 of the method: -v shows them"]
    lines = shown(ABOUT, "-v")
    assert "notes" not in lines
    assert lines["note"][0] == "loss=0.1 stopped=early"
    assert lines["note"][-1] == "and 11 more: --json shows them all"


def test_a_list_that_is_cut_ends_with_a_whole_entry(shown):
    lines = shown({"hparams": {"rates": [0.125] * 40, "layers": [1, 2]}})
    assert lines["values"] == [f"layers=[1, 2] rates=[{', '.join(['0.125'] * 8)}, …]"]


def test_a_long_line_is_wrapped_under_its_label_on_a_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert _wrapped("values", "layer=5 rate=0.5 steps=25") == ["values    layer=5 rate=0.5 steps=25"]
    monkeypatch.setattr("sys.stdout", Terminal())
    assert _wrapped("values", "layer=5 rate=0.5 steps=25 decay=0.25") == [
        "values    layer=5 rate=0.5 steps=25",
        "          decay=0.25",
    ]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("odd", [3, "text", [1], {"x": 1}, [{"rows": 3, "value": 1}], [None]])
def test_an_annotation_of_another_shape_is_no_fault(shown, odd):
    names = ("sites", "transforms", "notes", "metrics", "requests", "hparams", "locator", "profile")
    assert shown(dict.fromkeys(names, odd))["kind"] == ["weights"]


class Memory(PatchKind):
    name = "toy_memory"

    def describe(self, patch):
        return {"entries": len(patch.core["payload"]["parts"])}


class Plugin:
    @hookimpl
    def editcore_register_patch_kinds(self):
        return [Memory]


def test_the_owner_of_a_kind_describes_its_patches(command, tiny, tmp_path, monkeypatch):
    import torch

    from editcore.patches.checkpoint.folder import Checkpoint
    from editcore.patches.checkpoint.identity import base_identity
    from editcore.patches.file.sealing import seal
    from editcore_hooks import Payload

    payload = Payload("toy_memory", {}, {"keys": torch.zeros(2, 3), "values": torch.zeros(2, 3)})
    path = tmp_path / "m.safetensors"
    seal({}, base_identity(Checkpoint.open(tiny), "tiny"), {}, kind="memory", payload=payload).save(path)
    assert "the plugin of toy_memory is not installed" in command("inspect", str(path)).stdout
    known = Registry.of(Plugin())
    monkeypatch.setattr("editcore.plugins.registry.registry", lambda: known)
    assert "entries   2" in command("inspect", str(path)).stdout
