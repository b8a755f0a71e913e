// The demo page: a live query (positions) and a change feed (trades) on one socket. No library but the chart.
import {ChangeFeed, Client} from "/demo/static/client.js";

const POSITIONS = `subscription Positions($where: positions_bool_exp) {
  positions(where: $where, order_by: {symbol: asc}) {
    instrument_id symbol quantity average_price
    last_price profit updated_at
  }
}`;
const TRADES = `subscription Trades($after: String)
@coalesce(ms: 250, strategy: throttle) {
  trades_changes(after: $after) {
    phase cursor
    changes {
      operation
      row { id symbol side price quantity executed_at }
    }
  }
}`;
const POINTS_KEPT = 400;
const TRADES_SHOWN = 14;

const $ = (id) => document.getElementById(id);
const money = new Intl.NumberFormat("en", {minimumFractionDigits: 2, maximumFractionDigits: 2});
const whole = new Intl.NumberFormat("en");
const clock = new Intl.DateTimeFormat("en", {hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false});
const time = (text) => clock.format(new Date(text));
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
let changesSeen = 0;

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function showError(id, errors) {
  $(id).hidden = false;
  $(id).textContent = errors.map((error) => error.message).join(" · ");
}

const client = new Client(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/graphql`, (state, reason) => {
  $("status").dataset.state = state;
  $("status").textContent = reason ? `${state}: ${reason}` : state;
});

// ---- positions: each result is the whole table; only what differs is touched -----------------------------------

// bigint and numeric arrive as strings, exact; a number is made of them only to choose a colour and for display.
const COLUMNS = [
  {name: "symbol", show: String, className: "symbol"},
  {name: "last_price", show: (value) => money.format(value), className: "n"},
  {name: "quantity", show: (value) => whole.format(value), className: "n"},
  {name: "average_price", show: (value) => (Number(value) ? money.format(value) : "–"), className: "n dim roomy"},
  {name: "profit", show: (value) => money.format(value), className: "n", sign: true},
  {name: "updated_at", show: time, className: "n dim wide", quiet: true},
];
const shown = new Map(); // instrument_id → {row, line, cells}
let picked = null; // the instrument_id that the chart follows
let pickedSymbol = null;

function newLine(id) {
  const line = element("tr", "");
  line.tabIndex = 0;
  line.dataset.instrument = id;
  const cells = COLUMNS.map((column) => line.appendChild(element("td", column.className)));
  line.onclick = () => pick(id);
  line.onkeydown = (event) => event.key === "Enter" && pick(id);
  return {row: null, line, cells};
}

function flash(cell, before, after) {
  const up = Number(after) >= Number(before) || Number.isNaN(Number(after));
  cell.classList.remove("flash-up", "flash-down");
  void cell.offsetWidth; // restarts the animation
  cell.classList.add(up ? "flash-up" : "flash-down");
}

function showPositions(rows) {
  $("positions-error").hidden = true;
  const body = $("positions");
  const present = new Set(rows.map((row) => row.instrument_id));
  for (const [id, entry] of shown) {
    if (present.has(id)) continue;
    entry.line.remove();
    shown.delete(id);
  }
  rows.forEach((row, index) => {
    const entry = shown.get(row.instrument_id) ?? newLine(row.instrument_id);
    shown.set(row.instrument_id, entry);
    COLUMNS.forEach(({name, show, sign, quiet}, at) => {
      const before = entry.row?.[name];
      if (before === row[name]) return;
      const cell = entry.cells[at];
      cell.textContent = row[name] === null ? "" : show(row[name]);
      if (sign) {
        cell.classList.toggle("gain", Number(row[name]) > 0);
        cell.classList.toggle("loss", Number(row[name]) < 0);
      }
      if (entry.row && !quiet) flash(cell, before, row[name]);
    });
    if (entry.row && entry.row.updated_at !== row.updated_at) changesSeen += 1;
    entry.row = row;
    if (body.children[index] !== entry.line) body.insertBefore(entry.line, body.children[index] ?? null);
  });
  $("empty").hidden = rows.length > 0;
  if (!shown.has(picked) && rows.length) pick(rows[0].instrument_id);
}

let endPositions = () => {};
function watchPositions() {
  endPositions();
  const symbols = $("filter").value.toUpperCase().split(/[\s,;]+/).filter(Boolean);
  const variables = symbols.length ? {where: {symbol: {_in: symbols}}} : {};
  $("positions-query").textContent = `${POSITIONS}\n\n# variables\n${JSON.stringify(variables)}`;
  endPositions = client.subscribe(() => ({query: POSITIONS, variables}), {
    next: (data) => showPositions(data.positions),
    error: (errors) => showError("positions-error", errors),
  });
}

