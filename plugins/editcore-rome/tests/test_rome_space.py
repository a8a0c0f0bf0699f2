"""What `tune` may choose from."""

import pytest

from editcore.plugins.calls import run_locate, stage_manager
from editcore.plugins.registry import Registry
from editcore_hooks import Location, Locator, Site, State, UsageError
from editcore_rome.hooks import Rome
from editcore_rome.hparams import RomeHparams
from editcore_rome.space import MOST_PLACES, RECIPES, space

GPT2_XL = {"n_layers": 48, "mlp_width": 6400}


def test_recipes_name_the_same_hyper_parameters_so_that_no_preset_shines_through():
    assert {frozenset(recipe) for recipe in RECIPES} == {frozenset(RECIPES[0])}
    assert len({tuple(sorted(recipe.items())) for recipe in RECIPES}) == len(RECIPES)


def test_every_candidate_is_a_setting_of_the_method():
    for place in space(GPT2_XL).places:
        for recipe in RECIPES:
            RomeHparams(**place, **recipe)


@pytest.mark.parametrize(("n_layers", "first", "last"), [(48, 0, 35), (6, 0, 3), (1, 0, 0)])
def test_layers_reach_from_the_first_to_three_quarters_of_the_depth(n_layers, first, last):
    layers = [place["layer"] for place in space({"n_layers": n_layers, "mlp_width": 64}).places]
    assert (layers[0], layers[-1]) == (first, last)
    assert len(layers) <= MOST_PLACES


def test_wider_models_get_fewer_layers_since_their_moments_must_fit():
    assert len(space({"n_layers": 48, "mlp_width": 20_000}).places) < len(space(GPT2_XL).places)


def test_a_locator_s_layer_is_a_place_of_rome_and_several_are_none():
    sites = [Site("mlp_out", layer) for layer in (2, 3)]
    assert Rome.place_at(Location(tuple(sites[1:]))) == {"layer": 3}
    assert Rome.place_at(Location(tuple(sites))) == {}


class Both(Locator):
    name = "both"

    def locate(self, session, requests, state):
        return Location((Site("mlp_out", 1), Site("mlp_out", 2)))


def test_a_locator_of_two_sites_is_refused_with_its_name():
    manager = stage_manager(Registry.of(), Rome(), Both())
    with pytest.raises(UsageError, match=r"^rome edits one site; the locator both gave 2: ") as caught:
        run_locate(manager, None, [], State(""))
    assert caught.value.hint == "name a locator that gives one site, or leave it out"


def test_smaller_steps_are_tried_and_an_encoder_is_not():
    assert RECIPES[0]["v_lr"] is None  # by the value's norm
    assert Rome.tunable({**GPT2_XL, "encoder_decoder": False}) is not None
    assert Rome.tunable({**GPT2_XL, "encoder_decoder": True}) is None


def test_the_statistics_of_a_wide_model_take_ten_tokens_a_direction():
    assert space(GPT2_XL).tokens == 10 * GPT2_XL["mlp_width"]
