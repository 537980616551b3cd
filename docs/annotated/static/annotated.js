// Conveniences only: cards on symbols, a symbol's other places lit up, and a switch between light and dark, which is the
// one of the site around (furo's). Without this the links, and titles on them, say the same.
"use strict";

const theme = document.getElementById("theme");
theme.hidden = false;
theme.addEventListener("click", () => {
  const now = document.documentElement.dataset.theme || (dark.matches ? "dark" : "light");
  const next = now === "dark" ? "light" : "dark";
  try { localStorage.setItem("theme", next); } catch { /* a file: page may be refused storage */ }
  show(next);
});

const card = document.createElement("aside");
card.id = "card";
card.hidden = true;
document.body.append(card);
let lit = [];

const open = (link) => {
  close();
  const { key } = link.dataset;
  if (link.title) { link.dataset.said = link.title; link.removeAttribute("title"); }
  lit = [...document.querySelectorAll(`[data-key="${CSS.escape(key)}"]`)];
  lit.forEach((other) => other.classList.add("lit"));
  if (!(key in CARDS)) return;
  card.innerHTML = CARDS[key];
  card.hidden = false;
  const at = link.getBoundingClientRect(), size = card.getBoundingClientRect();
  const left = Math.max(8, Math.min(at.left, innerWidth - size.width - 12));
  const below = at.bottom + 8 + size.height < innerHeight;
  card.style.left = `${left + scrollX}px`;
  card.style.top = `${(below ? at.bottom + 8 : at.top - size.height - 8) + scrollY}px`;
};
const close = () => {
  card.hidden = true;
  lit.forEach((other) => other.classList.remove("lit"));
  lit = [];
};
const link_of = (event) => event.target.closest?.(".symbol");
document.addEventListener("pointerover", (event) => event.pointerType === "mouse" && link_of(event) && open(link_of(event)));
document.addEventListener("pointerout", (event) => link_of(event) && close());
document.addEventListener("focusin", (event) => link_of(event) && open(link_of(event)));
document.addEventListener("focusout", close);
document.addEventListener("keydown", (event) => event.key === "Escape" && close());
