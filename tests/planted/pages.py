"""Write the documentation that the suite can compute: a figure for each finding, and the table of cases."""

from pathlib import Path

import torch

import nelbo
from nelbo.diagnosis.history import History
from nelbo.diagnosis.registry import CHECKS
from nelbo.figures import palette
from nelbo.figures.page import Page, render, styled
from nelbo.files import write_bytes
from tests.planted.cases import FAULTS, WILD
from tests.planted.suite import Outcome, load, view

DOCS = Path(__file__).parents[2] / "docs"
PAGES = "../src/nelbo/diagnosis/findings"  # from docs/
FIGURES = DOCS / "images" / "findings"
# the healthy model that stands beside the faulty ones of its data and network
_TWINS = {
    ("binary digits", "dense"): "dense_16",
    ("binary digits", "conv"): "conv_8",
    ("gray digits", "dense"): "conv_normal",
    ("gray digits", "conv"): "conv_normal",
    ("counts", "dense"): "counts_poisson",
    ("table with holes", "dense"): "told_of_holes",
    ("short lines", "dense"): "dense_16",
}
_OF_THE_TABLE = "table_3"
_OF_CODES = "few_codes"


def write_figures(outcomes: list[Outcome]) -> None:
    """docs/images/findings/ID.png for every finding whose planted case is among the outcomes."""
    trained = {outcome.planted.name: outcome.subject for outcome in outcomes}
    for check in CHECKS.values():
        planted = case_of(check.id)
        if planted is not None and planted.name in trained:
            twin = _TWINS.get((planted.data, planted.network), _OF_THE_TABLE)
            twin = _OF_CODES if view(trained[planted.name]).codes is not None else twin
            drawn = draw([(check.page.title, trained[planted.name]), (f"healthy: {twin}", trained[twin])])
            write_bytes(FIGURES / f"{check.id}.png", render(drawn, ".png", dpi=80))


def case_of(id):
    """The planted case that shows a finding: on images, where there is one."""
    load()
    cases = [planted for planted in FAULTS.values() if planted.finding == id]
    return min(cases, key=lambda planted: "digits" not in planted.data, default=None)


@styled
def draw(rows):
    """Training curves, codes and reconstructions of each (title, subject), one row each."""
    sheet = Page(9.4, 2.75 * len(rows))
    for number, (title, subject) in enumerate(rows):
        top = 2.75 * number + 0.5
        sheet.note(0.15, top - 0.38, title, weight="bold")
        _curves(sheet.panel(0.6, top, 2.5, 1.65), subject)
        model = view(subject)
        finite = torch.isfinite(subject.x.flatten(1)).all(1)
        x = subject.x[finite][:800]
        with torch.no_grad(), torch.random.fork_rng([]):
            torch.manual_seed(0)
            (_codes if model.codes is None else _use)(sheet.panel(3.75, top, 1.65, 1.65), model, x)
            _pairs(sheet, 6.0, top, model, subject)
    return sheet


def _curves(axes, subject):
    history = History.of(subject.history)
    epochs = range(1, len(history) + 1)
    for term, colour in (("reconstruction_error", palette.RECONSTRUCTION_ERROR), ("kl", palette.KL)):
        for part, style in (("train", "-"), ("validation", "--")):
            values = history.get(f"{part}_{term}")
            if values is not None:
                axes.plot(epochs, values, style, color=colour, linewidth=1.2)
    axes.set_yscale("symlog", linthresh=1.0)
    axes.yaxis.get_major_locator().set_params(numticks=7)
    axes.set(xlabel="epoch")
    axes.set_ylabel("nats", labelpad=1)
    axes.set_title("reconstruction error", color=palette.RECONSTRUCTION_ERROR, loc="left", size=8.5, pad=3)
    axes.set_title("KL", color=palette.KL, loc="right", size=8.5, pad=3)


