// What a page can do beyond being read: tables are sorted and filtered, and the reference graph is
// drawn around the store path that is chosen. Everything is made from the rows of the tables.
"use strict";

// How many store paths a column of the graph shows at first; neighbourhood.py has the same number.
const MOST_SHOWN = 12;
const READING = "Point at a tile, or walk through them with the arrow keys, to read what it is.";

document.documentElement.classList.add("scripted");
for (const table of document.querySelectorAll("table")) {
  makeSortable(table);
}
for (const bar of document.querySelectorAll(".bar")) {
  makeWalkable(bar);
}
for (const article of document.querySelectorAll("article")) {
  makeChoosable(article);
}

// Make an element with properties and children, which are elements or text, never HTML.
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// Tables

function makeSortable(table) {
  for (const [column, head] of [...table.tHead.rows[0].cells].entries()) {
    const button = make("button", { type: "button" }, ...head.childNodes);
    button.addEventListener("click", () => sort(table, column));
    head.append(button);
  }
}

// Sort by a column: the largest numbers and the first names first, and by another click the last.
function sort(table, column) {
  const heads = table.tHead.rows[0].cells;
  const head = heads[column];
  const isNumber = head.dataset.sort === "number";
  const first = isNumber ? "descending" : "ascending";
  const second = isNumber ? "ascending" : "descending";
  const order = head.ariaSort === first ? second : first;
  const sign = order === "ascending" ? 1 : -1;
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => ({ row, key: sortKey(row.cells[column], isNumber) }));
  rows.sort((a, b) => compare(a.key, b.key, sign));
  body.append(...rows.map(({ row }) => row));
  for (const other of heads) {
    other.ariaSort = other === head ? order : null;
  }
}

function sortKey(cell, isNumber) {
  if (isNumber) {
    return "number" in cell.dataset ? Number(cell.dataset.number) : null;
  }
  return cell.textContent.trim().toLowerCase() || null;
}

// Compare two keys; what is not known comes last in either order.
function compare(a, b, sign) {
  if (a === null || b === null) {
    return (a === null) - (b === null);
  }
  return sign * ((a > b) - (a < b));
}

function makeFilter(table) {
  const rows = [...table.tBodies[0].rows];
  const texts = rows.map((row) => row.dataset.path.toLowerCase());
  const count = make("output", { className: "soft" });
  const input = make("input", { type: "search", autocomplete: "off", spellcheck: false });
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    let shown = 0;
    for (const [number, row] of rows.entries()) {
      row.hidden = !texts[number].includes(wanted);
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = wanted ? `${shown} of ${rows.length}` : "";
  });
  const label = make("label", {}, "Find a store path ", input);
  table.closest(".scroll").before(make("div", { className: "filter" }, label, count));
}

// Bars and treemaps

// Let the arrow keys walk through the segments of a bar, which is one stop of the tab key.
function makeWalkable(bar) {
  const links = [...bar.querySelectorAll("a")];
  bar.addEventListener("keydown", (event) => {
    const to = step(event.key, links.indexOf(document.activeElement), links.length);
    if (to !== null) {
      event.preventDefault();
      for (const link of links) {
        link.tabIndex = link === links[to] ? 0 : -1;
      }
      links[to].focus();
    }
  });
}

// Return where a key leads from a place in a row, or null if it leads nowhere.
function step(key, from, count) {
  switch (key) {
    case "ArrowRight":
    case "ArrowDown":
      return Math.min(from + 1, count - 1);
    case "ArrowLeft":
    case "ArrowUp":
      return Math.max(from - 1, 0);
    case "Home":
      return 0;
    case "End":
      return count - 1;
    default:
      return null;
  }
}

// Make a treemap a list of tiles, which is one stop of the tab key, and say in words what is where.
function makeListbox(map) {
  const tiles = [...map.querySelectorAll(".tiles a")];
  const reading = make("p", { className: "reading soft" }, READING);
  map.after(reading);
  map.removeAttribute("aria-hidden");
  map.setAttribute("role", "listbox");
  map.setAttribute("aria-label", map.dataset.label);
  map.tabIndex = 0;
  for (const part of map.querySelectorAll(".frame, .tiles")) {
    part.setAttribute("role", "presentation");
  }
  for (const head of map.querySelectorAll(".head")) {
    head.ariaHidden = "true";
  }
  for (const tile of tiles) {
    tile.setAttribute("role", "option");
    tile.removeAttribute("tabindex");
    tile.setAttribute("aria-label", tile.dataset.said);
  }
  let active = -1;
  const activate = (number) => {
    tiles[active]?.classList.remove("active");
    active = number;
    tiles[active].classList.add("active");
    map.setAttribute("aria-activedescendant", tiles[active].id);
    reading.textContent = tiles[active].dataset.said;
  };
  map.addEventListener("keydown", (event) => {
    const to = step(event.key, active, tiles.length);
    if (to !== null) {
      event.preventDefault();
      activate(to);
    } else if ((event.key === "Enter" || event.key === " ") && active >= 0) {
      event.preventDefault();
      tiles[active].click();
    }
  });
  map.addEventListener("pointerover", (event) => {
    const tile = event.target.closest(".tiles a");
    if (tile !== null) {
      activate(tiles.indexOf(tile));
    }
  });
}

