// The facts of each page, in the order of the rail: a page is an entry here and a module below pages/.
// Python reads this object as JSON (nelbo.studio.link), so everything in it is JSON.
// kind: "explorer" needs no run, "runs" shows runs, "studio" leads to other pages. answers: the module of nelbo.studio that
// answers what the page asks. label: in the rail, where the title is too long. limits: [low, high], or all values of a choice.
// most: how many runs it shows at the most.

/** @type {Record<string, import("./types.js").Facts>} */
export const PAGES = {
  "home": {
    "title": "nelbo studio",
    "label": "Home",
    "icon": "M4 11 12 4l8 7M6 10v10h12V10M10 20v-6h4v6",
    "kind": "studio",
    "claim": "Drag a Gaussian, drag a latent, see the loss: reconstruction error + KL, in nats.",
    "defaults": { "chosen": [], "sort": "", "filter": "" }
  },
  "kl": {
    "title": "KL explorer",
    "icon": "M2 19c5 0 4-13 8-13s3 13 8 13M8 19c4 0 4-8 7-8s3 8 7 8",
    "kind": "explorer",
    "widget": "KLExplorer",
    "answers": "explore",
    "claim":
      "How far is q from p? Two answers, one for each direction; equal for two normals exactly when their widths are.",
    "question": "How far is q from p, in both directions? When are they equal?",
    "defaults": {
      "family_p": "normal",
      "mu_p": 0,
      "sigma_p": 1,
      "nu_p": 3,
      "mu2_p": 3,
      "skew_p": 3,
      "low_p": -2,
      "high_p": 2,
      "sigma2_p": 0.5,
      "weight_p": 0.4,
      "rate_p": 1,
      "prob_p": 0.5,
      "family_q": "normal",
      "mu_q": 1,
      "sigma_q": 2,
      "nu_q": 3,
      "mu2_q": -2,
      "skew_q": 3,
      "low_q": -2,
      "high_q": 2,
      "sigma2_q": 0.5,
      "weight_q": 0.4,
      "rate_q": 0.5,
      "prob_q": 0.8,
      "view": "explore",
      "descents": "two",
      "running": false,
      "bins": 0,
      "samples": 1000,
      "seed": 0,
      "target": 1,
      "bookmarks": []
    },
    "limits": {
      "family_p": [
        "normal",
        "laplace",
        "cauchy",
        "student",
        "skew",
        "truncated",
        "mixture",
        "exponential",
        "bernoulli",
        "poisson"
      ],
      "mu_p": [-1000, 1000],
      "sigma_p": [0.001, 1000],
      "nu_p": [0.5, 100],
      "skew_p": [-30, 30],
      "low_p": [-1000, 1000],
      "high_p": [-1000, 1000],
      "mu2_p": [-1000, 1000],
      "sigma2_p": [0.001, 1000],
      "weight_p": [0.001, 0.999],
      "rate_p": [0.001, 1000],
      "prob_p": [0, 1],
      "family_q": [
        "normal",
        "laplace",
        "cauchy",
        "student",
        "skew",
        "truncated",
        "mixture",
        "exponential",
        "bernoulli",
        "poisson"
      ],
      "mu_q": [-1000, 1000],
      "sigma_q": [0.001, 1000],
      "nu_q": [0.5, 100],
      "skew_q": [-30, 30],
      "low_q": [-1000, 1000],
      "high_q": [-1000, 1000],
      "mu2_q": [-1000, 1000],
      "sigma2_q": [0.001, 1000],
      "weight_q": [0.001, 0.999],
      "rate_q": [0.001, 1000],
      "prob_q": [0, 1],
      "view": ["explore", "fit", "game"],
      "descents": ["two", "four"],
      "bins": [0, 64],
      "samples": [10, 100000],
      "seed": [0, 1000000],
      "target": [0, 100]
    }
  },
  "metric": {
    "title": "Metric axioms",
    "icon": "M4 19 11 5l9 10zM4 19h.01M11 5h.01M20 15h.01",
    "kind": "explorer",
    "widget": "MetricLab",
    "answers": "explore",
    "claim":
      "KL is never negative and zero only between equals, but it has no symmetry and its triangles do not close.",
    "question": "Which axioms of a metric does a divergence satisfy?",
    "defaults": {
      "divergence": "kl",
      "mu_p": 0,
      "sigma_p": 1,
      "mu_q": 1,
      "sigma_q": 1,
      "mu_r": 2,
      "sigma_r": 1,
      "seed": 0,
      "bookmarks": []
    },
    "limits": {
      "divergence": ["kl", "jeffreys", "js", "sqrtjs", "hellinger", "tv", "w2", "fisher", "sqrtkl"],
      "seed": [0, 1000000],
      "mu_p": [-100, 100],
      "sigma_p": [0.05, 100],
      "mu_q": [-100, 100],
      "sigma_q": [0.05, 100],
      "mu_r": [-100, 100],
      "sigma_r": [0.05, 100]
    }
  },
  "elbo": {
    "title": "Jensen and the ELBO",
    "icon": "M3 20C6 9 12 6 21 5M6 14 19 6M13 12v-3",
    "kind": "explorer",
    "widget": "ElboLab",
    "answers": "explore",
    "claim":
      "The ELBO lies below log p(x) by exactly the KL from q to the true posterior. Drag q and see the gap close.",
    "question": "Why is the ELBO a lower bound, and how large is the gap?",
    "defaults": {
      "model": "linear",
      "x": 1.5,
      "w": 1,
      "s": 0.7,
      "m": 0,
      "v": 1,
      "logk": 3,
      "seed": 0,
      "points": [
        [0.6, 0.4],
        [2, 0.3],
        [4.5, 0.3]
      ],
      "bookmarks": []
    },
    "limits": {
      "model": ["linear", "square"],
      "x": [-20, 20],
      "w": [-10, 10],
      "s": [0.05, 10],
      "m": [-20, 20],
      "v": [0.02, 20],
      "logk": [0, 9],
      "seed": [0, 1000000]
    }
  },
  "reparam": {
    "title": "Reparam\u00adeterization",
    "icon": "M4 12h4m8 0h4M12 12m-4 0a4 4 0 1 0 8 0 4 4 0 1 0-8 0M12 3v5m-2-3 2-2 2 2",
    "kind": "explorer",
    "widget": "ReparamLab",
    "answers": "explore",
    "claim":
      "z = µ + σε lets the gradient through the sample: the same truth as the score function, at a fraction of the variance.",
    "question": "Why does the gradient go through the sample?",
    "defaults": {
      "fn": "elbo",
      "mu": -1,
      "sigma": 0.4,
      "c": 0.5,
      "node": "reparam",
      "samples": 10000,
      "rate": 0.03,
      "tau": 0.5,
      "seed": 0,
      "eps": 1.2,
      "bookmarks": []
    },
    "limits": {
      "fn": ["square", "shifted", "sine", "step", "elbo"],
      "mu": [-20, 20],
      "sigma": [0.01, 20],
      "c": [-20, 20],
      "node": ["reparam", "stochastic"],
      "samples": [100, 100000],
      "rate": [0.001, 1],
      "tau": [0.01, 10],
      "seed": [0, 1000000],
      "eps": [-10000, 10000]
    }
  },
  "playground": {
    "title": "VAE playground",
    "label": "VAE play\u00adground",
    "icon": "M7 4v16l13-8zM3 4v16",
    "kind": "explorer",
    "widget": "Playground",
    "claim":
      "A VAE learns handwritten digits in this tab. Move β while it trains: it trades reconstruction error for KL, and back.",
    "question": "What does β do to a VAE while it learns? Trained in the browser.",
    "defaults": {
      "beta": 1,
      "rate": 0.003,
      "batch": 32,
      "epochs": 200,
      "seed": 0,
      "pace": "normal",
      "running": false,
      "z": [0, 0]
    },
    "limits": {
      "beta": [0, 20],
      "rate": [0.0001, 0.1],
      "batch": [1, 512],
      "epochs": [1, 2000],
      "seed": [0, 1000000],
      "pace": ["slow", "normal", "fast"]
    }
  },
  "inspector": {
    "title": "VAE inspector",
    "icon": "M4 4h7v7H4zM14 14h6v6h-6zM17.5 4a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM4 20l6-5",
    "kind": "runs",
    "most": 2,
    "widget": "Inspector",
    "answers": "inspect",
    "claim":
      "One example at a time: where its q(z|x) lies, what comes back, and what its loss is made of. Drag z and q.",
    "question": "What is one example’s loss made of? Two models side by side.",
    "defaults": {
      "run": "",
      "other": "",
      "split": "",
      "pins": [],
      "active": 0,
      "z": [],
      "q": [],
      "axes": [],
      "view": [],
      "other_view": [],
      "projection": "units",
      "colour": "label",
      "values": "raw",
      "layers": ["prior"],
      "film": false,
      "unfold": "",
      "lasso": [],
      "search": "",
      "bookmarks": []
    },
    "limits": {
      "projection": ["units", "principal"],
      "colour": ["label", "reconstruction_error", "kl", "nelbo"],
      "values": ["raw", "standardized"],
      "unfold": ["", "nelbo", "reconstruction_error", "kl"],
      "split": ["", "train", "validation", "test"],
      "active": [0, 23]
    }
  },
  "beta": {
    "title": "Along beta",
    "icon": "M4 5c1 9 5 14 16 14M8 11.5a1.5 1.5 0 1 0 0 3 1.5 1.5 0 1 0 0-3M4 20h16",
    "kind": "runs",
    "answers": "beta",
    "claim":
      "From an autoencoder to collapse: as beta grows, the codes give up what they say about x. Drag beta, or the point.",
    "question": "What does the weight of the KL do to codes, pictures and loss?",
    "defaults": { "run": "", "beta": 1, "row": -1 },
    "limits": { "beta": [0, 1000000], "row": [-1, 100000] }
  },
  "train": {
    "title": "Live training",
    "icon": "M3 4v16h18M6 8c3 7 6 8 14 9M6 16c4-1 8-1 14-1",
    "kind": "runs",
    "most": 2,
    "widget": "Training",
    "answers": "train",
    "claim":
      "The loss while it falls, its two terms apart. A training goes on when this page is closed, and ends as a run on disk.",
    "question": "What do reconstruction error and KL do while a model learns?",
    "defaults": {
      "run": "",
      "other": "",
      "epoch": -1,
      "settings": {
        "data": "mnist5k",
        "binarize": "threshold",
        "latent": 2,
        "hidden": [400, 200],
        "batch_size": 100,
        "epochs": 30,
        "recipe": "vae"
      }
    },
    "limits": { "epoch": [-1, 1000000] }
  },
  "report": {
    "title": "Report",
    "icon": "M6 3h9l4 4v14H6zM9 9h6M9 13h7M9 17h5",
    "kind": "runs",
    "most": 1,
    "answers": "report",
    "claim":
      "What was measured on a run, what is wrong with it, and its examples to look at. Save it as one HTML file to share.",
    "question": "Is the model any good, and what is wrong with it?"
  },
  "worksheet": {
    "title": "Worksheet",
    "icon": "M9 6h11M9 12h11M9 18h11M4 6l1 1 2-2M4 12l1 1 2-2M4 18l1 1 2-2",
    "kind": "studio",
    "claim":
      "A lecture in eighteen steps. Predict first; then open the page, reach the goal by hand, and the answer unfolds.",
    "question": "Eighteen steps: predict, reach the goal by hand, reveal.",
    "defaults": { "steps": "", "title": "", "at": "" }
  }
};
