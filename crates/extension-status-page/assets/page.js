// Puts in what has changed, as the server draws it. Without this script the page stands as it was when it was loaded.
"use strict";
const byId = (id) => document.getElementById(id);
const link = byId("link");

// --- Where the page has to be loaded anew, what a person was doing goes on. ---

const KEPT = "minicol.kept";

// What the page before kept, once.
function takeKept() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEPT));
    sessionStorage.removeItem(KEPT);
    return kept || {};
  } catch {
    return {};
  }
}

const kept = takeKept();
// How many answers somebody waits for.
let waiting = 0;

// While a question stands, or an answer is waited for, it is not the time: the next message asks again.
function redraw() {
  const ask = byId("ask");
  if (waiting > 0 || (ask && ask.open)) return;
  const open = [...document.querySelectorAll("details[open]")].map((one) => one.closest("[id]").id);
  const said = byId("said");
  const now = {
    open,
    edge: byId("tap-edge").value,
    q: byId("q") ? byId("q").value : "",
    focused: document.activeElement ? document.activeElement.id : "",
    said: said.textContent,
    bad: said.classList.contains("bad"),
  };
  try { sessionStorage.setItem(KEPT, JSON.stringify(now)); } catch { /* then it is not kept */ }
  location.reload();
}

// --- Ages: the server tells moments, and this tells how long ago they are, or how long it takes until then. ---

// The server's clock against this one's, in milliseconds.
let ahead = 0;

function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [days, hours, minutes] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60];
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  if (minutes > 0) return `${minutes} min ${whole % 60} s`;
  return `${whole} s`;
}

function two(number) { return String(number).padStart(2, "0"); }

function tellAges(within) {
  within.querySelectorAll("time[data-age], time[data-clock]").forEach((time) => {
    const at = Date.parse(time.dateTime);
    if (Number.isNaN(at)) return;
    if (time.title === "") time.title = time.dateTime;
    const seconds = (Date.now() + ahead - at) / 1000;
    let text = "";
    if ("clock" in time.dataset) {
      const day = new Date(at);
      const clock = `${two(day.getHours())}:${two(day.getMinutes())}:${two(day.getSeconds())}`;
      text = seconds < 43200 ? clock : `${day.getFullYear()}-${two(day.getMonth() + 1)}-${two(day.getDate())} ${clock}`;
    } else if (time.dataset.age === "until") {
      text = seconds < 0 ? `${span(-seconds)} left` : "probe due";
    } else if (seconds < 1) {
      text = "now";
    } else {
      text = time.dataset.age === "for" ? `for ${span(seconds)}` : `${span(seconds)} ago`;
    }
    if (time.textContent !== text) time.textContent = text;
  });
}

setInterval(() => tellAges(document), 1000);
tellAges(document);

// --- What has changed. ---

function parsed(html) {
  const box = document.createElement("template");
  box.innerHTML = html;
  return box.content.firstElementChild;
}

function put(id, html) {
  const old = byId(id);
  if (!old) return;
  const fresh = parsed(html);
  // What a person opened stays open, and what has the focus keeps it.
  const open = old.querySelector("details[open]") !== null;
  const active = document.activeElement;
  const places = (root) => [root, ...root.querySelectorAll("a, button, summary, [tabindex]")];
  const at = active && old.contains(active) ? places(old).indexOf(active) : -1;
  const focused = at < 0 ? null : active.id;
  const scrollers = (root) => [root, ...root.querySelectorAll(".scroll")];
  const scrolled = scrollers(old).map((one) => [one.scrollLeft, one.scrollTop]);
  tellAges(fresh);
  const drawn = id === "banner" ? renewed(old, fresh) : fresh;
  if (drawn === fresh) old.replaceWith(fresh);
  if (open) drawn.querySelectorAll("details").forEach((one) => { one.open = true; });
  if (at >= 0) ((focused && byId(focused)) || places(drawn)[at] || drawn).focus({ preventScroll: true });
  scrollers(drawn).forEach((one, nth) => { if (scrolled[nth]) [one.scrollLeft, one.scrollTop] = scrolled[nth]; });
  if (id === "banner") document.title = `${drawn.querySelector(".sign").textContent} minicol`;
}

// The sentence at the top is read out when it changes, and only then: its element stays, and what stands around it is put in anew.
function renewed(old, fresh) {
  const [verdict, says] = [old, fresh].map((one) => one.querySelector(".verdict"));
  if (verdict.innerHTML !== says.innerHTML) verdict.replaceChildren(...says.childNodes);
  says.remove();
  [...old.childNodes].filter((one) => one !== verdict).forEach((one) => one.remove());
  old.className = fresh.className;
  old.append(...fresh.childNodes);
  return old;
}

