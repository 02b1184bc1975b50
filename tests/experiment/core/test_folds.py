import doctest
import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiment.core import folds as module
from experiment.core.errors import UserError
from experiment.core.folds import FoldScheme, Splits, check_splits
from experiment.core.tables import Split

# 11 patients of unequal size, 485 images, 69 (14 %) positive; the last patient has a single positive image.
SIZES = (90, 70, 60, 55, 45, 40, 35, 30, 25, 20, 15)
POSITIVES = (14, 9, 10, 6, 8, 5, 4, 6, 3, 3, 1)
PATIENTS = [(size - positive, positive) for size, positive in zip(SIZES, POSITIVES, strict=True)]

SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def cohorts(draw):
    """k, the number of classes, and groups of one class each and of all classes; enough of them to be split."""
    k, classes = draw(st.integers(3, 5)), draw(st.integers(2, 3))
    counts = [[draw(st.integers(1, 3)) for _ in range(classes)] for _ in range(draw(st.integers(0, 3)))]
    for own in range(classes):
        pure = draw(st.lists(st.integers(1, 4), min_size=k + 1, max_size=k + 4))
        counts += [[size if number == own else 0 for number in range(classes)] for size in pure]
    return k, counts


def parts_of(splits, samples):
    """The table of the splits with each row's target and group."""
    return splits.table.merge(samples.rows, on="sample_id")


def groups_tested(split, samples):
    return set(samples.select(split.test)["group"])


def test_the_examples_of_the_docstrings_hold():
    assert doctest.testmod(module) == (0, 5)


@given(cohorts(), SEEDS)
@settings(max_examples=25, deadline=None)
def test_groups_never_cross_the_parts_of_a_fold(make_samples, cohort, seed):
    k, counts = cohort
    samples = make_samples(counts)
    table = parts_of(FoldScheme(k=k).split(samples, seed), samples)
    assert (table.groupby(["fold", "group"])["part"].nunique() == 1).all()


@given(cohorts(), SEEDS)
@settings(max_examples=25, deadline=None)
def test_each_fold_holds_every_sample_once(make_samples, cohort, seed):
    k, counts = cohort
    samples = make_samples(counts)
    splits = list(FoldScheme(k=k).split(samples, seed))
    assert len(splits) == k
    for split in splits:
        assert sorted(split.fit + split.val + split.test) == sorted(samples.sample_id)


@given(cohorts(), SEEDS)
@settings(max_examples=10, deadline=None)
def test_each_sample_is_tested_once_per_repeat(make_samples, cohort, seed):
    k, counts = cohort
    samples = make_samples(counts)
    splits = list(FoldScheme(k=k, repeats=2).split(samples, seed))
    for repeat in (0, 1):
        tested = [sample for split in splits if split.repeat == repeat for sample in split.test]
        assert sorted(tested) == sorted(samples.sample_id)


@given(cohorts(), SEEDS)
@settings(max_examples=25, deadline=None)
def test_every_part_holds_every_class(make_samples, cohort, seed):
    k, counts = cohort
    samples = make_samples(counts)
    for split in FoldScheme(k=k).split(samples, seed):
        for part in (split.fit, split.val, split.test):
            assert set(samples.select(part)["target"]) == set(range(len(counts[0])))


