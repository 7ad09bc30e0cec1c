"""Is the loss the negative ELBO? Measured on the user's own code."""

from weakref import WeakKeyDictionary

from nelbo.diagnosis.case import Case
from nelbo.diagnosis.effective_beta import EffectiveBeta, effective_beta
from nelbo.diagnosis.finding import Measured, Severity
from nelbo.diagnosis.readings import DECLARED
from nelbo.diagnosis.reasons import Cause
from nelbo.diagnosis.registry import ALPHA, NotMeasurable, Verdict, check, found, passed
from nelbo.foreign.view import Wrapped
from nelbo.vae import VAE

_SAME = 0.01  # two betas within a percent are one: no training tells them apart
_SMALL = 1.5  # a beta off by less is worth a warning
_FREEDOM = 21  # 3 blocks of 8 points, less 3 weights
EFFECTS = (
    "over-regularized",
    "under-regularized",
    "posterior-collapse",
    "unused-units",
    "kl-without-information",
    "decoder-ignores-z",
    "aggregate-posterior",
    "holes",
    "variance-clamp",
    "sigma-too-large",
    "sigma-too-small",
    "one-sigma",
    "dispersion",
    "dead-units",
    "not-converged",
    "overfit",
    "validation-beta",
    "learning-rate",
    "gradient-explosion",
)
"""What a loss that is no negative ELBO leaves behind."""
_SCALES = (
    "AntixK/PyTorch-VAE issues 11, 23, 35, 40, 56; pytorch/examples issues 234, 290, 817; "
    "AppliedDataSciencePartners/WorldModels issue 12."
)

_WEIGHED: WeakKeyDictionary[Case, EffectiveBeta] = WeakKeyDictionary()


def _weighed(case: Case) -> EffectiveBeta:
    """The loss, weighed once for all checks."""
    if case not in _WEIGHED:
        model = case.model
        if case.loss is None or not isinstance(model, VAE):
            raise NotMeasurable("needs a model from nelbo.wrap and its loss=")
        if isinstance(model, Wrapped) and model.encoding.layout is None:
            raise NotMeasurable("needs an encoder that gives the two numbers of a diagonal normal")
        _WEIGHED[case] = effective_beta(case.loss, model, case.x, seed=case.seed)
    return _WEIGHED[case]


def _beta(weighed: EffectiveBeta) -> Measured:
    return Measured(
        "effective beta of the loss", float(weighed.beta), float(weighed.beta.standard_error), "", weighed.beta.method
    )


def _weights(weighed: EffectiveBeta) -> tuple[Measured, ...]:
    return (
        _beta(weighed),
        Measured("weight of the reconstruction error", float(weighed.a), float(weighed.a.standard_error), ""),
        Measured("weight of the KL", float(weighed.b), float(weighed.b.standard_error), ""),
    )


def _as_declared(case: Case, weighed: EffectiveBeta) -> bool:
    """Whether beta is the declared one, within a percent and its error."""
    wanted = case.declared_beta
    if wanted is None:
        raise NotMeasurable("the objective says of no beta that it is meant")
    from scipy.stats import t

    error = float(weighed.beta.standard_error) * float(t.isf(ALPHA / 2, _FREEDOM))
    return abs(float(weighed.beta) - wanted) <= _SAME * wanted + error


def _severity(case: Case, weighed: EffectiveBeta) -> Severity:
    """How far off the balance is."""
    ratio = float(weighed.beta) / (case.declared_beta or 1.0)
    return "warning" if 1 / _SMALL < ratio < _SMALL else "severe"


