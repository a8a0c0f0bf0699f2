"""The contract between editcore and its plugins. Light: pluggy and attrs only, never torch.

Every name is imported when it is first used (PEP 562), so that the command line starts without those it does not need.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from editcore_hooks.errors import (
        ConflictError,
        EditcoreError,
        InvalidValueError,
        PluginError,
        RefusedFileError,
        RequirementNotMetError,
        UsageError,
        WrongBaseError,
    )
    from editcore_hooks.hparams import NoHparams, hparam
    from editcore_hooks.kinds import CardLines, MemoryKind, PatchKind, Widths
    from editcore_hooks.markers import PROJECT, hookimpl, hookspec
    from editcore_hooks.needs import Need
    from editcore_hooks.parts import Anatomy, Assets, Encoded, LivePatches, Loaded, Partial, Progress, TargetScore
    from editcore_hooks.plugins import Architecture, Dataset, EditMethod, Locator, Metric, Named, Transform
    from editcore_hooks.prompts import Rendered, escape, mark_subject, render
    from editcore_hooks.requests import Case, ChatTemplate, EditRequest, Probe, Rule
    from editcore_hooks.session import Session
    from editcore_hooks.values import (
        Applied,
        Asset,
        Dense,
        Location,
        LowRank,
        Patch,
        Payload,
        Report,
        Rows,
        Site,
        Sparse,
        State,
        TensorUpdate,
        Tunable,
        Update,
    )
    from editcore_hooks.version import API_VERSION

_NAMES = {
    "errors": (
        "ConflictError",
        "EditcoreError",
        "InvalidValueError",
        "PluginError",
        "RefusedFileError",
        "RequirementNotMetError",
        "UsageError",
        "WrongBaseError",
    ),
    "hparams": ("NoHparams", "hparam"),
    "kinds": ("CardLines", "MemoryKind", "PatchKind", "Widths"),
    "markers": ("PROJECT", "hookimpl", "hookspec"),
    "plugins": (
        "Architecture",
        "Dataset",
        "EditMethod",
        "Locator",
        "Metric",
        "Named",
        "Transform",
    ),
    "needs": ("Need",),
    "parts": ("Anatomy", "Assets", "Encoded", "LivePatches", "Loaded", "Partial", "Progress", "TargetScore"),
    "prompts": ("Rendered", "escape", "mark_subject", "render"),
    "requests": ("Case", "ChatTemplate", "EditRequest", "Probe", "Rule"),
    "session": ("Session",),
    "values": (
        "Applied",
        "Asset",
        "Dense",
        "Location",
        "LowRank",
        "Patch",
        "Payload",
        "Report",
        "Rows",
        "Site",
        "Sparse",
        "State",
        "TensorUpdate",
        "Tunable",
        "Update",
    ),
    "version": ("API_VERSION",),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "API_VERSION",
    "PROJECT",
    "Anatomy",
    "Applied",
    "Architecture",
    "Asset",
    "Assets",
    "CardLines",
    "Case",
    "ChatTemplate",
    "ConflictError",
    "Dataset",
    "Dense",
    "EditMethod",
    "EditRequest",
    "EditcoreError",
    "Encoded",
    "InvalidValueError",
    "LivePatches",
    "Loaded",
    "Location",
    "Locator",
    "LowRank",
    "MemoryKind",
    "Metric",
    "Named",
    "Need",
    "NoHparams",
    "Partial",
    "Patch",
    "PatchKind",
    "Payload",
    "PluginError",
    "Probe",
    "Progress",
    "RefusedFileError",
    "Rendered",
    "Report",
    "RequirementNotMetError",
    "Rows",
    "Rule",
    "Session",
    "Site",
    "Sparse",
    "State",
    "TargetScore",
    "TensorUpdate",
    "Transform",
    "Tunable",
    "Update",
    "UsageError",
    "Widths",
    "WrongBaseError",
    "escape",
    "hookimpl",
    "hookspec",
    "hparam",
    "mark_subject",
    "render",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names, including those not used yet: `python -m pydoc editcore_hooks` shows them."""
    return [*globals(), *(name for name in __all__ if name not in globals())]
