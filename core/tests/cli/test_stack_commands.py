"""`stack`, `stack export`, `apply --stack` and `revert --with-dependents`, as people call them."""

import json

import pytest

from editcore.cli import main
from editcore.patches.file.patch import Patch


@pytest.fixture
def two(tiny, fact_patch):
    """A folder with two patches, of which the second requires the first."""
    one = fact_patch(tiny, "one")
    first = Patch.read_header(one).patch_id
    second = fact_patch(tiny, "two", subject="Bo", target="Rome", requires=[first])
    assert main(["apply", str(one), str(second), "--model", str(tiny), "--in-place"]) == 0
    return tiny


def test_stack_shows_the_order_with_method_requests_and_verdict(two, capsys):
    capsys.readouterr()
    assert main(["stack", str(two)]) == 0
    heading, one, second = capsys.readouterr().out.splitlines()
    assert heading.split() == ["#", "id", "title", "method", "requests", "computed", "on", "verdict"]
    assert "one" in one
    assert "Ada lives in … Oslo" in one
    assert "the base" in second
    assert "computed on the base alone" in second
    assert main(["stack", "--json", str(two)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [(row["position"], row["title"], row["method"]) for row in shown["patches"]] == [
        (1, "one", "test"),
        (2, "two", "test"),
    ]
    assert main(["stack", "show", str(two), "-q"]) == 0


def test_a_narrow_terminal_has_no_room_for_the_requests_beside_the_titles(two, capsys, monkeypatch):
    monkeypatch.setattr("editcore.cli.stack._is_narrow", lambda: True)
    capsys.readouterr()
    assert main(["stack", str(two)]) == 0
    said = capsys.readouterr().out
    assert said.split("\n")[0].split() == ["#", "id", "title", "method", "computed", "on", "verdict"]
    assert "Ada lives in" not in said
    assert main(["stack", str(two), "-v"]) == 0
    assert "Ada lives in … Oslo" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["stack"], ["stack", "export"], ["stack", "export", "nowhere"]])
def test_a_call_that_lacks_something_is_a_usage_error(arguments, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_an_exported_stack_is_put_on_a_clean_copy_and_has_the_same_bits(two, tmp_path, capsys):
    file, base, again = tmp_path / "stack.json", tmp_path / "base", tmp_path / "again"
    assert main(["stack", "export", str(two), "-o", str(file)]) == 0
    assert main(["apply", "--stack", str(file), "--model", str(two), "--dry-run"]) == 4
    ids = [row["id"] for row in json.loads(file.read_text())["patches"]]
    weights = (two / "model.safetensors").read_bytes()
    assert main(["revert", *ids, "--model", str(two)]) == 0
    two.rename(base)
    capsys.readouterr()
    assert main(["apply", "--stack", str(file), "--model", str(base), "-o", str(again), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["patches"] == ids
    assert said["other_bits"] == []
    assert said["stack_hash"] == json.loads(file.read_text())["stack_hash"]
    assert (again / "model.safetensors").read_bytes() == weights


def test_a_result_with_other_bits_is_said(two, tmp_path, capsys):
    file = tmp_path / "stack.json"
    assert main(["stack", "export", str(two), "-o", str(file)]) == 0
    document = json.loads(file.read_text())
    (key,) = document["result_sha256"]
    document["result_sha256"][key] = "0" * 64
    file.write_text(json.dumps(document))
    assert main(["revert", *[row["id"] for row in document["patches"]], "--model", str(two)]) == 0
    assert main(["apply", "--stack", str(file), "--model", str(two), "--in-place"]) == 0
    assert f"{key} has other bits" in capsys.readouterr().err


def test_apply_takes_patches_or_a_stack(two, tmp_path, capsys):
    assert main(["apply", "--model", str(two), "--dry-run"]) == 2
    assert "--stack FILE" in capsys.readouterr().err


def test_revert_refuses_what_is_required_and_takes_dependents_along(two, tmp_path, capsys):
    before = (two / "editcore.json").read_bytes()
    first = json.loads(before)["patches"][0]["id"]
    assert main(["revert", first, "--model", str(two)]) == 4
    assert "(two) requires" in capsys.readouterr().err
    assert (two / "editcore.json").read_bytes() == before
    kept = tmp_path / "kept"
    assert main(["revert", first, "--model", str(two), "--with-dependents", "--keep", str(kept), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert len(said["reverted"]) == len(list(kept.iterdir())) == 2
    assert said["patches"] == []


def test_revert_tells_first_what_goes_and_what_stays_fitted_to_it(tiny, fact_patch, capsys):
    one = fact_patch(tiny, "one", about={"requests": [{"id": "1"}, {"id": "2"}]})
    first = Patch.read_header(one).patch_id
    on = {"computed_on_patches": [first], "computed_on": "0" * 64}
    two = fact_patch(tiny, "two", subject="Bo", about=on)
    assert main(["apply", str(one), str(two), "--model", str(tiny), "--in-place"]) == 0
    capsys.readouterr()
    assert main(["revert", first, "--model", str(tiny)]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"{first[:12]}: its 2 edits go together, to the last bit"
    assert "(two) was computed on the model with" in said[1]
    assert len(said) == 2
    assert main(["revert", Patch.read_header(two).patch_id, "--model", str(tiny)]) == 0
    assert ": its edit goes, to the last bit" in capsys.readouterr().err
