// Shows the page anew when its incident has moved on. Without a script the page loads itself again instead.
"use strict";
(() => {
  const every = 2000;
  const head = document.querySelector("main").dataset.head;
  let seen = document.querySelector("main").dataset.seen;

  async function look() {
    try {
      const answer = await fetch(head, { credentials: "same-origin" });
      if (answer.status === 403) return location.reload();
      const now = (await answer.json()).seen;
      if (now !== seen) await renew();
      mark("");
    } catch {
      mark("The page cannot be reached; what is shown may be old.");
    }
    setTimeout(look, every);
  }

  async function renew() {
    const page = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
    const fresh = page.querySelector("main");
    if (!fresh.dataset.seen) return location.reload();
    seen = fresh.dataset.seen;
    document.title = page.title;
    document.querySelector("main").replaceChildren(...fresh.childNodes);
  }

  function mark(text) {
    const line = document.querySelector("#live");
    if (line) line.textContent = text || "This page follows the incident.";
  }

  function tick() {
    for (const left of document.querySelectorAll("[data-until]")) {
      const s = Math.max(0, Math.floor((Date.parse(left.dataset.until) - Date.now() - skew) / 1000));
      const two = (n) => String(n).padStart(2, "0");
      left.textContent = `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
    }
  }

  // The incident's clock may differ from this machine's, as a drill's does.
  const skew = Date.parse(document.querySelector("main").dataset.now) - Date.now();
  setInterval(tick, 1000);
  setTimeout(look, every);
})();
