"""Recommended commands hold the real names that the command was given."""

import pytest

from editcore.cli.naming import fill, given_names
from editcore.cli.output import Output


@pytest.mark.parametrize(
    ("options", "text", "filled"),
    [
        ({"model": "tour/model"}, "editcore tune MODEL --method rome", "editcore tune tour/model --method rome"),
        ({"model": "my model"}, "`editcore stats MODEL --tokens N`, or", "`editcore stats 'my model' --tokens N`, or"),
        (
            {"patches": ("a.s",)},
            "editcore export PATCH --to peft --model DIR",
            "editcore export a.s --to peft --model DIR",
        ),
        ({"patches": ("a.s", "b.s")}, "editcore export PATCH --to merged", "editcore export PATCH --to merged"),
        ({"model": "m"}, "the MODEL car. editcore tune MODEL", "the MODEL car. editcore tune m"),
        ({"model": "m"}, "editcore import DIR/x MODEL2", "editcore import DIR/x MODEL2"),
        ({"model": None}, "editcore tune MODEL", "editcore tune MODEL"),
    ],
)
def test_placeholders_are_filled_inside_commands_only(options, text, filled):
    assert fill(text, given_names(options)) == filled


def test_messages_of_every_kind_are_filled(capsys):
    out = Output()
    out.given = {"MODEL": "m"}
    for write in (out.say, out.warn, out.error):
        write("run editcore tune MODEL")
    assert capsys.readouterr().err.count("editcore tune m\n") == 3


def test_an_error_without_a_hint_ends_in_the_help_of_its_command(command, tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text("a: [")
    words = ("--prompt", "{} is", "--subject", "A", "--target", "b", "-o", str(tmp_path / "a.safetensors"))
    done = command("edit", str(tmp_path), *words, "--method", "rome", "--hparams", str(bad))
    assert done.returncode == 2
    assert "is not YAML" in done.stderr
    assert done.stderr.endswith("editcore edit --help\n")
