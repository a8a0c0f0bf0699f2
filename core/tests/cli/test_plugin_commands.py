"""Commands of plugins come by name and address, and their faults stay theirs."""

ADDING = """
    from editcore_hooks import hookimpl

    @hookimpl
    def editcore_register_commands(cli):
        cli.add("greet", "{module}:greet", "Say hello.")
"""
GREETING = """
    import click
    from editcore.cli.options import with_output

    @click.command()
    @click.argument("whom")
    @with_output
    def greet(out, whom):
        if out.as_json:
            out.json({"whom": whom})
        else:
            out.print(f"hello {whom}")
"""


def test_a_plugins_command_is_listed_and_runs(editcore, site):
    site.put("dist-greet", ADDING.format(module="greeting"), greeting=GREETING)
    assert "Say hello." in editcore("--help").stdout
    assert editcore("greet", "you").stdout == "hello you\n"
    assert editcore("greet", "you", "--json").stdout == '{\n  "whom": "you"\n}\n'


def test_its_module_is_imported_only_when_it_runs(editcore, site):
    site.put("dist-greet", ADDING.format(module="greeting"), greeting="raise ImportError('too heavy')")
    assert editcore("--help").returncode == 0
    result = editcore("greet", "you")
    assert result.returncode == 4
    assert result.stderr == (
        "error: the command 'greet' of the plugin dist-greet (dist-greet) is broken: ImportError: too heavy\n"
        "hint: pip install --upgrade dist-greet\n"
    )


def test_a_command_offered_twice_is_refused_naming_both_distributions(editcore, site):
    site.put("dist-a", ADDING.format(module="greeting"), greeting=GREETING)
    site.put("dist-b", ADDING.format(module="greeting"), greeting=GREETING)
    result = editcore("greet", "you")
    assert result.returncode == 4
    assert "offered twice, by dist-a (dist-a) and dist-b (dist-b)" in result.stderr
    assert "refused" in editcore("--help").stdout
    assert editcore("greet", "you", plugins="dist-b").stdout == "hello you\n"


def test_a_plugin_cannot_take_a_command_of_the_core(editcore, site):
    site.put("dist-thief", ADDING.format(module="greeting").replace('"greet"', '"plugins"'), greeting=GREETING)
    assert editcore("--help").returncode == 0
    listed = editcore("plugins", "list").stdout.splitlines()
    assert "broken" in next(line for line in listed if line.startswith("dist-thief"))
    doctor = editcore("plugins", "doctor")
    assert doctor.returncode == 4
    assert "the command 'plugins' is already there" in doctor.stdout


def test_a_hook_that_raises_or_adds_no_address_leaves_the_help_as_it_is(editcore, site):
    for number, line in enumerate(
        ["1 / 0", "cli.add('x', print, 'help')", "cli.add('a b', 'm:f', 'h')", "cli.command()"]
    ):
        site.put(
            f"dist-bad{number}",
            f"from editcore_hooks import hookimpl\n@hookimpl\ndef editcore_register_commands(cli):\n    {line}\n",
        )
    site.put("dist-greet", ADDING.format(module="greeting"), greeting=GREETING)
    result = editcore("--help")
    assert result.returncode == 0
    assert "greet" in result.stdout
    assert editcore("plugins", "doctor").stdout.count("is broken") == 4


def test_a_missing_command_of_a_package_that_is_broken_or_left_out_says_so(editcore, site):
    site.put("editcore-demo", "import nothing_like_it")
    result = editcore("demo")
    assert result.returncode == 4
    assert "is broken: ModuleNotFoundError" in result.stderr
    assert "is left out" in editcore("demo", plugins="").stderr


def test_a_missing_command_of_an_installed_package_asks_for_an_upgrade(editcore, site):
    site.put("editcore-demo", "")
    assert "has no command 'demo'\nhint: pip install --upgrade editcore-demo" in editcore("demo").stderr


def test_a_command_of_the_core_asks_no_plugin(modules_after, site):
    site.put("dist-greet", ADDING.format(module="greeting"), greeting=GREETING)
    listing = modules_after("--help")
    assert "dist_greet_entry" in listing
    assert "greeting" not in listing
    assert "dist_greet_entry" not in modules_after("methods", "--help")
