"""Tests that an old version of a library cannot pass, for a fault of its own."""

from importlib.metadata import version

import pytest
from packaging.version import Version


def needs(library: str, least: str, why: str) -> pytest.MarkDecorator:
    """The mark of a test that is skipped below version `least` of `library`, with the reason."""
    return pytest.mark.skipif(_older(library, least), reason=_said(library, least, why))


def require(library: str, least: str, why: str) -> None:
    """Skip the test that calls it below version `least` of `library`, with the reason."""
    if _older(library, least):
        pytest.skip(_said(library, least, why))


def _older(library: str, least: str) -> bool:
    return Version(version(library)) < Version(least)


def _said(library: str, least: str, why: str) -> str:
    return f"{library} before {least}: {why}"
