// Small line charts in SVG.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 600;
const HEIGHT = 100;
/** How much time a chart shows: at first, and at most. In milliseconds. */
const SPAN_MIN = 60_000;
const SPAN_MAX = 300_000;
/** Between points that are further apart nothing is drawn: nobody has looked meanwhile. */
const GAP = 15_000;

function made(parent, name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

function drawn(parent, name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}

/** A chart of the last minutes of some series, with the latest values in words. */
export class Chart {
  constructor(parent, { title, series, format, ceiling = null }) {
    this.format = format;
    this.ceiling = ceiling;
    this.names = series;
    this.points = [];
    this.figure = made(parent, "figure");
    const caption = made(this.figure, "figcaption");
    made(caption, "b", "", title);
    this.now = made(caption, "span", "now");
    const plot = made(this.figure, "div", "plot");
    this.svg = drawn(plot, "svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    drawn(this.svg, "title", {}).textContent = title;
    for (const y of [0, HEIGHT / 2, HEIGHT]) {
      drawn(this.svg, "line", { class: "grid", x1: 0, x2: WIDTH, y1: y, y2: y, "vector-effect": "non-scaling-stroke" });
    }
    this.lines = [];
    this.cursor = drawn(this.svg, "line", { class: "cursor", y1: 0, y2: HEIGHT, visibility: "hidden", "vector-effect": "non-scaling-stroke" });
    this.top = made(plot, "span", "top");
    this.none = made(plot, "span", "none", "nothing yet");
    const span = made(this.figure, "div", "span");
    this.start = made(span, "span");
    made(span, "span", "", "now");
    this.pointed = null;
    plot.addEventListener("pointermove", (event) => this.point((event.clientX - plot.getBoundingClientRect().left) / plot.clientWidth));
    plot.addEventListener("pointerleave", () => this.point(null));
  }

  /** Adds the latest values: of each series one, or null where there is none. */
  add(time, values) {
    this.points.push({ time, values });
    while (time - this.points[0].time > SPAN_MAX) this.points.shift();
    this.draw();
  }

  /** Shows the values at this place, 0 to 1, instead of the latest. */
  point(share) {
    const distance = ({ time }) => Math.abs(this.x(time) / WIDTH - share);
    const nearest = this.points.reduce((best, point) => (best === null || distance(point) < distance(best) ? point : best), null);
    this.pointed = share === null || nearest === null || distance(nearest) > 0.05 ? null : nearest;
    this.draw();
  }

  draw() {
    const shown = this.points.flatMap(({ values }) => values.filter((value) => value !== null));
    const top = this.ceiling ?? roundUp(Math.max(0, ...shown));
    this.none.hidden = shown.length > 0;
    this.top.textContent = shown.length ? this.format(top) : "";
    const count = Math.max(0, ...this.points.map(({ values }) => values.length));
    while (this.lines.length < count) {
      const attributes = { class: `s${this.lines.length % 8}`, "vector-effect": "non-scaling-stroke" };
      this.lines.push(drawn(this.svg, "path", attributes));
    }
    this.lines.forEach((line, series) => line.setAttribute("d", this.path(series, top || 1)));
    this.start.textContent = ago(this.span());
    this.cursor.setAttribute("visibility", this.pointed === null ? "hidden" : "visible");
    if (this.pointed !== null) {
      const x = this.x(this.pointed.time);
      this.cursor.setAttribute("x1", x);
      this.cursor.setAttribute("x2", x);
    }
    this.say(this.pointed ?? this.points[this.points.length - 1]);
  }

  say(point) {
    this.now.replaceChildren();
    if (!point) return;
    if (this.pointed !== null) made(this.now, "span", "", new Date(point.time).toLocaleTimeString());
    point.values.forEach((value, series) => {
      const name = this.names[series] ?? (this.names.length ? "" : `#${series}`);
      const text = value === null ? "–" : this.format(value);
      made(this.now, "span", `s${series % 8}`, name ? `${name} ${text}` : text);
    });
  }

  x(time) {
    return WIDTH * (1 - (this.points[this.points.length - 1].time - time) / this.span());
  }

  /** How much time is shown, in milliseconds. */
  span() {
    const first = this.points[0]?.time ?? 0;
    return Math.max(SPAN_MIN, (this.points[this.points.length - 1]?.time ?? 0) - first);
  }

  path(series, top) {
    let path = "";
    let pen = "M";
    let before = null;
    this.points.forEach(({ time, values }) => {
      const value = values[series] ?? null;
      if (value === null || time - before > GAP) pen = "M";
      before = time;
      if (value === null) return;
      path += `${pen}${this.x(time).toFixed(1)} ${(HEIGHT - (Math.min(value, top) / top) * HEIGHT).toFixed(1)}`;
      // A point without neighbours is a dot.
      if (pen === "M") path += "h0.01";
      pen = "L";
    });
    return path;
  }
}

/** The next number above that is 1, 2 or 5 times a power of ten. */
function roundUp(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((bound) => bound >= value * 0.999);
}

function ago(milliseconds) {
  const seconds = Math.round(milliseconds / 1000);
  return seconds >= 120 ? `${Math.round(seconds / 60)} min ago` : `${seconds} s ago`;
}
