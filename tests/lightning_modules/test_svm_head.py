import numpy as np
import pytest
import torch

from experiment.core.errors import UserError
from lightning_modules.svm import FittedSVM
from lightning_modules.svm_head import SVMHead


def by_hand(gamma: float) -> FittedSVM:
    one = np.ones(1)
    return FittedSVM(
        center=np.array([1, 1], dtype=np.float32), scale=np.array([2, 1], dtype=np.float32),
        support=np.array([[0, 0], [1, 1]], dtype=np.float32), dual=np.array([[0.5, -2.0]]), intercept=0.25 * one,
        gamma=gamma, slope=2 * one, offset=-1 * one, held_out=np.zeros((0, 2)), chosen={}, solver="",
    )  # fmt: skip


def test_the_rbf_decision_on_paper() -> None:
    head = SVMHead(2, 2)
    head.fill(by_hand(gamma=0.1))
    # (3, 1) is standardised to (1, 0): squared distances 1 and 1 to the support vectors
    expected = 0.5 * np.exp(-0.1 * 1) - 2.0 * np.exp(-0.1 * 1) + 0.25
    decision = head.decision(torch.tensor([[3.0, 1.0]])).item()
    np.testing.assert_allclose(decision, expected, rtol=1e-12)
    p = head(torch.tensor([[3.0, 1.0]])).numpy()
    np.testing.assert_allclose(p, [[1 - (s := 1 / (1 + np.exp(-(2 * expected - 1)))), s]], rtol=1e-12)


def test_the_linear_decision_on_paper() -> None:
    head = SVMHead(2, 2)
    head.fill(by_hand(gamma=0.0))
    # (3, 3) is standardised to (1, 2): products 0 and 3
    np.testing.assert_allclose(head.decision(torch.tensor([[3.0, 3.0]])).item(), 0.5 * 0 - 2.0 * 3 + 0.25, rtol=1e-12)


def test_mixed_precision_does_not_reach_the_kernel() -> None:
    head = SVMHead(2, 2)
    head.fill(by_hand(gamma=0.1))
    x = torch.tensor([[3.0, 1.0]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(head.decision(x), head.decision(x))
        mixed = head.decision(x)
    assert torch.equal(mixed, head.decision(x))


def test_a_module_in_lower_precision_keeps_the_kernel_in_float64() -> None:
    head = SVMHead(2, 2)
    head.fill(by_hand(gamma=0.1))
    x = torch.tensor([[3.0, 1.0]])
    before = head(x)
    assert torch.equal(torch.nn.Sequential(head).to(torch.bfloat16)(x), before)


@pytest.mark.parametrize("gamma", [0.0, 0.1])
def test_the_kernel_comes_back_with_the_state(gamma: float) -> None:
    head, other = SVMHead(2, 2), SVMHead(2, 2)
    head.fill(by_hand(gamma))
    other.load_state_dict(head.state_dict())
    x = torch.tensor([[3.0, 1.0]])
    assert torch.equal(other(x), head(x))


def test_without_a_fitted_svm_there_is_no_answer() -> None:
    with pytest.raises(UserError, match="the SVM has not been fitted; fit the model with the callback"):
        SVMHead(2, 2)(torch.zeros(1, 2))
