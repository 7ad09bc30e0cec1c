"""The digits that train in the browser: `python -m tests.studio.digits` writes them from scikit-learn's.

They are `nelbo.data.load("digits", binarize="threshold")`, in its order: a bit for each pixel, the training set first.
"""

import base64
from pathlib import Path

import numpy as np

import nelbo

PATH = Path(nelbo.__file__).parent / "studio" / "static" / "pages" / "playground" / "digits.js"
_TEXT = """\
// The 8 x 8 digits, each pixel black or white: nelbo.data.load("digits", binarize="threshold"), the training set first.
// E. Alpaydin and C. Kaynak: Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998,
// https://archive.ics.uci.edu/dataset/80, CC BY 4.0, as scikit-learn has them; values above a half became 1.
// Written by python -m tests.studio.digits.

export const SIDE = 8;
export const FEATURES = 64;
/** The first so many are trained on, the others held out. */
export const TRAINING = {training};

const LABELS =
  "{labels}";

const BITS = atob(
  "{bits}",
);

export const COUNT = LABELS.length;
/** What each digit stands for. */
export const labels = Uint8Array.from(LABELS, Number);
/** The pixels, 0 or 1, one digit after the other. */
export const pixels = Float64Array.from(
  { length: COUNT * FEATURES },
  (_, i) => (BITS.charCodeAt(i >> 3) >> (7 - (i & 7))) & 1,
);
"""


def arrays():
    """Pixels (n, 64) of 0 and 1, labels (n,), and how many come first to be trained on."""
    data = nelbo.data.load("digits", binarize="threshold")
    parts = [part.take(range(len(part))) for part in (data.train, data.validation)]
    pixels = np.concatenate([part.numpy().reshape(len(part), -1) for part in parts])
    labels = np.concatenate([np.asarray(part.labels) for part in (data.train, data.validation)])
    return pixels.astype(np.uint8), labels.astype(int), len(data.train)


def text():
    pixels, labels, training = arrays()
    filled = {
        "training": training,
        "labels": "".join(map(str, labels)),
        "bits": base64.b64encode(np.packbits(pixels).tobytes()).decode(),
    }
    out = _TEXT
    for name, value in filled.items():
        out = out.replace(f"{{{name}}}", str(value))
    return out


if __name__ == "__main__":
    PATH.write_text(text(), "utf-8")
