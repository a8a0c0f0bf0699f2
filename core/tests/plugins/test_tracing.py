"""`EDITCORE_TRACE=1` prints the calls of hooks, nested as they happen, with who implements them."""

import re

import pluggy
import pytest

from editcore.plugins.tracing import traced
from editcore_hooks import PROJECT, hookimpl, specs


class Toy:
    @hookimpl
    def editcore_register_methods(self):
        return []

    @hookimpl
    def editcore_register_metrics(self):
        raise KeyError("toy")


def manager() -> pluggy.PluginManager:
    made = traced(pluggy.PluginManager(PROJECT))
    made.add_hookspecs(specs)
    made.register(Toy(), "toy")
    return made


def test_calls_are_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("EDITCORE_TRACE", "1")
    hooks = manager().hook
    hooks.editcore_register_methods()
    with pytest.raises(KeyError):
        hooks.editcore_register_metrics()
    one, other = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"trace: editcore_register_methods [\d.]+ ms: toy", one)
    assert re.fullmatch(r"trace: editcore_register_metrics [\d.]+ ms raised KeyError: toy", other)


@pytest.mark.parametrize("value", [None, "", "0"])
def test_nothing_is_printed_otherwise(
    value: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("EDITCORE_TRACE", raising=False)
    if value is not None:
        monkeypatch.setenv("EDITCORE_TRACE", value)
    manager().hook.editcore_register_methods()
    assert capsys.readouterr().err == ""
