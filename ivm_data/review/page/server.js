// Asks the server. What changes something brings the page's secret along.
const SECRET = document.querySelector("meta[name=review-secret]").content;

export async function ask(path, body, signal) {
  return (await answer(path, body, signal)).json();
}

export async function picture(path) {
  return createImageBitmap(await (await answer(path)).blob());
}

export async function inlinePicture(data) {
  const image = new Image();
  image.src = data;
  await image.decode();
  return image;
}

export function labelPath(item, end = "") {
  return `/api/labels/${encodeURIComponent(item.part)}/${encodeURIComponent(item.sample_id)}${end}`;
}

async function answer(path, body, signal) {
  const options = body === undefined ? { signal } : {
    method: "POST", body: JSON.stringify(body), signal,
    headers: { "Content-Type": "application/json", "X-Review-Secret": SECRET },
  };
  const response = await fetch(path, options).catch(() => {
    throw new Error("The server does not answer. Is 'ivm review' still running?");
  });
  if (response.ok) return response;
  const text = await response.text();
  let detail = text;
  try { detail = JSON.parse(text).detail; } catch { /* the refusal is plain text */ }
  throw new Error(typeof detail === "string" ? detail : JSON.stringify(detail));
}
