// What stands beside the picture: the label's facts, the experts' proposals, how far the review is.
import { $, element, show2 } from "./dom.js";

const SCORES = ["quality", "verification", "agreement", "p_yes_kept", "p_yes_complement", "presence", "grounding",
  "predicted_iou", "stability", "area_ratio", "consistency"];
const SAID = { right: "right", wrong: "wrong", wrong_instruction: "wrong instruction", unsure: "unsure" };

export function showLabel({ item, about }, at, count) {
  $("instruction").textContent = about.instruction;
  $("place").textContent = `${at + 1} of ${count}`;
  $("status-now").textContent = about.status.replace("_", " ");
  $("quality").textContent = `quality ${show2(about.scores.quality)}`;
  $("said").textContent = about.verdict ? `You said: ${SAID[about.verdict]}` : "";
  $("said").hidden = !about.verdict;
  const rows = [["reason", about.reason], ["looks for", about.searched], ["source", [about.source, about.kind].filter(Boolean).join(", ")],
    ...(about.frame === null ? [] : [["frame", `${about.frame} of ${[about.episode, about.camera].filter(Boolean).join(", ")}`]]),
    ["information", show2(item.information)]];
  for (const name of SCORES) if (about.scores[name] !== null) rows.push([name, show2(about.scores[name])]);
  $("facts").replaceChildren(...rows.flatMap(([name, text]) => [element("dt", name), element("dd", text)]));
}

export function showNothing() {
  $("instruction").textContent = "Nothing is left to review here.";
  for (const id of ["place", "status-now", "quality"]) $(id).textContent = "";
  $("facts").replaceChildren();
  $("proposals").replaceChildren();
  $("said").hidden = true;
}

export function showProposals({ about }, toggle) {
  $("proposals").replaceChildren(...about.proposals.map((proposal, number) => {
    const button = element("button", "");
    button.append(element("kbd", String(number + 1)), element("span", proposal.expert, "name"), element("span", show2(proposal.score), "score"));
    button.title = `${proposal.expert}: weight ${show2(proposal.score)}, IoU with label ${show2(proposal.iou_with_label)}`;
    button.onclick = () => toggle(number);
    const row = element("li", "");
    row.append(button);
    return row;
  }));
}

export function markProposal(number) {
  [...$("proposals").querySelectorAll("button")].forEach((button, i) => button.setAttribute("aria-pressed", i === number));
}
