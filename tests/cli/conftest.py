from pathlib import Path

import job
import pytest


@pytest.fixture(scope="session")
def finished_job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of an ensemble, trained by the command for three epochs; its members lie beside it."""
    return job.run_of(job.train(tmp_path_factory.mktemp("finished"), "trainer.max_epochs=3", "logger=none"))
