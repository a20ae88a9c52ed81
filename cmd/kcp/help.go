package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"text/tabwriter"
)

func helpCommand() *command {
	return &command{
		name:  "help",
		usage: []string{"[COMMAND]", "man|bash|zsh|fish"},
		short: "tell what a command does, and its options",
		long: `"kcp help" lists the commands, "kcp help COMMAND" describes one. "kcp help man" prints the man page, "kcp help
bash", "zsh" and "fish" the completions for a shell:

  kcp help man > /usr/local/share/man/man1/kcp.1
  kcp help bash > /usr/share/bash-completion/completions/kcp
  kcp help zsh > "${fpath[1]}/_kcp"
  kcp help fish > ~/.config/fish/completions/kcp.fish`,
		setup: func(*flag.FlagSet) doFunc {
			return func(_ context.Context, std *stdio, args []string) error {
				if len(args) == 0 {
					fmt.Fprint(std.out, overview())
					return nil
				}
				if text := generated(args[0]); text != nil {
					fmt.Fprint(std.out, text())
					return nil
				}
				c := find(args[0])
				if c == nil {
					return usagef("there is no command %q; kcp help lists them", args[0])
				}
				fmt.Fprint(std.out, c.help())
				return nil
			}
		},
	}
}

// generated returns what makes one of the texts that come from the same tables as the help, nil for others.
func generated(name string) func() string {
	switch name {
	case "man":
		return manual
	case "bash":
		return bashCompletion
	case "zsh":
		return zshCompletion
	case "fish":
		return fishCompletion
	}
	return nil
}

// overview lists the commands and the exit codes.
func overview() string {
	var b strings.Builder
	b.WriteString("kcp measures paths, forwards ports and explains sessions of reliable streams over UDP.\n\n")
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, c := range commands() {
		fmt.Fprintf(w, "  kcp %s\t%s\n", c.name, c.short)
	}
	w.Flush()
	b.WriteString("\n\"kcp help COMMAND\" has the options. Exit codes:\n\n")
	for _, e := range exitCodes {
		fmt.Fprintf(&b, "  %3d  %s\n", e.code, e.text)
	}
	return b.String()
}

// help describes the command and its options.
func (c *command) help() string {
	var b strings.Builder
	for _, u := range c.usage {
		fmt.Fprintf(&b, "kcp %s %s\n", c.name, u)
	}
	fmt.Fprintf(&b, "\n%s\n", c.about())
	fs, _ := c.flagSet()
	head := "\nOptions:\n"
	fs.VisitAll(func(f *flag.Flag) {
		b.WriteString(head)
		head = ""
		argument, usage := flag.UnquoteUsage(f)
		fmt.Fprintf(&b, "  -%s", f.Name)
		if argument != "" {
			fmt.Fprintf(&b, " %s", strings.ToUpper(argument))
		}
		fmt.Fprintf(&b, "\n%s\n", wrap(usage+defaultOf(f), "      "))
	})
	return b.String()
}

// about is what the command does, as a sentence or in full.
func (c *command) about() string {
	if c.long != "" {
		return c.long
	}
	return strings.ToUpper(c.short[:1]) + c.short[1:] + "."
}

// defaultOf tells an option's default, where the usage does not, and it is not nothing.
func defaultOf(f *flag.Flag) string {
	if f.DefValue == "" || f.DefValue == "false" || f.DefValue == "0" {
		return ""
	}
	return " (default " + f.DefValue + ")"
}

// wrap breaks a text into lines of at most 100 columns, each after an indent.
func wrap(text, indent string) string {
	const columns = 100
	var lines []string
	line := indent
	for word := range strings.FieldsSeq(text) {
		if len(line) > len(indent) && len(line)+1+len(word) > columns {
			lines = append(lines, line)
			line = indent
		}
		if len(line) > len(indent) {
			line += " "
		}
		line += word
	}
	return strings.Join(append(lines, line), "\n")
}
