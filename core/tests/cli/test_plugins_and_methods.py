"""`plugins` and `methods` tell what is there, for people and for machines."""

import json
import textwrap

METHOD = """
    from typing import Literal
    from attrs import frozen
    from editcore_hooks import EditMethod, hookimpl, hparam

    @frozen
    class Hparams:
        layer: int = hparam(5, help="the block", symbol="l*", source="eq. 1")
        mode: Literal["a", "b"] = hparam("a", help="a switch")

    class Toy(EditMethod):
        name = "toy"
        summary = "does little"
        paper = "arXiv:0000.00000"
        capabilities = frozenset({"batch"})
        Hparams = Hparams

        def locate(self, session, requests, state): ...

        def compute_update(self, session, requests, location, state): ...

    @hookimpl
    def editcore_register_methods():
        return [Toy]
"""


def test_a_list_of_plugins_shows_state_and_reason(editcore, site):
    site.put("dist-toy", METHOD, name="toy")
    site.put("dist-bad", "import nothing_like_it", name="bad")
    site.put("dist-late", METHOD.replace("return [Toy]", "return 1 / 0"), name="late")
    lines = editcore("plugins", "list").stdout.splitlines()
    assert lines[0].split() == ["name", "distribution", "version", "status", "reason"]
    bad = next(line for line in lines if line.startswith("bad"))
    assert "broken" in bad
    assert "No module named 'nothing_like_it'" in bad
    late = next(line for line in lines if line.startswith("late"))
    assert "broken" in late
    assert "ZeroDivisionError" in late
    toy = next(line for line in lines if line.startswith("toy"))
    assert toy.split()[1:] == ["dist-toy", "1.0", "ok"]
    heading, *more = editcore("plugins", "list", "-v").stdout.splitlines()
    assert heading.split()[3:] == ["status", "hooks", "ms", "reason"]
    assert any(line.split()[1:5] == ["dist-toy", "1.0", "ok", "register_methods"] for line in more)


def test_a_list_as_json_holds_the_traceback(editcore, site):
    site.put("dist-bad", "import nothing_like_it", name="bad")
    records = {record["name"]: record for record in json.loads(editcore("plugins", "list", "--json").stdout)}
    assert records["editcore"]["status"] == "ok"
    assert records["bad"]["status"] == "broken"
    assert "Traceback" in records["bad"]["error"]


STAGE = """
        @hookimpl
        def editcore_compute_update(self, session, {arguments}):
            pass

    @hookimpl
    def editcore_register_methods"""
WHOLE = METHOD.replace("\n    @hookimpl\n    def editcore_register_methods", STAGE.replace("{arguments}", "requests"))


def test_the_doctor_finds_nothing_in_health(editcore, site):
    site.put("dist-toy", WHOLE)
    result = editcore("plugins", "doctor")
    assert (result.returncode, result.stdout) == (0, "")
    assert "no faults found" in result.stderr
    assert json.loads(editcore("plugins", "doctor", "--json").stdout) == {"faulty": [], "duplicates": [], "classes": []}


def test_the_doctor_shows_tracebacks_and_duplicates_and_exits_4(editcore, site):
    site.put("dist-bad", "import nothing_like_it")
    site.put("dist-late", METHOD.replace("return [Toy]", "return 1 / 0"))
    site.put("dist-one", METHOD)
    site.put("dist-two", METHOD)
    result = editcore("plugins", "doctor")
    assert result.returncode == 4
    assert "dist-bad (dist-bad 1.0) is broken: ModuleNotFoundError" in result.stdout
    assert "dist_late_entry.py" in result.stdout
    assert "ZeroDivisionError" in result.stdout
    assert "the method 'toy' is offered twice, by dist-one and dist-two" in result.stdout
    found = json.loads(editcore("plugins", "doctor", "--json").stdout)
    assert {record["name"] for record in found["faulty"]} == {"dist-bad", "dist-late"}
    assert found["duplicates"] == [{"kind": "method", "name": "toy", "distributions": ["dist-one", "dist-two"]}]


def test_the_doctor_tells_what_a_class_does_wrong(editcore, site):
    site.put("dist-toy", WHOLE.replace("session, requests", "session, request").replace('help="the block"', 'help=""'))
    result = editcore("plugins", "doctor")
    assert result.returncode == 4
    assert result.stdout == (
        "the method toy (dist-toy 1.0):\n"
        "  'editcore_compute_update' has no argument 'request': did you mean 'requests'?\n"
        "  the help of the hyper-parameter 'layer' is empty\n\n"
    )
    (found,) = json.loads(editcore("plugins", "doctor", "--json").stdout)["classes"]
    assert (found["name"], found["owner"], len(found["faults"])) == ("the method toy", "dist-toy 1.0", 2)


