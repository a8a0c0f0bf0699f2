"""Settings known to work, one file a model: `match` names the model, each method's name its settings, a comment the
source."""

from collections.abc import Mapping
from typing import Any


def find_preset(model: Mapping[str, Any], method: str) -> Mapping[str, Any]:
    """What the preset for `model` gives for `method`; {} when there is none."""
    from editcore.authoring.settings import matching_preset

    return dict(matching_preset(__name__, model).get(method, {}))