def _codes(axes, model, x):
    z = model.posterior(x).sample()
    mu = model.encode(x)
    order = torch.nan_to_num(mu.var(0)).argsort(descending=True)[:2]
    reach = 3.5
    if len(order) == 2 and bool(torch.isfinite(z).all()):
        a, b = z[:, order[0]], z[:, order[1]]
        reach = min(max(3.5, 1.1 * float(torch.cat([a, b]).abs().max())), 30)
        axes.plot(a, b, ".", color=palette.Q, markersize=1.6)
    angle = torch.linspace(0, 2 * torch.pi, 200)
    axes.plot(2.448 * angle.cos(), 2.448 * angle.sin(), color=palette.P, linewidth=1.2)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes.set_title("z of the two busiest units", size=8.5, loc="left", pad=3)


def _use(axes, model, x):
    shares = nelbo.measure.codes(model, x).counts.sum(0).sort(descending=True).values / (len(x) * model.latent)
    axes.bar(range(1, len(shares) + 1), shares, width=1.0, color=palette.Q)
    axes.set(xlabel=f"code, of {len(shares)}", xlim=(0.4, len(shares) + 0.6))
    axes.set_title("share of the positions", size=8.5, loc="left", pad=3)


def _pairs(sheet, left, top, model, subject):
    x = subject.held_out if subject.held_out is not None else subject.x
    x = x[torch.isfinite(x.flatten(1)).all(1)][:8]
    back = model.reconstruct(x)
    sheet.note(left, top - 0.22, "held-out, and reconstructed", size=8.5)
    if x.dim() == 4:
        span = {"vmin": min(0.0, float(x.min())), "vmax": max(1.0, float(x.max()))}
        for column, (original, again) in enumerate(zip(x, back, strict=True)):
            for row, picture in enumerate((original, again)):
                axes = sheet.panel(left + 0.4 * column, top + 0.1 + 0.55 * row, 0.37, 0.37)
                axes.imshow(picture[0], cmap="gray", **span)
                axes.set(xticks=[], yticks=[])
        return
    axes = sheet.panel(left + 0.35, top, 2.6, 1.65)
    low, high = float(x.min()), float(x.max())
    axes.plot([low, high], [low, high], color=palette.RULE, linewidth=1)
    axes.plot(x.flatten(), back.flatten(), ".", markersize=3, color=palette.NELBO)
    axes.set(xlabel="x")
    axes.set_ylabel("reconstruction", labelpad=1)


def table(outcomes: list[Outcome]) -> str:
    """The suite's outcomes as a Markdown table, with the counts above it."""
    faults = [o for o in outcomes if o.planted.finding is not None]
    healthy = [o for o in outcomes if o.planted.finding is None]
    named = sum(o.right for o in faults)
    alarms = sum(not o.right for o in healthy)
    lines = [
        f"Faults named first: {named} of {len(faults)}.",
        f"Healthy models with a severe finding: {alarms} of {len(healthy)}.",
        f"The slowest diagnosis took {max(o.seconds for o in outcomes):.1f} s.",
        "",
        "| planted | data | network | | the diagnosis, in its order (s: severe, w: warning) |",
        "|---|---|---|---|---|",
    ]
    for outcome in outcomes:
        planted = outcome.planted
        verdict = (
            ("found" if outcome.right else "**missed**")
            if planted.finding
            else ("clean" if outcome.right else "**false alarm**")
        )
        said = (
            ", ".join(f"{f.id} ({f.severity[0]})" for f in outcome.findings if f.severity != "note") or "nothing wrong"
        )
        planted_as = f"[{planted.finding}]({PAGES}/{planted.finding}.md)" if planted.finding else "healthy"
        lines.append(f"| {planted_as}: {planted.name} | {planted.data} | {planted.network} | {verdict} | {said} |")
    return "\n".join(lines)


def write(outcomes: list[Outcome]) -> None:
    """Everything: the figures, and the table of each suite in docs/diagnosis.md."""
    write_figures(outcomes)
    for name, wild in (("suite", False), ("wild suite", True)):
        of_it = [outcome for outcome in outcomes if (outcome.planted.name in WILD) == wild]
        if of_it:
            put(name, table(of_it))


def put(name: str, text: str) -> None:
    """A generated part of docs/diagnosis.md, between its two comments."""
    path = DOCS / "diagnosis.md"
    start, end = f"<!-- generated: {name} -->", f"<!-- end of {name} -->"
    before, rest = path.read_text().split(start)
    write_bytes(path, f"{before}{start}\n{text}\n{end}{rest.split(end)[1]}".encode())
