import pytest
import torch

from experiment.run import workers
from experiment.run.workers import GIB, Workers, visible_device


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    def made(cores: int, gigabytes: int = 64, gpus: int = 0) -> None:
        monkeypatch.setattr("joblib.cpu_count", lambda: cores)
        monkeypatch.setattr(workers, "_memory", lambda: gigabytes * GIB)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)

    return made


@pytest.mark.parametrize(
    ("cores", "gigabytes", "gpus", "parallel", "folds", "expected"),
    [
        (2, 24, 0, "auto", 5, Workers(2, 1, even=4, wide=2)),
        (2, 24, 0, "auto", 10, Workers(2, 1)),
        (4, 24, 0, "auto", 5, Workers(4, 1, even=4, wide=4)),
        (4, 24, 0, "auto", 11, Workers(4, 1)),  # the last three leave one core idle, and no thread more for any of them
        (16, 64, 0, "auto", 5, Workers(5, 3)),
        (16, 64, 0, "auto", 50, Workers(16, 1, even=48, wide=8)),
        (16, 9, 0, "auto", 50, Workers(4, 4, even=48, wide=8)),  # two gigabytes a process
        (16, 1, 0, "auto", 50, Workers(1, 16)),
        (2, 24, 0, 1, 5, Workers(1, 2)),
        (2, 24, 0, 3, 5, Workers(3, 1)),
        (16, 64, 1, "auto", 5, Workers(1, 16)),  # one GPU serves one fold
        (16, 64, 4, "auto", 5, Workers(4, 4, (0, 1, 2, 3))),
        (16, 64, 4, 8, 5, Workers(8, 2, (0, 1, 2, 3, 0, 1, 2, 3))),
    ],
)
def test_the_machine_is_shared_out(machine, cores, gigabytes, gpus, parallel, folds, expected) -> None:  # type: ignore[no-untyped-def]
    machine(cores, gigabytes, gpus)
    assert Workers.of(parallel, folds, uses_gpu=True) == expected


def test_gpus_are_left_alone_by_a_job_on_the_cpu(machine) -> None:  # type: ignore[no-untyped-def]
    machine(cores=2, gpus=4)
    assert Workers.of("auto", 4, uses_gpu=False) == Workers(2, 1)


def test_the_last_folds_share_all_cores_wherever_they_run(machine) -> None:  # type: ignore[no-untyped-def]
    machine(cores=2)
    assert [Workers.of("auto", 5, uses_gpu=False).threads_of(number) for number in range(5)] == [1, 1, 1, 1, 2]
    assert [Workers.of(1, 5, uses_gpu=False).threads_of(number) for number in range(5)] == [2] * 5


@pytest.mark.parametrize(
    ("visible", "expected"),
    [(None, ["0", "1"]), ("", ["0", "1"]), ("2,3", ["2", "3"]), ("GPU-8932f937, MIG-d72c", ["GPU-8932f937", "MIG-d72c"])],
)
def test_workers_take_the_devices_of_the_job(visible: str | None, expected: list[str]) -> None:
    assert [visible_device(number, visible) for number in range(2)] == expected
