"use strict";
// Draws every chart in the page's colours, and again when the reader's colour scheme changes.
// `ast: true` makes Vega interpret its expressions, so that the page needs no `eval`.
(() => {
  const specs = JSON.parse(document.getElementById("charts").textContent);
  const places = document.querySelectorAll(".chart");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const views = new Map();

  function colours() {
    const style = getComputedStyle(document.documentElement);
    const [ink, soft, line] = ["--ink", "--soft", "--line"].map((name) =>
      style.getPropertyValue(name).trim(),
    );
    const font = 'system-ui, "Liberation Sans", Arial, sans-serif';
    return {
      background: "transparent",
      font,
      axis: {
        labelColor: soft, titleColor: soft, gridColor: line, domainColor: line, tickColor: line,
        labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", titlePadding: 8,
      },
      text: { color: ink },
      view: { stroke: null },
    };
  }

  async function draw() {
    for (const [index, place] of places.entries()) {
      views.get(place)?.finalize();
      const shown = await vegaEmbed(place, specs[index], {
        actions: false,
        ast: true,
        config: colours(),
        mode: "vega-lite",
        renderer: "svg",
        tooltip: { theme: dark.matches ? "dark" : "light" },
      });
      views.set(place, shown);
    }
  }

  let drawing = draw();
  dark.addEventListener("change", () => {
    drawing = drawing.then(draw);
  });
})();
