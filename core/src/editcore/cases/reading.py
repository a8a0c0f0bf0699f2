"""Reading edit requests and cases: one JSON object a line; a request is a case without probes. Torch-free."""

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Final

from attrs import evolve

from editcore_hooks import Case, ChatTemplate, EditRequest, Probe, RefusedFileError, UsageError, render

REQUEST_KEYS: Final = ("id", "prompt", "subject", "target_new", "target_true", "template", "target_prefix", "contexts")
PROBE_KEYS: Final = ("rephrases", "locality", "portability", "together", "generation", "accepted")
LOCALITY: Final = ("neighbour", "other_attribution", "distract_neighbour", "other_task", "forgetfulness")
"""`forgetfulness`: the other objects of a relation that has many, which an edit that adds one must leave."""
PORTABILITY: Final = ("alias", "one_hop", "inverse", "multi_hop", "hop")
"""`multi_hop`: a question over a chain of facts; `hop`: the links of that chain, one by one, as they are after it."""
CONDITION_KEYS: Final = ("prompt", "target", "also")


def read_cases(lines: Iterable[str], name: str) -> Iterator[Case]:
    """Parse JSON lines of the file `name`; blank lines are passed over, a missing id becomes the line number.

    Raises `UsageError` naming file, line and key; also on an id or a key that occurs twice, and on numbers and texts
    that two readers would understand differently. A byte order mark at the beginning is passed over.
    """
    from editcore.storage.canonical import load_json  # here, since `plugins list` imports this module and reads none

    seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if number == 1:
            line = line.removeprefix("\ufeff")  # some editors write one; YAML files may have it as well
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        try:
            row = load_json(line, where)
        except RefusedFileError as error:
            raise UsageError(error.message, hint="write one JSON object a line") from None
        case = parse_case(row, where, default_id=str(number))
        if case.request.id in seen:
            message = f"{where}: id {case.request.id!r} was used in line {seen[case.request.id]}"
            raise UsageError(message, hint=_other_id(row, number))
        seen[case.request.id] = number
        yield case


def _other_id(row: Mapping[str, Any], number: int) -> str:
    if row.get("id") is None:
        return f'a line without an id is called by its number: add "id": "fact-{number}"'
    return f'give line {number} another id, such as "{row["id"]}-{number}", or leave it out'


def identified(cases: Sequence[Case]) -> list[Case]:
    """The cases, those without an id called by the next free number. Raises `UsageError` on an id that occurs twice.

    Rows are put together by id: two cases of one id would count as one.
    """
    given = Counter(case.request.id for case in cases if case.request.id)
    twice = [id for id, times in given.items() if times > 1]
    if twice:
        message = f"{given[twice[0]]} cases have the id {twice[0]!r}"
        raise UsageError(message, hint="give each an id of its own; cases without one are numbered")
    free = (number for number in map(str, count(1)) if number not in given)
    return [case if case.request.id else evolve(case, request=evolve(case.request, id=next(free))) for case in cases]


