// Taking pictures in: chosen, dropped, pasted or in folders; sent a few at the same time.
const uploading = limited(3), batch = new Set();
const PICTURE = /\.(jpe?g|jfif|png|gif|webp|bmp|tiff?|avif|hei[cf])$/i;
// What is being withdrawn after Cancel, which must not be cut off by closing the tab.
let withdrawing = 0;

class Upload extends Card {
  constructor(file) {
    super(file.name, $("grid").firstChild);
    // randomUUID is for secure contexts only, which a service in the local network is not.
    Object.assign(this, {file, person, key: crypto.getRandomValues(new Uint32Array(4)).join("-"), ids: [], part: 0});
    batch.add(this);
  }

  progress(part) {
    this.part = part;
    sumUp();
    if (this.left) return;
    this.bar.hidden = false;
    this.bar.value = part;
    this.note.textContent = part < 1 ? `Uploading, ${Math.floor(part * 100)} %` : "Uploaded; waiting for the answer";
  }

  fail(error, again) {
    if (this.record) return super.fail(error, again);
    this.failed = true;
    this.reload = error.reload;
    super.fail(error, again);
    sumUp();
  }

  show(record) {
    this.done = true;
    this.failed = false;
    super.show(record);
    sumUp();
  }

  send() {
    this.failed = false;
    this.part = 0;
    this.state("Waiting for its turn", "\u2026");
    this.offer(["Cancel", () => this.cancel()]);
    sumUp();
    return uploading(async () => {
      if (this.left) return this.withdraw();
      try {
        if (this.file.size > maxOriginal) throw new Refusal(413, `The picture has ${bytes(this.file.size)}; at most ${bytes(maxOriginal)} are accepted.`);
        await this.file.slice(0, 1).arrayBuffer().catch(() => { throw new Refusal(400, "The file cannot be read; choose it again."); });
        this.progress(0);
        const say = (left, error) => this.state(`${error.status ? "The service is busy" : "The connection was lost"}; trying again in ${left} s`, "\u2026");
        const record = await patiently(() => this.transfer(), say, this);
        if (this.left) this.withdraw([...new Set([...this.ids, record.id])]); else this.show(record);
      } catch (error) {
        if (this.left) this.withdraw(); else this.fail(error, () => this.send());
      }
    });
  }

  async transfer() {
    if (this.left) throw new Refusal(400, "");
    if (this.file.size > maxUpload) this.large = true;
    if (!this.large) try { return await this.sendByForm(); } catch (error) {
      // A gateway or a proxy before the service takes less than the service does; it need not say so in JSON.
      if (error.status !== 413 || this.left || !(error.foreign || /\/upload/.test(error.message))) throw error;
      this.large = true;
    }
    return this.sendByTicket();
  }

  async sendByForm() {
    try {
      return JSON.parse(await post(this, API, {}, {...authorization(this.person), "Idempotency-Key": this.key}, "image"));
    } catch (error) {
      // Without an answer, or with one that promises nothing, it may be stored all the same.
      if ((error.status === 0 || error.status >= 500) && !this.broken) this.uncertain = true;
      throw error;
    }
  }

  async sendByTicket() {
    if (this.ticket && (this.ticket.over || Date.parse(this.ticket.expires) < Date.now())) {
      const record = await this.stored();
      if (record) return record;
      this.ticket = undefined;
    }
    if (this.left) throw new Refusal(400, "");
    if (!this.ticket) {
      const headers = {"Content-Type": "application/json"}, body = JSON.stringify({filename: this.file.name});
      this.ticket = (await api("/upload", {method: "POST", headers, body, whose: this.person})).content;
      this.ids.push(this.ticket.id);
      if (this.left) throw new Refusal(400, "");
    }
    const {id, url, fields} = this.ticket;
    // The browser lets this page send to the URL that it was made with, and to no other.
    if (url !== formUrl) throw stale();
    await post(this, url, fields, {}, "file").catch(error => {
      // Perhaps it has ended, by S3's clock.
      if (error.status === 403) this.ticket.over = true;
      throw error;
    });
    this.sent = Date.now();
    return {id, ready: false};
  }

  // S3 may have stored what it gave no answer to: the record waits for its file no longer.
  async stored() {
    try {
      const {content} = await api(`/${this.ticket.id}?${URLS}`, {whose: this.person});
      if (content.size.original !== null) return content;
    } catch (error) { if (error.status !== 404) throw error; }
  }

  // The card goes; what has been sent follows, as soon as it has a name.
  async cancel() {
    const {request, ticket} = this;
    this.leave();
    tell("status", `${this.name} is cancelled.`);
    if (!request) {
      // send() withdraws what may be stored, once it is on; here it has ended.
      if (this.failed) this.withdraw();
      return;
    }
    // The answer names what to delete, so that an upload that is about to end is let end, and only another one
    // is broken off: the service has not got it, and so has not stored it.
    while (this.request === request && request.loaded < request.total) {
      const seconds = (Date.now() - request.started) / 1000, rest = (request.total - request.loaded) * seconds / request.loaded;
      if (ticket || seconds > .5 && rest > 2) {
        this.broken = true;
        return request.abort();
      }
      await sleep(.1);
    }
  }

