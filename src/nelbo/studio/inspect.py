"""What the inspector's page asks: runs, embeddings, decodings, densities over a plane. No mathematics in here."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from nelbo import latents
from nelbo.divergences import Delta
from nelbo.estimate import Estimate
from nelbo.evaluation import Evaluation, decode, evaluate
from nelbo.figures.points import read_labels
from nelbo.measure.aggregate import LEVEL
from nelbo.studio import planes
from nelbo.studio.alignment import align
from nelbo.studio.holes import Holes, holes
from nelbo.studio.inspection import (
    DRAWS_OF_ONE,
    Inspection,
    Terms,
    checkpoint_epoch,
    kl_per_unit,
    terms_of,
    terms_of_one,
    under,
)
from nelbo.studio.library import Library
from nelbo.studio.networks import Network, decoder_of, encoder_of, posterior_form
from nelbo.studio.session import Buffers, Content, Reply, Session, answers
from nelbo.vae import Model

_FARTHEST = 1e3  # of a coordinate that a page may ask for; beyond, float32 pictures say nothing
_MOST_AT_ONCE = 1024  # codes decoded for one message
_MOST_EXAMPLES, _MOST_PICTURES = 64, 256
_FEW = 40  # features that a page names one by one
_FINEST = 128  # cells of a plane's grid along an axis


@answers("inspect.runs")
def list_runs(session: Session, content: Content, buffers: Buffers) -> Reply:
    """Every run the studio knows, with its last terms."""
    return Reply({"runs": Library.of(session).entries()})


@answers("inspect.open")
def open_run(session: Session, content: Content, buffers: Buffers) -> Reply:
    """A run's examples: where q(z|x) lies for each, and its terms; "all": true takes up to 100,000 of them."""
    library, inspection = Library.of(session), _inspection(session, content)
    reply, run = opened(inspection), library.named(content["run"])
    path = inspection.run.path
    checkpoint = None if path is None else checkpoint_epoch(path)
    known = {"run": run, "name": library.short_name(run), "checkpoint": checkpoint}
    return Reply({**reply.content, **known}, reply.buffers)


def opened(inspection: Inspection) -> Reply:
    """What a page needs to draw the latent space of a run.

    Buffers, float32: mean (n, latent) and standard deviation (n, latent) of q(z|x); reconstruction error, kl and nelbo,
    the standard errors of these three, the draws of z that they are over, and labels, each (n,).
    """
    model, evaluation, draws = inspection.model, inspection.evaluation, inspection.draws
    terms, prior = inspection.terms.values(), latents.moments(evaluation.pz)
    deviation = inspection.covariance.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()
    labels = read_labels(inspection.labels, len(inspection.x))
    directions = planes.units(inspection.axes, model.latent)
    values = torch.full((len(inspection.x),), math.nan) if labels is None else torch.from_numpy(labels.values)
    content = {
        "title": inspection.run.name,
        "split": inspection.split,
        "n": len(inspection.x),
        "of": inspection.of,
        "latent": model.latent,
        "event": list(inspection.x.shape[1:]),
        "axes": list(inspection.axes),
        "box": _ends(planes.around(inspection, directions, (0.0,) * model.latent)),
        "prior_box": _ends(planes.around_prior(inspection, directions)),
        "principal": planes.principal(inspection.mean).tolist() if model.latent > 2 and len(inspection.x) > 2 else None,
        "is_point": evaluation.is_point,
        "is_normal": evaluation.moments.exact,
        "standard_normal_prior": prior is not None and _is_standard(*prior),
        "prior": _family(model, "pz_family", evaluation.pz),
        "posterior": _family(model, "qz_family", evaluation.qz),
        "likelihood": type(model.px_family).__name__,
        "support": model.px_family.support,
        "draws": draws,
        "label_names": None if labels is None else _label_names(inspection, labels.names),
        "kl_per_unit": [_number(value) for value in kl_per_unit(evaluation, draws).mean(0)],
        "activity": inspection.mean.double().var(0, correction=0).tolist(),
        "totals": {name: _with_error(Estimate.mean_of(each)) for name, each in inspection.first_terms.items()},
        "features": _features(inspection),
        "preparation": _preparation(inspection),
        "range": [float(value) for value in inspection.x.aminmax()],
        "columns": _columns(inspection),
        "picture": model.px_family.browser_form(),
        "posterior_form": posterior_form(model),
        "in_page": {part: _network(inspection, part) is not None for part in ("decoder", "encoder")},
        "record": {key: inspection.run.record.get(key) for key in ("recipe", "objective", "data", "model", "training")},
        "path": None if inspection.run.path is None else str(inspection.run.path),
    }
    measured = [each.value for each in terms] + [each.standard_error for each in terms]
    columns = (inspection.mean, deviation, *measured, inspection.draws_of_each, values)
    return Reply(content, [_floats(column) for column in columns])