let typing;
$("filter").oninput = () => {
  clearTimeout(typing);
  typing = setTimeout(watchPositions, 200);
};

// ---- trades: a snapshot, then changes; they feed the ticker and the chart ---------------------------------------

const prices = new Map(); // symbol → {times, values}, oldest first
let newest = [];

function remember(trade) {
  if (!prices.has(trade.symbol)) prices.set(trade.symbol, {times: [], values: []});
  const {times, values} = prices.get(trade.symbol);
  // Strictly increasing, as the chart wants it; two trades in one microsecond share a point.
  const at = Math.max(new Date(trade.executed_at) / 1000, (times.at(-1) ?? 0) + 1e-6);
  times.push(at);
  values.push(Number(trade.price));
  if (times.length > POINTS_KEPT) {
    times.shift();
    values.shift();
  }
}

// An id is a bigint and arrives as a string; the demo's stay far below 2^53.
const byId = (a, b) => Number(a.id) - Number(b.id);

function showTrades() {
  $("ticker").replaceChildren(...newest.map((trade) => {
    const line = element("li", "");
    line.append(
      element("span", "dim", time(trade.executed_at)), element("b", "", trade.symbol),
      element("span", trade.side, trade.side), element("span", "n", whole.format(trade.quantity)),
      element("span", "n", money.format(trade.price)),
    );
    return line;
  }));
}

const feed = new ChangeFeed({
  onSnapshot(rows) {
    prices.clear();
    rows.sort(byId).forEach(remember);
    newest = rows.slice(-TRADES_SHOWN).reverse();
    showTrades();
    drawChart();
  },
  onChanges(changes) {
    // The simulator deletes old trades; the chart and the ticker keep only new ones anyway.
    const added = changes.filter((change) => change.operation === "insert").map((change) => change.row).sort(byId);
    added.forEach(remember);
    newest = [...added.reverse(), ...newest].slice(0, TRADES_SHOWN);
    changesSeen += changes.length;
    showTrades();
    drawChart();
  },
});

$("trades-query").textContent = TRADES;
client.subscribe(() => ({query: TRADES, variables: {after: feed.restarted()}}), {
  next: (data) => {
    $("trades-error").hidden = true;
    feed.apply(data.trades_changes);
  },
  error: (errors) => showError("trades-error", errors),
});

// ---- the chart --------------------------------------------------------------------------------------------------

let chart = null;
let drawing = false;

function newChart() {
  chart?.destroy();
  const axis = {stroke: color("--dim"), grid: {stroke: color("--grid"), width: 1}, ticks: {stroke: color("--grid"), width: 1}};
  chart = new uPlot({
    width: $("chart").clientWidth, height: $("chart").clientHeight,
    legend: {show: false},
    cursor: {y: false},
    series: [{}, {
      stroke: color("--accent"), width: 2, points: {show: false},
      paths: uPlot.paths.stepped({align: 1}),
    }],
    axes: [axis, {...axis, size: 64, values: (_, ticks) => ticks.map((tick) => money.format(tick))}],
  }, [[], []], $("chart"));
  drawChart();
}

function drawChart() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    const {times, values} = prices.get(pickedSymbol) ?? {times: [], values: []};
    chart?.setData([times, values]);
  });
}

function pick(id) {
  shown.get(picked)?.line.classList.remove("picked");
  picked = id;
  const {line, row} = shown.get(id) ?? {};
  line?.classList.add("picked");
  pickedSymbol = row?.symbol ?? null;
  $("chart-symbol").textContent = pickedSymbol ?? "…";
  drawChart();
}

addEventListener("resize", () => chart?.setSize({width: $("chart").clientWidth, height: $("chart").clientHeight}));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", newChart);
setInterval(() => {
  $("rate").textContent = whole.format(changesSeen);
  changesSeen = 0;
}, 1000);
newChart();
watchPositions();
