"use strict";
// The link that keeps what was chosen: what differs from the defaults, in the fragment.

function to_link() {
  const { start, noise, defaults } = landscapes[S.problem], query = new URLSearchParams({ problem: S.problem });
  if (S.start.some((v, i) => v !== start[i])) query.set("start", S.start.join(" "));
  if (S.noise !== noise) query.set("noise", S.noise);
  if (S.steps !== 50) query.set("steps", S.steps);
  if (S.seed !== 0) query.set("seed", S.seed);
  query.set("inspect", S.inspect);
  for (const key of DATA.optimizers.map((optimizer) => optimizer.key)) {
    const usual = revive(defaults[key]), own = S.settings[key];
    const changes = Object.keys(SETTINGS).filter((name) => name in own && own[name] !== usual[name]);
    if (S.active.includes(key)) query.set(key, changes.map((name) => `${name}:${own[name]}`).join(" "));
  }
  return `#${query}`;
}

// Whatever a link says that is not understood is left out, and said.
function from_link(fragment) {
  const query = new URLSearchParams(fragment.replace(/^#/, "")), complaints = [];
  const problem = query.get("problem") ?? DATA.problem;
  if (!Object.hasOwn(landscapes, problem)) complaints.push(`problem: ${problem}`);
  const next = fresh(Object.hasOwn(landscapes, problem) ? problem : DATA.problem);
  const accept = (what, text, [, holds], set) => {
    const value = parse_number(text);
    if (holds(value)) set(value);
    else complaints.push(`${what}: ${text}`);
  };
  const active = [];
  for (const [name, text] of query) {
    if (Object.hasOwn(next.settings, name)) {
      active.push(name);
      for (const change of text.split(" ").filter(Boolean)) {
        const [setting, value] = change.split(":"), own = next.settings[name];
        if (!(Object.hasOwn(SETTINGS, setting) && setting in own)) complaints.push(`${name}: ${change}`);
        else accept(`${name} ${setting}`, value ?? "", SETTINGS[setting][2], (v) => (own[setting] = v));
      }
    } else if (Object.hasOwn(RACE_SETTINGS, name)) {
      accept(name, text, RACE_SETTINGS[name][2], (v) => (next[name] = v));
    } else if (name === "start") {
      const point = text.split(" ").map(parse_number), { domain } = landscapes[next.problem];
      if (point.length === 2 && inside(point, domain)) next.start = point;
      else complaints.push(`start: ${text}`);
    } else if (!["problem", "inspect"].includes(name)) complaints.push(name);
  }
  next.active = active.length ? active : [...DATA.active];
  next.inspect = next.active.findLast((key) => key === query.get("inspect")) ?? next.active[next.active.length - 1];
  Object.assign(S, { steps: 50, seed: 0 }, next, { playing: false, hover: null });
  S.time = S.steps;
  show_play();
  show_controls();
  refresh();
  if (complaints.length) say(`Not understood in the link: ${complaints.join(", ")}`);
}

let link_timer = 0;

function keep_link() {
  clearTimeout(link_timer);
  link_timer = setTimeout(write_link, 250); // browsers refuse a hundred changes a second
}

function write_link() {
  clearTimeout(link_timer);
  try {
    history.replaceState(null, "", to_link());
  } catch {
    // in a notebook the page has no address of its own
  }
}

async function share() {
  write_link();
  try {
    await navigator.clipboard.writeText(location.href);
    say("The link is copied");
  } catch {
    say("The link is in the address bar");
  }
}
