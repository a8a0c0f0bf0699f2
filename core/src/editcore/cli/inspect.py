"""`editcore inspect`: what a patch says of itself. Reads the header only; no torch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.cli.patch_files import require_file
from editcore.patches.units import count_units, is_units
from editcore.visible import one_line

if TYPE_CHECKING:
    from editcore.patches.patch import PatchHeader


@click.command()
@click.argument("patch")
@with_output
def inspect(out: Output, patch: str) -> None:
    """Show identity, base, method, requests, figures and targets of PATCH. Its tensors are not read."""
    from editcore.patches.patch import Patch

    header = Patch.read_header(require_file(patch))
    if out.as_json:
        out.json({"patch_id": header.patch_id, "core": dict(header.core), "about": dict(header.about)})
        return
    show(out, header)


def show(out: Output, header: "PatchHeader") -> None:
    """Print a header for people."""
    for name, value in _lines(header):
        out.print(f"{name:<10}{one_line(value)}")
    out.print()
    if header.kind != "weights":
        _show_payload(out, header)
    else:
        out.table(
            ["tensor", "form", "shape", "dtype", "rank", "base sha256"],
            [
                [key, t["form"], "×".join(map(str, t["shape"])), t["base_dtype"], _rank(t), t["base_sha256"][:12]]
                for key, t in header.targets.items()
            ],
        )
    for notice in header.notices:
        out.warn(notice)


def _show_payload(out: Output, header: "PatchHeader") -> None:
    """The parts of a payload as the manifest has them: units, or what only the owner of the kind understands."""
    parts = header.core["payload"]["parts"]
    rows = [[name, part["dtype"], "×".join(map(str, part["shape"]))] for name, part in sorted(parts.items())]
    out.table(["part", "dtype", "shape"], rows)


def _lines(header: "PatchHeader") -> list[tuple[str, str]]:
    base, method = header.annotation("base"), header.annotation("method")
    lines = [("id", header.patch_id), ("kind", _kind(header)), ("title", header.title)]
    lines += [("base", " ".join(str(base[name]) for name in ("name", "revision") if base.get(name)))]
    lines += [("method", f"{method.get('name', '')} ({method.get('distribution', '')} {method.get('version', '')})")]
    lines += [("settings", _settings(header))]
    for request in header.objects("requests"):
        if "prompt" in request:
            prompt = str(request["prompt"]).replace("{}", str(request.get("subject")))
            lines.append(("request", f"{prompt} … {request.get('target_new')}"))
    for metric in header.objects("metrics"):
        if isinstance(metric.get("value"), int | float):
            before = metric.get("before")
            change = f"{before:.3g} -> " if isinstance(before, int | float) else ""
            name = metric.get("metric", metric.get("id"))  # as the first versions called it
            lines.append(("measured", f"{name} {change}{metric['value']:.3g} (n = {metric.get('n')})"))
    lines += [("requires", required) for required in header.requires]
    lines += [("created", str(header.about.get("created", "")))]
    return [(name, value) for name, value in lines if value.strip()]


def _settings(header: "PatchHeader") -> str:
    """The profile or preset that they are from, and the locator that chose the place."""
    profile, locator = header.annotation("profile"), header.annotation("locator")
    parts = [f"profile {profile.get('name')} ({str(profile.get('sha256'))[:12]})"] if profile.get("name") else []
    preset = header.annotation("method").get("preset")
    parts += [f"preset {preset}"] if preset else []
    parts += [f"place by {locator.get('name')}"] if locator.get("name") else []
    return ", ".join(parts)


def _kind(header: "PatchHeader") -> str:
    if header.kind == "weights":
        return header.kind
    kind = f"{header.kind} ({header.core['payload']['kind']})"
    if not is_units(header):
        return kind
    return f"{kind}: " + ", ".join(f"{count} in {place}" for place, count in count_units(header.core).items())


def _rank(target: Mapping[str, Any]) -> str:
    return str(target["parts"]["left"]["shape"][1]) if target["form"] == "low_rank" else ""
