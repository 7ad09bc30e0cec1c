"""Series of models of the same data along beta, from the autoencoder to collapse, with their latent spaces aligned."""

from collections.abc import Mapping
from typing import Any, cast

import torch

from nelbo.studio import planes
from nelbo.studio.alignment import turned
from nelbo.studio.library import Library
from nelbo.studio.session import Buffers, Content, Reply, Session, answers


@answers("beta.series")
def list_series(session: Session, content: Content, buffers: Buffers) -> Reply:
    """All series of at least two runs, the longest first; runs by their beta, that of an autoencoder is 0."""
    return Reply({"series": all_series(Library.of(session))})


def all_series(library: Library) -> list[dict[str, Any]]:
    """The series among the runs of a library.

    Each is runs that differ in beta alone; of two with the same beta, the later one.
    """
    groups: dict[str, dict[float, dict[str, Any]]] = {}
    points: list[tuple[str, dict[str, Any]]] = []
    for entry in library.entries():
        beta = None if entry["status"] not in ("finished", "in memory") else beta_of(entry)
        if beta is None:
            continue
        known = {name: entry[name] for name in ("run", "name", "title", "data", "latent")} | {"beta": beta}
        rest, own = entry["kin"]
        if beta == 0:
            points.append((rest, known))
        else:
            groups.setdefault(f"{rest} {own}", {})[beta] = known
    for rest, known in points:
        for key, members in groups.items():
            if key.startswith(f"{rest} "):
                members[0.0] = known
    listed = [[members[beta] for beta in sorted(members)] for members in groups.values() if len(members) > 1]
    return [{"data": runs[0]["data"], "runs": runs} for runs in sorted(listed, key=len, reverse=True)]


def beta_of(entry: Mapping[str, Any]) -> float | None:
    """The weight of the KL that a run was trained with; 0 of an autoencoder, None where there is no such number."""
    objective = cast("dict[str, Any]", entry.get("objective") or {})
    match objective.get("name"):
        case "ELBO":
            return 1.0
        case "Reconstruction":
            return 0.0
        case "Beta" if isinstance(objective.get("beta"), int | float):
            return float(objective["beta"])
        case _:
            return None


def series_of(library: Library, run: str) -> list[dict[str, Any]]:
    """The runs of the series that a run belongs to, by their beta.

    Raises:
        ValueError: it belongs to none.
    """
    run = library.named(run)
    for series in all_series(library):
        if any(entry["run"] == run for entry in series["runs"]):
            return series["runs"]
    raise ValueError(f"{run} belongs to no series of runs that differ in beta; nelbo sweep trains one")


@answers("beta.directions")
def directions(session: Session, content: Content, buffers: Buffers) -> Reply:
    """For each model of a run's series, the directions of its latent space that its plane shows, (1 or 2, latent).

    The model whose beta is nearest to 1 shows its most active units; the others are turned to their neighbors, so that
    the same example stays about where it is.
    """
    library = Library.of(session)
    entries = series_of(library, content["run"])
    with library.busy:
        opened = [library.inspection(entry["run"]) for entry in entries]
        if not all(torch.equal(one.x, opened[0].x) for one in opened):
            raise ValueError("the runs of this series hold other examples; were their data changed?")
        reference = min(range(len(opened)), key=lambda i: (abs(entries[i]["beta"] - 1), i))
        axes = planes.units(opened[reference].axes, opened[reference].model.latent).double()
        rotations = turned([one.mean for one in opened], reference)
    return Reply({"directions": [(axes @ rotation.T).tolist() for rotation in rotations]})
