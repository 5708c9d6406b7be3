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
    if (record.created) this.date = new Date(record.created);
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
    } else if (expiresAfterDownload && !this.image) {
      this.state("Showing it starts its end.");
      this.tellDate();
      this.offer(["Show", () => this.load()], this.removal);
    } else {
      this.facts();
      this.offerPicture();
      if (this.image) return;
    }
    inView.observe(this.item);
  }

  // It is in view.
  async appear() {
    if (this.record?.url) return this.fetchImage();
    if (this.record?.ready && !expiresAfterDownload) return this.load();
    // Only to learn the date; without an answer there is none.
    if (!this.date) try { this.dated((await api(`/${this.record.id}`, {method: "HEAD"})).headers); } catch {}
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
    if (this.ended) this.note.append(make("br"), "No longer on the service; it stays here until this page is closed.");
    if (this.ended || !expires) return;
    const textContent = new Date(expires).toLocaleString(undefined, {dateStyle: "medium", timeStyle: "short"});
    this.note.append(make("br"), "Kept until ", make("time", {dateTime: expires, textContent}));
  }

  // From S3, by its own URL. If that has ended, or S3 is not to be reached from here, through the API.
  fetchImage() {
    const image = this.coming = this.makeImage();
    image.onload = () => { if (this.coming === image) this.see(image); };
    image.onerror = () => { if (this.coming === image) this.load(); };
    image.src = this.record.url;
    if (this.record.image?.placeholder) this.frame.replaceChildren(placeholder(this.record));
  }

  makeImage() { return make("img", {alt: `Thumbnail of ${this.name}`, ...this.record.thumbnail}); }

  see(image) {
    if (this.left) return;
    this.image = image;
    this.frame.replaceChildren(image);
    if (this.file) tell("status", `The thumbnail of ${this.name} is ready.`);
  }

  // One request, however often it is asked for while it runs.
  load() { return this.loading ??= this.download().finally(() => { this.loading = undefined; }); }

  async download() {
    try {
      this.facts();
      this.offer(this.removal);
      const say = left => { this.note.textContent = `The thumbnail cannot be had; trying again in ${left} s`; };
      const {headers, content, name} = await this.fetchFile("", say);
      if (this.left) return;
      this.saved = name;
      const image = this.makeImage();
      image.src = URL.createObjectURL(content);
      this.see(image);
      this.dated(headers);
      // When it ends. It may have ended already.
      if (expiresAfterDownload) this.learnEnd();
    } catch (error) {
      if (error.status === 404) return this.leave();
      if (!this.image) return this.fail(error, () => this.load());
    }
    if (!this.left && !this.deleting) {
      this.facts();
      this.offerPicture();
    }
  }

  // Where a download ends pictures, what is shown may be the last copy: it is let go of only when a person says so.
  get held() { return expiresAfterDownload && this.image; }

  async learnEnd() {
    try {
      const {content} = await api(`/${this.record.id}`);
      if (this.held && content.ready) this.record = content;
    } catch (error) { return error.status === 404 && this.vanish(); }
    if (this.held && !this.deleting) this.facts();
  }

  // The service does not have it any more.
  vanish() {
    if (!this.held) return this.leave();
    this.ended = true;
    if (this.deleting) return;
    this.facts();
    this.offerPicture();
  }

  async fetchFile(size, say) {
    const query = size && `?size=${encodeURIComponent(size)}`, headers = {Accept: "image/jpeg"};
    const get = () => api(`/${this.record.id}/download${query}`, {type: "image/", headers, cache: "default"});
    const reply = await downloading(() => patiently(get, say, this));
    const name = decodeURIComponent(/filename\*=UTF-8''(\S+)/.exec(reply.headers.get("Content-Disposition"))?.[1] ?? "thumbnail.jpg");
    return {...reply, name};
  }

  // Where there are sizes, one can be chosen.
  offerPicture() {
    const sizes = Object.entries(!this.ended && this.record.sizes || {}), kept = !sizes.length && this.image?.src.startsWith("blob:");
    this.offer(["Download", kept ? this.image.src : () => this.save()], this.removal);
    this.size = sizes.length ? this.size ?? make("select", {ariaLabel: `Size of ${this.name}`}) : undefined;
    if (!this.size) return;
    const options = [["", this.record.thumbnail], ...sizes].map(([value, {width, height}]) => make("option", {value, textContent: `${value || "thumbnail"} ${width} \u00d7 ${height}`}));
    if (this.size.length !== options.length) this.size.replaceChildren(...options);
    this.acts.prepend(this.size);
  }

  // Saves the size that is chosen. Tells whether it is saved.
  async save() {
    if (expiresAfterDownload && !this.image) await this.load();
    const link = this.acts.querySelector("a") ?? (this.held && !this.size?.value && make("a", {href: this.image.src, download: this.saved}));
    if (link) return link.click(), true;
    try {
      const {content, name} = await this.fetchFile(this.size?.value ?? ""), href = URL.createObjectURL(content);
      make("a", {href, download: name}).click();
      setTimeout(() => URL.revokeObjectURL(href), LONGEST * 1000);
      if (!this.left && !this.deleting) this.facts();
      return true;
    } catch (error) {
      if (error.status === 404) this.vanish(); else this.facts();
      this.complain("It could not be downloaded.", error);
    }
  }

  // What was asked for did not come about; the card is as before.
  complain(text, error) {
    if (!this.left) this.note.append(make("br"), make("span", {className: "bad", textContent: `${text} ${error.message}`}));
  }

  forgetImage() {
    if (this.image.src.startsWith("blob:")) URL.revokeObjectURL(this.image.src);
    this.image = this.coming = undefined;
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
      this.complain("It could not be deleted.", error);
      return error;
    }
  }

  leave() {
    const focused = this.item.contains(document.activeElement), next = neighbour(this.item) ?? $("files");
    this.left = true;
    this.skip?.();
    this.item.remove();
    inView.unobserve(this.item);
    for (const group of [pending, refused, stalled]) group.delete(this);
    if (this.record && cards.get(this.record.id) === this) cards.delete(this.record.id);
    this.choose(false);
    if (this.image) this.forgetImage();
    if (focused) next.focus({preventScroll: true});
    showEmpty();
    sumUp();
  }
}

