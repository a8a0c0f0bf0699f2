"""Bad arguments of `edit` are refused before torch is imported, with what to give instead."""

import errno
import json
from pathlib import Path

import pytest
from attrs import frozen

from editcore.cli.early import require_needs
from editcore.cli.places import patch_output, require_cache
from editcore.evaluation.reports.requirements import parse_requirement
from editcore.plugins.registry import Registry
from editcore_hooks import Case, EditMethod, EditRequest, Locator, UsageError, hookimpl, hparam

METHOD = """
    from attrs import frozen
    from editcore_hooks import EditMethod, hookimpl, hparam


    @frozen
    class Where:
        layer: int = hparam(0, help="one")


    class Toy(EditMethod):
        name = "toy"
        Hparams = Where

        def locate(self, session, requests, state): ...

        def compute_update(self, session, requests, location, state): ...


    @hookimpl
    def editcore_register_methods():
        return [Toy]
"""
WORDS = ("--prompt", "{} works as a", "--subject", "Ada Marlow", "--target", "pilot")
PROGRAM = """
import sys
from editcore.cli import main
code = main()
print("torch" in sys.modules, "transformers" in sys.modules, file=sys.stderr)
sys.exit(code)
"""


@frozen
class Where:
    layer: int | None = hparam(None, help="one")
    layers: tuple[int, ...] = hparam((), help="several")


class Toy(EditMethod):
    name = "toy"
    Hparams = Where

    def locate(self, session, requests, state): ...

    def compute_update(self, session, requests, location, state): ...


class Place(Locator):
    name = "place"
    Hparams = Where

    def locate(self, session, requests, state): ...


class Plugin:
    @hookimpl
    def editcore_register_methods(self):
        return [Toy]

    @hookimpl
    def editcore_register_locators(self):
        return [Place]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that has what is read before a model is opened, and no more."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "num_hidden_layers": 4}))
    (folder / "model.safetensors").write_bytes(b"")
    return folder


@pytest.fixture
def refused(command, model: Path, tmp_path: Path, monkeypatch):
    """Run `edit` with a toy method; it must be refused before the model is opened. Returns the line of the error."""
    known = Registry.of(Plugin())
    monkeypatch.setattr("editcore.plugins.registry.registry", lambda: known)
    monkeypatch.setattr("editcore.cli.edit.open_session", lambda *_, **__: pytest.fail("the model was opened"))

    def run(*more: str, source: str = str(model), words=WORDS, output: str = str(tmp_path / "a.safetensors")) -> str:
        before = sorted(tmp_path.rglob("*"))
        done = command("edit", source, "--method", "toy", *words, "-o", output, *more)
        assert done.returncode == 2, done.stderr
        assert sorted(tmp_path.rglob("*")) == before
        error, hint = done.stderr.splitlines()
        assert (error.split()[0], hint.split()[0]) == ("error:", "hint:")
        return done.stderr

    return run


def test_nothing_heavy_is_imported_for_a_refusal(editcore, site, model):
    site.put("toy", METHOD)
    command = ("edit", str(model), "--method", "toy", *WORDS, "-o", "a.safetensors", "--set", "layer=99")
    done = editcore(*command, program=("-c", PROGRAM))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "False False"
    assert f"toy: {model} has no layer 99" in done.stderr


def test_a_layer_that_is_not_there(refused, tmp_path):
    (tmp_path / "model" / "some.yaml").write_text("layers: [1, 7]")
    for more in (("--set", "layer=99"), ("--set", "layers=1,99"), ("--locate", "place:layer=99")):
        assert "has no layer 99\nhint: choose a layer from 0 to 3, such as --set layer" in refused(*more)
    assert "toy: " in refused("--hparams", str(tmp_path / "model" / "some.yaml"))


def test_a_setting_that_a_locator_has_not(refused):
    said = refused("--locate", "place:x=1")
    assert said == "error: the locator place: there is no hyper-parameter 'x'\nhint: editcore locators place\n"


