// A card for each picture: what is known of it, and what can be done with it.
const cards = new Map(), pending = new Set(), refused = new Set(), stalled = new Set(), picked = new Set();
const downloading = limited(4), removing = limited(4);

// Thumbnails are asked for when their cards come into view.
const cardOf = new WeakMap();
const inView = new IntersectionObserver(entries => {
  for (const {isIntersecting, target} of entries) if (isIntersecting) {
    inView.unobserve(target);
    cardOf.get(target).appear();
  }
}, {rootMargin: "300px"});

class Card {
  constructor(name, before) {
    this.item = $("card").content.firstElementChild.cloneNode(true);
    [this.frame, this.label, this.note, this.bar, this.acts, this.pick] = this.item.children;
    this.box = this.pick.firstElementChild;
    this.name = this.label.textContent = this.label.title = plain(name);
    this.bar.ariaLabel = `Upload of ${this.name}`;
    this.box.ariaLabel = `Select ${this.name}`;
    this.box.onchange = () => this.choose(this.box.checked);
    this.removal = ["Delete", () => remove([this])];
    cardOf.set(this.item, this);
    $("grid").insertBefore(this.item, before);
    $("empty").hidden = true;
  }

  state(text, sign = "", bad = false) {
    this.bar.hidden = true;
    this.note.textContent = text;
    this.note.classList.toggle("bad", bad);
    this.frame.dataset.sign = sign;
  }

  offer(...acts) {
    const focused = this.acts.contains(document.activeElement);
    this.acts.replaceChildren(...acts.map(([textContent, act]) => {
      const link = typeof act === "string";
      return make(link ? "a" : "button", {
        textContent, ariaLabel: `${textContent} ${this.name}`, ...(link ? {href: act, download: this.saved, className: "button"} : {onclick: act}),
      });
    }));
    if (focused) this.acts.querySelector("a, button")?.focus();
  }

  choose(on) {
    this.box.checked = on;
    if (on) picked.add(this); else picked.delete(this);
    showSelection();
  }

  // `again` is what a person, or a connection that comes back, repeats.
  fail(error, again) {
    if (this.left) return;
    this.state(error.message, "!", true);
    tell("alert", `${this.name}: ${error.message}`);
    this.again = error.repeatable ? again : undefined;
    if (this.again) stalled.add(this);
    if (this.again && error.status === 401) refused.add(this);
    this.offer(...(this.again ? [["Try again", () => this.repeat()]] : []), this.record ? this.removal : ["Dismiss", () => this.cancel()]);
  }

  repeat() {
    stalled.delete(this);
    refused.delete(this);
    this.again?.();
  }

  // Showing a record.
  show(record) {
    if (this.left || this.deleting) return;
    const before = cards.get(record.id), {thumbnail} = this.record?.size ?? {};
    if (before && before !== this) before.leave();
    cards.set(record.id, this);
    this.record = record;
    this.pick.hidden = false;
    if (this.image && (!record.ready || record.size.thumbnail !== thumbnail)) this.forgetImage();
    pending.delete(this);
    showSelection();
    if (record.error) {
      this.state(record.error, "!", true);
      this.tellDate();
      if (this.file) tell("alert", `${this.name}: ${record.error}`);
      this.offer(this.removal);
    } else if (!record.ready) {
      this.state("The thumbnail is being made", "\u2026");
      this.offer(this.removal);
      return watch(this);
    } else if (this.image) {
      this.facts();
      return this.offer(["Download", this.image.src], this.removal);
    } else if (endsByDownload) {
      this.state("Showing it starts its end.");
      this.tellDate();
      this.offer(["Show", () => this.load()], this.removal);
    } else {
      this.facts();
      this.offer(this.removal);
    }
    inView.observe(this.item);
  }

  // It is in view.
  async appear() {
    if (this.record?.ready && !endsByDownload) return this.load();
    // Only to learn the date; without an answer there is none.
    try { this.dated((await api(`/${this.record.id}`, {method: "HEAD"})).headers); } catch {}
  }

  dated(headers) {
    const date = new Date(headers.get("Last-Modified") ?? NaN);
    if (isNaN(date)) return;
    this.date = date;
    if (!this.left && !this.deleting && !pending.has(this)) this.tellDate();
  }

  tellDate() {
    if (!this.date || this.note.querySelector("[data-date]")) return;
    const textContent = this.date.toLocaleString(undefined, {dateStyle: "medium", timeStyle: "short"}), time = make("time", {dateTime: this.date.toISOString(), textContent});
    time.dataset.date = "";
    this.note.prepend(time, make("br"));
  }

  facts() {
    const {size, expires} = this.record;
    this.state(`${bytes(size.original)} \u2192 ${bytes(size.thumbnail)}`);
    this.tellDate();
    if (!expires) return;
    const textContent = new Date(expires).toLocaleString(undefined, {dateStyle: "medium", timeStyle: "short"});
    this.note.append(make("br"), "Kept until ", make("time", {dateTime: expires, textContent}));
  }

  // One request, however often it is asked for while it runs.
  load() { return this.loading ??= this.download().finally(() => { this.loading = undefined; }); }