@pytest.mark.parametrize("k", [4, 5, 7, 8, 10])
def test_test_parts_of_single_images_are_of_one_size(make_samples, k):
    # scikit-learn's test_stratified_kfold_ratios, with three classes of 890, 100 and 10 images
    samples = make_samples([(890, 100, 10)], grouped=False)
    splits = list(FoldScheme(k=k).split(samples, 0))
    sizes = [len(split.test) for split in splits]
    assert max(sizes) - min(sizes) <= 1
    for name, images in enumerate((890, 100, 10)):
        tested = [(samples.select(split.test)["target"] == name).sum() for split in splits]
        assert set(tested) <= {images // k, -(-images // k)}


def test_names_of_three_classes_do_not_change_the_folds(make_samples):
    counts = [(3, 1, 0), (0, 2, 2), (1, 1, 1), (2, 0, 2)] * 6
    for order in itertools.permutations(range(3)):
        renamed = [tuple(group[old] for old in order) for group in counts]
        tested = [
            groups_tested(split, samples) for samples in [make_samples(renamed)] for split in FoldScheme().split(samples, 1)
        ]
        assert tested == [groups_tested(split, make_samples(counts)) for split in FoldScheme().split(make_samples(counts), 1)]


@given(cohorts(), SEEDS)
@settings(max_examples=10, deadline=None)
def test_the_same_seed_gives_the_same_folds(make_samples, cohort, seed):
    k, counts = cohort
    first, second = (FoldScheme(k=k).split(make_samples(counts), seed) for _ in range(2))
    assert first.fingerprint == second.fingerprint


def test_another_seed_gives_other_folds(make_samples):
    samples = make_samples([(2, 1)] * 20)
    assert len({FoldScheme().split(samples, seed).fingerprint for seed in range(5)}) == 5


def test_repeats_shuffle_anew(make_samples):
    samples = make_samples([(2, 1)] * 20)
    first, second = ([set(s.test) for s in FoldScheme(repeats=2).split(samples, 0) if s.repeat == r] for r in (0, 1))
    assert all(test not in first for test in second)


def partitions(samples, splits):
    """For each repeat, the sets of groups tested together."""
    found = {}
    for split in splits:
        found.setdefault(split.repeat, set()).add(frozenset(groups_tested(split, samples)))
    return [frozenset(folds) for folds in found.values()]


def test_repeats_shuffle_anew_when_no_two_groups_are_alike(make_samples):
    samples = make_samples(PATIENTS)
    assert len(set(partitions(samples, FoldScheme(repeats=10).split(samples, 0)))) > 1


def test_the_seed_matters_when_no_two_groups_are_alike(make_samples):
    samples = make_samples(PATIENTS)
    assert len({partitions(samples, FoldScheme().split(samples, seed))[0] for seed in range(10)}) > 1


@pytest.mark.parametrize("seed", range(10))
def test_eleven_unequal_patients_leave_no_part_without_a_positive(make_samples, seed):
    samples = make_samples(PATIENTS)
    for split in FoldScheme(k=5).split(samples, seed):
        for part in (split.fit, split.val, split.test):
            assert samples.select(part)["target"].sum() > 0


@pytest.mark.parametrize("seed", range(5))
def test_eleven_unequal_patients_are_shared_out_evenly(make_samples, seed):
    # 485 images in 5 folds are 97 each; the largest patient has 90, so no fold need hold more than twice its share.
    samples = make_samples(PATIENTS)
    sizes = [len(split.test) for split in FoldScheme(k=5).split(samples, seed)]
    assert max(sizes) < 2 * 97


def test_folds_keep_the_share_of_each_class_when_images_are_their_own_groups(make_samples):
    # 100 images in 5 folds of 20; 15 positives, 3 a fold.
    samples = make_samples([(85, 15)], grouped=False)
    for split in FoldScheme(k=5).split(samples, 3):
        assert np.bincount(samples.select(split.test)["target"]).tolist() == [17, 3]


@pytest.mark.parametrize("share", [0.1, 0.15, 0.2, 0.25, 0.33, 0.4, 0.5])
def test_the_val_share_is_near_the_request_when_groups_are_many(make_samples, share):
    samples = make_samples([(number % 3 + 1, number % 2 + 1) for number in range(120)])
    for split in FoldScheme(k=3, val=share).split(samples, 0):
        got = len(split.val) / (len(split.val) + len(split.fit))
        assert got == pytest.approx(share, abs=0.04)


def test_val_zero_keeps_no_val_rows(make_samples):
    samples = make_samples([(2, 1)] * 10)
    splits = list(FoldScheme(val=0).split(samples, 0))
    assert len(splits) == 5
    assert all(split.val == () for split in splits)


def test_ungrouped_folds_split_a_group(make_samples):
    samples = make_samples([(20, 10), (20, 10)])
    for split in FoldScheme(grouped=False).split(samples, 0):
        assert groups_tested(split, samples) == {"g00", "g01"}
        assert len(split.test) == 12  # 60 images in 5 folds


def test_too_few_groups_of_a_class_are_refused_with_the_counts(make_samples):
    samples = make_samples([(5, 2)] * 3 + [(5, 0)] * 6)
    with pytest.raises(UserError, match=r"at least 5 groups.*absent in 9, present in 3.*smaller folds\.k.*folds=stratified"):
        FoldScheme(k=5).split(samples, 0)


def test_a_class_without_images_is_refused(make_samples):
    with pytest.raises(UserError, match="absent in 10, present in 0"):
        FoldScheme().split(make_samples([(5, 0)] * 10), 0)


def test_too_few_images_are_counted_as_images_when_there_are_no_groups(make_samples):
    with pytest.raises(UserError, match=r"at least 5 images.*absent in 30, present in 4"):
        FoldScheme(k=5).split(make_samples([(30, 4)], grouped=False), 0)


def test_with_val_rows_each_class_needs_a_third_group(make_samples):
    with pytest.raises(UserError, match=r"at least 3 groups.*absent in 2, present in 2"):
        FoldScheme(k=2).split(make_samples([(3, 3), (3, 3)]), 0)


def test_without_val_rows_two_groups_a_class_do_for_two_folds(make_samples):
    samples = make_samples([(3, 3), (3, 3)])
    tested = [groups_tested(split, samples) for split in FoldScheme(k=2, val=0).split(samples, 0)]
    assert sorted(map(sorted, tested)) == [["g00"], ["g01"]]


def test_a_split_in_two_is_found_though_one_group_outweighs_the_others(make_samples):
    # Possible: {g00, g01} against {g02, g03}, so that each training part has a positive group for fit and one for val.
    samples = make_samples([(0, 10), (0, 1), (0, 1), (0, 1), (5, 0), (5, 0), (5, 0), (5, 0)])
    assert len(list(FoldScheme(k=2).split(samples, 0))) == 2


def test_a_split_is_found_where_balance_alone_would_leave_a_fold_without_a_class(make_samples):
    # Possible: {g00, g01}, {g02}, {g03}; g01 holds no absent image, so it must not stand alone.
    samples = make_samples([(1, 2), (0, 5), (4, 1), (3, 2)])
    for split in FoldScheme(k=3, val=0).split(samples, 0):
        assert set(samples.select(split.test)["target"]) == {0, 1}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"k": 1}, r"folds\.k=1"),
        ({"repeats": 0}, r"folds\.repeats=0"),
        ({"val": -0.1}, r"folds\.val=-0\.1"),
        ({"val": 0.6}, r"folds\.val=0\.6"),
        ({"val": float("nan")}, r"folds\.val=nan"),
        ({"only": [5]}, r"folds\.only=\[5\].*0 to 4"),
        ({"only": [-1]}, r"folds\.only=\[-1\]"),
        ({"only": []}, r"folds\.only=\[\]"),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(setting, message):
    with pytest.raises(UserError, match=message):
        FoldScheme(**setting)


