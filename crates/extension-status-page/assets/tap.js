// Shows what passes an arrow, while the panel is open and an arrow is chosen. Nothing is looked at otherwise.
"use strict";
(() => {
  const panel = document.getElementById("tap-panel");
  if (!panel) return;
  const [choice, shown, state] = ["tap-edge", "tap-shown", "tap-state"].map((id) => document.getElementById(id));
  // How much is kept to look back at, in characters.
  const MOST = 100000;
  let looking = null;
  // What was chosen before the page was loaded anew.
  let wanted = kept.edge || "";

  function stop() {
    if (looking) looking.abort();
    looking = null;
  }

  function put(text) {
    const atEnd = shown.scrollTop + shown.clientHeight >= shown.scrollHeight - 20;
    const all = shown.textContent + text;
    shown.textContent = all.length > MOST ? `…${all.slice(all.length - MOST)}` : all;
    if (atEnd) shown.scrollTop = shown.scrollHeight;
  }

  async function refusal(answer) {
    try { return (await answer.json()).error; } catch { return `status ${answer.status}`; }
  }

  async function list() {
    try {
      const answer = await fetch("api/v1/tap");
      if (!answer.ok) { choice.disabled = true; state.textContent = await refusal(answer); return; }
      choice.disabled = false;
      const chosen = wanted || choice.value;
      wanted = "";
      const options = (await answer.json()).map((edge) => {
        const option = document.createElement("option");
        option.value = `${edge.pipeline}:${edge.from}->${edge.to}`;
        option.textContent = `${edge.from} → ${edge.to} (${edge.pipeline}, ${edge.signal})`;
        return option;
      });
      const none = document.createElement("option");
      none.value = "";
      none.textContent = "choose an arrow";
      choice.replaceChildren(none, ...options);
      choice.value = [...choice.options].some((option) => option.value === chosen) ? chosen : "";
    } catch {
      state.textContent = "no answer from minicol";
    }
  }

  function tell(line) {
    if (line === "") return;
    const told = JSON.parse(line);
    if (told.skipped > 0) put(`  (${told.skipped} items were not shown)\n`);
    if (told.text !== undefined) {
      const outcome = told.outcome === "taken" ? "" : `, refused: ${told.outcome}`;
      put(`${new Date(told.at * 1000).toLocaleTimeString()} ${told.items} items${outcome}\n${told.text}`);
    }
    if (told.end !== undefined) state.textContent = told.end;
  }

  async function look() {
    stop();
    shown.textContent = "";
    if (!panel.open || choice.value === "") { state.textContent = "nothing is looked at"; return; }
    const mine = new AbortController();
    looking = mine;
    state.textContent = "● live";
    try {
      const answer = await fetch(`api/v1/tap?rate=2&edge=${encodeURIComponent(choice.value)}`, { signal: mine.signal });
      if (!answer.ok) { state.textContent = await refusal(answer); return; }
      const reader = answer.body.getReader();
      const decoder = new TextDecoder();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
        rest = lines.pop();
        lines.forEach(tell);
      }
      if (looking === mine && state.textContent === "● live") state.textContent = "it has ended";
    } catch {
      if (looking === mine) state.textContent = "no answer from minicol";
    }
  }

  panel.addEventListener("toggle", async () => { if (panel.open) await list(); look(); });
  choice.addEventListener("change", look);
  choice.addEventListener("focus", list);
  window.addEventListener("pagehide", stop);
  if ((kept.open || []).includes(panel.id)) panel.open = true;
})();
