"""Every animal by the check that it breaks, and how a check is run on one."""

import types
from pathlib import Path
from typing import Any, Final

from checks.zoo import datasets, kinds, locators, metrics, transforms
from checks.zoo import methods as m
from editcore.assets.store import AssetStore
from editcore.plugins.registry import Registry
from editcore.testing.conformance import SUITES
from editcore.testing.declared_checks import DeclaredChecks
from editcore_hooks import hookimpl

HONEST: Final[dict[str, list[Any]]] = {
    "method": [m.Honest, m.Remembers],
    "locator": [locators.Fixed],
    "transform": [transforms.Halves],
    "metric": [metrics.Likelihood],
    "patch kind": [kinds.Checked, kinds.OnHidden],
    "dataset": [datasets.Lines, datasets.Table],
}
BREAKERS: Final[dict[str, dict[str, list[Any]]]] = {
    "method": {
        "test_the_class_is_declared_without_faults": [m.Misdeclared],
        "test_it_is_summed_up_in_a_line": [m.Unsummed],
        "test_every_hyper_parameter_is_documented": [m.Undocumented],
        "test_hyper_parameters_survive_json": [m.Converted],
        "test_the_model_is_left_as_it_was": [m.WritesWeights, m.LeavesHook, m.LeavesTrainMode, m.LeavesGradient],
        "test_random_state_is_left_as_it_was": [m.Draws],
        "test_two_seeded_runs_agree_to_the_last_bit": [m.Counts],
        "test_the_order_of_requests_does_not_matter": [m.PrefersTheFirst],
        "test_edits_computed_together_are_those_computed_alone": [m.SharesAStep],
        "test_a_row_answers_alike_alone_and_among_others": [m.MinglesRows],
        "test_the_side_of_padding_does_not_matter": [m.ReadsTheSide, m.CountsColumns],
        "test_only_located_tensors_are_touched": [m.Strays],
        "test_a_patch_is_saved_applied_and_taken_back_to_the_last_bit": [m.LeavesATrace, m.LeavesBytes],
        "test_the_target_becomes_likelier": [m.MakesUnlikelier],
        "test_a_site_that_is_not_there_is_refused": [m.EditsElsewhere, m.FallsOver, m.SaysNoMore],
        "test_a_batch_of_nothing_is_refused": [m.AcceptsNothing],
        "test_a_given_location_is_obeyed": [m.EditsItsLayer],
        "test_the_setting_of_its_place_is_obeyed": [m.LikesOneLayer],
        "test_two_targets_give_two_updates": [m.KnowsOneTarget],
        "test_other_facts_keep_their_answers": [m.Wrecks],
        "test_sequential_means_increments_that_are_read_and_go": [m.NeverLooksBack, m.LeavesNoState],
        "test_what_it_proposes_are_valid_settings": [m.ProposesNonsense, m.ShipsNonsense],
        "test_figures_are_the_same_however_much_is_asked_together": [m.CountsColumns],
        "test_weights_stored_the_other_way_round_are_edited": [m.TakesTheStored],
        "test_a_model_in_16_bits_is_edited": [m.WantsSinglePrecision],
    },
    "locator": {
        "test_every_site_is_in_the_model": [locators.PointsNowhere],
        "test_its_token_has_a_meaning": [locators.NamesNoToken],
        "test_the_model_is_left_as_it_was": [locators.HooksTheModel],
        "test_random_state_is_left_as_it_was": [locators.DrawsAPlace],
        "test_two_seeded_runs_agree": [locators.ChangesItsMind],
        "test_the_order_of_requests_does_not_matter": [locators.ListensToTheFirst],
    },
    "transform": {
        "test_the_model_is_left_as_it_was": [transforms.HooksWhatItReads],
        "test_random_state_is_left_as_it_was": [transforms.DrawsAFactor],
        "test_two_runs_agree_to_the_last_bit": [transforms.Trembles],
        "test_sites_and_shapes_stay": [transforms.LosesASite],
        "test_the_update_that_it_is_given_is_unchanged": [transforms.WritesIntoItsArgument],
        "test_the_form_of_an_update_does_not_matter": [transforms.KnowsOneForm],
        "test_what_else_an_update_holds_is_kept": [transforms.DropsNotes],
        "test_an_update_of_zero_stays_zero": [transforms.AddsToNothing],
        "test_an_update_without_weights_is_refused_or_left": [transforms.EmptiesPayloads],
    },
    "metric": {
        "test_its_name_has_a_version": [metrics.Unversioned],
        "test_the_model_is_left_as_it_was": [metrics.StartsTraining],
        "test_random_state_is_left_as_it_was": [metrics.DrawsAnAnswer],
        "test_two_runs_agree": [metrics.Drifts],
        "test_value_and_rows_are_in_order": [metrics.MissesItsInterval],
        "test_the_order_of_cases_does_not_matter": [metrics.WeighsTheFirst],
        "test_a_case_is_scored_alike_alone_and_among_others": [metrics.SharesAmongCases],
        "test_what_it_needs_is_needed": [metrics.NeedsWhatItIgnores],
        "test_it_reads_the_model_as_it_is_now": [metrics.RemembersAnswers],
    },
    "patch kind": {
        "test_the_host_knows_its_places": [kinds.NamesNoPlace],
        "test_it_comes_off_without_a_trace": [kinds.Stays],
        "test_patches_come_off_in_any_order": [kinds.TakesOffTheLast],
        "test_a_row_answers_alike_alone_and_among_others": [kinds.MinglesTheRows],
        "test_the_side_of_padding_does_not_matter": [kinds.MarksTheLastColumn],
        "test_texts_read_as_a_tree_answer_alike": [kinds.LooksLeft],
        "test_it_writes_alike_with_and_without_a_cache": [kinds.SkipsOneToken],
        "test_it_describes_itself_in_json": [kinds.DescribesTensors],
        "test_a_patch_without_its_parts_is_refused": [kinds.ChecksNothing],
    },
    "dataset": {
        "test_it_has_a_sample_that_it_reads": [datasets.ShowsNoSample],
        "test_two_readings_agree": [datasets.CountsItsReadings],
        "test_cases_have_ids_of_their_own": [datasets.CallsAllAlike],
        "test_cases_survive_a_file": [datasets.InventsAFacet],
        "test_a_record_without_a_key_is_refused": [datasets.FillsIn, datasets.SaysNoKey, datasets.FillsAColumn],
        "test_a_file_of_something_else_is_refused": [datasets.FallsOverText],
    },
}


