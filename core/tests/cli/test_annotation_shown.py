"""What a patch says of itself may be anything: every command shows it, and no value forges a line or crashes."""

import json

import pytest

from editcore.patches.file.manifest import METADATA_KEY, write_manifest
from editcore.patches.file.patch import Patch

JUNK = [5, True, 1e308, None, "x", [1, None, {"prompt": 3}], {"a": [1]}]
FIELDS = ["requests", "title", "base", "method", "hparams", "profile", "locator", "metrics", "computed_on", "created",
          "sites", "aliases", "license", "author", "result_sha256", "computed_on_patches", "sources"]  # fmt: skip
FORGED = "fact\nid        0000\x1b[2J\u202e\u200b\x9b"


def forged(path, **about):
    """The patch with annotation that `with_about` would have made plain."""
    from editcore.storage.safetensors_writer import write_safetensors
    from editcore.storage.tensors import blob_of

    patch = Patch.load(path)
    blobs = {name: blob_of(tensor) for name, tensor in patch.tensors.items()}
    write_safetensors(path, blobs, {METADATA_KEY: write_manifest(patch.core, {**patch.about, **about})})
    return path


@pytest.mark.parametrize("value", JUNK, ids=str)
def test_any_value_in_any_field_is_applied_listed_and_shown(command, fact_patch, tiny, tmp_path, value):
    patches = [forged(fact_patch(tiny, f"p{i}", layer=i % 2), **{f: value}) for i, f in enumerate(FIELDS)]
    every = [forged(fact_patch(tiny, "all"), **dict.fromkeys(FIELDS, value))]
    done = command("apply", *map(str, patches + every), "--model", str(tiny), "-o", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    for shown in (
        ["stack", str(tmp_path / "out")],
        ["stack", str(tmp_path / "out"), "--json"],
        *(["inspect", str(path)] for path in patches + every),
        *(
            ["export", str(path), "--to", "card", "-o", str(tmp_path / f"card-{path.stem}.md")]
            for path in patches + every
        ),
    ):
        done = command(*shown)
        assert done.returncode == 0, (shown, done.stderr)


def test_a_title_forges_no_line_and_hides_nothing(command, fact_patch, tiny, tmp_path):
    path = forged(
        fact_patch(tiny, "p"), title=FORGED, author=FORGED, requests=[{"prompt": FORGED, "target_new": FORGED}]
    )
    out = tmp_path / "out"
    assert command("apply", str(path), "--model", str(tiny), "-o", str(out)).returncode == 0
    for shown in (
        ["inspect", str(path)],
        ["stack", str(out)],
        ["inspect", str(path), "--json"],
        ["stack", str(out), "--json"],
    ):
        said = command(*shown).stdout
        assert sum(line.startswith("id  ") for line in said.splitlines()) == (shown == ["inspect", str(path)])
        assert all(character == "\n" or character.isprintable() for character in said)
    assert json.loads(command("inspect", str(path), "--json").stdout)["about"]["title"] == FORGED


def test_a_title_is_written_as_a_plain_line(command, fact_patch, tiny, tmp_path):
    patch = Patch.load(fact_patch(tiny, "p", about={"title": FORGED}))
    assert patch.title == "fact id 0000[2J"
    command("annotate", str(tmp_path / "p.safetensors"), "--title", FORGED, "-o", str(tmp_path / "q.safetensors"))
    assert Patch.load(tmp_path / "q.safetensors").title == "fact id 0000[2J"
