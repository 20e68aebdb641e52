// Marks all deliveries of a page at once. Without this everything works, one mark after the other.
"use strict";
for (const head of document.querySelectorAll("th")) {
  const marks = head.closest("table")?.querySelectorAll("input[type=checkbox][name=id]:not(:disabled)") ?? [];
  if (head.cellIndex !== 0 || head.closest("thead") === null || marks.length === 0) continue;
  const all = document.createElement("input");
  all.type = "checkbox";
  all.setAttribute("aria-label", head.textContent);
  all.addEventListener("change", () => marks.forEach((mark) => (mark.checked = all.checked)));
  head.append(" ", all);
}
