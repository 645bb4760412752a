// Small line charts in SVG.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 600;
const HEIGHT = 100;
/** A chart is as wide as so many points at first; then it holds more. */
const POINTS_MIN = 60;

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

/** A chart of the last `capacity` values of some series, with the latest in words. */
export class Chart {
  constructor(parent, { title, series, format, capacity = 300, ceiling = null }) {
    this.format = format;
    this.capacity = capacity;
    this.ceiling = ceiling;
    this.names = series;
    this.points = [];
    const figure = made(parent, "figure");
    const caption = made(figure, "figcaption");
    made(caption, "b", "", title);
    this.now = made(caption, "span", "now");
    const plot = made(figure, "div", "plot");
    this.svg = drawn(plot, "svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    drawn(this.svg, "title", {}).textContent = title;
    for (const y of [0, HEIGHT / 2, HEIGHT]) {
      drawn(this.svg, "line", { class: "grid", x1: 0, x2: WIDTH, y1: y, y2: y, "vector-effect": "non-scaling-stroke" });
    }
    this.lines = [];
    this.cursor = drawn(this.svg, "line", { class: "cursor", y1: 0, y2: HEIGHT, visibility: "hidden", "vector-effect": "non-scaling-stroke" });
    this.top = made(plot, "span", "top");
    this.none = made(plot, "span", "none", "nothing yet");
    const span = made(figure, "div", "span");
    this.start = made(span, "span");
    made(span, "span", "", "now");
    this.pointed = null;
    plot.addEventListener("pointermove", (event) => this.point((event.clientX - plot.getBoundingClientRect().left) / plot.clientWidth));
    plot.addEventListener("pointerleave", () => this.point(null));
  }

  /** Adds the latest values: of each series one, or null where there is none. */
  add(time, values) {
    this.points.push({ time, values });
    if (this.points.length > this.capacity) this.points.shift();
    this.draw();
  }

  /** Shows the values at this place, 0 to 1, instead of the latest. */
  point(share) {
    const first = this.width() - this.points.length;
    const index = share === null ? -1 : Math.round(share * (this.width() - 1)) - first;
    this.pointed = this.points[index] ? index : null;
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
    const oldest = this.points[0];
    const latest = this.points[this.points.length - 1];
    this.start.textContent = oldest ? ago(((latest.time - oldest.time) * (this.width() - 1)) / Math.max(1, this.points.length - 1)) : "";
    this.cursor.setAttribute("visibility", this.pointed === null ? "hidden" : "visible");
    if (this.pointed !== null) {
      const x = this.x(this.pointed);
      this.cursor.setAttribute("x1", x);
      this.cursor.setAttribute("x2", x);
    }
    this.say(this.points[this.pointed ?? this.points.length - 1]);
  }

  say(point) {
    this.now.replaceChildren();
    if (!point) return;
    if (this.pointed !== null) made(this.now, "span", "", new Date(point.time).toLocaleTimeString());
    point.values.forEach((value, series) => {
      const name = this.names[series] ?? (this.names.length ? "" : String(series));
      const text = value === null ? "–" : this.format(value);
      made(this.now, "span", `s${series % 8}`, name ? `${name} ${text}` : text);
    });
  }

  x(index) {
    return ((this.width() - this.points.length + index) / (this.width() - 1)) * WIDTH;
  }

  /** How many points fit. */
  width() {
    return Math.max(POINTS_MIN, this.points.length);
  }

  path(series, top) {
    let path = "";
    let pen = "M";
    this.points.forEach(({ values }, index) => {
      const value = values[series] ?? null;
      if (value === null) {
        pen = "M";
        return;
      }
      path += `${pen}${this.x(index).toFixed(1)} ${(HEIGHT - (Math.min(value, top) / top) * HEIGHT).toFixed(1)}`;
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
