"""`generate` asks as `edit` writes: in the chat template, with a system text, the same ids."""

import json
from pathlib import Path

import pytest

import editcore as library
from editcore.cli.requests import read_requests
from editcore.models.running.generation import generate
from editcore.testing.tiny import tiny_model
from editcore_hooks import UsageError

CHAT = (
    "{{ bos_token }}{% for message in messages %}[{{ message.role }}] {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)
FACT = {"prompt": "{} works as a", "subject": "Ada", "target": "pilot", "target_true": None, "requests": None}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tiny_model("llama", tmp_path / "model")
    (folder / "chat_template.jinja").write_text(CHAT)
    return folder


def test_a_prompt_is_asked_in_the_chat_template(command, folder: Path) -> None:
    prompt, rendered = "Who is Ada?", "<s>[system] Be brief.\n[user] Who is Ada?\n[assistant] "
    asked = ("generate", str(folder), "--prompt", prompt, "--max-new-tokens", "4")
    done = command(*asked, "--chat", "--system", "Be brief.", "--json")
    assert done.returncode == 0, done.stderr
    session = library.open(folder)
    ids = session.tokenizer(rendered, add_special_tokens=False)["input_ids"]
    (wanted,) = generate(session.model, session.tokenizer, [ids], 4)
    assert json.loads(done.stdout) == [{"prompt": prompt, "base": wanted}]
    assert json.loads(command(*asked, "--json").stdout) != [{"prompt": prompt, "base": wanted}]


def test_a_model_without_a_chat_template_says_so(command, folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    done = command("generate", str(folder), "--prompt", "Hello", "--chat")
    assert done.returncode == 2
    assert "has no chat template" in done.stderr


def test_a_request_by_options_takes_the_rule_that_joins_prompt_and_target() -> None:
    plain = {"chat": False, "system": None}
    (case,) = read_requests(**FACT, **plain, target_prefix="none")
    assert case.request.target_prefix == "none"
    with pytest.raises(UsageError, match="excludes these options"):
        read_requests(**{**dict.fromkeys(FACT), "requests": "facts.jsonl"}, **plain, target_prefix="blank")
