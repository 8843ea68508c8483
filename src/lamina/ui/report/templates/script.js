"use strict";
(() => {
  const rows = [...document.querySelectorAll("#timeline .step")];
  const tools = document.getElementById("tools");
  const said = document.getElementById("said");
  if (!tools) return;
  tools.hidden = false;
  const buttons = [...tools.querySelectorAll("button[data-show]")];
  const search = document.getElementById("search");
  const order = document.getElementById("order");
  const list = document.getElementById("rows");
  let shown = "all";

  const apply = () => {
    const words = search.value.toLowerCase().trim();
    let count = 0;
    for (const row of rows) {
      const kind = shown === "all" || row.dataset.group === shown ||
        (shown === "critical" && row.dataset.critical === "yes");
      const text = !words || row.querySelector("summary").textContent.toLowerCase().includes(words);
      row.hidden = !(kind && text);
      count += row.hidden ? 0 : 1;
    }
    for (const button of buttons) {
      button.setAttribute("aria-pressed", String(button.dataset.show === shown));
    }
    said.textContent = count === rows.length ? "" : `${count} of ${rows.length} steps are shown`;
  };
  for (const button of buttons) {
    button.addEventListener("click", () => { shown = button.dataset.show; apply(); });
  }
  search.addEventListener("input", apply);
  order.addEventListener("change", () => {
    const by = order.value;
    const number = (row) => Number(row.dataset[by]);
    const sorted = [...rows].sort((a, b) =>
      by === "seconds" ? number(b) - number(a) : number(a) - number(b));
    list.append(...sorted);
  });
  const all = document.getElementById("unfold");
  all.addEventListener("click", () => {
    const open = all.getAttribute("aria-pressed") !== "true";
    for (const row of rows) row.open = open;
    all.setAttribute("aria-pressed", String(open));
  });
  const follow = () => {
    const target = document.getElementById(location.hash.slice(1));
    if (!target || target.tagName !== "DETAILS") return;
    for (let at = target; at; at = at.parentElement) {
      if (at.tagName === "DETAILS") at.open = true;
    }
    target.hidden = false;
    target.scrollIntoView({ block: "start" });
    target.querySelector("summary").focus({ preventScroll: true });
  };
  window.addEventListener("hashchange", follow);
  addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#s']");
    if (link && link.getAttribute("href") === location.hash) follow();
  });
  follow();
})();