  async download() {
    const path = `/${this.record.id}`;
    try {
      this.facts();
      this.offer(this.removal);
      const get = () => api(`${path}/download`, {type: "image/jpeg", headers: {Accept: "image/jpeg"}, cache: "default"});
      const say = left => { this.note.textContent = `The thumbnail cannot be had; trying again in ${left} s`; };
      const {headers, content} = await downloading(() => patiently(get, say, this));
      if (this.left) return;
      this.saved = decodeURIComponent(/filename\*=UTF-8''(\S+)/.exec(headers.get("Content-Disposition"))?.[1] ?? "thumbnail.jpg");
      this.image = make("img", {src: URL.createObjectURL(content), alt: `Thumbnail of ${this.name}`});
      this.frame.replaceChildren(this.image);
      this.dated(headers);
      if (endsByDownload) this.record = (await api(path)).content;
      if (this.file) tell("status", `The thumbnail of ${this.name} is ready.`);
    } catch (error) {
      if (error.status === 404) return this.leave();
      if (!this.image) return this.fail(error, () => this.load());
    }
    if (!this.left && !this.deleting) {
      this.facts();
      this.offer(["Download", this.image.src], this.removal);
    }
  }

  forgetImage() {
    URL.revokeObjectURL(this.image.src);
    this.image = undefined;
    this.frame.replaceChildren();
  }

  // Deletes the picture. Returns the error that has kept it; the card is then as before, and says so.
  async delete() {
    this.deleting = true;
    for (const act of this.acts.children) act.disabled = true;
    this.note.textContent = "Being deleted";
    const say = left => { this.note.textContent = `Not deleted yet; trying again in ${left} s`; };
    try {
      await removing(() => removed(this.record.id, say));
    } catch (error) {
      this.deleting = false;
      this.show(this.record);
      this.note.append(make("br"), make("span", {className: "bad", textContent: `It could not be deleted. ${error.message}`}));
      return error;
    }
  }

  leave() {
    const focused = this.item.contains(document.activeElement) || document.activeElement === document.body;
    const next = neighbour(this.item) ?? $("files");
    this.left = true;
    this.skip?.();
    this.item.remove();
    inView.unobserve(this.item);
    for (const group of [pending, refused, stalled]) group.delete(this);
    this.choose(false);
    if (this.record && cards.get(this.record.id) === this) cards.delete(this.record.id);
    if (this.image) this.forgetImage();
    if (focused) next.focus();
    showEmpty();
    sumUp();
  }
}

function neighbour(item) {
  for (const way of ["nextElementSibling", "previousElementSibling"])
    for (let one = item[way]; one; one = one[way]) if (!one.hidden) return one;
}

// An answer that was lost leaves the next try nothing to delete.
async function removed(id, say) {
  try { await patiently(() => api(`/${id}`, {method: "DELETE"}), say); } catch (error) { if (error.status !== 404) throw error; }
  cards.get(id)?.leave();
}

// Deleting is asked for, since nothing undoes it.
function confirmed(given) {
  const [only] = given, one = given.length === 1;
  $("question").replaceChildren("Delete ", one ? make("bdi", {textContent: only.name}) : pictures(given.length), "?");
  $("warning").textContent = `The ${one ? "picture and its thumbnail" : "pictures and their thumbnails"} are removed. This cannot be undone.`;
  return new Promise(done => {
    let answer = false;
    $("keep").onclick = () => $("confirm").close();
    $("delete").onclick = () => { answer = true; $("confirm").close(); };
    $("confirm").onclose = () => done(answer);
    $("confirm").showModal();
  });
}

async function remove(given) {
  if (!await confirmed(given)) return;
  const errors = (await Promise.all(given.map(card => card.delete()))).filter(Boolean), gone = given.length - errors.length;
  const name = given.length === 1 ? given[0].name : undefined;
  if (gone) tell("status", `${name ?? pictures(gone)} ${gone === 1 ? "is" : "are"} deleted.`);
  if (errors.length) tell("alert", `${name ?? pictures(errors.length)} could not be deleted. ${errors[0].message}`);
}

// Selection.
function showSelection() {
  const count = picked.size;
  $("chosen").hidden = cards.size < 2;
  $("count").textContent = count ? `${pictures(count)} selected` : "";
  for (const id of ["none", "save", "drop-them"]) $(id).hidden = !count;
}
$("all").onclick = () => { for (const card of cards.values()) if (!card.item.hidden) card.choose(true); };
$("none").onclick = () => { for (const card of [...picked]) card.choose(false); $("all").focus(); };
$("drop-them").onclick = () => remove([...picked].filter(card => !card.deleting));
$("save").onclick = async () => {
  const ready = [...picked].filter(card => card.record.ready);
  let saved = 0;
  for (const card of ready) {
    if (!card.image) await card.load();
    const link = card.acts.querySelector("a");
    if (!link) continue;
    link.click();
    saved++;
    // Browsers drop downloads that begin at the same moment.
    await sleep(.2);
  }
  const without = picked.size - saved;
  tell("status", `${pictures(saved)} downloaded${without ? `; ${without} without a thumbnail left out` : ""}.`);
};
