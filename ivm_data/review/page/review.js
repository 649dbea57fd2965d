"use strict";
// Text from the data set only ever goes through textContent: it may be hostile.
const SECRET = document.querySelector("meta[name=review-secret]").content;
const DRAG = 5; // pixels of the screen from which a click is a box
const VERDICTS = { a: "right", r: "wrong", w: "wrong_instruction", u: "unsure" };
const SCORES = ["quality", "verification", "agreement", "p_yes_kept", "p_yes_complement", "presence", "grounding",
  "predicted_iou", "stability", "area_ratio"];
const $ = (id) => document.getElementById(id);
const state = { items: [], at: 0, label: null, clicks: [], empty: false, drawn: 0, busy: false, start: null };

async function ask(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", body: JSON.stringify(body),
    headers: { "Content-Type": "application/json", "X-Review-Secret": SECRET },
  };
  const response = await fetch(path, options);
  const text = await response.text();
  if (response.ok) return JSON.parse(text);
  let detail = text;
  try { detail = JSON.parse(text).detail; } catch { /* the refusal is plain text */ }
  throw new Error(typeof detail === "string" ? detail : JSON.stringify(detail));
}

function tell(text) {
  $("message").textContent = text;
  $("message").hidden = !text;
}

function guarded(work) {
  return async (...given) => {
    if (state.busy) return;
    state.busy = true;
    try { tell(""); await work(...given); } catch (error) { tell(error.message); } finally { state.busy = false; }
  };
}

function path(item, end = "") {
  return `/api/labels/${encodeURIComponent(item.part)}/${encodeURIComponent(item.sample_id)}${end}`;
}

function show2(value) {
  return value === null || value === undefined ? "–" : value.toFixed(2);
}

