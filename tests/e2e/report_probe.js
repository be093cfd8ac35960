// Looks at the page in the frame: what reaches beyond its right edge, which cells are too narrow for
// their text, and which text is too faint to read (contrast below 4.5, as WCAG 2 level AA asks for). The answer is JSON in an element `answer`.
"use strict";

const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

// [red, green, blue, alpha] of any CSS colour.
function channels(colour) {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1);
  return canvas.getImageData(0, 0, 1, 1).data;
}

function luminance(colour) {
  const [red, green, blue] = Array.from(channels(colour)).map((channel) => {
    const share = channel / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function background(view, element) {
  for (let at = element; at; at = at.parentElement) {
    const colour = view.getComputedStyle(at).backgroundColor;
    if (channels(colour)[3] > 0) return colour;
  }
  return "white";
}

function contrast(one, other) {
  const [less, more] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (more + 0.05) / (less + 0.05);
}

function saysSomething(element) {
  return Array.from(element.childNodes).some((node) => node.nodeType === 3 && node.data.trim());
}

// Charts reach beyond their cells by a circle's radius; what is cut with an ellipsis is so on purpose.
function isTooNarrow(style, element) {
  return /^(TH|TD|DT|DD|FIGCAPTION|SUMMARY|P)$/.test(element.tagName) &&
    style.overflowX === "visible" && !element.querySelector("svg, .bound-label") &&
    element.scrollWidth > element.clientWidth + 1;
}

document.getElementById("frame").onload = (event) => {
  const view = event.target.contentWindow;
  const page = view.document;
  const found = { width: page.documentElement.scrollWidth, beyond: [], narrow: [], faint: [], texts: 0 };
  for (const element of page.body.querySelectorAll("*")) {
    const name = `${element.tagName}.${element.getAttribute("class")} ${element.textContent.slice(0, 40)}`;
    const box = element.getBoundingClientRect();
    // What is wide scrolls by itself.
    if (!element.closest(".scroll > *") && box.right > view.innerWidth + 0.5) found.beyond.push(name);
    const style = view.getComputedStyle(element);
    if (isTooNarrow(style, element)) found.narrow.push(name);
    if (element.closest("svg") || !saysSomething(element) || parseFloat(style.fontSize) === 0) continue;
    found.texts += 1;
    const ratio = contrast(style.color, background(view, element));
    if (ratio < 4.5) found.faint.push(`${ratio.toFixed(2)} ${name}`);
  }
  found.dark = luminance(view.getComputedStyle(page.body).backgroundColor) < 0.2;
  const answer = document.createElement("pre");
  answer.id = "answer";
  answer.textContent = JSON.stringify(found);
  document.body.append(answer);
};
