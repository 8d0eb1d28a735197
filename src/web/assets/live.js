// Keeps a page up to date: whatever happens in the ledger, the page is asked for anew and what has changed is put in. Without it
// the page is the same, as of when it was loaded. Idiomorph, which this file is served behind, leaves alone what has not changed:
// where one is, what one has selected and typed, and how far one has scrolled.

const pause = 250;
const retry = 3000;
let timer;
let stream;
let asking = false;
let again = false;
// What tells what is shown from what it was.
let tag = "";

function say(text) {
  const place = document.getElementById("state");
  if (!place) return;
  place.classList.toggle("stale", text !== "");
  place.querySelector(".said").textContent = text;
}

// What somebody types, and what they have unfolded, stays as it is.
const isTouched = (node) =>
  node instanceof HTMLFormElement && [...node.elements].some((field) => field === document.activeElement || isEdited(field));
const isEdited = (field) =>
  field instanceof HTMLSelectElement
    ? [...field.options].some((option) => option.selected !== option.defaultSelected && option.defaultSelected)
    : field.defaultValue !== undefined && field.value !== field.defaultValue;
const callbacks = {
  beforeNodeMorphed: (old) => !isTouched(old),
  beforeNodeRemoved: (old) => !isTouched(old) && ![...(old.querySelectorAll?.("form") ?? [])].some(isTouched),
  beforeAttributeUpdated: (name, node) => !(name === "open" && node instanceof HTMLDetailsElement),
};

// The same is still to be seen, as of now.
function confirm(now) {
  const time = document.querySelector("#state time");
  time.dateTime = now.toISOString();
  time.textContent = `${time.dateTime.slice(0, 19).replace("T", " ")} UTC`;
  inZone(time.parentElement);
  say("");
}

// Who types something while the session ends keeps it, and signs in elsewhere.
function signedOut() {
  if ([...document.forms].some(isTouched)) say(", your session has ended: sign in in another tab");
  else location.reload();
}

async function show(answer) {
  tag = answer.headers.get("etag") ?? "";
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  inZone(page);
  Idiomorph.morph(document.getElementById("main"), page.getElementById("main"), { callbacks });
  document.title = page.title;
  const icon = document.querySelector("link[rel=icon]");
  const fresh = page.querySelector("link[rel=icon]");
  if (icon && fresh && icon.getAttribute("href") !== fresh.getAttribute("href")) icon.replaceWith(document.adoptNode(fresh));
}

async function refresh() {
  if (asking) {
    again = true;
    return;
  }
  asking = true;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html", "if-none-match": tag } });
    if (answer.redirected) {
      signedOut();
      return;
    }
    if (answer.status === 304) confirm(new Date(answer.headers.get("date") ?? Date.now()));
    else if (answer.ok) await show(answer);
    else if (answer.status < 500) say(", what is asked for cannot be shown");
    else throw new Error(String(answer.status));
    if (stream?.readyState !== EventSource.OPEN) say(", reconnecting");
  } catch {
    say(", the server does not answer");
    again = true;
  } finally {
    asking = false;
    if (again) {
      again = false;
      soon(2000);
    }
  }
}

function soon(wait = pause) {
  clearTimeout(timer);
  timer = setTimeout(refresh, wait);
}

const base = new URL(import.meta.url).pathname.replace(/\/assets\/[^/]*$/, "");
// The service that the page is about, if it is about one: what happens to others changes nothing on it.
const about = location.pathname.slice(base.length).match(/^\/services\/([^/]+)/)?.[1];
const concerns = ({ kind, service }) => kind !== "stream.began" && !(about && service && service !== about);

// A browser opens only a few connections to a server, so that a page that nobody sees holds none. One whose stream was refused,
// as by a proxy while the server was away, asks for another.
function follow() {
  stream?.close();
  if (document.hidden) return;
  const mine = new EventSource(`${base}/api/v1/events/stream`);
  stream = mine;
  mine.onopen = () => soon(0);
  mine.onmessage = ({ data }) => concerns(JSON.parse(data)) && soon();
  mine.onerror = () => {
    say(", reconnecting");
    if (mine.readyState === EventSource.CLOSED) setTimeout(() => mine === stream && follow(), retry);
  };
}

// What is typed into a filter confines the page at once, and its address with it.
function confine({ target }) {
  const form = target.form;
  if (!form?.matches("[data-typed]")) return;
  const asked = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ""));
  history.replaceState(null, "", form.getAttribute("action") + (asked.size ? `?${asked}` : ""));
  soon();
}

if (document.querySelector("main[data-live]")) {
  follow();
  // Ages grow though nothing happens.
  setInterval(() => document.hidden || soon(), 60000);
  document.addEventListener("visibilitychange", () => {
    follow();
    if (!document.hidden) soon(0);
  });
  document.addEventListener("input", confine);
}
