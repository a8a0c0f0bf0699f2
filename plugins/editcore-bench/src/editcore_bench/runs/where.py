"""The machine, versions and time of a run. No name of a person or a folder."""

import platform
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any, Final

from editcore.authoring.settings import Registry
from editcore.authoring.sources import available
from editcore_bench.spec.values import Spec

PACKAGES: Final = ("editcore", "editcore-bench", "torch", "transformers", "safetensors", "numpy")


def where() -> dict[str, Any]:
    """The environment of this process; rows depend on all of it, and seconds on `threads`."""
    import torch

    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processors": available(),
        "threads": torch.get_num_threads(),
        "accelerator": str(accelerator) if accelerator is not None else None,
        "versions": {name: version(name) for name in PACKAGES},
    }


def plugin_versions(spec: Spec, known: Registry) -> dict[str, str]:
    """Distribution → version of each plugin that the methods, transforms, metrics and datasets of a spec come from, and
    of those that these need: equations are in libraries too."""
    classes: list[type] = [known.method(one.name) for one in spec.methods if one.baseline is None]
    classes += [known.transform(text.partition(":")[0]) for one in spec.methods for text in one.transforms]
    classes += [known.metric(name) for name in spec.metrics]
    classes += [known.dataset(one.name) for one in spec.datasets if one.name in known.datasets]
    plugins = {record.distribution: record.version for record in known.records}
    found: dict[str, str] = {}
    waiting = [known.source_of(cls)[0] for cls in classes]
    while waiting:
        if (name := waiting.pop()) in plugins and name not in found:
            found[name] = plugins[name]
            waiting += _needs(name)
    return dict(sorted(found.items()))


def _needs(name: str) -> Iterator[str]:
    try:
        listed = requires(name) or []
    except PackageNotFoundError:  # a plugin that is a module and no package
        return
    for text in listed:
        yield re.split(r"[^\w.-]", text, maxsplit=1)[0]
