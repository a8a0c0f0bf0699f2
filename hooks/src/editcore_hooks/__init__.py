"""The contract between editcore and its plugins. Light: pluggy and attrs only, never torch."""

from editcore_hooks.errors import (
    ConflictError,
    EditcoreError,
    PluginError,
    RefusedFileError,
    RequirementNotMetError,
    UsageError,
    WrongBaseError,
)
from editcore_hooks.hparams import NoHparams, hparam
from editcore_hooks.markers import PROJECT, hookimpl, hookspec
from editcore_hooks.plugins import Architecture, Dataset, EditMethod, Locator, Metric, Named, PatchKind, Transform
from editcore_hooks.prompts import Rendered, mark_subject, render
from editcore_hooks.requests import Case, ChatTemplate, EditRequest, Probe
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
    Update,
)
from editcore_hooks.version import API_VERSION

__all__ = [
    "API_VERSION",
    "PROJECT",
    "Applied",
    "Architecture",
    "Asset",
    "Case",
    "ChatTemplate",
    "ConflictError",
    "Dataset",
    "Dense",
    "EditMethod",
    "EditRequest",
    "EditcoreError",
    "Location",
    "Locator",
    "LowRank",
    "Metric",
    "Named",
    "NoHparams",
    "Patch",
    "PatchKind",
    "Payload",
    "PluginError",
    "Probe",
    "RefusedFileError",
    "Rendered",
    "Report",
    "RequirementNotMetError",
    "Rows",
    "Site",
    "Sparse",
    "State",
    "TensorUpdate",
    "Transform",
    "Update",
    "UsageError",
    "WrongBaseError",
    "hookimpl",
    "hookspec",
    "hparam",
    "mark_subject",
    "render",
]
