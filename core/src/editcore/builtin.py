"""The entry module of the core: what ships with it comes in by the same door as a stranger's."""

from editcore_hooks import Architecture, Metric, PatchKind, hookimpl

EDITCORE_API = ">=1.0,<2"


@hookimpl
def editcore_register_architectures() -> list[type[Architecture]]:
    from editcore.models.anatomy.families import ARCHITECTURES

    return list(ARCHITECTURES)


@hookimpl
def editcore_register_metrics() -> list[type[Metric]]:
    from editcore.evaluation.metrics.builtin import METRICS

    return list(METRICS)


@hookimpl
def editcore_register_patch_kinds() -> list[type[PatchKind]]:
    from editcore.session.units import FfnUnits

    return [FfnUnits]