@answers("inspect.weights")
def weights(session: Session, content: Content, buffers: Buffers) -> Reply:
    """The steps of a decoder or encoder, for a browser to compute; their weights and biases as float32 buffers."""
    part = content["part"]
    if part not in ("decoder", "encoder"):
        raise ValueError(f"part must be 'decoder' or 'encoder', got {part!r}")
    network = _network(_inspection(session, content), part)
    if network is None:
        raise ValueError(f"the {part} is not one that a page computes; Python does")
    return Reply({"steps": network.steps}, [_floats(weight) for weight in network.weights])


def _network(inspection: Inspection, part: str) -> Network | None:
    """The encoder or the decoder as a page computes it; None where Python does."""
    if part == "encoder":
        return encoder_of(inspection.model, inspection.x.shape[1:])
    return decoder_of(inspection.model)


@answers("inspect.examples")
def examples(session: Session, content: Content, buffers: Buffers) -> Reply:
    """Some examples, looked at closely: the input, its reconstruction, q(z|x), and its terms over many draws."""
    inspection = _inspection(session, content)
    rows = _rows(inspection, content["rows"], _MOST_EXAMPLES)
    with Library.of(session).busy:
        return looked_at([inspection.closely(row) for row in rows], rows)


@answers("inspect.refine")
def refine(session: Session, content: Content, buffers: Buffers) -> Reply:
    """The terms of some examples over many draws: the numbers of `inspect.examples`, without what they look like."""
    inspection = _inspection(session, content)
    rows = _rows(inspection, content["rows"], _MOST_EXAMPLES)
    with Library.of(session).busy:
        return Reply({"examples": [_closer(inspection.closely(row), row) for row in rows]})


@answers("inspect.pictures")
def pictures(session: Session, content: Content, buffers: Buffers) -> Reply:
    """Some examples at a glance: buffers x and reconstruction, (rows, features) float32 each; or x alone."""
    inspection = _inspection(session, content)
    rows = _rows(inspection, content["rows"], _MOST_PICTURES)
    if content.get("inputs") is True:
        return Reply({"rows": rows}, [_floats(inspection.x[rows])])
    with Library.of(session).busy:
        return Reply({"rows": rows}, [_floats(inspection.x[rows]), _floats(inspection.evaluation[rows].reconstruction)])


@answers("inspect.inputs")
def inputs(session: Session, content: Content, buffers: Buffers) -> Reply:
    """The inputs of all examples in as few bytes as hold them exactly, for a page that decodes without Python.

    Buffers: the inputs, (n, features); then covariances of q(z|x), float32, if they are not diagonal.
    """
    inspection = _inspection(session, content)
    coding, packed = _packed(inspection.x)
    covariance = inspection.covariance
    diagonal = bool((covariance == torch.diag_embed(covariance.diagonal(dim1=1, dim2=2))).all())
    return Reply({"coding": coding}, [packed, *([] if diagonal else [_floats(covariance)])])


@answers("inspect.encode")
def encode(session: Session, content: Content, buffers: Buffers) -> Reply:
    """An input that the user drew or changed; its terms over as many draws as the page asks for."""
    inspection, draws = _inspection(session, content), content.get("draws", DRAWS_OF_ONE)
    if type(draws) is not int or not 2 <= draws <= DRAWS_OF_ONE:
        raise ValueError(f"draws must be an integer from 2 to {DRAWS_OF_ONE}, got {draws!r}")
    x = _input(inspection, buffers)
    with Library.of(session).busy:
        return looked_at([evaluate(inspection.run, x)], [None], draws=draws)


