// The dashboard: asks the replica how it is, and listens to what happens there.

import { Chart } from "/charts.js";
import { derive, handlers, standings } from "/rates.js";

const EVENTS_MAX = 200;
const HANDLER_WINDOW = 10;
/** After so many seconds without an answer the page says that it shows the past. */
const STALE_SECONDS = 3;

const find = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

const count = (value) => (Math.abs(value) < 10_000 ? new Intl.NumberFormat("en", { maximumSignificantDigits: 3 }).format(value) : short.format(value));
const perSecond = (value) => `${count(value)}/s`;
const percent = (value) => `${value.toFixed(value < 10 ? 1 : 0)} %`;

function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${unit ? value.toPrecision(3) : Math.round(value)} ${units[unit]}`;
}

const rounded = (value) => Number(value.toPrecision(3));

function duration(nanoseconds) {
  if (nanoseconds >= 1e9) return `${rounded(nanoseconds / 1e9)} s`;
  if (nanoseconds >= 1e6) return `${rounded(nanoseconds / 1e6)} ms`;
  return `${rounded(nanoseconds / 1e3)} µs`;
}

function uptime(milliseconds) {
  const seconds = Math.floor(milliseconds / 1000);
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

function make(name, className, ...content) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...content);
  return element;
}

const charts = [
  ["Commands", ["decided", "received", "queries not ordered"], perSecond, (d) => [d.commands, d.requests, d.queries]],
  ["Request latency", ["p50", "p99"], duration, (d) => d.latency],
  ["Commands per slot", [""], count, (d) => [d.batch]],
  ["Waiting", ["to be decided", "to be executed"], count, (d) => [d.pending, d.unexecuted]],
  ["Behind the others", [""], (value) => `${count(value)} ${value === 1 ? "slot" : "slots"}`, (d) => [d.lag]],
  ["Workers", [], percent, (d) => d.busy, 100],
  ["Waiting for the interpreter", [""], percent, (d) => [d.waiting], 100],
  ["Met a conflict", [""], percent, (d) => [d.delayed], 100],
  ["Log sync", ["p50", "p99"], duration, (d) => d.sync, null, (status) => status.durability !== "memory"],
  ["Network", ["sent", "received"], (value) => `${bytes(value)}/s`, (d) => [d.sent, d.received]],
].map(([title, series, format, pick, ceiling = null, matters = () => true]) => ({
  chart: new Chart(find("charts"), { title, series, format, ceiling }),
  pick,
  matters,
}));

let config = null;
let before = null;
let history = [];
let answeredAt = null;
let problem = null;
let interval = 1000;

async function ask(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(4000) });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

async function poll() {
  if (interval && !document.hidden) {
    try {
      config ??= await ask("/config");
      show(await ask("/status"));
      [answeredAt, problem] = [Date.now(), null];
    } catch (error) {
      problem = error;
    }
    showNotices();
  }
  setTimeout(poll, interval || 1000);
}

function show(status) {
  if (before && status.uptime_ms < before.uptime_ms) [before, history] = [null, []];
  const derived = derive(before, status);
  const time = Date.now();
  for (const { chart, pick, matters } of charts) {
    chart.figure.hidden = !matters(status);
    chart.add(time, pick(derived));
  }
  history = [...history, status].slice(-HANDLER_WINDOW);
  showSummary(status);
  showReplicas(status);
  showHandlers(status);
  showTotals(status);
  before = status;
}

function showSummary(status) {
  find("cluster").textContent = config.name;
  find("replica").textContent = `replica ${status.id} of ${status.replicas}`;
  document.title = `${config.name} · replica ${status.id}`;
  const tone = { leader: "good", follower: "good", learner: "warn", retired: "warn", halted: "bad" }[status.role];
  const facts = [
    make("span", `badge ${status.active ? tone : "warn"}`, status.active ? status.role : `${status.role}, changing view`),
    `${status.epoch ? `epoch ${number.format(status.epoch)}, ` : ""}view ${number.format(status.view)}, led by ${status.leader}`,
    `${status.fault_model}, survives ${status.faults}`,
    `durability ${status.durability}`,
    `${status.execution.workers} workers, ${status.execution.scheduler}`,
    ...(status.service.latest > 1 ? [`version ${status.service.version} of the service`] : []),
    `up for ${uptime(status.uptime_ms)}`,
  ];
  find("summary").replaceChildren(...facts.map((fact) => make("span", "", fact)));
}

function showReplicas(status) {
  const rows = standings(status).map((replica) => {
    const role = replica.me ? status.role : replica.leads ? "leader" : "";
    const known = (value) => (value === null ? "?" : number.format(value));
    const link = replica.me ? make("span", "", "this one") : make("span", replica.up ? "good" : "bad", replica.up ? "up" : "down");
    const row = make(
      "tr",
      replica.me ? "me" : "",
      make("td", "", String(replica.id)),
      make("td", "", role),
      make("td", "", link, make("span", "reason", replica.last_error ? ` ${replica.last_error}` : "")),
      make("td", "number", known(replica.view)),
      make("td", "number", known(replica.decided)),
      make("td", replica.behind > config.settings.unexecuted_slots_max ? "number warn" : "number", known(replica.behind)),
      make("td", "", address(described(status, replica.id))),
    );
    return row;
  });
  find("replicas").tBodies[0].replaceChildren(...rows);
}

/** What the configuration says of a replica, if it is as new as the membership. */
function described(status, id) {
  const member = status.members.find((each) => each.id === id);
  const configured = config.replicas.find((each) => each.id === id && (!member || each.key === member.key));
  return configured ?? member ?? { peers: "" };
}

/** Where a replica is, with a link to its dashboard if this browser can be expected to reach it. */
function address(replica) {
  const isLocal = (place) => /^(127\.|localhost[:]|\[::1\])/.test(place);
  if (!replica.admin || (isLocal(replica.admin) && !isLocal(replica.peers)) || replica.admin.endsWith(":0")) return replica.peers;
  const link = make("a", "", replica.admin);
  link.href = `http://${replica.admin}/`;
  return link;
}

