// Marks on the canvas whose lines have the same width however much the picture is enlarged.
export const GREEN = "#22c55e";
export const RED = "#ef4444";

export function lines(pen, scale, path, colour) {
  for (const [stroke, thick] of [["#000", 4], [colour, 2]]) {
    Object.assign(pen, { strokeStyle: stroke, lineWidth: thick / scale });
    pen.stroke(path);
  }
}

export function ring(pen, scale, [x, y], radius, colour) {
  const path = new Path2D();
  path.arc(x, y, radius, 0, 2 * Math.PI);
  lines(pen, scale, path, colour);
}

export function dot(pen, scale, [x, y], colour) {
  pen.beginPath();
  pen.arc(x, y, 5 / scale, 0, 2 * Math.PI);
  Object.assign(pen, { fillStyle: colour, strokeStyle: "#fff", lineWidth: 2 / scale });
  pen.fill();
  pen.stroke();
}

export function frame(pen, scale, [[x0, y0], [x1, y1]], colour) {
  const path = new Path2D();
  path.rect(Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0));
  lines(pen, scale, path, colour);
}