// As above: what is said again is not said.
function tellLink(text, className) {
  if (link.textContent !== text) link.textContent = text;
  link.className = className;
}

// What the page is made of. A component that is new, or gone, changes the drawing itself.
let layout = null;
let parts = null;
let seriesSeen = 0;

const events = new EventSource("live");
events.onmessage = (message) => {
  const told = JSON.parse(message.data);
  if (layout === null) {
    const all = told.changed.map(({ id }) => id).join(" ");
    if (parts !== null && parts !== all) { redraw(); return; }
    parts = all;
  } else if (layout !== told.layout) {
    redraw();
    return;
  }
  layout = told.layout;
  ahead = told.now * 1000 - Date.now();
  if (told.series !== seriesSeen) {
    seriesSeen = told.series;
    fetchSeries();
  }
  told.changed.forEach(({ id, html }) => put(id, html));
  if (told.changed.some(({ id }) => id === "reload")) renewSettings();
  tellLink("● live", "live");
};
events.onerror = () => {
  // Who answers next tells everything anew.
  layout = null;
  tellLink("✗ no answer from minicol: what you see is old", "trouble");
  document.title = "✗ minicol";
};

// --- Metrics: the list is fetched when something passed, and while it is on the screen. ---

const metrics = byId("metrics");
const search = byId("q");
let [visible, stale, fetching] = [false, false, false];

async function fetchSeries() {
  if (!metrics || fetching || !visible || document.hidden) { stale = true; return; }
  [fetching, stale] = [true, false];
  try {
    const answer = await fetch(`series?q=${encodeURIComponent(search.value)}`);
    if (answer.ok) put("series-list", await answer.text());
  } catch {
    // The stream tells that there is no answer.
  }
  fetching = false;
  if (stale) setTimeout(fetchSeries, 250);
}

if (metrics) {
  byId("search").hidden = false;
  new IntersectionObserver((seen) => {
    visible = seen[seen.length - 1].isIntersecting;
    if (visible && stale) fetchSeries();
  }).observe(metrics);
  search.addEventListener("input", fetchSeries);
}

// --- The running configuration: it changes with a reload, and is fetched anew while it is open. ---

const configuration = document.querySelector("#configuration details");
let settingsOld = false;

async function renewSettings() {
  settingsOld = true;
  if (!configuration.open) return;
  settingsOld = false;
  try {
    const answer = await fetch("settings");
    if (answer.ok) put("settings", await answer.text());
  } catch {
    settingsOld = true;
  }
}

configuration.addEventListener("toggle", () => { if (settingsOld) renewSettings(); });

// --- Links, and actions: each is asked once. ---

const said = byId("said");
let silence = 0;

function say(text, bad) {
  said.textContent = text;
  said.className = bad ? "said shown bad" : "said shown";
  clearTimeout(silence);
  silence = setTimeout(() => { said.className = "said"; said.textContent = ""; }, 12000);
}

async function act(button) {
  say(`${button.label} …`, false);
  waiting += 1;
  try {
    const headers = { "content-type": "application/json", "x-requested-by": "status_page" };
    const answer = await fetch(button.url, { method: "POST", headers, body: button.body });
    const { outcome, message } = await answer.json();
    say(`${outcome === "done" ? "✓" : "✗"} ${button.label}: ${message}`, outcome !== "done");
  } catch {
    say(`✗ ${button.label}: no answer from minicol`, true);
  }
  waiting -= 1;
}

document.addEventListener("click", (click) => {
  const copy = click.target.closest("a.copy");
  if (copy && navigator.clipboard) {
    navigator.clipboard.writeText(copy.href).then(() => say(`✓ copied ${copy.href}`, false), () => {});
    return;
  }
  const button = click.target.closest("button[data-url]");
  const ask = byId("ask");
  if (!button || !ask) return;
  // The button may be drawn anew while the question stands.
  const { id } = button;
  const { url, body, asks } = button.dataset;
  const label = button.getAttribute("aria-label") || button.textContent.trim();
  byId("ask-h").textContent = label;
  byId("ask-what").textContent = asks;
  byId("ask-yes").textContent = label;
  byId("ask-yes").onclick = () => { ask.close(); act({ url, body, label }); };
  byId("ask-no").onclick = () => ask.close();
  ask.onclose = () => { const again = byId(id); if (again) again.focus({ preventScroll: true }); };
  ask.showModal();
  byId("ask-no").focus();
});

// --- What was kept. What passes an arrow is its own script's. ---

if (search && kept.q) search.value = kept.q;
(kept.open || []).map(byId).forEach((place) => {
  const panel = place && place.id !== "tap-panel" && place.querySelector("details");
  if (panel) panel.open = true;
});
if (kept.focused && byId(kept.focused)) byId(kept.focused).focus({ preventScroll: true });
if (kept.said) say(kept.said, kept.bad);
