// Keeps a page up to date: whatever happens in the ledger, the page is asked for anew and its changing parts are put in. Without
// it the page is the same, as of when it was loaded.

const parts = ["board", "state"];
const pause = 250;
let timer;
let asking = false;
let again = false;

const state = () => document.getElementById("state");

function say(text) {
  const place = state();
  place.classList.toggle("stale", text !== "");
  const said = place.querySelector(".said") ?? place.appendChild(document.createElement("span"));
  said.className = "said";
  said.textContent = text;
}

// Nobody loses what they are writing.
const filling = () => document.querySelector("#board details.act[open], #board form:focus-within");

async function refresh() {
  if (asking) {
    again = true;
    return;
  }
  if (filling()) {
    say(", held while a form is open");
    soon(2000);
    return;
  }
  asking = true;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (answer.redirected) {
      location.reload();
      return;
    }
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const id of parts) {
      const [old, fresh] = [document.getElementById(id), page.getElementById(id)];
      if (!old || !fresh || old.isEqualNode(fresh)) continue;
      const [left, top] = [old.querySelector(".board")?.scrollLeft ?? 0, scrollY];
      old.replaceWith(document.adoptNode(fresh));
      fresh.querySelector(".board")?.scrollTo({ left, behavior: "instant" });
      scrollTo({ top, behavior: "instant" });
    }
    document.title = page.title;
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
const stream = new EventSource(`${base}/api/v1/events/stream`);
stream.onopen = () => soon(0);
stream.onmessage = () => soon();
stream.onerror = () => say(", reconnecting");
// Ages grow though nothing happens.
setInterval(() => document.hidden || soon(), 60000);
document.addEventListener("visibilitychange", () => document.hidden || soon(0));
