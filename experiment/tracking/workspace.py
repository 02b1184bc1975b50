"""Workspace in W&B that compares cross-validations: `python -m experiment.tracking.workspace ENTITY/PROJECT`.

Needs `pip install wandb-workspaces` and a login. Each call saves another view; W&B prints its address.
"""

import sys
from typing import Any

from experiment.core.errors import UserError

COLUMNS = (
    "summary:objective", "summary:oof/balanced_accuracy", "summary:oof/balanced_accuracy/low",
    "summary:oof/balanced_accuracy/high", "summary:oof/auroc", "summary:oof/brier", "summary:calibration/ece",
    "summary:finished_folds", "summary:cost/seconds", "config:samples.images", "config:samples.groups",
)  # fmt: skip
SETTINGS = ("model.svm.C", "model.network.lr", "model.lr", "trunk.name")


def workspace(entity: str, project: str) -> Any:
    """Return the workspace; nothing is sent before its `save`.

    Raises:
        UserError: the package wandb-workspaces is not installed.
    """
    try:
        import wandb_workspaces.reports.v2 as panels
        import wandb_workspaces.workspaces as views
        from wandb_workspaces import expr
    except ImportError as error:
        raise UserError("the workspace needs a package that is not installed; type: pip install wandb-workspaces") from error

    axes = [*(panels.Config(setting) for setting in SETTINGS), *(panels.SummaryMetric(m) for m in ("objective", "oof/auroc"))]
    scores = ("oof/balanced_accuracy", "oof/auroc", "oof/brier", "cost/seconds")
    compare = [
        *(panels.BarPlot(title=score, metrics=[score]) for score in scores),
        panels.ParallelCoordinatesPlot(columns=[panels.ParallelCoordinatesPlotColumn(metric=axis) for axis in axes]),
    ]
    images = [panels.WeavePanelSummaryTable(table_name="oof")]
    training = [panels.LinePlot(title=name, x="epoch", y=[name]) for name in ("train/loss", "val/loss")]
    return views.Workspace(
        entity=entity,
        project=project,
        name="Compare cross-validations",
        sections=[
            views.Section("Models and trials", compare, is_open=True),
            views.Section("Images, most wrong first", images),
            views.Section("Training of folds (filter JobType = fold)", training),
        ],
        runset_settings=views.RunsetSettings(
            filters="JobType = 'summary'",
            order=[expr.Ordering(expr.Summary("objective"), ascending=False)],
            pinned_columns=list(COLUMNS),
        ),
        auto_generate_panels=True,  # what was logged besides, such as curves/roc
    )


def main() -> None:
    """Save the workspace in the project that the command names."""
    entity, _, project = sys.argv[1].partition("/") if len(sys.argv) == 2 else ("", "", "")
    if not entity or not project:
        sys.exit("error: name the project: python -m experiment.tracking.workspace ENTITY/PROJECT")
    try:
        workspace(entity, project).save()
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
