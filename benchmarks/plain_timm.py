"""Plain script with timm's network and feature extraction: `python -m benchmarks.plain_timm` (extra: bench)."""

from collections.abc import Callable, Iterable

import timm
from torch import Tensor, nn

from benchmarks.plain import Library, State, main


def _classifier(state: State) -> nn.Module:
    model: nn.Module = timm.create_model("resnet18", num_classes=2)
    model.load_state_dict(state, strict=False)
    return model


def _taps(state: State) -> Callable[[Tensor], Iterable[Tensor]]:
    cut: nn.Module = timm.create_model("resnet18", features_only=True, out_indices=(1, 2, 3))
    cut.load_state_dict(state, strict=False)
    return cut.eval()


TIMM = Library(_classifier, _taps)

if __name__ == "__main__":
    main(TIMM)
