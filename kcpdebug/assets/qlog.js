// A qlog file (https://datatracker.ietf.org/doc/draft-ietf-quic-qlog-main-schema/), read in the browser and
// sent nowhere: its sequence and congestion diagrams.

import { el, bytes, count, ms, percent, rate } from "./format.js";
import { Plot, Timeline } from "./plot.js";
import { figures, shares } from "./sessions.js";
import { readFile } from "./qlog_read.js";

export function showFile(view, { signal }) {
	const out = el("div");
	const input = el("input", { type: "file", accept: ".sqlog,.qlog,.json", onchange: () => input.files.length && open(input.files[0]) });
	const drop = el("div", { class: "drop" },
		el("p", {}, "Drop a qlog file here (.sqlog or .qlog), or ", el("label", { class: "plain" }, "choose one", input)),
		el("p", { class: "soft" }, "It is read by this page and sent nowhere."));
	view.append(drop, out);
	for (const [event, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
		document.addEventListener(event, (e) => {
			e.preventDefault();
			drop.classList.toggle("over", over);
			if (event === "drop" && e.dataTransfer.files.length) open(e.dataTransfer.files[0]);
		}, { signal });
	}

	let turn = 0;
	async function open(file) {
		const mine = ++turn;
		out.replaceChildren(el("p", { class: "soft" }, "Reading " + file.name + " …"));
		try {
			const log = await readFile(file);
			if (mine === turn && !signal.aborted) draw(file, log, out, signal);
		} catch (e) {
			if (mine === turn) out.replaceChildren(el("p", { class: "bad" }, `${file.name} cannot be read: ${e.message}`));
		}
	}
}

function draw(file, log, out, signal) {
	const timeline = new Timeline();
	timeline.range = [0, Math.max(log.end, 0.001)];
	const time = (t) => {
		const [from, to] = timeline.shown, span = to - from;
		return span < 0.2 ? (1000 * t).toFixed(span < 0.02 ? 2 : 0) + " ms" : +t.toFixed(span < 2 ? 2 : 1) + " s";
	};
	const s = log.series;
	const plots = [
		["Sequence", "wide tall", log.inBytes ? bytes : count, [
			["sent", "sent", "--accent", "dots"], ["again", "sent again", "--third", "dots"],
			["acked", "acknowledged", "--second", "dots"], ["lost", "lost", "--bad", "dots"]]],
		["Congestion", "wide tall", bytes, [["flight", "in flight", "--accent", "area"], ["cwnd", "congestion window", "--third", "steps"], ["ssthresh", "slow start threshold", "--soft", "steps"]]],
		["Round trip", "", ms, [["rtt", "latest", "--soft", "line"], ["srtt", "smoothed", "--accent", "steps"], ["minRtt", "least", "--second", "steps"]]],
		["Pacing", "", rate, [["pacing", "pacing rate", "--accent", "steps"]]],
	].map(([title, classes, format, list]) => {
		const filled = list.filter(([key]) => s[key] && s[key].t.length);
		return filled.length ? new Plot(timeline, title, filled.map(([key, label, color, kind]) => ({ label, color, kind, ...s[key] })), { format, time, classes, fit: title === "Sequence" }) : null;
	}).filter((p) => p);
	addEventListener("resize", () => timeline.redraw(), { signal });

	const n = (key) => (s[key] ? s[key].t.length : 0), transmissions = n("sent") + n("again");
	out.replaceChildren(
		el("h1", {}, file.name),
		el("p", { class: "soft" }, [log.title, bytes(file.size), log.vantage, log.schema].filter((t) => t).join(" · ")),
		figures([
			["Duration", log.end.toFixed(log.end < 10 ? 2 : 1) + " s"], ["Events", count(log.events)],
			["Transmissions", count(transmissions)], ["Sent again", count(n("again"))],
			["Lost", count(n("lost")), transmissions ? percent(n("lost") / transmissions) : ""],
			...(log.broken ? [["Not understood", count(log.broken), "lines"]] : []),
		]),
		...(log.limit ? [el("section", { class: "card why" }, el("h2", {}, "What kept it from sending more"),
			...shares(log.limits, (v, sum) => percent(v / sum) + " of the time"))] : []),
		plots.length ? el("p", { class: "soft" }, "Drag over a diagram to see a part of it, double-click for all.") : el("p", { class: "note" }, "The file has no event that these diagrams show."),
		el("div", { class: "plots" }, ...plots.map((p) => p.element)),
		events(log));
}

// events is how many of each there are.
function events(log) {
	const names = Object.entries(log.names).sort((a, b) => b[1] - a[1]);
	return el("dl", { class: "counters card" }, ...names.map(([name, n]) => el("div", {}, el("dt", { class: "mono" }, name), el("dd", {}, count(n)))));
}
