/** What a visitor takes along: files, and a picture of the page's canvases. */

/**
 * @param {string} name
 * @param {Uint8Array} bytes
 */
export function download(name, bytes) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes.slice().buffer]));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** @param {HTMLElement} figure */
function captionOf(figure) {
  const caption = /** @type {HTMLElement | null} */ (figure.querySelector("figcaption:not([hidden])"));
  return (caption?.querySelector("i") && caption.dataset.plain) || (caption?.textContent ?? "");
}

/**
 * Save all visible pictures as one PNG, with their captions.
 * @param {Document} page
 * @param {string} title
 */
export function picture(page, title) {
  const figures = [...page.querySelectorAll("figure")].filter((figure) => !figure.hidden && figure.querySelector("canvas"));
  const size = 320;
  const across = 6;
  const rows = Math.ceil(figures.length / across);
  const sheet = page.createElement("canvas");
  sheet.width = across * (size + 16) + 16;
  sheet.height = rows * (size + 40) + 56;
  const pen = /** @type {CanvasRenderingContext2D} */ (sheet.getContext("2d"));
  const style = getComputedStyle(page.body);
  pen.fillStyle = style.backgroundColor;
  pen.fillRect(0, 0, sheet.width, sheet.height);
  pen.fillStyle = style.color;
  pen.font = "600 20px system-ui, sans-serif";
  pen.fillText(title, 16, 34);
  pen.font = "15px system-ui, sans-serif";
  figures.forEach((figure, i) => {
    const [x, y] = [16 + (i % across) * (size + 16), 56 + Math.floor(i / across) * (size + 40)];
    pen.fillText(captionOf(figure).trim().replace(/\s+/g, " "), x, y + 14);
    pen.drawImage(/** @type {HTMLCanvasElement} */ (figure.querySelector("canvas")), x, y + 22, size, size);
  });
  sheet.toBlob(async (blob) => blob && download("flow.png", new Uint8Array(await blob.arrayBuffer())));
}
