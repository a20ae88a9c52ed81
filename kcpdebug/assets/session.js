// One session: what it is, why it sends no more, and its plots over time.

import { el, bytes, conv, count, limitText, ms, ns, percent, rate, seconds } from "./format.js";
import { Plot, Timeline } from "./plot.js";
import { figures, shares } from "./sessions.js";

const every = 500; // ms
const keep = 1200; // samples: ten minutes

// reason says in a sentence what keeps a session from sending more.
function reason(d) {
	const s = d.stats;
	const heard = ns(s.LastHeard);
	if (d.state === "failed") return "It has failed: " + d.cause;
	if (d.state === "silent") return `The peer has been silent for ${seconds(heard / 1000)}, and ${count(s.InFlight)} segments are unanswered.`;
	switch (d.limit) {
	case "none": return "Nothing: it is about to send.";
	case "application": return s.BytesQueued ? `The application holds ${bytes(s.BytesQueued)} back, to gather more.` : "The application: all that was written is sent.";
	case "send window": return `Its send window of ${count(s.SendWindow)} segments is full: a larger one (SetWindowSize) would let more be in flight.`;
	case "peer window":
		if (s.PeerWindow === 0) return "The peer's application does not read: its window is 0.";
		if (2 * s.PeerWindow < s.MaxPeerWindow) return `The peer's application reads late: its window has ${count(s.PeerWindow)} segments left of ${count(s.MaxPeerWindow)}.`;
		return `The peer's window of ${count(s.PeerWindow)} segments is full.`;
	case "congestion window": return `The path: ${bytes(s.CongestionWindow)} may be in flight, and are.`;
	case "pacing": return `The path: congestion control paces at ${rate(s.PacingRate)}.`;
	case "rate limit": return "The rate that the program has set (SetRateLimit, SetBucket).";
	case "socket": return "The socket does not take what is sent as fast as it comes.";
	}
	return limitText(d.limit);
}

const plotted = (color, label, kind = "line") => ({ color, label, kind, t: [], v: [] });

// plots returns the plots of a session, and what adds a sample to them.
function plots(timeline) {
	const time = (t, now) => (now - t < 0.05 ? "now" : `−${seconds(now - t).replace(".0", "")}`);
	const byteRate = { format: rate, time, whole: true }, size = { format: bytes, time, whole: true };
	const s = {
		written: plotted("--soft", "written"), sent: plotted("--accent", "sent"), got: plotted("--second", "read"),
		out: plotted("--accent", "out", "area"), in: plotted("--second", "in"), path: plotted("--third", "path delivers"),
		rtt: plotted("--accent", "smoothed"), min: plotted("--soft", "least"), queueing: plotted("--third", "queueing", "area"),
		flight: plotted("--accent", "in flight", "area"), cwnd: plotted("--third", "congestion window"),
		queued: plotted("--accent", "queued", "area"), lost: plotted("--bad", "lost", "bars"), unread: plotted("--second", "unread segments"),
	};
	const made = [
		new Plot(timeline, "Sequence, since this page was opened", [s.written, s.sent, s.got], size),
		new Plot(timeline, "Rate on the wire", [s.out, s.in, s.path], byteRate),
		new Plot(timeline, "Round trip", [s.rtt, s.min, s.queueing], { format: ms, time }),
		new Plot(timeline, "In flight", [s.flight, s.cwnd], size),
		new Plot(timeline, "Written, not sent", [s.queued], size),
		new Plot(timeline, "Lost segments, and unread ones", [s.lost, s.unread], { format: count, time, whole: true }),
	];
	let first, last;
	return [made, (d) => {
		const st = d.stats, t = d.at / 1000;
		const lost = st.LostFast + st.LostEarly + st.LostTimeout - st.Spurious;
		const span = last ? t - last.t : 0;
		const speed = (name) => (span > 0 ? Math.max(0, st[name] - last.st[name]) / span : null);
		first ??= st;
		const begun = first.BytesSent - first.BytesQueued; // what was sent before
		const values = {
			written: st.BytesSent - begun, sent: st.BytesSent - st.BytesQueued - begun, got: st.BytesReceived - first.BytesReceived,
			out: speed("WireBytesSent"), in: speed("WireBytesReceived"), path: st.DeliveryRate || null,
			rtt: ns(st.RTT) || null, min: ns(st.MinRTT) || null, queueing: st.RTT ? ns(st.QueueingDelay) : null,
			flight: st.BytesInFlight, cwnd: st.CongestionWindow || null,
			queued: st.BytesQueued, lost: last ? Math.max(0, lost - last.lost) : 0, unread: st.Unread,
		};
		for (const [name, series] of Object.entries(s)) {
			series.t.push(t);
			series.v.push(values[name]);
			if (series.t.length > keep) { series.t.shift(); series.v.shift(); }
		}
		timeline.range = [Math.min(s.out.t[0], t - 30), t];
		last = { t, st, lost };
		timeline.redraw();
	}];
}

