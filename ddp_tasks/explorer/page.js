// The page of the explorer: what Python sends is put in its place, what a person does is sent back.

const SKELETON = `
<div class="app">
  <header><h1></h1><nav aria-label="Views"></nav>
    <button type="button" class="plain theme" aria-pressed="false">Dark</button></header>
  <div class="controls"></div>
  <main aria-label="View"></main>
  <aside aria-label="Details"></aside>
  <div class="notice" role="status"></div>
  <div class="waits" role="status"></div>
</div>`;

export function render({ model, el }) {
  const root = document.createElement("div");
  root.innerHTML = SKELETON;
  const find = (what) => root.querySelector(what);
  const [app, main, aside, controls, notice] =
    [".app", "main", "aside", ".controls", ".notice"].map(find);

  // One question at a time: while a slider moves, only its last place is asked for.
  let waiting = {}, asked = false, pushed = false, led = false;
  const ask = (values, push = true) => {
    Object.assign(waiting, values);
    pushed = pushed || push;
    if (asked) return;
    // What is asked for again stays readable meanwhile.
    if (Object.keys(waiting).length) app.setAttribute("aria-busy", "true");
    model.send_msg({ set: waiting, push: pushed });
    [waiting, asked, pushed] = [{}, true, false];
  };
  // What takes long is made beside the server: the page asks for it again.
  let again = null;
  const askAgain = () => {
    clearTimeout(again);
    if (model.waits || root.querySelector("[data-waits]")) again = setTimeout(() => ask({}, false), 400);
  };
  model.on("msg:custom", () => {
    askAgain();
    asked = false;
    app.removeAttribute("aria-busy");
    if (Object.keys(waiting).length) ask({}, pushed);
  });

  const put = (place, html) => {
    const active = root.getRootNode().activeElement;
    const focused = active && place.contains(active) && active.dataset.do;
    const opened = new Set([...place.querySelectorAll("details[open]")].map((d) => d.dataset.key));
    const scrolled = [...place.querySelectorAll(".scroll")].map((s) => [s.scrollLeft, s.scrollTop]);
    place.innerHTML = html;
    // Wide figures shrink to the page, but not so far that they cannot be read.
    for (const drawn of place.querySelectorAll(".fitted svg"))
      drawn.style.minWidth = `${Math.min(600, 0.8 * drawn.getAttribute("width"))}px`;
    for (const d of place.querySelectorAll("details")) d.open = d.open || opened.has(d.dataset.key);
    place.querySelectorAll(".scroll").forEach((s, i) => {
      if (scrolled[i]) [s.scrollLeft, s.scrollTop] = scrolled[i];
      else s.scrollLeft = s.matches(".fitted .scroll") ? (s.scrollWidth - s.clientWidth) / 2 : 0;
    });
    if (focused) place.querySelector(`[data-do="${CSS.escape(focused)}"]`)?.focus();
  };

  const show = () => {
    for (const input of controls.querySelectorAll("[name]")) {
      if (!(input.name in model.values)) continue;
      const value = model.values[input.name];
      if (input.type === "radio") input.checked = input.value === value;
      else if (root.getRootNode().activeElement !== input) input.value = value;
    }
    for (const button of find("nav").children) {
      const current = button.dataset.view === model.values.view;
      current ? button.setAttribute("aria-current", "page") : button.removeAttribute("aria-current");
    }
    find("h1").textContent = model.values.title;
    mark();
  };
  // The marks of what the details are of; a diagram that is wider than its place leads there.
  const mark = () => {
    const { chosen: at, where } = model.values;
    for (const one of main.querySelectorAll("g[data-do]")) {
      const does = new URLSearchParams(one.dataset.do);
      const same = at && does.get("at") === at &&
        (!does.has("layer") || `${does.get("run")}/${does.get("layer")}` === where);
      one.classList.toggle("chosen", Boolean(same));
    }
    for (const place of main.querySelectorAll(".drawn")) {
      const first = place.querySelector("g.chosen") ?? place.querySelector("g[data-do*='at=v']");
      if (!first || place.dataset.led === at || place.scrollWidth <= place.clientWidth) continue;
      place.dataset.led = at;
      const [inside, box] = [first.getBoundingClientRect(), place.getBoundingClientRect()];
      place.scrollLeft += inside.left + inside.width / 2 - box.left - box.width / 2;
      place.scrollTop += inside.top + inside.height / 2 - box.top - box.height / 2;
    }
  };
  const shown = {
    navigation: () => (find("nav").innerHTML = model.navigation),
    controls: () => (controls.innerHTML = model.controls),
    values: show,
    view: () => { put(main, model.view); mark(); },
    details: () => {
      put(aside, model.details);
      // Where the details stand below, what was clicked on leads there.
      if (led && getComputedStyle(aside).position === "static") aside.scrollIntoView();
      led = false;
    },
    notice: () => (notice.textContent = model.notice),
    waits: () => (find(".waits").textContent = model.waits),
    address: () => {
      const { query, push } = model.address;
      const address = location.pathname + (query ? "?" + query : "");
      if (location.pathname + location.search !== address)
        history[push ? "pushState" : "replaceState"](null, "", address);
    },
  };
  for (const [name, draw] of Object.entries(shown)) {
    draw();
    model.on(name, draw);
  }
  window.addEventListener("popstate", () => ask({ address: location.search }, false));

  const chosen = (event) => event.composedPath()[0];
  root.addEventListener("input", (event) => {
    const input = chosen(event);
    if (!input.name || "lazy" in input.dataset) return;
    if (input.value === "" && input.type === "number") return;
    ask({ [input.name]: input.value }, input.type !== "range" && input.type !== "number");
  });
  root.addEventListener("submit", (event) => event.preventDefault());
  root.addEventListener("keydown", (event) => {
    const mark = chosen(event).closest?.("g[data-do]");
    if (mark && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      ask(Object.fromEntries(new URLSearchParams(mark.dataset.do)));
    }
  });
  root.addEventListener("click", (event) => {
    const target = chosen(event);
    const does = target.closest("[data-do]");
    if (does) {
      led = does.dataset.do.includes("at=");
      return ask(Object.fromEntries(new URLSearchParams(does.dataset.do)));
    }
    const applied = target.closest("[data-apply]");
    if (applied) return ask({ groups: controls.querySelector("#groups").value });
    if (target.closest("[data-group]")) return addGroup();
    const taken = target.closest("[data-take]");
    if (taken) return take(taken);
    if (target.closest(".theme")) return turn();
    if (target.dataset?.point) point(event, target, true);
  });
  // Once the network is open, the overlays follow the pointer.
  root.addEventListener("pointermove", (event) => {
    const target = chosen(event);
    if (target.dataset?.point && target.querySelector(".place")) point(event, target, false);
  });
  const point = (event, target, push) => {
    const box = target.getBoundingClientRect();
    const inside = (share) => Math.min(Math.max(share, 0), 1).toFixed(3);
    const x = inside((event.clientX - box.left) / box.width);
    const y = inside((event.clientY - box.top) / box.height);
    ask({ point: `${x},${y}` }, push);
  };

  const addGroup = () => {
    const boxes = [...controls.querySelectorAll("[data-class]:checked")];
    const name = controls.querySelector("[data-group-name]");
    if (!boxes.length || !name.value.trim()) return;
    const quoted = boxes.map((b) => (/[,"]/.test(b.dataset.class)
      ? `"${b.dataset.class.replaceAll('"', '""')}"` : b.dataset.class));
    const area = controls.querySelector("#groups");
    const before = area.value.trim();
    area.value = (before ? before + "\n" : "") + `${name.value.trim()}: ${quoted.join(", ")}`;
    name.value = "";
    for (const box of boxes) box.checked = false;
    ask({ groups: area.value });
  };

  const take = async (button) => {
    const drawn = button.closest(".figure").querySelector("svg").cloneNode(true);
    for (const image of drawn.querySelectorAll("image")) {
      const from = image.getAttribute("href");
      if (from.startsWith("data:")) continue;
      const blob = await (await fetch(from)).blob();
      image.setAttribute("href", await new Promise((done) => {
        const reader = new FileReader();
        reader.onload = () => done(reader.result);
        reader.readAsDataURL(blob);
      }));
    }
    for (const mark of drawn.querySelectorAll("[data-do]"))
      for (const name of ["data-do", "tabindex", "role"]) mark.removeAttribute(name);
    drawn.setAttribute("role", "img");
    drawn.removeAttribute("style");
    // As on a light page, on white.
    const text = new XMLSerializer().serializeToString(drawn)
      .replace(/(<svg [^>]*>)/, '$1<rect width="100%" height="100%" fill="#ffffff"/>');
    let file = new Blob([text], { type: "image/svg+xml" });
    if (button.dataset.take === "png") file = await rastered(text, drawn);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = `${button.dataset.name}.${button.dataset.take}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  const rastered = async (text, drawn) => {
    const image = new Image();
    image.src = "data:image/svg+xml;base64," + btoa(unescape(encodeURIComponent(text)));
    await image.decode();
    const [wide, high] = ["width", "height"].map((side) => Number(drawn.getAttribute(side)));
    const scale = Math.min(2, 16000 / Math.max(wide, high));
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [wide * scale, high * scale];
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  };

  const dark = (on) => {
    document.documentElement.dataset.theme = on ? "dark" : "light";
    app.dataset.theme = on ? "dark" : "light";
    find(".theme").setAttribute("aria-pressed", String(on));
  };
  const turn = () => {
    const on = app.dataset.theme !== "dark";
    try { localStorage.setItem("ddp-theme", on ? "dark" : "light"); } catch { /* not kept */ }
    dark(on);
  };
  let kept = null;
  try { kept = localStorage.getItem("ddp-theme"); } catch { /* not kept */ }
  askAgain();
  dark(kept ? kept === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  return root;
}
