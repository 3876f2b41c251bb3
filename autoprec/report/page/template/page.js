"use strict";
// Draws the charts, in the colours of the page; again when the page goes light or dark.
(() => {
  const specs = JSON.parse(document.getElementById("specs").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let views = [];

  function config() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const [ink, quiet, line] = [colour("--ink"), colour("--quiet"), colour("--line")];
    return {
      background: "transparent",
      font: "system-ui, -apple-system, Segoe UI, Roboto, sans-serif",
      text: { color: ink },
      title: { color: ink },
      view: { stroke: null },
      axis: { labelColor: ink, titleColor: quiet, gridColor: line, domainColor: line, tickColor: line, labelFontSize: 11, titleFontWeight: "normal" },
      legend: { labelColor: ink, titleColor: quiet, orient: "top", labelFontSize: 12, symbolType: "square" },
    };
  }

  async function draw() {
    views.forEach((view) => view.finalize());
    views = [];
    for (const [name, spec] of Object.entries(specs)) {
      const place = document.getElementById(`chart-${name}`);
      const result = await vegaEmbed(place, spec, { actions: false, renderer: "svg", config: config() });
      views.push(result);
    }
    document.documentElement.dataset.drawn = String(views.length);
  }

  function openTarget() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target instanceof HTMLDetailsElement) target.open = true;
  }

  dark.addEventListener("change", draw);
  window.addEventListener("hashchange", openTarget);
  openTarget();
  draw();
})();
