// The keys: what each does and how it is called, for the page and for its help.
import { $, element } from "./dom.js";

const NAMES = {
  " ": "Space", "+": "+", escape: "Esc", backspace: "⌫", enter: "Enter", arrowleft: "←", arrowright: "→", arrowup: "↑", arrowdown: "↓", "shift+arrows": "Shift ←↑↓→",
  "ctrl+z": "Ctrl Z", "ctrl+y": "Ctrl Y", "ctrl+shift+z": "Ctrl Shift Z", "shift+ ": "Shift Space", "ctrl+shift+arrows": "Ctrl Shift ←↑↓→",
};

// [group, [[keys, what they do, command, whether it repeats while held], ...], where: the label, the grid or both].
export function keys(page) {
  const { repair, tools, crosshair, grid } = page;
  const zoom = (factor) => () => page.zoom(factor);
  return [
    ["Verdict", [
      [["a"], "accept: the mask is right", () => page.judge("right")],
      [["r"], "reject: the mask is wrong", () => page.judge("wrong")],
      [["f", "enter"], "save the fixed mask, or close the polygon", () => page.save()],
      [["n"], "nothing is there: the mask should be empty", () => page.judgeAs("nothing")],
      [["i"], "the whole image is meant: keep all of it", () => page.judgeAs("everything")],
      [["w"], "the instruction is wrong", () => page.judge("wrong_instruction")],
      [["u"], "unsure", () => page.judge("unsure")],
      [["z", "ctrl+z"], "undo: the last change of the mask, else the last verdict", () => page.undo()],
      [["ctrl+y", "ctrl+shift+z"], "redo a change of the mask", () => repair.redo()],
    ], "label"],
    ["Move on", [
      [["j", "arrowright"], "next label", () => page.go(1)],
      [["k", "arrowleft"], "previous label", () => page.go(-1)],
      [["<", ">"], "one frame back, forward in the episode", (key) => page.visit(page.strip.beside(key === "<" ? -1 : 1))],
      [["y"], "carry the mask that was fixed last to the frames that were carried from it", () => page.carry()],
    ], "label"],
    ["Everywhere", [
      [["l"], "grid of forty labels, or back to one", () => grid.toggleOpen()],
      [["/"], "filter: order, status, source, kind, SQL condition", () => page.filters.open()],
      [["?"], "these keys", () => page.help()],
    ], "both"],
    ["Grid", [
      [["a", "enter"], "accept those that are chosen", () => grid.accept()],
      [["x", " "], "leave one out, or choose it again", () => grid.toggle()],
      [["g"], "all or none", () => grid.toggleAll()],
      [["arrowleft", "arrowright", "arrowup", "arrowdown"], "go to another", (key) => grid.step(key), true],
      [["o"], "look at it alone", () => grid.openOne()],
      [["z", "ctrl+z"], "undo the last accepted, all of them", () => page.undo()],
      [["escape"], "back to one label, the first that was left out", () => grid.toggleOpen()],
    ], "grid"],
    ["Repair", [
      [["s"], "segmenter: a click adds what is there, a drag what is in the box", () => page.choose("add")],
      [["d"], "segmenter: a click takes away what is there", () => page.choose("remove")],
      [["t"], "another thing: the next click is not joined to the ones before", () => tools.another()],
      [["b"], "brush", () => page.choose("brush")],
      [["x"], "eraser", () => page.choose("eraser")],
      [["p"], "polygon: a click a corner; Enter, a double click or the first corner closes it", () => page.choose("polygon")],
      [["v"], "move the picture by dragging", () => page.choose("hand")],
      [["[", "]"], "smaller, larger brush", (key) => page.resize(key === "[" ? 1 / 1.25 : 1.25), true],
      [["e"], "from nothing, or from the label's mask", () => page.restart()],
      [["backspace"], "last change or corner away", () => (tools.corners.length ? tools.dropCorner() : repair.undo())],
      [["escape"], "leave the note; what is begun away; all changes away", () => page.escape()],
      [["shift+arrows"], "move the crosshair, a pointer without a mouse", (key) => page.cross(key, false), true],
      [["ctrl+shift+arrows"], "the same, slowly", (key) => page.cross(key, true), true],
      [[" ", "shift+ "], "use the tool at the crosshair; with Shift its opposite", (key) => crosshair.press(key !== " ")],
    ], "label"],
    ["View", [
      [["m"], "mask", () => page.toggleMask()],
      [["h"], "heatmap of the experts' votes", () => page.toggleHeatmap()],
      [["1", "2", "3", "4", "5", "6", "7", "8", "9"], "an expert's proposal", (key) => page.toggleProposal(Number(key) - 1)],
      [[",", "."], "fainter, stronger tint", (key) => page.tint(key === "," ? -0.1 : 0.1), true],
      [["+", "="], "enlarge, as the mouse wheel does", zoom(1.4), true],
      [["-"], "make smaller", zoom(1 / 1.4), true],
      [["0"], "the whole image", () => page.view.label && page.view.fit()],
      [["q"], "scores and proposals in full", () => page.toggleScores()],
      [["c"], "write a note", () => $("note").focus()],
    ], "label"],
  ];
}

