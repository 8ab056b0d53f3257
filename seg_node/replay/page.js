"use strict";
// Tables sort, pictures enlarge, charts tell their values. Without it the page shows the same, at rest.

// ---- tables: a click on a heading orders the rows, another turns them round; cells without a value stay last
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const text = head.classList.contains("text");
      const before = head.getAttribute("aria-sort");
      const down = before ? before === "ascending" : !text; // numbers: the largest first
      const value = row => {
        const written = row.cells[column].dataset.v;
        return written === undefined || text ? written : Number(written);
      };
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
        const order = text ? x.localeCompare(y) : x - y;
        return down ? -order : order;
      });
      body.append(...rows);
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
    });
  });
}

// ---- pictures: one dialog for all; arrow keys go on to the next one
const pictures = [...document.querySelectorAll("button.zoom")];
if (pictures.length) {
  const dialog = document.createElement("dialog");
  const image = document.createElement("img");
  const caption = document.createElement("p");
  const make = (text, label, act) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.setAttribute("aria-label", label);
    button.addEventListener("click", act);
    return button;
  };
  let shown = 0;
  const show = index => {
    shown = (index + pictures.length) % pictures.length;
    const from = pictures[shown].querySelector("img");
    image.src = from.src;
    dialog.append(image);
    image.alt = from.alt;
    caption.textContent = from.alt;
  };
  const bar = document.createElement("div");
  bar.append(
    make("‹", "Previous picture", () => show(shown - 1)),
    caption,
    make("›", "Next picture", () => show(shown + 1)),
    make("×", "Close", () => dialog.close()),
  );
  dialog.className = "enlarged";
  dialog.setAttribute("aria-label", "Enlarged picture");
  dialog.append(bar); // the picture when there is one
  dialog.addEventListener("click", event => {
    if (event.target === dialog || event.target === image) dialog.close();
  });
  dialog.addEventListener("keydown", event => {
    if (event.key === "ArrowLeft") show(shown - 1);
    if (event.key === "ArrowRight") show(shown + 1);
  });
  document.body.append(dialog);
  pictures.forEach((button, index) =>
    button.addEventListener("click", () => {
      show(index);
      dialog.showModal();
    }),
  );
}

// ---- charts: the pointer shows the values of the moment below it
for (const chart of document.querySelectorAll(".chart[data-points]")) {
  const points = JSON.parse(chart.dataset.points);
  const line = document.createElement("div");
  const box = document.createElement("div");
  line.className = "pointer";
  box.className = "reading";
  chart.append(line, box);
  chart.addEventListener("pointermove", event => {
    const frame = chart.getBoundingClientRect();
    const at = (1000 * (event.clientX - frame.left)) / frame.width;
    let nearest = 0;
    points.x.forEach((x, index) => {
      if (Math.abs(x - at) < Math.abs(points.x[nearest] - at)) nearest = index;
    });
    const left = (points.x[nearest] * frame.width) / 1000;
    line.style.left = `${left}px`;
    box.replaceChildren(document.createTextNode(points.t[nearest]));
    for (const [name, color, values] of points.s) {
      const row = document.createElement("span");
      const key = document.createElement("i");
      if (color.startsWith("rgb")) key.style.background = color;
      else key.className = color;
      row.append(key, `${name} ${values[nearest]}`);
      box.append(row);
    }
    box.style.left = `${Math.max(0, Math.min(left + 12, frame.width - box.offsetWidth))}px`;
    if (left + 12 + box.offsetWidth > frame.width) box.style.left = `${Math.max(0, left - 12 - box.offsetWidth)}px`;
    chart.classList.add("pointed");
  });
  chart.addEventListener("pointerleave", () => chart.classList.remove("pointed"));
}
