// Small helpers. Text from the data set only ever goes through textContent: it may be hostile.
export const $ = (id) => document.getElementById(id);

export function element(name, text, kind) {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

export function show2(value) {
  return value === null || value === undefined ? "–" : value.toFixed(2);
}

export function tell(text) {
  $("message-text").textContent = text;
  $("message").hidden = !text;
  $("retry").hidden = $("drop").hidden = true;
}
