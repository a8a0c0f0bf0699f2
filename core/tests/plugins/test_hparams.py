"""Hyper-parameters are converted strictly, wherever they come from, and keep their source."""

import json
from typing import Literal

import attrs
import pytest
from attrs import frozen, validators
from hypothesis import given
from hypothesis import strategies as st

from editcore.plugins.hparams import (
    Resolved,
    describe,
    from_mapping,
    from_settings,
    merge,
    settings_mapping,
    to_json,
    undocumented,
)
from editcore.text.yaml_text import read_mapping
from editcore_hooks import PluginError, UsageError, hparam


@frozen
class Hparams:
    layer: int = hparam(5, help="the block", symbol="l*", source="eq. 1", validator=validators.ge(0))
    rate: float = hparam(0.5, help="step size", symbol="η")
    clip: bool = hparam(True, help="clip the norm")
    prefix: str = hparam("", help="text before the prompt")
    mode: Literal["on", "off"] = hparam("on", help="a switch")
    depth: int | None = hparam(None, help="blocks, or all")
    layers: tuple[int, ...] = hparam((3, 4), help="blocks")
    scales: tuple[float, ...] | None = hparam(None, help="weights, or equal ones")
    contexts: tuple[str, ...] = hparam(("{}",), help="templates")
    note: str | None = hparam(None, help="a remark")


@pytest.mark.parametrize(
    ("field", "given_value", "kept"),
    [
        ("layer", 7, 7),
        ("rate", 1, 1.0),
        ("rate", 1e-5, 1e-5),
        ("clip", False, False),
        ("mode", "off", "off"),
        ("depth", None, None),
        ("depth", 3, 3),
        ("layers", [1, 2], (1, 2)),
        ("layers", (), ()),
        ("scales", [1, 0.5], (1.0, 0.5)),
        ("contexts", ["{}", "a, b"], ("{}", "a, b")),
        ("note", None, None),
    ],
)
def test_values_that_fit_are_taken(field, given_value, kept):
    value = getattr(from_mapping(Hparams, {field: given_value}), field)
    assert value == kept
    assert type(value) is type(kept)


@pytest.mark.parametrize(
    ("field", "wrong", "expected"),
    [
        ("layer", True, "int"),
        ("layer", 5.0, "int"),
        ("layer", "5", "int"),
        ("rate", "0.5", "float"),
        ("rate", False, "float"),
        ("rate", float("nan"), "float"),
        ("rate", float("inf"), "float"),
        ("rate", -(10**400), "float"),
        ("clip", 1, "true or false"),
        ("clip", "true", "true or false"),
        ("prefix", 5, "text"),
        ("prefix", None, "text"),
        ("mode", "maybe", "'on' or 'off'"),
        ("mode", True, "'on' or 'off'"),
        ("depth", "all", "int or null"),
        ("layers", 3, "list of int"),
        ("layers", "34", "list of int"),
        ("layers", [1, "2"], "list of int"),
        ("layers", {"a": 1}, "list of int"),
        ("contexts", "abc", "list of text"),
    ],
)
def test_values_that_do_not_fit_are_refused_with_field_type_and_value(field, wrong, expected):
    with pytest.raises(UsageError) as caught:
        from_mapping(Hparams, {field: wrong})
    assert str(caught.value).startswith(f"{field} must be {expected}, not {wrong!r}"[:60])


