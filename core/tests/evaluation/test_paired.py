"""Paired intervals against values computed by hand, and against how often they hold the truth."""

import random
from math import sqrt

import pytest

from editcore.evaluation.reports.intervals import Z95
from editcore.evaluation.reports.paired import paired


def test_a_difference_of_shares_by_hand() -> None:
    # of 8 pairs three rise and one falls: p12 = 4/10 and p21 = 2/10 with the added ones
    found = paired([0, 0, 0, 1, 1, 1, 0, 0], [1, 1, 1, 0, 1, 1, 0, 0], share=True)
    half = Z95 * sqrt((0.4 + 0.2 - 0.2**2) / 10)
    assert (found.mean, found.n, found.told_apart) == (0.25, 8, False)
    assert (found.low, found.high) == (pytest.approx(0.2 - half), pytest.approx(0.2 + half))


def test_equal_answers_of_few_cases_do_not_prove_equality() -> None:
    ten, thousand = (paired([1.0] * n, [1.0] * n, share=True) for n in (10, 1000))
    assert (ten.mean, ten.low) == (0, -ten.high)
    assert ten.high > 0.15 > 0.01 > thousand.high > 0


def test_pairing_tells_apart_what_two_separate_intervals_do_not() -> None:
    before = [i % 2 for i in range(40)]
    after = [max(value, float(i % 8 == 0)) for i, value in enumerate(before)]
    found = paired(before, after, share=True)
    assert found.mean == 0.125
    assert found.told_apart


def test_values_without_bounds_have_the_normal_interval() -> None:
    found = paired([1.0, 2.0, 3.0], [2.0, 4.0, 6.0], share=False)
    assert (found.mean, found.low) == (2.0, pytest.approx(2 - Z95 / sqrt(3)))
    one = paired([1.0], [3.0], share=False)
    assert (one.low, one.high) == (2, 2)


def test_the_interval_holds_the_true_difference_as_often_as_it_says() -> None:
    rng = random.Random(0)
    held = 0
    for _ in range(2000):
        pairs = [rng.choices([(0, 0), (1, 1), (0, 1), (1, 0)], (0.35, 0.35, 0.2, 0.1))[0] for _ in range(20)]
        found = paired([a for a, _ in pairs], [b for _, b in pairs], share=True)
        held += found.low <= 0.1 <= found.high
    assert 0.93 < held / 2000 < 0.99
