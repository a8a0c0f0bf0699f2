"""The frame: fast help, lazy commands, errors of two lines with their exit code."""

import json
import os
import signal
import subprocess
import sys
import time
import types
import warnings
from collections.abc import Iterator

import click
import pytest

from editcore.cli import main, plugin_commands, root
from editcore.cli.commands import COMMANDS
from editcore.cli.group import Command
from editcore.cli.options import with_output
from editcore.plugins.known import COMMANDS as PACKAGES
from editcore.plugins.registry import Registry
from editcore_hooks import (
    ConflictError,
    EditcoreError,
    PluginError,
    RefusedFileError,
    RequirementNotMetError,
    UsageError,
    WrongBaseError,
)

METHOD = """
    from editcore_hooks import EditMethod, hookimpl

    class Toy(EditMethod):
        name = "toy"

        def locate(self, session, requests, state): ...

        def compute_update(self, session, requests, location, state): ...

    @hookimpl
    def editcore_register_methods():
        return [Toy]
"""
HEAVY = {"torch", "transformers", "numpy", "safetensors", "rich", "huggingface_hub", "yaml", "rfc8785"}


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--version"], ["plugins", "list"], ["plugins", "--help"]])
def test_light_commands_import_nothing_heavy(modules_after, arguments):
    loaded = modules_after(*arguments)
    assert not loaded & HEAVY
    assert {"click", "editcore.cli"} <= loaded


def test_methods_are_shown_without_torch(modules_after, site):
    site.put("dist-toy", METHOD)
    loaded = modules_after("methods", "toy")
    assert "dist_toy_entry" in loaded
    assert not loaded & {"torch", "transformers", "numpy", "safetensors"}


def test_help_names_every_command_and_imports_none_of_their_modules(editcore, modules_after):
    text = " ".join(editcore("--help").stdout.split())
    loaded = modules_after("--help")
    for name, (target, help) in COMMANDS.items():
        assert f"{name} {help}" in text
        assert target.partition(":")[0] not in loaded
    start = time.perf_counter()
    editcore("--help")
    print(f"editcore --help: {(time.perf_counter() - start) * 1000:.0f} ms")


def test_help_is_the_same_with_either_name_of_the_program(editcore):
    script = subprocess.run(
        [sys.executable, "-c", "import sys; from editcore.cli import main; sys.exit(main())", "--help"],
        capture_output=True,
        text=True,
        env={**os.environ, "EDITCORE_PLUGINS": ""},
    )
    assert editcore("--help").stdout == script.stdout


@pytest.fixture
def command(monkeypatch):
    """Put a command `try` into the table whose body is the function given."""

    def put(body):
        module = types.ModuleType("tried_command")
        module.tried = click.command("try")(with_output(body))
        monkeypatch.setitem(sys.modules, "tried_command", module)
        monkeypatch.setitem(root._builtin, "try", Command("tried_command:tried", "Tried."))

    return put


def raising(error):
    def body(out):
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EditcoreError, 1),
        (UsageError, 2),
        (WrongBaseError, 3),
        (ConflictError, 4),
        (PluginError, 4),
        (RequirementNotMetError, 5),
        (RefusedFileError, 6),
    ],
)
def test_an_expected_error_is_a_line_a_hint_and_its_own_exit_code(command, capsys, error, code):
    command(raising(error("what happened,\nand why", hint="editcore next")))
    assert main(["try"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: what happened, and why\nhint: editcore next\n"


def test_a_refused_file_without_a_hint_should_be_fetched_again(command, capsys):
    command(raising(RefusedFileError("half a file")))
    assert main(["try"]) == 6
    assert capsys.readouterr().err == "error: half a file\nhint: get the file again from its source\n"


def test_an_unexpected_error_has_a_hint_too(command, capsys):
    command(raising(KeyError("deep")))
    assert main(["try"]) == 1
    assert capsys.readouterr().err == "error: KeyError: 'deep'\nhint: run it again with --debug to see where\n"


@pytest.mark.parametrize("arguments", [["--debug", "try"], ["try", "--debug"]])
@pytest.mark.parametrize("error", [KeyError("deep"), UsageError("wrong")])
def test_a_traceback_is_shown_under_debug_before_or_after_the_command(command, capsys, arguments, error):
    command(raising(error))
    main(arguments)
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_a_command_returns_its_exit_code(command):
    command(lambda out: 7)
    assert main(["try"]) == 7
    command(lambda out: click.get_current_context().exit(5))
    assert main(["try"]) == 5
    command(lambda out: None)
    assert main(["try"]) == 0
    command(lambda out: True)
    assert main(["try"]) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["aply"], 2, "error: there is no command 'aply'\nhint: did you mean 'apply'?\n"),
        (["qqqq"], 2, "error: there is no command 'qqqq'\nhint: editcore --help\n"),
        (["dmo"], 2, "error: there is no command 'dmo'\nhint: did you mean 'demo'?\n"),
        (["doctor"], 2, "error: there is no command 'doctor'\nhint: editcore plugins doctor\n"),
        (["plugins", "lst"], 2, "error: No such command 'lst'\nhint: editcore plugins --help\n"),
        (["methods", "a", "b"], 2, "error: Got unexpected extra argument (b)\nhint: editcore methods --help\n"),
    ],
)
def test_a_wrong_command_line_is_an_error_with_the_next_step(editcore, arguments, code, message):
    result = editcore(*arguments)
    said = result.stderr.replace(". Did you mean 'list'?", "")  # newer versions of click guess at subcommands
    assert (result.returncode, result.stdout, said) == (code, "", message)


