"""A plugin that prints or leaves while it is found is a plugin with a fault, and no fault of the command."""

import os
import signal

import pytest

from editcore.plugins.contained import EscapeError, contained
from editcore.plugins.registry import Registry

METHOD = """
    print("imported")
    from editcore_hooks import EditMethod, hookimpl

    class Good(EditMethod):
        name = "good"

        def locate(self, session, requests, state): ...

        def compute_update(self, session, requests, location, state): ...

    @hookimpl
    def editcore_register_methods():
        print("asked")
        return [Good]
"""
EXITS = ["GeneratorExit", "KeyboardInterrupt", "SystemExit", "BaseException"]


def test_what_a_plugin_prints_while_it_is_found_is_no_data(install, capsys):
    install("editcore-loud", METHOD)
    assert "good" in Registry().methods
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "imported\nasked\n"


@pytest.mark.parametrize("raised", EXITS)
@pytest.mark.parametrize("where", ["import", "hook"])
def test_an_exit_of_a_plugin_makes_it_broken(install, raised, where):
    source = f"raise {raised}" if where == "import" else METHOD.replace("return [Good]", f"raise {raised}")
    install("editcore-leaving", source)
    registry = Registry()
    registry.ask_everything()
    (found,) = (record for record in registry.records if record.name == "editcore-leaving")
    assert found.status == "broken"
    assert raised in found.reason


@pytest.fixture
def handler():
    """The usual one, also where the tests run as a job of a shell, which ignores the signal."""
    found = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, found)


def test_where_no_key_reaches_it_an_interrupt_is_the_plugin_s(handler):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with pytest.raises(EscapeError, match="KeyboardInterrupt"), contained():
        raise KeyboardInterrupt
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_real_interrupt_passes_and_the_handler_is_as_before(handler):
    before = handler
    with pytest.raises(KeyboardInterrupt), contained():
        os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(EscapeError, match="KeyboardInterrupt"), contained():
        raise KeyboardInterrupt
    assert signal.getsignal(signal.SIGINT) is before
