"""Batch norm over the whole batch where it is shared by several processes on CPUs, for which PyTorch has none."""

from typing import Any

import torch
import torch.distributed as dist
from pytorch_lightning.plugins import LayerSync
from torch import Tensor, nn


class WholeBatchNorm(LayerSync):
    """Lets every `BatchNorm2d` of a model use mean and variance of the whole batch while it trains. Shares must be equal."""

    def apply(self, model: nn.Module) -> nn.Module:
        """The modules stay the same objects with the same numbers; only their forward is another."""
        for module in model.modules():
            if type(module) is nn.BatchNorm2d:
                _become(module, _Whole)
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Back to plain batch norm."""
        for module in model.modules():
            if isinstance(module, _Whole):
                _become(module, nn.BatchNorm2d)
        return model


def _become(module: nn.Module, kind: type[nn.Module]) -> None:
    module.__class__ = kind


class _Whole(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        with torch.autocast(x.device.type, enabled=False):
            rows = x.float()
            # the variance of all from each share's own: mean of variances plus variance of means
            local = torch.stack([rows.mean(dim=(0, 2, 3)), rows.var(dim=(0, 2, 3), correction=0)]).double()
            mean, square = _Mean.apply(torch.stack([local[0], local[1] + local[0].square()]))
            variance = square - mean.square()
            with torch.no_grad():
                count = rows.numel() // rows.shape[1] * dist.get_world_size()
                self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
                self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var), self.momentum)
                if self.num_batches_tracked is not None:
                    self.num_batches_tracked += 1
            scale = self.weight * (variance + self.eps).rsqrt()
            shift = self.bias - mean * scale
            return (rows * _by_channel(scale) + _by_channel(shift)).to(x.dtype)


def _by_channel(values: Tensor) -> Tensor:
    return values.float().view(1, -1, 1, 1)


class _Mean(torch.autograd.Function):
    """Mean over the processes, with its gradient."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total / dist.get_world_size()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total / dist.get_world_size()
