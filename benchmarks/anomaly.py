"""Anomalies of labelled sets: ROC-AUC of log p(x), of PyOD's VAE with its KL and without, and of isolation forest.

Breast cancer (malignant tumours), wine (the third cultivar) and digits (eights). All are trained on half of the normal
rows, standardized by these, without an anomaly among them, and judged on the other half and the anomalies. The seeds
draw the halves and the models.
"""

import argparse
import json
import math
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn import datasets
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from nelbo.sklearn import VAEDensity

SETS = {"breast cancer": ("load_breast_cancer", 0), "wine": ("load_wine", 2), "digits": ("load_digits", 8)}
"""Loader of scikit-learn, and the class that is the anomaly."""
Judge = Callable[[np.ndarray, np.ndarray, int], np.ndarray]
"""From training rows, rows to judge and a seed to scores, higher for anomalies."""


def halves(name: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training rows, rows to judge, and which of these are anomalies."""
    loader, odd = SETS[name]
    x, y = getattr(datasets, loader)(return_X_y=True)
    normal = np.random.default_rng(seed).permutation(np.flatnonzero(y != odd))
    train, rest = np.array_split(normal, 2)
    judged = np.concatenate([rest, np.flatnonzero(y == odd)])
    mean, deviation = x[train].mean(0), x[train].std(0)
    z = (x - mean) / np.where(deviation > 0, deviation, 1.0)
    return z[train], z[judged], y[judged] == odd


def by_nelbo(method: str) -> Judge:
    def judge(train: np.ndarray, rows: np.ndarray, seed: int) -> np.ndarray:
        vae = VAEDensity(latent=4, hidden=(64,), epochs=100, batch_size=32, method=method, random_state=seed)
        return -vae.fit(train).score_samples(rows)

    return judge


def by_pyod(capacity: float) -> Judge:
    def judge(train: np.ndarray, rows: np.ndarray, seed: int) -> np.ndarray:
        from pyod.models.vae import VAE

        layers = {"encoder_neuron_list": [64], "decoder_neuron_list": [64], "latent_dim": 4}
        model = VAE(**layers, epoch_num=100, batch_size=32, capacity=capacity, random_state=seed, verbose=0)
        return model.fit(train).decision_function(rows)

    return judge


def by_forest(train: np.ndarray, rows: np.ndarray, seed: int) -> np.ndarray:
    return -IsolationForest(random_state=seed).fit(train).score_samples(rows)


JUDGES: dict[str, tuple[Judge, str | None]] = {
    "nelbo, importance": (by_nelbo("importance"), None),
    "nelbo, ELBO": (by_nelbo("elbo"), None),
    "PyOD's VAE": (by_pyod(0.0), "pyod"),
    "PyOD's VAE with its KL": (by_pyod(math.inf), "pyod"),
    "isolation forest": (by_forest, None),
}
"""Who judges, and the package that it needs."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    warnings.filterwarnings("ignore", r"for [\d,]+ of")  # anomalies are where q(z|x) is worst
    table = Table("", *chosen.sets, title=f"ROC-AUC, mean over {chosen.seeds} seeds")
    results: dict[str, dict[str, list[float]]] = {}
    for name, (judge, needs) in JUDGES.items():
        cells = results[name] = {}
        try:
            if needs is not None:
                __import__(needs)
        except ImportError:
            print(f"{name} is left out: {needs} is not installed", file=sys.stderr)
            continue
        for which in chosen.sets:
            areas: list[float] = []
            for seed in range(chosen.seeds):
                train, rows, odd = halves(which, seed)
                areas.append(float(roc_auc_score(odd, judge(train, rows, seed))))
            cells[which] = areas
        error = math.sqrt(chosen.seeds)
        table.add_row(name, *(f"{np.mean(a):.3f} ± {np.std(a, ddof=1) / error:.3f}" for a in cells.values()))
    Console().print(table)
    if chosen.out is not None:
        chosen.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
