"""The model card of a patch: what a person who finds the file needs to know, out of what the patch says of itself."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from editcore.assets.file import Manifest
from editcore.patches.file.kinds import as_patch, owner_of
from editcore.patches.file.patch import Described
from editcore.text.ids import short
from editcore.text.visible import json_escaped, one_line, plain_line
from editcore_hooks import CardLines, PatchKind

_SPECIAL: Final = re.compile(r"[\\`\[\]!|]|(?<=:)//|(?<=www)\.", re.IGNORECASE)
"""Characters that begin a cell, a link, an image or code; some readers also turn bare addresses into links."""

_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
"""Names of distributions; a card prints no other text into a command."""


def card(patch: Described, patch_id: str, file_name: str) -> str:
    """A README.md with the front matter of model hubs. Requests are in it when they are in the patch."""
    return "\n".join([*_front_matter(patch), "", *_body(patch, patch_id, file_name)]) + "\n"


def trained_card(manifest: Manifest, file_name: str) -> str:
    """A README.md for a trained editor: method, base, and the figures of its training."""
    one, about = manifest.identity, manifest.about
    method = one.parameters.get("method")
    kept: Any = about.get("kept")
    kept = kept if isinstance(kept, dict) else {}
    rows = [
        ("method", method),
        ("distribution", one.owner),
        ("weights root of the base", one.base_root),
        ("sha256", manifest.sha256),
        ("hash of the training cases", one.parameters.get("data_sha256")),
        ("cases", about.get("cases")),
        ("step", kept.get("step")),
        (kept.get("figure") or "figure", kept.get("value")),
    ]
    tags = ["knowledge-editing", "editcore", *([method] if isinstance(method, str) else [])]
    lines = ["---", "library_name: editcore", f"tags: [{', '.join(map(_yaml, tags))}]", "---", ""]
    lines += [f"# Trained editor {short(manifest.sha256)}", ""]
    lines += ["It edits the one base of this weights root, and is refused on any other.", ""]
    lines += _table(("", ""), [(name, value) for name, value in rows if value is not None])
    lines += ["", f"    editcore edit MODEL --method {_text(method or 'METHOD')} --set editor={file_name} ..."]
    return "\n".join(lines) + "\n"


def _front_matter(patch: Described) -> Iterator[str]:
    base, method = patch.annotation("base"), patch.annotation("method").get("name")
    yield "---"
    yield "library_name: editcore"
    if isinstance(base.get("name"), str) and "/" in base["name"]:
        yield f"base_model: {_yaml(base['name'])}"
    if isinstance(patch.about.get("license"), str):
        yield f"license: {_yaml(patch.about['license'])}"
    tags = ["knowledge-editing", "editcore"] + ([method] if isinstance(method, str) else [])
    yield f"tags: [{', '.join(map(_yaml, tags))}]"
    yield "---"


def _body(patch: Described, patch_id: str, file_name: str) -> Iterator[str]:
    base, method = patch.annotation("base"), patch.annotation("method")
    yield f"# {_text(patch.title or f'Patch {short(patch_id)}')}"
    yield ""
    lines = _lines(patch, patch_id, file_name)
    yield lines.what
    yield ""
    rows = [
        ("patch", _Markdown(f"`{patch_id}`")),
        ("base", _joined(base.get("name"), base.get("revision"), base.get("architecture"))),
        ("weights root of the base", base.get("weights_root")),
        ("licence of the patch", patch.about.get("license") or "not stated"),
        ("licence of the base", base.get("license") or "not stated"),
        ("method", _joined(method.get("name"), method.get("distribution"), method.get("version"), method.get("paper"))),
        ("created", patch.about.get("created")),
        ("tensors", _Markdown(", ".join(f"`{key}` ({target.form.name})" for key, target in patch.targets.items()))),
        ("requires", _Markdown(", ".join(f"`{required}`" for required in patch.requires))),
    ]
    yield from _table(("", ""), [(name, value) for name, value in rows if value])
    requests = [request for request in patch.objects("requests") if "prompt" in request]
    if requests:
        yield from ("", "## Requests", "")
        asked = [(_prompt(request), request.get("target_new"), request.get("target_true")) for request in requests]
        yield from _table(("prompt", "new", "before"), asked)
    metrics = [m for m in patch.objects("metrics") if isinstance(m.get("value"), int | float)]
    if metrics:
        yield from ("", "## Measured", "")
        names = ("metric", "before", "value", "n", "dtype")
        yield from _table(names, [(m.get("metric", m.get("id")), *(m.get(n) for n in names[1:])) for m in metrics])
    hparams = patch.annotation("hparams")
    if hparams:
        settings = json_escaped(json.dumps(hparams, indent=2, ensure_ascii=False))
        yield from ("", "## Settings", "", "```json", settings, "```")
    yield from ("", "## How to apply it", "", "```")
    yield _installation(patch)
    yield from lines.usage
    yield from ("```", "", "## Limits", "")
    yield "An edit changes what its requests ask for; what follows from it may stay as it was, and others may move."
    holder = "The weights hold" if patch.kind == "weights" else "The texts and vectors of this patch hold"
    yield f"{holder} what was asked for, also where the requests were taken out of the file."


def _installation(patch: Described) -> str:
    """The command that installs what uses the patch: editcore, and the distribution that knows its kind."""
    needed = "pip install editcore"
    owner = owner_of(patch.core, patch.about)
    distribution = patch.annotation("method").get("distribution")
    if patch.kind == "weights" or (owner is not None and type(owner).__module__.partition(".")[0] == "editcore"):
        return needed
    return f"{needed} {distribution}" if isinstance(distribution, str) and _NAME.fullmatch(distribution) else needed


def _lines(patch: Described, patch_id: str, file_name: str) -> CardLines:
    """The card's lines on what the patch is and how to use it, from the owner of its kind."""
    if patch.kind != "weights":
        return (owner_of(patch.core, patch.about) or PatchKind()).card(as_patch(patch), file_name)
    return CardLines(
        "A change to the weights of a language model, as a patch that can be stacked and taken back bit for bit.",
        (
            f"editcore apply {file_name} --model BASE -o PATCHED   # loads with plain from_pretrained",
            f"editcore revert {short(patch_id)} --model PATCHED        # the bits of the base again",
        ),
    )


def _prompt(request: Mapping[str, Any]) -> str:
    return str(request["prompt"]).replace("{}", str(request.get("subject")))


def _table(names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for row in rows:
        yield f"| {' | '.join('' if cell is None else _text(cell) for cell in row)} |"


def _joined(*values: Any) -> str:
    return " ".join(str(value) for value in values if value)


def _text(value: Any) -> str:
    """One line that is shown as it is: no cell, tag, link, image or code begins or ends in it."""
    if isinstance(value, _Markdown):
        return value
    line = _SPECIAL.sub(r"\\\g<0>", one_line(str(value)))
    return line.replace("&", "&amp;").replace("<", "&lt;")


def _yaml(text: str) -> str:
    """A text of the front matter. JSON is YAML, but for halves of characters, which it would write as two escapes."""
    return json.dumps(plain_line(text), ensure_ascii=False)


class _Markdown(str):
    """Markup of this module around names that the reader of patches has checked."""
