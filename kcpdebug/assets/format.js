// How numbers look, and how elements are made. Text is only ever set as text.

export function el(tag, attrs = {}, ...children) {
	const e = document.createElement(tag);
	for (const [name, value] of Object.entries(attrs)) {
		if (value === undefined || value === null || value === false) continue;
		if (name.startsWith("on")) e.addEventListener(name.slice(2), value);
		else e.setAttribute(name, value === true ? "" : value);
	}
	e.append(...children.filter((c) => c !== undefined && c !== null));
	return e;
}

function scaled(v, base, units) {
	let i = 0;
	while (Math.abs(v) >= base && i < units.length - 1) { v /= base; i++; }
	const digits = i === 0 || Math.abs(v) >= 100 ? 0 : Math.abs(v) >= 10 ? 1 : 2;
	return [v.toFixed(digits), units[i]];
}

const join = ([number, unit]) => (unit ? number + " " + unit : number);

export const count = (v) => Math.round(v).toLocaleString("en");
export const bytes = (v) => join(scaled(v, 1000, ["B", "kB", "MB", "GB", "TB"]));
export const rate = (v) => bytes(v) + "/s";
export const bitrate = (v) => join(scaled(8 * v, 1000, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"]));

// ms writes milliseconds.
export function ms(v) {
	if (v === 0) return "–";
	if (v < 10) return v.toFixed(2) + " ms";
	if (v < 100) return v.toFixed(1) + " ms";
	if (v < 10000) return v.toFixed(0) + " ms";
	return seconds(v / 1000);
}

export function seconds(v) {
	if (v < 10) return v.toFixed(1) + " s";
	if (v < 120) return v.toFixed(0) + " s";
	if (v < 7200) return (v / 60).toFixed(0) + " min";
	if (v < 172800) return (v / 3600).toFixed(1) + " h";
	return (v / 86400).toFixed(0) + " d";
}

export function percent(v) {
	if (v === 0) return "0";
	if (v < 0.0001) return "<0.01 %";
	return (100 * v).toFixed(v < 0.1 ? 2 : 1) + " %";
}

export const conv = (v) => v.toString(16).padStart(8, "0");

// ns turns what Go writes for a time.Duration into milliseconds.
export const ns = (v) => v / 1e6;

// limits are what keeps sessions from sending more, in the order of their colours, and in a few words.
export const limits = {
	"none": ["c0", "about to send"],
	"application": ["c1", "nothing to send"],
	"send window": ["c2", "send window"],
	"peer window": ["c3", "peer's window"],
	"congestion window": ["c4", "congestion"],
	"pacing": ["c5", "pacing"],
	"rate limit": ["c7", "rate limit"],
	"socket": ["c6", "socket"],
};

export const limitText = (name) => (limits[name] ? limits[name][1] : name);
export const limitClass = (name) => (limits[name] ? limits[name][0] : "c0");
