// Who is signed in: a token of the person's own, or one by OpenID Connect (authorization code with PKCE, RFC 7636).
// Uploads are for the person who was signed in when they were chosen, by that person's newest token.
let person = {token: sessionStorage.getItem("token")};
const authorization = (whose = person) => whose.token ? {Authorization: `Bearer ${whose.token}`} : {};
// Whom a token is of, as far as it can be read.
function subject(token) { try { return JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"))).sub; } catch {} }
// Browsers hash for pages of https and localhost only.
const canSignIn = clientId && crypto.subtle;

// Shows the way in, and returns why it is needed.
function ask(problem) {
  const first = $("access").hidden, why = problem ?? (person.token
    ? "You are signed out: the sign-in has ended, or the token is not accepted. Sign in again; what waits goes on then."
    : "This service shows pictures to their owner only. Sign in to see yours and to send more.");
  $("access").hidden = false;
  $("forget").hidden = true;
  $("why").textContent = why;
  $("signin").hidden = !canSignIn;
  $("bytoken").open ||= !canSignIn;
  $("bytoken").firstElementChild.hidden = !canSignIn;
  if (first && document.activeElement === document.body) $(canSignIn ? "signin" : "token").focus();
  return why;
}

// A token of another subject cancels the uploads that are not sent. A token that the API never accepted has no subject.
function use(value) {
  const before = subject(person.token) ?? (person.accepted && person.token), same = value && (!before || before === (subject(value) ?? value));
  if (!same) for (const card of [...batch]) if (!card.done) card.cancel();
  if (same) Object.assign(person, {token: value, accepted: false}); else person = {token: value};
  if (value) sessionStorage.setItem("token", value); else sessionStorage.removeItem("token");
  $("token").value = "";
  $("access").hidden = true;
  $("forget").hidden = !value;
  $("files").focus();
  for (const card of [...cards.values()]) if (!same || !card.held) card.leave();
  load("");
  for (const card of [...refused]) card.repeat();
}
$("tokenform").onsubmit = event => { event.preventDefault(); use($("token").value.trim()); };
$("forget").onclick = () => use("");
$("forget").hidden = !person.token;

const base64url = data => btoa(String.fromCharCode(...new Uint8Array(data))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

async function fromIssuer(url, options) {
  const signal = AbortSignal.timeout(SOON * 1000);
  let reply;
  try { reply = await fetch(url, {cache: "no-store", signal, ...options}); } catch { throw new Error(`${new URL(url).host} cannot be reached.`); }
  const said = await reply.json().catch(() => ({}));
  if (!reply.ok) throw new Error(said.error_description ?? said.error ?? `${new URL(url).host} answered ${reply.status}.`);
  return said;
}

// OpenID Connect Discovery 1.0, section 4: the document must name the issuer that was asked.
async function discover() {
  const found = await fromIssuer(`${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`);
  if (found.issuer !== issuer) throw new Error("The issuer's description names another issuer.");
  return found;
}

// A sign-in in a window of its own: this page stays, with the files that wait in it, and that window hands the issuer's answer over.
let asked;
const windows = new BroadcastChannel("signin");
windows.onmessage = async ({data}) => {
  const given = new URLSearchParams(data), kept = asked;
  if (!kept || given.get("state") !== kept.state) return;
  asked = undefined;
  windows.postMessage(kept.state);
  try { use(await redeem(given, kept)); } catch (error) { unsigned(error); }
};

$("signin").onclick = async () => {
  $("signin").disabled = true;
  // Opened within the click: browsers block a window that is opened later.
  const beside = unsent() && open("", "_blank", "popup,width=500,height=700");
  try {
    const found = await discover(), verifier = random(), state = random();
    const challenge = base64url(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier)));
    const address = new URL(found.authorization_endpoint);
    if (!/^https?:$/.test(address.protocol)) throw new Error("The issuer's description is not usable.");
    const question = {
      response_type: "code", client_id: clientId, redirect_uri: HERE, scope: "openid", state,
      code_challenge: challenge, code_challenge_method: "S256", ...(audience ? {audience} : {}),
    };
    for (const [name, value] of Object.entries(question)) address.searchParams.set(name, value);
    if (beside) {
      asked = {verifier, state};
      beside.opener = null;
      beside.location = address;
      return;
    }
    if (unsent()) ask("The browser blocks the window to sign in. Signing in leaves this page then: what waits has to be chosen again.");
    sessionStorage.setItem("signin", JSON.stringify({verifier, state}));
    location.assign(address);
  } catch (error) {
    beside?.close?.();
    tell("alert", ask(`The sign-in cannot be started: ${error.message} Try again.`));
  } finally { $("signin").disabled = false; }
};

// The issuer's code becomes the token.
async function redeem(given, {verifier}) {
  if (given.has("error")) throw new Error(given.get("error_description") ?? given.get("error"));
  const found = await discover();
  if ((given.get("iss") ?? issuer) !== issuer) throw new Error("Another issuer has answered.");
  const said = await fromIssuer(found.token_endpoint, {method: "POST", body: new URLSearchParams({
    grant_type: "authorization_code", code: given.get("code"), redirect_uri: HERE, client_id: clientId, code_verifier: verifier,
  })});
  if (typeof said.access_token !== "string") throw new Error("The issuer gave no token.");
  return said.access_token;
}

// Text of another server: short, and on one line.
const unsigned = error => ask(`The sign-in did not succeed: ${plain(error.message).slice(0, 200)} Try again.`);

// Back from the issuer. Neither code nor token stays in the address. Returns why there is nothing to show.
async function finishSignIn() {
  const {search} = location, given = new URLSearchParams(search), kept = JSON.parse(sessionStorage.getItem("signin") ?? "null");
  if (!given.has("state") || !(given.has("code") || given.has("error"))) return;
  history.replaceState(null, "", location.pathname);
  sessionStorage.removeItem("signin");
  try {
    if (given.get("state") !== kept?.state) {
      if (!await handOver(search, given.get("state"))) throw new Error("The answer does not belong to this tab.");
      close();
      return ask("This window can be closed; the page that opened it goes on.");
    }
    sessionStorage.setItem("token", person.token = await redeem(given, kept));
    $("forget").hidden = false;
  } catch (error) { return unsigned(error); }
}

// Whether a page of this browser waits for this answer.
function handOver(search, state) {
  return new Promise(done => {
    windows.addEventListener("message", ({data}) => { if (data === state) done(true); });
    windows.postMessage(search);
    setTimeout(done, 2000);
  });
}
