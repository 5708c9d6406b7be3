// The list: its pages, the search by name, what changes elsewhere, and what becomes of pictures that are being made.
const POLLS = 6, LISTED = 200, PAGE = 48, LARGEST = 1000, REFRESH = 30, ARRIVAL = 300;
// ARRIVAL: for so many seconds, S3 may have a file whose record is yet to come: the presigned upload has taken longer than its time.
// In seconds: how long the URLs of thumbnails are valid. Where a download ends a picture, there are none.
const URLS = expiresAfterDownload ? "" : "urls=900";
// next: the query of the next page; listed: whether a page has come.
let next = "", loads = 0, listed = false, lastRefresh = 0;

async function load(query) {
  const turn = ++loads, stop = {};
  const current = () => turn === loads;
  const busy = (text, skippable) => {
    if (!current()) return;
    $("loading").hidden = !text;
    $("loading").textContent = text;
    $("again").hidden = !skippable;
    $("again").textContent = "Try now";
    $("again").onclick = () => stop.skip?.();
  };
  $("more").disabled = true;
  $("trouble").textContent = "";
  $("empty").hidden = true;
  const asking = () => busy("Loading the pictures");
  const slow = setTimeout(() => busy("Still loading; the service is slow to answer"), 5000);
  asking();
  try {
    const {headers, content} = await patiently(() => { asking(); return api(query || `?limit=${PAGE}&${URLS}`); }, (left, error) => {
      clearTimeout(slow);
      busy(`${error.status ? error.message : "The service cannot be reached."} Trying again in ${left} s`, true);
    }, stop);
    if (!current()) return;
    const fresh = content.filter(record => !cards.has(record.id)).map(record => put(record, null));
    // Below the page's own path: where an emulator shows it, the API does not know all of its own.
    next = /<[^>?]*(\?[^>]*)>;\s*rel="?next/.exec(headers.get("Link"))?.[1] ?? "";
    listed = true;
    lastRefresh = Date.now();
    busy("");
    filter();
    if (query && !$("find").value) fresh[0]?.item.focus();
    return true;
  } catch (error) {
    if (!current()) return;
    busy("");
    // Without a sign-in, the way in says why.
    $("trouble").textContent = error.status === 401 ? "" : error.message;
    $("again").hidden = error.status === 401;
    $("again").textContent = "Try again";
    $("again").onclick = () => load(query);
    if (error.status !== 401) tell("alert", error.message);
  } finally {
    clearTimeout(slow);
    $("more").disabled = false;
  }
}
$("more").onclick = () => load(next);
addEventListener("online", () => { if ($("trouble").textContent) $("again").click(); });

function put(record, before) {
  const card = new Card(record.filename, before);
  card.show(record);
  return card;
}

function showEmpty() { $("empty").hidden = !listed || next !== "" || $("grid").firstElementChild !== null; }

// Search: without regard to case and accents, in all pages of the list.
const fold = text => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
function filter() {
  const term = fold($("find").value.trim());
  let shown = 0;
  for (const card of cards.values()) {
    const hidden = card.item.hidden = !fold(card.name).includes(term);
    if (hidden && picked.has(card)) card.choose(false);
    shown += !hidden;
  }
  $("find").hidden = cards.size <= 6 && !next && !term;
  $("more").hidden = !next || term !== "";
  showEmpty();
  $("found").hidden = !term;
  $("found").textContent = `${shown ? shown.toLocaleString("en") : "None"} of ${pictures(cards.size)} found${next ? ", searching on" : ""}.`;
  showSelection();
  return term;
}
let typed;
$("find").oninput = () => {
  clearTimeout(typed);
  typed = setTimeout(async () => {
    const term = filter(), all = () => next.replace(/limit=\d+/, `limit=${LARGEST}`);
    while (next && term && term === filter() && await load(all()));
    if (term && term === filter()) tell("status", $("found").textContent);
  }, 200);
};

