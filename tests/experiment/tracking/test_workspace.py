import sys

import pytest

from experiment.core.errors import UserError
from experiment.tracking import workspace as script
from experiment.tracking.workspace import COLUMNS, workspace

views = pytest.importorskip("wandb_workspaces.workspaces")


@pytest.fixture
def saved(monkeypatch):
    """What would be sent to the server."""
    sent = []
    monkeypatch.setattr(views.Workspace, "save", lambda view: sent.append(view._to_model()))
    return sent


def test_the_workspace_lists_summaries_best_first_with_the_numbers_that_compare(saved, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["workspace", "team/granules"])
    script.main()
    (sent,) = saved
    assert (sent.entity, sent.project) == ("team", "granules")
    (runs,) = sent.spec.section.run_sets
    text = runs.model_dump_json(by_alias=True)
    assert '"jobType"' in text
    assert '"summary"' in text
    assert all(column in text for column in COLUMNS)
    panels = [panel.view_type for section in sent.spec.section.panel_bank_config.sections for panel in section.panels]
    assert panels.count("Bar Chart") == 4
    assert "Parallel Coordinates Plot" in panels


def test_a_call_without_a_project_says_what_to_type(saved, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["workspace", "granules"])
    with pytest.raises(SystemExit, match="ENTITY/PROJECT"):
        script.main()
    assert saved == []


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    with pytest.raises(UserError, match="pip install wandb-workspaces"):
        workspace("team", "granules")
