// What the pages do beyond what HTML does by itself. Every page works without it: forms post, times are written out,
// tables stand beside plots. No eval, no inline script, nothing from elsewhere.
"use strict";
(() => {
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // ---------------------------------------------------------------- times: relative, the absolute in the title

  const skew = Date.now() - Date.parse(document.body.dataset.now || new Date().toISOString());
  function ago(at) {
    const seconds = (Date.now() - skew - at) / 1000;
    const size = Math.abs(seconds);
    if (size < 5) return "just now";
    const [count, unit] = size < 60 ? [size, "s"] : size < 3600 ? [size / 60, "min"] : size < 86400 ? [size / 3600, "h"] : [size / 86400, "d"];
    if (seconds >= 0) return `${Math.floor(count)} ${unit} ago`;
    // What is left is told in two units where it is hours or days, as the server does.
    const rest = unit === "d" ? [Math.floor(size % 86400 / 3600), "h"] : unit === "h" ? [Math.floor(size % 3600 / 60), "min"] : [0];
    return `in ${Math.floor(count)} ${unit}${rest[0] ? ` ${rest[0]} ${rest[1]}` : ""}`;
  }
  function tellTimes() {
    for (const time of all("time[data-ago]")) {
      const words = ago(Date.parse(time.dateTime));
      if (time.textContent !== words) time.textContent = words;
    }
  }
  setInterval(tellTimes, 5000);

  // ---------------------------------------------------------------- small things

  document.addEventListener("click", async (event) => {
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      try { await navigator.clipboard.writeText(copy.dataset.copy); } catch { return; }
      const said = one("[data-said]", copy) || copy;
      const before = said.innerHTML;
      if (said.dataset.busy) return;
      said.dataset.busy = "1";
      said.textContent = "Copied";
      setTimeout(() => { said.innerHTML = before; delete said.dataset.busy; }, 1200);
    }
    if (event.target.closest("[data-theme-toggle]")) {
      const dark = getComputedStyle(document.documentElement).colorScheme.includes("light dark")
        ? matchMedia("(prefers-color-scheme: dark)").matches
        : document.documentElement.dataset.theme === "dark";
      document.documentElement.dataset.theme = dark ? "light" : "dark";
      try { localStorage.setItem("theme", dark ? "light" : "dark"); } catch { /* not kept */ }
      drawPlots();
    }
    if (event.target.closest("[data-keys]")) one("#keys").showModal();
    const summary = event.target.closest("summary");
    if (summary) summary.parentElement.dataset.touched = "1";
    for (const open of all(".act[open]")) if (!open.contains(event.target)) open.open = false;
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawPlots());

  // ---------------------------------------------------------------- keyboard: / search, j k move, a r decide, ? help

  const typing = (target) => target.closest("input, textarea, select, [contenteditable]");
  function move(by) {
    const rows = all("[data-row]");
    if (!rows.length) return;
    const at = rows.findIndex((row) => row.classList.contains("here"));
    const next = rows[Math.max(0, Math.min(rows.length - 1, at < 0 ? 0 : at + by))];
    if (at >= 0) rows[at].classList.remove("here");
    next.classList.add("here");
    next.scrollIntoView({ block: "nearest" });
    (one("a, summary", next) || next).focus({ preventScroll: true });
  }
  function decide(key) {
    const action = one(`[data-key="${key}"]`);
    if (!action) return;
    if (action.matches("details")) { action.open = true; (one("textarea, button", action) || action).focus(); }
    else action.focus();
    action.scrollIntoView({ block: "nearest" });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      for (const open of all(".act[open]")) { open.open = false; one("summary", open).focus(); }
      if (typing(event.target)) event.target.blur();
    }
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    const does = { "/": () => one("#search")?.focus(), "j": () => move(1), "k": () => move(-1), "a": () => decide("a"), "r": () => decide("r"), "?": () => one("#keys")?.showModal() }[event.key];
    if (does) { event.preventDefault(); does(); }
  });

  // ---------------------------------------------------------------- live: one stream, then fetch what changed

  const live = one("[data-live]");
  let stream, position, due, over = false;
  function listen() {
    if (!live || stream || over || document.hidden) return;
    position = position || live.dataset.position;
    stream = new EventSource(`${live.dataset.live}?after=${encodeURIComponent(position)}`);
    stream.addEventListener("moved", (event) => {
      position = event.lastEventId || position;
      clearTimeout(due);
      due = setTimeout(() => { htmx.trigger(document.body, "airboss:moved"); drawPlots(); }, 50);
    });
    stream.addEventListener("reload", () => location.reload());
    stream.addEventListener("over", () => { stream.close(); over = true; });
    stream.onopen = () => one(".stale")?.toggleAttribute("hidden", true);
    stream.onerror = () => {
      const closed = stream.readyState === EventSource.CLOSED;
      if (closed) { stream = undefined; setTimeout(listen, 5000); }
      one(".stale")?.toggleAttribute("hidden", false);
    };
  }
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { stream?.close(); stream = undefined; } else { listen(); }
  });
  // Fresh parts keep what the reader has opened, and never take away what is being written.
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    const { target, fragment } = event.detail;
    if (all("textarea, input:not([type=hidden])", target).some((field) => field.value || field === document.activeElement)) {
      event.preventDefault();
      return;
    }
    if (target.id === "plots" && samePlots(target, fragment)) { event.preventDefault(); return; }
    for (const old of all("details[data-touched][id]", target)) {
      const fresh = fragment.querySelector(`#${CSS.escape(old.id)}`);
      if (fresh) { fresh.open = old.open; fresh.dataset.touched = "1"; }
    }
  });
  document.addEventListener("htmx:oobAfterSwap", (event) => {
    tellTimes();
    if (event.detail.target.id === "plots") drawPlots();
  });
  // Plots that stand are drawn anew from their numbers; only the words and the table beside them are taken over.
  function samePlots(target, fragment) {
    const names = (root) => all("[data-plot]", root).map((holder) => holder.dataset.plot + holder.dataset.of).join(" ");
    if (names(target) !== names(fragment)) return false;
    for (const part of all(".read-out[id], tbody[id]", target)) {
      const fresh = fragment.querySelector(`#${CSS.escape(part.id)}`);
      if (!fresh) continue;
      if (part.matches("tbody")) part.innerHTML = fresh.innerHTML;
      else if (part.dataset.rest == null || part.dataset.rest === part.textContent) { part.textContent = fresh.textContent; delete part.dataset.rest; }
      else part.dataset.rest = fresh.textContent;
    }
    return true;
  }

  // ---------------------------------------------------------------- plots

  const charts = new Map();
  function ink(name, share = 1) {
    const probe = document.createElement("i");
    probe.style.color = share === 1 ? `var(${name})` : `color-mix(in srgb, var(${name}) ${share * 100}%, transparent)`;
    document.body.append(probe);
    const color = getComputedStyle(probe).color;
    probe.remove();
    return color;
  }
  const words = (value, unit) => value == null ? "–" : `${Number(value.toPrecision(3))} ${unit}`;
  const between = (low, high, unit) => low == null && high == null ? "" : high == null ? ` (at least ${words(low, unit)})` : low == null ? ` (up to ${words(high, unit)})` : ` (${words(low, unit)} to ${words(high, unit)})`;
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

  const outOf = (holder) => holder.nextElementSibling;
  function listenTo(holder, told) {
    return (u) => {
      const out = outOf(holder), away = u.cursor.idx == null || u.cursor.left < 0;
      out.dataset.rest ??= out.textContent;
      out.textContent = away ? out.dataset.rest : told(u.cursor.idx);
    };
  }
  // The change's steps stand as marks on the time axis of every plot.
  function drawMarks(u, data, also) {
    const { ctx } = u;
    ctx.save();
    ctx.font = `${12 * devicePixelRatio}px ` + getComputedStyle(document.body).fontFamily;
    ctx.fillStyle = ink("--ink-soft"); ctx.strokeStyle = ink("--line-strong"); ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([]); ctx.textAlign = "left"; ctx.textBaseline = "alphabetic";
    let free = 0;
    for (const mark of data.marks) {
      if (mark.t < u.scales.x.min || mark.t > u.scales.x.max) continue;
      const x = Math.round(u.valToPos(mark.t, "x", true)) + 0.5;
      ctx.beginPath(); ctx.moveTo(x, u.bbox.top - 16 * devicePixelRatio); ctx.lineTo(x, u.bbox.top + u.bbox.height); ctx.stroke();
      if (x < free) continue;
      const wide = ctx.measureText(mark.label).width + 12 * devicePixelRatio;
      const room = x + wide <= u.bbox.left + u.bbox.width;
      if (!room && x - wide < free) continue;
      ctx.fillText(mark.label, room ? x + 4 * devicePixelRatio : x - wide + 8 * devicePixelRatio, u.bbox.top - 6 * devicePixelRatio);
      free = x + (room ? wide : 0);
    }
    also?.(ctx);
    ctx.restore();
  }
  function frame(holder, data, told) {
    const font = "12px " + getComputedStyle(document.body).fontFamily;
    const axis = { font, stroke: ink("--ink-soft"), grid: { stroke: ink("--line"), width: 1 }, ticks: { show: false } };
    const span = data.t.at(-1) - data.t[0];
    return {
      axis,
      width: holder.clientWidth, height: holder.clientHeight, padding: [28, 8, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
      time: { ...axis, space: 80, size: 32, values: (_, ticks) => ticks.map((tick) => clock.format(tick * 1000).slice(0, span > 1200 ? 5 : 8)) },
      shade: (u) => {
        for (const verdict of data.verdicts) {
          const from = u.valToPos(Math.max(verdict.from, u.scales.x.min), "x", true);
          const to = u.valToPos(Math.min(verdict.to ?? u.scales.x.max, u.scales.x.max), "x", true);
          u.ctx.fillStyle = ink(`--${verdict.tone}`, 0.1);
          u.ctx.fillRect(from, u.bbox.top, to - from, u.bbox.height);
        }
      },
      setCursor: listenTo(holder, told),
    };
  }
  function chart(holder, options, columns) {
    charts.get(holder)?.destroy();
    holder.replaceChildren();
    charts.set(holder, new uPlot(options, columns, holder));
  }

  function drawBand(holder, data) {
    const seen = [...data.canary, ...data.baseline, ...data.margin].filter((value) => value != null);
    const top = 1.2 * Math.max(...seen, 1e-6);
    const { axis, time, shade, setCursor, ...sizes } = frame(holder, data, (at) =>
      `${clock.format(data.t[at] * 1000)} (${zone}) · canary ${words(data.canary[at], data.unit)}` +
      between(data.low[at], data.high[at], data.unit) +
      ` · baseline ${words(data.baseline[at], data.unit)} · must stay below ${words(data.margin[at], data.unit)}`);
    const options = {
      ...sizes,
      scales: { y: { range: [0, top] } },
      axes: [time, { ...axis, size: 64, values: (_, ticks) => ticks.map((tick) => words(tick, data.unit)) }],
      series: [
        {},
        { stroke: "transparent", points: { show: false } },
        { stroke: "transparent", points: { show: false } },
        { stroke: ink("--harmed"), dash: [4, 4], width: 1.5, points: { show: false } },
        { stroke: ink("--baseline"), width: 2, points: { show: false } },
        { stroke: ink("--canary"), width: 2, points: { show: false } },
      ],
      bands: [{ series: [2, 1], fill: ink("--canary", 0.16) }],
      hooks: { drawClear: [shade], draw: [(u) => drawMarks(u, data)], setCursor: [setCursor] },
    };
    // A bound that is not known is no bound: the band reaches the edge.
    const low = data.low.map((value, at) => value ?? (data.canary[at] == null ? null : 0));
    const high = data.high.map((value, at) => data.canary[at] == null ? null : Math.min(value ?? top, top));
    chart(holder, options, [data.t, low, high, data.margin, data.baseline, data.canary]);
  }

  // The evidence: e-values as powers of ten against their bounds. 10² is a hundred to one.
  const raised = (power) => String(power).replace(/[-0-9]/g, (sign) => sign === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[sign]);
  const odds = (power) => {
    if (power == null) return "–";
    const size = Number((10 ** Math.min(Math.abs(power), 15)).toPrecision(2)).toLocaleString("en");
    return power >= 0 ? `${size} : 1` : `1 : ${size}`;
  };
  function drawEvidence(holder, data) {
    const least = -4, bounds = [data.harm_at, data.safe_at].filter((value) => value != null);
    const top = 1.1 * Math.max(1, ...bounds, ...data.harm.map((value) => Math.min(value ?? 0, 8)));
    const bottom = Math.max(least, Math.min(-1, ...data.harm.map((value) => value ?? 0), ...data.safe.map((value) => value ?? 0)));
    const held = (values) => values.map((value) => value == null ? null : Math.min(Math.max(value, bottom), top));
    const { axis, time, shade, setCursor, ...sizes } = frame(holder, data, (at) =>
      `${clock.format(data.t[at] * 1000)} (${zone}) · harm ${odds(data.harm[at])} (convicted at ${odds(data.harm_at)})` +
      ` · harmless ${odds(data.safe[at])} (passes at ${odds(data.safe_at)})` +
      (data.needed[at] == null ? "" : ` · ${data.needed[at].toLocaleString("en")} users needed`));
    const bound = (u, value, words) => (ctx) => {
      if (value == null) return;
      const y = Math.round(u.valToPos(value, "y", true)) + 0.5;
      ctx.strokeStyle = ctx.fillStyle = ink("--ink-soft");
      ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
      ctx.beginPath(); ctx.moveTo(u.bbox.left, y); ctx.lineTo(u.bbox.left + u.bbox.width, y); ctx.stroke();
      ctx.textAlign = "right"; ctx.setLineDash([]);
      ctx.lineJoin = "round"; ctx.lineWidth = 4 * devicePixelRatio; ctx.strokeStyle = ink("--surface");
      const place = [words, u.bbox.left + u.bbox.width - 4 * devicePixelRatio, y - 4 * devicePixelRatio];
      ctx.strokeText(...place); ctx.fillText(...place);  // a rim, so that curves run behind the words
      ctx.lineWidth = devicePixelRatio;
    };
    const options = {
      ...sizes,
      scales: { y: { range: [bottom, top + 0.2] } },
      axes: [time, { ...axis, size: 64, space: 24, incrs: [1, 2, 3, 5, 10], values: (_, ticks) => ticks.map((tick) => `10${raised(tick)}`) }],
      series: [
        {},
        { stroke: ink("--harmed"), width: 2, points: { show: false } },
        { stroke: ink("--well"), width: 2, dash: [8, 3], points: { show: false } },
      ],
      hooks: {
        drawClear: [shade],
        draw: [(u) => drawMarks(u, data, (ctx) => {
          const near = bounds.length === 2 && Math.abs(data.harm_at - data.safe_at) < 0.05;
          if (near) { bound(u, data.harm_at, "harm is convicted, harmless passes")(ctx); return; }
          bound(u, data.harm_at, "harm is convicted")(ctx);
          bound(u, data.safe_at, "harmless passes")(ctx);
        })],
        setCursor: [setCursor],
      },
    };
    chart(holder, options, [data.t, held(data.harm), held(data.safe)]);
  }

  async function drawPlots() {
    if (!window.uPlot) return;
    const asked = new Map();
    const numbers = async (address) => {
      const answer = await fetch(address, { headers: { accept: "application/json" } });
      if (!answer.ok) throw new Error(String(answer.status));
      return answer.json();
    };
    for (const holder of all("[data-plot]")) {
      const address = holder.dataset.plot;
      try {
        if (!asked.has(address)) asked.set(address, numbers(address));
        const data = await asked.get(address);
        holder.hidden = !data.t.length;
        if (data.t.length) (holder.dataset.of === "evidence" ? drawEvidence : drawBand)(holder, data);
      } catch {
        if (!charts.has(holder)) holder.hidden = true;  // the table has the same numbers
      }
    }
  }
  let resized;
  addEventListener("resize", () => {
    clearTimeout(resized);
    resized = setTimeout(() => { for (const [holder, chart] of charts) chart.setSize({ width: holder.clientWidth, height: holder.clientHeight }); }, 100);
  });

  tellTimes();
  listen();
  drawPlots();
})();