function element(name, text, kind) {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function fill(select, values) {
  const chosen = select.value;
  select.replaceChildren(new Option(`any ${select.id}`, ""), ...values.filter(Boolean).map((v) => new Option(v, v)));
  select.value = chosen;
}

function showProgress(told) {
  $("bar").max = Math.max(told.total, 1);
  $("bar").value = told.reviewed;
  $("progress").textContent = `${told.reviewed} of ${told.total} reviewed`;
}

function showAgreement(pairs) {
  const mine = pairs.filter((p) => [p.first, p.second].includes($("reviewer").textContent));
  const texts = mine.map((p) => `κ ${show2(p.kappa)} with ${p.first === $("reviewer").textContent ? p.second : p.first}`);
  $("agreement").textContent = texts.length ? `agreement: ${texts.join(", ")}` : "agreement";
}

async function loadQueue() {
  const asked = new URLSearchParams({ random: $("order").value === "random" });
  for (const name of ["status", "source", "kind"]) asked.set(name, $(name).value);
  const told = await ask(`/api/queue?${asked}`);
  state.items = told.items;
  state.at = 0;
  for (const name of ["status", "source", "kind"]) fill($(name), told.choices[name]);
  showProgress(told);
  showAgreement(told.agreement);
  await open();
}

async function open() {
  const item = state.items[state.at];
  $("stage").hidden = !item;
  if (!item) {
    state.label = null;
    $("instruction").textContent = "Nothing is left to review here.";
    $("facts").replaceChildren();
    $("proposals").replaceChildren();
    $("said").hidden = true;
    document.body.dataset.label = "";
    return;
  }
  state.label = await ask(path(item));
  $("instruction").textContent = state.label.instruction;
  $("note").value = "";
  $("heatmap").hidden = $("proposal").hidden = true;
  $("mask").hidden = false;
  $("image").src = path(item, "/image.jpg");
  $("heatmap").src = state.label.proposals.length ? path(item, "/heatmap.png") : "data:,";
  $("clicks").setAttribute("viewBox", `0 0 ${state.label.width} ${state.label.height}`);
  // A small image is shown large; the browser alone would keep it small.
  $("image").width = state.label.width;
  $("image").style.aspectRatio = `${state.label.width} / ${state.label.height}`;
  $("image").style.width = "auto";
  $("said").textContent = `You said: ${state.label.verdict}`;
  $("said").hidden = !state.label.verdict;
  clearClicks();
  showFacts(item);
  showProposals();
  await $("image").decode().catch(() => {});
  document.body.dataset.label = item.sample_id;
  const next = state.items[state.at + 1];
  if (next) new Image().src = path(next, "/image.jpg");
}

function showFacts(item) {
  const label = state.label;
  const searched = label.searched;
  const rows = [["label", `${state.at + 1} of ${state.items.length}`], ["status", `${label.status} (${label.reason})`],
    ["information", show2(item.information)], ["source", [label.source, label.kind].filter(Boolean).join(", ")], ["looks for", searched]];
  for (const name of SCORES) if (label.scores[name] !== null) rows.push([name, show2(label.scores[name])]);
  $("facts").replaceChildren(...rows.flatMap(([name, text]) => [element("dt", name), element("dd", text)]));
}

function showProposals() {
  $("proposals").replaceChildren(...state.label.proposals.map((proposal, number) => {
    const button = element("button", "");
    button.append(element("kbd", String(number + 1)), ` ${proposal.expert}`,
      element("small", `weight ${show2(proposal.score)}, IoU with label ${show2(proposal.iou_with_label)}`));
    button.onclick = () => toggleProposal(number);
    const row = document.createElement("li");
    row.append(button);
    return row;
  }));
}

function toggleProposal(number) {
  if (!state.label || number >= state.label.proposals.length) return;
  const source = path(state.items[state.at], `/proposal-${number}.png`);
  const shown = !$("proposal").hidden && $("proposal").getAttribute("src") === source;
  $("proposal").src = source;
  $("proposal").hidden = shown;
}

function toggle(id) {
  $(id).hidden = !$(id).hidden;
  $(`toggle-${id}`).classList.toggle("on", !$(id).hidden);
}

function setOpacity(value) {
  $("opacity").value = value;
  for (const id of ["mask", "proposal", "heatmap"]) $(id).style.opacity = $("opacity").value;
}

function clearClicks() {
  state.clicks = [];
  state.empty = false;
  showMask();
}

function drawClicks() {
  const svg = "http://www.w3.org/2000/svg";
  const radius = Math.max(state.label.width, state.label.height) / 90;
  $("clicks").replaceChildren(...state.clicks.map((click) => {
    const shape = document.createElementNS(svg, click.kind === "box" ? "rect" : "circle");
    const sides = click.kind === "box"
      ? { x: Math.min(click.x, click.x1), y: Math.min(click.y, click.y1), width: Math.abs(click.x1 - click.x), height: Math.abs(click.y1 - click.y) }
      : { cx: click.x, cy: click.y, r: radius };
    for (const [name, value] of Object.entries(sides)) shape.setAttribute(name, value);
    shape.setAttribute("class", click.kind);
    return shape;
  }));
}

async function showMask() {
  const item = state.items[state.at];
  const drawn = ++state.drawn; // an answer that comes after a later click is not shown
  const fixing = state.clicks.length > 0 || state.empty;
  document.querySelector("[data-key=f]").disabled = !fixing;
  drawClicks();
  if (!fixing) { $("mask").src = path(item, "/mask.png"); return; }
  try {
    const made = await ask(path(item, "/clicks"), { clicks: state.clicks, empty: state.empty });
    if (drawn !== state.drawn) return;
    $("mask").src = made.png;
    $("mask").hidden = false;
    document.body.dataset.area = made.area;
    tell("");
  } catch (error) { tell(error.message); }
}

async function decide(verdict, corrected = false) {
  if (!state.label) return;
  const fix = corrected ? { corrected, clicks: state.clicks, empty: state.empty } : {};
  showProgress(await ask(path(state.items[state.at], "/review"), { verdict, note: $("note").value, ...fix }));
  await move(1);
}

async function move(by) {
  const next = state.at + by;
  if (next < 0) return;
  if (next >= state.items.length) { await loadQueue(); return; }
  state.at = next;
  await open();
}

async function undo() {
  const told = await ask("/api/undo", {});
  showProgress(told);
  if (!told.undone) { tell("There is nothing to undo."); return; }
  const known = state.items.findIndex((item) => item.sample_id === told.undone.sample_id);
  if (known < 0) state.items.splice(state.at, 0, told.undone);
  else state.at = known;
  await open();
}

const KEYS = {
  z: guarded(undo), j: guarded(() => move(1)), arrowright: guarded(() => move(1)),
  k: guarded(() => move(-1)), arrowleft: guarded(() => move(-1)),
  f: guarded(async () => { if (state.clicks.length || state.empty) await decide("wrong", true); }),
  m: () => toggle("mask"), h: () => toggle("heatmap"),
  "[": () => setOpacity(Number($("opacity").value) - 0.1), "]": () => setOpacity(Number($("opacity").value) + 0.1),
  e: () => { if (state.label) { state.empty = !state.empty; showMask(); } },
  backspace: () => { if (state.label) { state.clicks.pop(); showMask(); } },
  escape: () => { if (state.label) clearClicks(); },
};
for (const [key, verdict] of Object.entries(VERDICTS)) KEYS[key] = guarded(() => decide(verdict));
KEYS.enter = KEYS.f;

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.target.matches("#note, select")) return;
  const key = event.key.toLowerCase();
  if (/^[1-9]$/.test(key)) toggleProposal(Number(key) - 1);
  else if (KEYS[key]) KEYS[key]();
  else return;
  event.preventDefault();
});

function where(event) {
  const box = $("image").getBoundingClientRect();
  const inside = (value, most) => Math.min(Math.max(value, 0), most);
  return {
    x: inside((event.clientX - box.left) / box.width * state.label.width, state.label.width),
    y: inside((event.clientY - box.top) / box.height * state.label.height, state.label.height),
  };
}

$("stage").addEventListener("contextmenu", (event) => event.preventDefault());
$("stage").addEventListener("pointerdown", (event) => {
  if (!state.label) return;
  state.start = { ...where(event), screen: [event.clientX, event.clientY] };
  $("stage").setPointerCapture(event.pointerId);
});
$("stage").addEventListener("pointerup", (event) => {
  const start = state.start;
  state.start = null;
  if (!start || !state.label) return;
  const away = event.button === 2 || event.shiftKey;
  const far = Math.hypot(event.clientX - start.screen[0], event.clientY - start.screen[1]) > DRAG;
  const end = where(event);
  if (far && !away) state.clicks.push({ kind: "box", x: start.x, y: start.y, x1: end.x, y1: end.y });
  else state.clicks.push({ kind: away ? "remove" : "add", x: end.x, y: end.y });
  showMask();
});

for (const button of document.querySelectorAll("[data-key]")) {
  button.onclick = () => { button.blur(); KEYS[button.dataset.key](); };
}
$("toggle-mask").onclick = KEYS.m;
$("toggle-heatmap").onclick = KEYS.h;
$("opacity").oninput = () => setOpacity($("opacity").value);
for (const id of ["order", "status", "source", "kind"]) {
  $(id).onchange = guarded(async () => { $(id).blur(); await loadQueue(); });
}
setOpacity(0.5);
guarded(loadQueue)();
