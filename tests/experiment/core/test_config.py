import pytest
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue

from experiment.core.config import plain


def test_interpolations_are_resolved_to_plain_values() -> None:
    values = plain(OmegaConf.create({"a": 1, "b": {"c": "${a}", "d": [1, "${a}"]}}))
    assert values == {"a": 1, "b": {"c": 1, "d": [1, 1]}}
    assert type(values["b"]) is dict
    assert type(values["b"]["d"]) is list


def test_a_value_that_must_be_given_is_missed() -> None:
    with pytest.raises(MissingMandatoryValue):
        plain(OmegaConf.create({"root": "???"}))
