"use strict";
// Fills figures with the theme's colours ("$name") and the series' columns ("@name"), and draws each when it comes into view.
(() => {
  const series = JSON.parse(document.getElementById("figures").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const coarse = matchMedia("(pointer: coarse)").matches;
  const drawn = new Set();
  let styles = getComputedStyle(document.documentElement);
  let moving = false;

  for (const one of series) {
    // Numbers would be read in the viewer's time zone; text is taken as it stands, in UTC.
    for (const name in one.times) one.times[name] = one.times[name].map((ms) => new Date(ms).toISOString().slice(0, 19));
  }

  const asIs = new Set(["text", "name", "legendgroup"]); // people's words, which may begin with any sign
  const filled = (value, times) => {
    if (typeof value === "string") {
      if (value[0] === "$") return styles.getPropertyValue("--" + value.slice(1)).trim();
      if (value[0] === "@") return times[value.slice(1)];
      return value;
    }
    if (Array.isArray(value)) return value.map((item) => (typeof item === "number" ? item : filled(item, times)));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, asIs.has(name) ? item : filled(item, times)]));
    }
    return value;
  };

  const draw = (plot) => {
    const one = series[plot.dataset.series];
    const figure = one.figures[plot.dataset.figure];
    const layout = filled(figure.layout, one.times);
    // On a touch screen a drag scrolls the page; zooming by drag is for the mouse.
    layout.dragmode = coarse ? false : "zoom";
    if (innerWidth < 480) layout.xaxis.nticks = 4;
    if (plot.dataset.range) layout.xaxis.range = JSON.parse(plot.dataset.range);
    Plotly.react(plot, filled(figure.data, one.times), layout, { displayModeBar: false, responsive: true });
    if (!drawn.has(plot)) {
      drawn.add(plot);
      if (figure.timed) plot.on("plotly_relayout", (change) => together(plot, change));
    }
  };

  // All time panels of a series show the same span: a zoom in one is a zoom in all.
  const together = (source, change) => {
    const range = change["xaxis.range"] || (change["xaxis.range[0]"] && [change["xaxis.range[0]"], change["xaxis.range[1]"]]);
    if (moving || (!range && !change["xaxis.autorange"])) return;
    moving = true;
    const { series: place } = source.dataset;
    const jobs = [];
    for (const plot of document.querySelectorAll(`.plot[data-series="${place}"]`)) {
      const figure = series[place].figures[plot.dataset.figure];
      if (!figure.timed) continue;
      if (range) plot.dataset.range = JSON.stringify(range);
      else delete plot.dataset.range;
      if (drawn.has(plot)) jobs.push(Plotly.relayout(plot, { "xaxis.range": (range || figure.layout.xaxis.range).slice() }));
    }
    Promise.all(jobs).finally(() => { moving = false; });
  };

  const eye = new IntersectionObserver(
    (seen) => seen.forEach((entry) => {
      if (entry.isIntersecting && !drawn.has(entry.target)) draw(entry.target);
    }),
    { rootMargin: "600px" },
  );
  document.querySelectorAll(".plot").forEach((plot) => eye.observe(plot));

  document.querySelectorAll("select[data-chooses]").forEach((select) => {
    const parts = [...document.getElementById(select.dataset.chooses).querySelectorAll(".series")];
    const choose = () => parts.forEach((part) => { part.hidden = part.dataset.place !== select.value; });
    select.addEventListener("change", () => {
      choose();
      // Now, not when scrolled to; and a plot that was hidden does not know how wide the page has become.
      for (const part of parts.filter((one) => !one.hidden)) part.querySelectorAll(".plot").forEach(draw);
    });
    choose(); // a browser may bring back an earlier choice
  });

  const rethemed = () => {
    styles = getComputedStyle(document.documentElement);
    drawn.forEach(draw);
  };
  dark.addEventListener("change", rethemed);
  addEventListener("beforeprint", () => document.querySelectorAll(".series:not([hidden]) .plot").forEach(draw));
})();