function neighbour(item) {
  for (const way of ["nextElementSibling", "previousElementSibling"])
    for (let one = item[way]; one; one = one[way]) if (!one.hidden) return one;
}

// An answer that was lost leaves the next try nothing to delete.
async function removed(id, say, whose) {
  try { await patiently(() => api(`/${id}`, {method: "DELETE", whose}), say); } catch (error) { if (error.status !== 404) throw error; }
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
    // The browser tells later that it was closed: perhaps when it is open for the next question.
    $("confirm").onclose = () => { if (!$("confirm").open) done(answer); };
    $("confirm").showModal();
  });
}

async function remove(given) {
  if (!await confirmed(given)) return;
  const beside = given.length === 1 && neighbour(given[0].item);
  const errors = (await Promise.all(given.map(card => card.delete()))).filter(Boolean), gone = given.length - errors.length;
  const name = given.length === 1 ? given[0].name : undefined;
  if (gone) tell("status", `${name ?? pictures(gone)} ${gone === 1 ? "is" : "are"} deleted.`);
  if (errors.length) tell("alert", `${name ?? pictures(errors.length)} could not be deleted. ${errors[0].message}`);
  // What had the focus is gone, hidden or disabled: it goes to what is left, unless it is elsewhere already.
  const at = document.activeElement;
  if (at !== document.body && at.getClientRects().length && !at.disabled) return;
  const left = [...given.map(card => card.item), beside, $("all")].find(one => one && one.getClientRects().length);
  (left ?? $("files")).focus();
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
  const chosen = picked.size, ready = [...picked].filter(card => card.record.ready);
  let saved = 0;
  for (const card of ready) {
    if (!await card.save()) continue;
    saved++;
    // Browsers drop downloads that begin at the same moment.
    await sleep(.2);
  }
  const without = chosen - ready.length, lost = ready.length - saved;
  tell("status", `${pictures(saved)} downloaded${without ? `; ${without} without a thumbnail left out` : ""}${lost ? `; ${lost} could not be downloaded` : ""}.`);
};