def _by_cause(case: Case, *causes: Cause, severity: Severity | None = None, of_beta: bool = True) -> Verdict:
    """A finding when the loss is what it is by one of these causes; for one of beta, unless that beta is declared."""
    weighed = _weighed(case)
    if weighed.cause not in causes or (of_beta and _as_declared(case, weighed)):
        return passed(_beta(weighed))
    evidence, change = _weights(weighed), ""
    if weighed.sigma is not None:
        spread = float(case.x.flatten(1).std(0).square().mean().sqrt())
        evidence += (
            Measured("sigma of the normal likelihood with which beta is 1", weighed.sigma, 0.0, ""),
            Measured("standard deviation of the data", spread, unit=""),
        )
        # more noise than the data have spread leaves nothing to say about x: then the loss itself is to be changed
        if isinstance(case.model, Wrapped) and 0.01 * spread < weighed.sigma < spread:
            change = (
                f"nelbo.wrap(..., likelihood=nelbo.likelihoods.Normal({weighed.sigma:.4g}))  # the p(x|z) that this "
                "loss trains: then it is a negative ELBO, and what is measured is what was trained"
            )
    return found(severity or _severity(case, weighed), *evidence, meaning=weighed.reason, change=change)


@check(
    "reconstruction-mean",
    title="The reconstruction error is averaged over the features, the KL is not",
    needs=("loss",),
    false_alarms=ALPHA,
    meaning="A mean over D features in place of a sum makes the KL D times as heavy: beta is D. The posterior is "
    "pressed onto the prior, images blur, units collapse.",
    change="nelbo.fit(vae, data, objective=nelbo.objectives.ELBO())  # sums over features, always",
    elsewhere="Sum the reconstruction error over the features and average over examples alone: "
    "F.binary_cross_entropy(recon, x, reduction='sum') / len(x), or F.mse_loss likewise.",
    source=_SCALES,
    explains=EFFECTS,
)
def reconstruction_mean(case: Case) -> Verdict:
    """The loss is evaluated at chosen answers of encoder and decoder, and regressed on reconstruction error and KL in
    nats (effective_beta). The weight of the first is 1 / D and that of the second is no such number; both are measured
    at two batch sizes, so that a mean over examples is told from one over features. A squared error is a normal
    likelihood with a sigma of its own, under which beta is 1; where that is no larger than the spread of the data, it
    is the declared likelihood that is to be changed, not the loss.
    """
    return _by_cause(case, "reconstruction averaged")


@check(
    "kl-mean",
    title="The KL is averaged over latent units or features, the reconstruction error is not",
    needs=("loss",),
    false_alarms=ALPHA,
    meaning="A mean over L latent units (or D features) in place of a sum makes the KL too light: beta is 1/L or 1/D. "
    "The codes are hardly held to the prior, so samples from the prior fall where no data lie.",
    change="nelbo.fit(vae, data, objective=nelbo.objectives.ELBO())  # sums over latents, always",
    elsewhere="Sum the KL over the latent units and average over examples alone: "
    "kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(dim=1).mean().",
    source="pytorch/examples issue 290 (divided by 784), podgorskiy/VAE issue 1, maxhodak/keras-molecules issue 59, "
    "ReyhaneAskari/pytorch_experiments issue 6.",
    explains=EFFECTS,
)
def kl_mean(case: Case) -> Verdict:
    """As reconstruction-mean: the weight of the KL is 1 / L or 1 / D of that of the reconstruction error, the factor
    with the fewest digits among the possible ones.
    """
    return _by_cause(case, "kl averaged", severity="severe")


@check(
    "kl-sign",
    title="The KL is subtracted",
    needs=("loss",),
    false_alarms=ALPHA,
    meaning="The loss falls when the KL grows, so training drives q(z|x) away from the prior without bound. "
    "It is no bound on log p(x), and ends in NaN or in codes that no sample of the prior comes near.",
    change="nelbo.fit(vae, data, objective=nelbo.objectives.ELBO())  # adds the KL",
    elsewhere="Add the KL: loss = reconstruction_error + kl with kl = -0.5 * sum(1 + logvar - mu^2 - exp(logvar)); "
    "the minus belongs inside the KL or before it, not both.",
    source="Kingma & Welling 2014, eq. 7 and appendix B: the ELBO subtracts the KL, the loss adds it.",
    explains=(*EFFECTS, "not-finite"),
)
def kl_sign(case: Case) -> Verdict:
    """The loss is regressed on reconstruction error and KL (effective_beta): the weight of the KL is negative."""
    return _by_cause(case, "kl sign", severity="severe", of_beta=False)