def test_the_layers_inside_a_text_config_count(refused, tmp_path):
    nested = {"model_type": "gemma3", "text_config": {"num_hidden_layers": 6}, "vision_config": {"num_layers": 99}}
    (tmp_path / "model" / "config.json").write_text(json.dumps(nested))
    assert "choose a layer from 0 to 5" in refused("--set", "layer=6")


def test_the_layers_of_a_hub_model_whose_configuration_is_in_the_cache(refused, tmp_path, monkeypatch):
    cache = tmp_path / "model" / "hub" / "models--some--model"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text("abc")
    (cache / "snapshots" / "abc").mkdir(parents=True)
    (cache / "snapshots" / "abc" / "config.json").write_text(json.dumps({"n_layer": 3}))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache.parent))
    assert "some/model has no layer 3" in refused("--set", "layer=3", source="some/model")


@pytest.mark.parametrize("missing", ["--prompt", "--subject", "--target"])
def test_a_part_of_the_request_that_is_missing(refused, missing):
    at = WORDS.index(missing)
    assert f"{missing} is missing" in refused(words=(*WORDS[:at], *WORDS[at + 2 :]))


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("fact.patch", "-o fact.safetensors for one patch of all requests, -o fact.patch/ for one patch a request"),
        ("fact.gguf", "-o fact.safetensors; after `editcore apply`, convert the patched folder"),
        ("model", "is a folder"),
        ("taken/fact.safetensors", "taken is a file"),
    ],
)
def test_an_output_that_cannot_be_meant(refused, tmp_path, monkeypatch, output, said):
    (tmp_path / "taken").write_text("")
    monkeypatch.chdir(tmp_path)
    if output == "model":
        (tmp_path / "model" / "a.safetensors").mkdir()
        output = "model/a.safetensors"
    assert said in refused(output=output)


def test_a_folder_that_is_read_only(tmp_path, monkeypatch):
    takes_no_file(monkeypatch, errno.EACCES)
    with pytest.raises(UsageError, match=f"chmod u\\+w {tmp_path}"):
        patch_output(str(tmp_path / "fact.safetensors"))


def takes_no_file(monkeypatch, fault: int) -> None:
    """No folder takes a file, as one of another user does, or one of `/proc` even of root."""

    def fail(**_):
        raise OSError(fault, "as /proc says")

    monkeypatch.setattr("editcore.cli.places.NamedTemporaryFile", fail)


def test_a_folder_that_takes_no_file_is_tried_before_the_model_is_opened(refused, tmp_path, monkeypatch):
    takes_no_file(monkeypatch, errno.ENOENT)
    said = f"no file can be made in {tmp_path}, so {tmp_path}/a.safetensors cannot be written: No such file"
    assert said in refused()


def test_a_cache_that_takes_no_file_is_tried_too(refused, tmp_path, monkeypatch):
    (tmp_path / "none").write_text("")
    monkeypatch.setenv("EDITCORE_CACHE", str(tmp_path / "none" / "cache"))
    said = refused()
    assert f"cannot write the cache folder {tmp_path}/none/cache: Not a directory" in said
    assert "hint: set EDITCORE_CACHE to a folder that can be written" in said


def test_a_cache_that_is_full_and_read_only_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("EDITCORE_CACHE", str(tmp_path))
    takes_no_file(monkeypatch, errno.EROFS)
    with pytest.raises(UsageError, match="Read-only file system"):
        require_cache()
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "a.safetensors").write_text("")
    require_cache()


