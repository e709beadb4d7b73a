// Sends forms without loading the page again, and shows what others do. Without a script every form works by itself.
"use strict";
(() => {
  const REGIONS = ["side", "main", "write", "thread", "reply", "told", "said", "modal"];
  const key = (field) => `${field.getAttribute("form") || ""} ${field.name} ${field.type === "radio" || field.type === "checkbox" ? field.value : ""}`;
  const shown = {};
  let version = document.body.dataset.version;
  let busy = 0;
  const touched = new Set();

  for (const id of REGIONS) shown[id] = html(document.getElementById(id));
  toEnd();
  focusModal();

  function html(region) {
    return region.outerHTML;
  }

  function fields(region) {
    return region.querySelectorAll("input:not([type=hidden]), select, textarea");
  }

  // What somebody has typed stays, as long as it is the same form.
  function carry(old, fresh) {
    if (old.dataset.view !== fresh.dataset.view) return;
    const now = new Map([...fields(fresh)].map((field) => [key(field), field]));
    for (const field of fields(old)) {
      const same = now.get(key(field));
      if (!same || !touched.has(key(field))) continue;
      if (field.type === "radio" || field.type === "checkbox") same.checked = field.checked;
      else if (field.multiple) for (const o of same.options) o.selected = [...field.selectedOptions].some((c) => c.value === o.value);
      else same.value = field.value;
    }
  }

  function patch(page, cleared) {
    for (const id of REGIONS) {
      const old = document.getElementById(id);
      const fresh = page.getElementById(id);
      if (!fresh || html(fresh) === shown[id]) continue;
      if (!cleared && old.querySelector(":popover-open")) continue; // a menu that is open stays; it is shown later
      const kept = html(fresh);
      const focused = old.contains(document.activeElement) ? document.activeElement : null;
      const selection = focused && "selectionStart" in focused ? [focused.selectionStart, focused.selectionEnd] : null;
      const view = old.dataset.view;
      const scroll = old.scrollTop;
      const atEnd = old.scrollHeight - old.scrollTop - old.clientHeight < 60;
      if (!cleared || id === "modal") carry(old, fresh);
      const placed = document.adoptNode(fresh);
      old.replaceWith(placed);
      shown[id] = kept;
      const said = id === "main" && placed.querySelector("#messages");
      placed.scrollTop = said && atEnd ? placed.scrollHeight : page.title === document.title ? scroll : 0;
      if (focused && focused.id) {
        const again = document.getElementById(focused.id);
        if (again) {
          again.focus({ preventScroll: true });
          if (selection && selection[0] !== null) try { again.setSelectionRange(...selection); } catch { /* not text */ }
        }
      }
      if (id === "modal" && view !== placed.dataset.view) { touched.clear(); focusModal(); }
    }
    document.title = page.title;
    version = page.body.dataset.version;
  }

  function focusModal() {
    const dialog = document.querySelector("#modal .dialog");
    if (dialog && !dialog.contains(document.activeElement))
      (dialog.querySelector("[autofocus], .inside input:not([type=hidden]), .inside select, .inside textarea") || dialog.querySelector("footer button")).focus();
  }

  function toEnd() {
    const main = document.getElementById("main");
    if (main.querySelector("#messages")) main.scrollTop = main.scrollHeight;
  }

  async function show(answer, cleared) {
    if (!answer.ok) throw new Error("the page is away");
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (answer.url && answer.url !== location.href) history.replaceState(null, "", answer.url);
    patch(page, cleared);
  }

  document.addEventListener("input", (event) => { if (event.target.name) touched.add(key(event.target)); });

  document.addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = event.target;
    const sender = event.submitter;
    const body = new URLSearchParams(new FormData(form, sender));
    const where = sender && sender.hasAttribute("formaction") ? sender.formAction : form.action;
    if (sender) sender.setAttribute("aria-busy", "true");
    for (const menu of document.querySelectorAll(":popover-open")) menu.hidePopover();
    busy += 1;
    try {
      const answer = await fetch(where, { method: "POST", body });
      if ("clear" in form.dataset) { form.reset(); for (const f of form.elements) touched.delete(key(f)); }
      await show(answer, true);
    } finally {
      busy -= 1;
      if (sender) sender.removeAttribute("aria-busy");
    }
  });

  document.addEventListener("keydown", (event) => {
    const field = event.target;
    if (event.key === "Enter" && field.dataset && (field.dataset.dispatch || "").includes("on_enter_pressed") && !event.shiftKey) {
      event.preventDefault();
      field.closest(".block").querySelector("button.check").click();
    }
    if (event.key === "Escape" && !document.querySelector(":popover-open")) {
      const close = document.querySelector("#modal footer button");
      if (close) close.click();
    }
    if (event.key === "Tab") keepInside(event);
  });

  // Tab stays in the modal, which lies over everything else.
  function keepInside(event) {
    const dialog = document.querySelector("#modal .dialog");
    if (!dialog || document.querySelector(":popover-open")) return;
    const all = [...dialog.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea")].filter((e) => e.offsetParent !== null && e.tabIndex >= 0);
    const [first, last] = [all[0], all[all.length - 1]];
    if (event.shiftKey && document.activeElement === first) { event.preventDefault(); last.focus(); }
    else if (!event.shiftKey && document.activeElement === last) { event.preventDefault(); first.focus(); }
  }

  async function follow() {
    try {
      const now = (await (await fetch(`/page/version?seen=${version}`)).json()).version;
      if (String(now) !== version && !busy) await show(await fetch(location.href), false);
      setTimeout(follow, busy ? 200 : 50);
    } catch {
      setTimeout(follow, 2000);
    }
  }
  follow();
})();
