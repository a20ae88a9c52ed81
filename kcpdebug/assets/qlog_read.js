// Reads qlog: JSON text sequences (RFC 7464), one JSON text a line, or one JSON text with traces.

const most = 2 ** 28; // bytes of a file in one JSON text

// records calls each with every JSON text of a file, and returns how many were none.
async function records(file, each) {
	const reader = file.stream().pipeThrough(new TextDecoderStream()).getReader();
	let rest = "", broken = 0;
	const take = (text) => {
		text = text.trim();
		if (!text) return;
		try { each(JSON.parse(text)); } catch { broken++; }
	};
	for (;;) {
		const { value, done } = await reader.read();
		const parts = (rest + (value || "")).split(/[\x1e\n]/);
		rest = done ? "" : parts.pop();
		if (rest.length > most) throw new Error("a line of it is too long");
		parts.forEach(take);
		if (done) return broken;
	}
}

// isOneText tells whether a file is one JSON text: its first line alone is none.
async function isOneText(file) {
	const [line, ...more] = (await file.slice(0, 1 << 16).text()).replace(/^\x1e/, "").split("\n");
	if (!more.some((text) => text.trim())) return !/^\s*\{[^]*"(time|serialization_format)"\s*:/.test(line) || /"traces"/.test(line);
	try { JSON.parse(line); } catch { return /^\s*[{[]/.test(line); }
	return false;
}

// readFile returns what the diagrams show.
export async function readFile(file) {
	const log = new Log();
	if (await isOneText(file)) {
		if (file.size > most) throw new Error("it is too large: write JSON text sequences (.sqlog)");
		const all = JSON.parse(await file.text());
		log.header(all, (all.traces || [])[0] || all.trace || {});
		for (const trace of all.traces || []) for (const e of trace.events || []) log.event(e);
	} else {
		log.broken = await records(file, (r) => {
			if (r.name === undefined && (r.trace || r.file_schema || r.qlog_format || r.qlog_version)) log.header(r, r.trace || {});
			else log.event(r);
		});
	}
	if (!log.events) throw new Error("there is no qlog event in it");
	log.finish();
	return log;
}

// number returns v as one, if it is one.
const number = (v) => (v === undefined || v === null || v === "" || Number.isNaN(+v) ? undefined : +v);

// A range of an acknowledgement is taken for so many numbers at most.
const mostInRange = 1 << 16;

const first = (...values) => values.find((v) => v !== undefined);

// Log collects what events say. Times become seconds from the first event on.
class Log {
	constructor() {
		Object.assign(this, { events: 0, broken: 0, names: Object.create(null), series: {}, end: 0, start: undefined, clock: 0, where: new Map(), inBytes: false, limits: {} });
	}

	header(all, trace) {
		this.schema = all.file_schema || all.qlog_version || "";
		this.title = trace.title || all.title || "";
		this.vantage = [trace.vantage_point?.name, trace.vantage_point?.type].filter((t) => t).join(", ");
		this.relative = trace.common_fields?.time_format === "relative_to_previous_event";
	}

	at(time) {
		this.clock = this.relative ? this.clock + time : time;
		this.start ??= this.clock;
		const t = (this.clock - this.start) / 1000;
		this.end = Math.max(this.end, t);
		return t;
	}

	add(key, t, v) {
		if (v === undefined) return;
		const s = (this.series[key] ??= { t: [], v: [] });
		s.t.push(t);
		s.v.push(v);
	}

	// hold adds a metric, which logs have only where it has changed: it was as before until then.
	hold(key, t, v) {
		const s = this.series[key];
		if (v !== undefined && s && s.t.at(-1) < t) this.add(key, t, s.v.at(-1));
		this.add(key, t, v);
	}

	event(e) {
		if (typeof e !== "object" || e === null || typeof e.name !== "string" || number(e.time) === undefined) { this.broken++; return; }
		this.events++;
		this.names[e.name] = (this.names[e.name] || 0) + 1;
		const t = this.at(+e.time), d = e.data || {}, kind = e.name.split(":").pop();
		if (kind === "metrics_updated") this.metrics(t, d);
		else if (kind === "packet_sent") this.sent(t, d);
		else if (kind === "packet_received") this.received(t, d);
		else if (kind === "packet_lost") this.add("lost", t, this.place(first(number(d.sn), number(d.header?.packet_number))));
		else if (kind === "limit_updated") this.limited(t, d.old, d.new);
	}

	metrics(t, d) {
		for (const [key, ...names] of [
			["cwnd", "congestion_window", "cwnd"], ["flight", "bytes_in_flight"], ["ssthresh", "ssthresh"],
			["srtt", "smoothed_rtt"], ["minRtt", "min_rtt"],
		]) this.hold(key, t, number(first(...names.map((n) => d[n]))));
		this.add("rtt", t, number(d.latest_rtt));
		const pacing = number(d.pacing_rate); // bits a second
		this.hold("pacing", t, pacing === undefined ? undefined : pacing / 8);
	}

	// sent takes a datagram. This package's logs say what segments are in it: their place is the offset of
	// their data in the stream. Others' have the number of the packet.
	sent(t, d) {
		const frames = d.frames || [], n = number(d.header?.packet_number);
		if (frames.some((f) => f.sn !== undefined)) this.inBytes = true;
		if (!this.inBytes) { this.add("sent", t, n); return; }
		for (const f of frames) {
			if (f.frame_type !== "stream" || number(f.sn) === undefined) continue;
			if (number(f.offset) !== undefined) this.where.set(f.sn, +f.offset);
			this.add(f.again ? "again" : "sent", t, this.place(f.sn));
		}
	}

	received(t, d) {
		for (const f of d.frames || []) {
			if (f.frame_type !== "ack") continue;
			for (const [from, to = from] of (this.inBytes ? f.sns : f.acked_ranges) || []) {
				// QUIC's repeat what earlier ones have said.
				const begin = this.inBytes ? from : Math.max(from, (this.acked ?? -1) + 1);
				for (let n = begin; n <= to && n - begin < mostInRange; n++) this.add("acked", t, this.place(n));
				this.acked = Math.max(this.acked ?? -1, to);
			}
		}
	}

	// place returns where on the axis the segment or packet with that number is.
	place(n) { return this.inBytes ? this.where.get(n) : n; }

	limited(t, before, now) {
		const since = this.limit || { t: 0, name: before };
		this.limits[since.name] = (this.limits[since.name] || 0) + t - since.t;
		this.limit = { t, name: now };
	}

	finish() {
		if (this.limit) this.limited(this.end, this.limit.name);
		for (const s of Object.values(this.series)) {
			if (s.t.every((t, i) => i === 0 || s.t[i - 1] <= t)) continue;
			const order = [...s.t.keys()].sort((a, b) => s.t[a] - s.t[b]);
			[s.t, s.v] = [order.map((i) => s.t[i]), order.map((i) => s.v[i])];
		}
	}
}
