package main

import (
	"flag"
	"fmt"
	"strings"
)

// A completion is what may follow on a command line. The shells' scripts are made of it.
type completion struct {
	command *command
	options []*option
}

// An option is as the shells need it.
type option struct {
	name    string
	usage   string // its first sentence or so
	choices []string
	file    bool
	bare    bool // it takes no value
}

func completions() (all []completion) {
	for _, c := range commands() {
		x := completion{command: c}
		fs, _ := c.flagSet()
		fs.VisitAll(func(f *flag.Flag) {
			_, usage := flag.UnquoteUsage(f)
			usage, _, _ = strings.Cut(usage, ":")
			o := &option{name: f.Name, usage: usage, bare: isSwitch(f)}
			if v, ok := f.Value.(*value); ok {
				o.choices, o.file = v.choices, v.file
			}
			x.options = append(x.options, o)
		})
		all = append(all, x)
	}
	return all
}

// words returns what the command's first argument may be.
func (c *completion) words() string {
	if c.command.name == "help" {
		return commandNames() + " man bash zsh fish"
	}
	return strings.Join(c.command.words, " ")
}

func commandNames() string {
	var names []string
	for _, c := range commands() {
		names = append(names, c.name)
	}
	return strings.Join(names, " ")
}

// bashCompletion returns the script for bash.
func bashCompletion() string {
	var b strings.Builder
	b.WriteString("# bash completion for kcp\n_kcp() {\n\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words= values=\n")
	fmt.Fprintf(&b, "\tif [ \"$COMP_CWORD\" -eq 1 ]; then\n\t\tCOMPREPLY=($(compgen -W %s -- \"$cur\"))\n\t\treturn\n\tfi\n\tcase ${COMP_WORDS[1]} in\n", quote(commandNames()))
	for _, c := range completions() {
		fmt.Fprintf(&b, "\t%s)\n\t\tcase $prev in\n", c.command.name)
		var names []string
		for _, o := range c.options {
			names = append(names, "-"+o.name)
			switch {
			case o.bare:
			case o.choices != nil:
				fmt.Fprintf(&b, "\t\t-%s) values=%s ;;\n", o.name, quote(strings.Join(o.choices, " ")))
			case o.file:
				fmt.Fprintf(&b, "\t\t-%s) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", o.name)
			default:
				fmt.Fprintf(&b, "\t\t-%s) return ;;\n", o.name)
			}
		}
		fmt.Fprintf(&b, "\t\tesac\n\t\twords=%s ;;\n", quote(strings.Join(append(names, c.words()), " ")))
	}
	b.WriteString("\tesac\n\tCOMPREPLY=($(compgen -W \"${values:-$words}\" -- \"$cur\"))\n\t[ -n \"$values\" ] || COMPREPLY+=($(compgen -f -- \"$cur\"))\n}\ncomplete -F _kcp kcp\n")
	return b.String()
}

// zshCompletion returns the script for zsh.
func zshCompletion() string {
	var b strings.Builder
	b.WriteString("#compdef kcp\n_kcp() {\n\tlocal -a commands=(\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "\t\t%s\n", quote(c.name+":"+c.short))
	}
	b.WriteString("\t)\n\tif (( CURRENT == 2 )); then\n\t\t_describe command commands\n\t\treturn\n\tfi\n\tcase $words[2] in\n")
	for _, c := range completions() {
		fmt.Fprintf(&b, "\t%s)\n\t\tshift words; (( CURRENT-- ))\n\t\t_arguments", c.command.name)
		for _, o := range c.options {
			spec := "-" + o.name + "[" + strings.NewReplacer("[", "(", "]", ")", ":", ",").Replace(o.usage) + "]"
			switch {
			case o.bare:
			case o.choices != nil:
				spec += ":value:(" + strings.Join(o.choices, " ") + ")"
			case o.file:
				spec += ":file:_files"
			default:
				spec += ":value: "
			}
			fmt.Fprintf(&b, " \\\n\t\t\t%s", quote(spec))
		}
		if w := c.words(); w != "" {
			fmt.Fprintf(&b, " \\\n\t\t\t%s", quote("1:what:("+w+")"))
		}
		b.WriteString(" \\\n\t\t\t'*:file:_files' ;;\n")
	}
	b.WriteString("\tesac\n}\nif [ \"$funcstack[1]\" = _kcp ]; then _kcp \"$@\"; else compdef _kcp kcp; fi\n")
	return b.String()
}

// fishCompletion returns the script for fish.
func fishCompletion() string {
	var b strings.Builder
	b.WriteString("# fish completion for kcp\n")
	for _, c := range completions() {
		fmt.Fprintf(&b, "complete -c kcp -n __fish_use_subcommand -f -a %s -d %s\n", c.command.name, quote(c.command.short))
		here := quote("__fish_seen_subcommand_from " + c.command.name)
		for _, o := range c.options {
			how := "-x"
			switch {
			case o.bare:
				how = "-f"
			case o.choices != nil:
				how = "-x -a " + quote(strings.Join(o.choices, " "))
			case o.file:
				how = "-r -F"
			}
			fmt.Fprintf(&b, "complete -c kcp -n %s -o %s %s -d %s\n", here, o.name, how, quote(o.usage))
		}
		if w := c.words(); w != "" {
			fmt.Fprintf(&b, "complete -c kcp -n %s -a %s\n", here, quote(w))
		}
	}
	return b.String()
}

// quote quotes for all three shells. fish wants a quote inside escaped otherwise, so there is none.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "’") + "'" }
