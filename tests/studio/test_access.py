"""Every control has a name, and every word contrast, on every page in both themes."""

from pathlib import Path
from urllib.parse import quote

import pytest

from nelbo.studio.session import Session

UNUSABLE = Path(__file__).with_name("access.js").read_text("utf-8")
# page -> what stands in it when it is ready
PAGES = {
    "kl": "[data-number]",
    "metric": ".lamp",
    "elbo": "[data-number]",
    "reparam": "svg.plot",
    "inspector": ".term .rank:visible",
    "train": ".train-strip .status:has-text('finished')",
    "report": ".term .rank:visible",
}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_control_has_a_name_and_every_word_contrast(serving, visit, run_folder, theme):
    served = serving(Session([run_folder]))
    found = {}
    for name, ready in PAGES.items():
        state = f"?run={quote(str(run_folder / 'first'))}" if name in ("inspector", "train", "report") else ""
        page = visit(served.address(name + state), color_scheme=theme)
        page.locator(ready).first.wait_for()
        found[name] = page.evaluate(UNUSABLE)
        page.close()
    assert {name: one for name, one in found.items() if one["nameless"] or one["faint"]} == {}
