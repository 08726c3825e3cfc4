// Loaded before the page is drawn, so that a chosen theme does not flash. Everything else waits for airboss.js.
document.documentElement.classList.add("js");
try {
  const chosen = localStorage.getItem("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
} catch { /* storage is off: the system's theme it is */ }
