"""A file of hyper-parameters of EasyEdit as settings of a method of editcore."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from attrs import field, frozen

from editcore.authoring.settings import from_mapping, read_mapping, registry, suggestion_or_list
from editcore_bench.easyedit.terms import AS_PUBLISHED, LEFT, METHODS, SETTINGS
from editcore_hooks import UsageError


@frozen
class Converted:
    """The method, its settings, and a reason for each key that is left out."""

    method: str
    settings: Mapping[str, Any]
    left: Mapping[str, str] = field(factory=dict)


def convert_settings(path: Path) -> Converted:
    """Read a YAML or JSON file. Raises `UsageError` for an unknown method or an invalid value."""
    given = read_mapping(path)
    name = str(given.get("alg_name", "")).upper()
    if name not in METHODS:
        what = f"no method for alg_name {given.get('alg_name')!r}" if name else "no alg_name"
        raise UsageError(f"{path.name}: {what}", hint=suggestion_or_list(name, METHODS))
    method = _fine_tuning(given) if name == "FT" else METHODS[name]
    hparams = registry().method(method).Hparams
    fields = {one.name for one in attrs.fields(hparams)}
    settings: dict[str, Any] = {}
    left: dict[str, str] = {}
    for key, value in given.items():
        ours = SETTINGS.get(key, key)
        if key == "layers" and "layers" not in fields and isinstance(value, list) and len(value) == 1:
            settings["layer"] = value[0]
        elif key in LEFT:
            left[key] = LEFT[key]
        elif ours not in fields or value is False or value is None:
            left[key] = f"{method} has no such setting" if ours not in fields else "off"
        else:
            settings[ours] = value
    settings |= AS_PUBLISHED.get(name, {})
    if "v_lr" in settings and "v_stop" in fields:
        settings.setdefault("v_stop", "loss")  # as published: the whole loss ends the optimisation
    from_mapping(hparams, settings)
    return Converted(method, settings, left)


def _fine_tuning(given: Mapping[str, Any]) -> str:
    """FT stands for several methods: the objective and the box tell which."""
    return "ft-m" if given.get("objective_optimization") == "target_new" else "ft-l"
