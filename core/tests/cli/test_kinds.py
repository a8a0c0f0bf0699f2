"""Lists of locators, transforms, metrics and kinds, for people and for machines."""

import json

import pytest

from editcore.evaluation.metrics.builtin import METRICS


def test_metrics_are_listed_with_what_they_need(command) -> None:
    rows = {row["name"]: row for row in json.loads(command("metrics", "--json").stdout)}
    assert rows.keys() >= {metric.name for metric in METRICS}
    assert rows["pref.es@1"]["needs"] == "a request with a true target"
    assert rows["pref.es@1"]["better"] == "higher"


def test_a_kind_of_patch_tells_what_can_be_done_with_it(command) -> None:
    (row,) = [row for row in json.loads(command("kinds", "--json").stdout) if row["name"] == "ffn_units"]
    assert (row["kind"], row["fold"]) == ("modules", "yes")
    assert row["apply"].startswith("no: ")


@pytest.mark.parametrize("name", ["locators", "transforms", "metrics", "kinds"])
def test_an_unknown_name_is_refused(command, name: str) -> None:
    done = command(name, "nothing-like-it")
    assert done.returncode == 4
    assert "error:" in done.stderr


def test_a_method_tells_what_it_needs_and_what_is_reverted(editcore, site) -> None:
    site.put(
        "dist-toy",
        """
        from editcore_hooks import EditMethod, hookimpl

        class Toy(EditMethod):
            name = "toy"
            capabilities = frozenset({"batch", "encoder-decoder"})

            def locate(self, session, requests, state): ...

            def compute_update(self, session, requests, location, state): ...

            @classmethod
            def make_ready(cls, session, hparams): ...

        @hookimpl
        def editcore_register_methods():
            return [Toy]
        """,
    )
    (row,) = json.loads(editcore("methods", "--json").stdout)
    assert (row["needs"], row["reverts"]) == ("statistics", "each patch: the facts that were written together")
    assert "batch, T5, needs statistics" in editcore("methods").stdout
