import pandas as pd
import pytest

from datamodules.audit import audit
from experiment.core.errors import UserError
from experiment.core.tables import SampleTable


def table(*rows, grouped=True):
    """Samples from (sample_id, target, group, digest)."""
    frame = pd.DataFrame(rows, columns=["sample_id", "target", "group", "digest"])
    return SampleTable(frame, ("absent", "present"), "present", grouped)


def groups(samples):
    return dict(zip(samples.sample_id, samples.group, strict=True))


def test_good_samples_pass_unchanged():
    samples = table(("a", 0, "p1", "x"), ("b", 1, "p2", "y"), ("c", 1, "p2", "z"))
    pd.testing.assert_frame_equal(audit(samples).rows, samples.rows)


def test_no_images_are_refused():
    with pytest.raises(UserError, match="no images"):
        audit(table())


def test_a_sample_given_twice_is_refused_by_name():
    with pytest.raises(UserError, match="listed twice: b"):
        audit(table(("a", 0, "p1", "x"), ("b", 1, "p2", "y"), ("b", 1, "p2", "z")))


def test_a_single_class_is_refused_by_name_and_count():
    with pytest.raises(UserError, match="all 2 images are of the class 'present'"):
        audit(table(("a", 1, "p1", "x"), ("b", 1, "p2", "y")))


def test_one_image_under_two_labels_is_refused_naming_labels_and_samples():
    samples = table(("a", 0, "p1", "x"), ("b", 1, "p1", "x"))
    with pytest.raises(UserError, match=r"two labels \(absent, present\): a, b\. .*on_duplicate=tie"):
        audit(samples)


def test_one_image_in_two_groups_is_refused_naming_groups_and_samples():
    samples = table(("a", 0, "p1", "x"), ("b", 0, "p2", "x"), ("c", 1, "p3", "y"))
    with pytest.raises(UserError, match=r"two groups \(p1, p2\): a, b\."):
        audit(samples)


def test_further_contradictions_are_counted():
    pairs = [(f"{digest}{group}", 0, group, digest) for digest in "xyz" for group in ("p1", "p2")]
    with pytest.raises(UserError, match="and 2 more such sets"):
        audit(table(*pairs, ("d", 1, "p3", "w")))


def test_copies_within_a_group_and_label_are_accepted():
    samples = table(("a", 0, "p1", "x"), ("b", 0, "p1", "x"), ("c", 1, "p2", "y"))
    assert groups(audit(samples)) == {"a": "p1", "b": "p1", "c": "p2"}


def test_copies_become_one_group_where_no_groups_were_given():
    samples = table(("a", 0, "a", "x"), ("b", 0, "b", "x"), ("c", 1, "c", "y"), grouped=False)
    assert groups(audit(samples)) == {"a": "a", "b": "a", "c": "c"}


def test_copies_under_two_labels_are_refused_where_no_groups_were_given():
    samples = table(("a", 0, "a", "x"), ("b", 1, "b", "x"), grouped=False)
    with pytest.raises(UserError, match="two labels"):
        audit(samples)


def test_tie_joins_groups_that_share_an_image():
    samples = table(("a", 0, "p2", "x"), ("b", 0, "p1", "x"), ("c", 1, "p2", "y"), ("d", 1, "p3", "z"))
    assert groups(audit(samples, "tie")) == {"a": "p1", "b": "p1", "c": "p1", "d": "p3"}


def test_tie_joins_groups_along_a_chain():
    # p1 and p2 share x, p2 and p3 share y: no two of the three may be parted.
    samples = table(("a", 0, "p1", "x"), ("b", 0, "p2", "x"), ("c", 1, "p2", "y"), ("d", 1, "p3", "y"), ("e", 1, "p4", "z"))
    assert set(groups(audit(samples, "tie")).values()) == {"p1", "p4"}


def test_tie_accepts_two_labels_of_one_image():
    samples = table(("a", 0, "p1", "x"), ("b", 1, "p2", "x"))
    assert groups(audit(samples, "tie")) == {"a": "p1", "b": "p1"}


def test_a_group_named_like_a_digest_is_not_tied_to_it():
    samples = table(("a", 0, "p1", "p2"), ("b", 1, "p2", "y"))
    assert groups(audit(samples)) == {"a": "p1", "b": "p2"}


def test_an_unknown_way_with_duplicates_is_refused():
    with pytest.raises(UserError, match=r"data\.on_duplicate=tied is not allowed; allowed: error, tie.*'tie'"):
        audit(table(("a", 0, "p1", "x"), ("b", 1, "p2", "y")), "tied")
