from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import open_dict

from experiment.sweep.command import SweepCommand

CONF = Path(__file__).resolve().parents[3] / "conf"


def read(typed, *chosen):
    """The command as the callback of a multirun reads it: the config is composed without what is varied."""
    with initialize_config_dir(str(CONF)):
        config = compose("train", list(chosen), return_hydra_config=True)
        with open_dict(config):
            config.hydra.overrides.task = typed
        return SweepCommand.of(config)


@pytest.mark.parametrize(
    ("typed", "keys", "trials"),
    [
        (["model=resnet_svm", "model.svm.C=0.1,1,10", "trunk=resnet18,resnet34"], ["model.svm.C", "trunk"], 6),
        (["+model.x=range(1,5)", "model.taps=[layer2,layer3],[layer4]"], ["model.x", "model.taps"], 8),
        (["model=resnet"], [], 1),
        (["model.lr=interval(0.1,1)"], ["model.lr"], None),
    ],
)
def test_it_knows_what_is_varied_and_how_many_trials_that_makes(typed, keys, trials):
    command = read(typed)
    assert (list(command.keys), command.trials) == (keys, trials)
    assert command.text.startswith("python train.py -m ")


def test_optuna_has_its_own_number_of_trials_and_space():
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    command = read(["model.lr=0.1"], "sweep=optuna", "sweep/space=resnet", "hydra.sweeper.n_trials=7")
    assert command.trials == 7
    assert command.keys
    assert "model.lr" not in command.keys  # given one value


def test_jobs_read_it_in_their_environment(monkeypatch):
    monkeypatch.delenv("EM_GRANULES_SWEEP", raising=False)
    assert SweepCommand.current() == SweepCommand()
    command = SweepCommand("python train.py -m a=1,2", ["a"], 2)
    command.pass_on()
    assert SweepCommand.current() == command
    SweepCommand.forget()
    assert SweepCommand.current() == SweepCommand()
