"use strict";
// Sorting: a heading's button sorts the rows of its table; what was not measured stays last.
const isNumber = (key) => key !== "" && !Number.isNaN(Number(key));
function compare(a, b) {
  return isNumber(a) && isNumber(b) ? Number(a) - Number(b) : a.localeCompare(b, undefined, { numeric: true });
}
function sortBy(head) {
  const table = head.closest("table");
  const up = head.getAttribute("aria-sort") !== "ascending";
  const key = (row) => row.cells[head.cellIndex].dataset.key;
  const rows = [...table.tBodies[0].rows].sort((a, b) => {
    if (key(a) === "" || key(b) === "") return (key(a) === "") - (key(b) === "");
    return up ? compare(key(a), key(b)) : compare(key(b), key(a));
  });
  table.querySelectorAll("[aria-sort]").forEach((other) => other.setAttribute("aria-sort", "none"));
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  table.tBodies[0].append(...rows);
}
document.querySelectorAll("[aria-sort]").forEach((head) => {
  head.querySelector("button").addEventListener("click", () => sortBy(head));
});

// Notes: a title shows on hovering alone; this shows it on focus and touch as well. Escape hides it.
const tip = document.getElementById("tip");
const noted = "[data-note]";
let shown = null;
function hide() {
  if (shown) shown.removeAttribute("aria-describedby");
  shown = null;
  tip.hidden = true;
}
function place(cell) {
  const at = cell.getBoundingClientRect();
  const below = at.bottom + tip.offsetHeight + 10 < innerHeight;
  const left = Math.max(8, Math.min(at.left, document.documentElement.clientWidth - tip.offsetWidth - 8));
  tip.style.left = `${left}px`;
  tip.style.top = `${Math.max(4, below ? at.bottom + 6 : at.top - tip.offsetHeight - 6)}px`;
}
function show(cell) {
  hide();
  shown = cell;
  tip.textContent = cell.dataset.note;
  tip.hidden = false;
  cell.setAttribute("aria-describedby", "tip");
  place(cell);
}
document.querySelectorAll("td[title]").forEach((cell) => {
  cell.dataset.note = cell.title;
  cell.removeAttribute("title");
});
document.querySelectorAll("tbody td").forEach((cell) => {
  if (!cell.hasAttribute("tabindex")) cell.tabIndex = -1;
});
for (const event of ["mouseover", "focusin"]) {
  document.addEventListener(event, (happened) => {
    const cell = happened.target.closest(noted);
    if (cell && cell !== shown) show(cell);
    else if (!cell) hide();
  });
}
document.addEventListener("focusout", hide);
function follow() {
  if (shown === document.activeElement && shown) place(shown);
  else hide();
}
document.addEventListener("scroll", follow, { capture: true, passive: true });

// Arrow keys move between the cells of a table; what is hidden is passed over.
const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
document.addEventListener("keydown", (pressed) => {
  if (pressed.key === "Escape") hide();
  const from = pressed.target.closest("tbody td");
  if (!from || !(pressed.key in steps)) return;
  const [down, right] = steps[pressed.key];
  const rows = [...from.closest("table").rows];
  let row = rows.indexOf(from.parentElement);
  let column = from.cellIndex;
  let next;
  do {
    row += down;
    column += right;
    next = rows[row]?.cells[column];
  } while (next && next.offsetParent === null);
  if (next?.tagName !== "TD" || !next.closest("tbody")) return;
  pressed.preventDefault();
  next.focus();
});
