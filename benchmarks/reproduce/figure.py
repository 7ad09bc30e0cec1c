"""How the bounds went while training, on held-out images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from benchmarks.reproduce.plan import Plan, Training
from nelbo import runs
from nelbo.figures import palette, save
from nelbo.figures.curves import series
from nelbo.figures.page import Page, styled

COLORS = {"vae": palette.CLASSES[0], "iwae": palette.CLASSES[5], "stl": palette.CLASSES[4]}
_EPOCHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
# inches
_LEFT, _TOP, _WIDTH, _HEIGHT, _GAP = 0.65, 0.85, 3.1, 2.6, 0.5


def draw(plan: Plan, out: Path, path: Path) -> None:
    histories = [(training, runs.read_history(out / training.name)) for training in plan.trainings]
    save(curves([(training, history) for training, history in histories if history], plan), path)


@styled
def curves(histories: Sequence[tuple[Training, list[runs.Epoch]]], plan: Plan) -> Figure:
    """The negative ELBO of every run by epoch, and beside it the bound that the run was trained on."""
    page = Page(_LEFT + 2 * _WIDTH + _GAP + 0.2, _TOP + _HEIGHT + 0.5)
    page.note(_LEFT - 0.5, 0.1, f"Bounds on {plan.held_out} held-out images while training", size=11.5, weight="bold")
    panels = [page.panel(_LEFT + i * (_WIDTH + _GAP), _TOP, _WIDTH, _HEIGHT) for i in range(2)]
    lowest = float("inf")
    for axes, key, title in zip(
        panels, ("nelbo", "objective"), ("−ELBO", "the bound trained on: −ELBO or −L₅"), strict=True
    ):
        for training, history in histories:
            y = series(history, f"validation_{key}")
            lowest = min(lowest, float(y.min()))
            axes.plot([epoch["epoch"] for epoch in history], y, **_style(training))
        axes.set_title(title, loc="left")
    for axes in panels:
        axes.set_ylim(lowest - 1, lowest + 20)  # of the first epochs there is little to see
        _ticks(axes, max(len(history) for _, history in histories))
    panels[0].set_ylabel("nats", labelpad=2)
    page.legend(
        handles=[Line2D([], [], label=training.title, **_style(training)) for training, _ in histories],
        loc="upper left",
        bbox_to_anchor=page.at(_LEFT - 0.5, 0.32),
        ncols=5,
        frameon=False,
        fontsize=8.5,
        borderaxespad=0,
        columnspacing=1.2,
        handlelength=1.6,
    )
    return page


def _style(training: Training) -> dict[str, Any]:
    kind = training.name.removesuffix("-long")
    color = COLORS["stl" if kind.endswith("stl") else kind.partition("-")[0]]
    return {"color": color, "linewidth": 1.6, "linestyle": (0, (3.5, 1.6)) if training.name.endswith("-long") else "-"}


def _ticks(axes: Axes, epochs: int) -> None:
    shown = [epoch for epoch in _EPOCHS if epoch <= epochs]
    axes.set_xscale("log")
    axes.set_xticks(shown, [str(epoch) for epoch in shown])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.set_xlabel("epoch", labelpad=1)