@pytest.mark.parametrize(
    ("setting", "kept"),
    [
        ("layer=5", 5),
        ("layer= 5 ", 5),
        ("rate=1", 1.0),
        ("rate=1e-5", 1e-5),
        ("rate=-.5E+2", -50.0),
        ("clip=false", False),
        ("mode=off", "off"),
        ("prefix=no", "no"),
        ("prefix=5", "5"),
        ("prefix={}", "{}"),
        ("prefix=a=b, # c", "a=b, # c"),
        ("prefix= a ", " a "),
        ("prefix='@x'", "@x"),
        ("prefix=", ""),
        ("prefix=null", "null"),
        ("note=null", None),
        ("note='null'", "null"),
        ("note=12", "12"),
        ("depth=null", None),
        ("depth=010", "refused"),
        ("depth=0x10", "refused"),
        ("depth=1_0", "refused"),
        ("layers=[3, 4]", (3, 4)),
        ("layers=3,4,5", (3, 4, 5)),
        ("layers=3", (3,)),
        ("scales=1e-1,2", (0.1, 2.0)),
        ("contexts=['{}', 'x. {}']", ("{}", "x. {}")),
        ("contexts=one", "refused"),
        ("layer=yes", "refused"),
        ("clip=yes", "refused"),
        ("clip=1", "refused"),
        ("rate=fast", "refused"),
        ("rate=.inf", "refused"),
        ("layers=[3", "refused"),
        ("layer=!!python/object:os.system x", "refused"),
    ],
)
def test_the_command_line_follows_yaml_and_the_type_of_the_field(setting, kept):
    if kept == "refused":
        with pytest.raises(UsageError):
            from_settings(Hparams, [setting])
        return
    value = getattr(from_settings(Hparams, [setting]), setting.partition("=")[0])
    assert value == kept
    assert type(value) is type(kept)


def test_a_list_of_texts_is_read_from_a_file_one_a_line(tmp_path):
    path = tmp_path / "contexts.txt"
    path.write_text("{}\n\n  5. {}\nThe {}, # no comment\r\n", encoding="utf-8")
    made = from_settings(Hparams, [f"contexts=@{path}"])
    assert made.contexts == ("{}", "  5. {}", "The {}, # no comment")