  // Deletes what was sent before Cancel. An upload whose answer was lost is repeated under its key, to learn its id.
  async withdraw(ids = this.ids) {
    if (!ids.length && !this.uncertain) return;
    withdrawing++;
    try {
      if (!ids.length) ids = [(await patiently(() => this.sendByForm())).id];
      await Promise.all(ids.map(id => removed(id, undefined, this.person)));
    } catch (error) {
      // Refused for good: there is nothing of it. And who has signed out is not told.
      if (!error.repeatable || this.person !== person) return;
      this.left = this.uncertain = false;
      this.ticket = undefined;
      this.ids = [];
      $("grid").prepend(this.item);
      $("empty").hidden = true;
      batch.add(this);
      const {status, passing, repeatable} = error;
      this.fail(new Refusal(status, `It could not be cancelled and may be stored. ${error.message}`, {passing, repeatable}), () => {
        this.leave();
        this.uncertain = true;
        this.withdraw(ids);
      });
    } finally { withdrawing--; }
  }

  leave() {
    batch.delete(this);
    super.leave();
  }
}

function add(files) {
  for (const file of files) new Upload(file).send();
  if (files.length) tell("status", `Uploading ${files.length === 1 ? "a picture" : `${files.length} pictures`}.`);
}

// All uploads as one, until none is left to wait for.
let summing = false;
function sumUp() {
  if (summing) return;
  summing = true;
  setTimeout(() => {
    summing = false;
    const all = [...batch], open = all.filter(card => !card.done && !card.failed), failed = all.filter(card => card.failed), again = failed.filter(card => card.again);
    if (!open.length && !failed.length) batch.clear();
    const done = all.length - open.length - failed.length, weight = all.reduce((sum, card) => sum + card.file.size + 1, 0);
    $("whole").value = all.reduce((sum, card) => sum + (card.done || card.failed ? 1 : card.part) * (card.file.size + 1), 0) / (weight || 1);
    $("whole").hidden = !open.length;
    $("reload").hidden = !failed.some(card => card.reload);
    $("retry").hidden = again.length < 2;
    $("work").hidden = !(open.length && all.length > 1) && $("retry").hidden && $("reload").hidden;
    $("sum").textContent = (open.length ? `${done} of ${pictures(all.length)} uploaded` : "")
      + (failed.length ? `${open.length ? ", " : ""}${pictures(failed.length)} not uploaded` : "") + ".";
  }, 100);
}
function retryAll() { for (const card of [...stalled]) card.repeat(); }
$("retry").onclick = retryAll;
$("reload").onclick = () => location.reload();
addEventListener("online", retryAll);
const unsent = () => [...batch].some(card => !card.done && (!card.failed || card.again));
addEventListener("beforeunload", event => { if (withdrawing || unsent()) event.preventDefault(); });

// Folders: what is in them, by the names that pictures have; at most MOST, so that a wrong folder does no harm.
const MOST = 5000;
async function inFolders(entries) {
  const found = [], waiting = [...entries];
  let others = 0;
  while (waiting.length && found.length < MOST) {
    const entry = waiting.shift();
    try {
      if (entry.isDirectory) {
        // A reader gives a hundred at a time, and then none.
        const reader = entry.createReader();
        for (let some; (some = await new Promise((done, fail) => reader.readEntries(done, fail))).length;) waiting.push(...some);
      } else if (PICTURE.test(entry.name) && !entry.name.startsWith(".")) found.push(await new Promise((done, fail) => entry.file(done, fail)));
      else others++;
    } catch { others++; }
  }
  addFromFolder(found, others + waiting.length);
}
function addFromFolder(found, others) {
  add(found);
  const text = found.length ? `${pictures(found.length)} from the folder` : "There is no picture in the folder";
  $("notice").textContent = text + (others ? `; ${others.toLocaleString("en")} other ${others === 1 ? "file is" : "files are"} left out.` : ".");
  tell("status", $("notice").textContent);
}

$("limit").textContent = `JPEG, PNG, GIF, WebP, BMP, TIFF, AVIF or HEIC, up to ${bytes(maxOriginal)} each`;
$("files").onchange = event => { $("notice").textContent = ""; add([...event.target.files]); event.target.value = ""; };
// Phones choose no folders.
$("folders").hidden = !("webkitdirectory" in $("folder"));
$("folder").onchange = event => {
  const all = [...event.target.files], found = all.filter(file => PICTURE.test(file.name) && !file.name.startsWith(".")).slice(0, MOST);
  event.target.value = "";
  addFromFolder(found, all.length - found.length);
};
function take(event, data) {
  if (!data.files.length) return;
  event.preventDefault();
  $("notice").textContent = "";
  // Entries and files are there during the event only.
  const entries = [...data.items].map(item => item.webkitGetAsEntry?.()).filter(Boolean), files = [...data.files];
  const folders = entries.filter(entry => entry.isDirectory);
  if (!folders.length) return add(files);
  // Of folders, data.files has something that is no file.
  const names = new Set(folders.map(folder => folder.name));
  add(files.filter(file => !names.has(file.name)));
  inFolders(folders);
}
addEventListener("paste", event => take(event, event.clipboardData));
const over = on => $("drop").classList.toggle("over", on);
addEventListener("dragover", event => { event.preventDefault(); over(true); });
addEventListener("dragleave", event => over(event.relatedTarget !== null));
addEventListener("drop", event => { event.preventDefault(); over(false); take(event, event.dataTransfer); });