// A quiet refresh: pictures of other tabs and clients come, deleted ones go, changed ones are shown anew.
async function refresh() {
  if (!listed || document.hidden || !navigator.onLine || !$("access").hidden || $("trouble").textContent || Date.now() - lastRefresh < REFRESH * 900) return;
  lastRefresh = Date.now();
  const before = new Set(cards.keys()), turn = loads;
  const reply = await api(`?limit=${Math.min(LARGEST, Math.max(PAGE, cards.size))}`).catch(() => {});
  if (!reply || turn !== loads) return;
  // URLs for what is new only, which is in the newest page, mostly.
  const fresh = URLS && reply.content.some(({id, ready}) => ready && !cards.get(id)?.record.ready) ? (await api(`?limit=${PAGE}&${URLS}`).catch(() => {}))?.content ?? [] : [];
  if (turn !== loads) return;
  const urls = new Map(fresh.map(record => [record.id, record]));
  const records = reply.content.map(record => urls.get(record.id) ?? record), there = new Set(records.map(record => record.id)), complete = !reply.headers.get("Link");
  // From the oldest on: each new one is put before the one that follows it in the list; what is older than all that is shown, is on a page to come.
  let after = null;
  for (const record of records.toReversed()) {
    const card = cards.get(record.id);
    if (card && !card.left) {
      after = card.item;
      const {ready, error, size} = card.record;
      if (card.deleting || card.held) continue;
      if (ready !== record.ready || error !== record.error || size?.thumbnail !== record.size.thumbnail) card.show(record); else if (!ready) card.record = record;
    } else if (after || !next || !cards.size) after = put(record, after).item;
  }
  filter();
  // Missing in the part of the list that has come, or in no list (a ticket's, before its file has come)? The record tells.
  const last = complete ? null : cards.get(records.at(-1)?.id)?.item;
  for (const id of before) {
    const card = cards.get(id), within = !last || card && last.compareDocumentPosition(card.item) & Node.DOCUMENT_POSITION_PRECEDING;
    if (!there.has(id) && card && within && !card.deleting && !card.ended && !pending.has(card)) downloading(() => api(`/${id}`)).catch(error => { if (error.status === 404) card.vanish(); });
  }
}
setInterval(refresh, REFRESH * 1000);

// Polling: ever slower while nothing happens, and not in a tab that is hidden. Of many, one list tells; tickets are in no list.
let pace = 1, timer, busy = false;
function watch(card) { pending.add(card); pace = 1; plan(pace); }
function plan(wait) {
  clearTimeout(timer);
  if (pending.size && !document.hidden && $("access").hidden) timer = setTimeout(poll, wait * 1000);
}
async function poll() {
  if (busy) return;
  busy = true;
  pace = Math.min(pace * 1.5, 15);
  let wait = 0, asked = 0;
  const known = new Map(), told = error => { if (!error.repeatable) throw error; wait = Math.max(wait, error.wait ?? 0); };
  if (pending.size > POLLS) await api(`?limit=${LISTED}&${URLS}`).then(({content}) => content.forEach(one => known.set(one.id, one)), told).catch(() => {});
  await Promise.all([...pending].map(async card => {
    const id = card.record.id;
    if (!known.has(id) && (wait || asked++ >= POLLS)) return;
    try {
      const {content: record, headers} = known.has(id) ? {content: known.get(id)} : await api(`/${id}?${URLS}`);
      wait = Math.max(wait, parseInt(headers?.get("Retry-After")) || 0);
      if (card.left || card.deleting) return;
      if (!record.ready && !record.error) { card.record = record; return; }
      pace = 1;
      card.show(record);
    } catch (error) {
      if (error.status === 404 && Date.now() - card.sent < ARRIVAL * 1000) return;
      if (error.status === 404) return card.file ? (pending.delete(card), card.fail(new Refusal(404, "The service does not have it any more; send it again."))) : card.leave();
      try { told(error); } catch { pending.delete(card); card.fail(error); }
    }
  }));
  busy = false;
  plan(Math.max(pace, wait));
}
document.addEventListener("visibilitychange", () => { pace = 1; plan(0); refresh(); });

// Without an icon of its own, the browser would ask for one where there is none.
document.head.append(make("link", {rel: "icon", href: URL.createObjectURL(new Blob(
  ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><path fill="#1f5fbf" d="M0 8l3-6 2 3 1-1 2 4z"/></svg>'],
  {type: "image/svg+xml"},
))}));
finishSignIn().then(problem => { if (!problem) load(""); });
