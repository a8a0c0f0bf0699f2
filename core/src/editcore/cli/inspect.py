"""`editcore inspect`: what a patch says of itself. Imports no torch."""

import json
import shutil
import sys
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.cli.patch_files import require_file
from editcore.patches.file.kinds import as_patch, owner_of
from editcore.text.ids import short
from editcore.text.shell import quoted
from editcore.text.visible import one_line

if TYPE_CHECKING:
    from editcore.patches.file.patch import PatchHeader

_NOTES: Final = 10
"""Notes of the method that are shown; a patch of a thousand edits has as many."""
_READ: Final = 1 << 26
"""Bytes of a file whose tensors are read: a fraction of a second."""
_WIDTH: Final = 60
"""Characters of one value."""


@click.command()
@click.argument("patch")
@with_output
def inspect(out: Output, patch: str) -> None:
    """Show identity, base, method, layers, settings, requests, figures, notes and targets of PATCH.

    The stored tensors are compared with their hashes; those of a file over 64 MiB are not read.
    """
    from editcore.patches.file.patch import Patch

    header = Patch.read_header(require_file(patch))
    if out.as_json:
        out.json({"patch_id": header.patch_id, "core": dict(header.core), "about": dict(header.about)})
    else:
        show(out, header)
    if header.path.stat().st_size > _READ:
        out.say(f"contents not checked: editcore verify {quoted(patch)}")
        return
    for name in sorted(header.parts):  # last: what a damaged file says of itself is worth seeing
        header.bytes_of(name)


def show(out: Output, header: "PatchHeader") -> None:
    """Print a header for people."""
    for name, value in _lines(header, notes=out.verbose):
        for line in _wrapped(name, one_line(value)):
            out.print(line)
    out.print()
    if header.kind != "weights":
        _show_payload(out, header)
    else:
        out.table(
            ["tensor", "form", "shape", "dtype", "rank", "base sha256"],
            [
                [key, t.form.name, "×".join(map(str, t.shape)), t.base_dtype, str(t.rank or ""), short(t.base_sha256)]
                for key, t in header.targets.items()
            ],
        )
    for notice in header.notices:
        out.warn(notice)


def _wrapped(name: str, value: str) -> list[str]:
    """A line; on a terminal as many as it needs, each under the first. Elsewhere one is easier to search."""
    label = f"{name:<10}"
    if not sys.stdout.isatty():
        return [f"{label}{value}"]
    width = max(shutil.get_terminal_size().columns, 2 * len(label))
    return textwrap.wrap(value, width, initial_indent=label, subsequent_indent=" " * len(label), break_on_hyphens=False)


def _show_payload(out: Output, header: "PatchHeader") -> None:
    """The parts of a payload as the manifest has them."""
    parts = header.core["payload"]["parts"]
    rows = [[name, part["dtype"], "×".join(map(str, part["shape"]))] for name, part in sorted(parts.items())]
    out.table(["part", "dtype", "shape"], rows)


def _lines(header: "PatchHeader", notes: bool) -> list[tuple[str, str]]:
    base, method = header.annotation("base"), header.annotation("method")
    lines = [("id", header.patch_id), ("kind", _kind(header)), ("title", header.title)]
    lines += [("base", " ".join(str(base[name]) for name in ("name", "revision") if base.get(name)))]
    lines += [("method", f"{method.get('name', '')} ({method.get('distribution', '')} {method.get('version', '')})")]
    lines += [("layers", _layers(header)), ("settings", _settings(header))]
    lines += [("values", _values(header.annotation("hparams")))]
    lines += [("transform", _choice(transform)) for transform in header.objects("transforms")]
    for request in header.objects("requests"):
        if "prompt" in request:
            prompt = str(request["prompt"]).replace("{}", str(request.get("subject")))
            lines.append(("request", f"{prompt} … {request.get('target_new')}{_template(request.get('template'))}"))
    for metric in header.objects("metrics"):
        if isinstance(metric.get("value"), int | float):
            before = metric.get("before")
            change = f"{before:.3g} -> " if isinstance(before, int | float) else ""
            name = metric.get("metric", metric.get("id"))  # as the first versions called it
            lines.append(("measured", f"{name} {change}{metric['value']:.3g} (n = {metric.get('n')}){_took(metric)}"))
    lines += _notes([_values(note) for note in header.objects("notes") if note], notes)
    lines += [(str(name), _short(value)) for name, value in _described(header).items()]
    lines += [("requires", required) for required in header.requires]
    lines += [("created", str(header.about.get("created", "")))]
    return [(name, value) for name, value in lines if value.strip()]


