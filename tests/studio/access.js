// What a reader cannot use: controls without a name, words too faint for their ground.

() => {
  const controls = "a[href], button, input, select, textarea, summary, [role=slider], [tabindex='0']";
  const named = (e) => e.getAttribute("aria-label") || e.textContent.trim() || e.title || e.labels?.length || e.closest("label");
  const nameless = [...document.querySelectorAll("body *")]
    .filter((e) => e.matches(controls) && !named(e))
    .map((e) => e.outerHTML.slice(0, 120));

  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (text) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = (c) => 0.2126 * linear(c[0] / 255) + 0.7152 * linear(c[1] / 255) + 0.0722 * linear(c[2] / 255);
  const ground = (e) => {
    // a label of a figure may stand on a disc of its own
    const disc = e instanceof SVGElement && e.previousElementSibling?.matches("circle");
    const fill = disc ? getComputedStyle(e.previousElementSibling).fill : "none";
    if (fill !== "none" && rgba(fill)[3] > 250) return rgba(fill);
    for (; e; e = e.parentElement) {
      const c = rgba(getComputedStyle(e).backgroundColor);
      if (c[3] > 250) return c;
    }
    return [255, 255, 255, 255];
  };
  const words = (e) => [...e.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.data.trim());
  // a label inside of a bar (.inside) stands on the bar's colour, which is no background
  const faint = [...document.querySelectorAll("body *")]
    .filter((e) => e.checkVisibility() && !e.closest(".unseen, .inside, title") && !e.disabled && words(e))
    .map((e) => {
      const style = getComputedStyle(e);
      const [a, b] = [light(rgba(e instanceof SVGElement ? style.fill : style.color)), light(ground(e))];
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.textContent.trim().slice(0, 40)];
    })
    .filter(([contrast]) => contrast < 4.5)
    .map(([contrast, text]) => `${contrast.toFixed(2)}: ${text}`);
  return { nameless, faint: [...new Set(faint)] };
}
