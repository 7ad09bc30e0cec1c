"""The studio's pages as notebook widgets: Jupyter, Colab, VS Code, marimo.

    from nelbo.widgets import KLExplorer
    explorer = KLExplorer(mu_p=0.0, sigma_p=1.0, mu_q=1.0, sigma_q=2.0)
    explorer                      # drag; then explorer.mu_p, nelbo.kl(explorer.p, explorer.q)

Loaded when first used: anywidget brings IPython along.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nelbo.studio.link import FACTS

if TYPE_CHECKING:
    from nelbo.widgets.explorers import ElboLab, KLExplorer, MetricLab, Playground, ReparamLab
    from nelbo.widgets.of_runs import Inspector, Training

_WHERE = {
    facts["widget"]: "explorers" if facts["kind"] == "explorer" else "of_runs"
    for facts in FACTS.values()
    if "widget" in facts
}
__all__ = ["ElboLab", "Inspector", "KLExplorer", "MetricLab", "Playground", "ReparamLab", "Training"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"nelbo.widgets has no {name!r}; it has {', '.join(_WHERE)}")
    try:
        return getattr(import_module(f"nelbo.widgets.{_WHERE[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name not in ("anywidget", "traitlets"):
            raise
        raise ImportError(f"nelbo.widgets needs {error.name}: pip install 'nelbo[notebook]'") from None


def __dir__() -> list[str]:
    return sorted(__all__)