def looked_at(examples: Sequence[Evaluation], rows: Sequence[int | None], *, draws: int = DRAWS_OF_ONE) -> Reply:
    """Examples as a message.

    Buffers, float32, of each example in turn: x, reconstruction, mean and covariance of q(z|x), and the error of each
    feature, which is empty where p(x|z) does not factorize.
    """
    listed = [
        {
            **_closer(one, row, draws),
            "at_mean": _number(one.error_at_embedding[0]),
            "kl_per_unit": [_number(value) for value in kl_per_unit(one, draws)[0]],
        }
        for row, one in zip(rows, examples, strict=True)
    ]
    parts = ((one.x, one.reconstruction, *one.moments[:2], _errors(one, draws)) for one in examples)
    return Reply({"examples": listed}, [_floats(part) for each in parts for part in each])


def _errors(one: Evaluation, draws: int) -> Tensor:
    """-E[log p(x_i|z)] of each feature; their sum is the reconstruction error over as many draws."""
    errors = one.error_per_feature(draws)
    return torch.empty(0) if errors is None else errors


def _closer(one: Evaluation, row: int | None, draws: int = DRAWS_OF_ONE) -> dict[str, Any]:
    """The number of an example and its terms over many draws."""
    terms = {name: each[0] for name, each in terms_of(one, draws).items()}
    return {"row": row, **_values(terms), "draws": draws}


def _values(terms: Terms) -> dict[str, Any]:
    """The terms of one example, and their standard errors."""
    errors = {name: _number(each.standard_error) for name, each in terms.items()}
    return {**{name: _number(each.value) for name, each in terms.items()}, "standard_errors": errors}


@answers("inspect.decode")
def decode_codes(session: Session, content: Content, buffers: Buffers) -> Reply:
    """Pictures of codes: z (n, latent) float32 in, the mean of p(x|z) (n, features) float32 out."""
    inspection = _inspection(session, content)
    latent = inspection.model.latent
    z = _read(buffers, 0, "z")
    if not 0 < z.numel() <= _MOST_AT_ONCE * latent or z.numel() % latent:
        raise ValueError(f"z must hold 1 to {_MOST_AT_ONCE} codes of {latent} numbers, got {z.numel()} numbers")
    with Library.of(session).busy:
        pictures = decode(inspection.model, z.reshape(-1, latent).clamp(-_FARTHEST, _FARTHEST))
    return Reply({"shape": list(pictures.shape)}, [_floats(pictures)])


@answers("inspect.terms")
def terms_of_own_q(session: Session, content: Content, buffers: Buffers) -> Reply:
    """The terms of an input under a normal q of the user's own: buffers x, mean, covariance, float32.

    The answer's buffer holds the error of each feature; it is empty where p(x|z) does not factorize.
    """
    inspection = _inspection(session, content)
    latent = inspection.model.latent
    x, mean, covariance = _input(inspection, buffers), _read(buffers, 1, "mean"), _read(buffers, 2, "covariance")
    if mean.shape != (latent,) or covariance.shape != (latent * latent,):
        raise ValueError(f"q has a mean of {latent} numbers and a covariance of {latent * latent}")
    with Library.of(session).busy:
        evaluation, has_extent = under(inspection.model, x, mean, covariance.reshape(latent, latent))
        terms = _values(terms_of_one(evaluation, has_extent))
        return Reply({"terms": terms}, [_floats(_errors(evaluation, DRAWS_OF_ONE))])


@answers("inspect.errors")
def errors_at(session: Session, content: Content, buffers: Buffers) -> Reply:
    """What each feature of an input costs at a code: buffers x and z in, -log p(x_i|z) out, float32, in nats."""
    inspection = _inspection(session, content)
    latent = inspection.model.latent
    x, z = _input(inspection, buffers), _read(buffers, 1, "z")
    if z.shape != (latent,):
        raise ValueError(f"z must hold {latent} numbers, got {z.numel()}")
    with Library.of(session).busy:
        at_z = evaluate(inspection.run, x).with_posterior(Delta(z.clamp(-_FARTHEST, _FARTHEST)[None]))
        return Reply({"sum": float(at_z.error_at_embedding[0])}, [_floats(_errors(at_z, 2))])


