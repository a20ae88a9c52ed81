// Plots over time on a canvas. All that share a Timeline have one range, and one cursor.

import { el } from "./format.js";

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Timeline is the range of time that plots show, in seconds, and where the pointer is.
export class Timeline {
	// fromEnd counts time back from the end of the range, which is now.
	constructor(fromEnd = false) {
		this.fromEnd = fromEnd;
		this.range = [0, 1];
		this.zoomed = null;
		this.cursor = null;
		this.plots = [];
		this.due = false;
	}
	get shown() { return this.zoomed || this.range; }
	// redraw draws all plots with the next frame.
	redraw() {
		if (this.due) return;
		this.due = true;
		requestAnimationFrame(() => {
			this.due = false;
			for (const p of this.plots) p.draw();
		});
	}
}

// niceStep returns a step of 1, 2 or 5 times a power of ten, of which about n make up span.
function niceStep(span, n) {
	const raw = span / n, power = 10 ** Math.floor(Math.log10(raw));
	return power * [1, 2, 5, 10].find((m) => m * power >= raw * 0.999);
}

// firstFrom returns the index of the first time that is at least t.
function firstFrom(times, t) {
	let low = 0, high = times.length;
	while (low < high) {
		const mid = (low + high) >> 1;
		if (times[mid] < t) low = mid + 1; else high = mid;
	}
	return low;
}

const margin = { left: 62, right: 10, top: 8, bottom: 20 };

// Plot draws series: {label, color, kind: line, area, steps, dots or bars, t: [], v: []}, v null where there
// is none. colors are names of custom properties. format writes a value.
export class Plot {
	constructor(timeline, title, series, { format, time, classes = "", whole = false, fit = false }) {
		Object.assign(this, { timeline, series, format, time, whole, fit });
		this.keys = el("div", { class: "keys" });
		this.canvas = el("canvas", { role: "img", "aria-label": title });
		this.element = el("section", { class: "card plot " + classes }, el("h2", {}, title), this.keys, this.canvas);
		timeline.plots.push(this);
		this.values = series.map((s) => {
			const value = el("b");
			const line = el("i", { class: "line " + s.kind });
			line.style.background = `var(${s.color})`;
			this.keys.append(el("span", {}, line, s.label + " ", value));
			return value;
		});
		this.listen();
	}

	listen() {
		const { canvas, timeline } = this;
		new ResizeObserver(() => timeline.redraw()).observe(canvas);
		const at = (e) => {
			const box = canvas.getBoundingClientRect(), [from, to] = timeline.shown;
			const x = (e.clientX - box.left - margin.left) / (box.width - margin.left - margin.right);
			return from + Math.min(1, Math.max(0, x)) * (to - from);
		};
		canvas.addEventListener("pointerdown", (e) => { if (e.pointerType === "mouse") timeline.dragged = at(e); });
		canvas.addEventListener("pointermove", (e) => { timeline.cursor = at(e); timeline.redraw(); });
		canvas.addEventListener("pointerup", (e) => {
			const from = timeline.dragged, to = at(e), [a, b] = timeline.shown;
			timeline.dragged = undefined;
			if (from !== undefined && Math.abs(to - from) > (b - a) / 100) timeline.zoomed = [Math.min(from, to), Math.max(from, to)];
			timeline.redraw();
		});
		canvas.addEventListener("pointerleave", () => { timeline.cursor = null; timeline.dragged = undefined; timeline.redraw(); });
		canvas.addEventListener("dblclick", () => { timeline.zoomed = null; timeline.redraw(); });
	}

	// bounds returns the least and the largest value in the range that is shown, and 0 among them unless fit.
	bounds(from, to) {
		let [low, high] = this.fit ? [Infinity, -Infinity] : [0, 0];
		for (const s of this.series) {
			const last = Math.min(s.t.length, firstFrom(s.t, to) + 1);
			for (let i = Math.max(0, firstFrom(s.t, from) - 1); i < last; i++) {
				const v = s.v[i];
				if (v === null) continue;
				if (v < low) low = v;
				if (v > high) high = v;
			}
		}
		if (low > high) [low, high] = [0, 1]; // there is none
		if (low === high) high = low + 1;
		return [low, high + (high - low) * 0.06];
	}

	draw() {
		const { canvas, timeline } = this, scale = devicePixelRatio || 1;
		const width = canvas.clientWidth, height = canvas.clientHeight;
		if (!width || !height) return;
		canvas.width = width * scale;
		canvas.height = height * scale;
		const c = canvas.getContext("2d");
		c.scale(scale, scale);
		c.font = "11px system-ui, sans-serif";
		const [from, to] = timeline.shown, [low, high] = this.bounds(from, to);
		const right = width - margin.right, bottom = height - margin.bottom;
		const x = (t) => margin.left + (t - from) / (to - from) * (right - margin.left);
		const y = (v) => bottom - (v - low) / (high - low) * (bottom - margin.top);
		this.axes(c, { from, to, low, high, x, y, right, bottom });
		c.save();
		c.beginPath();
		c.rect(margin.left, margin.top - 2, right - margin.left, bottom - margin.top + 4);
		c.clip();
		for (const s of this.series) this.drawSeries(c, s, from, to, x, y, bottom);
		this.pointer(c, x, bottom);
		c.restore();
		this.tell();
	}