function showHandlers(status) {
  const rows = handlers(history[0] === status ? null : history[0], status).map((handler) =>
    make(
      "tr",
      "",
      make("td", "", handler.name),
      make("td", "number", handler.rate === null ? "–" : count(handler.rate)),
      make("td", "number", handler.p50 === null ? "–" : duration(handler.p50)),
      make("td", "number", handler.p99 === null ? "–" : duration(handler.p99)),
      make("td", "number", number.format(handler.count)),
    ),
  );
  find("handlers-section").hidden = rows.length === 0;
  find("handlers-window").textContent = `over ${Math.max(0, Math.round((status.uptime_ms - history[0].uptime_ms) / 1000))} s`;
  find("handlers").tBodies[0].replaceChildren(...rows);
}

function showTotals(status) {
  const { counters, log, client_links: links } = status;
  const totals = [
    ["commands", number.format(counters.commands)],
    ["slots", number.format(counters.slots)],
    ["requests", number.format(counters.requests)],
    ["requests refused", number.format(counters.requests_refused)],
    ["replies from cache", number.format(counters.replies_from_cache)],
    ["queries not ordered", number.format(counters.read_replies - counters.reads_refused)],
    ["view changes", number.format(counters.view_changes)],
    ["sessions", number.format(status.sessions)],
    ["client links", number.format(status.clients.links)],
    ["connections refused", number.format(links.handshakes_refused + links.handshakes_timed_out + links.links_refused)],
    ["messages dropped", number.format(counters.messages_dropped)],
    ["bad frames", number.format(counters.bad_frames)],
    ["log written", bytes(log.bytes)],
    ["checkpoint", number.format(status.checkpoint)],
    ["last snapshot", bytes(status.snapshots.last_bytes)],
  ];
  find("totals").replaceChildren(...totals.map(([name, value]) => make("div", "", make("dt", "", name), make("dd", "", value))));
}

function showNotices() {
  const silent = answeredAt === null ? Infinity : (Date.now() - answeredAt) / 1000;
  const isStale = problem !== null && silent > STALE_SECONDS;
  document.body.classList.toggle("stale", isStale);
  const notices = [];
  if (problem !== null && silent === Infinity) notices.push(["bad", `The replica does not answer (${problem.message}). Asking again.`]);
  else if (isStale) notices.push(["bad", `The replica has not answered for ${Math.round(silent)} s: it is down, or this browser can't reach it. What is below is the past. Ask another replica.`]);
  if (before) notices.push(...remarks(before));
  find("notices").replaceChildren(...notices.map(([tone, text]) => make("p", `notice ${tone}`, text)));
}

