"""The explorers as notebook widgets: the same state in Python and in the page."""

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("anywidget")

import nelbo
from nelbo import widgets
from nelbo.studio.session import Reply

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "explorer.ipynb"
PAGES = {
    "kl": "KLExplorer",
    "metric": "MetricLab",
    "elbo": "ElboLab",
    "reparam": "ReparamLab",
    "playground": "Playground",
}


@pytest.fixture
def made():
    kept = []

    def make(name, **state):
        kept.append(getattr(widgets, name)(**state))
        return kept[-1]

    yield make
    for widget in kept:
        widget.close()


def state_of(widget):
    return {name: getattr(widget, name) for name in widget.trait_names(sync=True) if not name.startswith("_")}


def own(widget):
    base = {"layout", "tabbable", "tooltip", "comm", "keys", "unit"}
    return {name: value for name, value in state_of(widget).items() if name not in base}


@pytest.mark.parametrize(("page", "name"), PAGES.items())
def test_python_and_the_page_have_the_same_state_and_limits(made, chromium, studio, page, name):
    context = chromium.new_context()
    try:
        tab = context.new_page()
        tab.goto(studio.address())
        there = tab.evaluate(
            "async (p) => { const m = (await import(`/pages/${p}.js`)).default;"
            " return JSON.parse(JSON.stringify({d: m.defaults, l: m.limits})); }",
            page,
        )
    finally:
        context.close()
    widget = made(name)
    assert own(widget) == there["d"]
    for key, limit in there["l"].items():
        trait = widget.traits()[key]
        assert (list(trait.values) if hasattr(trait, "values") else [trait.min, trait.max]) == limit, key


def test_the_distributions_of_the_explorer_are_those_it_shows(made):
    explorer = made("KLExplorer", mu_p=0.0, sigma_p=1.0, mu_q=1.0, sigma_q=2.0)
    assert float(nelbo.kl(explorer.p, explorer.q)) == pytest.approx(0.4431471805599453, rel=1e-15)
    explorer.family_q = "mixture"
    assert type(explorer.q).__name__ == "MixtureSameFamily"
    lab = made("MetricLab")
    assert [float(d.mean) for d in lab.members] == [0, 1, 2]


def test_a_value_out_of_range_and_an_unknown_name_are_errors(made):
    import traitlets

    explorer = made("KLExplorer")
    with pytest.raises(traitlets.TraitError, match="sigma_p"):
        explorer.sigma_p = -1.0
    with pytest.raises(TypeError, match=r"KLExplorer: unknown \['mu'\]; its state has .*mu_p"):
        made("KLExplorer", mu=1.0)
    with pytest.raises(AttributeError, match="has no 'Explorer'; it has KLExplorer"):
        widgets.Explorer  # noqa: B018


def test_what_the_page_asks_is_answered_over_the_widget(made):
    explorer = made("KLExplorer")
    sent = []
    explorer.send = lambda content, buffers=None: sent.append((content, buffers))
    normal = {"family": "normal", "mu": 0.0, "sigma": 1.0}
    explorer._asked(explorer, {"kind": "explore.kl", "id": 4, "p": normal, "q": {**normal, "mu": 1.0}}, [])
    assert sent[0][0] == {
        "pq": [0.5, 0.0, "closed_form"],
        "qp": [0.5, 0.0, "closed_form"],
        "w2": 1.0,
        "id": 4,
        "kind": "explore.kl",
    }
    explorer.session.tell("train.metrics", {"epoch": 1}, [b"x"])
    assert sent[1] == ({"epoch": 1, "event": "train.metrics"}, [b"x"])
    assert isinstance(explorer.session.ask({"kind": "x"}), Reply)


HOST = """async ([esm, state]) => {
  const url = URL.createObjectURL(new Blob([esm], {type: "text/javascript"}));
  const widget = (await import(url)).default;
  const listeners = {};
  const values = {...state};
  window.model = {
    get: (name) => values[name],
    set(name, value) {
      values[name] = value;
      (listeners[`change:${name}`] ?? []).forEach(f => f());
    },
    save_changes() { window.written = structuredClone(values); },
    on(event, f) { (listeners[event] ??= []).push(f); },
    off(event, f) { listeners[event] = (listeners[event] ?? []).filter(g => g !== f); },
    send() {},
  };
  const el = document.createElement("div");
  document.body.replaceChildren(el);
  window.leave = await widget.render({model: window.model, el});
}"""


@pytest.mark.parametrize("name", PAGES.values())
def test_the_one_module_draws_with_the_model_of_a_notebook(made, tab, name):
    """anywidget's contract: one ESM string, a model, an element; nothing else."""
    widget = made(name)
    tab.page.goto("about:blank")
    tab.page.evaluate(HOST, [str(widget._esm), own(widget) | {"unit": "nats"}])
    tab.page.wait_for_selector("article.page svg.plot")
    tab.page.add_style_tag(content=str(widget._css))
    tab.rest()
    if name == "KLExplorer":
        tab.drag("mean of p", 60)
        moved = tab.field("mu_p")
        assert moved > 0.3
        tab.page.wait_for_function("(v) => window.written?.mu_p === v", arg=moved)  # what Python's trait gets
        tab.page.evaluate("window.model.set('mu_p', -1.5)")  # what Python sets
        tab.settle()
        assert tab.field("mu_p") == -1.5
    tab.page.evaluate("window.leave()")
    assert tab.page.locator("article.page").count() == 0


def test_the_notebook_runs_and_names_only_what_exists(made):
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    source = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    scope = {}
    exec(re.sub(r"^(explorer|forward)$", "", source, flags=re.MULTILINE), scope)
    assert scope["explorer"].sigma_q == 1.0