def test_only_selects_these_folds_of_every_repeat(make_samples):
    scheme = FoldScheme(repeats=2, only=[1, 3])
    chosen = scheme.selected(scheme.split(make_samples([(2, 1)] * 10), 0))
    assert [(split.repeat, split.fold) for split in chosen] == [(0, 1), (0, 3), (1, 1), (1, 3)]


def test_only_does_not_change_the_folds(make_samples):
    samples = make_samples([(2, 1)] * 10)
    assert FoldScheme(only=[1]).split(samples, 0).fingerprint == FoldScheme().split(samples, 0).fingerprint


TABLE = pd.DataFrame(
    [
        (0, 0, "a", "fit"),
        (0, 0, "b", "val"),
        (0, 0, "c", "test"),
        (0, 1, "a", "test"),
        (0, 1, "b", "test"),
        (0, 1, "c", "fit"),
    ],
    columns=["repeat", "fold", "sample_id", "part"],
)


def test_splits_yield_each_fold_with_its_parts():
    assert list(Splits(TABLE)) == [Split(0, 0, ("a",), ("b",), ("c",)), Split(0, 1, ("c",), (), ("a", "b"))]


def test_the_fingerprint_does_not_depend_on_row_or_column_order():
    other = TABLE.sample(frac=1, random_state=1)[["part", "sample_id", "fold", "repeat"]]
    assert Splits(other).fingerprint == Splits(TABLE).fingerprint


def test_the_fingerprint_changes_when_a_sample_changes_part():
    other = TABLE.copy()
    other.loc[0, "part"] = "val"
    assert Splits(other).fingerprint != Splits(TABLE).fingerprint


@pytest.fixture
def valid(make_samples):
    """Four groups in two folds without val rows, and their samples."""
    samples = make_samples([(1, 1)] * 4)
    return FoldScheme(k=2, val=0).split(samples, 0).table, samples


def test_a_valid_table_passes_the_check(valid):
    table, samples = valid
    check_splits(table, samples, grouped=True)


def test_a_missing_row_is_refused(valid):
    table, samples = valid
    with pytest.raises(ValueError, match="repeat 0, fold 0 does not hold every sample once"):
        check_splits(table.drop(index=0), samples, grouped=True)


def test_a_row_given_twice_is_refused(valid):
    table, samples = valid
    with pytest.raises(ValueError, match="fold 1 does not hold every sample once"):
        check_splits(pd.concat([table, table.iloc[-1:]]), samples, grouped=True)


def test_an_unknown_part_is_refused_by_name(valid):
    table, samples = valid
    with pytest.raises(ValueError, match=r"unknown parts .*'train'"):
        check_splits(table.replace({"part": {"fit": "train"}}), samples, grouped=True)


def crossed(table):
    """The table with the first sample of g00 moved from its part to another, in fold 0."""
    row = table.index[(table["fold"] == 0) & (table["sample_id"] == "s000")]
    return table.assign(part=table["part"].where(table.index != row[0], "val"))


def test_a_group_that_crosses_parts_is_refused_by_name(valid):
    table, samples = valid
    with pytest.raises(ValueError, match="group 'g00' crosses parts of repeat 0, fold 0"):
        check_splits(crossed(table), samples, grouped=True)


def test_a_group_may_cross_parts_when_folds_are_not_grouped(make_samples):
    samples = make_samples([(4, 4)])
    table = FoldScheme(k=2, val=0, grouped=False).split(samples, 0).table
    check_splits(table, samples, grouped=False)
    with pytest.raises(ValueError, match="group 'g00' crosses"):
        check_splits(table, samples, grouped=True)


def test_a_sample_that_is_never_tested_is_refused(valid):
    table, samples = valid
    never = table.assign(part=np.where(table["sample_id"].isin(["s000", "s001"]), "fit", table["part"]))
    with pytest.raises(ValueError, match="repeat 0 does not test every sample once"):
        check_splits(never, samples, grouped=True)


def test_a_sample_that_is_tested_twice_is_refused(valid):
    table, samples = valid
    twice = table.assign(part=np.where(table["sample_id"].isin(["s000", "s001"]), "test", table["part"]))
    with pytest.raises(ValueError, match="repeat 0 does not test every sample once"):
        check_splits(twice, samples, grouped=True)
