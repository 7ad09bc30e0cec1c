"""A mixed table: which column costs nats, and whether synthetic rows are like the data."""

from collections.abc import Mapping

import torch
from torch import Tensor

from nelbo.data.kinds import ColumnKind
from nelbo.estimate import Estimate
from nelbo.evaluation import sample
from nelbo.measure.context import ReportContext
from nelbo.measure.quantities import row
from nelbo.measure.tables import error_per_column, table_match, train_on_synthetic
from nelbo.report.parts import Row, Section, percent

_PAIRS = 3  # that are named
_TARGETS = 6  # columns that are predicted, at most


def columns(context: ReportContext) -> Section | None:
    """The reconstruction error, column by column."""
    kinds = context.data.kinds
    if not kinds:
        return None
    costs = [error_per_column(context.model, part, list(kinds)) for part in context.parts]
    order = sorted(kinds, key=lambda name: -float(costs[0][name]))
    rows = tuple(
        row(
            "column_error_{column}",
            *(part[name] for part in costs),
            column=name,
            kind=kinds[name].kind,
            measure="a density of the scaled column" if kinds[name].is_density else "a probability",
        )
        for name in order
    )
    total = Estimate.mean_of(context.terms[0].reconstruction_error)
    sums = [sum(float(costs[0][n]) for n in order if kinds[n].is_density == density) for density in (True, False)]
    finding = (
        f"Of {total.text} nats of reconstruction error per row, {order[0]} costs most, {costs[0][order[0]].text} nats; "
        f"columns with a density cost {sums[0]:.2f} together, columns with probabilities {sums[1]:.2f}."
    )
    return Section(
        "columns",
        "Which column costs nats?",
        "−E_q[log p(x_d|z)] of each column d; they add up to the reconstruction error. Columns of real numbers have a "
        "density, whose nats depend on the unit and may be negative; those of the others are of probabilities, 0 or "
        "more. The two do not compare.",
        finding,
        rows,
        scope=context.scope(),
    )


def synthetic(context: ReportContext) -> Section | None:
    """Column shapes and pair trends of rows that the model draws."""
    kinds = context.data.kinds
    if not kinds:
        return None
    n = min(context.matched, len(context.held_out))
    real = context.held_out.x[:n].cpu()
    drawn = sample(context.model, n, seed=context.seed).cpu().to(real.dtype)
    match = table_match(torch.where(real.isnan(), torch.nan, drawn), real, kinds, seed=context.seed)
    other = None
    if context.train is not None:
        other = table_match(context.train.x[:n].cpu(), real, kinds, seed=context.seed)
    rows = [row("column_shapes", match.shape, None if other is None else other.shape)]
    if match.trend is not None:
        rows.append(row("pair_trends", match.trend, None if other is None else other.trend))
    if context.train is not None:
        rows += _transfers(context, kinds, drawn, n)
    worst = min(match.shapes, key=lambda name: float(match.shapes[name]))
    pairs = sorted(match.trends, key=lambda pair: match.trends[pair])[:_PAIRS]
    said = "; ".join(f"{a} and {b} {percent(match.trends[a, b])}" for a, b in pairs)
    finding = (
        f"Column shapes {percent(float(match.shape))}, the least of {worst} ({percent(float(match.shapes[worst]))})."
        + (f" The pairs that are least alike: {said}." if said else "")
    )
    return Section(
        "synthetic",
        "Are synthetic rows like real ones, column by column?",
        f"{n:,} rows drawn from the model beside as many held-out rows; 100 % is equal. Beside it the same of training "
        "rows, which is what real rows get. From good synthetic rows, one column is learned from the others as well as "
        "from real ones.",
        finding,
        tuple(rows),
        notes=("cells that held-out rows lack are left out of both",) if context.missing else (),
        scope=f"{n:,} samples and as many held-out examples",
    )


def _transfers(context: ReportContext, kinds: Mapping[str, ColumnKind], drawn: Tensor, n: int) -> list[Row]:
    """Columns of categories, predicted from the others by what was learned from synthetic and from real rows."""
    targets = [name for name, kind in kinds.items() if kind.kind in ("categorical", "binary")]
    train, held_out = context.training.x[:n].cpu(), context.held_out.x.cpu()
    rows: list[Row] = []
    for name in targets[:_TARGETS] if len(kinds) > 1 else []:
        place = list(kinds).index(name)
        if bool(train[:, place].isnan().all()) or bool(held_out[:, place].isnan().all()):
            continue
        found = train_on_synthetic(drawn, train, held_out, kinds, name)
        constant = percent(float(found.constant))
        rows.append(row("tstr_{column}", found.synthetic, found.real, column=name, constant=constant))
    return rows
