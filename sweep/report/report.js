"use strict";
// Draws the figures of the page, and sorts and filters its table of trials. Tables read well without it.

const narrow = matchMedia("(max-width: 640px)"); // of a phone: figures side by side are stacked

const figures = document.querySelectorAll(".plotly-graph-div");
const read = (id) => JSON.parse(document.getElementById(id).textContent);

async function loadPlotly() {
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(unpacked).text();
  document.head.append(script);
}

// What a hover says of each trial, by its number: its row of the table, two or four cells to a line.
function describeTrials() {
  const table = document.getElementById("trials");
  const titles = [...(table?.tHead.rows[0].cells ?? [])].map((cell) => cell.textContent);
  const [names, perLine] = [{}, narrow.matches ? 2 : 4];
  for (const row of table?.tBodies[0].rows ?? []) {
    const cells = [...row.cells].map((cell, at) => `${titles[at]} ${at ? cell.innerHTML : cell.textContent}`);
    const shown = cells.filter((_, at) => row.cells[at].textContent);
    names[row.cells[0].textContent] = shown.map((cell, at) => (at ? (at % perLine ? " · " : "<br>") : "") + cell).join("");
  }
  return names;
}

function nameTrials(data, names) {
  for (const trace of data.filter((trace) => trace.customdata)) {
    trace.text = trace.customdata.map((number) => names[number] ?? "");
    trace.hovertemplate = "%{text}<extra></extra>";
  }
}

function stack(layout) {
  if (!layout.xaxis2) return;
  const [above, below] = [[0.58, 1], [0, 0.42]];
  Object.assign(layout.xaxis, { domain: [0, 1] });
  Object.assign(layout.xaxis2, { domain: [0, 1] });
  Object.assign(layout.yaxis, { domain: above });
  Object.assign(layout.yaxis2, { domain: below, showticklabels: true });
  (layout.annotations || []).forEach((title, at) => Object.assign(title, { x: 0.5, y: at ? below[1] : above[1] }));
  layout.height *= 1.7;
}

// The names of parallel axes, and of their ends, stand upright: side by side they would overlap.
function turnNames(layout) {
  layout.xaxis.ticktext = layout.xaxis.ticktext.map((name) => name.replaceAll("<br>", " "));
  layout.xaxis.tickangle = -90;
  layout.yaxis.range = [-0.25, 1.25];
  layout.annotations.forEach((end) => Object.assign(end, { textangle: -90 }));
  layout.height += 120;
}

function fitPhone(layout) {
  const isParallel = layout.xaxis.ticktext?.some((name) => name.includes("<br>"));
  stack(layout);
  if (isParallel) turnNames(layout);
  if (layout.yaxis.scaleanchor) layout.height = Math.min(layout.height, innerWidth * 1.2);
  layout.margin = { ...layout.margin, l: 48, r: 8 };
  layout.font = { ...layout.font, size: 11 };
  layout.dragmode = false; // a finger scrolls the page
  if (layout.legend) layout.legend.y = layout.xaxis2 ? -0.1 : isParallel ? -0.5 : -0.25;
}

function drawFigures() {
  const options = { displayModeBar: false, responsive: true, typesetMath: false }; // a `$` is a dollar
  const [names, template] = [describeTrials(), read("template")];
  for (const div of figures) {
    const { data, layout } = read(`${div.id}-data`);
    nameTrials(data, names);
    layout.template = template;
    if (narrow.matches) fitPhone(layout);
    div.style.minHeight = "";
    Plotly.newPlot(div, data, layout, options);
  }
}

function sortRows(table, column, button) {
  const heading = button.closest("th");
  const falls = heading.getAttribute("aria-sort") === "ascending";
  table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", falls ? "descending" : "ascending");
  const keyOf = (row) => row.cells[column].textContent;
  const isMissing = (key) => key === "" || key === "-";
  const compare = (a, b) => (isNaN(a) || isNaN(b) ? a.localeCompare(b, "en", { numeric: true }) : a - b);
  const rows = [...table.tBodies[0].rows].map((row) => [keyOf(row), row]);
  rows.sort(([a], [b]) => isMissing(a) - isMissing(b) || (falls ? -1 : 1) * compare(a, b));
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

function filterRows(table, text, state, count) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  let n = 0;
  for (const row of table.tBodies[0].rows) {
    const shown = row.textContent.toLowerCase();
    row.hidden = (state && row.dataset.state !== state) || !words.every((word) => shown.includes(word));
    n += !row.hidden;
  }
  count.textContent = `${n} of ${table.tBodies[0].rows.length} trials`;
}

function makeTable() {
  const table = document.getElementById("trials");
  if (!table) return;
  table.querySelectorAll("thead button").forEach((button, column) => {
    button.addEventListener("click", () => sortRows(table, column, button));
  });
  const [text, state, count] = ["filter-text", "filter-state", "filter-count"].map((id) => document.getElementById(id));
  const filter = () => filterRows(table, text.value, state.value, count);
  text.addEventListener("input", filter);
  state.addEventListener("change", filter);
  filter();
}

makeTable();
loadPlotly()
  .then(() => {
    drawFigures();
    document.getElementById("js-plotly-tester")?.setAttribute("aria-hidden", "true"); // Plotly measures text in it
    narrow.addEventListener("change", drawFigures); // as a phone is turned
    addEventListener("beforeprint", () => figures.forEach((div) => Plotly.Plots.resize(div)));
  })
  .catch((error) => {
    document.getElementById("undrawn").hidden = false;
    console.error(error);
  })
  .finally(() => (document.body.dataset.drawn = "yes"));
