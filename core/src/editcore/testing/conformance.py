"""Rules for every kind of plugin, as tests that its author inherits.

    from editcore.testing.conformance import MethodConformance

    class TestMine(MethodConformance):
        method = "mine"
        hparams = {"layer": 1}  # settings under which an edit is cheap

Override `model` to run on another one than the taught Llama. A check that cannot hold is named with its reason in
`not_applicable`, and shows as skipped. Importing this module needs pytest.
"""

from editcore.testing.architecture_checks import ArchitectureChecks
from editcore.testing.dataset_checks import DatasetChecks
from editcore.testing.declared_checks import DeclaredChecks
from editcore.testing.kind_checks import PatchKindChecks
from editcore.testing.locator_checks import LocatorChecks
from editcore.testing.metric_checks import MetricChecks
from editcore.testing.model_checks import ModelChecks
from editcore.testing.patch_checks import PatchChecks
from editcore.testing.promise_checks import PromiseChecks
from editcore.testing.stage_checks import StageChecks
from editcore.testing.transform_checks import TransformChecks


class MethodConformance(DeclaredChecks, StageChecks, PatchChecks, PromiseChecks, ModelChecks):
    """Set `method`. Tolerances are for what floating point does to sums in another order or shape."""


class LocatorConformance(LocatorChecks):
    """Set `locator`."""


class TransformConformance(TransformChecks):
    """Set `transform`."""


class MetricConformance(MetricChecks):
    """Set `metric`, and `cases` if it needs others."""


class PatchKindConformance(PatchKindChecks):
    """Set `patch_kind`, and `method` with `method_hparams` for the method that makes patches of it."""


class DatasetConformance(DatasetChecks):
    """Set `dataset`."""


class ArchitectureConformance(ArchitectureChecks):
    """Set `architecture`, and override `model`."""


SUITES = {
    "method": MethodConformance,
    "locator": LocatorConformance,
    "transform": TransformConformance,
    "metric": MetricConformance,
    "patch kind": PatchKindConformance,
    "dataset": DatasetConformance,
    "architecture": ArchitectureConformance,
}
"""The suite of each kind of plugin."""
