"""The card of a patch that somebody else described: its texts are shown, and none becomes markup."""

import pytest
import torch
from markdown_it import MarkdownIt

from editcore.patches.exchange.card import card
from editcore.patches.file.sealing import Target, seal
from editcore.patches.forms.deltas import StoredUpdate
from editcore.text.yaml_text import parse

HOSTILE = [
    "![x](https://evil.example/pixel.png)",
    "[x](javascript:alert(1))",
    "a \\| b | c",
    "a \\\\| b",
    "<img src=x onerror=alert(1)> &lt;b&gt;",
    "`code` and ```",
    "https://evil.example www.evil.example",
    "# title\n\n## Requests\n\n| a | b |",
    "x [y][z] \\[q](r)",
]


def described(text: str) -> str:
    target = Target(StoredUpdate("dense", {"delta": torch.ones(2, 3)}), "F32", (2, 3), "0" * 64)
    request = {"prompt": text, "subject": "Ada", "target_new": text, "target_true": "was"}
    metric = {"metric": text, "value": 1.0, "before": 0.5, "n": 1, "dtype": "float32"}
    about = {"title": text, "license": text, "method": {"name": text, "paper": text}, "requests": [request],
             "metrics": [metric], "hparams": {text: [text]}, "created": text}  # fmt: skip
    return card(seal({"w": target}, {"name": f"a/{text}"}, about), "0" * 64, "p.safetensors")


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_markup(text: str) -> None:
    _, _, body = described(text).split("---\n", 2)
    tokens = MarkdownIt("gfm-like", {"linkify": False}).enable("table").parse(body)
    inner = [child for token in tokens for child in token.children or ()]
    assert not {child.type for child in inner} & {"image", "link_open", "html_inline"}
    assert not {token.type for token in tokens} & {"html_block"}
    assert [t.tag for t in tokens if t.type == "heading_open"] == ["h1", "h2", "h2", "h2", "h2", "h2"]
    code = [child.content for child in inner if child.type == "code_inline"]
    assert code == ["0" * 64, "w"]
    shown = "".join(child.content for child in inner if child.type == "text")
    assert " ".join(text.split()) in shown


def test_a_row_of_the_table_has_the_cells_that_it_has() -> None:
    _, _, body = described("a \\| b | c \\\\|").split("---\n", 2)
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    requests = next(i for i, token in enumerate(tokens) if token.content == "Requests")
    rows = [token.type for token in tokens[requests:]]
    first = rows.index("tbody_open")
    assert rows[first : rows.index("tr_close", first)].count("td_open") == 3


def test_bare_addresses_are_no_links_to_readers_that_make_them() -> None:
    body = described("see https://evil.example/x or WWW.evil.example")
    assert "https://" not in body.split("```json")[0].split("---\n", 2)[2]
    assert "WWW.evil" not in body.split("```json")[0].split("---\n", 2)[2]


def test_the_front_matter_gives_the_licence_back() -> None:
    front = described("mine 😀 é").split("---\n")[1]
    assert parse(front, "it")["license"] == "mine 😀 é"
    assert "\\ud83d" not in front
