"""What a start may import and read: nothing that a help page or a header does not need, whatever the machine."""

import os
import shutil
import time
from pathlib import Path

import pytest

import editcore_hooks

COMPUTING = {"torch", "transformers", "numpy", "safetensors", "huggingface_hub", "jinja2", "rich", "yaml", "lm_eval"}
LOADING = {"pluggy", "attrs", "importlib.metadata", "packaging", "editcore.plugins.discovery", "dist_toy_entry"}
TOY = """
    from editcore_hooks import hookimpl

    @hookimpl
    def editcore_register_commands(cli):
        cli.add("greet", "greeting:greet", "Say hello.")
"""
GREETING = """
    import click

    @click.command()
    def greet():
        click.echo("hello")
"""
READINGS = """
import collections, sys
opened = collections.Counter()
sys.addaudithook(lambda event, given: opened.update([str(given[0])]) if event == "open" else None)
from editcore.cli import main
main()
for path, times in opened.items():
    if path.endswith(("entry_points.txt", "METADATA", "PKG-INFO")):
        print(times, path, file=sys.stderr)
"""


def settle(folder: Path) -> None:
    """Everything in the folder is as if written an hour ago."""
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (time.time() - 3600,) * 2)


@pytest.fixture
def cache(site, editcore) -> Path:
    """The kept answers of a site with one plugin."""
    site.put("dist-toy", TOY, greeting=GREETING)
    settle(site.folder)
    assert "Say hello." in editcore("--help").stdout
    assert editcore("plugins", "list").returncode == 0
    return site.folder.with_name("cache")


def kept(cache: Path) -> list[Path]:
    return sorted(cache.glob("*.json"))


@pytest.mark.parametrize("arguments", [["--help"], ["plugins", "list"], ["greet", "--help"]])
def test_a_second_start_loads_no_plugin_nor_what_finds_them(cache, modules_after, arguments):
    assert [path.name.partition("-")[0] for path in kept(cache)] == ["commands", "plugins"]
    assert not modules_after(*arguments) & (LOADING | COMPUTING)


def test_a_first_start_imports_nothing_that_computes(site, modules_after):
    site.put("dist-toy", TOY, greeting=GREETING)
    loaded = modules_after("--help")
    assert "dist_toy_entry" in loaded
    assert not loaded & (COMPUTING | {"packaging"})


def test_a_help_page_a_header_and_a_stack_need_neither_plugins_nor_arithmetic(cache, modules_after, tiny, fact_patch):
    for arguments in (["inspect", "--help"], ["inspect", str(fact_patch(tiny, "ada"))], ["stack", str(tiny)]):
        loaded = modules_after(*arguments)
        assert not loaded & (COMPUTING | LOADING - {"attrs"})


def test_discovery_reads_each_metadata_file_once(site, editcore):
    site.put("dist-toy", TOY, greeting=GREETING)
    read = [line.split(" ", 1) for line in editcore("--help", program=("-c", READINGS)).stderr.splitlines()]
    assert {times for times, _ in read} == {"1"}
    paths = {path for _, path in read}
    assert sum(path.endswith("dist_toy-1.0.dist-info/METADATA") for path in paths) == 1
    # of what is no plugin, which is nearly everything, the description is not read
    described = {Path(path).parent for path in paths if not path.endswith("entry_points.txt")}
    assert all("[editcore]" in (folder / "entry_points.txt").read_text() for folder in described)


def test_a_plugin_that_is_installed_changed_or_removed_is_seen_at_once(cache, site, editcore):
    site.put("dist-new", TOY.replace("greet", "wave").replace("hello", "goodbye"))
    assert "Say goodbye." in editcore("--help").stdout
    assert "dist-new" in editcore("plugins", "list").stdout
    entry = site.folder / "dist_toy_entry.py"
    entry.write_text(entry.read_text().replace("Say hello.", "Say hello twice."))
    assert "Say hello twice." in editcore("--help").stdout
    shutil.rmtree(site.folder / "dist_toy-1.0.dist-info")
    assert "Say hello" not in editcore("--help").stdout
    assert "dist-toy" not in editcore("plugins", "list").stdout


def test_what_a_plugin_is_called_is_seen_though_no_folder_changed(cache, site, editcore):
    (site.folder / "dist_toy-1.0.dist-info" / "METADATA").write_text("Name: dist-toy\nVersion: 1.0.1\n")
    settle(site.folder)
    assert "1.0.1" in editcore("plugins", "list").stdout


def test_nothing_is_kept_while_a_plugin_is_broken_or_files_just_changed(site, editcore):
    site.put("dist-toy", TOY, greeting=GREETING)
    editcore("--help")
    assert kept(site.folder.with_name("cache")) == []
    site.put("dist-bad", "import nothing_like_it")
    settle(site.folder)
    editcore("--help")
    editcore("plugins", "list")
    assert kept(site.folder.with_name("cache")) == []


@pytest.mark.parametrize("harm", ["writable by others", "a link", "no JSON", "another shape"])
def test_an_answer_that_is_not_ones_own_is_not_believed(cache, editcore, harm):
    (commands, _) = kept(cache)
    forged = commands.read_text().replace("Say hello.", "Say what I want.")
    assert forged != commands.read_text()
    commands.write_text({"no JSON": "{", "another shape": "[1]"}.get(harm, forged))
    if harm == "writable by others":
        commands.chmod(0o666)
    elif harm == "a link":
        commands.rename(cache / "elsewhere")
        commands.symlink_to(cache / "elsewhere")
    result = editcore("--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert "Say hello." in result.stdout


def test_a_cache_that_cannot_be_written_is_no_error(site, editcore):
    site.put("dist-toy", TOY, greeting=GREETING)
    settle(site.folder)
    site.folder.with_name("cache").write_text("a file where the folder should be")
    result = editcore("--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert "Say hello." in result.stdout


def test_the_contract_has_every_name_that_it_promises():
    assert set(editcore_hooks.__all__) == set(editcore_hooks._HOMES)
    for name in editcore_hooks.__all__:
        assert getattr(editcore_hooks, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'utils'"):
        editcore_hooks.utils  # noqa: B018
