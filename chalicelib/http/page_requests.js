"use strict";
// Requests: what they answer, what their failures mean to a person, and how often they are repeated.
const $ = id => document.getElementById(id);
const {maxUpload, maxOriginal, expiresAfterDownload, formUrl, issuer, clientId, audience} = document.documentElement.dataset;
// The page is at /live as well as at /live/, and the API knows no more than the stage of its own path.
const HERE = location.origin + location.pathname;
const API = HERE.replace(/\/*$/, "/") + "api/v1/thumbnail";
// TRIES: how often a request is made. In seconds: LONGEST is the longest wait between two tries and the longest
// silence of an upload or a download; SOON is how long other answers may take.
const TRIES = 4, LONGEST = 60, SOON = 15;

// What file names must not do to the text around them: start a line, or turn its direction.
const plain = text => text.replace(/[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
const sleep = seconds => new Promise(done => setTimeout(done, seconds * 1000));
const bytes = count => count < 1e3 ? `${count} bytes` : count < 1e6 ? `${Math.round(count / 1e3)} kB` : `${+(count / 1e6).toFixed(1)} MB`;
const pictures = count => count === 1 ? "1 picture" : `${count.toLocaleString("en")} pictures`;
const make = (tag, properties) => Object.assign(document.createElement(tag), properties);

function limited(free) {
  const queue = [];
  return async work => {
    if (free > 0) free--; else await new Promise(next => queue.push(next));
    try { return await work(); } finally { if (queue.length) queue.shift()(); else free++; }
  };
}

// For screen readers; several sentences at the same time are told as one.
const told = {status: [], alert: []};
function tell(where, text) {
  if (told[where].push(text) === 1) setTimeout(() => {
    const texts = told[where].splice(0);
    $(where).textContent = texts.slice(0, 4).join(" ") + (texts.length > 4 ? ` And ${texts.length - 4} more.` : "");
  }, 400);
}

// passing: worth a repetition without being asked. repeatable: worth one when a person, or the network, says so.
class Refusal extends Error {
  constructor(status, sentence, more) {
    super(sentence);
    const passing = status === 0 || status === 409 || status === 429 || status >= 500;
    Object.assign(this, {status, passing, repeatable: passing || status === 401 || status === 403}, more);
  }
}
const unreachable = () => new Refusal(0, navigator.onLine
  ? "The connection was lost; check it and try again."
  : "You are offline. This goes on by itself when the connection is back.");
const silent = () => new Refusal(0, "The service does not answer; try again later.");
const portal = () => new Refusal(0,
  "The network answered in the service's place, as a Wi-Fi does that wants you to sign in. Open any page in a new tab, sign in there, and try again.",
  {passing: false});
const stale = () => new Refusal(0,
  "The service has been restarted or changed since this page was opened. Reload the page, and choose this file again.",
  {passing: false, repeatable: false, reload: true});

function refusal(status, text, whose, header = () => null) {
  let sentence;
  try { sentence = JSON.parse(text).error; } catch { sentence = /<Message>([^<]+)/.exec(text)?.[1]; }  // S3 speaks XML
  if (status === 401) {
    // One who has signed out is not asked again.
    if (whose === person) sentence = ask();
  } else if (status === 403 && header("WWW-Authenticate")) {
    sentence = "The service cannot check your sign-in at the moment; try again in a minute.";
  } else if (status === 511) return portal();
  const wait = parseInt(header("Retry-After"));
  const more = wait >= 0 ? {wait: Math.min(wait, LONGEST)} : {};
  return new Refusal(status, sentence || `The answer was ${status}; try again.`, {...more, foreign: !sentence});
}

// A wait that is shown as it runs down; `stop.skip` ends it, as does a connection that comes back.
const waits = new Set();
addEventListener("online", () => { for (const end of [...waits]) end(); });
function countdown(seconds, say, stop) {
  return new Promise(done => {
    const until = Date.now() + seconds * 1000;
    const end = () => { clearInterval(timer); waits.delete(end); stop.skip = undefined; done(); };
    const tick = () => { const left = Math.ceil((until - Date.now()) / 1000); if (left > 0) say(left); else end(); };
    const timer = setInterval(tick, 250);
    waits.add(end);
    stop.skip = end;
    tick();
  });
}

async function patiently(action, say = () => {}, stop = {}) {
  for (let tried = 1; ; tried++) {
    try { return await action(); } catch (error) {
      if (!error.passing || tried === TRIES || stop.left) throw error;
      await countdown(error.wait ?? 2 ** (tried - 1), left => say(left, error), stop);
      if (stop.left) throw error;
    }
  }
}

// Returns {headers, content}: an object for JSON, a blob for a picture. The API never redirects; networks do.
async function api(path, {type = "application/json", whose = person, ...options} = {}) {
  const headers = {...authorization(whose), ...options.headers}, over = new AbortController();
  const timer = setTimeout(() => over.abort(), (type === "image/" ? LONGEST : SOON) * 1000);
  let reply, content;
  try {
    reply = await fetch(API + path, {cache: "no-store", redirect: "manual", signal: over.signal, ...options, headers});
    content = reply.ok && type === "image/" ? await reply.blob() : await reply.text();
  } catch { throw over.signal.aborted ? silent() : unreachable(); } finally { clearTimeout(timer); }
  if (reply.type === "opaqueredirect") throw portal();
  whose.accepted ||= reply.status !== 401;
  if (!reply.ok) throw refusal(reply.status, content, whose, name => reply.headers.get(name));
  if (options.method === "HEAD") return {headers: reply.headers};
  if (!reply.headers.get("Content-Type")?.startsWith(type)) throw portal();
  try { return {headers: reply.headers, content: type === "image/" ? content : JSON.parse(content)}; } catch { throw portal(); }
}

// Why a request without an answer had none: the network, one that answers in its place, or the bucket alone.
async function explain(url) {
  try { await api("/../system/pulse"); } catch (error) { return error.passing ? unreachable() : error; }
  return url === API ? unreachable() : new Refusal(0,
    `The service answers, but the storage for large files (${new URL(url).host}) cannot be reached; a firewall or a blocker may keep it away.`);
}

// fetch tells nothing of how far an upload is. Returns the answer's text.
function post(card, url, fields, headers, name) {
  return new Promise((done, fail) => {
    const form = new FormData(), xhr = new XMLHttpRequest();
    for (const [key, value] of Object.entries(fields)) form.append(key, value);
    form.append(name, card.file, card.file.name);
    let silence;
    const heard = () => { clearTimeout(silence); silence = setTimeout(() => xhr.abort(), LONGEST * 1000); };
    const state = card.request = {started: Date.now(), loaded: 0, total: card.file.size, abort: () => xhr.abort()};
    xhr.open("POST", url);
    for (const [key, value] of Object.entries(headers)) xhr.setRequestHeader(key, value);
    xhr.upload.onprogress = event => {
      heard();
      Object.assign(state, {loaded: event.loaded, total: event.total});
      card.progress(event.loaded / event.total);
    };
    // Of S3's answers, the page may see no headers.
    const header = key => url === API ? xhr.getResponseHeader(key) : null;
    xhr.onload = () => {
      if (xhr.status >= 300 || !xhr.status) fail(refusal(xhr.status, xhr.responseText, card.person, header));
      else if (url === API && !header("Content-Type")?.startsWith("application/json")) fail(portal());
      else done(xhr.responseText);
    };
    xhr.onerror = () => explain(url).then(fail);
    xhr.onabort = () => fail(silent());
    xhr.onloadend = () => { clearTimeout(silence); if (card.request === state) card.request = undefined; };
    heard();
    xhr.send(form);
  });
}