@answers("inspect.plane")
def plane(session: Session, content: Content, buffers: Buffers) -> Reply:
    """Layers over a rectangle of the latent space: log densities (prior, aggregate, stretch), holes, decoded pictures.

    A float32 buffer for each layer asked for, in their order: (n * n,), or (n * n, features) for pictures. The holes
    come with the share of the prior's mass that lies in them.
    """
    inspection, n = _inspection(session, content), content.get("n", 64)
    if type(n) is not int or not 2 <= n <= _FINEST:
        raise ValueError(f"n must be an integer from 2 to {_FINEST}, got {n!r}")
    where = _plane(inspection, content)
    layers = {
        "prior": lambda: planes.log_prior(inspection, where, n),
        "aggregate": lambda: planes.log_aggregate(inspection, where, n),
        "decoded": lambda: planes.decoded(inspection, where, n),
        "stretch": lambda: planes.stretch(inspection.model, where, n),
        "holes": lambda: holes(inspection, where.directions).over(where, n),
    }
    wanted = content["layers"]
    if not isinstance(wanted, Sequence) or not wanted or not all(name in layers for name in wanted):
        raise ValueError(f"layers must be some of {', '.join(layers)}; got {wanted!r}")
    with Library.of(session).busy:
        values = [_floats(layers[name]()) for name in wanted]
        said = _said_of(holes(inspection, where.directions)) if "holes" in wanted else {}
        prior_box = _ends(planes.around_prior(inspection, where.directions))
    low, high = _ends(where)
    return Reply({"layers": list(wanted), "n": n, "low": low, "high": high, "prior_box": prior_box, **said}, values)


def _ends(where: planes.Plane) -> list[list[float]]:
    return [list(where.low), list(where.high)]


def _said_of(found: Holes) -> dict[str, Any]:
    """The numbers of the holes, as a report writes them."""
    in_plane = None if found.in_plane is None else found.in_plane.text
    return {"holes": {"share": found.share.text, "in_plane": in_plane, "level": LEVEL, "examples": found.examples}}


@answers("inspect.align")
def alignment(session: Session, content: Content, buffers: Buffers) -> Reply:
    """The map from one run's plane to another's that brings the same examples together."""
    first, second = (_inspection(session, {**content, "run": content[name]}) for name in ("run", "other"))
    if first.run.record.get("data") != second.run.record.get("data") and not torch.equal(first.x, second.x):
        raise ValueError("the two runs were not trained on the same data, so that their examples do not correspond")
    one, other = _directions(first, content.get("axes")), _directions(second, content.get("other_axes"))
    aligned = vars(align(first.mean @ one.T, second.mean @ other.T))
    return Reply({name: value.tolist() if isinstance(value, Tensor) else value for name, value in aligned.items()})


def _inspection(session: Session, content: Content) -> Inspection:
    split = content.get("split")
    if not (split is None or isinstance(split, str)):
        raise TypeError(f"split must be train, validation or test; got {split!r}")
    return Library.of(session).inspection(content["run"], split, whole=content.get("all") is True)


def _rows(inspection: Inspection, rows: Any, most: int) -> list[int]:
    n = len(inspection.x)
    if not isinstance(rows, Sequence) or not all(type(row) is int and 0 <= row < n for row in rows):
        raise ValueError(f"rows must be integers from 0 to {n - 1}, got {rows!r}")
    if not 0 < len(rows) <= most:
        raise ValueError(f"at most {most} examples at a time, and at least one; got {len(rows)}")
    return list(rows)


def _directions(inspection: Inspection, axes: Any) -> Tensor:
    """The directions of a plane: None for the most active units, "principal", or units by their numbers."""
    latent = inspection.model.latent
    if axes is None:
        return planes.units(inspection.axes, latent)
    if axes == "principal" and latent > 2 and len(inspection.x) > 2:
        return planes.principal(inspection.mean)
    whole = isinstance(axes, Sequence) and all(type(axis) is int and 0 <= axis < latent for axis in axes)
    if not whole or len(axes) != min(2, latent) or len(set(axes)) != len(axes):
        other = ', or "principal"' if latent > 2 else ""
        raise ValueError(
            f"axes must be {min(2, latent)} different latent dimensions from 0 to {latent - 1}{other}; got {axes!r}"
        )
    return planes.units(axes, latent)


