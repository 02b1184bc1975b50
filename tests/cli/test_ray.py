"""A sweep on a Ray cluster that the command starts on this machine."""

import importlib.util
from pathlib import Path

import pytest
from job import train

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="no Ray: pip install -e '.[cluster]'"),
]

TRIALS = ["model=resnet_svm", "model.features_from=pretrained", "logger=none", "-m", "model.svm.C=0.1,1,10", "seed=0,1"]


def test_a_sweep_of_six_trials_runs_on_ray(tmp_path: Path) -> None:
    done = train(tmp_path, *TRIALS, "hydra/launcher=ray")
    assert done.returncode == 0, done.stderr
    runs = list((tmp_path / "runs").glob("resnet_svm-*"))
    assert len(runs) == 6
    for run in runs:
        assert (run / "metrics.json").is_file()
        assert sorted(path.name for path in (run / "repeat-0").iterdir()) == ["fold-0", "fold-1"]
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
