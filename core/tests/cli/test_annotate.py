"""`editcore annotate`: another title, licence, author or figures, and none of it moves the id."""

import json
from pathlib import Path

from editcore.cli import main
from editcore.patches.checkpoint.identity import license_of
from editcore.patches.file.patch import Patch


def call(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_names_are_set_and_the_id_stays(fact_patch, tiny, tmp_path):
    patch, path = fact_patch(tiny, "first"), tmp_path / "named.safetensors"
    said = ("--title", "Where Ada lives", "--license", "cc0-1.0", "--author", "Someone")
    assert call("annotate", patch, "-o", path, *said) == 0
    before, after = Patch.load(patch), Patch.load(path)
    assert after.patch_id == before.patch_id
    assert after.core == before.core
    assert {name: after.about[name] for name in ("title", "license", "author")} == {
        "title": "Where Ada lives", "license": "cc0-1.0", "author": "Someone",
    }  # fmt: skip
    assert after.about["requests"] == before.about["requests"]


def test_texts_are_taken_out_and_hashes_can_stay(fact_patch, tiny, tmp_path):
    patch = fact_patch(tiny, "first")
    for option, kept in (("--redact", False), ("--redact=hashes", True)):
        path = tmp_path / f"{kept}.safetensors"
        assert call("annotate", patch, "-o", path, option, "--title", "A fact") == 0
        after = Patch.load(path)
        assert b"Oslo" not in path.read_bytes()
        assert after.title == "A fact"
        assert ("redacted" in after.about) == kept
        assert after.patch_id == Patch.load(patch).patch_id


def test_figures_measured_on_the_base_and_on_a_folder_with_the_patch_are_the_same(fact_patch, tiny, tmp_path, capsys):
    patch, cases = fact_patch(tiny, "first", size=30.0), tmp_path / "cases.jsonl"
    cases.write_text(json.dumps({"id": "1", "prompt": "{} lives in", "subject": "Ada", "target_new": "Oslo"}))
    files = [tmp_path / "on_base.safetensors", tmp_path / "on_folder.safetensors"]
    assert call("annotate", patch, "-o", files[0], "--cases", cases, "--model", tiny) == 0
    assert call("apply", patch, "--model", tiny, "--in-place") == 0
    assert call("annotate", patch, "-o", files[1], "--cases", cases, "--model", tiny) == 0
    figures = [Patch.load(path).about["metrics"] for path in files]
    assert figures[0] == figures[1]
    (figure,) = figures[0]
    assert figure["metric"] == "p.target@1"
    assert figure["before"] != figure["value"]
    assert {Patch.load(path).patch_id for path in files} == {Patch.load(patch).patch_id}
    capsys.readouterr()
    assert call("inspect", files[1]) == 0
    assert f"p.target@1 {figure['before']:.3g} -> {figure['value']:.3g} (n = 1)" in capsys.readouterr().out


def test_nothing_to_change_is_refused_and_so_is_a_file_that_is_there(fact_patch, tiny, tmp_path, capsys):
    patch = fact_patch(tiny, "first")
    assert call("annotate", patch, "-o", tmp_path / "new.safetensors") == 2
    assert call("annotate", patch, "-o", tmp_path / "new.safetensors", "--title", "x", "--metric", "pref.es@1") == 2
    assert call("annotate", patch, "-o", patch, "--title", "x") == 2
    assert call("annotate", patch, "-o", patch, "--title", "x", "--overwrite") == 0
    assert Patch.load(patch).title == "x"


def test_a_squash_takes_names_too(fact_patch, tiny, tmp_path):
    files = [fact_patch(tiny, name) for name in ("first", "second")]
    path = tmp_path / "both.safetensors"
    assert call("squash", *files, "-o", path, "--title", "Both", "--license", "mit", "--redact") == 0
    after = Patch.load(path)
    assert (after.title, after.about["license"]) == ("Both", "mit")
    assert b"Oslo" not in path.read_bytes()


def test_the_licence_of_a_base_is_read_from_its_card(tmp_path: Path):
    card = tmp_path / "README.md"
    assert license_of(tmp_path) is None
    for text, found in {
        "---\nlicense: mit\n---\n# A model": "mit",
        "---\nlicense: other\nlicense_name: own\n---\n": "own",
        "---\nlicense: [mit, apache-2.0]\n---\n": "mit, apache-2.0",
        "---\ntags: [a]\n---\n": None,
        "# no front matter": None,
        "---\nlicense: [\n---\n": None,
    }.items():
        card.write_text(text)
        assert license_of(tmp_path) == found, text
    card.write_bytes(b"---\nlicense: \xff\n---\n")
    assert license_of(tmp_path) is None
