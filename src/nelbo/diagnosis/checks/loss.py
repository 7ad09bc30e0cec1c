"""Whether the loss is the negative ELBO, measured on the user's own code."""

from nelbo.diagnosis.case import Case
from nelbo.diagnosis.effective_beta import EffectiveBeta, effective_beta
from nelbo.diagnosis.readings import DECLARED
from nelbo.diagnosis.reasons import Cause
from nelbo.diagnosis.registry import NotApplicable, Verdict, check, found, measured, of_loss, passed
from nelbo.diagnosis.significance import ALPHA
from nelbo.estimate import Estimate
from nelbo.report import Severity

_SAME = 0.01  # two betas within a percent are one: no training tells them apart
_SMALL = 1.5  # a beta off by less is worth a warning
_FREEDOM = 21  # 3 blocks of 8 points, less 3 weights


def weigh(case: Case) -> EffectiveBeta:
    """The weights of the user's loss; NotApplicable where it cannot be weighed."""
    if case.loss is None or case.wrapped.encoding.layout is None:
        raise NotApplicable("needs loss=, and an encoder that gives the two numbers of a diagonal normal")
    loss = case.loss
    rows = case.budget.at_most(min(128, len(case.train)), "examples for the loss", share=0.15, pairs=9, least=8)
    return of_loss(lambda: effective_beta(loss, case.model, case.train.batch[:rows], seed=case.seed))


def _beta(weighed: EffectiveBeta) -> Estimate:
    return weighed.beta.named("effective beta of the loss")


def _weights(weighed: EffectiveBeta) -> tuple[Estimate, ...]:
    return (
        _beta(weighed),
        weighed.a.named("weight of the reconstruction error"),
        weighed.b.named("weight of the KL"),
    )


def _as_declared(case: Case, weighed: EffectiveBeta) -> bool:
    """Whether beta is the declared one, within a percent and its error."""
    wanted = case.declared_beta
    if wanted is None:
        raise NotApplicable("the objective does not declare a beta")
    from scipy.stats import t

    error = weighed.beta.error * float(t.isf(ALPHA / 2, _FREEDOM))
    return abs(float(weighed.beta) - wanted) <= _SAME * wanted + error


def weighs_as_declared(case: Case) -> bool:
    """Whether a loss was handed over, and is the negative ELBO with the declared beta."""
    try:
        weighed = case.once(weigh)
        return weighed.is_combination and weighed.reconstruction == DECLARED and _as_declared(case, weighed)
    except NotApplicable:
        return False


def bends(case: Case) -> bool:
    """Whether a loss was handed over that no weights of the two terms describe."""
    try:
        return case.once(weigh).cause == "no combination"
    except NotApplicable:
        return False


def _severity(case: Case, weighed: EffectiveBeta) -> Severity:
    """Severity by how far the balance is off."""
    ratio = float(weighed.beta) / (case.declared_beta or 1.0)
    return "warning" if 1 / _SMALL < ratio < _SMALL else "severe"


def _by_cause(case: Case, *causes: Cause, severity: Severity | None = None, of_beta: bool = True) -> Verdict:
    """A finding when the loss is what it is by one of these causes; for one of beta, unless that beta is declared."""
    weighed = case.once(weigh)
    if weighed.cause not in causes or (of_beta and _as_declared(case, weighed)):
        return passed(_beta(weighed))
    evidence, change = _weights(weighed), ""
    if weighed.sigma is not None:
        spread = float(case.x.flatten(1).std(0).square().mean().sqrt())
        evidence += (
            measured("sigma of the normal likelihood with which beta is 1", weighed.sigma, unit=""),
            measured("standard deviation of the data", spread, unit=""),
        )
        # more noise than the data have spread leaves nothing to say about x: then the loss itself is to be changed
        if case.foreign and 0.01 * spread < weighed.sigma < spread:
            change = (
                f"nelbo.wrap(..., likelihood=nelbo.likelihoods.Normal({weighed.sigma:.4g}))  # the p(x|z) that this "
                "loss trains: then it is a negative ELBO, and what is measured is what was trained"
            )
    return found(severity or _severity(case, weighed), *evidence, meaning=weighed.reason, change=change)


@check("reconstruction-mean")
def reconstruction_mean(case: Case) -> Verdict:
    return _by_cause(case, "reconstruction averaged")


@check("kl-mean")
def kl_mean(case: Case) -> Verdict:
    return _by_cause(case, "kl averaged", severity="severe")


@check("kl-sign")
def kl_sign(case: Case) -> Verdict:
    return _by_cause(case, "kl sign", severity="severe", of_beta=False)


@check("kl-doubled")
def kl_doubled(case: Case) -> Verdict:
    return _by_cause(case, "kl doubled")


@check("kl-of-variance")
def kl_of_variance(case: Case) -> Verdict:
    return _by_cause(case, "kl of another spread", severity="severe", of_beta=False)


@check("kl-formula")
def kl_formula(case: Case) -> Verdict:
    return _by_cause(case, "kl formula", "kl reversed", severity="severe", of_beta=False)


@check("effective-beta")
def effective_beta_check(case: Case) -> Verdict:
    weighed = case.once(weigh)
    if weighed.cause in ("kl missing", "reconstruction missing"):
        if weighed.cause == "kl missing" and case.declared_beta == 0:
            return passed(_beta(weighed))
        return found("severe", *_weights(weighed), meaning=weighed.reason)
    if weighed.reconstruction != DECLARED:
        return passed(_beta(weighed))  # of another likelihood than the declared one: loss-likelihood says so
    return _by_cause(case, "weight", "batch", "fixed sigma")


@check("loss-likelihood")
def loss_likelihood(case: Case) -> Verdict:
    weighed = case.once(weigh)
    if weighed.reconstruction in (DECLARED, "unknown"):
        return passed(measured("share of the loss explained, r2", weighed.r2, unit=""))
    return found("severe", *_weights(weighed), meaning=weighed.reason)


@check("loss-not-elbo")
def loss_not_elbo(case: Case) -> Verdict:
    weighed = case.once(weigh)
    if weighed.cause != "no combination":
        return passed(measured("share of the loss explained, r2", weighed.r2, unit=""))
    # free bits and capacities bend one term and are meant; no usual objective multiplies both
    bent = "unknown" in (weighed.reconstruction, weighed.kl)
    evidence = measured("share of the loss explained, r2", weighed.r2, unit="")
    return found("warning" if bent else "severe", evidence, meaning=weighed.reason)
