// The list of sessions.

import { el, bytes, conv, count, limitClass, limits, limitText, ms, percent, rate, seconds } from "./format.js";

const perPage = 100;

// What is shown stays as it was while other views are looked at.
const state = { sort: "-out", q: "", offset: 0 };

// Columns: name, heading, classes of the cell, content, and whether the largest comes first.
const columns = [
	["peer", "Peer", "left", peer, false],
	["state", "State", "left wider", (s) => stateText(s), false],
	["limit", "Limited by", "left", why, false],
	["rtt", "Round trip", "", (s) => ms(s.rtt), true],
	["queueing", "Queueing", "wider", (s) => (s.rtt ? ms(s.queueing) : "–"), true],
	["out", "Out", "", (s) => rate(s.out), true],
	["in", "In", "", (s) => rate(s.in), true],
	["loss", "Loss", "", (s) => mark(percent(s.loss), s.loss >= 0.01), true],
	["inFlight", "In flight", "wider", (s) => count(s.inFlight), true],
	["cwnd", "Cong. window", "wider", (s) => (s.cwnd ? bytes(s.cwnd) : "–"), true],
	["queued", "Queued", "wider", (s) => bytes(s.queued), true],
	["heard", "Heard", "wider", (s) => seconds(s.heard / 1000), true],
	["age", "Age", "wider", (s) => seconds(s.age / 1000), true],
];

function peer(s) {
	return [el("a", { href: "#/session/" + s.id }, s.peer), el("span", { class: "sub" },
		el("span", { class: "mono" }, conv(s.conv)), s.sealed ? el("span", { class: "seal", title: "It has keys of its own" }, " sealed") : " not sealed",
		el("span", { class: "wider" }, " at " + s.local))];
}

function why(s) {
	return [el("i", { class: "dot " + limitClass(s.limit) }), limitText(s.limit)];
}

function stateText(s) {
	return mark(s.state, s.state === "failed" || s.state === "silent");
}

const mark = (text, bad) => (bad ? el("span", { class: "bad" }, text) : text);

export function figures(list) {
	return el("dl", { class: "figures" }, ...list.map(([name, value, small]) =>
		el("div", {}, el("dt", {}, name), el("dd", {}, value, small ? el("small", {}, " " + small) : null))));
}

// shares returns a bar of how values are divided, and its legend; onpick is called with a name.
export function shares(values, text, onpick) {
	const sum = Object.values(values).reduce((a, b) => a + b, 0) || 1;
	const bar = el("div", { class: "shares", "aria-hidden": "true" });
	const legend = el("ul", { class: "legend" });
	for (const name of Object.keys(limits).filter((n) => values[n] > 0)) {
		const part = el("i", { class: limitClass(name) });
		part.style.flexGrow = values[name] / sum;
		bar.append(part);
		const label = [el("i", { class: "dot " + limitClass(name) }), limitText(name) + " ", el("span", { class: "soft" }, text(values[name], sum))];
		legend.append(el("li", {}, onpick ? el("button", { type: "button", title: "Show these only", onclick: () => onpick(name) }, ...label) : el("span", {}, ...label)));
	}
	return [bar, legend];
}

export function showSessions(view, { load, poll, signal }) {
	const summary = el("div");
	const search = el("input", { type: "search", placeholder: "Filter: address, conversation, state, sealed …", "aria-label": "Filter", value: state.q, oninput: () => set({ q: search.value, offset: 0 }) });
	const found = el("span", { class: "soft", role: "status" });
	const head = el("tr");
	const body = el("tbody");
	const pages = el("div", { class: "pages" });
	view.append(summary, el("div", { class: "tools" }, search, found),
		el("div", { class: "card scroll" }, el("table", {}, el("thead", {}, head), body)), pages);

	for (const [name, title, classes, , largest] of columns) {
		head.append(el("th", { class: classes, scope: "col", "data-name": name },
			el("button", { type: "button", onclick: () => set({ sort: nextSort(name, largest), offset: 0 }) }, title)));
	}

	function nextSort(name, largest) {
		const first = (largest ? "-" : "") + name;
		return state.sort !== first ? first : largest ? name : "-" + name;
	}

	let asked = 0;
	function set(change) {
		Object.assign(state, change);
		refresh().catch(() => {}); // what polls will say it
	}

	async function refresh() {
		const turn = ++asked;
		const q = new URLSearchParams({ sort: state.sort, q: state.q, offset: state.offset, limit: perPage });
		const l = await load("sessions.json?" + q);
		if (turn === asked && !signal.aborted) draw(l);
		return l.every;
	}

	function draw(l) {
		summary.replaceChildren(
			figures([
				["Sessions", count(l.matched), l.matched === l.total ? "" : "of " + count(l.total)],
				["Out", rate(l.out)], ["In", rate(l.in)],
				["Round trip, median", ms(l.rtt[0])], ["95th percentile", ms(l.rtt[1])],
				["Lossy, 1 % or more", count(l.lossy)], ["Sealed", count(l.sealed)], ["Silent", count(l.states.silent || 0)], ["Failed", count(l.states.failed || 0)],
			]),
			...shares(l.limits, (v) => count(v), (name) => { search.value = name; set({ q: name, offset: 0 }); }));
		found.textContent = l.matched ? `${count(l.offset + 1)} to ${count(l.offset + l.sessions.length)} of ${count(l.matched)}` : "";
		for (const th of head.children) {
			const [name, descending] = state.sort.startsWith("-") ? [state.sort.slice(1), true] : [state.sort, false];
			if (th.dataset.name === name) th.setAttribute("aria-sort", descending ? "descending" : "ascending");
			else th.removeAttribute("aria-sort");
		}
		body.replaceChildren(...l.sessions.map((s) => el("tr", {}, ...columns.map(([, , classes, cell]) => {
			const c = cell(s);
			return el("td", { class: classes }, ...(Array.isArray(c) ? c : [c]));
		}))));
		if (!l.sessions.length) {
			body.append(el("tr", {}, el("td", { class: "none", colspan: columns.length }, l.total ? "No session is like that." : "There are no sessions.")));
		}
		const turn = (text, offset, can) => el("button", { class: "plain", type: "button", disabled: !can, onclick: () => set({ offset }) }, text);
		pages.replaceChildren(...(l.matched > perPage ? [
			turn("Previous", Math.max(0, l.offset - perPage), l.offset > 0),
			turn("Next", l.offset + perPage, l.offset + perPage < l.matched),
		] : []));
	}

	poll(refresh);
}