// name of a key -> { command, repeats }, of the keys for one place
export function commands(groups, place) {
  return new Map(groups.filter(([, , where]) => where === "both" || where === place).flatMap(([, rows]) => rows)
    .flatMap(([names, , command, repeats]) => names.flatMap(spread).map((name) => [name, { command, repeats }])));
}

// Listens to the keyboard; `known` gives the commands of the place where the person is, `take` does them.
export function listen(known, line, take) {
  document.addEventListener("keydown", (event) => {
    const target = event.target;
    if (target.matches("input:not([type=range]), select, textarea")) {
      if (event.key === "Escape") { target.blur(); event.preventDefault(); }
      return;
    }
    if (document.querySelector("dialog[open]") || event.altKey) return;
    const name = nameOf(event);
    if (line.failure && (name === "enter" || name === "escape")) {
      if (name === "enter") line.retry(); else line.drop();
      event.preventDefault();
      return;
    }
    const presses = name === " " || (name === "enter" && !target.matches(".tile"));
    if (presses && target.matches("button, a, summary")) return;
    const found = known().get(name);
    if (!found) return;
    event.preventDefault();
    if (event.repeat && !found.repeats) return;
    take(found, name.replace(/^(ctrl\+)?(shift\+)?(?=arrow)/, ""));
  });
}

function spread(name) {
  return name.endsWith("arrows") ? ["left", "right", "up", "down"].map((way) => name.replace("arrows", `arrow${way}`)) : [name];
}

// A letter by its place where the keyboard writes another script.
function nameOf(event) {
  const letter = /^Key[A-Z]$/.test(event.code) && !/^[ -~]$/.test(event.key) ? event.code.slice(3) : event.key;
  const key = letter.toLowerCase();
  const control = event.ctrlKey || event.metaKey ? "ctrl+" : "";
  const shift = event.shiftKey && (control || key === " " || key.startsWith("arrow")) ? "shift+" : "";
  return control + shift + key;
}

export function showHelp(groups) {
  $("help-keys").replaceChildren(...groups.map(([group, rows]) => {
    const box = element("section", "");
    const list = element("dl", "");
    for (const [names, does] of rows) {
      const term = element("dt", "");
      const shown = names.length > 4 ? [names[0], "…", names.at(-1)] : names;
      term.append(...shown.map((name) => (name === "…" ? "–" : element("kbd", NAMES[name] ?? name.toUpperCase().replaceAll("+", " ").trim() ))));
      list.append(term, element("dd", does));
    }
    box.append(element("h2", group), list);
    return box;
  }));
  $("help").showModal();
}
