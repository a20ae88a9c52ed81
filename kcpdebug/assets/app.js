// Which view is shown, and how it stays up to date.

import { showSessions } from "./sessions.js";
import { showSession } from "./session.js";
import { showListeners } from "./listeners.js";
import { showFile } from "./qlog.js";

const view = document.getElementById("view");
const health = document.getElementById("health");

// poll calls once, and again after as long as that says, in ms, while the page is visible and signal is not
// aborted. A failure is shown, and tried again.
function poll(once, signal) {
	let timer;
	async function next() {
		let wait = 1000;
		if (!document.hidden) {
			try {
				wait = (await once(signal)) ?? wait;
				report("");
			} catch (e) {
				if (signal.aborted) return;
				report(e.gone ? "" : "The process does not answer: " + e.message);
				if (e.gone) return;
				wait = 3000;
			}
		}
		if (!signal.aborted) timer = setTimeout(next, wait);
	}
	signal.addEventListener("abort", () => clearTimeout(timer));
	next();
}

function report(text) {
	health.textContent = text;
	health.className = text ? "bad" : "";
}

// load returns what the process says, as an object.
async function load(name, signal) {
	const response = await fetch(name, { signal, cache: "no-store" });
	if (response.status === 404) throw Object.assign(new Error("gone"), { gone: true });
	if (!response.ok) throw new Error("status " + response.status);
	return response.json();
}

const routes = [
	[/^#\/listeners$/, showListeners, "#/listeners"],
	[/^#\/qlog$/, showFile, "#/qlog"],
	[/^#\/session\/(\d+)$/, showSession, "#/"],
	[/^/, showSessions, "#/"],
];

let current = new AbortController();

function route() {
	current.abort();
	current = new AbortController();
	report("");
	view.replaceChildren();
	const hash = location.hash || "#/";
	const [pattern, show, tab] = routes.find(([p]) => p.test(hash));
	for (const a of document.querySelectorAll("nav a")) {
		if (a.getAttribute("href") === tab) a.setAttribute("aria-current", "page");
		else a.removeAttribute("aria-current");
	}
	const { signal } = current;
	show(view, { args: hash.match(pattern).slice(1), signal, load: (name) => load(name, signal), poll: (once) => poll(once, signal) });
}

addEventListener("hashchange", route);
route();
