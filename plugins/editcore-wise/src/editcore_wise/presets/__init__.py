"""Settings known to work, one file a model: `match` names the model, `wise` its settings, a comment the source."""

from collections.abc import Mapping
from typing import Any


def find_preset(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of the preset for `model`; {} without one."""
    from editcore.authoring.settings import matching_preset

    return dict(matching_preset(__name__, model).get("wise", {}))