/** What needs a person, or explains what the charts show. */
function remarks(status) {
  const linked = 1 + status.peers.filter((peer) => peer.up).length;
  const found = [];
  if (status.halted) found.push(["bad", `This replica has stopped for good: ${status.halted}`]);
  if (status.log_error) found.push(["bad", `It does not vote until it can write its log: ${status.log_error}. Make room; it goes on by itself.`]);
  if (linked < status.quorum) found.push(["bad", `It reaches ${linked} of ${status.replicas} replicas, itself included; ${status.quorum} are a quorum. What it shows of the others is what they said last.`]);
  if (status.transfer) found.push(["warn", `It fetches a snapshot from the others: ${bytes(status.transfer.bytes_done)} of ${bytes(status.transfer.bytes)}.`]);
  if (status.lag > config.settings.unexecuted_slots_max) found.push(["warn", `This replica is ${number.format(status.lag)} slots behind and catches up: the others are ahead of what its charts show.`]);
  if (status.role === "learner") found.push(["warn", "It does not vote: it fetches a state, or does not remember its votes until they no longer matter. Nothing to do."]);
  if (status.role === "retired") found.push(["warn", "It is not one of the replicas any more: it can be stopped for good."]);
  const { version, latest } = status.service;
  if (latest > version) found.push(["warn", `This replica's code has version ${latest} of the service, and version ${version} is in force: when all replicas have it, pssmr upgrade.`]);
  if (!status.active && !status.halted) found.push(["warn", `A view change is going on, to view ${status.view}.`]);
  return found;
}

const sentences = {
  leader_suspected: (e) => `wants view ${e.view}: ${e.is_lost ? "its link to the leader is lost" : "the leader does not do its work"}`,
  stepping_down: (e) => `steps down as it was asked to, for view ${e.view}`,
  view_entered: (e) => `view ${e.view} begins, led by ${e.leader}`,
  view_active: (e) => `ordering goes on in view ${e.view}, led by ${e.leader}`,
  service_upgraded: (e) => `version ${e.version} of the service is in force from slot ${e.slot} on`,
  epoch_entered: (e) => `epoch ${e.epoch} begins after slot ${e.slot}: replicas ${e.replicas.join(", ")}`,
  retired: (e) => `not one of the replicas any more, from epoch ${e.epoch} on`,
  catching_up: (e) => `catches up from slot ${e.decided} to ${e.target}`,
  beyond_retention: (e) => `too far behind: has ${e.decided}, the others keep from ${e.oldest} on`,
  checkpoint_stable: (e) => `checkpoint at slot ${e.slot}`,
  snapshot_failed: (e) => `the snapshot at slot ${e.slot} could not be written: ${e.reason}`,
  transferring: (e) => `fetches a snapshot of slot ${e.slot} from the others`,
  installed: (e) => `goes on from a snapshot of slot ${e.slot}`,
  forgotten: (e) => `has nothing of a cluster that has begun: votes when slot ${e.slot} is decided`,
  rejoined: (e) => `votes again, from slot ${e.slot} on`,
  misbehaviour: (e) => `replica ${e.replica} broke the protocol: ${e.what}`,
  peer_up: (e) => `link to replica ${e.replica} up`,
  peer_down: (e) => `link to replica ${e.replica} down: ${e.reason}`,
  disk_full: (e) => `disk full: ${e.reason}`,
  recording_ended: (e) => `nothing more is recorded: ${e.reason}`,
  disk_has_room: () => "room on the disk again",
  workers_resized: (e) => `${e.workers} workers from now on`,
  halted: (e) => `stopped for good: ${e.reason}`,
};
const tones = { misbehaviour: "bad", disk_full: "bad", halted: "bad", beyond_retention: "bad", peer_down: "warn", leader_suspected: "warn", retired: "warn", forgotten: "warn", snapshot_failed: "warn", recording_ended: "warn" };

const repeated = new Set(["catching_up", "checkpoint_stable"]);

function told(event) {
  const { event: kind, number: _, time, ...details } = event;
  const sentence = sentences[kind]?.(event) ?? `${kind.replaceAll("_", " ")} ${JSON.stringify(details)}`;
  const when = make("time", "", new Date(time * 1000).toLocaleTimeString());
  when.dateTime = new Date(time * 1000).toISOString();
  when.title = when.dateTime;
  const list = find("events");
  const line = make("li", "", when, make("span", tones[kind] ?? "", sentence));
  line.dataset.kind = kind;
  // What happens again and again says it once.
  if (repeated.has(kind) && list.firstChild?.dataset.kind === kind) list.firstChild.remove();
  list.prepend(line);
  while (list.children.length > EVENTS_MAX) list.lastChild.remove();
}

/** The browser connects again by itself, and says which event was its last. */
function listen() {
  const stream = new EventSource("/events");
  stream.onmessage = (message) => told(JSON.parse(message.data));
  stream.onopen = () => (find("stream").textContent = "live");
  stream.onerror = () => {
    find("stream").textContent = "not connected";
    // What refuses with a status is not asked again by the browser.
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
  };
}

find("interval").addEventListener("change", (event) => (interval = Number(event.target.value)));
find("theme").addEventListener("click", () => {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark";
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", document.documentElement.dataset.theme);
});
if (localStorage.getItem("theme")) document.documentElement.dataset.theme = localStorage.getItem("theme");
listen();
poll();