def test_the_doctor_names_the_entry_module_that_imports_torch(editcore, site):
    site.put("dist-heavy", "import torch", torch="")
    site.put("dist-toy", WHOLE)
    result = editcore("plugins", "doctor")
    assert result.returncode == 4
    assert result.stdout.startswith(
        "the plugin dist-heavy (dist-heavy 1.0):\n  its entry module dist_heavy_entry imports"
    )
    assert "dist-toy" not in result.stdout


def test_a_list_says_which_names_two_plugins_offer(editcore, site):
    site.put("dist-one", METHOD)
    site.put("dist-two", METHOD)
    lines = editcore("plugins", "list").stdout.splitlines()
    for name in ("dist-one", "dist-two"):
        line = next(line for line in lines if line.startswith(name))
        assert "the method 'toy' is offered twice, by dist-one and dist-two" in line


def test_a_method_that_may_be_of_a_plugin_left_out_says_so(editcore, site):
    site.put("dist-toy", METHOD)
    error = editcore("methods", "zzz", plugins="").stderr
    assert "EDITCORE_PLUGINS leaves out" in error
    assert "dist-toy (dist-toy 1.0)" in error


def test_methods_are_listed_with_their_summary(editcore, site):
    site.put("dist-toy", METHOD)
    lines = editcore("methods").stdout.splitlines()
    assert lines[1].split() == ["toy", "dist-toy", "batch", "does", "little"]
    (method,) = json.loads(editcore("methods", "--json").stdout)
    assert (method["name"], method["paper"], method["capabilities"]) == ("toy", "arXiv:0000.00000", ["batch"])


def test_no_method_at_all_says_what_to_install(editcore):
    result = editcore("methods")
    assert result.stdout == ""
    assert "pip install" in result.stderr
    assert json.loads(editcore("methods", "--json").stdout) == []


def test_a_method_shows_every_hyper_parameter(editcore, site):
    site.put("dist-toy", METHOD)
    text = editcore("methods", "toy").stdout
    for piece in ("does little", "arXiv:0000.00000", "dist-toy 1.0", "l*", "the block", "eq. 1", "'a' or 'b'"):
        assert piece in text
    shown = json.loads(editcore("methods", "toy", "--json").stdout)
    assert [row["field"] for row in shown["hparams"]] == ["layer", "mode"]
    assert shown["hparams"][0]["default"] == "5"


def test_presets_are_found_beside_the_entry_module(editcore, site):
    package = site.folder / "toy_package"
    (package / "presets").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "presets" / "tiny.yaml").write_text("layer: 1\n")
    site.put("dist-toy", "from toy_package.hooks import editcore_register_methods")
    (package / "hooks.py").write_text(textwrap.dedent(METHOD))
    assert json.loads(editcore("methods", "toy", "--json").stdout)["presets"] == ["tiny"]


def test_methods_warns_of_plugins_that_cannot_be_used(editcore, site):
    site.put("dist-bad", "import nothing_like_it")
    site.put("dist-toy", METHOD)
    result = editcore("methods")
    assert "toy" in result.stdout
    assert result.stderr == "warning: some plugins cannot be used. Find out why with `editcore plugins doctor`\n"


def test_an_unknown_method_is_exit_code_4_with_the_next_step(editcore, site):
    site.put("dist-toy", METHOD)
    result = editcore("methods", "tay")
    assert (result.returncode, result.stderr) == (4, "error: there is no method 'tay'\nhint: did you mean 'toy'?\n")


def test_json_stays_json_beside_a_plugin_that_prints_or_leaves(editcore, site):
    site.put("dist-loud", f"\n    print('hello'){METHOD}")
    site.put("dist-leaving", "print('bye')\nraise GeneratorExit")
    done = editcore("plugins", "list", "--json")
    states = {record["name"]: record["status"] for record in json.loads(done.stdout)}
    assert (states["dist-loud"], states["dist-leaving"]) == ("ok", "broken")
    assert "hello" in done.stderr


def test_everything_that_plugins_offer_is_listed_by_kind(editcore, site):
    more = """
    from editcore_hooks import Transform

    class Half(Transform):
        name = "half"
        summary = "takes a half"
        Hparams = Hparams

    @hookimpl
    def editcore_register_transforms():
        return [Half]
"""
    site.put("dist-toy", textwrap.dedent(METHOD) + textwrap.dedent(more))
    every = json.loads(editcore("plugins", "offers", "--json").stdout)
    kinds = {row["kind"] for row in every}
    assert {"method", "transform", "metric", "architecture", "patch kind"} <= kinds
    (half,) = [row for row in every if row["name"] == "half"]
    assert (half["distribution"], half["summary"]) == ("dist-toy", "takes a half")
    shown = editcore("plugins", "offers", "transforms").stdout.splitlines()
    assert len(shown) == 2
    assert shown[1].endswith("layer=5 mode=a")
    wrong = editcore("plugins", "offers", "hald")
    assert wrong.returncode == 2
    assert "did you mean 'half'?" in wrong.stderr
