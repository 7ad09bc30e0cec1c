// The pages of the studio, in the order of the rail. A page is a module below pages/ and a line here.

export const PAGES = {
  home: {
    title: "Home",
    icon: "M4 11 12 4l8 7M6 10v10h12V10M10 20v-6h4v6",
    load: async () => (await import("../pages/home.js")).default,
  },
  kl: {
    title: "KL explorer",
    icon: "M2 19c5 0 4-13 8-13s3 13 8 13M8 19c4 0 4-8 7-8s3 8 7 8",
    load: async () => (await import("../pages/kl.js")).default,
  },
  metric: {
    title: "Metric axioms",
    icon: "M4 19 11 5l9 10zM4 19h.01M11 5h.01M20 15h.01",
    load: async () => (await import("../pages/metric.js")).default,
  },
  elbo: {
    title: "Jensen and the ELBO",
    icon: "M3 20C6 9 12 6 21 5M6 14 19 6M13 12v-3",
    load: async () => (await import("../pages/elbo.js")).default,
  },
  reparam: {
    title: "Reparam\u00adeterization",
    icon: "M4 12h4m8 0h4M12 12m-4 0a4 4 0 1 0 8 0 4 4 0 1 0-8 0M12 3v5m-2-3 2-2 2 2",
    load: async () => (await import("../pages/reparam.js")).default,
  },
  inspector: {
    title: "VAE inspector",
    icon: "M4 4h7v7H4zM14 14h6v6h-6zM17.5 4a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM4 20l6-5",
    load: async () => (await import("../pages/inspector.js")).default,
  },
  train: {
    title: "Live training",
    icon: "M3 4v16h18M6 8c3 7 6 8 14 9M6 16c4-1 8-1 14-1",
    load: async () => (await import("../pages/train.js")).default,
  },
  report: {
    title: "Report",
    icon: "M6 3h9l4 4v14H6zM9 9h6M9 13h7M9 17h5",
    load: async () => (await import("../pages/report.js")).default,
  },
  worksheet: {
    title: "Worksheet",
    icon: "M9 6h11M9 12h11M9 18h11M4 6l1 1 2-2M4 12l1 1 2-2M4 18l1 1 2-2",
    load: async () => (await import("../pages/worksheet.js")).default,
  },
};
