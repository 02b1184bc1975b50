"""The ensemble evaluator: one prediction from the predictions of its members."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from experiment.core.class_weights import balanced_weights, check_class_weights
from experiment.core.contracts import FoldModel
from experiment.core.errors import UserError, not_allowed
from experiment.core.tables import predictions, probability_columns
from experiment.metrics.combiners import COMBINERS, NEED_VAL, Stacking


class EnsembleEvaluator(FoldModel):
    """Combines its members' predictions. It learns from their tables of val rows, never from images or test rows.

    Its checkpoint holds the combiner alone; the members keep their own. With `attach` it predicts on images.

    Args:
        classes: class names.
        combiner: a name of `experiment.metrics.combiners.COMBINERS`.
        class_weights: of learned combiners: ``balanced`` gives all classes the same weight, ``none`` all rows.
        calibration: ``val`` recalibrates the combined probabilities by logistic regression on val rows, which also moves the
            threshold; ``none`` leaves them as combined. With ``class_weights=none`` they then match the observed frequencies.
        inputs: names of the members, set by the engine.
    """

    # ``network`` is only where the config keeps the ResNet that several members share
    built_on: ClassVar[tuple[str, ...]] = ("members", "network")

    def __init__(
        self,
        classes: Sequence[str],
        combiner: str = "logit_mean",
        class_weights: str = "balanced",
        calibration: str = "none",
        inputs: Sequence[str] = (),
    ) -> None:
        super().__init__()
        _check_combiner(combiner)
        check_class_weights("model.class_weights", class_weights)
        _check_calibration(calibration)
        self.save_hyperparameters()
        self.classes = tuple(classes)
        self.member_names = tuple(inputs)
        self.combiner = COMBINERS[combiner](len(inputs), len(self.classes))
        self.calibrator = Stacking(1, len(self.classes)) if calibration == "val" else None
        self.members = nn.ModuleDict()

    @classmethod
    def inputs(cls, config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        """Return the configs of the members."""
        members = dict(config["members"])
        if len(members) < 2:
            raise UserError(f"model.members={list(members)} is not an ensemble; name two or more.")
        return members

    @classmethod
    def needs_val(cls, config: Mapping[str, Any]) -> str | None:
        """Return why val rows are needed: some combiners learn, and so does a calibration."""
        combiner = config["combiner"]
        _check_combiner(combiner)
        _check_calibration(config["calibration"])
        if config["calibration"] == "val":
            return "calibration=val learns from val rows; calibration=none does not"
        return f"combiner={combiner} learns from val rows; combiner=logit_mean does not" if combiner in NEED_VAL else None

    def fit_tables(self, val: Mapping[str, pd.DataFrame], target: pd.Series) -> None:
        """Learn from the members' predictions on val rows; `target` holds class names, indexed by sample id."""
        if len(target):
            ids = target.index.tolist()
            classes = torch.tensor([self.classes.index(name) for name in target])
            weight = torch.ones(len(self.classes))
            if self.hparams["class_weights"] == "balanced":
                weight = balanced_weights(classes, len(self.classes))
            p = self._stacked(val, ids)
            self.combiner.fit(p, classes, weight)
            if self.calibrator is not None:
                with torch.no_grad():
                    combined = self.combiner(p)
                self.calibrator.fit(combined[None], classes, weight)

    def _combined(self, p: Tensor) -> Tensor:
        """Combine and calibrate: (M, N, K) to (N, K)."""
        out: Tensor = self.combiner(p)
        return out if self.calibrator is None else self.calibrator(out[None])

    def combine(self, members: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
        """Combine the members' tables of the same rows into one."""
        ids = members[self.member_names[0]]["sample_id"].tolist()
        with torch.inference_mode():
            return predictions(ids, self._combined(self._stacked(members, ids)).numpy(), self.classes)

    def _stacked(self, tables: Mapping[str, pd.DataFrame], sample_ids: Sequence[str]) -> Tensor:
        """Stack the members' probabilities by name, (M, N, K): members, samples and classes must agree.

        Raises:
            ValueError: naming the member and what it lacks.
        """
        stacked = []
        for member in self.member_names:
            table = tables[member]
            if (columns := set(table.columns) - {"sample_id"}) != set(probability_columns(self.classes)):
                raise ValueError(f"member {member} predicts {sorted(columns)}, not the classes {list(self.classes)}")
            if set(table["sample_id"]) != set(sample_ids) or table["sample_id"].duplicated().any():
                raise ValueError(f"member {member} does not predict the same samples once each")
            stacked.append(table.set_index("sample_id").loc[list(sample_ids), probability_columns(self.classes)].to_numpy())
        return torch.from_numpy(np.stack(stacked))

    def attach(self, members: Mapping[str, FoldModel]) -> None:
        """Set the fitted members, so that `forward` works."""
        self.members = nn.ModuleDict({name: members[name] for name in self.member_names})

    def forward(self, images: Tensor) -> Tensor:
        """Return probabilities, (B, 3, H, H) to (B, K).

        Raises:
            UserError: the members are missing.
        """
        if not self.members:
            raise UserError(
                "this ensemble is without its members; experiment.run.fitted_model.load_model loads a finished fold with them."
            )
        return self._combined(torch.stack([self.members[name](images).double() for name in self.member_names]))

    def configure_optimizers(self) -> None:
        """Return None: nothing is trained by gradient."""


def _check_combiner(combiner: str) -> None:
    if combiner not in COMBINERS:
        raise not_allowed("model.combiner", combiner, COMBINERS)


def _check_calibration(calibration: str) -> None:
    if calibration not in ("none", "val"):
        raise not_allowed("model.calibration", calibration, ("none", "val"))