def test_other_fields_are_read_from_a_file_as_yaml(tmp_path):
    path = tmp_path / "value.yaml"
    path.write_text("- 1\n- 2  # the last\n")
    assert from_settings(Hparams, [f"layers=@{path}"]).layers == (1, 2)
    path.write_text("no\n")
    assert from_settings(Hparams, [f"prefix=@{path}"]).prefix == "no"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["layr=5"], "there is no hyper-parameter 'layr' (did you mean 'layer'?)"),
        (["layer"], "'layer' sets nothing (write --set name=value)"),
        (["=5"], "sets nothing"),
        (["layer=1", "layer=2"], "layer is set twice"),
        (["contexts=@no/such/file"], "the file of contexts 'no/such/file' cannot be read: No such file or directory"),
        (["layer=-1"], "'layer' must be >= 0: -1"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused(settings, message):
    with pytest.raises(UsageError) as caught:
        from_settings(Hparams, settings)
    assert message in str(caught.value)


def test_an_unknown_name_that_is_near_to_none_is_told_what_there_is():
    with pytest.raises(UsageError, match="choose one of clip, contexts, depth"):
        from_mapping(Hparams, {"xyzzy": 1})


def test_later_layers_win_and_every_value_has_its_source():
    merged = merge(
        Hparams,
        ("preset tiny", {"layer": 1, "rate": 0.1, "layers": [7]}),
        ("file rome.yaml", {"layer": 2, "clip": False}),
        ("--set", settings_mapping(Hparams, ["layer=3"])),
    )
    assert isinstance(merged, Resolved)
    assert merged.hparams == Hparams(layer=3, rate=0.1, clip=False, layers=(7,))
    assert merged.resolved["layer"] == (3, "--set")
    assert merged.resolved["rate"] == (0.1, "preset tiny")
    assert merged.resolved["layers"] == ((7,), "preset tiny")
    assert merged.resolved["clip"] == (False, "file rome.yaml")
    assert merged.resolved["mode"] == ("on", "default")
    assert set(merged.resolved) == {field.name for field in attrs.fields(Hparams)}


@pytest.mark.parametrize("layer", [{"layer": "x"}, {"layr": 1}])
def test_a_fault_of_a_layer_names_its_source_even_when_a_later_one_hides_it(layer):
    with pytest.raises(UsageError, match=r"^file rome\.yaml: "):
        merge(Hparams, ("file rome.yaml", layer), ("--set", {"layer": 1}))


def test_a_rule_over_two_fields_is_checked_on_the_whole_only():
    @frozen
    class Ordered:
        low: int = hparam(0, help="a")
        high: int = hparam(1, help="b")

        def __attrs_post_init__(self):
            if self.low > self.high:
                raise ValueError("low must not be over high")

    assert merge(Ordered, ("preset", {"low": 5}), ("--set", {"high": 6})).hparams == Ordered(5, 6)
    with pytest.raises(UsageError, match="low must not be over high"):
        merge(Ordered, ("--set", {"low": 5}))


def test_a_field_without_default_must_be_given():
    @frozen
    class Needs:
        path: str = attrs.field(metadata={"help": "needed"})

    with pytest.raises(UsageError, match="path has no default"):
        from_mapping(Needs, {})
    assert describe(Needs)[0].default == "required"


def test_rows_describe_every_field():
    rows = {row.field: row for row in describe(Hparams)}
    assert list(rows) == [field.name for field in attrs.fields(Hparams)]
    layer = rows["layer"]
    assert (layer.type, layer.default, layer.symbol, layer.help, layer.source) == (
        "int",
        "5",
        "l*",
        "the block",
        "eq. 1",
    )
    assert rows["clip"].default == "true"
    assert rows["layers"].default == "[3, 4]"
    assert (rows["depth"].type, rows["depth"].default) == ("int or null", "null")
    assert rows["scales"].type == "list of float or null"


def test_fields_without_help_are_found():
    @frozen
    class Careless:
        good: int = hparam(1, help="said")
        bad: int = 2

    assert undocumented(Careless) == ["bad"]
    assert undocumented(Hparams) == []


def test_a_type_that_the_host_cannot_convert_is_the_plugins_fault():
    @frozen
    class Odd:
        table: dict[str, int] = attrs.field(factory=dict)

    with pytest.raises(PluginError, match="not supported"):
        from_mapping(Odd, {"table": {}})


def test_types_written_as_texts_are_understood():
    @frozen
    class Late:
        n: "int | None" = 1

    assert from_mapping(Late, {"n": 2}).n == 2
    with pytest.raises(UsageError):
        from_mapping(Late, {"n": "2"})


hparams = st.builds(
    Hparams,
    layer=st.integers(0, 99),
    rate=st.floats(allow_nan=False, allow_infinity=False),
    clip=st.booleans(),
    prefix=st.text(),
    mode=st.sampled_from(["on", "off"]),
    depth=st.none() | st.integers(),
    layers=st.lists(st.integers()).map(tuple),
    scales=st.none() | st.lists(st.floats(allow_nan=False, allow_infinity=False)).map(tuple),
    contexts=st.lists(st.text()).map(tuple),
    note=st.none() | st.text(),
)


@given(hparams)
def test_json_gives_back_what_was_kept(made):
    assert from_mapping(Hparams, json.loads(json.dumps(to_json(made)))) == made


def test_a_file_is_one_mapping_and_no_key_is_there_twice(tmp_path):
    path = tmp_path / "hparams.yaml"
    path.write_text("layer: 3\nrate: 1e-3\nmode: off\nlayers: [1, 2]\n")
    assert from_mapping(Hparams, read_mapping(path)) == Hparams(3, 1e-3, mode="off", layers=(1, 2))
    path.write_text("")
    assert read_mapping(path) == {}
    for bad, message in [
        ("layer: 3\nlayer: 4\n", "line 2: the key 'layer' is there twice"),
        ("- 1\n", "holds no mapping"),
        ("1: 2\n", "holds no mapping"),
        ("a: [1\n", "is not YAML"),
        ("a: !!python/name:os.system\n", "is not YAML"),
        ("a: 2024-01-01\n? [x]\n: 1\n", "is not YAML|holds no mapping"),
    ]:
        path.write_text(bad)
        with pytest.raises(UsageError, match=message):
            read_mapping(path)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "hparams.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        read_mapping(path)
    with pytest.raises(UsageError, match="Is a directory"):
        read_mapping(tmp_path)


@attrs.frozen
class Renamed:
    size: float = hparam(0.5, help="length", formerly="step")


def test_a_former_name_is_taken_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="step is now called size"):
        assert from_mapping(Renamed, {"step": 2.0}).size == 2.0
    with pytest.warns(UserWarning, match="step is now called size"):
        assert from_settings(Renamed, ["step=3"]).size == 3.0


def test_both_names_at_once_are_refused() -> None:
    with pytest.warns(UserWarning, match="now called"), pytest.raises(UsageError, match="set twice"):
        from_mapping(Renamed, {"step": 2.0, "size": 1.0})
