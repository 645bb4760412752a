// From two statuses of a replica to what happened between them. No browser here, only numbers.

/** The time between two statuses, in seconds; 0 if the replica was started anew between them. */
export function elapsed(before, now) {
  return before && now.uptime_ms > before.uptime_ms ? (now.uptime_ms - before.uptime_ms) / 1000 : 0;
}

/** What a histogram has counted since `before`. */
export function since(before, now) {
  const counted = new Map(before ? before.buckets : []);
  const buckets = now.buckets.map(([upper, count]) => [upper, count - (counted.get(upper) ?? 0)]);
  return {
    count: now.count - (before ? before.count : 0),
    sum: now.sum - (before ? before.sum : 0),
    buckets: buckets.filter(([, count]) => count > 0),
  };
}

/** The value below which so many percent of a histogram's values are, as far as its buckets tell; null of none. */
export function percentile(histogram, percent) {
  const total = histogram.buckets.reduce((sum, [, count]) => sum + count, 0);
  let left = (total * percent) / 100;
  for (const [upper, count] of histogram.buckets) {
    if (left <= count) return upper - width(upper) * (1 - left / count);
    left -= count;
  }
  return null;
}

/** How wide the bucket is that ends here: a quarter of the power of two below it. */
function width(upper) {
  return upper <= 4 ? 1 : 2 ** (Math.floor(Math.log2(upper - 1)) - 2);
}

/** Everything that the charts show. Numbers, or null where there is nothing to show. */
export function derive(before, now) {
  const seconds = elapsed(before, now);
  const rate = (pick) => (seconds ? (pick(now) - pick(before)) / seconds : null);
  const between = (pick) => (seconds ? since(pick(before), pick(now)) : { count: 0, sum: 0, buckets: [] });
  const requests = between((s) => s.request_ns);
  const syncs = between((s) => s.log.sync_ns);
  const slots = between((s) => s.slot_commands);
  const submitted = rate((s) => s.execution.submitted);
  const delayed = rate((s) => s.execution.delayed);
  return {
    commands: rate((s) => s.counters.commands),
    requests: rate((s) => s.counters.requests),
    queries: rate((s) => s.counters.read_replies - s.counters.reads_refused),
    latency: [percentile(requests, 50), percentile(requests, 99)],
    sync: [percentile(syncs, 50), percentile(syncs, 99)],
    batch: slots.count ? slots.sum / slots.count : null,
    lag: now.lag,
    pending: now.pending,
    unexecuted: now.execution.pending,
    busy: now.execution.worker.slice(0, now.execution.workers).map((worker, i) => {
      const earlier = before?.execution.worker[i]?.busy_ns ?? 0;
      return seconds ? Math.min(100, (worker.busy_ns - earlier) / 1e7 / seconds) : null;
    }),
    waiting: seconds ? (rate((s) => s.execution.interpreter_wait_ns) / 1e7) / now.execution.workers : null,
    delayed: submitted ? (100 * delayed) / submitted : null,
    sent: rate((s) => s.counters.peer_bytes_sent + s.counters.client_bytes_sent),
    received: rate((s) => s.counters.peer_bytes_received + s.counters.client_bytes_received),
  };
}

/** What each command did between two statuses. */
export function handlers(before, now) {
  const seconds = elapsed(before, now);
  return now.handlers.map((handler, i) => {
    const recent = since(seconds ? before.handlers[i]?.duration_ns : handler.duration_ns, handler.duration_ns);
    return {
      name: handler.name,
      rate: seconds ? recent.count / seconds : null,
      p50: percentile(recent, 50),
      p99: percentile(recent, 99),
      count: handler.duration_ns.count,
    };
  });
}

/** How far behind each replica is: the furthest that anybody says it has decided, less what it says itself. */
export function standings(status) {
  const own = { id: status.id, me: true, up: true, view: status.view, decided: status.decided, last_error: null };
  const all = [...status.peers, own].sort((a, b) => a.id - b.id);
  const furthest = Math.max(...all.map((replica) => replica.decided ?? 0));
  return all.map((replica) => ({
    ...replica,
    leads: replica.id === status.leader,
    behind: replica.decided === null ? null : furthest - replica.decided,
  }));
}