@pytest.fixture
def bare(monkeypatch):
    """No plugin but the built-in, whatever is installed here."""
    alone = Registry.of()
    monkeypatch.setattr(plugin_commands, "registry", lambda: alone)
    root.__dict__.pop("offers", None)
    yield
    root.__dict__.pop("offers", None)


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(("name", "package"), PACKAGES.items())
def test_a_command_of_a_package_that_is_not_installed_says_which(capsys, name, package):
    assert main([name]) == 4
    assert capsys.readouterr().err == f"error: the command {name!r} is not installed\nhint: pip install {package}\n"


def test_no_command_at_all_shows_the_help(editcore):
    for words in ((), ("plugins",)):
        result = editcore(*words)
        assert (result.returncode, result.stderr) == (2, "")
        assert "Commands:" in result.stdout


def test_a_setting_that_names_no_plugin_is_a_usage_error(editcore):
    result = editcore("--help", plugins="nope")
    assert result.returncode == 2
    assert result.stderr.startswith("error: EDITCORE_PLUGINS names 'nope'")


def test_json_and_verbosity_reach_the_command(command, capsys):
    def body(out):
        assert (out.as_json, out.verbose, out.quiet) == (True, True, False)
        out.say("talk")
        out.detail("more talk")
        out.json({"a": [1, "é"]})

    command(body)
    assert main(["-v", "try", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"a": [1, "é"]}
    assert captured.err == "talk\nmore talk\n"


def test_quiet_keeps_warnings_and_drops_talk(command, capsys):
    def body(out):
        out.say("talk")
        warnings.warn("something\nis odd", UserWarning, stacklevel=1)

    command(body)
    assert main(["try", "-q"]) == 0
    assert capsys.readouterr().err == "warning: something is odd\n"


def test_options_of_one_call_are_not_those_of_the_next(command):
    seen = []
    command(lambda out: seen.append((out.as_json, out.quiet)))
    main(["try", "--json", "-q"])
    main(["try"])
    assert seen == [(True, True), (False, False)]


def test_an_interrupt_is_told_in_a_line(command, capsys):
    command(raising(KeyboardInterrupt()))
    assert main(["try"]) == 130
    assert capsys.readouterr().err.strip() == "error: interrupted"


SLEEPER = """
    from editcore_hooks import hookimpl

    @hookimpl
    def editcore_register_commands(cli):
        cli.add("wait", "waiting:wait", "Wait.")
        cli.add("flood", "waiting:flood", "Write without end.")
        cli.add("drop", "waiting:drop", "Write a little.")
"""
WAITING = """
    import time
    import click
    from editcore.cli.options import with_output

    @click.command()
    @with_output
    def wait(out):
        out.print("ready")
        time.sleep(600)

    @click.command()
    @with_output
    def flood(out):
        while True:
            out.print("x" * 1000)

    @click.command()
    @with_output
    def drop(out):
        import sys
        sys.stdout.write("x")
"""


@pytest.fixture
def started(site):
    site.put("dist-wait", SLEEPER, waiting=WAITING)

    def start(name):
        environment = {**os.environ, "PYTHONPATH": str(site.folder), "EDITCORE_PLUGINS": "dist-wait"}
        return subprocess.Popen(
            [sys.executable, "-m", "editcore", name],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
        )

    return start


def test_control_c_ends_a_command_without_a_traceback(started):
    process = started("wait")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 130
    assert err.strip() == "error: interrupted"


@pytest.mark.parametrize("name", ["flood", "drop"])
def test_a_reader_that_goes_away_is_no_error_message(started, name):
    process = started(name)
    if name == "flood":
        process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=600) == 1


def test_completion_offers_commands_without_importing_them(editcore, monkeypatch):
    monkeypatch.setenv("_EDITCORE_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "editcore pl")
    monkeypatch.setenv("COMP_CWORD", "1")
    result = editcore()
    assert result.stdout == "plain,plugins\n"


def commands(command: click.Command, context: click.Context) -> Iterator[click.Command]:
    yield command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from commands(below, click.Context(below, context, name))


def test_every_number_has_a_range() -> None:
    """So a number that cannot be is refused before anything is loaded."""
    plain = (click.types.IntParamType, click.types.FloatParamType)
    found = [
        f"{command.name} --{option.name}"
        for command in commands(root, click.Context(root, info_name="editcore"))
        for option in command.params
        if type(option.type) in plain
    ]
    assert found == []