def _plane(inspection: Inspection, content: Content) -> planes.Plane:
    directions = _directions(inspection, content.get("axes"))
    latent = inspection.model.latent
    at = content.get("at")
    held = (0.0,) * latent if at is None else _numbers(at, latent, "at")
    if "low" not in content and "high" not in content:
        return planes.around(inspection, directions, held)
    low, high = (_numbers(content.get(end), len(directions), end) for end in ("low", "high"))
    if not all(a < b for a, b in zip(low, high, strict=True)):
        raise ValueError(f"a plane's low ends must lie below its high ends, got {low} and {high}")
    return planes.Plane(directions, low, high, held)


def _numbers(values: Any, count: int, name: str) -> tuple[float, ...]:
    if not isinstance(values, Sequence) or len(values) != count or not all(_is_finite(value) for value in values):
        raise ValueError(f"{name} must hold {count} finite numbers, got {values!r}")
    return tuple(max(-_FARTHEST, min(_FARTHEST, float(value))) for value in values)


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _input(inspection: Inspection, buffers: Buffers) -> Tensor:
    event = inspection.x.shape[1:]
    x = _read(buffers, 0, "x")
    if x.numel() != event.numel():
        raise ValueError(f"an input has {event.numel()} values, got {x.numel()}")
    return x.reshape(1, *event)


def _read(buffers: Buffers, position: int, name: str) -> Tensor:
    if len(buffers) <= position or len(buffers[position]) % 4:
        raise ValueError(f"{name} is missing: buffer {position} holds no float32 numbers")
    values = torch.from_numpy(np.frombuffer(buffers[position], dtype="<f4").copy())
    if not bool(values.isfinite().all()):
        raise ValueError(f"{name} holds values that are NaN or infinite")
    return values


def _packed(x: Tensor) -> tuple[str, bytes]:
    """Black and white as "bits", pixels k/255 and counts below 256 as "pixels" and "counts" of a byte, or "floats"."""
    values = x.flatten().cpu().float().numpy()
    if bool(np.isin(values, (0, 1)).all()):
        return "bits", np.packbits(values.astype(np.uint8)).tobytes()
    for coding, unit in (("counts", 1), ("pixels", 255)):
        whole = np.rint(values * unit)
        if whole.min() >= 0 and whole.max() < 256 and np.array_equal((whole / unit).astype(np.float32), values):
            return coding, whole.astype(np.uint8).tobytes()
    return "floats", _floats(x)


def _features(inspection: Inspection) -> list[str] | None:
    names = (inspection.run.record.get("data") or {}).get("features")
    return list(names) if isinstance(names, Sequence) and len(names) == inspection.x[0].numel() else None


def _preparation(inspection: Inspection) -> dict[str, Any]:
    """How the values of an example follow from those of the data: a page shows both."""
    prepared = inspection.run.data.preparation
    own = prepared.mean is not None and len(prepared.mean) == inspection.x[0].numel()
    return {"mean": prepared.mean if own else None, "std": prepared.std if own else None, "scale": prepared.scale}


def _columns(inspection: Inspection) -> dict[str, list[float]] | None:
    """Least and largest value of each of few features; None where each example has many."""
    values = inspection.x.flatten(1).float()
    if values.shape[1] > _FEW:
        return None
    return {"low": values.amin(0).tolist(), "high": values.amax(0).tolist()}


def _label_names(inspection: Inspection, names: Sequence[str]) -> list[str]:
    """What the classes were called in the data, where labels were text; else their numbers."""
    known = (inspection.run.record.get("data") or {}).get("label_names") or []
    numbers = {str(number): str(name) for number, name in enumerate(known)}
    return [numbers.get(name, name) for name in names]


def _is_standard(mean: Tensor, covariance: Tensor) -> bool:
    return not bool(mean.any()) and torch.equal(covariance, torch.eye(len(covariance)).to(covariance))


def _family(model: Model, name: str, distribution: Distribution) -> str:
    """What the model's family is called; of a model that states none, the class of its distribution."""
    return type(getattr(model, name, distribution)).__name__


def _with_error(estimate: Estimate) -> dict[str, Any]:
    return {"mean": _number(estimate.value), "standard_error": _number(estimate.standard_error)}


def _number(value: Tensor | float) -> float | None:
    value = float(value)
    return value if math.isfinite(value) else None


def _floats(values: Tensor) -> bytes:
    return values.detach().cpu().float().contiguous().numpy().astype("<f4", copy=False).tobytes()
