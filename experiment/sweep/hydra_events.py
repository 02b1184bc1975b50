"""Hydra callback of a multirun: register our sweeper before it begins, report the sweep after it has ended."""

import time
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

STUDY = "experiment.sweep.optuna_study.OptunaStudy"


class SweepEvents(Callback):
    """Hydra callback around a multirun."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Tell the jobs what the command varies, and register our sweeper: Hydra accepts only those that it knows."""
        from experiment.sweep.command import SweepCommand

        self.began = time.time()
        SweepCommand.of(config).pass_on()
        if config.hydra.sweeper.get("_target_") == STUDY:
            from experiment.sweep.optuna_study import OptunaStudy

            Plugins.instance().register(OptunaStudy)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the best settings, and write the report, of each sweep that has new results."""
        from experiment.sweep.command import SweepCommand
        from experiment.sweep.ledger import ledgers
        from experiment.sweep.page import report_on_best, write
        from experiment.sweep.summary import print_sweep
        from experiment.terminal.consoles import err, out
        from experiment.tracking.offline import upload_command

        SweepCommand.forget()
        sweeps = []
        for ledger in ledgers(Path(config.paths.runs).resolve()):
            moved = any(file.stat().st_mtime >= self.began for file in (ledger.path / "trials").glob("*.json"))
            if moved or ledger.name == config.hydra.sweeper.get("study_name"):
                sweeps.append(ledger.path)
                report_on_best(ledger)
                print_sweep(ledger, out)
                out.print(f"sweep: {write(ledger)}", soft_wrap=True, highlight=False)
        if note := upload_command(sweeps, self.began):
            err.print(note, soft_wrap=True, highlight=False)
