// Puts in what has changed, as the server draws it. Without this script the page stands as it was when it was loaded.
"use strict";
const link = document.getElementById("link");

function parsed(html) {
  const box = document.createElement("template");
  box.innerHTML = html;
  return box.content.firstElementChild;
}

function put(id, html) {
  const old = document.getElementById(id);
  if (!old) return;
  const fresh = parsed(html);
  // What a person opened stays open, and what has the focus keeps it.
  const open = old.querySelector("details[open]") !== null;
  const focused = old === document.activeElement;
  const scrolled = [old.scrollLeft, old.scrollTop];
  old.replaceWith(fresh);
  if (open) fresh.querySelectorAll("details").forEach((one) => { one.open = true; });
  if (focused) fresh.focus({ preventScroll: true });
  [fresh.scrollLeft, fresh.scrollTop] = scrolled;
  if (id === "banner") document.title = `${fresh.querySelector(".sign").textContent} minicol`;
}

// What the page is made of. A component that is new, or gone, changes the drawing itself.
let known = null;

const events = new EventSource("live");
events.onmessage = (message) => {
  const { parts, changed } = JSON.parse(message.data);
  const made = parts.join(" ");
  if (known !== null && known !== made) { location.reload(); return; }
  known = made;
  changed.forEach(({ id, html }) => put(id, html));
  link.textContent = "live";
  link.className = "quiet";
};
events.onerror = () => {
  link.textContent = "✗ no answer from minicol: what you see is old";
  link.className = "trouble";
  document.title = "✗ minicol";
};
