"""Settings known to work, one file a model: `match` says for which, `hparams` what, a comment from where."""

from collections.abc import Mapping
from typing import Any, Final

WEIGHT: Final = 15_000.0


def find_preset(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """The `hparams` of the preset for `model`; {} when there is none."""
    from editcore.plugins.presets import matching_preset

    return dict(matching_preset(__name__, model).get("hparams", {}))


def default_weight(n: int) -> float:
    return WEIGHT
