"use strict";
// Fills figures with the theme's colours ("$name") and the series' columns ("@name"), and draws each.
// On a live page it asks for news and changes what has changed, so that focus, scrolling, choice and zoom stay.
(() => {
  const { live: source, every } = document.documentElement.dataset;
  const embedded = document.getElementById("figures");
  const series = {};
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const coarse = matchMedia("(pointer: coarse)").matches;
  const drawn = new Map(); // plot -> version drawn
  let styles = getComputedStyle(document.documentElement);
  let moving = false;

  const take = (figures) => {
    for (const [name, one] of Object.entries(figures)) {
      // Numbers would be read in the viewer's time zone; text is taken as it stands, in UTC.
      for (const column in one.times) one.times[column] = one.times[column].map((ms) => new Date(ms).toISOString().slice(0, 19));
      series[name] = one;
    }
  };

  // "at" is a column; "at:0-3,7-9" is the way there and back over each run of it, for a band that has gaps.
  const column = (name, times) => {
    const [whole, runs] = name.split(":");
    if (runs === undefined) return times[whole];
    return runs.split(",").flatMap((run) => {
      const [start, end] = run.split("-").map(Number);
      const own = times[whole].slice(start, end + 1);
      return [...own, ...own.slice().reverse(), null];
    });
  };

  const asIs = new Set(["text", "name", "legendgroup"]); // people's words, which may begin with any sign
  const filled = (value, times) => {
    if (typeof value === "string") {
      if (value[0] === "$") return styles.getPropertyValue("--" + value.slice(1)).trim();
      if (value[0] === "@") return column(value.slice(1), times);
      return value;
    }
    if (Array.isArray(value)) return value.map((item) => (typeof item === "number" ? item : filled(item, times)));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, asIs.has(name) ? item : filled(item, times)]));
    }
    return value;
  };

  const stamp = (plot) => `${plot.dataset.series}/${plot.dataset.figure}/${series[plot.dataset.series]?.version}`;

  const draw = (plot) => {
    const one = series[plot.dataset.series];
    const figure = one?.figures[plot.dataset.figure];
    if (!figure) return;
    const layout = filled(figure.layout, one.times);
    // On a touch screen a drag scrolls the page; zooming by drag is for the mouse.
    layout.dragmode = coarse ? false : "zoom";
    if (innerWidth < 480) layout.xaxis.nticks = 4;
    if (plot.dataset.range) layout.xaxis.range = JSON.parse(plot.dataset.range);
    Plotly.react(plot, filled(figure.data, one.times), layout, { displayModeBar: false, responsive: true });
    // The panel's own label says what it shows; plotly's parts, and where it measures its texts, say nothing to the ear.
    for (const part of [plot.querySelector(".plot-container"), document.getElementById("js-plotly-tester")]) {
      part?.setAttribute("aria-hidden", "true");
    }
    if (!drawn.has(plot)) plot.on("plotly_relayout", (change) => together(plot, change));
    drawn.set(plot, stamp(plot));
  };

  // All time panels of a series show the same span: a zoom in one is a zoom in all.
  const together = (origin, change) => {
    const range = change["xaxis.range"] || (change["xaxis.range[0]"] && [change["xaxis.range[0]"], change["xaxis.range[1]"]]);
    const { series: place } = origin.dataset;
    if (moving || (!range && !change["xaxis.autorange"]) || !series[place].figures[origin.dataset.figure].timed) return;
    moving = true;
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

  const near = new Set();
  const eye = new IntersectionObserver(
    (seen) => seen.forEach(({ target, isIntersecting }) => {
      if (isIntersecting) near.add(target);
      else near.delete(target);
      if (isIntersecting && !drawn.has(target)) draw(target);
    }),
    { rootMargin: "600px" },
  );

  const rethemed = () => {
    styles = getComputedStyle(document.documentElement);
    drawn.forEach((_, plot) => draw(plot));
  };
  dark.addEventListener("change", rethemed);
  addEventListener("beforeprint", () => document.querySelectorAll(".series:not([hidden]) .plot").forEach(draw));

  if (!source) {
    take(JSON.parse(embedded.textContent));
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
    // What comes into view is drawn first, the rest while nothing else is to do: a picture of the whole page is whole.
    const idle = window.requestIdleCallback ?? ((task) => setTimeout(task, 50));
    const rest = [...document.querySelectorAll(".series:not([hidden]) .plot")];
    const meanwhile = () => {
      const plot = rest.shift();
      if (!plot) return;
      if (!drawn.has(plot)) draw(plot);
      idle(meanwhile);
    };
    idle(meanwhile);
    return;
  }

  // -- live ----------------------------------------------------------------------------------------------------------

  const main = document.getElementById("main");
  const link = document.getElementById("link");
  let answered = new Date();
  let asking = null;
  let again = null;

  // Makes one element like another, and leaves alone what is alike: a reader's focus, choice and place stay.
  const morph = (old, wanted) => {
    if (old.nodeType !== wanted.nodeType || old.nodeName !== wanted.nodeName) {
      old.replaceWith(wanted);
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== wanted.data) old.data = wanted.data;
      return;
    }
    const picture = old.classList.contains("plot") && wanted.classList.contains("plot");
    if (picture && old.dataset.series !== wanted.dataset.series) delete old.dataset.range;
    const own = new Set(picture ? ["class", "style", "data-range"] : []); // what plotly and a zoom have set
    for (const { name, value } of [...wanted.attributes]) {
      if (!own.has(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) if (!own.has(name) && !wanted.hasAttribute(name)) old.removeAttribute(name);
    if (picture) return;
    const [before, after] = [[...old.childNodes], [...wanted.childNodes]];
    after.forEach((child, place) => (before[place] ? morph(before[place], child) : old.append(child)));
    before.slice(after.length).forEach((child) => child.remove());
  };

  const shown = () => {
    const wanted = [];
    for (const part of document.querySelectorAll(".model .series")) {
      const { top, bottom } = part.closest(".model").getBoundingClientRect();
      if (bottom < -600 || top > innerHeight + 600) continue;
      wanted.push(part.closest(".model").querySelector("select")?.value || part.dataset.place);
    }
    return wanted;
  };

  const redraw = () => {
    for (const plot of [...drawn.keys()]) {
      if (plot.isConnected) continue;
      Plotly.purge(plot);
      drawn.delete(plot);
      near.delete(plot);
      eye.unobserve(plot);
    }
    document.querySelectorAll(".plot").forEach((plot) => {
      eye.observe(plot); // once more does nothing
      if (near.has(plot) && drawn.get(plot) !== stamp(plot)) draw(plot);
    });
  };

  const ask = async () => {
    clearTimeout(again);
    if (asking) asking.abort();
    const own = (asking = new AbortController());
    const late = setTimeout(() => own.abort(), 15_000);
    try {
      const answer = await fetch(`${source}?series=${shown().join(",")}`, { signal: own.signal, cache: "no-store" });
      if (!answer.ok) throw new Error(`the worker answers ${answer.status}`);
      const news = await answer.json();
      if (own !== asking) return;
      take(news.figures);
      const wanted = document.createElement("main");
      wanted.id = "main";
      wanted.innerHTML = `\n${news.body}\n`;
      morph(main, wanted);
      redraw();
      answered = new Date();
      say("");
    } catch (error) {
      if (own !== asking) return; // a newer question is on its way
      say(`No answer from the worker since ${answered.toISOString().slice(11, 19)} UTC: what stands here is from then.`);
    } finally {
      clearTimeout(late);
      if (own === asking) {
        asking = null;
        if (!document.hidden) again = setTimeout(ask, Number(every)); // ms
      }
    }
  };

  // Said once, so that a screen reader does not repeat it every two seconds.
  const say = (text) => { if (link.textContent !== text) link.textContent = text; };

  document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
  main.addEventListener("change", (event) => { if (event.target.matches("select[data-chooses]")) ask(); });
  let resting = null;
  addEventListener("scroll", () => {
    clearTimeout(resting);
    resting = setTimeout(() => { if (document.querySelector(".coming") && !asking) ask(); }, 150);
  }, { passive: true });
  document.querySelectorAll(".plot").forEach((plot) => eye.observe(plot));
  ask();
})();
