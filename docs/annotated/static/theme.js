// Light or dark, as was last chosen here or on the site around (furo keeps it so). It runs before anything is drawn: a page
// that is dark is never light first.
"use strict";

const dark = matchMedia("(prefers-color-scheme: dark)");
const show = (choice) => {
  document.documentElement.dataset.theme = choice === "auto" ? "" : choice;
};
const kept = () => {
  try { return localStorage.getItem("theme") || "auto"; } catch { return "auto"; }
};
show(kept());
