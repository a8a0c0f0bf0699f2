"""Cases as rows of `cases.jsonl`, the way back of `parse_case`. Torch-free."""

from typing import Any

from editcore.cases.reading import request_to_json
from editcore_hooks import Case, Probe, escape


def case_to_json(case: Case) -> dict[str, Any]:
    """A case as one row of `cases.jsonl`, without what is empty; `parse_case` reads it back."""
    row = request_to_json(case.request)
    for key, texts in (("rephrases", case.rephrases), ("generation", case.generation)):
        if texts:
            row[key] = [escape(text) for text in texts]
    for key, facets in (("locality", case.locality), ("portability", case.portability)):
        filled = {facet: [_probe_to_json(probe) for probe in probes] for facet, probes in facets.items() if probes}
        if filled:
            row[key] = filled
    if case.accepted:
        row["accepted"] = list(case.accepted)
    if case.together:
        row["together"] = [request_to_json(request) for request in case.together]
    return row


def _probe_to_json(probe: Probe) -> dict[str, Any]:
    row: dict[str, Any] = {"prompt": escape(probe.prompt)}
    if probe.targets:
        row["target"] = probe.targets[0] if len(probe.targets) == 1 else list(probe.targets)
    if probe.also:
        row["also"] = [list(aliases) for aliases in probe.also]
    if probe.conditions:
        row["conditions"] = [_probe_to_json(condition) for condition in probe.conditions]
    if probe.group:
        row["group"] = probe.group
    if probe.rule != "all":
        row["rule"] = probe.rule
    return row
