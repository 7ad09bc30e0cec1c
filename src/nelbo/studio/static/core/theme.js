// Light, dark, or as the system has it; remembered where there is a place to remember.

const KEY = "nelbo-theme";

/** Apply the remembered theme to an element. */
export function applyTheme(element, theme = remembered()) {
  if (theme) element.dataset.theme = theme;
  else if (document.body.dataset.jpThemeLight)
    element.dataset.theme = document.body.dataset.jpThemeLight === "false" ? "dark" : "light";
  else delete element.dataset.theme;
}

/** Switch everything of nelbo on this page between light and dark, and remember it. */
export function switchTheme(element) {
  const now = element.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const next = now === "dark" ? "light" : "dark";
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // a page without storage (a sandboxed notebook) forgets
  }
  for (const part of document.querySelectorAll(".nelbo")) applyTheme(part, next);
  dispatchEvent(new CustomEvent("nelbo-theme"));
}

function remembered() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

/** Colours of the theme for a canvas, as in colour(el, "--p"). */
export function colour(element, name) {
  return getComputedStyle(element).getPropertyValue(name).trim();
}