// Counters, in groups of words; those that say nothing more than the plots are left out.
const counters = [
	["Datagrams sent", "DatagramsSent"], ["Datagrams received", "DatagramsReceived"],
	["Bytes sent on the wire", "WireBytesSent", bytes], ["Bytes received on the wire", "WireBytesReceived", bytes],
	["Bytes written", "BytesSent", bytes], ["Bytes read", "BytesReceived", bytes],
	["Segments sent", "SegmentsSent"], ["Segments received", "SegmentsReceived"],
	["Retransmitted", "Resent"], ["Lost, later ones acknowledged", "LostFast"], ["Lost, early", "LostEarly"], ["Lost, timeout", "LostTimeout"],
	["Declared lost, had arrived", "Spurious"], ["Received again", "Duplicates"],
	["Rebuilt from parity or repairs", "FECRecovered"], ["Parity that rebuilt nothing", "FECWasted"],
	["Messages that expired", "Expired"], ["Messages skipped", "Skipped"],
	["Unreliable messages sent", "UnreliableSent"], ["Unreliable messages received", "UnreliableReceived"], ["Unreliable messages dropped", "UnreliableDropped"],
	["Not understood", "InvalidInputs"], ["Dropped by the kernel", "ReceiveDrops"], ["Replays dropped", "Replays"], ["Unsealed dropped", "Unsealed"],
	["Send window", "SendWindow"], ["Peer's window", "PeerWindow"], ["Peer's window, most", "MaxPeerWindow"], ["Receive window", "ReceiveWindow"],
	["Retransmission timeout", "RTO", (v) => ms(ns(v))], ["Round trip varies by", "RTTVar", (v) => ms(ns(v))],
	["Path changes", "PathChanges"], ["MTU", "MTU"],
];

function badges(d) {
	const s = d.stats;
	return [
		conv(d.conv), "at " + d.local, d.state,
		s.Sealed ? "sealed, " + s.Cipher : "not sealed",
		s.FECDataShards ? `FEC ${s.FECDataShards}/${s.FECParityShards}` : "no FEC",
		s.PeerExtended ? "" : "peer without extensions",
		"for " + seconds(ns(s.Age) / 1000),
	].filter((t) => t).join(" · ");
}

export function showSession(view, { args: [id], load, poll, signal }) {
	const title = el("h1", {}, "Session " + id), about = el("p", { class: "soft" });
	const numbers = el("div"), why = el("section", { class: "card why" }), list = el("dl", { class: "counters card" });
	const timeline = new Timeline(true);
	const [made, add] = plots(timeline);
	view.append(title, about, numbers, why, el("div", { class: "plots" }, ...made.map((p) => p.element)), list);
	addEventListener("resize", () => timeline.redraw(), { signal });

	function draw(d) {
		const s = d.stats;
		title.textContent = d.peer;
		about.textContent = badges(d);
		numbers.replaceChildren(figures([
			["Round trip", ms(ns(s.RTT)), s.MinRTT ? "least " + ms(ns(s.MinRTT)) : ""], ["Queueing", s.RTT ? ms(ns(s.QueueingDelay)) : "–"],
			["Path delivers", s.DeliveryRate ? rate(s.DeliveryRate) : "–", s.DeliveryRateAppLimited ? "or more" : ""],
			["Loss", percent(d.loss)], ["In flight", bytes(s.BytesInFlight)], ["Queued", bytes(s.BytesQueued)],
			["Heard", seconds(ns(s.LastHeard) / 1000), "ago"],
		]));
		const spent = Object.fromEntries(d.limits.map((name, i) => [name, s.TimeLimited[i]]));
		why.replaceChildren(el("h2", {}, "Why it sends no more"), el("p", {}, reason(d)),
			...shares(spent, (v, sum) => percent(v / sum) + " of the time"));
		list.replaceChildren(...counters.filter(([, name]) => s[name] !== undefined && (s[name] !== 0 || /Datagrams|Bytes|Window/.test(name)))
			.map(([text, name, format = count]) => el("div", {}, el("dt", {}, text), el("dd", {}, format(s[name])))));
		add(d);
	}

	poll(async () => {
		try {
			const d = await load("session.json?id=" + id);
			if (!signal.aborted) draw(d);
		} catch (e) {
			if (!e.gone) throw e;
			about.textContent = "This session has ended, or the process was started anew. " + about.textContent;
			if (!list.childElementCount) for (const p of made) p.element.remove();
			throw e;
		}
		return every;
	});
}
