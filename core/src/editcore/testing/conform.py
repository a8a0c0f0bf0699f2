"""Every suite for every class of an installed distribution: `python -m editcore.testing.conform DISTRIBUTION`.

Methods are tried with their defaults. An architecture needs a model of its family, and a kind of patch a method that
makes its patches: their suites are in the distribution's own tests.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from editcore.plugins.registry import registry
from editcore.plugins.selection import normalised
from editcore_hooks import PluginError

_LEFT = ("architecture", "patch kind")


def suites(distribution: str) -> dict[str, Any]:
    """A suite for each class by the name of a test class. Raises `PluginError` when nothing is offered."""
    from editcore.testing.conformance import SUITES

    known, found = registry(), {}
    for catalogue in known.catalogues:
        for cls, plugin in catalogue.offers():
            if normalised(plugin.record.distribution) == normalised(distribution) and catalogue.kind not in _LEFT:
                suite, written = SUITES[catalogue.kind], catalogue.written(cls)
                found[f"Test{cls.__name__}"] = type(f"Test{cls.__name__}", (suite,), {catalogue.kind: written})
    if not found:
        raise PluginError(f"{distribution} offers nothing that a suite is for", hint="editcore plugins doctor")
    return found


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m editcore.testing.conform DISTRIBUTION", file=sys.stderr)
        return 2
    import pytest

    (distribution,) = arguments
    with tempfile.TemporaryDirectory() as place:
        test = Path(place) / "test_conform.py"
        code = f"from editcore.testing.conform import suites\nglobals().update(suites({distribution!r}))\n"
        test.write_text(code, "utf-8")
        return int(pytest.main(["-q", "-rs", "-p", "no:cacheprovider", f"--rootdir={place}", str(test)]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
