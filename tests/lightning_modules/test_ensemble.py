import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit

from experiment.core.contracts import FoldModel
from experiment.core.errors import UserError
from experiment.core.tables import predictions
from experiment.metrics.calibration import slope_and_intercept
from experiment.metrics.combiners import COMBINERS, NEED_VAL
from lightning_modules.ensemble import EnsembleEvaluator
from lightning_modules.resnet import ResNet
from lightning_modules.resnet_svm import ResNetSVM

CLASSES = ["absent", "present"]


def table(present: list[float], ids: list[str] | None = None, classes: list[str] = CLASSES) -> pd.DataFrame:
    p = np.array(present)
    return predictions(ids or [f"s{i}" for i in range(len(p))], np.stack([1 - p, p], axis=1), classes)


def test_tables_are_joined_by_sample_and_by_class_name_never_by_position() -> None:
    ensemble = EnsembleEvaluator(CLASSES, "mean", "balanced", "none", inputs=["a", "b"])
    first = table([0.1, 0.5, 0.9])
    second = table([0.3, 0.7, 0.5])[["p/present", "p/absent", "sample_id"]].iloc[[2, 0, 1]]
    combined = ensemble.combine({"a": first, "b": second}).set_index("sample_id")
    assert combined["p/present"].to_dict() == pytest.approx({"s0": 0.2, "s1": 0.6, "s2": 0.7})


def test_members_with_other_samples_are_refused_by_name() -> None:
    ensemble = EnsembleEvaluator(CLASSES, "mean", "balanced", "none", inputs=["a", "b"])
    with pytest.raises(ValueError, match="member b does not predict the same samples"):
        ensemble.combine({"a": table([0.1, 0.2]), "b": table([0.1, 0.2], ids=["s0", "s9"])})


def test_members_with_other_classes_are_refused_by_name() -> None:
    ensemble = EnsembleEvaluator(CLASSES, "mean", "balanced", "none", inputs=["a", "b"])
    with pytest.raises(ValueError, match=r"member b predicts \['p/no', 'p/yes'\]"):
        ensemble.combine({"a": table([0.1]), "b": table([0.1], classes=["no", "yes"])})


class Constant(FoldModel):
    def __init__(self, present: float) -> None:
        super().__init__()
        self.present = present

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[1 - self.present, self.present]]).expand(len(images), 2)


@pytest.mark.parametrize("calibration", ["none", "val"])
@pytest.mark.parametrize("combiner", sorted(COMBINERS))
def test_with_its_members_it_says_of_images_what_it_says_of_tables(combiner: str, calibration: str) -> None:
    ensemble = EnsembleEvaluator(CLASSES, combiner, "balanced", calibration, inputs=["a", "b"])
    val = {"a": table([0.1, 0.8, 0.3, 0.9]), "b": table([0.4, 0.4, 0.6, 0.7])}
    ensemble.fit_tables(val, pd.Series(["absent", "present", "absent", "present"], index=[f"s{i}" for i in range(4)]))
    ensemble.attach({"a": Constant(0.75), "b": Constant(0.5)})  # no ties with val: a rank jumps there
    on_images = ensemble(torch.zeros(1, 3, 8, 8))[0, 1].item()
    on_tables = ensemble.combine({"a": table([0.75]), "b": table([0.5])})["p/present"][0]
    assert on_images == pytest.approx(on_tables, abs=1e-6)


def test_learned_combiners_say_that_they_need_val() -> None:
    for name in COMBINERS:
        reason = EnsembleEvaluator.needs_val({"combiner": name, "calibration": "none"})
        assert (reason is not None) == (name in NEED_VAL)


def test_one_member_is_no_ensemble() -> None:
    with pytest.raises(UserError, match="two or more"):
        EnsembleEvaluator.inputs({"members": {"a": {}}})


def test_an_unknown_combiner_says_what_is_allowed() -> None:
    with pytest.raises(UserError, match="mean, logit_mean, weighted, stacking, greedy, rank, vote"):
        EnsembleEvaluator(CLASSES, "best", "balanced", "none", inputs=["a", "b"])


def test_calibration_on_val_makes_over_sure_members_mean_what_they_say() -> None:
    rng = np.random.default_rng(0)
    odds = rng.normal(size=4000) * 1.5
    truth = rng.random(4000) < expit(odds)
    ids = [f"s{number}" for number in range(4000)]
    table = predictions(ids, np.stack([expit(-3 * odds), expit(3 * odds)], axis=1), CLASSES)
    ensemble = EnsembleEvaluator(CLASSES, "logit_mean", "none", "val", inputs=["a", "b"])
    ensemble.fit_tables({"a": table, "b": table}, pd.Series([CLASSES[int(one)] for one in truth], index=ids))
    slope, intercept = slope_and_intercept(truth, ensemble.combine({"a": table, "b": table})[f"p/{CLASSES[1]}"].to_numpy())
    assert slope == pytest.approx(1, abs=0.02)
    assert intercept == pytest.approx(0, abs=0.02)
    assert slope_and_intercept(truth, table[f"p/{CLASSES[1]}"].to_numpy())[0] == pytest.approx(1 / 3, abs=0.03)


def test_calibration_learns_from_val_rows() -> None:
    said = EnsembleEvaluator.needs_val({"combiner": "mean", "calibration": "val"})
    assert said == "calibration=val learns from val rows; calibration=none does not"
    with pytest.raises(UserError, match=r"model.calibration=test is not allowed; allowed: none, val"):
        EnsembleEvaluator(CLASSES, "mean", "balanced", "test", inputs=["a", "b"])


def test_without_its_members_it_says_what_loads_them() -> None:
    with pytest.raises(UserError, match=r"without its members; experiment.run.fitted_model.load_model"):
        EnsembleEvaluator(CLASSES, inputs=["a", "b"])(torch.zeros(1, 3, 8, 8))


def test_the_whole_ensemble_can_be_exported() -> None:
    torch.manual_seed(0)
    svm = ResNetSVM(CLASSES, symmetries=1, features_from="pretrained", svm={"C": 1, "gamma": 1})
    features, target = np.random.default_rng(0).normal(size=(24, svm.reading.features)).astype(np.float32), np.arange(24) % 2
    group = np.arange(24).astype(str).astype(object)
    svm.fit_head(features, target, group, np.zeros(24, dtype=bool), [str(row) for row in range(24)], seed=0)
    ensemble = EnsembleEvaluator(CLASSES, inputs=["resnet", "svm"])
    ensemble.attach({"resnet": ResNet(CLASSES, symmetries=1), "svm": svm})
    ensemble.eval()
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        exported = torch.export.export(ensemble, (images,)).module()
        torch.testing.assert_close(exported(images), ensemble(images))
