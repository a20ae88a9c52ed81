package main

import (
	"flag"
	"fmt"
	"strings"
)

// manual returns the man page (man(7)), from the same tables as the help.
func manual() string {
	var b strings.Builder
	b.WriteString(".TH KCP 1 \"\" \"\" \"User commands\"\n.SH NAME\nkcp \\- measure paths, forward ports and explain sessions of reliable streams over UDP\n.SH SYNOPSIS\n")
	between := ""
	for _, c := range commands() {
		for _, u := range c.usage {
			fmt.Fprintf(&b, "%s.B kcp %s\n%s\n", between, c.name, roff(u))
			between = ".br\n"
		}
	}
	b.WriteString(".SH COMMANDS\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, ".SS kcp %s\n%s\n", c.name, paragraphs(c.about()))
		fs, _ := c.flagSet()
		fs.VisitAll(func(f *flag.Flag) {
			argument, usage := flag.UnquoteUsage(f)
			fmt.Fprintf(&b, ".TP\n.BI \\-%s \" %s\"\n%s.\n", roff(f.Name), roff(argument), roff(usage+defaultOf(f)))
		})
	}
	b.WriteString(".SH EXIT STATUS\n")
	for _, e := range exitCodes {
		fmt.Fprintf(&b, ".TP\n.B %d\n%s\n", e.code, roff(e.text))
	}
	b.WriteString(".SH ENVIRONMENT\n.TP\n.B " + keyVariable + "\nThe text of the key that\n.B \\-key\nnames the file of.\n")
	b.WriteString(".TP\n.B NOTIFY_SOCKET\\fR, \\fBWATCHDOG_USEC\nWhere the service manager is told of the state of kcp forward, and how often: see sd_notify(3).\n")
	return b.String()
}

// paragraphs formats a text: what is indented is set as it is.
func paragraphs(text string) string {
	var b strings.Builder
	for i, p := range strings.Split(text, "\n\n") {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		if strings.HasPrefix(p, "  ") {
			b.WriteString(".nf\n" + roff(p) + "\n.fi\n")
		} else {
			b.WriteString(roff(p) + "\n")
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// roff escapes what roff would take for its own.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...").Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}