@check(
    "kl-doubled",
    title="The KL counts twice",
    needs=("loss",),
    false_alarms=ALPHA,
    meaning="The loss weighs the KL by 2, as if it were added by the framework and by hand, or its 0.5 were forgotten. "
    "The loss is still a bound, but a loose one, and what is optimized is a beta-VAE with beta = 2.",
    change="nelbo.fit(vae, data, objective=nelbo.objectives.ELBO())",
    elsewhere="Look for the 0.5 in kl = 0.5 * sum(mu^2 + sigma^2 - 1 - log sigma^2), and for a KL that a layer adds to "
    "the loss by itself (add_loss, activity_regularizer) beside your own.",
    source="tensorflow/probability issue 1215 (a KL regularizer that counts twice).",
    explains=EFFECTS,
)
def kl_doubled(case: Case) -> Verdict:
    """The loss is regressed on reconstruction error and KL (effective_beta): the ratio of the weights is 2, and neither
    is a mean over features or latents.
    """
    return _by_cause(case, "kl doubled")


@check(
    "kl-of-variance",
    title="The KL reads the spread on another scale than the encoder gives it",
    needs=("loss",),
    false_alarms=ALPHA,
    meaning="The KL takes a variance for a standard deviation, or a log variance for one of them: it is the KL of "
    "another distribution than the one z is drawn from. Its minimum lies elsewhere, and what is called ELBO is none.",
    change="nelbo.VAE(encoder, decoder, latent=..., likelihood=...)  # KL and draw come from one distribution",
    elsewhere="Use one parametrization: with h = log sigma^2, kl = -0.5 * sum(1 + h - mu^2 - exp(h)) and "
    "z = mu + exp(h / 2) * eps; with sigma itself, kl = -0.5 * sum(1 + 2 log sigma - mu^2 - sigma^2).",
    source="Kingma & Welling 2014, appendix B.",
    explains=EFFECTS,
)
def kl_of_variance(case: Case) -> Verdict:
    """With the reconstruction fixed, the loss is regressed on the KL of the encoder's second output read as log
    variance, log sigma, sigma, variance and through a softplus. The reading that the model declares leaves more than
    rounding and noise explain, and another one does not.
    """
    return _by_cause(case, "kl of another spread", severity="severe", of_beta=False)


@check(
    "kl-formula",
    title="The KL term is no KL(q(z|x) || p(z))",
    needs=("loss",),
    false_alarms=ALPHA,
    meaning="The KL is turned around, or its parts (means, variances, log variances) do not count alike. "
    "It is not zero where q(z|x) is the prior, so the loss is no bound on log p(x).",
    change="nelbo.kl(qz, pz)  # closed forms, tested against quadrature",
    elsewhere="Write torch.distributions.kl_divergence(Normal(mu, sigma), Normal(0, 1)).sum(1), or "
    "0.5 * (mu^2 + sigma^2 - 1 - log sigma^2) with these signs.",
    source="Kingma & Welling 2014, appendix B.",
    explains=EFFECTS,
)
def kl_formula(case: Case) -> Verdict:
    """With the reconstruction fixed, the loss is regressed on the KL, on its converse, and on its three parts apart:
    half the squared means, half the variances, minus the log standard deviations. It is a KL only if these weigh alike.
    """
    return _by_cause(case, "kl formula", "kl reversed", severity="severe", of_beta=False)