	axes(c, { from, to, low, high, x, y, right, bottom }) {
		c.strokeStyle = style("--line");
		c.fillStyle = style("--soft");
		c.lineWidth = 1;
		c.textBaseline = "middle";
		c.textAlign = "right";
		const step = Math.max(niceStep(high - low, Math.max(3, (bottom - margin.top) / 50)), this.whole ? 1 : 0);
		for (let v = Math.ceil(low / step) * step; v <= high; v += step) {
			const at = Math.round(y(v)) + 0.5;
			c.beginPath();
			c.moveTo(margin.left, at);
			c.lineTo(right, at);
			c.stroke();
			c.fillText(v === 0 ? "0" : this.format(v).replace(/\.0+(?= )/, "").replace(/(\.\d*?)0+(?= )/, "$1"), margin.left - 8, at);
		}
		c.textBaseline = "alphabetic";
		c.textAlign = "center";
		const time = niceStep(to - from, Math.max(2, (right - margin.left) / 90));
		const origin = this.timeline.fromEnd ? this.timeline.range[1] : 0;
		for (let t = origin + Math.ceil((from - origin) / time) * time; t <= to + time / 1000; t += time) {
			c.textAlign = x(t) > right - 16 ? "right" : "center";
			if (x(t) > margin.left + 8) c.fillText(this.time(t, this.timeline.range[1]), x(t), bottom + 15);
		}
	}

	drawSeries(c, s, from, to, x, y, bottom) {
		const color = style(s.color);
		const first = Math.max(0, firstFrom(s.t, from) - 1), last = Math.min(s.t.length, firstFrom(s.t, to) + 1);
		c.strokeStyle = c.fillStyle = color;
		c.lineWidth = 1.5;
		c.lineJoin = "round";
		if (s.kind === "dots") {
			const size = last - first > 4000 ? 1.5 : 2.5;
			for (let i = first; i < last; i++) c.fillRect(x(s.t[i]) - size / 2, y(s.v[i]) - size / 2, size, size);
			return;
		}
		if (s.kind === "bars") {
			for (let i = first; i < last; i++) {
				if (s.v[i] > 0) c.fillRect(x(s.t[i]) - 1.5, y(s.v[i]), 3, bottom - y(s.v[i]));
			}
			return;
		}
		// Where many values share a column of pixels, the least and the largest stand for all.
		c.beginPath();
		let pen = false, column = NaN, least, most, before, start;
		const flush = () => {
			if (pen && most !== least) { c.lineTo(column, most); c.lineTo(column, least); }
		};
		for (let i = first; i < last; i++) {
			if (s.v[i] === null) { flush(); pen = false; continue; }
			const px = x(s.t[i]), py = y(s.v[i]);
			if (pen && Math.abs(px - column) < 0.5) {
				least = Math.min(least, py);
				most = Math.max(most, py);
			} else {
				flush();
				if (!pen) { c.moveTo(px, py); start ??= px; } else { if (s.kind === "steps") c.lineTo(px, before); c.lineTo(px, py); }
				[pen, column, least, most] = [true, px, py, py];
			}
			before = py;
		}
		flush();
		c.stroke();
		if (s.kind === "area" && start !== undefined) {
			c.lineTo(column, bottom);
			c.lineTo(start, bottom);
			c.closePath();
			c.globalAlpha = 0.12;
			c.fill();
			c.globalAlpha = 1;
		}
	}

	pointer(c, x, bottom) {
		const { cursor, dragged } = this.timeline;
		if (cursor === null) return;
		if (dragged !== undefined) {
			c.globalAlpha = 0.12;
			c.fillStyle = style("--accent");
			c.fillRect(x(dragged), margin.top, x(cursor) - x(dragged), bottom - margin.top);
			c.globalAlpha = 1;
		}
		c.strokeStyle = style("--soft");
		c.setLineDash([2, 3]);
		c.beginPath();
		c.moveTo(x(cursor), margin.top);
		c.lineTo(x(cursor), bottom);
		c.stroke();
		c.setLineDash([]);
	}

	// tell writes the values at the cursor, or the newest ones, behind the names of the series.
	tell() {
		const at = this.timeline.cursor ?? this.timeline.shown[1];
		this.series.forEach((s, n) => {
			if (s.kind === "dots") { this.values[n].textContent = s.v.length.toLocaleString("en"); return; }
			const v = s.v[Math.min(firstFrom(s.t, at), s.t.length - 1)];
			this.values[n].textContent = v === undefined || v === null ? "" : this.format(v);
		});
	}
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("resize")));
