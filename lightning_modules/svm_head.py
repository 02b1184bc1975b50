"""A fitted SVM as a module: saved with the checkpoint, run on the module's device, differentiable."""

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from experiment.core.errors import UserError
from lightning_modules.svm import FittedSVM

BUFFERS = ("center", "scale", "support", "dual", "intercept", "gamma", "slope", "offset")


class SVMHead(nn.Module):
    """Turn skip features into calibrated probabilities. Empty until `fill` or a checkpoint gives it a fitted SVM.

    Decision values equal scikit-learn's. The arithmetic is float64 whatever the trainer's precision, because a kernel sum over
    hundreds of support vectors cancels.

    Args:
        features: F.
        classes: K.
    """

    center: Tensor
    scale: Tensor
    support: Tensor
    dual: Tensor
    intercept: Tensor
    gamma: Tensor
    slope: Tensor
    offset: Tensor

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.rbf = False  # the kernel; no branch on a tensor, so that the model can be exported
        machines = classes if classes > 2 else 1
        shapes = {
            "center": (features,), "scale": (features,), "support": (0, features), "dual": (machines, 0),
            "intercept": (machines,), "gamma": (), "slope": (machines,), "offset": (machines,),
        }  # fmt: skip
        for name in BUFFERS:
            self.register_buffer(name, torch.zeros(shapes[name], dtype=torch.float64))

    def fill(self, svm: FittedSVM) -> None:
        """Copy the numbers of a fitted SVM into the buffers."""
        self.rbf = svm.gamma > 0
        for name in BUFFERS:
            setattr(self, name, torch.as_tensor(getattr(svm, name), dtype=torch.float64, device=self.gamma.device))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        # Only the checkpoint tells the number of support vectors.
        for name in ("support", "dual"):
            if (saved := state_dict.get(prefix + name)) is not None:
                setattr(self, name, torch.empty_like(saved, device=self.gamma.device))
        if (gamma := state_dict.get(f"{prefix}gamma")) is not None:
            self.rbf = bool(gamma > 0)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # float64 whatever the precision of the module: ``fn`` says the device
        moved: Self = super()._apply(lambda tensor: tensor.to(fn(tensor).device), recurse)
        return moved

    def decision(self, features: Tensor) -> Tensor:
        """Return the decision values of the machines: (B, F) to (B, M), float64.

        Raises:
            UserError: there is no fitted SVM.
        """
        if not self.support.shape[0]:
            raise UserError("the SVM has not been fitted; fit the model with the callback callbacks.fit_svm.FitSVM first.")
        with torch.autocast(features.device.type, enabled=False):
            x = (features.double() - self.center) / self.scale
            products = x @ self.support.T
            if self.rbf:
                squared = x.square().sum(1, keepdim=True) + self.support.square().sum(1) - 2 * products
                products = torch.exp(-self.gamma * squared.clamp_min(0))
            return products @ self.dual.T + self.intercept

    def forward(self, features: Tensor) -> Tensor:
        """Return class probabilities: (B, F) to (B, K), float64."""
        p = torch.sigmoid(self.slope * self.decision(features) + self.offset)
        return torch.cat([1 - p, p], dim=1) if p.shape[1] == 1 else p / p.sum(dim=1, keepdim=True)