def parse_case(row: Any, where: str, default_id: str = "") -> Case:
    """One parsed JSON object to a Case. Raises `UsageError` on unknown or missing keys and wrong types."""
    if not isinstance(row, dict):
        raise UsageError(f"{where} is not a JSON object")
    _only(row, REQUEST_KEYS + PROBE_KEYS, where)
    request = _request(row, where, default_id)
    return Case(
        request,
        tuple(render(text, request.subject).text for text in _texts(row, "rephrases", where)),
        _facets(row, "locality", LOCALITY, request, where),
        _facets(row, "portability", PORTABILITY, request, where),
        _together(row.get("together", []), request, where),
        tuple(render(text, request.subject).text for text in _texts(row, "generation", where)),
        tuple(_texts(row, "accepted", where)),
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
    if request.contexts:
        row["contexts"] = list(request.contexts)
    return row


def _request(row: Mapping[str, Any], where: str, default_id: str) -> EditRequest:
    for key in ("prompt", "subject", "target_new"):
        if not isinstance(row.get(key), str):
            raise UsageError(f"{where}: {key!r} must be a text", hint=f'add "{key}": "…"')
    return EditRequest(
        prompt=row["prompt"],
        subject=row["subject"],
        target_new=row["target_new"],
        target_true=_optional_text(row, "target_true", where),
        id=_id(row.get("id"), where, default_id),
        template=_chat_template(row.get("template"), where),
        target_prefix=row.get("target_prefix", "auto"),
        contexts=tuple(_texts(row, "contexts", where)),
    )


def _id(value: Any, where: str, default: str) -> str:
    if value is None:
        return default
    if not isinstance(value, str) and type(value) is not int:
        raise UsageError(f"{where}: 'id' must be a text or an integer, not {str(value)[:40]}")
    return str(value)


def _together(value: Any, first: EditRequest, where: str) -> tuple[EditRequest, ...]:
    if not isinstance(value, list):
        raise UsageError(f"{where}: 'together' must be a list of requests")
    requests = []
    for number, row in enumerate(value, 1):
        place = f"{where}, together[{number - 1}]"
        if not isinstance(row, dict):
            raise UsageError(f"{place} is not an object", hint='write {"prompt": …, "subject": …, "target_new": …}')
        _only(row, REQUEST_KEYS, place)
        requests.append(_request(row, place, f"{first.id}+{number}"))
    return tuple(requests)


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
    if not isinstance(value.get("chat", True), bool):
        raise UsageError(f"{where}: 'chat' of 'template' must be true or false")
    return ChatTemplate(value.get("chat", True), _optional_text(value, "system", where))


def _facets(
    row: Mapping[str, Any], key: str, known: Sequence[str], request: EditRequest, where: str
) -> dict[str, tuple[Probe, ...]]:
    value = row.get(key, {})
    if not isinstance(value, dict):
        raise UsageError(f"{where}: {key!r} must be an object of lists")
    _only(value, known, f"{where}, {key}")
    for facet, items in value.items():
        if not isinstance(items, list):
            raise UsageError(f"{where}, {key}: {facet!r} must be a list", hint='write [{"prompt": "…", "target": "…"}]')
    return {
        facet: tuple(_probe(item, request, f"{where}, {key}.{facet}[{i}]") for i, item in enumerate(items))
        for facet, items in value.items()
    }


def _probe(item: Any, request: EditRequest, where: str) -> Probe:
    if not isinstance(item, dict):
        raise UsageError(f"{where} is not an object", hint='write {"prompt": "…", "target": "…"}')
    _only(item, (*CONDITION_KEYS, "conditions", "group", "rule"), where)
    conditions, group, rule = item.get("conditions", []), item.get("group", ""), item.get("rule", "all")
    if not isinstance(conditions, list):
        raise UsageError(f"{where}: 'conditions' must be a list of probes")
    if not isinstance(group, str) or rule not in ("all", "any"):
        raise UsageError(f"{where}: 'group' must be a text and 'rule' one of all, any")
    known = (_condition(one, request, f"{where}.conditions[{i}]") for i, one in enumerate(conditions))
    return Probe(*_question(item, request, where), tuple(known), group, rule)


def _condition(item: Any, request: EditRequest, where: str) -> Probe:
    if not isinstance(item, dict):
        raise UsageError(f"{where} is not an object", hint='write {"prompt": "…", "target": "…"}')
    _only(item, CONDITION_KEYS, where)
    return Probe(*_question(item, request, where))


def _question(
    item: Mapping[str, Any], request: EditRequest, where: str
) -> tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...]]:
    target, also = item.get("target", []), item.get("also", [])
    targets = [target] if isinstance(target, str) else target
    if not isinstance(item.get("prompt"), str) or not _all_texts(targets):
        raise UsageError(f"{where}: 'prompt' must be a text and 'target' a text or a list of texts")
    if not isinstance(also, list) or not all(_all_texts(aliases) for aliases in also):
        raise UsageError(f"{where}: 'also' must be a list of lists of texts")
    return render(item["prompt"], request.subject).text, tuple(targets), tuple(map(tuple, also))


def _texts(row: Mapping[str, Any], key: str, where: str) -> list[str]:
    value = row.get(key, [])
    if not _all_texts(value):
        raise UsageError(f"{where}: {key!r} must be a list of texts")
    return list(value)


def _all_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)
