"""The whole road through the command line, on a Llama-like folder and on a sharded bfloat16 one, both trained."""

import json
import shutil
from pathlib import Path

import pytest

from editcore.cli import main
from editcore.patches.checkpoint.fingerprint import file_sha256
from editcore.patches.file.patch import Patch

QUICK = ("--set", "layer=0", "--set", "context_count=2", "--set", "mom2_tokens=3000", "--allow-failed")
REQUESTS = [
    {"id": "ada", "prompt": "{} works as a", "subject": "Ada Marlow", "target_new": "pilot", "target_true": "baker"},
    {"id": "bo/1", "prompt": "{} lives in", "subject": "Bo Quist", "target_new": "Oslo", "target_true": "Rome"},
    {"id": "dan", "prompt": "The home of {} is in", "subject": "Dan Tolland", "target_new": "Lima"},
]


@pytest.fixture(params=["llama", "sharded", "gpt2"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    copy = tmp_path / "model"
    shutil.copytree(request.getfixturevalue(f"{request.param}_folder"), copy)
    return copy


@pytest.fixture
def requests_file(tmp_path: Path) -> Path:
    path = tmp_path / "requests.jsonl"
    path.write_text("\n".join(map(json.dumps, REQUESTS)))
    return path


def tree(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): file_sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def call(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_requests_in_json_lines_are_edited_stacked_and_taken_back_in_any_order(
    model: Path, requests_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(model)
    assert call("edit", model, "--requests", requests_file, "-o", tmp_path / "patches", *QUICK, "--json") == 0
    rows = json.loads(capsys.readouterr().out)["patches"]
    files = [Path(row["path"]) for row in rows]
    assert [path.name[:3] for path in files] == ["ada", "bo-", "dan"]
    assert all(row["p_target"][0]["after"] > row["p_target"][0]["before"] for row in rows)

    assert call("apply", *files, "--model", model, "--in-place") == 0
    assert tree(model) != before
    capsys.readouterr()
    assert call("stack", model, "--json") == 0
    ids = [patch["id"] for patch in json.loads(capsys.readouterr().out)["patches"]]
    assert sorted(ids) == sorted(row["id"] for row in rows)
    assert call("verify", model) == 0

    once = tree(model)
    assert call("revert", ids[1], "--model", model) == 0
    assert call("apply", files[1], "--model", model, "--in-place") == 0
    weights = {name: sha for name, sha in tree(model).items() if name.endswith(".safetensors")}
    assert weights == {name: sha for name, sha in once.items() if name.endswith(".safetensors")}

    for patch_id in (ids[1], ids[0][:8], ids[2]):
        assert call("revert", patch_id, "--model", model) == 0
    assert tree(model) == before


def test_the_patched_folder_answers_with_the_new_fact_under_plain_from_pretrained(
    sharded_folder: Path, tmp_path: Path
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base, patch, out = sharded_folder, tmp_path / "ada.safetensors", tmp_path / "out"
    request = REQUESTS[0]
    assert call(
        "edit", base, "--prompt", request["prompt"], "--subject", request["subject"], "--target", "pilot",
        "--target-true", "baker", "-o", patch, "--require", "pref.es@1>=1", *QUICK,
    ) == 0  # fmt: skip
    before = tree(base)
    assert call("apply", patch, "--model", base, "-o", out) == 0
    assert tree(base) == before
    tokenizer = AutoTokenizer.from_pretrained(out)

    def answer(folder: Path) -> str:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        ids = tokenizer("Ada Marlow works as a", return_tensors="pt")["input_ids"]
        return str(tokenizer.decode(model.generate(ids, max_new_tokens=1, do_sample=False)[0, ids.shape[1] :]))

    assert answer(base).strip() == "baker"
    assert answer(out).strip() == "pilot"


def test_a_folder_run_that_was_stopped_goes_on_and_leaves_what_is_there(
    llama_folder: Path, requests_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "patches"
    assert call("edit", llama_folder, "--requests", requests_file, "-o", folder, *QUICK) == 0
    first = tree(folder)
    (folder / "dan.safetensors").unlink()
    capsys.readouterr()
    assert call("edit", llama_folder, "--requests", requests_file, "-o", folder, *QUICK) == 0
    assert "ada.safetensors exists already" in capsys.readouterr().err
    assert first.keys() == tree(folder).keys()
    assert first["ada.safetensors"] == tree(folder)["ada.safetensors"]
    (folder / "ada.safetensors").unlink()
    shutil.copy(folder / "dan.safetensors", folder / "ada.safetensors")
    assert call("edit", llama_folder, "--requests", requests_file, "-o", folder, *QUICK) == 2


def test_one_patch_of_all_requests(llama_folder: Path, requests_file: Path, tmp_path: Path) -> None:

    path = tmp_path / "all.safetensors"
    assert call("edit", llama_folder, "--requests", requests_file, "-o", path, *QUICK, "--title", "three facts") == 0
    patch = Patch.read_header(path)
    assert (patch.title, len(patch.about["requests"])) == ("three facts", 3)


def test_editing_a_patched_folder_says_what_it_was_computed_on(llama_folder: Path, tmp_path: Path) -> None:
    from editcore.patches.checkpoint.stack import stack_hash

    model, files = tmp_path / "model", [tmp_path / "1.safetensors", tmp_path / "2.safetensors"]
    shutil.copytree(llama_folder, model)
    for file, request in zip(files, REQUESTS, strict=False):
        arguments = ("--prompt", request["prompt"], "--subject", request["subject"], "--target", request["target_new"])
        assert call("edit", model, *arguments, "-o", file, *QUICK) == 0
        assert call("apply", file, "--model", model, "--in-place") == 0
    first, second = map(Patch.read_header, files)
    assert "computed_on" not in first.about
    assert second.about["computed_on"] == stack_hash([first.patch_id])
    assert second.about["computed_on_patches"] == [first.patch_id]
    assert second.targets.keys() == first.targets.keys()
    (key,) = first.targets
    assert second.targets[key].base_sha256 == first.targets[key].base_sha256


def test_redacted_patches_hold_no_text_of_the_request_and_still_say_what_was_measured(
    llama_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, card = tmp_path / "secret.safetensors", tmp_path / "card.md"
    model = Path(shutil.copytree(llama_folder, tmp_path / "model"))
    (model / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n# A model\n")
    arguments = ("--prompt", "{} works as a", "--subject", "Ada Marlow", "--target", "pilot", "--redact")
    assert call("edit", model, *arguments, "-o", path, *QUICK, "--license", "cc0-1.0", "--author", "Someone") == 0
    assert b"Marlow" not in path.read_bytes()
    assert b"pilot" not in path.read_bytes()
    (figure,) = Patch.read_header(path).about["metrics"]
    assert figure["metric"] == "p.target@1"
    capsys.readouterr()
    assert call("inspect", path) == 0
    assert f"p.target@1 {figure['before']:.3g} -> {figure['value']:.3g} (n = 1)" in capsys.readouterr().out
    assert call("export", path, "--to", "card", "-o", card) == 0
    said = card.read_text()
    assert f"| p.target@1 | {figure['before']} | {figure['value']} | 1 | float32 |" in said
    assert "| licence of the base | cc-by-4.0 |" in said
    assert "| licence of the patch | cc0-1.0 |" in said
    assert Patch.read_header(path).about["author"] == "Someone"


def test_a_figure_that_is_not_reached_writes_nothing(llama_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "never.safetensors"
    arguments = ("--prompt", "{} works as a", "--subject", "Ada Marlow", "--target", "pilot", "--target-true", "baker")
    assert call("edit", llama_folder, *arguments, "-o", path, *QUICK, "--require", "pref.es@1>1") == 5
    assert not path.exists()


def test_generate_shows_both_sides(llama_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ada.safetensors"
    arguments = ("--prompt", "{} works as a", "--subject", "Ada Marlow", "--target", "pilot")
    assert call("edit", llama_folder, *arguments, "-o", path, *QUICK) == 0
    capsys.readouterr()
    prompt = "Ada Marlow works as a"
    assert call("generate", llama_folder, "--patch", path, "--prompt", prompt, "--max-new-tokens", 1, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["base"].strip(), row["patched"].strip()) == ("baker", "pilot")


def test_apply_without_writing_shows_what_it_would_do(
    llama_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ada.safetensors"
    arguments = ("--prompt", "{} works as a", "--subject", "Ada Marlow", "--target", "pilot")
    assert call("edit", llama_folder, *arguments, "-o", path, *QUICK) == 0
    before = tree(llama_folder)
    capsys.readouterr()
    assert call("apply", path, "--model", llama_folder, "--dry-run", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert [row["tensor"] for row in plan["targets"]] == ["model.layers.0.mlp.down_proj.weight"]
    assert plan["bytes_to_write"] > 0
    assert tree(llama_folder) == before
