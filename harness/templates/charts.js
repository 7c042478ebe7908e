"use strict";
// Draws the figures of the page's data in the page's own colours, light or dark.
(function () {
  const figures = JSON.parse(document.getElementById("charts").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const narrow = window.matchMedia("(max-width: 40rem)");
  const settings = { displayModeBar: false, responsive: true, displaylogo: false };

  function themed(layout) {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const made = JSON.parse(JSON.stringify(layout));
    made.paper_bgcolor = made.plot_bgcolor = "rgba(0,0,0,0)";
    made.font = { color: colour("--ink"), family: "system-ui, sans-serif", size: narrow.matches ? 11 : 13 };
    made.hoverlabel = { bgcolor: colour("--tint"), bordercolor: colour("--line"), font: { color: colour("--ink") }, align: "left" };
    for (const key of Object.keys(made)) {
      if (/^[xy]axis\d*$/.test(key)) {
        Object.assign(made[key], { gridcolor: colour("--line"), linecolor: colour("--line"), zerolinecolor: colour("--line") });
      }
    }
    return made;
  }

  function draw() {
    for (const [name, figure] of Object.entries(figures)) {
      const place = document.getElementById("chart-" + name);
      if (place) {
        Plotly.newPlot(place, JSON.parse(JSON.stringify(figure.data)), themed(figure.layout), settings);
      }
    }
  }

  dark.addEventListener("change", draw);
  narrow.addEventListener("change", draw);
  draw();
})();