// References

function makeChoosable(article) {
  const graph = article.querySelector(".graph");
  const map = article.querySelector(".treemap");
  const table = article.querySelector("table.paths");
  if (map !== null) {
    makeListbox(map);
  }
  if (table === null) {
    return;
  }
  makeFilter(table);
  if (graph === null) {
    return;
  }
  const paths = readPaths(table);
  const choose = (key) => {
    if (paths.has(key)) {
      drawGraph(graph, paths, key);
      markTile(map, key);
    }
    return paths.has(key);
  };
  article.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    // With a key held down, a link is opened elsewhere.
    const isPlain = !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
    if (link !== null && isPlain && choose(link.hash.slice(1))) {
      event.preventDefault();
      history.pushState(null, "", link.hash);
      showGraph(graph);
    }
  });
  const first = graph.dataset.key;
  window.addEventListener("popstate", () => choose(location.hash.slice(1)) || choose(first));
  if (choose(location.hash.slice(1))) {
    showGraph(graph);
  } else {
    choose(first);
  }
}

// Return what the rows of a table say of each store path, by the identifier of its row.
function readPaths(table) {
  const columns = [...table.tHead.rows[0].cells].map((head) => head.dataset.key);
  const paths = new Map();
  for (const row of table.tBodies[0].rows) {
    const cells = Object.fromEntries(columns.map((key, number) => [key, row.cells[number]]));
    paths.set(row.id, {
      key: row.id,
      path: row.dataset.path,
      name: cells.title.querySelector("bdi").textContent,
      size: Number(cells.size?.dataset.number ?? 0),
      below: row.dataset.below.split(" ").filter(Boolean),
      above: [],
      through: row.dataset.through ?? null,
      text: (key) => cells[key]?.textContent ?? "?",
    });
  }
  for (const path of paths.values()) {
    for (const key of path.below) {
      paths.get(key).above.push(path.key);
    }
  }
  return paths;
}

// Draw the reference graph around a store path, into the elements that the page has for it.
function drawGraph(graph, paths, key) {
  const path = paths.get(key);
  const chain = [];
  for (let at = key; at !== null; at = paths.get(at).through) {
    chain.unshift(make("li", {}, pathLink(paths.get(at))));
  }
  graph.querySelector(".chain").replaceChildren(...chain);
  graph.querySelector(".self h3 bdi").textContent = path.name;
  graph.querySelector(".self .path").textContent = path.path;
  for (const figure of graph.querySelectorAll("[data-figure]")) {
    figure.textContent = path.text(figure.dataset.figure);
  }
  drawNeighbours(graph.querySelector(".above"), path.above, paths);
  drawNeighbours(graph.querySelector(".below"), path.below, paths);
}

// Fill a column of the graph, the largest store paths first.
function drawNeighbours(column, keys, paths) {
  const found = keys.map((key) => paths.get(key));
  found.sort((a, b) => b.size - a.size || compare(a.path, b.path, 1));
  const items = found.map((path) => make("li", {}, pathLink(path, path.text("size"))));
  const list = column.querySelector("ul");
  column.querySelector(".count").textContent = keys.length;
  list.replaceChildren(...items.slice(0, MOST_SHOWN));
  const more = items.slice(MOST_SHOWN);
  if (more.length > 0) {
    const button = make("button", { type: "button" }, `and ${more.length} more`);
    const last = make("li", { className: "more" }, button);
    button.addEventListener("click", () => {
      last.replaceWith(...more);
      more[0].querySelector("a").focus();
    });
    list.append(last);
  } else if (items.length === 0) {
    list.append(make("li", { className: "more" }, "nothing"));
  }
}

function pathLink(path, figure) {
  const link = make("a", { href: `#${path.key}` }, make("bdi", {}, path.name));
  if (figure !== undefined) {
    link.append(make("small", {}, figure));
  }
  return link;
}

// Bring the graph into view, and the reader with it.
function showGraph(graph) {
  const { top, bottom } = graph.getBoundingClientRect();
  if (top < 0 || bottom > window.innerHeight) {
    graph.closest("section").scrollIntoView({ block: "start" });
  }
  graph.querySelector(".self h3").focus({ preventScroll: true });
}

function markTile(map, key) {
  map?.querySelector("[aria-selected='true']")?.setAttribute("aria-selected", "false");
  map?.querySelector(`.tiles a[href="#${key}"]`)?.setAttribute("aria-selected", "true");
}