@pytest.mark.parametrize("blank", [" ", "  ", "\t", "\N{NO-BREAK SPACE}"])
def test_a_target_that_ends_with_a_blank(refused, tmp_path, blank):
    words = (*WORDS[:-1], f"pilot{blank}")
    hint = " ends with a blank\nhint: write it without: 'pilot'"
    assert f"{hint}\n" in refused(words=words)
    rows = [{"prompt": "{} is a", "subject": "Ada", "target_new": target} for target in ("pilot", f"pilot{blank}")]
    (tmp_path / "model" / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    said = refused(words=("--requests", str(tmp_path / "model" / "rows.jsonl")))
    assert f"of the request '2'{hint}" in said


def test_a_method_that_is_not_there_is_told_before_the_model_is_opened(command, model, monkeypatch):
    monkeypatch.setattr("editcore.cli.tune.open_session", lambda *_, **__: pytest.fail("the model was opened"))
    done = command("tune", str(model), "--method", "no-such-method")
    assert done.returncode == 4
    assert "there is no method 'no-such-method'" in done.stderr


def test_names_with_blanks_are_quoted_in_hints(refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "hint: pass -o 'my fact.safetensors'" in refused(output="my fact.gguf")


def test_a_folder_with_a_dot_in_its_name_is_taken_where_it_is_there(tmp_path):
    (tmp_path / "v1.0").mkdir()
    for name in (tmp_path / "v1.0", f"{tmp_path}/v2.0/", tmp_path / "plain"):
        assert patch_output(str(name), folders=True) == Path(name)


def test_a_gguf_file_in_the_place_of_a_model_says_how_to_convert_it(refused, tmp_path):
    file = tmp_path / "model" / "tiny.Q4.gguf"
    file.write_bytes(b"GGUF")
    convert = f"convert it: editcore import {file} -o tiny.Q4"
    assert convert in refused(source=str(file))
    (tmp_path / "model" / "config.json").unlink()
    assert convert in refused()


def test_a_setting_that_is_not_there_and_a_dtype(refused):
    assert "there is no hyper-parameter 'leyer'\nhint: did you mean 'layer'?" in refused("--set", "leyer=1")
    assert "--dtype float99 is unknown\nhint: choose one of float64" in refused("--dtype", "float99")


@pytest.mark.parametrize(
    ("file", "output", "code", "said"),
    [
        ("none.gguf", "new", 2, "there is no file"),
        ("b.gguf", "new", 6, "is not a GGUF file"),
        ("a.gguf", "model", 2, "exists and is not empty"),
        ("a.gguf", "new.safetensors", 2, "the output is a folder"),
        ("a.gguf", "no/where/new", 2, "mkdir -p "),
    ],
)
def test_import_refuses_what_it_cannot_read_or_write(command, model, tmp_path, file, output, code, said):
    pytest.importorskip("gguf")
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    (tmp_path / "b.gguf").write_bytes(b"no")
    done = command("import", str(tmp_path / file), "-o", str(tmp_path / output))
    assert done.returncode == code, done.stderr
    assert said in done.stderr


def test_what_a_requirement_needs_is_looked_for_in_the_requests_first() -> None:
    asked = [parse_requirement("pref.es@1>0.9")]
    without = Case(EditRequest("{} works as a", "Ada Marlow", "pilot"))
    with pytest.raises(UsageError, match=r"--require pref.es@1 needs .*, and no request has it"):
        require_needs(asked, [without])
    require_needs(asked, [without, Case(EditRequest("{} works as a", "Bo Quist", "pilot", "baker"))])


def test_a_chat_without_a_template_and_a_profile_that_no_model_has(refused, model):
    assert "no model has a profile 'nope' of toy\nhint: editcore tune " in refused("--profile", "nope")
    (model / "tokenizer_config.json").write_text("{}")
    assert f"{model} has no chat template" in refused("--chat")
    (model / "chat_template.jinja").write_text("x")
    assert "no model has a profile" in refused("--chat", "--profile", "nope")


@pytest.mark.parametrize("words", [("tune",), ("blame",), ("eval",), ("diff", "{}")])
def test_cases_that_ask_for_a_chat_are_refused_before_the_model_is_opened(command, model, tmp_path, words):
    (model / "tokenizer_config.json").write_text("{}")
    case = {"prompt": "{} works as a", "subject": "Ada Marlow", "target_new": "pilot", "template": {"chat": True}}
    (tmp_path / "cases.jsonl").write_text(json.dumps(case))
    done = command(*(word.format(model) for word in words), str(model), "--cases", str(tmp_path / "cases.jsonl"))
    assert (done.returncode, f"{model} has no chat template" in done.stderr) == (2, True), done.stderr