@check(
    "effective-beta",
    title="The loss weighs the KL by another beta than anything says",
    needs=("loss",),
    false_alarms=ALPHA,
    meaning="The loss is a * reconstruction_error + b * kl with a beta = b / a that was not declared. "
    "Nothing is wrong with a beta on purpose, but its loss is no bound on log p(x), and it compares with no other.",
    change="nelbo.fit(vae, data, objective=nelbo.objectives.Beta(...))  # says so; or ELBO()",
    elsewhere="Remove the weight, or say that it is meant: nelbo.diagnose(..., objective=nelbo.objectives.Beta(beta)). "
    "For a squared error, give the likelihood its sigma: nelbo.likelihoods.Normal(sigma).",
    source='Higgins et al. 2017, "beta-VAE", eq. 4; Rybkin et al. 2021 for squared errors; ' + _SCALES,
    explains=EFFECTS,
)
def effective_beta_check(case: Case) -> Verdict:
    """The loss is regressed on reconstruction error and KL in nats, at answers of encoder and decoder chosen so that
    each varies by itself (effective_beta). beta differs from the declared one (1 if nothing is said) by more than one
    percent and its t interval, and no mean, sign or factor of two explains it.
    """
    weighed = _weighed(case)
    if weighed.cause in ("kl missing", "reconstruction missing"):
        if weighed.cause == "kl missing" and case.declared_beta == 0:
            return passed(_beta(weighed))
        return found("severe", *_weights(weighed), meaning=weighed.reason)
    if weighed.reconstruction != DECLARED:
        return passed(_beta(weighed))  # of another likelihood than the declared one: loss-likelihood says so
    return _by_cause(case, "weight", "batch", "fixed sigma")


@check(
    "loss-likelihood",
    title="The loss trains another likelihood than the one declared",
    needs=("loss",),
    false_alarms=ALPHA,
    meaning="The reconstruction term of the loss is another error than the negative log-likelihood of the declared "
    "p(x|z). Whatever is measured under the declared one was never optimized.",
    change="nelbo.wrap(..., likelihood=nelbo.likelihoods.Normal(sigma))  # for a squared error",
    elsewhere="Declare the likelihood that the loss is made of, or change the loss: binary cross-entropy is Bernoulli, "
    "half the squared error over sigma^2 is Normal(sigma).",
    source="pytorch/examples issues 234 and 460, Lightning-Universe/lightning-bolts issue 177.",
    explains=EFFECTS,
)
def loss_likelihood(case: Case) -> Verdict:
    """With the encoder's answer fixed, the loss is regressed on the declared negative log-likelihood and on squared,
    absolute, binary and root errors. The declared one leaves more than rounding and noise explain; another does not.
    """
    weighed = _weighed(case)
    if weighed.reconstruction in (DECLARED, "unknown"):
        return passed(Measured("share of the loss explained, r2", weighed.r2, 0.0, ""))
    return found("severe", *_weights(weighed), meaning=weighed.reason)


@check(
    "loss-not-elbo",
    title="The loss is no sum of a reconstruction error and a KL",
    needs=("loss",),
    false_alarms=ALPHA,
    meaning="No weights a and b make a * reconstruction_error + b * kl out of this loss, so no beta describes it. "
    "That is no fault where it is meant, but then the loss is no negative ELBO and bounds nothing.",
    change="nelbo.loss(model, x).nelbo  # report this beside your loss",
    elsewhere="Report the ELBO beside the loss; if a sum was meant, look for clamps, roots and products in it.",
    source="Kingma & Welling 2014, eq. 7.",
    explains=EFFECTS,
)
def loss_not_elbo(case: Case) -> Verdict:
    """The loss is regressed on reconstruction error and KL (effective_beta), each varied by itself and both together;
    what is left exceeds rounding and the noise that repeated evaluations show (F test of the lack of fit).
    """
    weighed = _weighed(case)
    if weighed.cause != "no combination":
        return passed(Measured("share of the loss explained, r2", weighed.r2, 0.0, ""))
    # free bits and capacities bend one term and are meant; no usual objective multiplies both
    bent = "unknown" in (weighed.reconstruction, weighed.kl)
    evidence = Measured("share of the loss explained, r2", weighed.r2, 0.0, "")
    return found("warning" if bent else "severe", evidence, meaning=weighed.reason)
