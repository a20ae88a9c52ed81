// The listeners and their counters.

import { el, count } from "./format.js";
import { figures } from "./sessions.js";

const now = new Set(["Sessions", "Backlog", "HalfOpen"]);

const words = {
	Sessions: "sessions", Backlog: "wait for Accept", HalfOpen: "handshakes under way",
	Opened: "Sessions made", Accepted: "Accepted", Refused: "Refused, a limit was reached", BacklogFull: "Refused, the backlog was full",
	Handshakes: "Handshakes begun", HandshakesDone: "Handshakes finished", HandshakesRetried: "Handshakes asked to prove their address",
	HandshakesFailed: "Handshakes under another key", InvalidInputs: "Datagrams that do not open: damaged, or another key",
	Foreign: "Datagrams of no session", Replays: "Datagrams received before", ReceiveDrops: "Dropped by the kernel: the receive buffer was full",
};

// What is worth looking at where it is not 0.
const alarming = new Set(["Refused", "BacklogFull", "InvalidInputs", "ReceiveDrops", "HandshakesFailed"]);

export function showListeners(view, { load, poll }) {
	let before = new Map(), beforeAt = 0;

	function card(l, seconds) {
		const last = before.get(l.addr);
		const counters = el("dl", { class: "counters card" });
		for (const [name, value] of Object.entries(l.stats)) {
			if (now.has(name) || typeof value !== "number") continue;
			const speed = last && seconds > 0 ? (value - last[name]) / seconds : 0;
			counters.append(el("div", {}, el("dt", {}, words[name] || name),
				el("dd", { class: alarming.has(name) && value ? "bad" : "" }, count(value), speed > 0.5 ? el("span", { class: "soft" }, ` +${count(speed)}/s`) : null)));
		}
		return el("section", {}, el("h1", {}, l.addr),
			figures([...now].filter((n) => n in l.stats).map((n) => [words[n][0].toUpperCase() + words[n].slice(1), count(l.stats[n])])), counters);
	}

	poll(async () => {
		const all = await load("listeners.json");
		const at = performance.now();
		view.replaceChildren(...all.map((l) => card(l, (at - beforeAt) / 1000)));
		if (!all.length) view.append(el("p", { class: "none" }, "The process listens nowhere."));
		before = new Map(all.map((l) => [l.addr, l.stats]));
		beforeAt = at;
	});
}