def _notes(noted: list[str], shown: bool) -> list[tuple[str, str]]:
    """What the method wrote of its own work, which is for whoever asks for it."""
    if not shown:
        return [("notes", f"{len(noted)} of the method: -v shows them")] if noted else []
    more = len(noted) - _NOTES
    ending = [("note", f"and {more} more: --json shows them all")] if more > 0 else []
    return [*(("note", note) for note in noted[:_NOTES]), *ending]


def _layers(header: "PatchHeader") -> str:
    """The blocks that are changed, by the part of them: `mlp_out 5, 6`."""
    parts: dict[str, list[str]] = {}
    for site in header.annotation("sites").values():
        if isinstance(site, Mapping) and site.get("layer") is not None:
            stack = "" if site.get("stack") in (None, "decoder") else f"{site['stack']} "
            parts.setdefault(f"{stack}{site.get('role')}", []).append(str(site["layer"]))
    return "; ".join(f"{part} {', '.join(sorted(layers, key=_number))}" for part, layers in sorted(parts.items()))


def _number(text: str) -> tuple[int, str]:
    return (int(text), "") if text.isdecimal() else (0, text)


def _template(template: Any) -> str:
    if not isinstance(template, Mapping) or not (template.get("chat") or template.get("system")):
        return ""
    system = f", system text {_short(template['system'])}" if template.get("system") else ""
    return f" (in the chat template{system})"


def _took(metric: Mapping[str, Any]) -> str:
    rows = metric.get("rows")
    took = [row["took"] for row in rows if isinstance(row, Mapping) and "took" in row] if isinstance(rows, list) else []
    return f", {sum(map(bool, took))} of {len(took)} took" if took else ""


def _choice(made: Mapping[str, Any]) -> str:
    """A transform or locator with its settings."""
    hparams = made.get("hparams")
    return f"{made.get('name')} {_values(hparams) if isinstance(hparams, Mapping) else ''}".rstrip()


def _values(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={_short(value)}" for name, value in values.items() if value not in (None, [], ""))


def _short(value: Any) -> str:
    """A value in no more than `_WIDTH` characters; a list that is cut ends with its last whole entry and `…`."""
    if isinstance(value, list) and len(json.dumps(value, ensure_ascii=False)) > _WIDTH:
        kept: list[str] = []
        for one in value:
            kept.append(json.dumps(one, ensure_ascii=False))
            if len(", ".join(kept)) > _WIDTH:
                break
        return f"[{', '.join((*kept[:-1], '…'))}]"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}…"


def _described(header: "PatchHeader") -> Mapping[str, Any]:
    """The description of the patch by the owner of its kind."""
    if header.kind == "weights":
        return {}
    owner = owner_of(header.core, header.about)
    if owner is None:
        return {"owner": f"the plugin of {header.core['payload']['kind']} is not installed"}
    try:
        described = owner.describe(as_patch(header))
    except Exception as error:
        return {"owner": f"{owner.name} cannot describe it: {type(error).__name__}: {error}"}
    return described if isinstance(described, Mapping) else {}


def _settings(header: "PatchHeader") -> str:
    """The profile or preset that they are from, and the locator that chose the place."""
    profile, locator = header.annotation("profile"), header.annotation("locator")
    parts = [f"profile {profile.get('name')} ({short(str(profile.get('sha256')))})"] if profile.get("name") else []
    preset = header.annotation("method").get("preset")
    parts += [f"preset {preset}"] if preset else []
    parts += [f"place by {_choice(locator)}"] if locator.get("name") else []
    return ", ".join(parts)


def _kind(header: "PatchHeader") -> str:
    return header.kind if header.kind == "weights" else f"{header.kind} ({header.core['payload']['kind']})"
