"""Files of EasyEdit become settings and figures, and every term of theirs has its row on the page."""

import json
from pathlib import Path

import pytest

from editcore.cli import main
from editcore_bench.easyedit.results import read_results, reports
from editcore_bench.easyedit.settings import convert_settings
from editcore_bench.easyedit.terms import LEFT, METHODS, SAME, SETTINGS
from editcore_hooks import RefusedFileError, UsageError

PAGE = (Path(__file__).parents[3] / "docs/easyedit.md").read_text("utf-8")
ROME = """
alg_name: "ROME"
model_name: "./hugging_cache/gpt2-xl"
device: 0
layers: [17]
fact_token: "subject_last"
v_num_grad_steps: 20
v_lr: 5e-1
v_loss_layer: 47
v_weight_decay: 0.5
clamp_norm_factor: 4
kl_factor: 0.0625
mom2_adjustment: false
rewrite_module_tmp: "transformer.h.{}.mlp.c_proj"
"""
RESULT = {
    "pre": {"rewrite_acc": [0.0]},
    "case_id": 0,
    "requested_rewrite": {"prompt": "Ada works as a", "target_new": "pilot", "subject": "Ada"},
    "post": {
        "rewrite_acc": [1.0],
        "rephrase_acc": [0.5, 1.0],
        "locality": {"neighborhood_acc": [1.0, 0.0], "neighborhood_output": [[1, 2]]},
        "portability": {"Reasoning_acc": [0.25]},
    },
}


def written(tmp_path: Path, text: str, name: str = "file.yaml") -> Path:
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_settings_keep_their_values_and_name_what_is_left(tmp_path: Path) -> None:
    made = convert_settings(written(tmp_path, ROME.replace("5e-1", "0.5")))
    assert made.method == "rome"
    assert made.settings == {
        "layer": 17, "v_steps": 20, "v_lr": 0.5, "v_weight_decay": 0.5, "clamp": 4, "kl": 0.0625, "v_stop": "loss",
        "key_mode": "rome", "spare_prompt": False, "spare_alike": 0,
    }  # fmt: skip
    assert {"model_name", "device", "fact_token", "v_loss_layer", "rewrite_module_tmp"} <= made.left.keys()


@pytest.mark.parametrize(
    ("objective", "method", "radius"), [("prompt_last", "ft-l", 5e-4), ("target_new", "ft-m", None)]
)
def test_ft_is_told_by_its_objective(objective: str, method: str, radius: float | None, tmp_path: Path) -> None:
    text = f"alg_name: FT\nlayers: [0]\nnum_steps: 25\nlr: 0.0005\nobjective_optimization: {objective}\n"
    made = convert_settings(written(tmp_path, f"{text}norm_constraint: {radius or 'false'}\n"))
    assert (made.method, made.settings.get("linf_radius")) == (method, radius)


def test_what_is_no_method_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no method for alg_name 'SERACC'"):
        convert_settings(written(tmp_path, "alg_name: SERACC\n"))
    with pytest.raises(UsageError, match="no alg_name"):
        convert_settings(written(tmp_path, "layers: [1]\n"))


def test_results_become_rows_and_means(tmp_path: Path) -> None:
    rows = read_results(written(tmp_path, json.dumps([RESULT, {**RESULT, "case_id": 1}]), "results.json"))
    found = {report.metric: (report.value, report.n) for report in reports(rows)}
    assert found == {
        "tf.token@1": (1.0, 2),
        "tf.token.rephrase@1": (0.75, 2),
        "easyedit.locality.neighborhood": (0.5, 2),
        "easyedit.portability.reasoning": (0.25, 2),
    }


NUMBERLESS = json.dumps([{**RESULT, "post": {"rewrite_acc": ["x"]}}])


@pytest.mark.parametrize("text", ["{", "{}", "[]", "[1]", '[{"post": {}}]', NUMBERLESS])
def test_what_is_no_result_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedFileError):
        read_results(written(tmp_path, text, "results.json"))


def test_the_commands_print_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["easyedit", "settings", str(written(tmp_path, ROME.replace("5e-1", "0.5")))]) == 0
    printed = capsys.readouterr()
    assert "layer: 17\n" in printed.out
    assert "model_name: left out, pass the model" in printed.err
    results = written(tmp_path, json.dumps([RESULT]), "results.json")
    assert main(["easyedit", "results", str(results), "--rows", str(tmp_path / "rows.jsonl")]) == 0
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 4


def test_the_page_has_every_term() -> None:
    for term in (*METHODS, *SETTINGS, *LEFT, *SAME):
        assert f"`{term}`" in PAGE, f"docs/easyedit.md does not name {term}"
