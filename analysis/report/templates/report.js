(function () {
  "use strict";
  const config = {responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d"]};

  // A figure is drawn when it comes near the window: the page opens at once, however many there are.
  function draw(element) {
    if (element.dataset.drawn) return;
    element.dataset.drawn = "yes";
    const figure = JSON.parse(document.getElementById("data-" + element.id).textContent);
    Plotly.newPlot(element, figure.data, figure.layout, config);
  }
  const plots = Array.from(document.querySelectorAll(".plot"));
  const near = new IntersectionObserver(function (entries) {
    for (const entry of entries) if (entry.isIntersecting) draw(entry.target);
  }, {rootMargin: "600px 0px"});
  plots.forEach(function (plot) { near.observe(plot); });
  const paper = {width: 680, height: 900};  // pixels between the margins of A4, less a heading and a caption
  addEventListener("beforeprint", function () {
    document.querySelectorAll("main details").forEach(function (details) { details.open = true; });
    plots.forEach(function (plot) {
      draw(plot);
      const tall = parseFloat(plot.dataset.height) > paper.height;
      if (tall) plot.style.height = paper.height + "px";
      Plotly.relayout(plot, tall ? paper : {width: paper.width});
    });
  });
  addEventListener("afterprint", function () {
    plots.forEach(function (plot) {
      const height = parseFloat(plot.dataset.height);
      plot.style.height = height + "px";
      Plotly.relayout(plot, {width: null, height: height, autosize: true});
    });
  });

  // The contents mark where the reader is; on a narrow screen they are folded until they are wanted.
  const contents = document.getElementById("contents");
  const narrow = matchMedia("(max-width: 56rem)");
  function fold() { contents.open = !narrow.matches; }
  narrow.addEventListener("change", fold);
  fold();
  const links = new Map(Array.from(contents.querySelectorAll("a"), function (a) { return [a.hash.slice(1), a]; }));
  const targets = Array.from(links.keys(), function (id) { return document.getElementById(id); }).filter(Boolean);
  function mark() {
    let current = targets[0];
    for (const target of targets) if (target.getBoundingClientRect().top < innerHeight / 3) current = target;
    for (const [id, link] of links) {
      if (current && id === current.id) {
        if (!link.hasAttribute("aria-current")) link.setAttribute("aria-current", "true");
        if (!narrow.matches) link.scrollIntoView({block: "nearest"});
      } else link.removeAttribute("aria-current");
    }
  }
  let waiting = false;
  addEventListener("scroll", function () {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(function () { waiting = false; mark(); });
  }, {passive: true});
  contents.addEventListener("click", function (event) {
    if (event.target.tagName === "A" && narrow.matches) contents.open = false;
  });
  mark();

  // Light, dark, or as the system has it. A page opened from a file may not be allowed to remember.
  const button = document.getElementById("theme");
  const themes = ["system", "light", "dark"];
  function show(theme) {
    if (theme === "system") document.documentElement.removeAttribute("data-theme");
    else document.documentElement.dataset.theme = theme;
    button.textContent = "Colours: " + theme;
    button.dataset.theme = theme;
  }
  let kept = "system";
  try { kept = localStorage.getItem("wbc-study-theme") || "system"; } catch (error) { kept = "system"; }
  show(themes.includes(kept) ? kept : "system");
  button.addEventListener("click", function () {
    const next = themes[(themes.indexOf(button.dataset.theme) + 1) % themes.length];
    show(next);
    try { localStorage.setItem("wbc-study-theme", next); } catch (error) { /* shown all the same */ }
  });
})();
