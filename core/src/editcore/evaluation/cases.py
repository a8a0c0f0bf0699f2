"""Reading edit requests and cases: one JSON object a line; a request is a case without probes. Torch-free."""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from editcore_hooks import Case, ChatTemplate, EditRequest, Probe, UsageError, render

REQUEST_KEYS: Final = ("id", "prompt", "subject", "target_new", "target_true", "template", "target_prefix")
PROBE_KEYS: Final = ("rephrases", "locality", "portability")
LOCALITY: Final = ("neighbour", "other_attribution", "distract_neighbour", "other_task")
PORTABILITY: Final = ("alias", "one_hop", "inverse")


def read_cases(lines: Iterable[str], name: str) -> Iterator[Case]:
    """Parse JSON lines of the file `name`; blank lines are passed over, a missing id becomes the line number.

    Raises `UsageError` naming file, line and key; also on an id that occurs twice.
    """
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UsageError(f"{where} is not JSON: {error.msg}", hint="write one object a line") from None
        case = parse_case(row, where, default_id=str(number))
        if case.request.id in seen:
            raise UsageError(f"{where}: id {case.request.id!r} was used in line {seen[case.request.id]}")
        seen[case.request.id] = number
        yield case


def parse_case(row: Any, where: str, default_id: str = "") -> Case:
    """One parsed JSON object to a Case. Raises `UsageError` on unknown or missing keys and wrong types."""
    if not isinstance(row, dict):
        raise UsageError(f"{where} is not a JSON object")
    _only(row, REQUEST_KEYS + PROBE_KEYS, where)
    for key in ("prompt", "subject", "target_new"):
        if not isinstance(row.get(key), str):
            raise UsageError(f"{where}: {key!r} must be a text", hint=f'add "{key}": "…"')
    request = EditRequest(
        prompt=row["prompt"],
        subject=row["subject"],
        target_new=row["target_new"],
        target_true=_optional_text(row, "target_true", where),
        id=str(row.get("id", default_id)),
        template=_chat_template(row.get("template"), where),
        target_prefix=row.get("target_prefix", "auto"),
    )
    rephrases = row.get("rephrases", [])
    if not isinstance(rephrases, list) or not all(isinstance(text, str) for text in rephrases):
        raise UsageError(f"{where}: 'rephrases' must be a list of texts")
    return Case(
        request,
        tuple(render(text, request.subject).text for text in rephrases),
        _facets(row, "locality", LOCALITY, request, where),
        _facets(row, "portability", PORTABILITY, request, where),
    )


def request_to_json(request: EditRequest) -> dict[str, Any]:
    """The fields of a request that differ from their defaults, as JSON values; `parse_case` reads them back."""
    row: dict[str, Any] = {
        "id": request.id,
        "prompt": request.prompt,
        "subject": request.subject,
        "target_new": request.target_new,
        "target_true": request.target_true,
    }
    if request.template is not None:
        row["template"] = {"chat": request.template.chat, "system": request.template.system}
    if request.target_prefix != "auto":
        row["target_prefix"] = request.target_prefix
    return row


def _only(row: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in row:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
            raise UsageError(f"{where}: unknown key {key!r}", hint=hint)


def _optional_text(row: Mapping[str, Any], key: str, where: str) -> str | None:
    value = row.get(key)
    if value is not None and not isinstance(value, str):
        raise UsageError(f"{where}: {key!r} must be a text or null")
    return value


def _chat_template(value: Any, where: str) -> ChatTemplate | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise UsageError(f"{where}: 'template' must be an object", hint='write {"chat": true, "system": null}')
    _only(value, ("chat", "system"), f"{where}, template")
    return ChatTemplate(bool(value.get("chat", True)), _optional_text(value, "system", where))


def _facets(
    row: Mapping[str, Any], key: str, known: Sequence[str], request: EditRequest, where: str
) -> dict[str, tuple[Probe, ...]]:
    value = row.get(key, {})
    if not isinstance(value, dict):
        raise UsageError(f"{where}: {key!r} must be an object of lists")
    _only(value, known, f"{where}, {key}")
    return {
        facet: tuple(_probe(item, request, f"{where}, {key}.{facet}[{i}]") for i, item in enumerate(items))
        for facet, items in value.items()
    }


def _probe(item: Any, request: EditRequest, where: str) -> Probe:
    if not isinstance(item, dict):
        raise UsageError(f"{where} is not an object", hint='write {"prompt": "…", "target": "…"}')
    _only(item, ("prompt", "target"), where)
    target = item.get("target", [])
    targets = (target,) if isinstance(target, str) else tuple(target)
    if not isinstance(item.get("prompt"), str) or not all(isinstance(text, str) for text in targets):
        raise UsageError(f"{where}: 'prompt' must be a text and 'target' a text or a list of texts")
    return Probe(render(item["prompt"], request.subject).text, targets)
