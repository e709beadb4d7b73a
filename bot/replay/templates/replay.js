// Turns each storyboard into a player. Everything that is shown stands in the page already; this only picks and moves.
"use strict";
(() => {
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const players = [...document.querySelectorAll("[data-player]")].map(player);

  function player(root) {
    const scenes = [...root.querySelectorAll(".scene")];
    const controls = root.querySelector(".controls");
    const scrub = root.querySelector(".scrub");
    const ticks = [...root.querySelectorAll(".ticks i")];
    const chapters = [...root.querySelectorAll("[data-go]")];
    const speed = root.querySelector("select");
    const play = root.querySelector(".play");
    const status = root.querySelector("[role=status]");
    const count = root.querySelector(".count");
    const poster = root.querySelector(".poster");
    let now = 0;
    let timer = 0;
    let frame = 0;

    const playing = () => timer !== 0;
    const last = () => scenes.length - 1;

    function show(index, { say = true } = {}) {
      now = Math.min(Math.max(index, 0), last());
      scenes.forEach((scene, i) => { scene.hidden = i !== now; });
      ticks.forEach((tick, i) => tick.classList.toggle("past", i <= now));
      const scene = scenes[now];
      scrub.value = String(now + 1);
      const words = [scene.dataset.clock, scene.dataset.mark, scene.querySelector(".text").textContent.trim()];
      scrub.setAttribute("aria-valuetext", `${now + 1} of ${scenes.length}, ${words.slice(0, 2).join(", ")}`);
      count.textContent = `${now + 1} of ${scenes.length}`;
      const chapter = chapters.filter((button) => Number(button.dataset.go) <= now).pop();
      chapters.forEach((button) => {
        if (button === chapter) button.setAttribute("aria-current", "true");
        else button.removeAttribute("aria-current");
      });
      if (say) poster.hidden = true;
      if (say) status.textContent = words.filter(Boolean).join(". ");
      travel(scene);
    }

    // What moves goes along its line once, and then stands at its end. With reduced motion it stands half-way.
    function travel(scene) {
      cancelAnimationFrame(frame);
      if (still.matches) return;
      const ways = [...scene.querySelectorAll(".move")].map((move) => {
        const way = move.querySelector(".way");
        return { way, mover: move.querySelector(".mover"), long: way.getTotalLength() };
      }).filter((one) => one.long > 0);
      const lasts = Math.min(1500, Number(scene.dataset.ms) * 0.6) / Number(speed.value);
      let begun = 0;
      const step = (at) => {
        begun = begun || at;
        const part = Math.min(1, (at - begun) / lasts);
        const eased = part < 0.5 ? 2 * part * part : 1 - (2 - 2 * part) ** 2 / 2;
        for (const { way, mover, long } of ways) {
          const point = way.getPointAtLength(long * (0.04 + 0.86 * eased));
          mover.setAttribute("transform", `translate(${point.x} ${point.y})`);
        }
        if (part < 1) frame = requestAnimationFrame(step);
      };
      frame = requestAnimationFrame(step);
    }

    function wait() {
      timer = setTimeout(() => {
        if (now === last()) return pause();
        show(now + 1);
        wait();
      }, Number(scenes[now].dataset.ms) / Number(speed.value));
    }

    function start() {
      clearTimeout(timer);
      if (now === last()) show(0);
      poster.hidden = true;
      bring();
      travel(scenes[now]);
      wait();
      face("❚❚", "Pause");
    }

    // The caption must not lie behind the controls, which stay at the bottom of the window.
    function bring() {
      const text = scenes[now].querySelector("figcaption").getBoundingClientRect();
      if (text.bottom > controls.getBoundingClientRect().top + 4 || text.top < 0) {
        root.scrollIntoView({ behavior: still.matches ? "auto" : "smooth" });
      }
    }

    function pause() {
      clearTimeout(timer);
      timer = 0;
      face(now === last() ? "↻" : "▶", now === last() ? "Again" : "Play");
    }

    function face(sign, word) {
      play.querySelector(".face").textContent = sign;
      play.querySelector(".word").textContent = word;
    }

    function go(index) {
      const was = playing();
      pause();
      show(index);
      if (was && now !== last()) start();
      else pause();
    }

    const acts = {
      first: () => go(0),
      last: () => go(last()),
      back: () => { pause(); go(now - 1); bring(); },
      next: () => { pause(); go(now + 1); bring(); },
      play: () => (playing() ? pause() : start()),
      chapter: (n) => chapters[n] && go(Number(chapters[n].dataset.go)),
      faster: (by) => {
        speed.selectedIndex = Math.min(Math.max(speed.selectedIndex + by, 0), speed.options.length - 1);
        speed.dispatchEvent(new Event("change"));
      },
    };
    root.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      if (button.dataset.do) acts[button.dataset.do]();
      if (button === poster) play.focus({ preventScroll: true });
      if (button.dataset.go) go(Number(button.dataset.go));
    });
    scrub.addEventListener("input", () => go(Number(scrub.value) - 1));
    speed.addEventListener("change", () => { if (playing()) { clearTimeout(timer); wait(); } });
    document.addEventListener("visibilitychange", () => { if (document.hidden && playing()) pause(); });
    root.classList.add("playing-on");
    controls.hidden = false;
    poster.hidden = false;
    show(0, { say: false });
    return { root, acts, start, show, pause };
  }

  const keys = {
    " ": (a) => a.play(), k: (a) => a.play(), ArrowRight: (a) => a.next(), ArrowLeft: (a) => a.back(),
    Home: (a) => a.first(), End: (a) => a.last(), "+": (a) => a.faster(1), "-": (a) => a.faster(-1),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const on = event.target.closest("select, summary, a, pre, textarea, input") || (event.target.closest("button") && " ".includes(event.key));
    if (on && !(event.target.matches(".scrub") && ![..."Arrow", "Home", "End"].some((key) => event.key.startsWith(key)))) return;
    const mine = players.find((one) => one.root.contains(event.target)) || players[0];
    const chapter = /^[1-9]$/.test(event.key) ? Number(event.key) : 0;
    if (!keys[event.key] && !chapter) return;
    event.preventDefault();
    if (chapter) mine.acts.chapter(chapter - 1);
    else keys[event.key](mine.acts);
  });

  const both = document.querySelector("[data-both]");
  if (both) {
    both.parentElement.hidden = false;
    document.querySelector(".stages").classList.add("playing-two");
    both.addEventListener("click", () => players.forEach((one) => { one.show(0); one.start(); }));
  }
})();