def checks_of(kind: str) -> list[str]:
    """The names of the checks of a kind; `declared`: those of every kind."""
    suite = DeclaredChecks if kind == "declared" else SUITES[kind]
    return [name for name in dir(suite) if name.startswith("test_")]


def plugin(kind: str, cls: Any) -> Registry:
    """A registry with one animal, and with what it needs."""
    module = types.ModuleType("toy")
    offered: dict[str, list[Any]] = {kind: [cls]}
    if kind == "method":
        offered["patch kind"] = [m.Bias, m.Mingling, m.ByColumn, m.Staying]
        for name, observer in cls.observers.items():
            setattr(module, name, observer)
    if kind == "patch kind":
        offered["method"] = [kinds.maker(cls)]
    for each, classes in offered.items():
        hook = f"editcore_register_{each.replace(' ', '_')}s"
        setattr(module, hook, hookimpl(lambda classes=classes: classes, specname=hook))
    return Registry.of(module)


def suite(kind: str, cls: Any) -> Any:
    """The suite for an animal."""
    settings = {kind.replace(" ", "_"): cls.name, "registry": plugin(kind, cls)}
    if kind == "patch kind":
        settings["method"] = kinds.maker(cls).name
    return type(f"Of{cls.__name__}", (SUITES[kind],), settings)()


def given(made: Any, check: str, place: Path) -> dict[str, Any]:
    """The arguments that pytest would give to a check of a suite."""
    code = getattr(made, check).__code__
    wanted = code.co_varnames[1 : code.co_argcount]
    found: dict[str, Any] = {"tmp_path": place, "assets": AssetStore(place / "assets")}
    if "session" in wanted or "folder" in wanted:
        found["folder"] = made.model(place / "base")
    if "session" in wanted:
        found["session"] = made.open(found["folder"], found["assets"])
    return {name: found[name] for name in wanted}
